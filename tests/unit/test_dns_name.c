#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/compiler.h"
#include "dns_builder.h"
#include "guarded.h"
#include "inspect/dns_name.h"
#include "values.h"

#define RANDOM_MESSAGES 300000

static struct dns_bytes message;

static struct dns_name wire(const char *text)
{
        struct byte_cursor cursor;
        struct dns_name name;

        message.length = 0;
        dns_put_name(&message, text);
        cursor = byte_cursor_from(message.bytes, message.length);
        assert_true(dns_name_read_plain(&cursor, &name));
        return name;
}

static void names_go_to_the_wire_and_back(void **state)
{
        static const char *const names[] = { "a", "www.example.com", "_ldap._tcp.x-1.example" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                struct fqdn name = name_of(names[i]), again;
                struct dns_name expected = wire(names[i]), got;
                dns_name_from_fqdn(&name, &got);
                assert_int_equal(got.length, expected.length);
                assert_memory_equal(got.bytes, expected.bytes, got.length);
                assert_int_equal(dns_name_to_fqdn(&got, &again), 0);
                assert_true(fqdn_equal(&name, &again));
        }
}

static void a_dot_within_a_label_makes_no_other_name(void **state)
{
        struct dns_name name = wire("www-example.com");
        struct fqdn text = { .length = 77 };

        (void)state;
        name.bytes[4] = '.';
        assert_int_equal(dns_name_to_fqdn(&name, &text), -EINVAL);
        name = wire("");
        assert_int_equal(dns_name_to_fqdn(&name, &text), -EINVAL);
        assert_int_equal(text.length, 77);
}

static void comparing_ignores_capitals_of_ascii_only(void **state)
{
        struct dns_name a, b;

        (void)state;
        for (unsigned x = 0; x < 256; x++)
                for (unsigned y = 0; y < 256; y++) {
                        a = (struct dns_name){ 3, { 1, (uint8_t)x, 0 } };
                        b = (struct dns_name){ 3, { 1, (uint8_t)y, 0 } };
                        bool same = x == y || (x >= 'A' && x <= 'Z' && y == x + 32) ||
                                    (y >= 'A' && y <= 'Z' && x == y + 32);
                        assert_int_equal(dns_name_equal(&a, &b), same);
                        assert_true(!same || dns_name_hash(&a) == dns_name_hash(&b));
                }
}

static void a_suffix_is_made_of_whole_labels(void **state)
{
        static const struct {
                const char *a, *b;
                size_t common;
        } cases[] = {
                { "www.example.com", "WWW.EXAMPLE.COM", 17 },
                { "www.example.com", "example.com", 13 },
                { "www.example.com", "xexample.com", 5 },
                { "www.example.com", "www.example.org", 1 },
                { "", "example", 1 },
                { "a.b.a.b", "b.a.b", 7 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct dns_name a = wire(cases[i].a), b = wire(cases[i].b);
                assert_int_equal(dns_name_common_suffix(&a, &b), cases[i].common);
                assert_int_equal(dns_name_common_suffix(&b, &a), cases[i].common);
        }
}

/* A pointer to itself, into the header, ahead, and into the label before it. */
static void pointers_lead_backwards_out_of_the_name(void **state)
{
        static const struct {
                unsigned offset;
                bool good;
        } cases[] = { { 0, false },  { 11, false }, { 12, true },  { 14, true },
                      { 16, false }, { 18, false }, { 19, false }, { 20, false } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                message.length = DNS_MESSAGE_HEADER_SIZE;
                dns_put_name(&message, "a.b"); /* 12 to 16 */
                message.bytes[message.length - 1] = 0;
                size_t start = message.length; /* 17 */
                dns_put(&message, "\001c", 2);
                dns_put_u16(&message, 0xc000u + (cases[i].offset == 16 ? start : cases[i].offset));
                struct byte_cursor cursor = byte_cursor_from(message.bytes + start, message.length - start);
                struct dns_name name;
                assert_int_equal(dns_name_read(message.bytes, &cursor, &name), cases[i].good);
                assert_int_equal(cursor.left, cases[i].good ? 0 : 4);
        }
}

/* 8,000 pointers, each to the one before: as many steps for every name that begins at the last. */
static void a_ladder_of_pointers_is_not_climbed(void **state)
{
        struct byte_cursor cursor;
        struct dns_name name;

        (void)state;
        for (unsigned count = 1; count < 8000; count += count < 200 ? 1 : 1000) {
                message.length = DNS_MESSAGE_HEADER_SIZE;
                dns_put_name(&message, "a");
                dns_put_u8(&message, 0);
                for (unsigned i = 0; i < count; i++)
                        dns_put_u16(&message, 0xc000u + (i == 0 ? 12 : (unsigned)message.length - 2));
                cursor = byte_cursor_from(message.bytes + message.length - 2, 2);
                assert_int_equal(dns_name_read(message.bytes, &cursor, &name), count <= 127);
                cursor = byte_cursor_from(message.bytes + message.length - 2, 2);
                assert_true(dns_name_skip(&cursor));
        }
}

/*
 * Names that the C library takes apart too, it takes apart the same; bytes of all kinds, mostly those that lengths are
 * made of.
 */
static void the_c_library_reads_the_same(void **state)
{
        unsigned seed = (unsigned)time(NULL), read = 0;
        struct guarded guarded;

        (void)state;
        srand(seed);
        guarded_open(&guarded, 4096);
        for (unsigned i = 0; i < RANDOM_MESSAGES; i++) {
                size_t length = 13 + (size_t)rand() % 60, start = 12 + (size_t)rand() % (length - 12);
                uint8_t *bytes = guarded.end - length, unpacked[NS_MAXCDNAME];
                for (size_t at = 0; at < length; at++) {
                        static const uint8_t usual[] = { 0, 0, 1, 2, 5, 0xc0, 12, 14, 20 };
                        bytes[at] = rand() % 8 == 0 ? (uint8_t)rand() : usual[(size_t)rand() % sizeof(usual)];
                }
                struct byte_cursor cursor = byte_cursor_from(bytes + start, length - start), skipped = cursor;
                struct dns_name name;
                if (!dns_name_read(bytes, &cursor, &name))
                        continue;
                read++;
                int taken = ns_name_unpack(bytes, bytes + length, bytes + start, unpacked, sizeof(unpacked));
                if (taken < 0 || (size_t)taken != (size_t)(cursor.next - bytes) - start ||
                    memcmp(unpacked, name.bytes, name.length) != 0)
                        fail_msg("seed %u, message %u", seed, i);
                assert_true(dns_name_skip(&skipped) && skipped.next == cursor.next);
        }
        assert_true(read > RANDOM_MESSAGES / 20);
        guarded_close(&guarded);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_go_to_the_wire_and_back),
                cmocka_unit_test(a_dot_within_a_label_makes_no_other_name),
                cmocka_unit_test(comparing_ignores_capitals_of_ascii_only),
                cmocka_unit_test(a_suffix_is_made_of_whole_labels),
                cmocka_unit_test(pointers_lead_backwards_out_of_the_name),
                cmocka_unit_test(a_ladder_of_pointers_is_not_climbed),
                cmocka_unit_test(the_c_library_reads_the_same),
        };

        return cmocka_run_group_tests_name("dns_name", tests, NULL, NULL);
}
