#include "net/relay.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
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
        /* the gate */
        size_t gate_calls[2];
        size_t gate_seen;  /* bytes of the last call */
        size_t gate_needs; /* passes nothing of the client below this many bytes */
        bool gate_waits_for_origin;
        bool gate_opens;
        bool gate_refuses;
        size_t gate_piece; /* passes at most this much at once; 0: everything */
};

static struct fixture *fixture_new(void)
{
        struct fixture *fixture = calloc(1, sizeof(*fixture));

        assert_non_null(fixture);
        fixture->descriptors = count_descriptors();
        fixture->base = event_base_new();
        assert_non_null(fixture->base);
        assert_int_equal(relay_pool_new(fixture->base, &fixture->pool), 0);
        return fixture;
}

static void fixture_connect(struct fixture *fixture, void (*pair)(int ends[2], int buffer_size), int buffer_size)
{
        int ends[2];

        pair(ends, buffer_size);
        fixture->client = ends[0];
        fixture->client_side = ends[1];
        pair(ends, buffer_size);
        fixture->origin = ends[0];
        fixture->origin_side = ends[1];
}

static void close_and_forget(int *fd)
{
        if (*fd != -1)
                close(*fd);
        *fd = -1;
}

static void fixture_free(struct fixture *fixture)
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

static void on_done(const struct relay_result *result, void *context)
{
        struct fixture *fixture = context;

        assert_false(fixture->done);
        fixture->done = true;
        fixture->relay = NULL;
        fixture->result = *result;
}

static enum relay_gate_verdict gate(enum relay_direction direction, const void *bytes, size_t length, size_t *ret_pass,
                                    enum reason *ret_reason, void *context)
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

static void start_with(struct fixture *fixture, const void *first, size_t first_length, size_t judged_length,
                       unsigned idle_timeout_ms, relay_gate_fn with_gate)
{
        struct relay_request request = { .client_fd = fixture->client_side,
                                         .upstream_fd = fixture->origin_side,
                                         .first = first,
                                         .first_length = first_length,
                                         .judged_length = judged_length,
                                         .idle_timeout_ms = idle_timeout_ms,
                                         .gate = with_gate };

        assert_int_equal(relay_start(fixture->pool, &request, on_done, fixture, &fixture->relay), 0);
        assert_false(fixture->done);
}

static void start(struct fixture *fixture, const char *first, unsigned idle_timeout_ms, relay_gate_fn with_gate)
{
        start_with(fixture, first, strlen(first), strlen(first), idle_timeout_ms, with_gate);
}

static bool is_done(void *context)
{
        struct fixture *fixture = context;

        return fixture->done;
}

static void run_to_end(struct fixture *fixture)
{
        loop_until(fixture->base, is_done, fixture);
}

