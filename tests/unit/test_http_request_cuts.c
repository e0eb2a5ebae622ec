#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http_request_fixture.h"

static void every_prefix_of_a_valid_head_needs_more_but_not_too_much(void **state)
{
        struct http_request request;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
                for (size_t length = 0; length < strlen(valid[i]); length++) {
                        size_t needed = 0;
                        assert_int_equal(parse(valid[i], length, &request, &needed), HTTP_REQUEST_NEED_MORE);
                        assert_in_range(needed, length + 1, strlen(valid[i]));
                }
                (void)parse_ok(valid[i]);
        }
}

static void what_is_needed_is_what_the_end_lacks(void **state)
{
        static const char end[] = "\r\n\r\n";
        struct http_request request;

        (void)state;
        for (size_t length = 0; length < strlen(valid[0]); length++) {
                size_t needed = 0, present = 3;
                while (present > 0 && (length < present || memcmp(valid[0] + length - present, end, present) != 0))
                        present--;
                assert_int_equal(parse(valid[0], length, &request, &needed), HTTP_REQUEST_NEED_MORE);
                assert_int_equal(needed, length + 4 - present);
        }
}

static void a_flipped_bit_never_yields_a_server_that_is_not_on_the_wire(void **state)
{
        struct http_request request;
        char text[512];
        size_t needed;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
                size_t length = strlen(valid[i]);
                for (size_t bit = 0; bit < length * 8; bit++) {
                        memcpy(text, valid[i], length + 1);
                        text[bit / 8] ^= (char)(1 << bit % 8);
                        if (parse(text, length, &request, &needed) == HTTP_REQUEST_OK && request.name.length > 0)
                                assert_non_null(strcasestr(text, request.name.text));
                }
        }
}

static void random_damage_never_crashes(void **state)
{
        struct http_request request;
        char text[512], out[1024];
        unsigned seed = 20260702;
        size_t needed;

        (void)state;
        for (unsigned round = 0; round < 200000; round++) {
                const char *whole = valid[round % ARRAY_SIZE(valid)];
                size_t length = strlen(whole);
                memcpy(text, whole, length);
                for (unsigned i = 0; i < 3; i++)
                        text[(size_t)rand_r(&seed) % length] = (char)(rand_r(&seed) % 128);
                if (parse(text, length, &request, &needed) == HTTP_REQUEST_OK && request.form != HTTP_REQUEST_CONNECT)
                        assert_int_not_equal(http_request_format_upstream(text, &request, out, sizeof(out)), 0);
        }
}

static void nul_is_refused_anywhere(void **state)
{
        struct http_request request;
        char text[512];
        size_t needed;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
                size_t length = strlen(valid[i]);
                for (size_t at = 0; at < length; at++) {
                        memcpy(text, valid[i], length);
                        text[at] = '\0';
                        assert_int_not_equal(parse(text, length, &request, &needed), HTTP_REQUEST_OK);
                }
        }
}

static void assert_upstream(const char *text, const char *expected)
{
        struct http_request request = parse_ok(text);
        char out[1024];
        size_t length = http_request_format_upstream(text, &request, out, sizeof(out) - 1);

        out[length] = '\0';
        assert_string_equal(out, expected);
        for (size_t size = 0; size < length; size++)
                assert_int_equal(http_request_format_upstream(text, &request, out, size), 0);
        assert_int_equal(http_request_format_upstream(text, &request, out, length), length);
}

static void the_origin_gets_origin_form_and_no_hop_by_hop_fields(void **state)
{
        (void)state;
        assert_upstream(
                "GET http://Example.com:80?q HTTP/1.1\r\nAccept:  */*\r\nProxy-Connection: keep-alive\r\n"
                "Proxy-Authorization: Basic YQ==\r\nHost: example.com\r\nconnection: keep-alive, X-Hop\r\n"
                "x-hop: 1\r\nX-Hope: 2\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: Digest\r\nUpgrade: h2c\r\n\r\n",
                "GET /?q HTTP/1.1\r\nHost: example.com\r\nAccept:  */*\r\nX-Hope: 2\r\nTrailer: Digest\r\n\r\n");
        assert_upstream("OPTIONS http://example.com HTTP/1.1\r\nHost: example.com\r\n\r\n",
                        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_upstream("GET http://example.com HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n");
        assert_upstream("GET //x HTTP/1.1\r\nHost: example.com.:8080\r\nConnection: close\r\n\r\n",
                        "GET //x HTTP/1.1\r\nHost: example.com:8080\r\nConnection: close\r\n\r\n");
        assert_upstream("GET / HTTP/1.1\r\nHost: [2001:DB8::0:1]:81\r\n\r\n",
                        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:81\r\n\r\n");
        assert_upstream("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nB: c\r\n\r\n",
                        "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

static void what_is_formatted_parses_to_the_same_request(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
                struct http_request request = parse_ok(valid[i]), again;
                char out[1024];
                size_t length = http_request_format_upstream(valid[i], &request, out, sizeof(out)), needed;

                if (request.form == HTTP_REQUEST_CONNECT) {
                        assert_int_equal(length, 0);
                        continue;
                }
                assert_in_range(length, 1, request.length + HTTP_REQUEST_FORMAT_ROOM);
                assert_int_equal(parse(out, length, &again, &needed), HTTP_REQUEST_OK);
                assert_int_equal(again.form, HTTP_REQUEST_ORIGIN);
                assert_true(fqdn_equal(&again.name, &request.name));
                assert_true(net_address_equal(&again.address, &request.address));
                assert_int_equal(again.port, request.port);
                assert_int_equal(again.body, request.body);
                assert_int_equal(again.body_length, request.body_length);
                assert_int_equal(again.keep_alive, request.keep_alive);
                assert_int_equal(again.upgrade, request.upgrade);
                assert_int_equal(again.head_method, request.head_method);
                assert_int_equal(again.expect_continue, request.expect_continue);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_prefix_of_a_valid_head_needs_more_but_not_too_much),
                cmocka_unit_test(what_is_needed_is_what_the_end_lacks),
                cmocka_unit_test(a_flipped_bit_never_yields_a_server_that_is_not_on_the_wire),
                cmocka_unit_test(random_damage_never_crashes),
                cmocka_unit_test(nul_is_refused_anywhere),
                cmocka_unit_test(the_origin_gets_origin_form_and_no_hop_by_hop_fields),
                cmocka_unit_test(what_is_formatted_parses_to_the_same_request),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
