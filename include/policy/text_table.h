/*
 * A table from short byte strings to 32-bit numbers that only grows: the store under name sets, prefix sets and other
 * look-ups of the policy. Built by one thread, then read by any number. Open addressing over a keyed hash, so neither
 * the length of a list nor its author decides what a look-up costs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define TEXT_TABLE_MAX_KEY_LENGTH 255
#define TEXT_TABLE_NONE UINT32_MAX /* no entry */

struct text_table;

struct text_table_key {
        const char *bytes; /* borrowed from the table; not NUL-terminated */
        size_t length;
};

/* Returns NULL when out of memory. text_table_free takes NULL. */
struct text_table *text_table_new(void);
void text_table_free(struct text_table *table);

/*
 * Finds the entry of a key, or adds one whose number is TEXT_TABLE_NONE.
 *
 * Returns 0; -EINVAL: key longer than TEXT_TABLE_MAX_KEY_LENGTH; -EOVERFLOW: table full (several GiB of text); -ENOMEM.
 * The table is unchanged on failure.
 */
MUST_CHECK int text_table_add(struct text_table *table, const void *key, size_t length, uint32_t *ret_entry);

/* The entry of a key, or TEXT_TABLE_NONE. */
uint32_t text_table_find(const struct text_table *table, const void *key, size_t length);

/*
 * The same in two steps, for several keys at once: the first lets the memory come that the second will read, so that the
 * waits for the keys overlap.
 */
uint64_t text_table_prepare(const struct text_table *table, const void *key, size_t length);
uint32_t text_table_find_prepared(const struct text_table *table, uint64_t prepared, const void *key, size_t length);

uint32_t text_table_number(const struct text_table *table, uint32_t entry);
void text_table_set_number(struct text_table *table, uint32_t entry, uint32_t number);

struct text_table_key text_table_key(const struct text_table *table, uint32_t entry);

size_t text_table_count(const struct text_table *table);

/* The first entry, or the one after entry, in the order they were added; TEXT_TABLE_NONE: no more. */
uint32_t text_table_first(const struct text_table *table);
uint32_t text_table_next(const struct text_table *table, uint32_t entry);

/* To be called when the table is complete: gives back what growing left over. Out of memory changes nothing. */
void text_table_trim(struct text_table *table);