static void send_text(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void assert_receives(struct fixture *fixture, int fd, const char *text)
{
        char buffer[256];

        loop_until_quiet(fixture->base);
        ssize_t got = recv(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT);
        assert_true(got >= 0);
        buffer[got] = '\0';
        assert_string_equal(buffer, text);
}

static void assert_receives_nothing(struct fixture *fixture, int fd)
{
        char byte;

        loop_until_quiet(fixture->base);
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
}

static size_t send_all_it_takes(int fd)
{
        static const uint8_t zeros[65536];
        size_t total = 0;
        ssize_t sent;

        while ((sent = send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
                total += (size_t)sent;
        return total;
}

/* Fills the way until nothing moves any more; TCP's delayed acknowledgements (40 ms) are waited for. */
static void fill_until_stalled(struct fixture *fixture, int fd)
{
        size_t passes = 0;

        while (send_all_it_takes(fd) > 0 || passes > 0)
                passes = loop_passes_in(fixture->base, 60);
}

static size_t pipes_in_use(const struct fixture *fixture)
{
        struct relay_pool_statistics statistics;

        relay_pool_statistics(fixture->pool, &statistics);
        return statistics.pipes_in_use;
}

/* An origin far ahead of a client that reads now and then makes the direction stream and stall with bytes in a pipe. */
static void stall_with_bytes_in_a_pipe(struct fixture *fixture)
{
        uint8_t drain[65536];

        fill_until_stalled(fixture, fixture->origin);
        for (int round = 0; round < 50 && pipes_in_use(fixture) == 0; round++) {
                for (int i = 0; i < 8; i++)
                        (void)!recv(fixture->client, drain, sizeof(drain), MSG_DONTWAIT);
                fill_until_stalled(fixture, fixture->origin);
        }
        assert_int_equal(pipes_in_use(fixture), 1);
}

static void peer_write(struct peer *peer)
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

static void peer_read(struct peer *peer)
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

static void peer_on_ready(evutil_socket_t fd, short what, void *context)
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

static void peer_start(struct peer *peer, struct event_base *base)
{
        event_assign(&peer->event, base, peer->fd, EV_READ | EV_WRITE, peer_on_ready, peer);
        event_add(&peer->event, NULL);
}

static void carry_both_ways(void (*pair)(int ends[2], int buffer_size), int buffer_size, size_t chunk,
                            relay_gate_fn with_gate, bool gate_opens, uint64_t *ret_spliced)
{
        struct fixture *fixture = fixture_new();
        uint8_t *out = malloc(STREAM_BYTES);
        uint8_t *in = malloc(STREAM_BYTES);
        struct relay_pool_statistics statistics;

        fill_random(out, STREAM_BYTES, 1);
        fill_random(in, STREAM_BYTES, 2);
        fixture_connect(fixture, pair, buffer_size);
        fixture->gate_opens = gate_opens;
        fixture->gate_piece = 5000;
        start(fixture, "", LONG_MS, with_gate);

        struct peer client = { .fd = fixture->client,
                               .to_send = out,
                               .send_length = STREAM_BYTES,
                               .expected = in,
                               .expected_length = STREAM_BYTES,
                               .chunk = chunk };
        struct peer origin = { .fd = fixture->origin,
                               .to_send = in,
                               .send_length = STREAM_BYTES,
                               .expected = out,
                               .expected_length = STREAM_BYTES,
                               .chunk = chunk };
        peer_start(&client, fixture->base);
        peer_start(&origin, fixture->base);
        run_to_end(fixture);
        while (!client.saw_end || !origin.saw_end)
                event_base_loop(fixture->base, EVLOOP_ONCE);

        assert_int_equal(client.received, STREAM_BYTES);
        assert_int_equal(origin.received, STREAM_BYTES);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.bytes_out, STREAM_BYTES);
        assert_int_equal(fixture->result.bytes_in, STREAM_BYTES);
        relay_pool_statistics(fixture->pool, &statistics);
        assert_int_equal(statistics.pipes_in_use, 0);
        assert_int_equal(statistics.relays, 0);
        *ret_spliced = statistics.bytes_spliced;
        free(out);
        free(in);
        fixture_free(fixture);
}

static void streams_arrive_unchanged_both_ways_over_tcp(void **state)
{
        uint64_t spliced;

        (void)state;
        carry_both_ways(tcp_pair, 0, 65536, NULL, false, &spliced);
}

static void streams_arrive_unchanged_with_tiny_buffers(void **state)
{
        uint64_t spliced;

        (void)state;
        carry_both_ways(tcp_pair, TINY_BUFFER, 65536, NULL, false, &spliced);
        carry_both_ways(unix_pair, TINY_BUFFER, 65536, NULL, false, &spliced);
}

static void streams_arrive_unchanged_at_a_slow_reader(void **state)
{
        uint64_t spliced;

        (void)state;
        carry_both_ways(tcp_pair, 0, 1999, NULL, false, &spliced);
        carry_both_ways(unix_pair, 0, 1999, NULL, false, &spliced);
}

static void streams_arrive_unchanged_through_a_gate(void **state)
{
        uint64_t spliced;

        (void)state;
        carry_both_ways(tcp_pair, 0, 65536, gate, false, &spliced);
        assert_int_equal(spliced, 0);
        carry_both_ways(tcp_pair, TINY_BUFFER, 65536, gate, true, &spliced);
        carry_both_ways(tcp_pair, 0, 65536, gate, true, &spliced);
}

/* One way, with the sender ahead of the relay, so that its reads are full. */
static void long_streams_are_spliced(void **state)
{
        struct fixture *fixture = fixture_new();
        uint8_t *bytes = malloc(STREAM_BYTES);
        struct relay_pool_statistics statistics;

        (void)state;
        fill_random(bytes, STREAM_BYTES, 3);
        fixture_connect(fixture, tcp_pair, 1 << 20);
        ssize_t early = send(fixture->origin, bytes, STREAM_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT);
        assert_true(early > 512 << 10);
        start(fixture, "", LONG_MS, NULL);

        struct peer client = {
                .fd = fixture->client, .expected = bytes, .expected_length = STREAM_BYTES, .chunk = 4000
        };
        struct peer origin = { .fd = fixture->origin,
                               .to_send = bytes,
                               .send_length = STREAM_BYTES,
                               .sent = (size_t)early,
                               .chunk = 1 << 20 };
        peer_start(&client, fixture->base);
        peer_start(&origin, fixture->base);
        while (!client.saw_end)
                event_base_loop(fixture->base, EVLOOP_ONCE);
        assert_int_equal(client.received, STREAM_BYTES);
        relay_pool_statistics(fixture->pool, &statistics);
        assert_true(statistics.bytes_spliced > 0);
        assert_int_equal(statistics.pipes_in_use, 0);
        shutdown(fixture->client, SHUT_WR);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        free(bytes);
        fixture_free(fixture);
}

static void the_first_bytes_reach_the_origin(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "hello", LONG_MS, NULL);
        assert_receives(fixture, fixture->origin, "hello");
        send_text(fixture->client, ", origin");
        assert_receives(fixture, fixture->origin, ", origin");
        close_and_forget(&fixture->client);
        close_and_forget(&fixture->origin);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.bytes_out, strlen("hello, origin"));
        fixture_free(fixture);
}

