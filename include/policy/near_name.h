/* Finds the word somebody probably meant, for "did you mean": pure, bounded by the words' lengths. */
#pragma once

#include <stddef.h>

#define NEAR_NAME_MAX_LENGTH 64

/* Changes (insert, delete, replace, swap of neighbours) from one word to the other; words over the maximum are far from everything. */
unsigned near_name_distance(const char *a, size_t a_length, const char *b, size_t b_length);

/* Keeps the nearest of the candidates it is shown. Start with { .wanted = word }. */
struct near_name {
        const char *wanted; /* borrowed */
        const char *best;   /* borrowed; NULL: nothing is near */
        unsigned best_distance;
};

void near_name_consider(struct near_name *near, const char *candidate);
