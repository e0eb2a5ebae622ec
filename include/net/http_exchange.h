/*
 * One HTTP request and its response between a client and an origin: sends the prepared request head, passes the
 * request's body and the response on, finds where both end. Buffers only while bytes wait. The service behind cleartext
 * HTTP; TLS and tunnels use relay.h.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/http_request.h"
#include "policy/reason.h"

struct http_exchange;
struct evbuffer;

struct http_exchange_request {
        int client_fd; /* the caller's, like upstream_fd; not to be touched until the callback */
        int upstream_fd;
        const void *head; /* as it goes to the origin; copied */
        size_t head_length;
        struct evbuffer *client_input; /* borrowed: bytes of the client after the head; the body is drained from it */
        enum http_body body;
        uint64_t body_length;
        bool to_head; /* HEAD request */
        bool client_keep_alive;
        bool upgrade; /* a 101 answer is acceptable */
        unsigned idle_timeout_ms;
};

enum http_exchange_next {
        HTTP_EXCHANGE_CLOSE = 0,   /* the client connection is to be closed (flushed already) */
        HTTP_EXCHANGE_LINGER,      /* likewise, but the client may still be sending: read and drop for a while first */
        HTTP_EXCHANGE_KEEP_BOTH,   /* another request may follow; the origin keeps its connection open too */
        HTTP_EXCHANGE_KEEP_CLIENT, /* another request may follow; the origin's connection is used up */
        HTTP_EXCHANGE_UPGRADED,    /* 101 and what followed it was passed on: relay both ways, client_input first */
};

/*
 * reason: COMPLETED, CLIENT_ABORTED, UPSTREAM_ABORTED, IDLE_TIMEOUT, BAD_RESPONSE, BAD_REQUEST (a bad chunk),
 * NO_RESOURCES. answered: at least one byte of a final response (or of an interim one that was cut) went to the client,
 * so no refusal can be written any more. Bytes are those that the origin's socket took and gave.
 */
struct http_exchange_result {
        enum reason reason;
        enum http_exchange_next next;
        bool answered;
        uint64_t bytes_out;
        uint64_t bytes_in;
};

typedef void (*http_exchange_fn)(const struct http_exchange_result *result, void *context);

/*
 * Interim responses go through as they are; of the final head only what speaks of the origin's connection is changed
 * (http_response_format_client). A final response before the end of the request's body ends the exchange with LINGER:
 * close() with the client's bytes unread would reset the response away (RFC 9112 9.6). Nothing is
 * read past the request but what came with its chunked body, which is put into client_input. So a client that has
 * half-closed after its request gets its response, and the caller's next read tells the end. An origin that closed
 * after KEEP_BOTH is told by the next exchange: UPSTREAM_ABORTED, not answered.
 *
 * The callback runs once, never inside this call. Returns 0 or -ENOMEM.
 */
MUST_CHECK int http_exchange_start(struct event_base *base, const struct http_exchange_request *request,
                                   http_exchange_fn on_done, void *context, struct http_exchange **ret);

/* Stops without a callback; *ret gets what was counted so far. */
void http_exchange_cancel(struct http_exchange *exchange, struct http_exchange_result *ret);
