#include "net/snat_pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define PORT_RANGE_PATH "/proc/sys/net/ipv4/ip_local_port_range" /* for IPv6 too */
#define PORT_RANGE_DEFAULT 28232                                 /* 32768 to 60999, ip-sysctl.rst */

#define ALARM_PERCENT 80
#define ALARM_END_PERCENT 60

#define ADDRESS_BUCKETS 1024
#define STRIPES 64 /* locks of the per-destination table */
#define STRIPE_BUCKETS 256
#define STRIPE_MAX_PAIRS 1024 /* 65,536 pairs of address and destination in all */
#define STRIPE_PAUSES 32      /* exhausted pairs remembered: 2,048 in all */
#define PORTS_PER_PAUSE_MS 64 /* searching 64 ports takes some 7 us: under 1 % of the time for each exhausted pair */

struct snat_address {
        struct net_address value;
        struct snat_registry *registry; /* borrowed: its owner */
        struct snat_address *next;      /* in its bucket */
        atomic_uint in_use;
        atomic_bool present;
};

/* One address in use towards one destination. */
struct pair {
        struct pair *next;
        const struct snat_address *source;
        struct net_endpoint destination;
        unsigned in_use;
        bool alarmed;
};

/* No port was free: the pair with this hash is left alone until then. */
struct pause {
        uint64_t hash;
        uint64_t until_ms;
};

struct stripe {
        pthread_mutex_t lock;
        struct pause pauses[STRIPE_PAUSES];
        struct pair *buckets[STRIPE_BUCKETS];
        size_t pair_count;
};

struct snat_registry {
        snat_alarm_fn on_alarm;
        void *context;
        atomic_uint capacity; /* local ports of one address towards one destination */
        pthread_mutex_t lock; /* guards buckets; addresses are never removed */
        struct snat_address *buckets[ADDRESS_BUCKETS];
        struct stripe stripes[STRIPES];
};

/* The addresses of one family. */
struct address_list {
        struct snat_address **items; /* owned; what they point to is borrowed from the registry */
        size_t count;
};

struct snat_pool {
        char *name;
        enum config_selection selection;
        struct address_list ipv4;
        struct address_list ipv6;
        atomic_size_t turn; /* round robin; breaks ties of least used */
};

struct snat_pools {
        struct snat_pool *pools;
        size_t count;
};

static unsigned read_port_range(void)
{
        unsigned low;
        unsigned high;
        unsigned size = PORT_RANGE_DEFAULT;
        FILE *file = fopen(PORT_RANGE_PATH, "re");

        if (file == NULL)
                return size;
        if (fscanf(file, "%u %u", &low, &high) == 2 && low <= high && high <= UINT16_MAX)
                size = high - low + 1;
        (void)fclose(file); /* Only read from. */
        return size;
}

int snat_registry_new(snat_alarm_fn on_alarm, void *context, struct snat_registry **ret)
{
        struct snat_registry *registry = calloc(1, sizeof(*registry));

        if (registry == NULL)
                return -ENOMEM;
        registry->on_alarm = on_alarm;
        registry->context = context;
        atomic_init(&registry->capacity, read_port_range());
        (void)pthread_mutex_init(&registry->lock, NULL); /* Cannot fail with default attributes on Linux. */
        for (size_t i = 0; i < STRIPES; i++)
                (void)pthread_mutex_init(&registry->stripes[i].lock, NULL);
        *ret = registry;
        return 0;
}

static void free_stripe(struct stripe *stripe)
{
        for (size_t i = 0; i < STRIPE_BUCKETS; i++)
                while (stripe->buckets[i] != NULL) {
                        struct pair *pair = stripe->buckets[i];
                        stripe->buckets[i] = pair->next;
                        free(pair);
                }
        (void)pthread_mutex_destroy(&stripe->lock);
}

void snat_registry_free(struct snat_registry *registry)
{
        if (registry == NULL)
                return;
        for (size_t i = 0; i < STRIPES; i++)
                free_stripe(&registry->stripes[i]);
        for (size_t i = 0; i < ADDRESS_BUCKETS; i++)
                while (registry->buckets[i] != NULL) {
                        struct snat_address *address = registry->buckets[i];
                        registry->buckets[i] = address->next;
                        free(address);
                }
        (void)pthread_mutex_destroy(&registry->lock);
        free(registry);
}

static struct snat_address **bucket_of(struct snat_registry *registry, const struct net_address *address)
{
        return &registry->buckets[hash_bytes(address, sizeof(*address)) % ADDRESS_BUCKETS];
}

/* Call with the registry's lock held. */
static struct snat_address *find_address(struct snat_registry *registry, const struct net_address *address)
{
        struct snat_address *found = *bucket_of(registry, address);

