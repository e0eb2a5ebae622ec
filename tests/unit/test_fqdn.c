#include "base/fqdn.h"

#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "guarded.h"

#define LABEL_63 "abcdefghijklmnopqrstuvwxyz-0123456789_abcdefghijklmnopqrstuvwxy"

static void names_get_one_canonical_form(void **state)
{
        static const struct {
                const char *text;
                const char *canonical;
        } names[] = {
                { "example.com", "example.com" },
                { "EXAMPLE.Com", "example.com" },
                { "example.com.", "example.com" },
                { "localhost", "localhost" },
                { "_sip._tcp.example.com", "_sip._tcp.example.com" },
                { "-a-.b-", "-a-.b-" },
                { "1.2.3.4a", "1.2.3.4a" },
                { "1.a", "1.a" },
                { "a.0xg", "a.0xg" },
                { "xn--bcher-kva.example", "xn--bcher-kva.example" },
                { LABEL_63 ".a", LABEL_63 ".a" },
        };
        struct fqdn name, again;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                assert_int_equal(fqdn_from_text(names[i].text, &name), 0);
                assert_string_equal(name.text, names[i].canonical);
                assert_int_equal(name.length, strlen(names[i].canonical));
                assert_int_equal(fqdn_from_text(name.text, &again), 0);
                assert_true(fqdn_equal(&name, &again));
        }
}

static void what_is_no_name_is_refused_and_leaves_the_result_alone(void **state)
{
        static const char *const texts[] = {
                "",
                ".",
                "..",
                ".a",
                "a..b",
                "a..",
                "a b",
                " a",
                "a ",
                "a\t",
                "a/b",
                "a:443",
                "a@b",
                "*",
                "*.example.com",
                "a,b",
                "a\\b",
                "b\xc3\xbc"
                "cher.example",
                "[::1]",
                "::1",
                LABEL_63 "z.a",
        };
        struct fqdn name = { .length = 3, .text = "old" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                assert_int_equal(fqdn_from_text(texts[i], &name), -EINVAL);
                assert_string_equal(name.text, "old");
                assert_int_equal(name.length, 3);
        }
}

/* inet_aton and browsers read all of these as IPv4 addresses. */
static void an_address_written_as_a_name_is_refused(void **state)
{
        static const char *const texts[] = { "1.2.3.4", "1.2.3.4.", "127.1",  "2130706433", "0x7f000001",
                                             "0x7f.1",  "a.0x",     "a.0X1F", "a.1",        "0" };
        struct fqdn name;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                assert_int_equal(fqdn_from_text(texts[i], &name), -EINVAL);
}

static void lengths_are_those_of_the_rfc(void **state)
{
        char text[FQDN_MAX_LENGTH + 3];
        struct fqdn name;

        (void)state;
        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = i % 2 == 0 ? 'a' : '.';
        assert_int_equal(fqdn_from_bytes(text, FQDN_MAX_LENGTH, &name), 0);
        assert_int_equal(name.length, FQDN_MAX_LENGTH);
        assert_int_equal(fqdn_from_bytes(text, FQDN_MAX_LENGTH + 1, &name), 0); /* the last is a dot */
        assert_int_equal(fqdn_from_bytes(text, FQDN_MAX_LENGTH + 2, &name), -EINVAL);
        assert_int_equal(FQDN_MAX_LABELS, (FQDN_MAX_LENGTH + 1) / 2);
}

static bool may_stand_in_a_name(int byte)
{
        return (byte < 128 && isalnum(byte) != 0) || byte == '-' || byte == '_' || byte == '.';
}

static void each_byte_is_allowed_or_not_wherever_it_stands(void **state)
{
        struct fqdn name;

        (void)state;
        for (int byte = 0; byte < 256; byte++) {
                unsigned char text[] = { 'a', (unsigned char)byte, 'b' };
                int expected = may_stand_in_a_name(byte) ? 0 : -EINVAL;
                assert_int_equal(fqdn_from_bytes(text, sizeof(text), &name), expected);
                if (expected == 0 && byte != '.')
                        assert_int_equal(name.text[1], tolower(byte));
        }
}

/* "a.b" is one, whatever stands behind its three bytes; a NUL within never ends a name. */
static void only_the_bytes_that_are_given_count(void **state)
{
        static const char bytes[] = "a.b\0.evil.example";
        struct guarded guarded;
        struct fqdn name;

        (void)state;
        guarded_open(&guarded, sizeof(bytes));
        for (size_t length = 0; length <= sizeof(bytes); length++) {
                int r = fqdn_from_bytes(guarded_copy(&guarded, bytes, length), length, &name);
                assert_int_equal(r, length >= 1 && length <= 3 ? 0 : -EINVAL);
        }
        guarded_close(&guarded);
}

static void names_are_equal_by_their_text(void **state)
{
        struct fqdn a, b, empty = { 0 }, other_empty = { .text = "x" };

        (void)state;
        assert_int_equal(fqdn_from_text("a.example", &a), 0);
        assert_int_equal(fqdn_from_text("A.example.", &b), 0);
        assert_true(fqdn_equal(&a, &b));
        assert_int_equal(fqdn_from_text("a.example1", &b), 0);
        assert_false(fqdn_equal(&a, &b));
        assert_false(fqdn_equal(&a, &empty));
        assert_true(fqdn_equal(&empty, &other_empty));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_get_one_canonical_form),
                cmocka_unit_test(what_is_no_name_is_refused_and_leaves_the_result_alone),
                cmocka_unit_test(an_address_written_as_a_name_is_refused),
                cmocka_unit_test(lengths_are_those_of_the_rfc),
                cmocka_unit_test(each_byte_is_allowed_or_not_wherever_it_stands),
                cmocka_unit_test(only_the_bytes_that_are_given_count),
                cmocka_unit_test(names_are_equal_by_their_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
