#include "net/clock_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define NO_SLOT UINT32_MAX

struct key {
        size_t length;
        uint8_t bytes[];
};

struct slot {
        struct key *key; /* owned; NULL: the slot is free */
        uint32_t next;   /* in its bucket, or NO_SLOT */
        bool referenced; /* used since the clock's hand passed */
};

struct clock_table {
        struct slot *slots; /* capacity of them */
        uint8_t *values;    /* the value of each slot, value_size bytes apart */
        uint32_t *buckets;  /* bucket_mask + 1 heads of chains of slots */
        size_t bucket_mask;
        size_t value_size;
        size_t capacity;
        size_t count;
        size_t hand;
        clock_table_release_fn release;
        void *context;
};

int clock_table_new(size_t capacity, size_t value_size, clock_table_release_fn release, void *context,
                    struct clock_table **ret)
{
        struct clock_table *table = calloc(1, sizeof(*table));
        size_t buckets = 16;

        assert(capacity > 0 && capacity < NO_SLOT);
        if (table == NULL)
                return -ENOMEM;
        while (buckets < capacity)
                buckets *= 2;
        table->capacity = capacity;
        table->value_size = value_size;
        table->bucket_mask = buckets - 1;
        table->release = release;
        table->context = context;
        table->slots = calloc(capacity, sizeof(*table->slots));
        table->values = calloc(capacity, value_size);
        table->buckets = malloc(buckets * sizeof(*table->buckets));
        if (table->slots == NULL || table->values == NULL || table->buckets == NULL) {
                clock_table_free(table);
                return -ENOMEM;
        }
        memset(table->buckets, 0xff, buckets * sizeof(*table->buckets)); /* NO_SLOT */
        *ret = table;
        return 0;
}

static void *value_at(const struct clock_table *table, size_t index)
{
        return table->values + index * table->value_size;
}

void clock_table_free(struct clock_table *table)
{
        if (table == NULL)
                return;
        for (size_t i = 0; table->count > 0 && i < table->capacity; i++) {
                if (table->slots[i].key == NULL)
                        continue;
                table->release(value_at(table, i), table->context);
                free(table->slots[i].key);
        }
        free(table->slots);
        free(table->values);
        free(table->buckets);
        free(table);
}

static uint32_t *bucket_of(const struct clock_table *table, const void *key, size_t length)
{
        return &table->buckets[hash_bytes(key, length) & table->bucket_mask];
}

void *clock_table_find(const struct clock_table *table, const void *key, size_t length)
{
        for (uint32_t i = *bucket_of(table, key, length); i != NO_SLOT; i = table->slots[i].next) {
                const struct key *other = table->slots[i].key;
                if (other->length == length && memcmp(other->bytes, key, length) == 0)
                        return value_at(table, i);
        }
        return NULL;
}

void clock_table_touch(struct clock_table *table, const void *value)
{
        const uint8_t *bytes = value;

        table->slots[(size_t)(bytes - table->values) / table->value_size].referenced = true;
}

static void free_slot(struct clock_table *table, uint32_t index)
{
        struct slot *slot = &table->slots[index];
        uint32_t *link = bucket_of(table, slot->key->bytes, slot->key->length);

        while (*link != index)
                link = &table->slots[*link].next;
        *link = slot->next;
        table->release(value_at(table, index), table->context);
        free(slot->key);
        *slot = (struct slot){ 0 };
        table->count--;
}

/* Moves the hand to a slot that is free or was not used since it last came by. Ends within two rounds. */
static uint32_t take_slot(struct clock_table *table)
{
        for (;;) {
                uint32_t index = (uint32_t)table->hand;
                struct slot *slot = &table->slots[index];
                table->hand = (table->hand + 1) % table->capacity;
                if (slot->key == NULL)
                        return index;
                if (!slot->referenced) {
                        free_slot(table, index);
                        return index;
                }
                slot->referenced = false;
        }
}

void *clock_table_add(struct clock_table *table, const void *key, size_t length)
{
        struct key *copy = malloc(sizeof(*copy) + length);

        if (copy == NULL)
                return NULL;
        copy->length = length;
        memcpy(copy->bytes, key, length);
        uint32_t index = take_slot(table);
        uint32_t *bucket = bucket_of(table, key, length);
        table->slots[index] = (struct slot){ .key = copy, .next = *bucket };
        memset(value_at(table, index), 0, table->value_size);
        *bucket = index;
        table->count++;
        return value_at(table, index);
}

void clock_table_evict(struct clock_table *table)
{
        size_t count = table->count;

        assert(count > 0);
        while (table->count == count)
                (void)take_slot(table); /* Free ones are passed by. */
}

size_t clock_table_count(const struct clock_table *table)
{
        return table->count;
}