        while (found != NULL && !net_address_equal(&found->value, address))
                found = found->next;
        return found;
}

/* Call with the registry's lock held. NULL: out of memory. */
static struct snat_address *find_or_add_address(struct snat_registry *registry, const struct net_address *address)
{
        struct snat_address *added = find_address(registry, address);
        struct snat_address **bucket = bucket_of(registry, address);

        if (added != NULL)
                return added;
        added = calloc(1, sizeof(*added));
        if (added == NULL)
                return NULL;
        added->value = *address;
        added->registry = registry;
        atomic_init(&added->present, true);
        added->next = *bucket;
        *bucket = added;
        return added;
}

void snat_registry_set_present(struct snat_registry *registry, const struct net_address *address, bool present)
{
        struct snat_address *found;

        (void)pthread_mutex_lock(&registry->lock);
        found = find_address(registry, address);
        if (found != NULL)
                atomic_store_explicit(&found->present, present, memory_order_relaxed);
        (void)pthread_mutex_unlock(&registry->lock);
}

static struct address_list *list_of(struct snat_pool *pool, int family)
{
        return family == AF_INET6 ? &pool->ipv6 : &pool->ipv4;
}

static size_t count_range(const struct config_address_range *range)
{
        struct net_address address = range->first;
        size_t count = 1;

        while (count <= SNAT_POOL_MAX_ADDRESSES && !net_address_equal(&address, &range->last) &&
               net_address_increment(&address))
                count++;
        return count;
}

static int allocate_lists(struct snat_pool *pool, const struct config_snat_pool *config)
{
        size_t ipv4_count = 0;
        size_t ipv6_count = 0;

        for (size_t i = 0; i < config->range_count; i++) {
                size_t count = count_range(&config->ranges[i]);
                if (config->ranges[i].first.family == AF_INET6)
                        ipv6_count += count;
                else
                        ipv4_count += count;
                assert(ipv4_count + ipv6_count <= SNAT_POOL_MAX_ADDRESSES); /* config_read has checked it. */
        }
        pool->ipv4.items = calloc(ipv4_count + 1, sizeof(*pool->ipv4.items)); /* + 1: never of no size */
        pool->ipv6.items = calloc(ipv6_count + 1, sizeof(*pool->ipv6.items));
        return pool->ipv4.items == NULL || pool->ipv6.items == NULL ? -ENOMEM : 0;
}

/* Call with the registry's lock held. */
static int add_range(struct snat_pool *pool, struct snat_registry *registry, const struct config_address_range *range)
{
        struct address_list *list = list_of(pool, range->first.family);
        struct net_address address = range->first;

        for (;;) {
                struct snat_address *added = find_or_add_address(registry, &address);
                if (added == NULL)
                        return -ENOMEM;
                list->items[list->count++] = added;
                if (net_address_equal(&address, &range->last) || !net_address_increment(&address))
                        return 0;
        }
}

static int build_pool(struct snat_pool *pool, struct snat_registry *registry, const struct config_snat_pool *config)
{
        int r;

        pool->selection = config->selection;
        pool->name = strdup(config->name.text);
        if (pool->name == NULL)
                return -ENOMEM;
        r = allocate_lists(pool, config);
        if (r < 0)
                return r;
        (void)pthread_mutex_lock(&registry->lock);
        for (size_t i = 0; i < config->range_count && r == 0; i++)
                r = add_range(pool, registry, &config->ranges[i]);
        (void)pthread_mutex_unlock(&registry->lock);
        return r;
}

int snat_pools_new(struct snat_registry *registry, const struct config *config, struct snat_pools **ret)
{
        struct snat_pools *pools = calloc(1, sizeof(*pools));

        if (pools == NULL)
                return -ENOMEM;
        pools->pools = calloc(config->snat_pool_count + 1, sizeof(*pools->pools));
        if (pools->pools == NULL)
                goto fail;
        pools->count = config->snat_pool_count;
        for (size_t i = 0; i < pools->count; i++)
                if (build_pool(&pools->pools[i], registry, &config->snat_pools[i]) < 0)
                        goto fail;
        atomic_store_explicit(&registry->capacity, read_port_range(), memory_order_relaxed);
        *ret = pools;
        return 0;
fail:
        snat_pools_free(pools);
        return -ENOMEM;
}

void snat_pools_free(struct snat_pools *pools)
{
        if (pools == NULL)
                return;
        for (size_t i = 0; i < pools->count; i++) {
                free(pools->pools[i].name);
                free(pools->pools[i].ipv4.items);
                free(pools->pools[i].ipv6.items);
        }
        free(pools->pools);
        free(pools);
}

struct snat_pool *snat_pools_get(struct snat_pools *pools, size_t index)
{
        assert(index < pools->count);
        return &pools->pools[index];
}