static void first_bytes_that_the_origin_does_not_take_wait_for_it(void **state)
{
        struct fixture *fixture = fixture_new();
        uint8_t *bytes = malloc(STREAM_BYTES);

        (void)state;
        fill_random(bytes, STREAM_BYTES, 4);
        fixture_connect(fixture, unix_pair, TINY_BUFFER);
        start_with(fixture, bytes, 65536, 65536, LONG_MS, NULL);
        struct peer origin = { .fd = fixture->origin, .expected = bytes, .expected_length = 65536, .chunk = 1000 };
        peer_start(&origin, fixture->base);
        shutdown(fixture->client, SHUT_WR);
        while (!origin.saw_end)
                event_base_loop(fixture->base, EVLOOP_ONCE);
        assert_int_equal(origin.received, 65536);
        shutdown(fixture->origin, SHUT_WR);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        free(bytes);
        fixture_free(fixture);
}

static void an_origin_that_is_gone_at_the_start_is_told_by_the_callback(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        start(fixture, "hello", LONG_MS, NULL);
        assert_false(fixture->done);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_UPSTREAM_ABORTED);
        assert_int_equal(fixture->result.bytes_out, 0);
        fixture_free(fixture);
}

static void a_client_that_ends_first_still_gets_the_answer(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, NULL);
        send_text(fixture->client, "question");
        shutdown(fixture->client, SHUT_WR);
        assert_receives(fixture, fixture->origin, "question");
        assert_receives(fixture, fixture->origin, "");
        assert_false(fixture->done);
        send_text(fixture->origin, "answer");
        shutdown(fixture->origin, SHUT_WR);
        run_to_end(fixture);
        assert_receives(fixture, fixture->client, "answer");
        assert_receives(fixture, fixture->client, "");
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        fixture_free(fixture);
}

static void an_origin_that_ends_first_still_gets_the_rest(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, NULL);
        send_text(fixture->origin, "220 welcome");
        shutdown(fixture->origin, SHUT_WR);
        assert_receives(fixture, fixture->client, "220 welcome");
        assert_receives(fixture, fixture->client, "");
        assert_false(fixture->done);
        send_text(fixture->client, "quit");
        shutdown(fixture->client, SHUT_WR);
        run_to_end(fixture);
        assert_receives(fixture, fixture->origin, "quit");
        assert_receives(fixture, fixture->origin, "");
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        fixture_free(fixture);
}

static void a_reset_tells_which_side_it_came_from(void **state)
{
        (void)state;
        for (int from_client = 0; from_client < 2; from_client++) {
                struct fixture *fixture = fixture_new();

                fixture_connect(fixture, tcp_pair, 0);
                start(fixture, "", LONG_MS, NULL);
                int *end = from_client ? &fixture->client : &fixture->origin;
                close_with_reset(*end);
                *end = -1;
                run_to_end(fixture);
                assert_int_equal(fixture->result.reason, from_client ? REASON_CLIENT_ABORTED : REASON_UPSTREAM_ABORTED);
                fixture_free(fixture);
        }
}

