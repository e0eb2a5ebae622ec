/*
 * What an nftables table of family inet consists of: the names of its chains, sets and maps (libmnl). libnftables lists them
 * only after it has read every element, which for many takes seconds. Needs CAP_NET_ADMIN.
 */
#pragma once

#include <stddef.h>

#include "base/compiler.h"

#define TABLE_OBJECT_NAME_SIZE 256 /* NFT_NAME_MAXLEN */
#define TABLE_OBJECTS_MAX 100000

enum table_object_kind {
        TABLE_OBJECT_CHAIN = 0,
        TABLE_OBJECT_SET,
        TABLE_OBJECT_MAP,
};

struct table_object {
        enum table_object_kind kind;
        char name[TABLE_OBJECT_NAME_SIZE];
};

struct table_objects {
        struct table_object *items; /* owned */
        size_t count;
};

/*
 * Reads those that have a name of their own: what belongs to a rule is left out. A table that is not there has none. Returns
 * 0 or -Exxx: -EPERM, -E2BIG: more than TABLE_OBJECTS_MAX, -EBUSY: they changed at each of several attempts; *ret is empty
 * then.
 */
MUST_CHECK int table_objects_read(const char *table, struct table_objects *ret);

/* To be called for what was read, and for what is empty. */
void table_objects_clear(struct table_objects *objects);

/* "chain", "set" or "map", as nft(8) has it. */
const char *table_object_kind_name(enum table_object_kind kind);
