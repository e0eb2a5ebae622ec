#include "traffic/connection_limits.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"

#define STRIPES 64
#define BUCKETS_PER_STRIPE 256 /* 16,384 in all: chains stay short for as many clients as a VNET has */

/* A client with at least one open connection. */
struct client {
        struct client *next;
        struct net_address address;
        size_t open;
};

struct stripe {
        pthread_mutex_t lock;
        struct client *buckets[BUCKETS_PER_STRIPE];
};

struct connection_limits {
        atomic_size_t open;
        atomic_size_t max_connections;
        atomic_size_t max_per_client;
        struct stripe stripes[STRIPES];
};

int connection_limits_new(struct connection_limits **ret)
{
        struct connection_limits *limits = calloc(1, sizeof(*limits));

        if (limits == NULL)
                return -ENOMEM;
        for (size_t i = 0; i < STRIPES; i++)
                pthread_mutex_init(&limits->stripes[i].lock, NULL);
        *ret = limits;
        return 0;
}

static void free_chain(struct client *client)
{
        while (client != NULL) {
                struct client *next = client->next;
                free(client);
                client = next;
        }
}

void connection_limits_free(struct connection_limits *limits)
{
        if (limits == NULL)
                return;
        for (size_t i = 0; i < STRIPES; i++) {
                for (size_t j = 0; j < BUCKETS_PER_STRIPE; j++)
                        free_chain(limits->stripes[i].buckets[j]);
                pthread_mutex_destroy(&limits->stripes[i].lock);
        }
        free(limits);
}

void connection_limits_set(struct connection_limits *limits, size_t max_connections, size_t max_per_client)
{
        atomic_store(&limits->max_connections, max_connections);
        atomic_store(&limits->max_per_client, max_per_client);
}

/* Where the pointer to the client's entry is, or the NULL at its chain's end. The stripe is locked. */
static struct client **find_client(struct stripe *stripe, uint64_t hash, const struct net_address *address)
{
        struct client **place = &stripe->buckets[hash / STRIPES % BUCKETS_PER_STRIPE];

        while (*place != NULL && !net_address_equal(&(*place)->address, address))
                place = &(*place)->next;
        return place;
}

static enum reason take_client(struct connection_limits *limits, const struct net_address *address)
{
        uint64_t hash = hash_bytes(address, sizeof(*address));
        struct stripe *stripe = &limits->stripes[hash % STRIPES];
        enum reason reason = REASON_COMPLETED;

        pthread_mutex_lock(&stripe->lock);
        struct client **place = find_client(stripe, hash, address);
        if (*place == NULL) {
                *place = calloc(1, sizeof(**place));
                if (*place != NULL)
                        (*place)->address = *address;
        }
        if (*place == NULL)
                reason = REASON_NO_RESOURCES;
        else if ((*place)->open >= atomic_load_explicit(&limits->max_per_client, memory_order_relaxed))
                reason = REASON_TOO_MANY_CLIENT_CONNECTIONS;
        else
                (*place)->open++;
        pthread_mutex_unlock(&stripe->lock);
        return reason;
}

enum reason connection_limits_take(struct connection_limits *limits, const struct net_address *client)
{
        size_t before = atomic_fetch_add_explicit(&limits->open, 1, memory_order_relaxed);
        enum reason reason = REASON_TOO_MANY_CONNECTIONS;

        if (before < atomic_load_explicit(&limits->max_connections, memory_order_relaxed))
                reason = take_client(limits, client);
        if (reason != REASON_COMPLETED)
                atomic_fetch_sub_explicit(&limits->open, 1, memory_order_relaxed);
        return reason;
}

void connection_limits_release(struct connection_limits *limits, const struct net_address *address)
{
        uint64_t hash = hash_bytes(address, sizeof(*address));
        struct stripe *stripe = &limits->stripes[hash % STRIPES];

        pthread_mutex_lock(&stripe->lock);
        struct client **place = find_client(stripe, hash, address);
        struct client *client = *place;
        client->open--;
        if (client->open == 0) {
                *place = client->next;
                free(client);
        }
        pthread_mutex_unlock(&stripe->lock);
        atomic_fetch_sub_explicit(&limits->open, 1, memory_order_relaxed);
}

size_t connection_limits_open(const struct connection_limits *limits)
{
        return atomic_load_explicit(&limits->open, memory_order_relaxed);
}
