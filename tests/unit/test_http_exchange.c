#include "net/http_exchange.h"

#include <malloc.h>
#include <stdio.h>

#include "http_exchange_fixture.h"

#define TINY_BUFFER 4096
#define BODY_BYTES (2 << 20)

static void start_get(struct fixture *fixture)
{
        struct http_exchange_request request = { .head = "GET / HTTP/1.1\r\n\r\n",
                                                 .head_length = 18,
                                                 .client_keep_alive = true };

        start(fixture, &request);
}

static void start_post(struct fixture *fixture, uint64_t body_length)
{
        struct http_exchange_request request = { .head = "POST / HTTP/1.1\r\n\r\n",
                                                 .head_length = 19,
                                                 .client_keep_alive = true,
                                                 .body = HTTP_BODY_LENGTH,
                                                 .body_length = body_length };

        start(fixture, &request);
}

static void assert_at_client(struct fixture *fixture, const char *text)
{
        drain(fixture->client, fixture->at_client);
        assert_string_equal(text_of(fixture->at_client), text);
}

static void assert_at_origin(struct fixture *fixture, const char *text)
{
        drain(fixture->origin, fixture->at_origin);
        assert_string_equal(text_of(fixture->at_origin), text);
}

static void an_upgraded_origin_s_first_bytes_reach_the_client(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_request request = { .head = GET, .head_length = strlen(GET), .upgrade = true };

        (void)state;
        start(fixture, &request);
        send_text(fixture->origin, "HTTP/1.1 101 Switching Protocols\r\n\r\nserver frame");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_UPGRADED);
        assert_at_client(fixture, "HTTP/1.1 101 Switching Protocols\r\n\r\nserver frame");
        fixture_free(fixture);
}

static void a_response_before_the_end_of_the_request_closes_the_client(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_post(fixture, 1000);
        send_text(fixture->client, "the first of a thousand");
        send_text(fixture->origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_LINGER);
        assert_at_client(fixture,
                         "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
        fixture_free(fixture);
}

static void a_response_that_begins_early_does_not_stop_the_request(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);

        (void)state;
        start_post(fixture, 10);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        run_a_while(fixture);
        send_text(fixture->client, "0123456789");
        run_a_while(fixture);
        send_text(fixture->origin, "0123456789");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_CLOSE);
        assert_at_origin(fixture, "POST / HTTP/1.1\r\n\r\n0123456789");
        fixture_free(fixture);
}

/* The origin answers, takes no more and resets: the answer is what the client must see. */
static void an_answer_of_an_origin_that_resets_still_reaches_the_client(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_post(fixture, 1000);
        run_a_while(fixture);
        send_text(fixture->client, "more"); /* first in the loop's turn: it is the sending that meets the reset */
        send_text(fixture->origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_at_client(fixture,
                         "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
        fixture_free(fixture);
}

static void an_origin_that_is_gone_at_the_start_is_told_by_the_callback(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        start_get(fixture);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_UPSTREAM_ABORTED);
        assert_false(fixture->result.answered);
        fixture_free(fixture);
}

static void a_bad_chunk_at_the_start_is_told_by_the_callback(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_request request = { .head = POST, .head_length = strlen(POST), .body = HTTP_BODY_CHUNKED };

        (void)state;
        evbuffer_add(fixture->input, "zz\r\n", 4);
        start(fixture, &request);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_BAD_REQUEST);
        fixture_free(fixture);
}

static void a_half_closed_client_gets_its_response(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_get(fixture);
        shutdown(fixture->client, SHUT_WR);
        run_a_while(fixture);
        assert_int_equal(loop_passes_in(fixture->base, 50), 0);
        assert_false(fixture->done);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_at_client(fixture, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        fixture_free(fixture);
}

static void a_client_that_ends_within_its_body_has_aborted(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_post(fixture, 10);
        send_text(fixture->client, "half");
        shutdown(fixture->client, SHUT_WR);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_ABORTED);
        fixture_free(fixture);
}

