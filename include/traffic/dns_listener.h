/*
 * The DNS listener of one worker: UDP and TCP on one endpoint, for VNETs that use this machine as their DNS server. Every
 * worker opens its own sockets (SO_REUSEPORT), with queries, cache and servers of its own.
 *
 *   listener (TCP) → dns_stream ─┐
 *                                ├─▶ dns_request ─▶ dns_lookup (cache, servers) ─▶ dns_told ─▶ response, record
 *   dns_udp ─────────────────────┘
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "policy/reason.h"
#include "traffic/connection.h"
#include "traffic/learned_teacher.h"

struct dns_listener;

/* Opens the sockets at config's listen.dns. traffic and school are borrowed. Returns 0, or -Exxx with a sentence in error. */
MUST_CHECK int dns_listener_new(struct traffic *traffic, struct learned_school *school, const struct config *config,
                                char *error, size_t error_size, struct dns_listener **ret);

/* Takes another configuration's servers, zones and timeout. Returns 0 or -Exxx (nothing changed). */
MUST_CHECK int dns_listener_reconfigure(struct dns_listener *listener, const struct config *config);

/* Takes no more queries; those under way are answered. */
void dns_listener_drain(struct dns_listener *listener);

/* Whether no query waits and no connection is open. NULL: true. */
bool dns_listener_is_idle(const struct dns_listener *listener);

/* Ends all connections and queries, with this reason in their records. Takes NULL. */
void dns_listener_close_all(struct dns_listener *listener, enum reason reason);

/* After dns_listener_close_all. Takes NULL and half-built ones. */
void dns_listener_free(struct dns_listener *listener);
