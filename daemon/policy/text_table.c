#include "policy/text_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "policy/large_block.h"

#define FIRST_SLOT_COUNT 16 /* a power of two */
#define FIRST_ARENA_UNITS 64
#define MAX_SLOT_COUNT (UINT32_C(1) << 31)

/*
 * The arena holds one record per key, in units of four bytes; an entry is the index of its first unit:
 *
 *   number (4) | length (1) | key (length) | padding to four
 */
#define HEADER_SIZE 5

struct slot {
        uint32_t tag;   /* the hash's other half: most differing keys differ here already */
        uint32_t entry; /* TEXT_TABLE_NONE: free */
};

struct text_table {
        struct slot *slots;
        uint32_t slot_count;
        uint32_t count;
        uint32_t *arena;
        uint32_t arena_used; /* units */
        uint32_t arena_size; /* units */
};

static struct slot *new_slots(uint32_t count)
{
        struct slot *slots = large_block_new(count * sizeof(*slots));

        if (slots == NULL)
                return NULL;
        memset(slots, 0xff, count * sizeof(*slots)); /* every entry TEXT_TABLE_NONE */
        return slots;
}

struct text_table *text_table_new(void)
{
        struct text_table *table = calloc(1, sizeof(*table));

        if (table == NULL)
                return NULL;
        table->slot_count = FIRST_SLOT_COUNT;
        table->slots = new_slots(FIRST_SLOT_COUNT);
        table->arena_size = FIRST_ARENA_UNITS;
        table->arena = malloc(FIRST_ARENA_UNITS * sizeof(*table->arena));
        if (table->slots == NULL || table->arena == NULL) {
                text_table_free(table);
                return NULL;
        }
        return table;
}

void text_table_free(struct text_table *table)
{
        if (table == NULL)
                return;
        free(table->slots);
        free(table->arena);
        free(table);
}

static const char *key_length_byte(const struct text_table *table, uint32_t entry)
{
        const void *record = table->arena + entry;
        const char *bytes = record;

        return bytes + HEADER_SIZE - 1;
}

static size_t key_length(const struct text_table *table, uint32_t entry)
{
        uint8_t length;

        memcpy(&length, key_length_byte(table, entry), 1);
        return length;
}

struct text_table_key text_table_key(const struct text_table *table, uint32_t entry)
{
        return (struct text_table_key){ .bytes = key_length_byte(table, entry) + 1,
                                        .length = key_length(table, entry) };
}

static uint32_t units_of(size_t length)
{
        return (uint32_t)((HEADER_SIZE + length + 3) / 4);
}

/* The slot that holds the key, or the free one where it would go. */
static struct slot *find_slot(const struct text_table *table, uint64_t hash, const void *key, size_t length)
{
        uint32_t mask = table->slot_count - 1;
        uint32_t tag = (uint32_t)(hash >> 32);

        for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
                struct slot *slot = &table->slots[i];
                if (slot->entry == TEXT_TABLE_NONE)
                        return slot;
                if (slot->tag != tag || key_length(table, slot->entry) != length)
                        continue;
                if (memcmp(text_table_key(table, slot->entry).bytes, key, length) == 0)
                        return slot;
        }
}

/* Keys are all different, so a free slot is enough. */
static void put_back(struct slot *slots, uint32_t mask, uint64_t hash, uint32_t entry)
{
        uint32_t i = (uint32_t)hash & mask;

        while (slots[i].entry != TEXT_TABLE_NONE)
                i = (i + 1) & mask;
        slots[i] = (struct slot){ .tag = (uint32_t)(hash >> 32), .entry = entry };
}

static int grow_slots(struct text_table *table)
{
        uint32_t count = table->slot_count * 2;
        struct slot *slots;

        if (table->slot_count >= MAX_SLOT_COUNT)
                return -EOVERFLOW;
        slots = new_slots(count);
        if (slots == NULL)
                return -ENOMEM;
        for (uint32_t entry = text_table_first(table); entry != TEXT_TABLE_NONE;
             entry = text_table_next(table, entry)) {
                struct text_table_key key = text_table_key(table, entry);
                put_back(slots, count - 1, hash_bytes(key.bytes, key.length), entry);
        }
        free(table->slots);
        table->slots = slots;
        table->slot_count = count;
        return 0;
}

