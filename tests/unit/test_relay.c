#include "net/relay.h"

#include "relay_fixture.h"

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
        start(fixture, "", 300, NULL);
        struct event *timer = event_new(fixture->base, -1, EV_PERSIST, send_a_byte, &fixture->origin);
        event_add(timer, &interval);
        loop_passes_in(fixture->base, 700);
        assert_false(fixture->done);
        event_free(timer);
        uint64_t silent_ms = clock_monotonic_ms();
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_IDLE_TIMEOUT);
        assert_true(clock_monotonic_ms() - started_ms >= 700);
        assert_true(clock_monotonic_ms() - silent_ms >= 300 - 40);
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
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
