#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client_hello_fixture.h"

/* A hello in one record with whatever the test left in extensions. */
static enum client_hello_status verdict_on_extensions(void)
{
        message.length = input.length = 0;
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(&input, &message, 16384);
        return verdict(&input);
}

static enum client_hello_status verdict_on_name(size_t type, const void *name, size_t length, struct client_hello *ret)
{
        size_t needed;

        extensions.length = message.length = input.length = 0;
        hello_put_server_name(&extensions, type, name, length);
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(&input, &message, 16384);
        return parse(input.bytes, input.length, ret, &needed);
}

static enum client_hello_status verdict_on_text(const char *name, struct client_hello *ret)
{
        return verdict_on_name(0, name, strlen(name), ret);
}

static enum client_hello_status verdict_on_fixed(const struct hello_fixed *fixed)
{
        message.length = input.length = 0;
        hello_put_message(&message, fixed, NULL);
        hello_put_records(&input, &message, 16384);
        return verdict(&input);
}

static void a_failure_leaves_the_result_untouched(void **state)
{
        struct client_hello hello, before;
        size_t needed;

        (void)state;
        memset(&before, 0x77, sizeof(before));
        hello = before;
        build_browser_hello(&input, 16384);
        input.bytes[input.length - 2] = 0xff;
        assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_MALFORMED);
        assert_memory_equal(&hello, &before, sizeof(hello));
}

static void what_is_not_a_handshake_record_is_not_tls(void **state)
{
        static const uint8_t sslv2[] = { 0x80, 0x2e, 0x01, 0x03, 0x01, 0x00, 0x15, 0x00, 0x00, 0x00, 0x10 };
        struct client_hello hello;
        size_t needed = 0;

        (void)state;
        assert_int_equal(parse(sslv2, sizeof(sslv2), &hello, &needed), CLIENT_HELLO_NOT_TLS);
        for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t first = (uint8_t)byte;
                enum client_hello_status expected = byte == 22 ? CLIENT_HELLO_NEED_MORE : CLIENT_HELLO_NOT_TLS;
                assert_int_equal(parse(&first, 1, &hello, &needed), expected);
        }
        assert_int_equal(parse(sslv2, 0, &hello, &needed), CLIENT_HELLO_NEED_MORE);
        assert_int_equal(needed, 1);
}

static void record_headers_are_checked_before_their_payload_comes(void **state)
{
        static const uint8_t wrong[][9] = {
                { 22, 2, 1, 0, 50, 1, 0, 0, 46 },        /* version */
                { 22, 3, 1, 0, 0, 22, 3, 1, 0 },         /* empty */
                { 22, 3, 1, 0x40, 0x01, 1, 0, 0x3f, 0 }, /* over 2^14 */
                { 22, 3, 1, 0, 50, 2, 0, 0, 46 },        /* a ServerHello */
                { 22, 3, 1, 0, 50, 1, 0, 0, 45 },        /* one byte too many for the message */
        };
        struct client_hello hello;
        size_t needed;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_int_equal(parse(wrong[i], sizeof(wrong[i]), &hello, &needed), CLIENT_HELLO_MALFORMED);
}

static void only_handshake_records_may_come_before_the_hello_is_whole(void **state)
{
        (void)state;
        build_browser_hello(&other, 16384);
        for (size_t type = 20; type < 25; type++) {
                input.length = 0;
                hello_put_record(&input, 22, message.bytes, 100);
                hello_put_record(&input, type, message.bytes + 100, message.length - 100);
                assert_int_equal(verdict(&input), type == 22 ? CLIENT_HELLO_OK : CLIENT_HELLO_MALFORMED);
        }
        input.length = 0;
        hello_put_record(&input, 22, message.bytes, 100);
        hello_put_record(&input, 22, "", 0);
        hello_put_record(&input, 22, message.bytes + 100, message.length - 100);
        assert_int_equal(verdict(&input), CLIENT_HELLO_MALFORMED);
}

