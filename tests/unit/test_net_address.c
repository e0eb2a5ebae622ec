#include "base/net_address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guarded.h"
#include "values.h"

#define RANDOM_ROUNDS 20000
#define RANDOM_SEED 0x9e3779b97f4a7c15u /* always the same sequence, so that a failure comes again */

/* xorshift64: the same sequence everywhere. */
static uint64_t next_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

static struct net_address random_address(uint64_t *state)
{
        struct net_address address = { .family = next_random(state) % 2 == 0 ? AF_INET : AF_INET6 };

        for (size_t i = 0; i < (address.family == AF_INET ? 4u : 16u); i++)
                address.bytes[i] = next_random(state) % 3 == 0 ? 0 : (uint8_t)next_random(state);
        return address;
}

static struct net_prefix prefix_of(const char *text)
{
        struct net_prefix prefix;

        if (net_prefix_parse(text, strlen(text), &prefix) != 0)
                fail_msg("'%s' is no prefix", text);
        return prefix;
}

static void what_is_printed_is_read_again(void **state)
{
        uint64_t seed = RANDOM_SEED;
        char text[NET_ADDRESS_TEXT_SIZE];

        (void)state;
        for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
                struct net_address address = random_address(&seed), again;
                net_address_format(&address, text);
                assert_int_equal(net_address_parse(text, strlen(text), &again), 0);
                assert_true(net_address_equal(&address, &again));
        }
}

static void what_is_no_address_is_refused_and_leaves_the_result_alone(void **state)
{
        static const char *const texts[] = {
                "",
                "1",
                "1.2.3",
                "1.2.3.4.5",
                "01.2.3.4",
                "1.2.3.256",
                "1.2.3.4 ",
                " 1.2.3.4",
                "0x1.2.3.4",
                "1.2.3.4/8",
                "a.b.c.d",
                ":",
                ":::",
                "1::2::3",
                "::g",
                "fe80::1%eth0",
                "[::1]",
                "1:2:3:4:5:6:7",
                "1:2:3:4:5:6:7:8:9",
                "::1.2.3",
                "::12345",
                "1111:2222:3333:4444:5555:6666:111.222.111.2222",
        };
        struct net_address address = address_of("192.0.2.9");
        static const char with_nul[] = "1.2.3.4\0";

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                assert_int_equal(net_address_parse(texts[i], strlen(texts[i]), &address), -EINVAL);
        assert_int_equal(net_address_parse(with_nul, sizeof(with_nul) - 1, &address), -EINVAL);
        assert_true(address.bytes[3] == 9);
}

static void only_the_given_length_of_a_text_is_read(void **state)
{
        struct guarded guarded;
        struct net_address address;
        static const char text[] = "192.0.2.123";

        (void)state;
        guarded_open(&guarded, sizeof(text));
        for (size_t length = 0; length <= strlen(text); length++) {
                const void *bytes = guarded_copy(&guarded, text, length);
                assert_int_equal(net_address_parse(bytes, length, &address), length >= 9 ? 0 : -EINVAL);
        }
        guarded_close(&guarded);
}

static void endpoints_have_a_port_or_get_the_default(void **state)
{
        static const struct {
                const char *text;
                const char *canonical; /* NULL: refused */
        } rows[] = {
                { "10.0.0.4", "10.0.0.4:53" },
                { "10.0.0.4:1", "10.0.0.4:1" },
                { "10.0.0.4:65535", "10.0.0.4:65535" },
                { "fd00::1", "[fd00::1]:53" },
                { "[fd00::1]", "[fd00::1]:53" },
                { "[fd00::1]:5353", "[fd00::1]:5353" },
                { "", NULL },
                { "10.0.0.4:", NULL },
                { "10.0.0.4:0", NULL },
                { "10.0.0.4:65536", NULL },
                { "10.0.0.4:053", NULL },
                { "10.0.0.4:+5", NULL },
                { "10.0.0.4:5x", NULL },
                { "[10.0.0.4]:53", NULL },
                { "[fd00::1", NULL },
                { "[fd00::1]53", NULL },
                { "[]:53", NULL },
                { "name:53", NULL },
                { ":53", NULL },
        };
        struct net_endpoint endpoint;
        char text[NET_ENDPOINT_TEXT_SIZE];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int r = net_endpoint_parse(rows[i].text, 53, &endpoint);
                assert_int_equal(r, rows[i].canonical == NULL ? -EINVAL : 0);
                if (r == 0)
                        assert_string_equal(net_endpoint_format(&endpoint, text), rows[i].canonical);
        }
}