bool snat_pool_has_family(const struct snat_pool *pool, int family)
{
        return (family == AF_INET6 ? pool->ipv6.count : pool->ipv4.count) > 0;
}

static bool is_present(const struct snat_address *address)
{
        return atomic_load_explicit(&address->present, memory_order_relaxed);
}

/* Index of a present address with the fewest uses, starting to look at start so that equals take turns. */
static size_t least_used(const struct address_list *list, size_t start)
{
        size_t best = start;
        unsigned best_use = UINT32_MAX;

        for (size_t i = 0; i < list->count; i++) {
                size_t index = (start + i) % list->count;
                unsigned use = atomic_load_explicit(&list->items[index]->in_use, memory_order_relaxed);
                if (use < best_use && is_present(list->items[index])) {
                        best = index;
                        best_use = use;
                }
        }
        return best;
}

static size_t select_first(struct snat_pool *pool, const struct address_list *list, const struct net_address *client)
{
        if (pool->selection == CONFIG_SELECTION_STICKY)
                return hash_bytes(client, sizeof(*client)) % list->count;
        size_t turn = atomic_fetch_add_explicit(&pool->turn, 1, memory_order_relaxed) % list->count;
        return pool->selection == CONFIG_SELECTION_LEAST_USED ? least_used(list, turn) : turn;
}

void snat_cursor_start(struct snat_cursor *cursor, struct snat_pool *pool, int family, const struct net_address *client)
{
        const struct address_list *list = list_of(pool, family);

        *cursor = (struct snat_cursor){ .pool = pool, .family = family };
        if (list->count > 0)
                cursor->first = select_first(pool, list, client);
}

struct snat_address *snat_cursor_next(struct snat_cursor *cursor)
{
        const struct address_list *list = list_of(cursor->pool, cursor->family);

        while (cursor->tried < list->count) {
                struct snat_address *address = list->items[(cursor->first + cursor->tried++) % list->count];
                if (is_present(address))
                        return address;
        }
        return NULL;
}

const struct net_address *snat_address_value(const struct snat_address *address)
{
        return &address->value;
}

static uint64_t pair_hash(const struct snat_address *source, const struct net_endpoint *destination)
{
        uint8_t bytes[sizeof(struct net_address) * 2 + 2];

        memcpy(bytes, &source->value, sizeof(source->value));
        memcpy(bytes + sizeof(source->value), &destination->address, sizeof(destination->address));
        memcpy(bytes + sizeof(source->value) * 2, &destination->port, sizeof(destination->port));
        return hash_bytes(bytes, sizeof(bytes));
}

/* Where the stripe has, or would have, the pair. Call with its lock held. */
static struct pair **find_pair(struct stripe *stripe, uint64_t hash, const struct snat_address *source,
                               const struct net_endpoint *destination)
{
        struct pair **link = &stripe->buckets[hash / STRIPES % STRIPE_BUCKETS];

        while (*link != NULL && ((*link)->source != source || !net_endpoint_equal(&(*link)->destination, destination)))
                link = &(*link)->next;
        return link;
}

static struct pair *add_pair(struct stripe *stripe, struct pair **link, const struct snat_address *source,
                             const struct net_endpoint *destination)
{
        struct pair *pair;

        if (stripe->pair_count >= STRIPE_MAX_PAIRS)
                return NULL;
        pair = calloc(1, sizeof(*pair));
        if (pair == NULL)
                return NULL;
        pair->source = source;
        pair->destination = *destination;
        *link = pair;
        stripe->pair_count++;
        return pair;
}

/* Counts one more use of the pair. Returns its uses when that is reason for an alarm, else 0. */
static unsigned count_pair(struct stripe *stripe, uint64_t hash, struct snat_lease *lease, unsigned capacity)
{
        struct pair **link = find_pair(stripe, hash, lease->source, &lease->destination);
        struct pair *pair = *link != NULL ? *link : add_pair(stripe, link, lease->source, &lease->destination);

        if (pair == NULL)
                return 0;
        pair->in_use++;
        lease->counted = true;
        if (pair->alarmed || (uint64_t)pair->in_use * 100 < (uint64_t)capacity * ALARM_PERCENT)
                return 0;
        pair->alarmed = true;
        return pair->in_use;
}

void snat_lease_take(struct snat_lease *lease, struct snat_address *source, const struct net_endpoint *destination)
{
        struct snat_registry *registry = source->registry;
        uint64_t hash = pair_hash(source, destination);
        struct stripe *stripe = &registry->stripes[hash % STRIPES];
        unsigned capacity = atomic_load_explicit(&registry->capacity, memory_order_relaxed);

        *lease = (struct snat_lease){ .source = source, .destination = *destination };
        (void)atomic_fetch_add_explicit(&source->in_use, 1, memory_order_relaxed);
        (void)pthread_mutex_lock(&stripe->lock);
        unsigned alarming = count_pair(stripe, hash, lease, capacity);
        (void)pthread_mutex_unlock(&stripe->lock);
        if (alarming > 0 && registry->on_alarm != NULL)
                registry->on_alarm(&source->value, destination, alarming, capacity, registry->context);
}

