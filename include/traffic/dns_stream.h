/*
 * The DNS listener's TCP side of one worker (RFC 7766): connections that bring any number of queries, each behind its length,
 * and are answered in whatever order the answers come. They may stay open and idle for timeouts.idle, as LocalDNS on every
 * node keeps its own. A connection with many queries under way, or with responses that it does not read, is not read from
 * until that changes; nothing is dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "policy/reason.h"
#include "traffic/dns_request.h"

struct dns_streams; /* those of one worker */

/* requests is borrowed. Returns 0 or -ENOMEM. */
MUST_CHECK int dns_streams_new(struct dns_requests *requests, struct dns_streams **ret);

/* Takes over an accepted, non-blocking socket (a listener_client_fn): what cannot be served is recorded and closed. */
void dns_stream_start(int client_fd, const struct net_endpoint *client, void *streams);

/* Lets each connection end when what it has asked is answered. */
void dns_streams_drain(struct dns_streams *streams);

size_t dns_streams_count(const struct dns_streams *streams);

/* Ends all connections, and the queries that wait with this reason in their records. */
void dns_streams_close(struct dns_streams *streams, enum reason reason);

/* When none is open. Takes NULL. */
void dns_streams_free(struct dns_streams *streams);