static void a_client_that_resets_while_the_origin_stalls_is_noticed(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, TINY_BUFFER);
        start(fixture, "", LONG_MS, NULL);
        fill_until_stalled(fixture, fixture->client);
        close_with_reset(fixture->client);
        fixture->client = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_ABORTED);
        fixture_free(fixture);
}

static void a_half_closed_client_that_resets_is_noticed(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, NULL);
        shutdown(fixture->client, SHUT_WR);
        loop_until_quiet(fixture->base);
        assert_false(fixture->done);
        close_with_reset(fixture->client);
        fixture->client = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_ABORTED);
        fixture_free(fixture);
}

static void what_the_origin_sent_before_its_reset_still_reaches_the_client(void **state)
{
        struct fixture *fixture = fixture_new();
        size_t received = 0;
        char buffer[65536];

        (void)state;
        fixture_connect(fixture, tcp_pair, TINY_BUFFER);
        start(fixture, "", LONG_MS, NULL);
        fill_until_stalled(fixture, fixture->origin);
        struct relay_result before;
        relay_counts(fixture->relay, &before);
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        loop_until_quiet(fixture->base);
        assert_false(fixture->done);
        while (!fixture->done) {
                ssize_t got = recv(fixture->client, buffer, sizeof(buffer), MSG_DONTWAIT);

                received += got > 0 ? (size_t)got : 0;
                loop_until_quiet(fixture->base);
        }
        assert_int_equal(fixture->result.reason, REASON_UPSTREAM_ABORTED);
        for (ssize_t got = 1; got > 0; received += got > 0 ? (size_t)got : 0)
                got = recv(fixture->client, buffer, sizeof(buffer), MSG_DONTWAIT);
        assert_true(received >= before.bytes_in);
        fixture_free(fixture);
}

static void silence_ends_the_relay_after_the_idle_timeout(void **state)
{
        struct fixture *fixture = fixture_new();
        uint64_t started_ms = clock_monotonic_ms();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", 40, NULL);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_IDLE_TIMEOUT);
        assert_true(clock_monotonic_ms() - started_ms >= 40);
        fixture_free(fixture);
}

static void a_half_open_relay_obeys_the_idle_timeout(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", 40, NULL);
        shutdown(fixture->client, SHUT_WR);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_IDLE_TIMEOUT);
        fixture_free(fixture);
}

static void send_a_byte(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        send_text(*(int *)context, "x");
}

static void traffic_in_either_direction_puts_the_idle_timeout_off(void **state)
{
        struct fixture *fixture = fixture_new();
        struct timeval interval = { .tv_usec = 20000 };
        uint64_t started_ms = clock_monotonic_ms();

        (void)state;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", 120, NULL);
        struct event *timer = event_new(fixture->base, -1, EV_PERSIST, send_a_byte, &fixture->origin);
        event_add(timer, &interval);
        loop_passes_in(fixture->base, 360);
        assert_false(fixture->done);
        event_free(timer);
        uint64_t silent_ms = clock_monotonic_ms();
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_IDLE_TIMEOUT);
        assert_true(clock_monotonic_ms() - started_ms >= 360);
        assert_true(clock_monotonic_ms() - silent_ms >= 120 - 40);
        fixture_free(fixture);
}

static void a_stalled_reader_costs_no_wakeups(void **state)
{
        (void)state;
        for (int from_client = 0; from_client < 2; from_client++) {
                struct fixture *fixture = fixture_new();

                fixture_connect(fixture, tcp_pair, TINY_BUFFER);
                start(fixture, "", LONG_MS, NULL);
                int sender = from_client ? fixture->client : fixture->origin;
                fill_until_stalled(fixture, sender);
                assert_true(loop_passes_in(fixture->base, 100) <= 1);
                /* Nor when the sender then ends, which its socket says for ever. */
                shutdown(sender, SHUT_WR);
                assert_true(loop_passes_in(fixture->base, 100) <= 2);
                relay_cancel(fixture->relay, &fixture->result);
                fixture_free(fixture);
        }
}

