/* What is wrong with a piece of rule text and where: the parsers of the rule grammar fill it, their callers know the file. */
#pragma once

#include <stddef.h>

#include "base/compiler.h"

#define RULE_ERROR_TEXT_SIZE 400

struct rule_error {
        size_t offset;                   /* bytes from the start of the text that was parsed */
        char text[RULE_ERROR_TEXT_SIZE]; /* one sentence: what is wrong, and what would be right */
};

/* Writes offset and sentence; returns -EINVAL, so that a parser can end with it. */
int rule_error_set(struct rule_error *error, size_t offset, const char *format, ...) PRINTF_LIKE(3, 4);

/* How much of an untrusted piece of text a message quotes: for "%.*s". */
#define RULE_ERROR_QUOTE_MAX 80
int rule_error_quote_length(size_t length);
