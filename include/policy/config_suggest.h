/* Finds the known word that a mistyped one was meant to be. Pure. */
#pragma once

#include <stddef.h>

#define CONFIG_SUGGEST_MAX_LENGTH 63 /* longer words get no suggestion */

/* Keeps the best candidate so far; starts as { .word = … }. */
struct config_suggest {
        const char *word; /* what was typed, borrowed */
        const char *best; /* borrowed from the caller; NULL: nothing is near */
        size_t best_distance;
};

/* Offers one known word. The nearest that differs in at most a third of its letters wins, capitals counting as half. */
void config_suggest_offer(struct config_suggest *suggest, const char *candidate);