static void a_reset_of_a_stopped_sender_costs_no_wakeups(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, TINY_BUFFER);
        start(fixture, "", LONG_MS, NULL);
        fill_until_stalled(fixture, fixture->origin);
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        assert_true(loop_passes_in(fixture->base, 100) <= 1);
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void a_half_closed_relay_costs_no_wakeups(void **state)
{
        (void)state;
        for (int from_client = 0; from_client < 2; from_client++) {
                struct fixture *fixture = fixture_new();

                fixture_connect(fixture, tcp_pair, 0);
                start(fixture, "", LONG_MS, NULL);
                shutdown(from_client ? fixture->client : fixture->origin, SHUT_WR);
                loop_until_quiet(fixture->base);
                assert_int_equal(loop_passes_in(fixture->base, 100), 0);
                relay_cancel(fixture->relay, &fixture->result);
                fixture_free(fixture);
        }
}

static void a_stalled_direction_does_not_stop_the_other(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture_connect(fixture, tcp_pair, TINY_BUFFER);
        start(fixture, "", LONG_MS, NULL);
        fill_until_stalled(fixture, fixture->origin);
        send_text(fixture->client, "still here");
        assert_receives(fixture, fixture->origin, "still here");
        relay_cancel(fixture->relay, &fixture->result);
        assert_int_equal(fixture->result.bytes_out, strlen("still here"));
        fixture_free(fixture);
}

static void what_a_stalled_reader_makes_the_relay_take_is_bounded(void **state)
{
        struct fixture *fixture = fixture_new();
        struct relay_result counts;

        (void)state;
        fixture_connect(fixture, unix_pair, TINY_BUFFER);
        start(fixture, "", LONG_MS, NULL);
        fill_until_stalled(fixture, fixture->origin);
        relay_counts(fixture->relay, &counts);
        /* A block or a pipe, and what the receiver's own socket took. */
        assert_true(counts.bytes_in <= (256 << 10) + 65536);
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void an_idle_relay_holds_only_its_struct(void **state)
{
        struct fixture *fixture = fixture_new();
        uint8_t drain[65536];

        (void)state;
        fixture_connect(fixture, unix_pair, TINY_BUFFER);
        start(fixture, "", LONG_MS, NULL);
        assert_true(malloc_usable_size(fixture->relay) <= 520);
        /* The first round lets libevent make its tables. */
        size_t before = 0;
        for (int round = 0; round < 3; round++) {
                fill_until_stalled(fixture, fixture->origin);
                while (recv(fixture->client, drain, sizeof(drain), MSG_DONTWAIT) > 0)
                        loop_until_quiet(fixture->base);
                if (round == 0)
                        before = mallinfo2().uordblks;
        }
        assert_int_equal(mallinfo2().uordblks, before);
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void the_gate_is_not_asked_about_the_first_bytes(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_needs = 1000;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "hello", LONG_MS, gate);
        assert_receives(fixture, fixture->origin, "hello");
        assert_int_equal(fixture->gate_calls[RELAY_OUT], 0);
        send_text(fixture->client, "more");
        assert_receives_nothing(fixture, fixture->origin);
        assert_int_equal(fixture->gate_calls[RELAY_OUT], 1);
        relay_cancel(fixture->relay, &fixture->result);
        assert_int_equal(fixture->result.bytes_out, strlen("hello"));
        fixture_free(fixture);
}

static void first_bytes_past_the_judged_ones_wait_for_the_gate(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_needs = 6;
        fixture_connect(fixture, tcp_pair, 0);
        start_with(fixture, "helloabc", 8, 5, LONG_MS, gate);
        assert_receives(fixture, fixture->origin, "hello");
        assert_int_equal(fixture->gate_seen, 3);
        send_text(fixture->client, "def");
        assert_receives(fixture, fixture->origin, "abcdef");
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void first_bytes_that_the_gate_refuses_end_the_relay_later(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_refuses = true;
        fixture_connect(fixture, tcp_pair, 0);
        start_with(fixture, "hello", 5, 0, LONG_MS, gate);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_SERVER_NAME_CHANGED);
        assert_receives_nothing(fixture, fixture->origin);
        fixture_free(fixture);
}

static void held_bytes_go_out_in_order_when_the_gate_has_enough(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_needs = 6;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, gate);
        send_text(fixture->client, "abc");
        assert_receives_nothing(fixture, fixture->origin);
        assert_int_equal(fixture->gate_seen, 3);
        send_text(fixture->client, "def");
        assert_receives(fixture, fixture->origin, "abcdef");
        assert_int_equal(fixture->gate_seen, 6);
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void the_gate_is_asked_again_for_what_it_left(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_piece = 2;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, gate);
        send_text(fixture->client, "abcde");
        assert_receives(fixture, fixture->origin, "abcde");
        assert_int_equal(fixture->gate_calls[RELAY_OUT], 3);
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void the_origin_s_answer_lets_held_bytes_pass(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_waits_for_origin = true;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, gate);
        send_text(fixture->client, "second hello");
        assert_receives_nothing(fixture, fixture->origin);
        send_text(fixture->origin, "server hello");
        assert_receives(fixture, fixture->origin, "second hello");
        assert_receives(fixture, fixture->client, "server hello");
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void an_open_gate_is_not_asked_again(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_opens = true;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, gate);
        for (int i = 0; i < 3; i++) {
                send_text(fixture->client, "out");
                assert_receives(fixture, fixture->origin, "out");
                send_text(fixture->origin, "in");
                assert_receives(fixture, fixture->client, "in");
        }
        assert_int_equal(fixture->gate_calls[RELAY_OUT], 1);
        assert_int_equal(fixture->gate_calls[RELAY_IN], 1);
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

static void refused_bytes_never_reach_the_origin(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_refuses = true;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "hello", LONG_MS, gate);
        send_text(fixture->client, "another name");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_SERVER_NAME_CHANGED);
        assert_int_equal(fixture->result.bytes_out, strlen("hello"));
        assert_receives(fixture, fixture->origin, "hello");
        fixture_free(fixture);
}

