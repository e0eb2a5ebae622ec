/*
 * What a client's first bytes are, TLS or HTTP/1, and whom they ask for: joins client_hello and http_request and turns
 * their errors into reasons. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "inspect/client_hello.h"
#include "inspect/http_request.h"
#include "policy/reason.h"

enum inspect_status {
        INSPECT_OK = 0,
        INSPECT_NEED_MORE,
        INSPECT_REFUSE, /* see inspect_result.reason */
};

enum inspect_protocol {
        INSPECT_PROTOCOL_UNKNOWN = 0, /* nothing seen, or neither of the two */
        INSPECT_PROTOCOL_TLS,
        INSPECT_PROTOCOL_HTTP,
};

struct inspect_result {
        enum inspect_protocol protocol; /* what it looks like so far; always written */
        enum reason reason;             /* REFUSE: why */
        size_t needed;                  /* NEED_MORE: total length at which to ask again */
        union {
                struct client_hello hello;   /* OK and TLS; server_name may be empty */
                struct http_request request; /* OK and HTTP */
        };
};

/* Judges bytes[0..length) as the start of a connection or of a further HTTP request. */
enum inspect_status inspect_bytes(const void *bytes, size_t length, struct inspect_result *ret);

/* The same where only TLS may come: inside a CONNECT tunnel. Anything else is UNKNOWN_PROTOCOL. */
enum inspect_status inspect_tunnel_bytes(const void *bytes, size_t length, struct inspect_result *ret);

/* Whether bytes begin with a method of HTTP/1 in common use, or are the beginning of one: for guessing, not for deciding. */
bool inspect_looks_like_http(const void *bytes, size_t length);
