/*
 * Names of service tags as rules write them: a table from a file's names, and from their regions' other names, to numbers of
 * the caller's. The table is a text_table of the caller's. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/text_table.h"

/* Whether a rule can write it; no other name is ever asked for. */
bool tag_names_is_name(const char *name);

/* Adds a name unless it is there: the first keeps its number. Returns 0 or what text_table_add does. */
MUST_CHECK int tag_names_add(struct text_table *names, const char *name, size_t length, uint32_t tag);

/*
 * After all names, which come first: adds that `Storage.WestEurope` is also found by the region that the file gives with it
 * ("": none), and by its own last part in lower case. Returns as tag_names_add.
 */
MUST_CHECK int tag_names_add_region(struct text_table *names, const char *name, const char *region, uint32_t tag);

/* The number of a name as it was added; TEXT_TABLE_NONE: not there. */
uint32_t tag_names_find_exact(const struct text_table *names, const char *name, size_t length);

/* Of a name as a rule writes it: `NAME.REGION` also in other capitals, or with the region as resource manager calls it. */
uint32_t tag_names_find(const struct text_table *names, const char *name, size_t length);
