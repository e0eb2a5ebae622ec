#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client_hello_fixture.h"

#define DIRECTORY "tests/data/hellos/"

struct captured {
        const char *path;
        const char *name;
        const char *alpn;
        size_t length; /* of the hello; 0: the whole capture */
};

static const struct captured captures[] = {
        { DIRECTORY "openssl-tls13.hex", NAME, "", 0 },
        { DIRECTORY "openssl-tls12-only.hex", NAME, "", 0 },
        { DIRECTORY "openssl-no-name.hex", "", "", 0 },
        { DIRECTORY "openssl-many-groups.hex", NAME, "konnectivity,h2", 0 },
        { DIRECTORY "openssl-psk.hex", NAME, "", 0 },
        { DIRECTORY "openssl-early-data.hex", NAME, "", 0x1a6 }, /* change_cipher_spec and early data follow */
        { DIRECTORY "curl-http1.hex", NAME, "http/1.1", 0 },
        { DIRECTORY "curl-http2.hex", NAME, "h2,http/1.1", 0 },
        { DIRECTORY "gnutls-tls13.hex", NAME, "h2,http/1.1", 0 },
        { DIRECTORY "gnutls-tls12-only.hex", NAME, "", 0 },
};

/* Every valid hello of this file, one after the other: the captures, then a browser's. */
#define VALID_COUNT (ARRAY_SIZE(captures) + 1)

static void load_valid(size_t index, struct hello_bytes *out)
{
        if (index == ARRAY_SIZE(captures)) {
                build_browser_hello(out, 16384);
                return;
        }
        hello_read(captures[index].path, out);
        if (captures[index].length > 0)
                out->length = captures[index].length;
}

static void hellos_of_real_clients_are_read(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(captures); i++) {
                const struct captured *captured = &captures[i];
                struct client_hello hello;
                size_t needed;

                hello_read(captured->path, &input);
                assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_OK);
                assert_string_equal(hello.server_name.text, captured->name);
                assert_string_equal(hello.alpn, captured->alpn);
                assert_int_equal(hello.length, captured->length > 0 ? captured->length : input.length);
                assert_false(hello.ech);
        }
}

static void a_browser_hello_over_1500_bytes_with_grease_and_ech_is_read(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        build_browser_hello(&input, 16384);
        assert_true(input.length > 1500);
        assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_OK);
        assert_string_equal(hello.server_name.text, NAME);
        assert_int_equal(hello.server_name.length, strlen(NAME));
        assert_string_equal(hello.alpn, "h2,http/1.1");
        assert_true(hello.ech);
        assert_int_equal(hello.length, input.length);
}

static void assert_prefixes_need_more(const struct hello_bytes *hello_bytes)
{
        struct client_hello hello;

        for (size_t length = 0; length < hello_bytes->length; length++) {
                size_t needed = 0;
                assert_int_equal(parse(hello_bytes->bytes, length, &hello, &needed), CLIENT_HELLO_NEED_MORE);
                assert_in_range(needed, length + 1, hello_bytes->length);
        }
}

static void every_prefix_of_a_valid_hello_needs_more_but_not_too_much(void **state)
{
        (void)state;
        for (size_t i = 0; i < VALID_COUNT; i++) {
                load_valid(i, &input);
                assert_prefixes_need_more(&input);
        }
        build_browser_hello(&input, 100);
        assert_prefixes_need_more(&input);
        build_browser_hello(&input, 1);
        assert_prefixes_need_more(&input);
}

static void what_is_needed_is_exact_once_the_length_is_known(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        build_browser_hello(&input, 16384);
        for (size_t length = 9; length < input.length; length++) {
                assert_int_equal(parse(input.bytes, length, &hello, &needed), CLIENT_HELLO_NEED_MORE);
                assert_int_equal(needed, input.length);
        }
}

static void every_cut_into_two_records_gives_the_same_verdict(void **state)
{
        struct client_hello whole, cut_hello;
        size_t needed;

        (void)state;
        for (size_t i = 0; i < VALID_COUNT; i++) {
                load_valid(i, &other);
                assert_int_equal(parse(other.bytes, other.length, &whole, &needed), CLIENT_HELLO_OK);
                assert_true(hello_take_message(other.bytes, other.length, &message));
                for (size_t cut = 1; cut < message.length; cut++) {
                        input.length = 0;
                        hello_put_record(&input, 22, message.bytes, cut);
                        hello_put_record(&input, 22, message.bytes + cut, message.length - cut);
                        memset(&cut_hello, 0xff, sizeof(cut_hello));
                        assert_int_equal(parse(input.bytes, input.length, &cut_hello, &needed), CLIENT_HELLO_OK);
                        assert_int_equal(cut_hello.length, input.length);
                        assert_true(fqdn_equal(&cut_hello.server_name, &whole.server_name));
                        assert_string_equal(cut_hello.alpn, whole.alpn);
                        assert_int_equal(cut_hello.ech, whole.ech);
                }
        }
}

static void every_record_size_gives_the_same_verdict(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        build_browser_hello(&other, 16384);
        for (size_t size = 1; size <= message.length; size++) {
                input.length = 0;
                hello_put_records(&input, &message, size);
                assert_int_equal(parse(input.bytes, input.length, &hello, &needed), CLIENT_HELLO_OK);
                assert_string_equal(hello.server_name.text, NAME);
                assert_int_equal(hello.length, input.length);
        }
}