static void more_held_bytes_than_a_hello_has_are_refused(void **state)
{
        struct fixture *fixture = fixture_new();
        uint8_t *bytes = calloc(1, RELAY_GATE_MAX_BYTES);

        (void)state;
        fixture->gate_needs = SIZE_MAX;
        fixture_connect(fixture, tcp_pair, 1 << 20);
        start(fixture, "", LONG_MS, gate);
        assert_int_equal(send(fixture->client, bytes, RELAY_GATE_MAX_BYTES - 1, MSG_NOSIGNAL),
                         RELAY_GATE_MAX_BYTES - 1);
        assert_receives_nothing(fixture, fixture->origin);
        assert_false(fixture->done);
        assert_int_equal(fixture->gate_seen, RELAY_GATE_MAX_BYTES - 1);
        send_text(fixture->client, "x");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_HELLO_TOO_LARGE);
        assert_int_equal(fixture->result.bytes_out, 0);
        free(bytes);
        fixture_free(fixture);
}

static void an_end_drops_what_the_gate_still_holds(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_needs = 10;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "hello", LONG_MS, gate);
        send_text(fixture->client, "held");
        shutdown(fixture->client, SHUT_WR);
        assert_receives(fixture, fixture->origin, "hello");
        assert_receives(fixture, fixture->origin, "");
        send_text(fixture->origin, "bye");
        shutdown(fixture->origin, SHUT_WR);
        run_to_end(fixture);
        assert_receives(fixture, fixture->client, "bye");
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.bytes_out, strlen("hello"));
        fixture_free(fixture);
}

static void cancel_in_every_phase_leaves_nothing(void **state)
{
        (void)state;
        for (int phase = 0; phase < 6; phase++) {
                struct fixture *fixture = fixture_new();
                struct relay_pool_statistics statistics;

                fixture->gate_needs = SIZE_MAX;
                fixture_connect(fixture, tcp_pair, phase == 3 ? 1 << 20 : TINY_BUFFER);
                start(fixture, "first", LONG_MS, phase == 1 ? gate : NULL);
                if (phase == 1)
                        send_text(fixture->client, "held");
                if (phase == 2)
                        fill_until_stalled(fixture, fixture->client);
                if (phase == 3)
                        stall_with_bytes_in_a_pipe(fixture);
                if (phase == 4)
                        shutdown(fixture->origin, SHUT_WR);
                if (phase > 0)
                        loop_until_quiet(fixture->base);
                if (phase == 5) { /* The end is known and its callback has not run. */
                        close_with_reset(fixture->client);
                        fixture->client = -1;
                }
                if (phase == 3)
                        assert_int_equal(pipes_in_use(fixture), 1);
                relay_cancel(fixture->relay, &fixture->result);
                loop_until_quiet(fixture->base);
                assert_false(fixture->done);
                relay_pool_statistics(fixture->pool, &statistics);
                assert_int_equal(statistics.pipes_in_use, 0);
                assert_int_equal(statistics.relays, 0);
                fixture_free(fixture);
        }
}

