#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http_request_fixture.h"

static void the_server_is_the_host_field_of_an_origin_form_request(void **state)
{
        struct http_request request = parse_ok(valid[0]);

        (void)state;
        assert_int_equal(request.form, HTTP_REQUEST_ORIGIN);
        assert_string_equal(request.name.text, "example.com");
        assert_int_equal(request.address.family, AF_UNSPEC);
        assert_int_equal(request.port, 80);
        assert_int_equal(request.body, HTTP_BODY_NONE);
        assert_true(request.keep_alive);
        assert_false(request.head_method || request.upgrade || request.expect_continue);

        request = parse_ok(valid[1]);
        assert_string_equal(request.name.text, "example.com");
        assert_int_equal(request.port, 8080);
}

static void the_server_of_a_proxy_request_is_in_its_target(void **state)
{
        struct http_request request = parse_ok(valid[8]);
        char text[NET_ADDRESS_TEXT_SIZE];

        (void)state;
        assert_int_equal(request.form, HTTP_REQUEST_ABSOLUTE);
        assert_string_equal(request.name.text, "example.com");
        assert_int_equal(request.port, 8080);
        request = parse_ok(valid[9]);
        assert_int_equal(request.name.length, 0);
        assert_string_equal(net_address_format(&request.address, text), "2001:db8::1");
        request = parse_ok(valid[10]);
        assert_int_equal(request.form, HTTP_REQUEST_CONNECT);
        assert_int_equal(request.port, 443);
        assert_int_equal(parse_ok(valid[13]).address.family, AF_INET);
}

static void what_follows_the_head_is_not_read(void **state)
{
        struct http_request request;
        size_t needed;

        (void)state;
        static const char two[] = ORIGIN "\r\n\n\n\0GET";
        assert_int_equal(parse(two, sizeof(two) - 1, &request, &needed), HTTP_REQUEST_OK);
        assert_int_equal(request.length, strlen(ORIGIN) + 2);
}

static void a_failure_leaves_the_result_untouched(void **state)
{
        static const char text[] = "GET / HTTP/1.1\r\nHost: example.com\r\nHost: example.com\r\n\r\n";
        struct http_request request, before;
        size_t needed;

        (void)state;
        memset(&before, 0x77, sizeof(before));
        request = before;
        assert_int_equal(parse(text, sizeof(text) - 1, &request, &needed), HTTP_REQUEST_MALFORMED);
        assert_memory_equal(&request, &before, sizeof(request));
}

