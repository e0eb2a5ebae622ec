/*
 * Accepts connections for one worker. Every worker opens its own sockets for the same endpoint (SO_REUSEPORT), and the
 * kernel spreads the clients. Out of descriptors, a spare one is used to take a client in, record it and turn it away.
 */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "records/decision.h"
#include "traffic/connection.h"

struct listener;

/*
 * Opens the transparent listener on every address, both families, or the proxy listener on its endpoint. traffic is
 * borrowed. Returns 0, or -Exxx with a sentence in error.
 */
MUST_CHECK int listener_new(struct traffic *traffic, enum decision_listener kind, const struct net_endpoint *endpoint,
                            char *error, size_t error_size, struct listener **ret);

/* Takes over a client's accepted, non-blocking socket. */
typedef void (*listener_client_fn)(int client_fd, const struct net_endpoint *client, void *context);

/* The same for a listener on its endpoint whose clients do not become proxied connections but go to on_client. */
MUST_CHECK int listener_new_handing_on(struct traffic *traffic, enum decision_listener kind,
                                       const struct net_endpoint *endpoint, listener_client_fn on_client, void *context,
                                       char *error, size_t error_size, struct listener **ret);

/* Stops accepting. Takes NULL. */
void listener_free(struct listener *listener);
