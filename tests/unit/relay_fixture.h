/* A relay between two socket pairs, with the far ends in the test's hands, and a gate that does what it is told. */
#pragma once

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "net/relay.h"
#include "net_testing.h"

#define LONG_MS 60000
#define STREAM_BYTES (3 << 20)
#define TINY_BUFFER 4096

/* The far end of one side: sends a stream, checks another, as fast as it may. */
struct peer {
        int fd;
        struct event event;
        const uint8_t *to_send;
        size_t send_length;
        size_t sent;
        const uint8_t *expected;
        size_t expected_length;
        size_t received;
        size_t chunk; /* most bytes a call */
        bool saw_end;
};

struct fixture {
        struct event_base *base;
        struct relay_pool *pool;
        struct relay *relay;
        int client;      /* the client's own end */
        int client_side; /* the relay's end towards it */
        int origin;
        int origin_side;
        bool done;
        struct relay_result result;
        size_t descriptors;
        bool pass_held_at_end;
        /* the gate */
        size_t gate_calls[2];
        size_t gate_seen;  /* bytes of the last call */
        size_t gate_needs; /* passes nothing of the client below this many bytes */
        bool gate_waits_for_origin;
        bool gate_opens;
        bool gate_refuses;
        size_t gate_piece; /* passes at most this much at once; 0: everything */
};

static inline struct fixture *fixture_new(void)
{
        struct fixture *fixture = calloc(1, sizeof(*fixture));

        assert_non_null(fixture);
        fixture->descriptors = count_descriptors();
        fixture->base = event_base_new();
        assert_non_null(fixture->base);
        assert_int_equal(relay_pool_new(fixture->base, &fixture->pool), 0);
        return fixture;
}

static inline void fixture_connect(struct fixture *fixture, void (*pair)(int ends[2], int buffer_size), int buffer_size)
{
        int ends[2];

        pair(ends, buffer_size);
        fixture->client = ends[0];
        fixture->client_side = ends[1];
        pair(ends, buffer_size);
        fixture->origin = ends[0];
        fixture->origin_side = ends[1];
}

static inline void fixture_free(struct fixture *fixture)
{
        close_and_forget(&fixture->client);
        close_and_forget(&fixture->client_side);
        close_and_forget(&fixture->origin);
        close_and_forget(&fixture->origin_side);
        relay_pool_free(fixture->pool);
        event_base_free(fixture->base);
        assert_int_equal(count_descriptors(), fixture->descriptors);
        free(fixture);
}

static inline void on_done(const struct relay_result *result, void *context)
{
        struct fixture *fixture = context;

        assert_false(fixture->done);
        fixture->done = true;
        fixture->relay = NULL;
        fixture->result = *result;
}

static inline enum relay_gate_verdict gate(enum relay_direction direction, const void *bytes, size_t length,
                                           size_t *ret_pass, enum reason *ret_reason, void *context)
{
        struct fixture *fixture = context;
        size_t piece = fixture->gate_piece == 0 || fixture->gate_piece > length ? length : fixture->gate_piece;

        (void)bytes;
        assert_true(length > 0 && length <= RELAY_GATE_MAX_BYTES);
        fixture->gate_calls[direction]++;
        if (direction == RELAY_IN) {
                fixture->gate_waits_for_origin = false;
                *ret_pass = piece;
                return fixture->gate_opens ? RELAY_GATE_OPEN : RELAY_GATE_PASS;
        }
        fixture->gate_seen = length;
        if (fixture->gate_refuses) {
                *ret_reason = REASON_SERVER_NAME_CHANGED;
                return RELAY_GATE_REFUSE;
        }
        if (fixture->gate_waits_for_origin || length < fixture->gate_needs) {
                *ret_pass = 0;
                return RELAY_GATE_PASS;
        }
        *ret_pass = piece;
        return fixture->gate_opens ? RELAY_GATE_OPEN : RELAY_GATE_PASS;
}