static void what_cannot_start_a_request_line_is_not_http(void **state)
{
        (void)state;
        assert_verdict("\x16\x03\x01", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REQUEST_NOT_HTTP);
        assert_verdict(" GET / HTTP/1.1\r\n", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("SSH-2.0-OpenSSH_9.2\r\n", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("GET\t/ HTTP/1.1\r\n", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("GE(T / HTTP/1.1\r\n", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJK / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REQUEST_NOT_HTTP);
        assert_verdict("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", HTTP_REQUEST_NEED_MORE);
        assert_verdict("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_REQUEST_OK);
}

static void request_lines_are_read_in_one_way_only(void **state)
{
        static const char *const wrong[] = {
                "GET  / HTTP/1.1",
                "GET / HTTP/1.1 ",
                "GET /  HTTP/1.1",
                "GET / a HTTP/1.1",
                "GET /\tHTTP/1.1",
                "GET / HTTP/2.0",
                "GET / HTTP/1.2",
                "GET / http/1.1",
                "GET / HTTP/1.10",
                "GET / HTTP/11",
                "GET /",
                "GET ",
                "GET  HTTP/1.1",
                "GET * HTTP/1.1",
                "GET example.com HTTP/1.1",
                "GET /\x80 HTTP/1.1",
                "GET /\x7f HTTP/1.1",
                "GET /#a HTTP/1.1",
                "GET https://example.com/ HTTP/1.1",
                "GET ftp://example.com/ HTTP/1.1",
                "GET //\x01 HTTP/1.1",
                "get / HTTP/1.1\r",
                "GET /\r HTTP/1.1",
                "head / HTTP/1.1",
                "Connect example.com:80 HTTP/1.1",
                "options * HTTP/1.1",
                "PRI * HTTP/2.0",
                "CONNECT / HTTP/1.1\r",
        };
        char text[256];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                snprintf(text, sizeof(text), "%s\r\nHost: example.com\r\n\r\n", wrong[i]);
                assert_verdict(text, HTTP_REQUEST_MALFORMED);
        }
}

static void field_lines_are_read_in_one_way_only(void **state)
{
        static const char *const wrong[] = {
                "X : y\r\n",
                " X: y\r\n",
                "X: y\r\n folded\r\n",
                "X: y\r\n\tfolded\r\n",
                "X\r\n",
                ": y\r\n",
                "X(: y\r\n",
                "X: a\rb\r\n",
                "X: a\x01\r\n",
                "X: a\x7f\r\n",
                "X: y\n",
                "X: y\n\r\n",
                "X: y\r\r\n",
                "Host: example.com\r\n",
                "HOST: other.com\r\n",
                "X\x80: y\r\n",
                "X y: z\r\n",
                "\t\r\n",
        };
        char text[256];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                snprintf(text, sizeof(text), ORIGIN "%s\r\n", wrong[i]);
                assert_verdict(text, HTTP_REQUEST_MALFORMED);
        }
}

static void bare_line_feeds_are_refused_at_once(void **state)
{
        (void)state;
        assert_verdict("GET / HTTP/1.1\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET / HTTP/1.1\r\nHost: a\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET / HTTP/1.1\r\nHost: a\r\n\n", HTTP_REQUEST_MALFORMED);
}

static void a_host_is_a_name_or_an_address_and_nothing_else(void **state)
{
        static const char *const wrong[] = {
                "",
                ":80",
                "a b",
                "a,b",
                "a/b",
                "a:0",
                "a:65536",
                "a:080",
                "a:",
                "a:80:80",
                "a:8a",
                "a:+80",
                "[::1",
                "::1",
                "[::1]a",
                "[::1]80",
                "[1.2.3.4]",
                "[]",
                "1.2.3",
                "0x7f.0.1",
                "2130706433",
                "01.2.3.4",
                "1.2.3.4.5",
                "a..b",
                "*.a.com",
                "[fe80::1%eth0]",
                "http://a",
                "a\\b",
                "m\xfcnchen.de",
        };
        char text[256];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", wrong[i]);
                assert_verdict(text, HTTP_REQUEST_BAD_HOST);
                snprintf(text, sizeof(text), "CONNECT example.com:443 HTTP/1.1\r\nHost: %s\r\n\r\n", wrong[i]);
                assert_verdict(text, HTTP_REQUEST_BAD_HOST);
        }
        assert_verdict("GET / HTTP/1.1\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("GET / HTTP/1.0\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("GET http://a/ HTTP/1.1\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("GET http:/// HTTP/1.0\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("CONNECT example.com HTTP/1.1\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("CONNECT example.com:0 HTTP/1.1\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("CONNECT /example.com:443 HTTP/1.1\r\n\r\n", HTTP_REQUEST_BAD_HOST);
        assert_verdict("CONNECT http://example.com:443 HTTP/1.1\r\n\r\n", HTTP_REQUEST_BAD_HOST);
}

static void a_port_is_1_to_65535(void **state)
{
        (void)state;
        assert_int_equal(parse_ok("GET / HTTP/1.1\r\nHost: a:1\r\n\r\n").port, 1);
        assert_int_equal(parse_ok("GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n").port, 65535);
        assert_int_equal(parse_ok("CONNECT [::1]:65535 HTTP/1.1\r\n\r\n").port, 65535);
}

static void userinfo_is_refused(void **state)
{
        (void)state;
        assert_verdict("GET / HTTP/1.1\r\nHost: good.com@evil.com\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://good.com@evil.com/ HTTP/1.1\r\nHost: evil.com\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://good.com:80@evil.com/ HTTP/1.0\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT good.com@evil.com:443 HTTP/1.1\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://evil.com/@good.com HTTP/1.1\r\nHost: evil.com\r\n\r\n", HTTP_REQUEST_OK);
}

static void target_and_host_must_agree(void **state)
{
        (void)state;
        assert_verdict("GET http://a.com/ HTTP/1.1\r\nHost: b.com\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://a.com/ HTTP/1.1\r\nHost: a.com:81\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://a.com:8080/ HTTP/1.1\r\nHost: a.com\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://a.com:80/ HTTP/1.1\r\nHost: A.com.\r\n\r\n", HTTP_REQUEST_OK);
        assert_verdict("GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.2\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("GET http://[2001:db8::1]/ HTTP/1.1\r\nHost: [2001:DB8:0::1]\r\n\r\n", HTTP_REQUEST_OK);
        assert_verdict("GET http://a.com/ HTTP/1.0\r\nHost: b.com\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT a.com:443 HTTP/1.1\r\nHost: b.com:443\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT a.com:443 HTTP/1.1\r\nHost: a.com:80\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT a.com:443 HTTP/1.1\r\n\r\n", HTTP_REQUEST_OK);
}

static void the_length_of_a_body_is_never_a_guess(void **state)
{
        static const char *const wrong[] = {
                "Content-Length: 1\r\nContent-Length: 1\r\n",
                "Content-Length: 1, 1\r\n",
                "Content-Length: +1\r\n",
                "Content-Length: -1\r\n",
                "Content-Length: 0x1\r\n",
                "Content-Length: 1 1\r\n",
                "Content-Length:\r\n",
                "Content-Length: 9223372036854775808\r\n",
                "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "Transfer-Encoding: gzip, chunked\r\n",
                "Transfer-Encoding: chunked, identity\r\n",
                "Transfer-Encoding: identity\r\n",
                "Transfer-Encoding: \"chunked\"\r\n",
                "Transfer-Encoding: chunked;a=b\r\n",
                "Transfer-Encoding:\r\n",
                "Connection: content-length\r\nContent-Length: 1\r\n",
                "Connection: close, Transfer-Encoding\r\n",
                "Connection: host\r\n",
                "Connection: a b\r\n",
                "Connection: \"close\"\r\n",
        };
        char text[256];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a.com\r\n%s\r\n", wrong[i]);
                assert_verdict(text, HTTP_REQUEST_MALFORMED);
        }
        assert_verdict("POST / HTTP/1.0\r\nHost: a.com\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT a.com:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT a.com:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_REQUEST_MALFORMED);
        assert_verdict("CONNECT a.com:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", HTTP_REQUEST_OK);
}

static void bodies_are_found(void **state)
{
        struct http_request request = parse_ok(valid[4]);

        (void)state;
        assert_int_equal(request.body, HTTP_BODY_LENGTH);
        assert_int_equal(request.body_length, 12);
        assert_true(request.expect_continue);
        assert_int_equal(parse_ok(valid[5]).body, HTTP_BODY_CHUNKED);
        request = parse_ok(ORIGIN "Content-Length: 9223372036854775807\r\n\r\n");
        assert_true(request.body_length == INT64_MAX);
        assert_int_equal(parse_ok(ORIGIN "Content-Length: 0\r\n\r\n").body, HTTP_BODY_NONE);
        assert_int_equal(parse_ok(ORIGIN "Transfer-Encoding: ChunKed\r\n\r\n").body, HTTP_BODY_CHUNKED);
}

static void keep_alive_is_what_http_1_1_says(void **state)
{
        (void)state;
        assert_true(parse_ok(ORIGIN "Connection: keep-alive\r\n\r\n").keep_alive);
        assert_false(parse_ok(ORIGIN "Connection: keep-alive\r\nConnection: foo,CLOSE\r\n\r\n").keep_alive);
        assert_false(parse_ok("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").keep_alive);
        assert_true(parse_ok("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").head_method);
}

static void only_websocket_is_an_upgrade(void **state)
{
        (void)state;
        assert_true(parse_ok(valid[13]).upgrade);
        assert_false(parse_ok(ORIGIN "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n").upgrade);
        assert_false(parse_ok(ORIGIN "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n").upgrade);
        assert_false(parse_ok(ORIGIN "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n").upgrade);
        assert_false(parse_ok(ORIGIN "Upgrade: websocket\r\n\r\n").upgrade);
        assert_false(parse_ok(ORIGIN "Connection: upgrade\r\n\r\n").upgrade);
        assert_false(parse_ok(ORIGIN "Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n").upgrade);
}

/* A head with this many fields beside Host. */
static void build_fields(char *text, unsigned count)
{
        text += sprintf(text, "%s", ORIGIN);
        for (unsigned i = 0; i < count; i++)
                text += sprintf(text, "X-%u: y\r\n", i);
        sprintf(text, "\r\n");
}

static void heads_have_limits(void **state)
{
        static char text[HTTP_REQUEST_MAX_BYTES + 100];
        size_t start = strlen(ORIGIN "X: ");

        (void)state;
        build_fields(text, HTTP_HEAD_MAX_FIELDS - 1);
        assert_verdict(text, HTTP_REQUEST_OK);
        build_fields(text, HTTP_HEAD_MAX_FIELDS);
        assert_verdict(text, HTTP_REQUEST_TOO_LARGE);
        text[strlen(text) - 2] = '\0';
        assert_verdict(text, HTTP_REQUEST_TOO_LARGE);

        memset(text, 'a', sizeof(text));
        memcpy(text, ORIGIN "X: ", start);
        strcpy(text + HTTP_REQUEST_MAX_BYTES - 4, "\r\n\r\n");
        assert_int_equal(verdict(text), HTTP_REQUEST_OK);
        text[HTTP_REQUEST_MAX_BYTES - 4] = 'a';
        strcpy(text + HTTP_REQUEST_MAX_BYTES - 3, "\r\n\r\n");
        assert_int_equal(verdict(text), HTTP_REQUEST_TOO_LARGE);
        text[HTTP_REQUEST_MAX_BYTES] = '\0';
        assert_int_equal(verdict(text), HTTP_REQUEST_TOO_LARGE);
        text[HTTP_REQUEST_MAX_BYTES - 3] = '\0';
        assert_int_equal(verdict(text), HTTP_REQUEST_NEED_MORE);
}

static void connection_options_have_a_limit(void **state)
{
        char text[512] = ORIGIN "Connection: a";

        (void)state;
        for (unsigned i = 1; i < HTTP_HEAD_MAX_OPTIONS; i++)
                strcat(text, ",a");
        strcat(text, "\r\n\r\n");
        assert_verdict(text, HTTP_REQUEST_OK);
        strcpy(text + strlen(text) - 4, ",a\r\n\r\n");
        assert_verdict(text, HTTP_REQUEST_TOO_LARGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_server_is_the_host_field_of_an_origin_form_request),
                cmocka_unit_test(the_server_of_a_proxy_request_is_in_its_target),
                cmocka_unit_test(what_follows_the_head_is_not_read),
                cmocka_unit_test(a_failure_leaves_the_result_untouched),
                cmocka_unit_test(what_cannot_start_a_request_line_is_not_http),
                cmocka_unit_test(request_lines_are_read_in_one_way_only),
                cmocka_unit_test(field_lines_are_read_in_one_way_only),
                cmocka_unit_test(bare_line_feeds_are_refused_at_once),
                cmocka_unit_test(a_host_is_a_name_or_an_address_and_nothing_else),
                cmocka_unit_test(a_port_is_1_to_65535),
                cmocka_unit_test(userinfo_is_refused),
                cmocka_unit_test(target_and_host_must_agree),
                cmocka_unit_test(the_length_of_a_body_is_never_a_guess),
                cmocka_unit_test(bodies_are_found),
                cmocka_unit_test(keep_alive_is_what_http_1_1_says),
                cmocka_unit_test(only_websocket_is_an_upgrade),
                cmocka_unit_test(heads_have_limits),
                cmocka_unit_test(connection_options_have_a_limit),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
