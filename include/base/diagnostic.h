/*
 * Collects errors and warnings about files, each with its place, so that all are reported and not just the first.
 * Bounded: past DIAGNOSTIC_MAX entries only the number goes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/compiler.h"

#define DIAGNOSTIC_MAX 1000

/* line and column count from 1; 0 means unknown and is not printed. file is borrowed until the call returns. */
struct diagnostic_place {
        const char *file;
        unsigned line;
        unsigned column;
};

struct diagnostics;

/* Returns NULL when out of memory. diagnostics_free takes NULL. */
struct diagnostics *diagnostics_new(void);
void diagnostics_free(struct diagnostics *diagnostics);

/* Adds one sentence: what is wrong, and what would be right. Out of memory is counted as an error without text. */
void diagnostics_error(struct diagnostics *diagnostics, const struct diagnostic_place *place, const char *format, ...)
        PRINTF_LIKE(3, 4);

/* The same for what is odd but does not stop a start. */
void diagnostics_warning(struct diagnostics *diagnostics, const struct diagnostic_place *place, const char *format, ...)
        PRINTF_LIKE(3, 4);

size_t diagnostics_error_count(const struct diagnostics *diagnostics);

/* How many lines diagnostics_line gives: those of errors and warnings, in the order they were added. */
size_t diagnostics_line_count(const struct diagnostics *diagnostics);

/* "FILE:LINE:COLUMN: text" or "FILE:LINE:COLUMN: warning: text". Owned by diagnostics. */
const char *diagnostics_line(const struct diagnostics *diagnostics, size_t index);

/* Prints every line, and how many more there were if some were not kept. */
void diagnostics_print(const struct diagnostics *diagnostics, FILE *stream);