/* The bytes left in a cancelled relay's pipe must not turn up in the next one's stream. */
static void bytes_of_a_cancelled_stream_reach_no_other(void **state)
{
        struct fixture *fixture = fixture_new();
        uint8_t *bytes = malloc(STREAM_BYTES);

        (void)state;
        fixture_connect(fixture, tcp_pair, 1 << 20);
        start(fixture, "", LONG_MS, NULL);
        stall_with_bytes_in_a_pipe(fixture);
        relay_cancel(fixture->relay, &fixture->result);
        close_and_forget(&fixture->client);
        close_and_forget(&fixture->client_side);
        close_and_forget(&fixture->origin);
        close_and_forget(&fixture->origin_side);

        fill_random(bytes, STREAM_BYTES, 5);
        fixture_connect(fixture, tcp_pair, 1 << 20);
        struct peer client = {
                .fd = fixture->client, .expected = bytes, .expected_length = STREAM_BYTES, .chunk = 65536
        };
        struct peer origin = { .fd = fixture->origin, .to_send = bytes, .send_length = STREAM_BYTES, .chunk = 1 << 20 };
        peer_write(&origin);
        start(fixture, "", LONG_MS, NULL);
        peer_start(&client, fixture->base);
        peer_start(&origin, fixture->base);
        while (!client.saw_end)
                event_base_loop(fixture->base, EVLOOP_ONCE);
        assert_int_equal(client.received, STREAM_BYTES);
        relay_cancel(fixture->relay, &fixture->result);
        free(bytes);
        fixture_free(fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(streams_arrive_unchanged_both_ways_over_tcp),
                cmocka_unit_test(streams_arrive_unchanged_with_tiny_buffers),
                cmocka_unit_test(streams_arrive_unchanged_at_a_slow_reader),
                cmocka_unit_test(streams_arrive_unchanged_through_a_gate),
                cmocka_unit_test(long_streams_are_spliced),
                cmocka_unit_test(the_first_bytes_reach_the_origin),
                cmocka_unit_test(first_bytes_that_the_origin_does_not_take_wait_for_it),
                cmocka_unit_test(an_origin_that_is_gone_at_the_start_is_told_by_the_callback),
                cmocka_unit_test(a_client_that_ends_first_still_gets_the_answer),
                cmocka_unit_test(an_origin_that_ends_first_still_gets_the_rest),
                cmocka_unit_test(a_reset_tells_which_side_it_came_from),
                cmocka_unit_test(a_client_that_resets_while_the_origin_stalls_is_noticed),
                cmocka_unit_test(a_half_closed_client_that_resets_is_noticed),
                cmocka_unit_test(what_the_origin_sent_before_its_reset_still_reaches_the_client),
                cmocka_unit_test(silence_ends_the_relay_after_the_idle_timeout),
                cmocka_unit_test(a_half_open_relay_obeys_the_idle_timeout),
                cmocka_unit_test(traffic_in_either_direction_puts_the_idle_timeout_off),
                cmocka_unit_test(a_stalled_reader_costs_no_wakeups),
                cmocka_unit_test(a_reset_of_a_stopped_sender_costs_no_wakeups),
                cmocka_unit_test(a_half_closed_relay_costs_no_wakeups),
                cmocka_unit_test(a_stalled_direction_does_not_stop_the_other),
                cmocka_unit_test(what_a_stalled_reader_makes_the_relay_take_is_bounded),
                cmocka_unit_test(an_idle_relay_holds_only_its_struct),
                cmocka_unit_test(the_gate_is_not_asked_about_the_first_bytes),
                cmocka_unit_test(first_bytes_past_the_judged_ones_wait_for_the_gate),
                cmocka_unit_test(first_bytes_that_the_gate_refuses_end_the_relay_later),
                cmocka_unit_test(held_bytes_go_out_in_order_when_the_gate_has_enough),
                cmocka_unit_test(the_gate_is_asked_again_for_what_it_left),
                cmocka_unit_test(the_origin_s_answer_lets_held_bytes_pass),
                cmocka_unit_test(an_open_gate_is_not_asked_again),
                cmocka_unit_test(refused_bytes_never_reach_the_origin),
                cmocka_unit_test(more_held_bytes_than_a_hello_has_are_refused),
                cmocka_unit_test(an_end_drops_what_the_gate_still_holds),
                cmocka_unit_test(cancel_in_every_phase_leaves_nothing),
                cmocka_unit_test(bytes_of_a_cancelled_stream_reach_no_other),
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
