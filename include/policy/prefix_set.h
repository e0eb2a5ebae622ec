/*
 * A set of IPv4 and IPv6 prefixes, each with a number, that finds those covering an address, the longest first: one probe
 * for each prefix length that occurs, however many prefixes there are. Built by one thread, then read by any number.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

#define PREFIX_SET_MAX_HITS 129 /* one for each length from 0 to 128 */
#define PREFIX_SET_NONE UINT32_MAX

struct prefix_set;

/* Returns NULL when out of memory. prefix_set_free takes NULL. */
struct prefix_set *prefix_set_new(void);
void prefix_set_free(struct prefix_set *set);

/* Finds the entry of a prefix, or adds one with the number PREFIX_SET_NONE. Returns 0, -EOVERFLOW: set full, or -ENOMEM. */
MUST_CHECK int prefix_set_add(struct prefix_set *set, const struct net_prefix *prefix, uint32_t *ret_entry);

uint32_t prefix_set_number(const struct prefix_set *set, uint32_t entry);
void prefix_set_set_number(struct prefix_set *set, uint32_t entry, uint32_t number);

/* Entries of all prefixes that cover the address, the longest first; returns how many. AF_UNSPEC is covered by none. */
size_t prefix_set_find(const struct prefix_set *set, const struct net_address *address,
                       uint32_t entries[PREFIX_SET_MAX_HITS]);

/* The longest only: its entry, or PREFIX_SET_NONE. */
uint32_t prefix_set_find_longest(const struct prefix_set *set, const struct net_address *address);

/* To be called when the set is complete: gives back what growing left over. Out of memory changes nothing. */
void prefix_set_trim(struct prefix_set *set);

/* The first entry, or the one after entry, in the order they were added; PREFIX_SET_NONE: no more. */
uint32_t prefix_set_first(const struct prefix_set *set);
uint32_t prefix_set_next(const struct prefix_set *set, uint32_t entry);

struct net_prefix prefix_set_prefix(const struct prefix_set *set, uint32_t entry);
