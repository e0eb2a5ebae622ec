#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "guarded.h"
#include "inspect/http_fields.h"
#include "inspect/http_request.h"

#define ORIGIN "GET / HTTP/1.1\r\nHost: example.com\r\n"

static struct guarded guarded;

static int open_guard(void **state)
{
        (void)state;
        guarded_open(&guarded, 2 * HTTP_REQUEST_MAX_BYTES);
        return 0;
}

static int close_guard(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

static enum http_request_status parse(const char *bytes, size_t length, struct http_request *ret, size_t *ret_needed)
{
        return http_request_parse(guarded_copy(&guarded, bytes, length), length, ret, ret_needed);
}

static enum http_request_status verdict(const char *text)
{
        struct http_request request;
        size_t needed;

        return parse(text, strlen(text), &request, &needed);
}

static void assert_verdict(const char *text, enum http_request_status expected)
{
        enum http_request_status status = verdict(text);

        if (status != expected)
                print_error("%s", text);
        assert_int_equal(status, expected);
}

static struct http_request parse_ok(const char *text)
{
        struct http_request request;
        size_t needed;

        if (parse(text, strlen(text), &request, &needed) != HTTP_REQUEST_OK)
                print_error("%s", text);
        assert_int_equal(parse(text, strlen(text), &request, &needed), HTTP_REQUEST_OK);
        assert_int_equal(request.length, strlen(text));
        return request;
}

/* Request heads that must be read, of each kind. */
static const char *const valid[] = {
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST:Example.COM.:8080 \t\r\n\r\n",
        "GET /a/b?c=d&e=%20 HTTP/1.1\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nHost: example.com\r\n\r\n",
        "HEAD / HTTP/1.0\r\nHost: example.com\r\n\r\n",
        "POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\r\n",
        "POST /upload HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://example.com/path HTTP/1.1\r\nHost: example.com:80\r\nProxy-Connection: keep-alive\r\n\r\n",
        "GET HTTP://EXAMPLE.com:8080?q HTTP/1.1\r\nHost: example.com:8080\r\n\r\n",
        "GET http://[2001:db8::1]:8080/ HTTP/1.0\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n",
        "GET /chat HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com\r\nX: \xfc\xff tab\there\r\nY:\r\nConnection: close, , x\r\n\r\n",
};

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

static void what_follows_the_head_is_not_read(void **state)
{
        struct http_request request;
        size_t needed;

        (void)state;
        static const char two[] = ORIGIN "\r\n\n\n\0GET";
        assert_int_equal(parse(two, sizeof(two) - 1, &request, &needed), HTTP_REQUEST_OK);
        assert_int_equal(request.length, strlen(ORIGIN) + 2);
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
                cmocka_unit_test(the_server_is_the_host_field_of_an_origin_form_request),
                cmocka_unit_test(the_server_of_a_proxy_request_is_in_its_target),
                cmocka_unit_test(every_prefix_of_a_valid_head_needs_more_but_not_too_much),
                cmocka_unit_test(what_is_needed_is_what_the_end_lacks),
                cmocka_unit_test(what_follows_the_head_is_not_read),
                cmocka_unit_test(a_flipped_bit_never_yields_a_server_that_is_not_on_the_wire),
                cmocka_unit_test(random_damage_never_crashes),
                cmocka_unit_test(a_failure_leaves_the_result_untouched),
                cmocka_unit_test(what_cannot_start_a_request_line_is_not_http),
                cmocka_unit_test(request_lines_are_read_in_one_way_only),
                cmocka_unit_test(field_lines_are_read_in_one_way_only),
                cmocka_unit_test(nul_is_refused_anywhere),
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
                cmocka_unit_test(the_origin_gets_origin_form_and_no_hop_by_hop_fields),
                cmocka_unit_test(what_is_formatted_parses_to_the_same_request),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