static int resize_arena(struct text_table *table, uint32_t size)
{
        uint32_t *arena = realloc(table->arena, (size_t)size * sizeof(*arena));

        if (arena == NULL)
                return -ENOMEM;
        table->arena = arena;
        table->arena_size = size;
        return 0;
}

static int reserve_arena(struct text_table *table, uint32_t units)
{
        uint32_t size = table->arena_size;

        if (size - table->arena_used >= units)
                return 0;
        if (size >= UINT32_MAX / 2)
                return -EOVERFLOW;
        return resize_arena(table, size + size / 2 + units);
}

static uint32_t append_record(struct text_table *table, const void *key, size_t length)
{
        uint32_t entry = table->arena_used;
        uint8_t length_byte = (uint8_t)length;
        void *record = table->arena + entry;
        char *bytes = record;

        table->arena[entry] = TEXT_TABLE_NONE;
        memcpy(bytes + HEADER_SIZE - 1, &length_byte, 1);
        memcpy(bytes + HEADER_SIZE, key, length);
        table->arena_used += units_of(length);
        table->count++;
        return entry;
}

int text_table_add(struct text_table *table, const void *key, size_t length, uint32_t *ret_entry)
{
        uint64_t hash = hash_bytes(key, length);
        struct slot *slot = find_slot(table, hash, key, length);
        int r;

        if (slot->entry != TEXT_TABLE_NONE) {
                *ret_entry = slot->entry;
                return 0;
        }
        if (length > TEXT_TABLE_MAX_KEY_LENGTH)
                return -EINVAL;
        if (table->count >= table->slot_count / 8 * 7) {
                r = grow_slots(table);
                if (r < 0)
                        return r;
                slot = find_slot(table, hash, key, length);
        }
        r = reserve_arena(table, units_of(length));
        if (r < 0)
                return r;
        *slot = (struct slot){ .tag = (uint32_t)(hash >> 32), .entry = append_record(table, key, length) };
        *ret_entry = slot->entry;
        return 0;
}

uint32_t text_table_find(const struct text_table *table, const void *key, size_t length)
{
        return find_slot(table, hash_bytes(key, length), key, length)->entry;
}

uint64_t text_table_prepare(const struct text_table *table, const void *key, size_t length)
{
        uint64_t hash = hash_bytes(key, length);

        __builtin_prefetch(&table->slots[(uint32_t)hash & (table->slot_count - 1)]);
        return hash;
}

uint32_t text_table_find_prepared(const struct text_table *table, uint64_t prepared, const void *key, size_t length)
{
        return find_slot(table, prepared, key, length)->entry;
}

uint32_t text_table_number(const struct text_table *table, uint32_t entry)
{
        return table->arena[entry];
}

void text_table_set_number(struct text_table *table, uint32_t entry, uint32_t number)
{
        table->arena[entry] = number;
}

size_t text_table_count(const struct text_table *table)
{
        return table->count;
}

uint32_t text_table_first(const struct text_table *table)
{
        return table->count > 0 ? 0 : TEXT_TABLE_NONE;
}

uint32_t text_table_next(const struct text_table *table, uint32_t entry)
{
        uint32_t next = entry + units_of(key_length(table, entry));

        return next < table->arena_used ? next : TEXT_TABLE_NONE;
}

void text_table_trim(struct text_table *table)
{
        size_t size = (size_t)table->arena_used * sizeof(*table->arena);
        uint32_t *arena = table->arena_used > 0 ? large_block_new(size) : NULL;

        if (arena == NULL)
                return;
        memcpy(arena, table->arena, size);
        free(table->arena);
        table->arena = arena;
        table->arena_size = table->arena_used;
}
