#include "net/relay.h"

#include "relay_fixture.h"

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
                cmocka_unit_test(a_stalled_reader_costs_no_wakeups),
                cmocka_unit_test(a_reset_of_a_stopped_sender_costs_no_wakeups),
                cmocka_unit_test(a_half_closed_relay_costs_no_wakeups),
                cmocka_unit_test(a_stalled_direction_does_not_stop_the_other),
                cmocka_unit_test(what_a_stalled_reader_makes_the_relay_take_is_bounded),
                cmocka_unit_test(an_idle_relay_holds_only_its_struct),
                cmocka_unit_test(cancel_in_every_phase_leaves_nothing),
                cmocka_unit_test(bytes_of_a_cancelled_stream_reach_no_other),
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
