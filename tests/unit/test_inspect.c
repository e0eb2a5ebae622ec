#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guarded.h"
#include "hello_builder.h"
#include "inspect/inspect.h"

static struct guarded guarded;
static struct hello_bytes input, message, extensions;

static int open_guard(void **state)
{
        (void)state;
        guarded_open(&guarded, HELLO_MAX_BYTES);
        return 0;
}

static int close_guard(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

static enum inspect_status inspect_text(const char *text, struct inspect_result *ret)
{
        return inspect_bytes(guarded_copy(&guarded, text, strlen(text)), strlen(text), ret);
}

static void build_hello(const char *name)
{
        input.length = message.length = extensions.length = 0;
        hello_put_server_name(&extensions, 0, name, strlen(name));
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(&input, &message, 16384);
}

static void the_first_byte_tells_tls_from_http(void **state)
{
        struct inspect_result result;

        (void)state;
        build_hello("example.com");
        assert_int_equal(inspect_bytes(guarded_copy(&guarded, input.bytes, input.length), input.length, &result),
                         INSPECT_OK);
        assert_int_equal(result.protocol, INSPECT_PROTOCOL_TLS);
        assert_string_equal(result.hello.server_name.text, "example.com");
        assert_int_equal(inspect_text("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", &result), INSPECT_OK);
        assert_int_equal(result.protocol, INSPECT_PROTOCOL_HTTP);
        assert_string_equal(result.request.name.text, "example.com");
}

static void an_incomplete_start_says_what_it_needs(void **state)
{
        struct inspect_result result;

        (void)state;
        assert_int_equal(inspect_text("", &result), INSPECT_NEED_MORE);
        assert_int_equal(result.protocol, INSPECT_PROTOCOL_UNKNOWN);
        assert_int_equal(result.needed, 1);
        assert_int_equal(inspect_text("\x16", &result), INSPECT_NEED_MORE);
        assert_int_equal(result.protocol, INSPECT_PROTOCOL_TLS);
        assert_true(result.needed > 1);
        assert_int_equal(inspect_text("GE", &result), INSPECT_NEED_MORE);
        assert_int_equal(result.protocol, INSPECT_PROTOCOL_HTTP);
        assert_true(result.needed > 2);
}

struct refusal {
        const char *text;
        enum inspect_protocol protocol;
        enum reason reason;
};

static void every_way_of_being_wrong_has_its_reason(void **state)
{
        static const struct refusal refusals[] = {
                { "SSH-2.0-x\r\n", INSPECT_PROTOCOL_UNKNOWN, REASON_UNKNOWN_PROTOCOL },
                { "\x80\x2e\x01", INSPECT_PROTOCOL_UNKNOWN, REASON_UNKNOWN_PROTOCOL },
                { "GET / HTTP/2.0\r\n\r\n", INSPECT_PROTOCOL_HTTP, REASON_BAD_REQUEST },
                { "GET / HTTP/1.1\r\n\r\n", INSPECT_PROTOCOL_HTTP, REASON_BAD_SERVER_NAME },
                { "GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n", INSPECT_PROTOCOL_HTTP, REASON_BAD_SERVER_NAME },
                { "\x16\x02\x01\x01\x01\x01", INSPECT_PROTOCOL_TLS, REASON_BAD_CLIENT_HELLO },
                { "\x16\x03\x01\x01\x01\x01\xff\xff\xff", INSPECT_PROTOCOL_TLS, REASON_CLIENT_HELLO_TOO_LARGE },
        };
        struct inspect_result result;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
                assert_int_equal(inspect_text(refusals[i].text, &result), INSPECT_REFUSE);
                assert_int_equal(result.protocol, refusals[i].protocol);
                assert_int_equal(result.reason, refusals[i].reason);
        }
        build_hello("10.0.0.1");
        assert_int_equal(inspect_bytes(input.bytes, input.length, &result), INSPECT_REFUSE);
        assert_int_equal(result.reason, REASON_BAD_SERVER_NAME);
        input.length = 0;
        hello_put(&input, "GET / HTTP/1.1\r\nX: ", 19);
        hello_put_filler(&input, HTTP_REQUEST_MAX_BYTES);
        assert_int_equal(inspect_bytes(input.bytes, input.length, &result), INSPECT_REFUSE);
        assert_int_equal(result.reason, REASON_REQUEST_TOO_LARGE);
}

static void only_tls_may_come_in_a_tunnel(void **state)
{
        struct inspect_result result;

        (void)state;
        build_hello("example.com");
        assert_int_equal(inspect_tunnel_bytes(input.bytes, input.length, &result), INSPECT_OK);
        assert_int_equal(inspect_tunnel_bytes(input.bytes, 0, &result), INSPECT_NEED_MORE);
        assert_int_equal(inspect_tunnel_bytes("GET ", 4, &result), INSPECT_REFUSE);
        assert_int_equal(result.protocol, INSPECT_PROTOCOL_UNKNOWN);
        assert_int_equal(result.reason, REASON_UNKNOWN_PROTOCOL);
}

static void common_methods_and_their_beginnings_look_like_http(void **state)
{
        (void)state;
        assert_true(inspect_looks_like_http("GET / HTTP", 10));
        assert_true(inspect_looks_like_http(guarded_copy(&guarded, "OPT", 3), 3));
        assert_true(inspect_looks_like_http("", 0));
        assert_false(inspect_looks_like_http("GETX", 4));
        assert_false(inspect_looks_like_http("SSH-2.0", 7));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_byte_tells_tls_from_http),
                cmocka_unit_test(an_incomplete_start_says_what_it_needs),
                cmocka_unit_test(every_way_of_being_wrong_has_its_reason),
                cmocka_unit_test(only_tls_may_come_in_a_tunnel),
                cmocka_unit_test(common_methods_and_their_beginnings_look_like_http),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
