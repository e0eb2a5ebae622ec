/*
 * The table under learned_addresses: which name an address was learned from, for which cluster, and until when. One thread
 * changes it, any reads it (a lock is held for one operation). The caller says what time it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

/* Facts about one address of one cluster, of which each operation reads all: what ends soonest makes room for another name. */
#define LEARNED_TABLE_MAX_NAMES 256

struct learned_table;

/* One fact; borrowed for the call that gives it. */
struct learned_fact {
        const char *cluster;
        const char *name; /* a canonical name */
        struct net_address address;
        uint64_t until_ms;
};

/* Returns 0 or -ENOMEM. _free takes NULL. */
MUST_CHECK int learned_table_new(size_t max_count, struct learned_table **ret);
void learned_table_free(struct learned_table *table);

/* Adds a fact or makes it last longer (never shorter). Returns 0, -ENOSPC: full until the next sweep; -ENOMEM. */
MUST_CHECK int learned_table_put(struct learned_table *table, const struct learned_fact *fact);

/* Until when the fact is known; 0: it is not. */
uint64_t learned_table_until(struct learned_table *table, const char *cluster, const char *name,
                             const struct net_address *address);

/* Calls back for each fact about the address that has not run out, until the callback returns false; it must not change the table. */
typedef bool (*learned_fact_fn)(const struct learned_fact *fact, void *context);
void learned_table_each_of(struct learned_table *table, const char *cluster, const struct net_address *address,
                           uint64_t now_ms, learned_fact_fn on_fact, void *context);

/* The same for every fact. */
void learned_table_each(struct learned_table *table, uint64_t now_ms, learned_fact_fn on_fact, void *context);

/* Forgets what has run out. */
void learned_table_sweep(struct learned_table *table, uint64_t now_ms);

/* Any thread, without a lock. */
size_t learned_table_count(const struct learned_table *table);
