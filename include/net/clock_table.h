/*
 * A bounded table from keys to values of one size, with CLOCK eviction: what the caches of DNS answers stand on. Keys are
 * runs of bytes, hashed with a key drawn by the process, because under a wildcard rule clients choose the names in them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct clock_table;

/* Frees what a value owns, before it leaves the table. */
typedef void (*clock_table_release_fn)(void *value, void *context);

/* capacity: values it holds at most, at least 1. Returns 0 or -ENOMEM. */
MUST_CHECK int clock_table_new(size_t capacity, size_t value_size, clock_table_release_fn release, void *context,
                               struct clock_table **ret);

/* Releases every value. Takes NULL. */
void clock_table_free(struct clock_table *table);

/* The key's value, which may be changed and stays where it is while it is in the table; NULL: not there. */
void *clock_table_find(const struct clock_table *table, const void *key, size_t length);

/* Notes that the value was used: it outlives those that were not since the clock's hand last came by. */
void clock_table_touch(struct clock_table *table, const void *value);

/*
 * Adds a value of zeroes for a key that is not there, evicting another when full. NULL: out of memory, nothing was evicted.
 */
void *clock_table_add(struct clock_table *table, const void *key, size_t length);

/* Evicts the value that was not used for longest, as far as the clock knows; the table must not be empty. */
void clock_table_evict(struct clock_table *table);

size_t clock_table_count(const struct clock_table *table);