static inline void start_with(struct fixture *fixture, const void *first, size_t first_length, size_t judged_length,
                              unsigned idle_timeout_ms, relay_gate_fn with_gate)
{
        struct relay_request request = { .client_fd = fixture->client_side,
                                         .upstream_fd = fixture->origin_side,
                                         .first = first,
                                         .first_length = first_length,
                                         .judged_length = judged_length,
                                         .idle_timeout_ms = idle_timeout_ms,
                                         .gate = with_gate,
                                         .pass_held_at_end = fixture->pass_held_at_end };

        assert_int_equal(relay_start(fixture->pool, &request, on_done, fixture, &fixture->relay), 0);
        assert_false(fixture->done);
}

static inline void start(struct fixture *fixture, const char *first, unsigned idle_timeout_ms, relay_gate_fn with_gate)
{
        start_with(fixture, first, strlen(first), strlen(first), idle_timeout_ms, with_gate);
}

static inline bool is_done(void *context)
{
        struct fixture *fixture = context;

        return fixture->done;
}

static inline void run_to_end(struct fixture *fixture)
{
        loop_until(fixture->base, is_done, fixture);
}

static inline void assert_receives(struct fixture *fixture, int fd, const char *text)
{
        char buffer[256];

        loop_until_quiet(fixture->base);
        ssize_t got = recv(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT);
        assert_true(got >= 0);
        buffer[got] = '\0';
        assert_string_equal(buffer, text);
}

static inline void assert_receives_nothing(struct fixture *fixture, int fd)
{
        char byte;

        loop_until_quiet(fixture->base);
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
}

static inline size_t send_all_it_takes(int fd)
{
        static const uint8_t zeros[65536];
        size_t total = 0;
        ssize_t sent;

        while ((sent = send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
                total += (size_t)sent;
        return total;
}

/* Fills the way until nothing moves any more; TCP's delayed acknowledgements (40 ms) are waited for. */
static inline void fill_until_stalled(struct fixture *fixture, int fd)
{
        size_t passes = 0;

        while (send_all_it_takes(fd) > 0 || passes > 0)
                passes = loop_passes_in(fixture->base, 60);
}

static inline void peer_write(struct peer *peer)
{
        size_t left = peer->send_length - peer->sent;
        ssize_t sent =
                send(peer->fd, peer->to_send + peer->sent, left < peer->chunk ? left : peer->chunk, MSG_NOSIGNAL);

        if (sent == -1)
                return;
        peer->sent += (size_t)sent;
        if (peer->sent == peer->send_length)
                shutdown(peer->fd, SHUT_WR);
}

static inline void peer_read(struct peer *peer)
{
        uint8_t buffer[65536];
        ssize_t got = recv(peer->fd, buffer, peer->chunk < sizeof(buffer) ? peer->chunk : sizeof(buffer), 0);

        if (got == -1)
                return;
        peer->saw_end = got == 0;
        assert_true(peer->received + (size_t)got <= peer->expected_length);
        assert_memory_equal(buffer, peer->expected + peer->received, (size_t)got);
        peer->received += (size_t)got;
}

static inline void peer_on_ready(evutil_socket_t fd, short what, void *context)
{
        struct peer *peer = context;

        if ((what & EV_READ) != 0)
                peer_read(peer);
        if ((what & EV_WRITE) != 0 && peer->sent < peer->send_length)
                peer_write(peer);
        short wanted = (short)((peer->saw_end ? 0 : EV_READ) | (peer->sent < peer->send_length ? EV_WRITE : 0));
        if (wanted == 0)
                return;
        event_assign(&peer->event, event_get_base(&peer->event), fd, wanted, peer_on_ready, peer);
        event_add(&peer->event, NULL);
}

static inline void peer_start(struct peer *peer, struct event_base *base)
{
        event_assign(&peer->event, base, peer->fd, EV_READ | EV_WRITE, peer_on_ready, peer);
        event_add(&peer->event, NULL);
}
