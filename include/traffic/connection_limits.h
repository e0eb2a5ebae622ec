/*
 * How many connections are open, in all and per client address, against limits.connections and
 * limits.connections_per_client. Shared by the workers: one lock per stripe of clients, held for a table operation.
 */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "policy/reason.h"

struct connection_limits;

/* Returns 0 or -ENOMEM. Lets nobody in before connection_limits_set. */
MUST_CHECK int connection_limits_new(struct connection_limits **ret);

/* Takes NULL. */
void connection_limits_free(struct connection_limits *limits);

/* Takes effect for connections to come; both at least 1. */
void connection_limits_set(struct connection_limits *limits, size_t max_connections, size_t max_per_client);

/*
 * Counts one connection of the client. REASON_COMPLETED: counted, to be given back with _release. Otherwise
 * TOO_MANY_CONNECTIONS, TOO_MANY_CLIENT_CONNECTIONS or NO_RESOURCES, and nothing was counted.
 */
MUST_CHECK enum reason connection_limits_take(struct connection_limits *limits, const struct net_address *client);
void connection_limits_release(struct connection_limits *limits, const struct net_address *client);

/* Connections open now. */
size_t connection_limits_open(const struct connection_limits *limits);
