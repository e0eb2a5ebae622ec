#include "net/relay.h"

#include "relay_fixture.h"

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

static void an_end_passes_held_bytes_on_where_they_may(void **state)
{
        struct fixture *fixture = fixture_new();

        (void)state;
        fixture->gate_needs = 10;
        fixture->pass_held_at_end = true;
        fixture_connect(fixture, tcp_pair, 0);
        start(fixture, "", LONG_MS, gate);
        send_text(fixture->client, "PING");
        assert_receives_nothing(fixture, fixture->origin);
        shutdown(fixture->client, SHUT_WR);
        assert_receives(fixture, fixture->origin, "PING");
        assert_receives(fixture, fixture->origin, "");
        relay_cancel(fixture->relay, &fixture->result);
        fixture_free(fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
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
                cmocka_unit_test(an_end_passes_held_bytes_on_where_they_may),
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
