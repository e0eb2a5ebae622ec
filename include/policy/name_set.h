/*
 * A set of name patterns, each with a number, that finds every pattern a name matches at a cost that does not depend on
 * how many patterns there are. Built by one thread, then read by any number.
 *
 * A pattern is a canonical name in which a label may be `*`. A first label `*` stands for one or more labels, so
 * "*.example.com" does not match "example.com"; any other `*` stands for exactly one label. The last label is not `*`.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"

#define NAME_SET_MAX_SHAPES 64 /* different ways to place an inner `*`, see name_set_add */
#define NAME_SET_MAX_HITS (1 + FQDN_MAX_LABELS + NAME_SET_MAX_SHAPES)
#define NAME_SET_NONE UINT32_MAX /* number of a pattern that was just added */

struct name_set;

/* One pattern that matches: larger specificity means fewer names match it. */
struct name_set_hit {
        uint32_t entry;
        unsigned specificity; /* twice the labels that are not `*`, plus one when the number of labels is fixed */
};

/* Returns NULL when out of memory. name_set_free takes NULL. */
struct name_set *name_set_new(void);
void name_set_free(struct name_set *set);

/*
 * Finds the entry of a pattern, or adds one with the number NAME_SET_NONE. The pattern must be one that
 * destination_parse accepts.
 *
 * Each distinct shape (number of labels and places of the inner `*`) costs one probe at every look-up, so their number
 * is bounded: -E2BIG past NAME_SET_MAX_SHAPES, or for a `*` more than 64 labels from the right. -EOVERFLOW: set full;
 * -ENOMEM. The set is unchanged on failure.
 */
MUST_CHECK int name_set_add(struct name_set *set, const char *pattern, size_t length, uint32_t *ret_entry);

uint32_t name_set_number(const struct name_set *set, uint32_t entry);
void name_set_set_number(struct name_set *set, uint32_t entry, uint32_t number);

/* Every pattern that matches the name, the most specific first. Returns how many. An empty name matches nothing. */
size_t name_set_find(const struct name_set *set, const struct fqdn *name, struct name_set_hit hits[NAME_SET_MAX_HITS]);

/* The entry of "*.name", which does not match the name itself; NAME_SET_NONE: there is none. */
uint32_t name_set_find_below(const struct name_set *set, const struct fqdn *name);

/* Writes the pattern; returns its length. */
size_t name_set_pattern(const struct name_set *set, uint32_t entry, char pattern[FQDN_MAX_LENGTH + 1]);

size_t name_set_count(const struct name_set *set);

/* The first entry, or the one after entry, in the order they were added; NAME_SET_NONE: no more. */
uint32_t name_set_first(const struct name_set *set);
uint32_t name_set_next(const struct name_set *set, uint32_t entry);

/* As text_table_trim. */
void name_set_trim(struct name_set *set);