static void bytes_after_the_hello_in_its_record_are_malformed_and_records_after_it_are_not(void **state)
{
        struct client_hello hello;
        size_t needed, length;

        (void)state;
        build_browser_hello(&input, 16384);
        length = input.length;
        hello_put_record(&input, 20, "\1", 1);
        assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_OK);
        assert_int_equal(hello.length, length);

        input.length = 0;
        hello_put_number(&message, 1, 0);
        hello_put_records(&input, &message, 16384);
        assert_int_equal(verdict(&input), CLIENT_HELLO_MALFORMED);
        input.length = 0;
        hello_put_records(&input, &message, 400);
        assert_int_equal(verdict(&input), CLIENT_HELLO_MALFORMED);
}

static void the_parts_before_the_extensions_have_their_limits(void **state)
{
        struct hello_fixed fixed = hello_fixed_good;

        (void)state;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_OK);
        fixed.session_id = 0;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_OK);
        fixed.session_id = 33;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_MALFORMED);
        fixed = hello_fixed_good;
        fixed.cipher_suites = 2;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_OK);
        fixed.cipher_suites = 3;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_MALFORMED);
        fixed.cipher_suites = 0;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_MALFORMED);
        fixed = hello_fixed_good;
        fixed.compressions = 0;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_MALFORMED);
        fixed.compressions = 255;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_OK);
        fixed.compression = 1;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_MALFORMED);
        fixed = hello_fixed_good;
        fixed.version = 0x03ff;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_OK);
        fixed.version = 0x0200;
        assert_int_equal(verdict_on_fixed(&fixed), CLIENT_HELLO_MALFORMED);
}

static void a_hello_without_extensions_has_no_name(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        assert_int_equal(verdict_on_fixed(&hello_fixed_good), CLIENT_HELLO_OK);
        assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_OK);
        assert_int_equal(hello.server_name.length, 0);
        assert_string_equal(hello.alpn, "");
        extensions.length = 0;
        assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_OK);
}

static void the_extension_block_must_fit_exactly(void **state)
{
        (void)state;
        for (int change = -1; change <= 1; change++) {
                extensions.length = message.length = input.length = 0;
                hello_put_opaque(&extensions, 0x1234, 4);
                hello_put_message(&message, &hello_fixed_good, &extensions);
                message.bytes[message.length - extensions.length - 1] += (uint8_t)change;
                hello_put_records(&input, &message, 16384);
                assert_int_equal(verdict(&input), change == 0 ? CLIENT_HELLO_OK : CLIENT_HELLO_MALFORMED);
        }
        /* One byte of a length, one of an extension's header, and an extension that is longer than the block. */
        extensions.length = message.length = input.length = 0;
        hello_put_message(&message, &hello_fixed_good, NULL);
        hello_put_number(&message, 1, 0);
        message.bytes[3]++;
        hello_put_records(&input, &message, 16384);
        assert_int_equal(verdict(&input), CLIENT_HELLO_MALFORMED);
        hello_put_number(&extensions, 3, 0x123400);
        assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_MALFORMED);
        hello_put_number(&extensions, 1, 1);
        assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_MALFORMED);
}

static void no_extension_may_come_twice(void **state)
{
        static const uint16_t types[] = { 0, 16, 51, 0x0a0a, 0xfe0d, 0xffff };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
                extensions.length = 0;
                hello_put_server_name(&extensions, 0, NAME, strlen(NAME));
                hello_put_extension(&extensions, 16, "\0\3\2h2", 5);
                hello_put_opaque(&extensions, 51, 0);
                hello_put_opaque(&extensions, 0x0a0a, 0);
                hello_put_opaque(&extensions, 0xfe0d, 1);
                hello_put_opaque(&extensions, 0xffff, 0);
                assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_OK);
                if (types[i] == 0)
                        hello_put_server_name(&extensions, 0, NAME, strlen(NAME));
                else
                        hello_put_extension(&extensions, types[i], "\0\3\2h2", 5);
                assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_MALFORMED);
        }
}

static void any_number_of_extensions_is_read(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        extensions.length = 0;
        for (size_t type = 100; type < 15000; type++)
                hello_put_opaque(&extensions, type, 0);
        hello_put_server_name(&extensions, 0, NAME, strlen(NAME));
        assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_OK);
        assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_OK);
        assert_string_equal(hello.server_name.text, NAME);
}

