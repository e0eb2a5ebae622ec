/*
 * The last part of a connection's way: bytes go both ways. Starts the relay or exchange that fits what the client speaks,
 * with the gate that keeps judging what must still be judged, and takes the result. Only connection.c calls these.
 */
#pragma once

#include <stddef.h>

struct connection;

/* TLS whose hello of hello_length bytes was judged: a second hello may not name another server. */
void connection_relay_tls(struct connection *c, size_t hello_length);

/*
 * Any bytes, to a destination that a network rule (or audit mode) let through: a name in the first ones is still recorded
 * and judged by deny rules.
 */
void connection_relay_passing(struct connection *c);

/* The attempt's HTTP request and its response. */
void connection_relay_http(struct connection *c);