static void prefixes_have_no_bit_past_their_length(void **state)
{
        static const struct {
                const char *text;
                int result;
                const char *canonical;
        } rows[] = {
                { "10.0.0.0/8", 0, "10.0.0.0/8" },
                { "0.0.0.0/0", 0, "0.0.0.0/0" },
                { "10.0.0.1", 0, "10.0.0.1/32" },
                { "10.0.0.1/32", 0, "10.0.0.1/32" },
                { "::/0", 0, "::/0" },
                { "fd00:0:0:8000::/49", 0, "fd00:0:0:8000::/49" },
                { "fd00::1", 0, "fd00::1/128" },
                { "10.0.0.1/8", -EDOM, NULL },
                { "10.128.0.0/8", -EDOM, NULL },
                { "128.0.0.0/0", -EDOM, NULL },
                { "fd00::1/127", -EDOM, NULL },
                { "10.0.0.0/33", -EINVAL, NULL },
                { "fd00::/129", -EINVAL, NULL },
                { "10.0.0.0/", -EINVAL, NULL },
                { "10.0.0.0/08", -EINVAL, NULL },
                { "10.0.0.0/-1", -EINVAL, NULL },
                { "10.0.0/8", -EINVAL, NULL },
                { "/8", -EINVAL, NULL },
                { "", -EINVAL, NULL },
        };
        struct net_prefix prefix;
        char text[NET_PREFIX_TEXT_SIZE];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                assert_int_equal(net_prefix_parse(rows[i].text, strlen(rows[i].text), &prefix), rows[i].result);
                if (rows[i].result == 0)
                        assert_string_equal(net_prefix_format(&prefix, text), rows[i].canonical);
        }
}

