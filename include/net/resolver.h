/*
 * Names to addresses: c-ares behind a bounded cache, one per worker. TTLs are clamped (floor 5 s, ceiling 1 h; negative
 * answers 5 s to 5 min, RFC 2308; failures 1 s, RFC 9520), an expired answer is served while it is refreshed (RFC 8767,
 * at most 15 min), one query is in flight per name and family. Everything bounded; needs no DNS to start. One thread (its
 * event_base's) uses it.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "policy/config.h"

#define RESOLVER_MAX_ADDRESSES 32 /* of one answer, both families; more are dropped */

struct resolver;
struct resolver_query;

enum resolver_status {
        RESOLVER_OK = 0,
        RESOLVER_NOT_FOUND, /* NXDOMAIN, or no address of a family that was asked for */
        RESOLVER_FAILED,    /* SERVFAIL, REFUSED, malformed, no server reachable */
        RESOLVER_TIMEOUT,
};

/* Addresses in the order to try them (RFC 8305 4: families interleaved, IPv6 first where asked for). */
struct resolver_answer {
        enum resolver_status status;
        const struct net_address *addresses; /* owned by the resolver, until the callback returns */
        size_t address_count;
};

typedef void (*resolver_fn)(const struct resolver_answer *answer, void *context);

/*
 * Servers, forward_zones and timeout are taken (copied) from config.
 *
 * Returns 0, -ENOMEM, or -EINVAL when c-ares refuses the servers.
 */
MUST_CHECK int resolver_new(struct event_base *base, const struct config *config, struct resolver **ret);

/* Cancels every query without a callback. Takes NULL. */
void resolver_free(struct resolver *resolver);

/*
 * Takes another configuration's servers, zones and timeout; the cache and running queries stay. Returns 0 or -Exxx
 * (nothing changed).
 */
MUST_CHECK int resolver_reconfigure(struct resolver *resolver, const struct config *config);

/*
 * Looks a name up in the families asked for; neither: NOT_FOUND. The callback runs once, later, never inside this call,
 * even when the answer is cached; the handle is gone after it. An answer comes within the configured resolve timeout.
 * The second family is waited for at most 50 ms after the first positive one (RFC 8305 3).
 *
 * Returns 0 or -ENOMEM (no callback then).
 */
MUST_CHECK int resolver_lookup(struct resolver *resolver, const struct fqdn *name, bool with_ipv4, bool with_ipv6,
                               resolver_fn on_answer, void *context, struct resolver_query **ret);

/* After this the callback will not run. The DNS query itself goes on and fills the cache (c-ares cannot cancel one). */
void resolver_query_cancel(struct resolver_query *query);

/*
 * Notes that a client was told by the DNS listener, for ttl_s seconds, that the name has these addresses, all of one family
 * and at least one: resolver_recently_answered knows them from now on. What a lookup answers stays as it is.
 */
void resolver_remember(struct resolver *resolver, const struct fqdn *name, const struct net_address *addresses,
                       size_t count, uint32_t ttl_s);

/* Whether the address was an answer for the name now or up to 15 min after that answer's TTL ran out. */
bool resolver_recently_answered(const struct resolver *resolver, const struct fqdn *name,
                                const struct net_address *address);

/* How many questions were given to the network since the start: what the cache saved shows here. */
size_t resolver_asked_count(const struct resolver *resolver);
