/*
 * Connects to an origin: Happy Eyeballs (RFC 8305 5: next address after 250 ms or a failure) over the candidate addresses,
 * each attempt from an address of the SNAT pool. A pool address without a free port towards the destination
 * (EADDRNOTAVAIL from connect) or not on any interface (EADDRNOTAVAIL from bind) gives way to the next one.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "net/snat_pool.h"
#include "policy/reason.h"

struct upstream_connect;

struct upstream_request {
        const struct net_address *addresses; /* copied; checked by the caller */
        size_t address_count;                /* 1 to RESOLVER_MAX_ADDRESSES */
        uint16_t port;
        struct net_address client;      /* for sticky selection */
        struct snat_pool *pool;         /* borrowed until the callback */
        struct snat_registry *registry; /* borrowed, outlives the lease too */
        unsigned timeout_ms;            /* for all attempts together */
};

/*
 * reason COMPLETED: connected, and fd and lease are the receiver's. Otherwise CONNECT_REFUSED, CONNECT_UNREACHABLE,
 * CONNECT_TIMEOUT, SNAT_EXHAUSTED, SNAT_UNAVAILABLE or NO_RESOURCES, fd -1 and nothing held.
 */
struct upstream_answer {
        enum reason reason;
        int fd; /* non-blocking, TCP_NODELAY */
        struct snat_lease lease;
        struct net_endpoint origin; /* where it connected to, or tried last */
        struct net_endpoint source; /* our address and port as the origin sees them; AF_UNSPEC when not connected */
};

typedef void (*upstream_fn)(const struct upstream_answer *answer, void *context);

/* The callback runs once, later, never inside this call. Returns 0 or -ENOMEM (no callback). */
MUST_CHECK int upstream_connect_start(struct event_base *base, const struct upstream_request *request,
                                      upstream_fn on_done, void *context, struct upstream_connect **ret);

/* Closes every attempt; the callback will not run. */
void upstream_connect_cancel(struct upstream_connect *connect);