static bool bit_of(const struct net_address *address, size_t bit)
{
        return (address->bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

/* The plain definition, bit by bit, against the function. */
static void a_prefix_contains_the_addresses_that_share_its_bits(void **state)
{
        uint64_t seed = RANDOM_SEED;

        (void)state;
        for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
                struct net_address address = random_address(&seed);
                size_t bits = address.family == AF_INET ? 32 : 128;
                struct net_prefix prefix = { .address = address, .length = (uint8_t)(next_random(&seed) % (bits + 1)) };
                for (size_t bit = prefix.length; bit < bits; bit++)
                        prefix.address.bytes[bit / 8] &= (uint8_t) ~(1u << (7 - bit % 8));
                size_t changed = next_random(&seed) % bits;
                address.bytes[changed / 8] ^= (uint8_t)(1u << (7 - changed % 8));
                assert_int_equal(net_prefix_contains(&prefix, &address), changed >= prefix.length);
                assert_true(bit_of(&prefix.address, changed) != bit_of(&address, changed) || changed >= prefix.length);
        }
}

static void a_prefix_contains_nothing_of_another_family(void **state)
{
        struct net_prefix every_ipv4 = prefix_of("0.0.0.0/0"), every_ipv6 = prefix_of("::/0");
        struct net_address ipv4 = address_of("10.0.0.1"), ipv6 = address_of("fd00::1");

        (void)state;
        assert_true(net_prefix_contains(&every_ipv4, &ipv4));
        assert_false(net_prefix_contains(&every_ipv4, &ipv6));
        assert_true(net_prefix_contains(&every_ipv6, &ipv6));
        assert_false(net_prefix_contains(&every_ipv6, &ipv4));
}

/* The last address of a prefix. */
static struct net_address last_of(const struct net_prefix *prefix)
{
        struct net_address last = prefix->address;

        for (size_t bit = prefix->length; bit < (last.family == AF_INET ? 32u : 128u); bit++)
                last.bytes[bit / 8] |= (uint8_t)(1u << (7 - bit % 8));
        return last;
}

/* Each block's first and last address, and the one behind it. Source: RFC 6890 and IANA's special-purpose registries. */
static void blocks_are_classified_to_their_last_address(void **state)
{
        static const struct {
                const char *prefix;
                enum net_address_class class;
                enum net_address_class behind;
        } rows[] = {
                { "0.0.0.0/8", NET_ADDRESS_UNSPECIFIED, NET_ADDRESS_PUBLIC },
                { "10.0.0.0/8", NET_ADDRESS_PRIVATE, NET_ADDRESS_PUBLIC },
                { "100.64.0.0/10", NET_ADDRESS_CGNAT, NET_ADDRESS_PUBLIC },
                { "127.0.0.0/8", NET_ADDRESS_LOOPBACK, NET_ADDRESS_PUBLIC },
                { "168.63.129.16/32", NET_ADDRESS_AZURE_PLATFORM, NET_ADDRESS_PUBLIC },
                { "169.254.0.0/17", NET_ADDRESS_LINK_LOCAL, NET_ADDRESS_LINK_LOCAL },
                { "169.254.169.254/32", NET_ADDRESS_AZURE_PLATFORM, NET_ADDRESS_LINK_LOCAL },
                { "169.254.192.0/18", NET_ADDRESS_LINK_LOCAL, NET_ADDRESS_PUBLIC },
                { "172.16.0.0/12", NET_ADDRESS_PRIVATE, NET_ADDRESS_PUBLIC },
                { "192.0.0.0/24", NET_ADDRESS_RESERVED, NET_ADDRESS_PUBLIC },
                { "192.168.0.0/16", NET_ADDRESS_PRIVATE, NET_ADDRESS_PUBLIC },
                { "224.0.0.0/4", NET_ADDRESS_MULTICAST, NET_ADDRESS_RESERVED },
                { "240.0.0.0/4", NET_ADDRESS_RESERVED, NET_ADDRESS_PUBLIC },
                { "::/128", NET_ADDRESS_UNSPECIFIED, NET_ADDRESS_LOOPBACK },
                { "::1/128", NET_ADDRESS_LOOPBACK, NET_ADDRESS_EMBEDDED_IPV4 },
                { "::8000:0/97", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "::ffff:0:0/96", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "::ffff:0:0:0/96", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "64:ff9b::/96", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "64:ff9b:1::/48", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "100::/64", NET_ADDRESS_RESERVED, NET_ADDRESS_PUBLIC },
                { "2001::/32", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "2002::/16", NET_ADDRESS_EMBEDDED_IPV4, NET_ADDRESS_PUBLIC },
                { "fc00::/7", NET_ADDRESS_PRIVATE, NET_ADDRESS_PUBLIC },
                { "fe80::/10", NET_ADDRESS_LINK_LOCAL, NET_ADDRESS_PRIVATE },
                { "fec0::/10", NET_ADDRESS_PRIVATE, NET_ADDRESS_MULTICAST },
                { "ff00::/8", NET_ADDRESS_MULTICAST, NET_ADDRESS_PUBLIC },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct net_prefix prefix = prefix_of(rows[i].prefix);
                struct net_address last = last_of(&prefix);
                assert_int_equal(net_address_classify(&prefix.address), rows[i].class);
                assert_int_equal(net_address_classify(&last), rows[i].class);
                if (net_address_increment(&last))
                        assert_int_equal(net_address_classify(&last), rows[i].behind);
        }
}

static void ordinary_addresses_are_public(void **state)
{
        static const char *const texts[] = { "1.1.1.1",        "13.107.42.16",    "9.255.255.255",  "11.0.0.0",
                                             "100.63.255.255", "126.255.255.255", "172.15.255.255", "223.255.255.255",
                                             "2603:1030::1",   "2a01:111::1" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct net_address address = address_of(texts[i]);
                assert_int_equal(net_address_classify(&address), NET_ADDRESS_PUBLIC);
        }
}

static void every_class_has_a_name_of_its_own(void **state)
{
        (void)state;
        for (enum net_address_class a = 0; a < NET_ADDRESS_CLASS_COUNT; a++) {
                assert_true(strlen(net_address_class_name(a)) > 0);
                for (enum net_address_class b = 0; b < a; b++)
                        assert_string_not_equal(net_address_class_name(a), net_address_class_name(b));
        }
}

static void socket_addresses_come_back_as_they_went(void **state)
{
        uint64_t seed = RANDOM_SEED;

        (void)state;
        for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
                struct net_endpoint endpoint = { .address = random_address(&seed),
                                                 .port = (uint16_t)next_random(&seed) };
                struct sockaddr_storage storage;
                socklen_t length = net_endpoint_to_sockaddr(&endpoint, &storage);
                assert_int_equal(length, endpoint.address.family == AF_INET ? sizeof(struct sockaddr_in)
                                                                            : sizeof(struct sockaddr_in6));
                struct net_endpoint again = net_endpoint_from_sockaddr(&storage);
                if (net_address_classify(&endpoint.address) != NET_ADDRESS_EMBEDDED_IPV4)
                        assert_true(net_endpoint_equal(&endpoint, &again));
        }
}