static void a_client_that_resets_while_it_waits_has_aborted(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_get(fixture);
        run_a_while(fixture);
        assert_false(fixture->done);
        close_with_reset(fixture->client);
        fixture->client = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_ABORTED);
        fixture_free(fixture);
}

static void an_origin_that_resets_within_its_body_has_aborted(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_get(fixture);
        run_a_while(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\n\r\nuntil");
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_UPSTREAM_ABORTED);
        assert_true(fixture->result.answered);
        fixture_free(fixture);
}

static void silence_ends_the_exchange_after_the_idle_timeout(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_request request = { .head = GET, .head_length = strlen(GET), .idle_timeout_ms = 40 };

        (void)state;
        start(fixture, &request);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_IDLE_TIMEOUT);
        assert_false(fixture->result.answered);
        fixture_free(fixture);
}

static void waiting_costs_no_wakeups(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_result result;

        (void)state;
        start_get(fixture);
        send_text(fixture->client, "the next request waits in the socket");
        run_a_while(fixture);
        assert_int_equal(loop_passes_in(fixture->base, 50), 0);
        assert_int_equal(evbuffer_get_length(fixture->input), 0);
        http_exchange_cancel(fixture->exchange, &result);
        assert_int_equal(result.bytes_out, 18);
        fixture_free(fixture);
}

static void nothing_of_the_next_request_is_read(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);

        (void)state;
        start_post(fixture, 5);
        send_text(fixture->client, "12345" GET);
        run_a_while(fixture);
        send_text(fixture->origin, "HTTP/1.1 204 No Content\r\n\r\n");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_KEEP_BOTH);
        assert_int_equal(evbuffer_get_length(fixture->input), 0);
        fixture_free(fixture);
}

static void an_endless_head_is_malformed(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        char line[1024];

        (void)state;
        memset(line, 'a', sizeof(line));
        line[1] = ':';
        memcpy(line + sizeof(line) - 2, "\r\n", 2);
        start_get(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 70 && !fixture->done; i++) {
                (void)!send(fixture->origin, line, sizeof(line), MSG_NOSIGNAL);
                run_a_while(fixture);
        }
        assert_true(fixture->done);
        assert_int_equal(fixture->result.reason, REASON_BAD_RESPONSE);
        assert_false(fixture->result.answered);
        fixture_free(fixture);
}

static void an_origin_that_sends_too_much_is_used_up(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);

        (void)state;
        start_get(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_KEEP_CLIENT);
        assert_at_client(fixture, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        fixture_free(fixture);
}

static size_t send_some(int fd, const uint8_t *bytes, size_t length, size_t sent)
{
        ssize_t r = sent < length ? send(fd, bytes + sent, length - sent, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

        return r > 0 ? (size_t)r : 0;
}

/* Checks what has come against its place in the expected bytes. */
static void receive_some(int fd, const uint8_t *expected, size_t length, size_t most, size_t *received)
{
        static uint8_t bytes[65536];
        ssize_t got = recv(fd, bytes, most, MSG_DONTWAIT);

        if (got <= 0)
                return;
        assert_true(*received + (size_t)got <= length);
        assert_memory_equal(bytes, expected + *received, (size_t)got);
        *received += (size_t)got;
}

/* What one side of the long exchange sends or is to receive: a head and a body of random bytes. */
static uint8_t *make_message(const char *head, uint64_t seed, size_t *ret_length)
{
        size_t head_length = strlen(head);
        uint8_t *message = malloc(head_length + BODY_BYTES);

        assert_non_null(message);
        memcpy(message, head, head_length);
        fill_random(message + head_length, BODY_BYTES, seed);
        *ret_length = head_length + BODY_BYTES;
        return message;
}

#define PUT "PUT / HTTP/1.1\r\n\r\n"

/* Both ways at once, through sockets that take little, to a client that reads slowly. */
static void long_bodies_arrive_unchanged_both_ways(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, TINY_BUFFER);
        struct http_exchange_request request = { .head = PUT,
                                                 .head_length = strlen(PUT),
                                                 .body = HTTP_BODY_LENGTH,
                                                 .body_length = BODY_BYTES,
                                                 .client_keep_alive = true };
        size_t out_length, in_length, expected_length, origin_sent = 0, client_received = 0, origin_received = 0;
        size_t client_sent = strlen(PUT) + 100000; /* of which the caller has read the 100,000 */
        uint8_t *out = make_message(PUT, 1, &out_length);
        uint8_t *in = make_message("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n", 2, &in_length);
        uint8_t *expected = make_message("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\nConnection: close\r\n\r\n", 2,
                                         &expected_length);

        (void)state;
        evbuffer_add(fixture->input, out + strlen(PUT), 100000);
        start(fixture, &request);
        while (!fixture->done) {
                /* The response's last byte ends the exchange: it comes after the request's. */
                size_t may_send = origin_received == out_length ? in_length : in_length - 1;

                client_sent += send_some(fixture->client, out, out_length, client_sent);
                origin_sent += send_some(fixture->origin, in, may_send, origin_sent);
                event_base_loop(fixture->base, EVLOOP_NONBLOCK);
                receive_some(fixture->origin, out, out_length, 65536, &origin_received);
                receive_some(fixture->client, expected, expected_length, 3000, &client_received);
        }
        while (client_received < expected_length)
                receive_some(fixture->client, expected, expected_length, 65536, &client_received);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_CLOSE);
        assert_int_equal(fixture->result.bytes_out, out_length);
        assert_int_equal(fixture->result.bytes_in, in_length);
        free(out);
        free(in);
        free(expected);
        fixture_free(fixture);
}

