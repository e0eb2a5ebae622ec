#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "policy/prefix_set.h"
#include "values.h"

#define RANDOM_PREFIXES 200
#define RANDOM_ADDRESSES 2000

static int make_set(void **state)
{
        *state = prefix_set_new();
        return *state == NULL ? -1 : 0;
}

static int drop_set(void **state)
{
        prefix_set_free(*state);
        return 0;
}

static uint32_t add(struct prefix_set *set, const char *text, uint32_t number)
{
        struct net_prefix prefix;
        uint32_t entry;

        assert_int_equal(net_prefix_parse(text, strlen(text), &prefix), 0);
        assert_int_equal(prefix_set_add(set, &prefix, &entry), 0);
        prefix_set_set_number(set, entry, number);
        return entry;
}

/* The number of the longest prefix; 0: none. */
static uint32_t longest(const struct prefix_set *set, const char *text)
{
        struct net_address address = address_of(text);
        uint32_t entry = prefix_set_find_longest(set, &address);

        return entry == PREFIX_SET_NONE ? 0 : prefix_set_number(set, entry);
}

static void the_longest_prefix_wins(void **state)
{
        add(*state, "10.0.0.0/8", 1);
        add(*state, "10.1.0.0/16", 2);
        add(*state, "10.1.2.3", 3);
        assert_int_equal(longest(*state, "10.9.0.1"), 1);
        assert_int_equal(longest(*state, "10.1.9.1"), 2);
        assert_int_equal(longest(*state, "10.1.2.3"), 3);
        assert_int_equal(longest(*state, "11.0.0.0"), 0);
}

static void families_are_kept_apart(void **state)
{
        add(*state, "0.0.0.0/0", 1);
        assert_int_equal(longest(*state, "::1"), 0);
        assert_int_equal(longest(*state, "::ffff:10.0.0.1"), 0);
        add(*state, "::/0", 2);
        assert_int_equal(longest(*state, "::1"), 2);
        assert_int_equal(longest(*state, "255.255.255.255"), 1);
}

static void no_address_is_covered_by_none(void **state)
{
        struct net_address none = { 0 };

        add(*state, "0.0.0.0/0", 1);
        add(*state, "::/0", 2);
        assert_int_equal(prefix_set_find_longest(*state, &none), PREFIX_SET_NONE);
}

static void a_prefix_reads_back_as_it_was(void **state)
{
        const char *const texts[] = { "10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32", "2001:db8::/33", "::/0", "::1/128" };
        char text[NET_PREFIX_TEXT_SIZE];

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct net_prefix prefix = prefix_set_prefix(*state, add(*state, texts[i], 1));
                assert_string_equal(net_prefix_format(&prefix, text), texts[i]);
        }
}

/* Addresses close to each other, so that prefixes overlap. */
static struct net_address random_address(void)
{
        struct net_address address = { .family = random() % 2 == 0 ? AF_INET : AF_INET6 };
        size_t size = address.family == AF_INET ? 4 : 16;

        for (size_t i = 0; i < size; i++)
                address.bytes[i] = random() % 3 == 0 ? (uint8_t)random() : 0;
        return address;
}

static struct net_prefix random_prefix(void)
{
        struct net_prefix prefix = { .address = random_address() };
        size_t bits = prefix.address.family == AF_INET ? 32 : 128;

        prefix.length = (uint8_t)((size_t)random() % (bits + 1));
        for (size_t i = prefix.length; i < bits; i++)
                prefix.address.bytes[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
        return prefix;
}

static void exactly_the_covering_prefixes_are_found_longest_first(void **state)
{
        struct net_prefix prefixes[RANDOM_PREFIXES];
        uint64_t seed = hash_random();
        size_t kept = 0;

        print_message("seed %llu\n", (unsigned long long)seed);
        srandom((unsigned)seed);
        for (size_t i = 0; i < RANDOM_PREFIXES; i++) {
                uint32_t entry;
                prefixes[kept] = random_prefix();
                assert_int_equal(prefix_set_add(*state, &prefixes[kept], &entry), 0);
                if (prefix_set_number(*state, entry) == PREFIX_SET_NONE)
                        prefix_set_set_number(*state, entry, (uint32_t)kept++);
        }
        for (size_t i = 0; i < RANDOM_ADDRESSES; i++) {
                struct net_address address = i % 2 == 0 ? random_address() : prefixes[(size_t)random() % kept].address;
                uint32_t entries[PREFIX_SET_MAX_HITS];
                size_t expected = 0, count = prefix_set_find(*state, &address, entries);
                for (size_t j = 0; j < kept; j++)
                        expected += net_prefix_contains(&prefixes[j], &address);
                assert_int_equal(count, expected);
                for (size_t j = 0; j < count; j++) {
                        const struct net_prefix *prefix = &prefixes[prefix_set_number(*state, entries[j])];
                        assert_true(net_prefix_contains(prefix, &address));
                        assert_true(j == 0 || prefix_set_prefix(*state, entries[j - 1]).length > prefix->length);
                }
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_set, drop_set)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(the_longest_prefix_wins),
                TEST(families_are_kept_apart),
                TEST(no_address_is_covered_by_none),
                TEST(a_prefix_reads_back_as_it_was),
                TEST(exactly_the_covering_prefixes_are_found_longest_first),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
