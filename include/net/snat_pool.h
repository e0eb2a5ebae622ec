/*
 * Source addresses for outgoing connections. Addresses and their use counts live in a registry for the life of the process
 * (a reload must not forget what old connections hold); pools are built from a configuration and borrow from the registry.
 * Shared by all workers: counters are atomic, the per-destination table is striped.
 *
 * The kernel picks the port at connect() (IP_BIND_ADDRESS_NO_PORT), so each address has the whole local port range for
 * every destination address and port.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "policy/config.h"

struct snat_registry;
struct snat_pools;
struct snat_pool;
struct snat_address; /* one address of the registry */

#define SNAT_POOL_MAX_ADDRESSES 4096 /* of one pool, both families; config_read refuses more */

/* Called from a worker when one address's use towards one destination first passes 80 % (again after falling below 60 %). */
typedef void (*snat_alarm_fn)(const struct net_address *source, const struct net_endpoint *destination, unsigned in_use,
                              unsigned capacity, void *context);

/* 0 or -ENOMEM. on_alarm may be NULL. _free takes NULL. */
MUST_CHECK int snat_registry_new(snat_alarm_fn on_alarm, void *context, struct snat_registry **ret);
void snat_registry_free(struct snat_registry *registry);

/* An address came to or left a network interface (address_watch). Unknown addresses are ignored. New ones start present. */
void snat_registry_set_present(struct snat_registry *registry, const struct net_address *address, bool present);

/*
 * Pools in the order of config.snat_pools; the registry must outlive them. Reads the local port range (proc(5)) anew, which
 * is what alarms are measured against. 0 or -ENOMEM. _free takes NULL.
 */
MUST_CHECK int snat_pools_new(struct snat_registry *registry, const struct config *config, struct snat_pools **ret);
void snat_pools_free(struct snat_pools *pools);
struct snat_pool *snat_pools_get(struct snat_pools *pools, size_t index);

/* Whether the pool has any address of the family, present or not. */
bool snat_pool_has_family(const struct snat_pool *pool, int family);

/*
 * Walks the addresses of one family in the order to try them for one connection: from the sticky, round-robin or least
 * used one on, each present address once. A value.
 */
struct snat_cursor {
        struct snat_pool *pool; /* borrowed */
        int family;
        size_t first;
        size_t tried;
};

void snat_cursor_start(struct snat_cursor *cursor, struct snat_pool *pool, int family,
                       const struct net_address *client);

/* NULL: no further address. */
struct snat_address *snat_cursor_next(struct snat_cursor *cursor);

const struct net_address *snat_address_value(const struct snat_address *address);

/* A source address in use towards one destination, from connect() on. A value; source NULL: nothing held. */
struct snat_lease {
        struct snat_address *source; /* borrowed from the registry */
        struct net_endpoint destination;
        bool counted; /* in the per-destination table too */
};

/*
 * Counts the use; release undoes it and clears the lease (nothing held: does nothing). The per-destination table is
 * bounded: full or out of memory only loses that statistic, and with it the alarm.
 */
void snat_lease_take(struct snat_lease *lease, struct snat_address *source, const struct net_endpoint *destination);
void snat_lease_release(struct snat_registry *registry, struct snat_lease *lease);

/*
 * A source that had no free port towards a destination is not tried there again for a while: the kernel searches its whole
 * port range in vain each time, which takes milliseconds during which the worker does nothing else. The while is short
 * when the range is small: a millisecond for 64 ports. Bounded memory: another pair may end it early.
 */
void snat_address_note_exhausted(struct snat_address *source, const struct net_endpoint *destination, uint64_t now_ms);
bool snat_address_is_exhausted(struct snat_address *source, const struct net_endpoint *destination, uint64_t now_ms);

/* For status: every address with its use, one of several pools' addresses once for each. */
struct snat_address_use {
        const char *pool;
        struct net_address address;
        bool present;
        unsigned in_use;
};
typedef void (*snat_use_fn)(const struct snat_address_use *use, void *context);
void snat_pools_each_address(const struct snat_pools *pools, snat_use_fn on_address, void *context);

/* Use of one address towards one destination: 0 when there is none, or none that the table had room for. */
unsigned snat_registry_destination_use(struct snat_registry *registry, const struct net_address *source,
                                       const struct net_endpoint *destination);