static void a_mapped_socket_address_is_ipv4(void **state)
{
        struct net_endpoint mapped = { .address = address_of("::ffff:192.0.2.7"), .port = 443 };
        struct sockaddr_storage storage;
        char text[NET_ENDPOINT_TEXT_SIZE];

        (void)state;
        (void)net_endpoint_to_sockaddr(&mapped, &storage); /* Only its content matters. */
        struct net_endpoint plain = net_endpoint_from_sockaddr(&storage);
        assert_string_equal(net_endpoint_format(&plain, text), "192.0.2.7:443");
        storage = (struct sockaddr_storage){ .ss_family = AF_UNIX };
        plain = net_endpoint_from_sockaddr(&storage);
        assert_int_equal(plain.address.family, AF_UNSPEC);
        assert_string_equal(net_address_format(&plain.address, text), "");
}

static void incrementing_gives_the_next_in_order(void **state)
{
        uint64_t seed = RANDOM_SEED;
        struct net_address last = address_of("255.255.255.255"),
                           last_ipv6 = address_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        struct net_address carried = address_of("10.0.255.255"), expected = address_of("10.1.0.0");

        (void)state;
        for (unsigned i = 0; i < RANDOM_ROUNDS; i++) {
                struct net_address address = random_address(&seed), next = address;
                if (!net_address_increment(&next))
                        continue;
                assert_true(net_address_compare(&address, &next) < 0);
                assert_true(net_address_compare(&next, &address) > 0);
        }
        assert_true(net_address_increment(&carried));
        assert_true(net_address_equal(&carried, &expected));
        assert_false(net_address_increment(&last));
        assert_int_equal(last.bytes[0], 255);
        assert_false(net_address_increment(&last_ipv6));
        assert_int_equal(last_ipv6.bytes[15], 255);
}

static void order_is_by_family_and_bytes(void **state)
{
        static const char *const ordered[] = { "0.0.0.0",   "9.255.0.0", "10.0.0.0", "10.0.0.1",
                                               "255.0.0.0", "::",        "::1",      "fd00::" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(ordered); i++)
                for (size_t j = 0; j < ARRAY_SIZE(ordered); j++) {
                        struct net_address a = address_of(ordered[i]), b = address_of(ordered[j]);
                        int order = net_address_compare(&a, &b);
                        assert_int_equal(order < 0, i < j);
                        assert_int_equal(order == 0, i == j);
                        assert_int_equal(net_address_equal(&a, &b), i == j);
                }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_printed_is_read_again),
                cmocka_unit_test(what_is_no_address_is_refused_and_leaves_the_result_alone),
                cmocka_unit_test(only_the_given_length_of_a_text_is_read),
                cmocka_unit_test(endpoints_have_a_port_or_get_the_default),
                cmocka_unit_test(prefixes_have_no_bit_past_their_length),
                cmocka_unit_test(a_prefix_contains_the_addresses_that_share_its_bits),
                cmocka_unit_test(a_prefix_contains_nothing_of_another_family),
                cmocka_unit_test(blocks_are_classified_to_their_last_address),
                cmocka_unit_test(ordinary_addresses_are_public),
                cmocka_unit_test(every_class_has_a_name_of_its_own),
                cmocka_unit_test(socket_addresses_come_back_as_they_went),
                cmocka_unit_test(a_mapped_socket_address_is_ipv4),
                cmocka_unit_test(incrementing_gives_the_next_in_order),
                cmocka_unit_test(order_is_by_family_and_bytes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