static void a_hello_in_records_of_one_byte_is_parsed_few_times(void **state)
{
        enum client_hello_status status;

        (void)state;
        build_browser_hello(&input, 1);
        assert_in_range(count_calls(&input, &status), 1, 100);
        assert_int_equal(status, CLIENT_HELLO_OK);
        build_browser_hello(&input, 16384);
        assert_in_range(count_calls(&input, &status), 1, 3);
        assert_int_equal(status, CLIENT_HELLO_OK);
}

static enum client_hello_status parse_bare(size_t length, struct client_hello *ret, size_t *ret_needed)
{
        return client_hello_parse_message(guarded_copy(&guarded, message.bytes, length), length, ret, ret_needed);
}

static void a_bare_message_gives_the_verdict_of_its_records(void **state)
{
        struct client_hello whole, bare;
        size_t needed;

        (void)state;
        for (size_t i = 0; i < VALID_COUNT; i++) {
                load_valid(i, &input);
                assert_int_equal(parse(input.bytes, input.length, &whole, &needed), CLIENT_HELLO_OK);
                assert_true(hello_take_message(input.bytes, input.length, &message));
                for (size_t length = 0; length < message.length; length++) {
                        assert_int_equal(parse_bare(length, &bare, &needed), CLIENT_HELLO_NEED_MORE);
                        assert_int_equal(needed, length < 4 ? 4 : message.length);
                }
                memset(&bare, 0xff, sizeof(bare));
                assert_int_equal(parse_bare(message.length, &bare, &needed), CLIENT_HELLO_OK);
                assert_int_equal(bare.length, message.length);
                assert_true(fqdn_equal(&bare.server_name, &whole.server_name));
                assert_string_equal(bare.alpn, whole.alpn);
                assert_int_equal(bare.ech, whole.ech);
        }
}

static void a_bare_message_that_cannot_be_a_hello_is_refused_at_once(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        build_browser_hello(&input, 16384);
        hello_put_number(&message, 1, 0);
        assert_int_equal(parse_bare(message.length, &hello, &needed), CLIENT_HELLO_MALFORMED);
        message.length = 0;
        hello_put_message(&message, &hello_fixed_good, NULL);
        assert_int_equal(parse_bare(message.length, &hello, &needed), CLIENT_HELLO_OK);
        hello_put_number(&message, 2, 0); /* would be an empty block of extensions */
        assert_int_equal(parse_bare(message.length, &hello, &needed), CLIENT_HELLO_MALFORMED);
        message.bytes[0] = 2;
        assert_int_equal(parse_bare(1, &hello, &needed), CLIENT_HELLO_MALFORMED);
        memcpy(message.bytes, "\x01\x00\xff\xfc", 4);
        assert_int_equal(parse_bare(4, &hello, &needed), CLIENT_HELLO_NEED_MORE);
        assert_int_equal(needed, CLIENT_HELLO_MAX_BYTES);
        message.bytes[3]++;
        assert_int_equal(parse_bare(4, &hello, &needed), CLIENT_HELLO_TOO_LARGE);
}

static bool contains_name(const struct hello_bytes *bytes, const struct fqdn *name)
{
        for (size_t i = 0; i + name->length <= bytes->length; i++)
                if (strncasecmp((const char *)bytes->bytes + i, name->text, name->length) == 0)
                        return true;
        return false;
}

static void a_flipped_bit_never_yields_a_name_that_is_not_on_the_wire(void **state)
{
        struct client_hello hello;
        size_t needed;

        (void)state;
        for (size_t i = 0; i < VALID_COUNT; i++) {
                load_valid(i, &input);
                for (size_t bit = 0; bit < input.length * 8; bit++) {
                        input.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                        if (parse(input.bytes, input.length, &hello, &needed) == CLIENT_HELLO_OK)
                                assert_true(contains_name(&input, &hello.server_name));
                        input.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                }
        }
}

static void random_damage_never_crashes(void **state)
{
        struct client_hello hello;
        unsigned seed = 20260701;
        size_t needed;

        (void)state;
        for (unsigned round = 0; round < 20000; round++) {
                load_valid(VALID_COUNT - 1, &input);
                for (unsigned i = 0; i < 8; i++)
                        input.bytes[(size_t)rand_r(&seed) % input.length] = (uint8_t)rand_r(&seed);
                size_t length = (size_t)rand_r(&seed) % (input.length + 1);
                if (parse(input.bytes, length, &hello, &needed) == CLIENT_HELLO_NEED_MORE)
                        assert_true(needed > length);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(hellos_of_real_clients_are_read),
                cmocka_unit_test(a_browser_hello_over_1500_bytes_with_grease_and_ech_is_read),
                cmocka_unit_test(every_prefix_of_a_valid_hello_needs_more_but_not_too_much),
                cmocka_unit_test(what_is_needed_is_exact_once_the_length_is_known),
                cmocka_unit_test(every_cut_into_two_records_gives_the_same_verdict),
                cmocka_unit_test(every_record_size_gives_the_same_verdict),
                cmocka_unit_test(a_hello_in_records_of_one_byte_is_parsed_few_times),
                cmocka_unit_test(a_bare_message_gives_the_verdict_of_its_records),
                cmocka_unit_test(a_bare_message_that_cannot_be_a_hello_is_refused_at_once),
                cmocka_unit_test(a_flipped_bit_never_yields_a_name_that_is_not_on_the_wire),
                cmocka_unit_test(random_damage_never_crashes),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
