/*
 * One client connection from accept to its record: the hub between inspection, policy, resolver, upstream and relay.
 *
 *   INSPECTING ──▶ RESOLVING ──▶ CONNECTING ──▶ RELAYING ──▶ CLOSED
 *       │ ▲            │              │            │
 *       │ └── next HTTP request, or the hello inside CONNECT ◀──┘
 *       └──────────────┴──▶ REFUSING ◀┘  (the client reads why; then CLOSED)
 *
 * An attempt is what one record tells of: a TLS or tunnelled connection as a whole, or one HTTP request. Connections own
 * themselves: connection_start makes one, its end frees it.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/net_address.h"
#include "net/relay.h"
#include "net/resolver.h"
#include "records/decision.h"
#include "records/record_writer.h"
#include "traffic/connection_limits.h"
#include "traffic/generation.h"
#include "traffic/learned_addresses.h"

struct connection;

/* What the connections of one worker work with. Everything is borrowed from the worker but generation and connections. */
struct traffic {
        struct event_base *base;
        struct resolver *resolver;
        struct relay_pool *relay_pool;
        struct snat_registry *registry;
        struct connection_limits *limits;
        struct record_writer *records;
        struct learned_addresses *learned; /* addresses of names in network rules */
        unsigned producer;                 /* this worker's number at the record writer */
        struct generation *generation;     /* the newest; one reference is held */
        struct connection *connections;
        size_t connection_count;
        uint64_t next_id;
        bool draining; /* no connection waits for a further request */
};

/*
 * Takes over an accepted, non-blocking socket. original: where a transparent client dialled; its address is AF_UNSPEC on
 * the proxy listener. Never fails towards the caller: what cannot be served is recorded and closed.
 */
void connection_start(struct traffic *traffic, int client_fd, enum decision_listener listener,
                      const struct net_endpoint *client, const struct net_endpoint *original);

/* Records a client that was turned away before there was a connection (limits, no descriptors). */
void connection_record_refusal(struct traffic *traffic, enum decision_listener listener,
                               const struct net_endpoint *client, const struct net_endpoint *original,
                               enum reason reason);

/*
 * Takes over the reference to a newer generation. Live connections that it refuses are ended, logged or kept, as its
 * on_policy_change says; the others stand on it from now on.
 */
void connection_change_generation(struct traffic *traffic, struct generation *generation);

/* Ends connections that only wait for a further request, and lets the others end after the one they carry. */
void connection_drain(struct traffic *traffic);

/* Ends every connection with this reason. */
void connection_close_all(struct traffic *traffic, enum reason reason);