static void a_pre_shared_key_must_be_last(void **state)
{
        (void)state;
        extensions.length = 0;
        hello_put_opaque(&extensions, 41, 60);
        assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_OK);
        hello_put_opaque(&extensions, 21, 0);
        assert_int_equal(verdict_on_extensions(), CLIENT_HELLO_MALFORMED);
}

static void the_name_is_in_canonical_form(void **state)
{
        struct client_hello hello;

        (void)state;
        assert_int_equal(verdict_on_text("MCR.Microsoft.COM", &hello), CLIENT_HELLO_OK);
        assert_string_equal(hello.server_name.text, NAME);
        assert_int_equal(verdict_on_text("mcr.microsoft.com.", &hello), CLIENT_HELLO_OK);
        assert_string_equal(hello.server_name.text, NAME);
}

static void what_is_not_one_domain_name_is_a_bad_name(void **state)
{
        static const char *const names[] = { "10.0.0.1", "::1",      "[::1]",      "2130706433", "0x7f.1",
                                             ".",        "a..b",     ".a",         "a b",        "a/b",
                                             "a:443",    "m\xfc.de", "a\r\nb.com", "*.a.com" };
        struct client_hello hello;
        char long_name[300];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_int_equal(verdict_on_text(names[i], &hello), CLIENT_HELLO_BAD_NAME);
        assert_int_equal(verdict_on_name(0, "evil.com\0.good.com", 18, &hello), CLIENT_HELLO_BAD_NAME);
        assert_int_equal(verdict_on_name(0, "good.com\0", 9, &hello), CLIENT_HELLO_BAD_NAME);
        assert_int_equal(verdict_on_name(1, NAME, strlen(NAME), &hello), CLIENT_HELLO_BAD_NAME);
        memset(long_name, 'a', sizeof(long_name));
        for (size_t i = 60; i < sizeof(long_name); i += 60)
                long_name[i] = '.';
        assert_int_equal(verdict_on_name(0, long_name, 253, &hello), CLIENT_HELLO_OK);
        assert_int_equal(verdict_on_name(0, long_name, 254, &hello), CLIENT_HELLO_BAD_NAME);
}

/* The extension as raw bytes. */
static enum client_hello_status verdict_on_raw_name(const char *bytes, size_t length)
{
        extensions.length = 0;
        hello_put_extension(&extensions, 0, bytes, length);
        return verdict_on_extensions();
}

static void a_server_name_list_holds_one_entry_that_fits(void **state)
{
        struct client_hello hello;

        (void)state;
        assert_int_equal(verdict_on_raw_name("\0\5\0\0\2aa", 7), CLIENT_HELLO_OK);
        assert_int_equal(verdict_on_raw_name("", 0), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\0", 2), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\3\0\0\0", 5), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\5\0\0\3aa", 7), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\4\0\0\2aa", 7), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\6\0\0\2aa", 7), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\5\0\0\2aab", 8), CLIENT_HELLO_MALFORMED);
        assert_int_equal(verdict_on_raw_name("\0\xa\0\0\2aa\0\0\2bb", 12), CLIENT_HELLO_BAD_NAME);
        assert_int_equal(verdict_on_raw_name("\0\xa\0\0\2aa\1\0\2bb", 12), CLIENT_HELLO_BAD_NAME);
        assert_int_equal(verdict_on_name(0, "", 0, &hello), CLIENT_HELLO_MALFORMED);
}

static enum client_hello_status alpn_of(const char *bytes, size_t length, struct client_hello *ret)
{
        size_t needed;

        extensions.length = 0;
        hello_put_extension(&extensions, 16, bytes, length);
        (void)verdict_on_extensions();
        return parse(input.bytes, input.length, ret, &needed);
}

static void alpn_is_shown_without_odd_bytes_and_cut(void **state)
{
        struct client_hello hello;
        char list[258] = { 1, 0, (char)255 };

        (void)state;
        assert_int_equal(alpn_of("\0\x6\2\n\n\2h2", 8, &hello), CLIENT_HELLO_OK);
        assert_string_equal(hello.alpn, "\?\?,h2");
        assert_int_equal(alpn_of("\0\6\5 ~,\xff\x7f", 8, &hello), CLIENT_HELLO_OK);
        assert_string_equal(hello.alpn, " ~\?\?\?");
        memset(list + 3, 'x', 255);
        assert_int_equal(alpn_of(list, sizeof(list), &hello), CLIENT_HELLO_OK);
        assert_int_equal(strlen(hello.alpn), CLIENT_HELLO_ALPN_SIZE - 1);
}

