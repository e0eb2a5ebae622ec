#include "traffic/learned_table.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define FACTS_PER_BUCKET 4

struct fact {
        struct fact *next;
        uint64_t until_ms;
        struct net_address address;
        char texts[]; /* cluster NUL name NUL */
};

struct learned_table {
        pthread_rwlock_t lock;
        struct fact **buckets;
        size_t bucket_count; /* a power of two */
        size_t max_count;
        atomic_size_t count;
};

int learned_table_new(size_t max_count, struct learned_table **ret)
{
        struct learned_table *table = calloc(1, sizeof(*table));

        if (table == NULL)
                return -ENOMEM;
        table->max_count = max_count;
        table->bucket_count = 1;
        while (table->bucket_count * FACTS_PER_BUCKET < max_count)
                table->bucket_count *= 2;
        table->buckets = calloc(table->bucket_count, sizeof(struct fact *));
        if (table->buckets == NULL || pthread_rwlock_init(&table->lock, NULL) != 0) {
                free(table->buckets);
                free(table);
                return -ENOMEM;
        }
        *ret = table;
        return 0;
}

void learned_table_free(struct learned_table *table)
{
        if (table == NULL)
                return;
        learned_table_sweep(table, UINT64_MAX);
        pthread_rwlock_destroy(&table->lock);
        free(table->buckets);
        free(table);
}

static const char *fact_name(const struct fact *fact)
{
        return fact->texts + strlen(fact->texts) + 1;
}

/* Facts about one address of one cluster share a bucket, whatever name they come from. */
static struct fact **bucket_of(struct learned_table *table, const char *cluster, const struct net_address *address)
{
        uint64_t hashes[] = { hash_bytes(cluster, strlen(cluster)), hash_bytes(address, sizeof(*address)) };

        return &table->buckets[hash_bytes(hashes, sizeof(hashes)) & (table->bucket_count - 1)];
}

static bool is_about(const struct fact *fact, const char *cluster, const struct net_address *address)
{
        return net_address_equal(&fact->address, address) && strcmp(fact->texts, cluster) == 0;
}

static struct fact *find(struct fact *first, const char *cluster, const char *name, const struct net_address *address)
{
        for (struct fact *fact = first; fact != NULL; fact = fact->next)
                if (is_about(fact, cluster, address) && strcmp(fact_name(fact), name) == 0)
                        return fact;
        return NULL;
}

static int add(struct learned_table *table, struct fact **bucket, const struct learned_fact *learned)
{
        size_t cluster_size = strlen(learned->cluster) + 1, name_size = strlen(learned->name) + 1;
        struct fact *fact = malloc(sizeof(*fact) + cluster_size + name_size);

        if (fact == NULL)
                return -ENOMEM;
        fact->until_ms = learned->until_ms;
        fact->address = learned->address;
        memcpy(fact->texts, learned->cluster, cluster_size);
        memcpy(fact->texts + cluster_size, learned->name, name_size);
        fact->next = *bucket;
        *bucket = fact;
        atomic_fetch_add_explicit(&table->count, 1, memory_order_relaxed);
        return 0;
}

static void forget(struct learned_table *table, struct fact **link)
{
        struct fact *fact = *link;

        *link = fact->next;
        free(fact);
        atomic_fetch_sub_explicit(&table->count, 1, memory_order_relaxed);
}

/* Keeps what is walked for one address short. */
static void make_room(struct learned_table *table, struct fact **bucket, const struct learned_fact *learned)
{
        struct fact **soonest = NULL;
        size_t count = 0;

        for (struct fact **link = bucket; *link != NULL; link = &(*link)->next) {
                if (!is_about(*link, learned->cluster, &learned->address))
                        continue;
                count++;
                if (soonest == NULL || (*link)->until_ms < (*soonest)->until_ms)
                        soonest = link;
        }
        if (count >= LEARNED_TABLE_MAX_NAMES)
                forget(table, soonest);
}

int learned_table_put(struct learned_table *table, const struct learned_fact *fact)
{
        struct fact **bucket = bucket_of(table, fact->cluster, &fact->address);
        struct fact *known;
        int r = 0;

        pthread_rwlock_wrlock(&table->lock);
        known = find(*bucket, fact->cluster, fact->name, &fact->address);
        if (known == NULL)
                make_room(table, bucket, fact);
        if (known != NULL)
                known->until_ms = known->until_ms > fact->until_ms ? known->until_ms : fact->until_ms;
        else if (learned_table_count(table) >= table->max_count)
                r = -ENOSPC;
        else
                r = add(table, bucket, fact);
        pthread_rwlock_unlock(&table->lock);
        return r;
}

uint64_t learned_table_until(struct learned_table *table, const char *cluster, const char *name,
                             const struct net_address *address)
{
        uint64_t until_ms;

        pthread_rwlock_rdlock(&table->lock);
        const struct fact *fact = find(*bucket_of(table, cluster, address), cluster, name, address);
        until_ms = fact != NULL ? fact->until_ms : 0;
        pthread_rwlock_unlock(&table->lock);
        return until_ms;
}

static struct learned_fact describe(const struct fact *fact)
{
        return (struct learned_fact){
                .cluster = fact->texts, .name = fact_name(fact), .address = fact->address, .until_ms = fact->until_ms
        };
}

void learned_table_each_of(struct learned_table *table, const char *cluster, const struct net_address *address,
                           uint64_t now_ms, learned_fact_fn on_fact, void *context)
{
        bool more = true;

        pthread_rwlock_rdlock(&table->lock);
        for (const struct fact *fact = *bucket_of(table, cluster, address); fact != NULL && more; fact = fact->next) {
                struct learned_fact told = describe(fact);
                if (fact->until_ms > now_ms && is_about(fact, cluster, address))
                        more = on_fact(&told, context);
        }
        pthread_rwlock_unlock(&table->lock);
}

void learned_table_each(struct learned_table *table, uint64_t now_ms, learned_fact_fn on_fact, void *context)
{
        bool more = true;

        pthread_rwlock_rdlock(&table->lock);
        for (size_t i = 0; i < table->bucket_count && more; i++)
                for (const struct fact *fact = table->buckets[i]; fact != NULL && more; fact = fact->next) {
                        struct learned_fact told = describe(fact);
                        if (fact->until_ms > now_ms)
                                more = on_fact(&told, context);
                }
        pthread_rwlock_unlock(&table->lock);
}

void learned_table_sweep(struct learned_table *table, uint64_t now_ms)
{
        pthread_rwlock_wrlock(&table->lock);
        for (size_t i = 0; i < table->bucket_count; i++)
                for (struct fact **link = &table->buckets[i]; *link != NULL;) {
                        if ((*link)->until_ms > now_ms)
                                link = &(*link)->next;
                        else
                                forget(table, link);
                }
        pthread_rwlock_unlock(&table->lock);
}

size_t learned_table_count(const struct learned_table *table)
{
        return atomic_load_explicit(&table->count, memory_order_relaxed);
}
