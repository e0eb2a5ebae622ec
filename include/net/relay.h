/*
 * Carries bytes between two connected sockets until both directions have ended: back-pressure, half-close, idle
 * timeout, no buffer held while idle (a shared per-worker block; what the other side does not take at once is kept
 * until it does, bounded by one block a direction), splice() through pooled pipes for long streams.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/reason.h"

struct relay;
struct relay_pool; /* what the relays of one worker share: the block, the pipes, the idle timeout */

enum relay_direction {
        RELAY_OUT = 0, /* client to origin */
        RELAY_IN,      /* origin to client */
};

/*
 * The process must ignore SIGPIPE: splice() to a socket whose peer is gone raises it and has no MSG_NOSIGNAL.
 * Returns 0 or -ENOMEM. _free takes NULL; every relay must have ended.
 */
MUST_CHECK int relay_pool_new(struct event_base *base, struct relay_pool **ret);
void relay_pool_free(struct relay_pool *pool);

/* What the relays of a worker hold now; tests and benchmarks look at it. */
struct relay_pool_statistics {
        size_t relays;
        size_t pipes_in_use;    /* only by directions whose receiver is slower than the sender at this moment */
        uint64_t bytes_spliced; /* since the pool was made */
};
void relay_pool_statistics(const struct relay_pool *pool, struct relay_pool_statistics *ret);

enum relay_gate_verdict {
        RELAY_GATE_PASS = 0, /* send on *ret_pass bytes (0: hold all until more come or the other direction moves) */
        RELAY_GATE_OPEN,     /* send on everything; the gate is not asked again in this direction */
        RELAY_GATE_REFUSE,   /* end the relay with *ret_reason */
};

/*
 * Judges bytes before they are sent on; asked with all bytes held so far (at most RELAY_GATE_MAX_BYTES) when new ones
 * came, and again for the client's held bytes after origin bytes passed. NULL: no gate, the fast path. It must not
 * start, cancel or count relays. A direction that holds RELAY_GATE_MAX_BYTES, none of which may pass, is
 * refused with CLIENT_HELLO_TOO_LARGE; one that ends while bytes are held ends without them, unless pass_held_at_end.
 */
#define RELAY_GATE_MAX_BYTES (65536 + 4096)
typedef enum relay_gate_verdict (*relay_gate_fn)(enum relay_direction direction, const void *bytes, size_t length,
                                                 size_t *ret_pass, enum reason *ret_reason, void *context);

/*
 * reason: COMPLETED, CLIENT_ABORTED, UPSTREAM_ABORTED, IDLE_TIMEOUT, NO_RESOURCES, or what the gate said. The bytes are
 * those that the origin's socket took and gave. The handle is gone when the callback runs; the descriptors are still
 * open and the caller's.
 */
struct relay_result {
        enum reason reason;
        uint64_t bytes_out;
        uint64_t bytes_in;
};
typedef void (*relay_fn)(const struct relay_result *result, void *context);

/*
 * The descriptors are non-blocking stream sockets and stay the caller's, who must not touch them until the callback or
 * cancel. first are bytes that were read from the client already: they are sent at once as far as the origin takes
 * them, the rest is copied; those past judged_length wait for the gate, if there is one.
 */
struct relay_request {
        int client_fd;
        int upstream_fd;
        const void *first;
        size_t first_length;
        size_t judged_length;
        unsigned idle_timeout_ms;
        relay_gate_fn gate;    /* NULL: none */
        bool pass_held_at_end; /* for a gate that looks at bytes and has nothing against those that it holds */
};

/* Returns 0 or -ENOMEM (no callback); on_done never runs inside this call, the gate may. */
MUST_CHECK int relay_start(struct relay_pool *pool, const struct relay_request *request, relay_fn on_done,
                           void *context, struct relay **ret);

/* Stops without a callback; *ret gets what was counted so far. */
void relay_cancel(struct relay *relay, struct relay_result *ret);

/* What was counted so far; reason means nothing yet. */
void relay_counts(const struct relay *relay, struct relay_result *ret);