static void an_alpn_list_must_fit(void **state)
{
        struct client_hello hello;

        (void)state;
        assert_int_equal(alpn_of("", 0, &hello), CLIENT_HELLO_MALFORMED);
        assert_int_equal(alpn_of("\0\0", 2, &hello), CLIENT_HELLO_MALFORMED);
        assert_int_equal(alpn_of("\0\1\0", 3, &hello), CLIENT_HELLO_MALFORMED);
        assert_int_equal(alpn_of("\0\3\3h2", 5, &hello), CLIENT_HELLO_MALFORMED);
        assert_int_equal(alpn_of("\0\4\2h2", 5, &hello), CLIENT_HELLO_MALFORMED);
        assert_int_equal(alpn_of("\0\2\2h2", 5, &hello), CLIENT_HELLO_MALFORMED);
}

/* A hello of which message and record headers take exactly total bytes, in full records. */
static void build_hello_of(size_t total, struct hello_bytes *out)
{
        size_t fixed = 4 + 2 + 32 + 1 + 32 + 2 + 32 + 2 + 2 + 4, records = (total + 16388) / 16389;

        extensions.length = message.length = out->length = 0;
        hello_put_opaque(&extensions, 0x1234, total - records * 5 - fixed);
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(out, &message, 16384);
        assert_int_equal(out->length, total);
}

static void a_hello_may_take_64_kib_and_not_a_byte_more(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        build_hello_of(CLIENT_HELLO_MAX_BYTES, &input);
        assert_int_equal(verdict(&input), CLIENT_HELLO_OK);
        build_hello_of(CLIENT_HELLO_MAX_BYTES + 1, &input);
        assert_int_equal(verdict(&input), CLIENT_HELLO_TOO_LARGE);
        /* Its first nine bytes announce it. */
        assert_int_equal(parse(input.bytes, 9, &hello, &needed), CLIENT_HELLO_TOO_LARGE);
}

static void many_small_records_count_towards_the_limit(void **state)
{
        enum client_hello_status status;

        (void)state;
        build_hello_of(20000, &other);
        input.length = 0;
        hello_put_records(&input, &message, 1);
        assert_true(input.length > CLIENT_HELLO_MAX_BYTES);
        assert_in_range(count_calls(&input, &status), 2, 100);
        assert_int_equal(status, CLIENT_HELLO_TOO_LARGE);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_failure_leaves_the_result_untouched),
                cmocka_unit_test(what_is_not_a_handshake_record_is_not_tls),
                cmocka_unit_test(record_headers_are_checked_before_their_payload_comes),
                cmocka_unit_test(only_handshake_records_may_come_before_the_hello_is_whole),
                cmocka_unit_test(bytes_after_the_hello_in_its_record_are_malformed_and_records_after_it_are_not),
                cmocka_unit_test(the_parts_before_the_extensions_have_their_limits),
                cmocka_unit_test(a_hello_without_extensions_has_no_name),
                cmocka_unit_test(the_extension_block_must_fit_exactly),
                cmocka_unit_test(no_extension_may_come_twice),
                cmocka_unit_test(any_number_of_extensions_is_read),
                cmocka_unit_test(a_pre_shared_key_must_be_last),
                cmocka_unit_test(the_name_is_in_canonical_form),
                cmocka_unit_test(what_is_not_one_domain_name_is_a_bad_name),
                cmocka_unit_test(a_server_name_list_holds_one_entry_that_fits),
                cmocka_unit_test(alpn_is_shown_without_odd_bytes_and_cut),
                cmocka_unit_test(an_alpn_list_must_fit),
                cmocka_unit_test(a_hello_may_take_64_kib_and_not_a_byte_more),
                cmocka_unit_test(many_small_records_count_towards_the_limit),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
