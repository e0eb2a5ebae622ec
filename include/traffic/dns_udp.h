/*
 * The DNS listener's UDP side of one worker: datagrams in batches to queries (dns_request.h), and responses back from the
 * address that was asked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "policy/reason.h"
#include "traffic/dns_request.h"

struct dns_udp;

/* Opens the socket. requests is borrowed. Returns 0, or -Exxx with a sentence in error. */
MUST_CHECK int dns_udp_new(struct dns_requests *requests, const struct net_endpoint *endpoint, char *error,
                           size_t error_size, struct dns_udp **ret);

/* Takes the queries that have arrived, and then no more; those that wait for their answer go on. */
void dns_udp_drain(struct dns_udp *udp);

/* Whether no query waits for its answer. */
bool dns_udp_is_idle(const struct dns_udp *udp);

/* Ends the queries that wait, with this reason in their records. */
void dns_udp_end_queries(struct dns_udp *udp, enum reason reason);

/* When it is idle. Takes NULL. */
void dns_udp_free(struct dns_udp *udp);
