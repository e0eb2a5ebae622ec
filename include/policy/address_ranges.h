/*
 * Lists of address ranges as the kernel's interval sets want them: sorted, none touching another. Made from prefixes that may
 * lie within each other. One family a list. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

struct address_range {
        struct net_address first;
        struct net_address last;
        uint32_t number; /* what the adder gave it */
};

/* Zero bytes are an empty list. */
struct address_ranges {
        struct address_range *items; /* owned */
        size_t count;
        size_t capacity;
};

/* Adds a prefix, in any order. All of one list are of one family. Returns 0 or -ENOMEM. */
MUST_CHECK int address_ranges_add(struct address_ranges *ranges, const struct net_prefix *prefix, uint32_t number);

/* Sorts, and joins what overlaps or touches; numbers do not count and are lost. */
void address_ranges_join(struct address_ranges *ranges);

/*
 * Sorts, and cuts longer prefixes out of those that hold them: each address has the number of the longest prefix that covered
 * it. Neighbours of one number are joined. Returns 0 or -ENOMEM (nothing changed but the order).
 */
MUST_CHECK int address_ranges_flatten(struct address_ranges *ranges);

/* Frees the list, which is empty then. */
void address_ranges_clear(struct address_ranges *ranges);