static void uncount_pair(struct stripe *stripe, uint64_t hash, const struct snat_lease *lease, unsigned capacity)
{
        struct pair **link = find_pair(stripe, hash, lease->source, &lease->destination);
        struct pair *pair = *link;

        assert(pair != NULL && pair->in_use > 0); /* lease->counted says so. */
        pair->in_use--;
        if ((uint64_t)pair->in_use * 100 < (uint64_t)capacity * ALARM_END_PERCENT)
                pair->alarmed = false;
        if (pair->in_use > 0)
                return;
        *link = pair->next;
        free(pair);
        stripe->pair_count--;
}

void snat_lease_release(struct snat_registry *registry, struct snat_lease *lease)
{
        if (lease->source == NULL)
                return;
        if (lease->counted) {
                uint64_t hash = pair_hash(lease->source, &lease->destination);
                struct stripe *stripe = &registry->stripes[hash % STRIPES];
                (void)pthread_mutex_lock(&stripe->lock);
                uncount_pair(stripe, hash, lease, atomic_load_explicit(&registry->capacity, memory_order_relaxed));
                (void)pthread_mutex_unlock(&stripe->lock);
        }
        unsigned before = atomic_fetch_sub_explicit(&lease->source->in_use, 1, memory_order_relaxed);
        assert(before > 0);
        *lease = (struct snat_lease){ 0 };
}

static struct pause *pause_of(struct stripe *stripe, uint64_t hash)
{
        return &stripe->pauses[hash / STRIPES % STRIPE_PAUSES];
}

void snat_address_note_exhausted(struct snat_address *source, const struct net_endpoint *destination, uint64_t now_ms)
{
        struct snat_registry *registry = source->registry;
        uint64_t hash = pair_hash(source, destination);
        struct stripe *stripe = &registry->stripes[hash % STRIPES];
        unsigned capacity = atomic_load_explicit(&registry->capacity, memory_order_relaxed);

        (void)pthread_mutex_lock(&stripe->lock);
        *pause_of(stripe, hash) = (struct pause){ hash, now_ms + capacity / PORTS_PER_PAUSE_MS };
        (void)pthread_mutex_unlock(&stripe->lock);
}

bool snat_address_is_exhausted(struct snat_address *source, const struct net_endpoint *destination, uint64_t now_ms)
{
        uint64_t hash = pair_hash(source, destination);
        struct stripe *stripe = &source->registry->stripes[hash % STRIPES];
        bool exhausted;

        (void)pthread_mutex_lock(&stripe->lock);
        const struct pause *pause = pause_of(stripe, hash);
        exhausted = pause->hash == hash && now_ms < pause->until_ms;
        (void)pthread_mutex_unlock(&stripe->lock);
        return exhausted;
}

static void report_list(const struct snat_pool *pool, const struct address_list *list, snat_use_fn on_address,
                        void *context)
{
        for (size_t i = 0; i < list->count; i++) {
                struct snat_address_use use = {
                        .pool = pool->name,
                        .address = list->items[i]->value,
                        .present = is_present(list->items[i]),
                        .in_use = atomic_load_explicit(&list->items[i]->in_use, memory_order_relaxed),
                };
                on_address(&use, context);
        }
}

void snat_pools_each_address(const struct snat_pools *pools, snat_use_fn on_address, void *context)
{
        for (size_t i = 0; i < pools->count; i++) {
                report_list(&pools->pools[i], &pools->pools[i].ipv4, on_address, context);
                report_list(&pools->pools[i], &pools->pools[i].ipv6, on_address, context);
        }
}

unsigned snat_registry_destination_use(struct snat_registry *registry, const struct net_address *source,
                                       const struct net_endpoint *destination)
{
        struct snat_address *address;
        unsigned in_use = 0;

        (void)pthread_mutex_lock(&registry->lock);
        address = find_address(registry, source);
        (void)pthread_mutex_unlock(&registry->lock);
        if (address == NULL)
                return 0;
        uint64_t hash = pair_hash(address, destination);
        struct stripe *stripe = &registry->stripes[hash % STRIPES];
        (void)pthread_mutex_lock(&stripe->lock);
        const struct pair *pair = *find_pair(stripe, hash, address, destination);
        if (pair != NULL)
                in_use = pair->in_use;
        (void)pthread_mutex_unlock(&stripe->lock);
        return in_use;
}