static void what_a_slow_client_makes_it_take_is_bounded(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, TINY_BUFFER);
        struct http_exchange_result result;
        static const uint8_t zeros[65536];
        size_t sent = 0, before;

        (void)state;
        start_get(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\n\r\n");
        do {
                before = sent;
                sent += send_some(fixture->origin, zeros, sizeof(zeros), 0);
                for (int i = 0; i < 4; i++)
                        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
        } while (sent > before);
        assert_true(loop_passes_in(fixture->base, 50) <= 1);
        http_exchange_cancel(fixture->exchange, &result);
        assert_true(result.bytes_in <= 2 * 65536);
        fixture_free(fixture);
}

static void an_exchange_that_waits_holds_only_its_struct(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_result result;

        (void)state;
        start_post(fixture, 1 << 20);
        run_a_while(fixture);
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < 10; i++) {
                send_text(fixture->client, "some of the body");
                run_a_while(fixture);
                evbuffer_drain(fixture->at_origin, evbuffer_get_length(fixture->at_origin));
        }
        assert_int_equal(mallinfo2().uordblks, before);
        http_exchange_cancel(fixture->exchange, &result);
        fixture_free(fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_upgraded_origin_s_first_bytes_reach_the_client),
                cmocka_unit_test(a_response_before_the_end_of_the_request_closes_the_client),
                cmocka_unit_test(a_response_that_begins_early_does_not_stop_the_request),
                cmocka_unit_test(an_answer_of_an_origin_that_resets_still_reaches_the_client),
                cmocka_unit_test(an_origin_that_is_gone_at_the_start_is_told_by_the_callback),
                cmocka_unit_test(a_bad_chunk_at_the_start_is_told_by_the_callback),
                cmocka_unit_test(a_half_closed_client_gets_its_response),
                cmocka_unit_test(a_client_that_ends_within_its_body_has_aborted),
                cmocka_unit_test(a_client_that_resets_while_it_waits_has_aborted),
                cmocka_unit_test(an_origin_that_resets_within_its_body_has_aborted),
                cmocka_unit_test(silence_ends_the_exchange_after_the_idle_timeout),
                cmocka_unit_test(waiting_costs_no_wakeups),
                cmocka_unit_test(nothing_of_the_next_request_is_read),
                cmocka_unit_test(an_endless_head_is_malformed),
                cmocka_unit_test(an_origin_that_sends_too_much_is_used_up),
                cmocka_unit_test(long_bodies_arrive_unchanged_both_ways),
                cmocka_unit_test(what_a_slow_client_makes_it_take_is_bounded),
                cmocka_unit_test(an_exchange_that_waits_holds_only_its_struct),
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
