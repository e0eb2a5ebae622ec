#include "policy/address_ranges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "values.h"

#define SPACE 256   /* addresses of the small space that the model knows each of */
#define ROUNDS 3000 /* random lists */
#define MAX_PREFIXES 24

/* Where the small space lies: in the middle of a family, or at one of its ends, where there is no address beyond. */
struct place {
        const char *first;
        uint8_t space_bits; /* the length of the prefix that is the whole space */
};

static const struct place places[] = {
        { "10.0.0.0", 24 },        { "0.0.0.0", 24 }, { "255.255.255.0", 24 },
        { "2001:db8::ff00", 120 }, { "::", 120 },     { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00", 120 },
};

/* What the list should say of each address, worked out prefix by prefix. */
struct model {
        bool covered[SPACE];
        uint32_t number[SPACE];
        unsigned length[SPACE]; /* of the longest prefix so far */
};

static void note(struct model *model, const struct net_prefix *prefix, size_t last_byte, uint32_t number,
                 unsigned space_bits)
{
        unsigned first = prefix->address.bytes[last_byte], count = 1u << (8 - (prefix->length - space_bits));

        for (unsigned i = first; i < first + count; i++) {
                if (!model->covered[i] || prefix->length > model->length[i]) {
                        model->number[i] = number;
                        model->length[i] = prefix->length;
                }
                model->covered[i] = true;
        }
}

static size_t last_byte_of(const struct place *place)
{
        return address_of(place->first).family == AF_INET ? 3 : 15;
}

/* A random prefix within the space; one prefix has one number, as a source belongs to one cluster. */
static struct net_prefix random_prefix(const struct place *place, uint32_t *ret_number)
{
        struct net_prefix prefix = { .address = address_of(place->first) };
        unsigned extra = (unsigned)(random() % 9);
        unsigned byte = (unsigned)(random() % SPACE) & (0xff00u >> extra);

        prefix.length = (uint8_t)(place->space_bits + extra);
        prefix.address.bytes[last_byte_of(place)] = (uint8_t)byte;
        *ret_number = (byte * 7 + extra) % 5;
        return prefix;
}

static size_t fill(const struct place *place, struct address_ranges *ranges, struct model *model)
{
        size_t count = (size_t)(random() % MAX_PREFIXES);

        memset(model, 0, sizeof(*model));
        for (size_t i = 0; i < count; i++) {
                uint32_t number;
                struct net_prefix prefix = random_prefix(place, &number);
                assert_int_equal(address_ranges_add(ranges, &prefix, number), 0);
                note(model, &prefix, last_byte_of(place), number, place->space_bits);
        }
        return count;
}

/* Whether the ranges are those of the model, sorted, and as few as can be. */
static void assert_is_like(const struct address_ranges *ranges, const struct model *model, const struct place *place,
                           bool numbers_count)
{
        size_t byte = last_byte_of(place), at = 0;

        for (unsigned i = 0; i < SPACE; at++) {
                unsigned end = i;
                if (!model->covered[i]) {
                        i++;
                        at--;
                        continue;
                }
                while (end + 1 < SPACE && model->covered[end + 1] &&
                       (!numbers_count || model->number[end + 1] == model->number[i]))
                        end++;
                assert_true(at < ranges->count);
                assert_int_equal(ranges->items[at].first.bytes[byte], i);
                assert_int_equal(ranges->items[at].last.bytes[byte], end);
                if (numbers_count)
                        assert_int_equal(ranges->items[at].number, model->number[i]);
                i = end + 1;
        }
        assert_int_equal(ranges->count, at);
}

static void joined_ranges_cover_what_the_prefixes_cover(void **state)
{
        (void)state;
        for (unsigned round = 0; round < ROUNDS; round++) {
                const struct place *place = &places[round % ARRAY_SIZE(places)];
                struct address_ranges ranges = { 0 };
                struct model model;

                (void)fill(place, &ranges, &model);
                address_ranges_join(&ranges);
                assert_is_like(&ranges, &model, place, false);
                address_ranges_clear(&ranges);
        }
}

static void flattened_ranges_have_the_number_of_the_longest_prefix(void **state)
{
        (void)state;
        for (unsigned round = 0; round < ROUNDS; round++) {
                const struct place *place = &places[round % ARRAY_SIZE(places)];
                struct address_ranges ranges = { 0 };
                struct model model;

                (void)fill(place, &ranges, &model);
                assert_int_equal(address_ranges_flatten(&ranges), 0);
                assert_is_like(&ranges, &model, place, true);
                address_ranges_clear(&ranges);
        }
}

static void add(struct address_ranges *ranges, const char *text, uint32_t number)
{
        struct net_prefix prefix;

        assert_int_equal(net_prefix_parse(text, strlen(text), &prefix), 0);
        assert_int_equal(address_ranges_add(ranges, &prefix, number), 0);
}

/* "first-last number", one after the other. */
static void assert_ranges(const struct address_ranges *ranges, const char *expected)
{
        char *text, address[NET_ADDRESS_TEXT_SIZE];
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        assert_non_null(stream);
        for (size_t i = 0; i < ranges->count; i++) {
                const struct address_range *range = &ranges->items[i];
                fprintf(stream, "%s%s-", i == 0 ? "" : " ", net_address_format(&range->first, address));
                fprintf(stream, "%s %u", net_address_format(&range->last, address), range->number);
        }
        assert_int_equal(fclose(stream), 0);
        assert_string_equal(text, expected);
        free(text);
}

static void the_ends_of_ipv4_are_addresses_like_others(void **state)
{
        struct address_ranges ranges = { 0 };

        (void)state;
        add(&ranges, "255.255.255.255", 3);
        add(&ranges, "0.0.0.0/0", 1);
        add(&ranges, "0.0.0.0", 2);
        add(&ranges, "10.0.0.0/8", 4);
        assert_int_equal(address_ranges_flatten(&ranges), 0);
        assert_ranges(&ranges, "0.0.0.0-0.0.0.0 2 0.0.0.1-9.255.255.255 1 10.0.0.0-10.255.255.255 4 "
                               "11.0.0.0-255.255.255.254 1 255.255.255.255-255.255.255.255 3");
        address_ranges_join(&ranges);
        assert_int_equal(ranges.count, 1);
        address_ranges_clear(&ranges);
        assert_null(ranges.items);
        assert_int_equal(ranges.count, 0);
}

static void the_ends_of_ipv6_are_addresses_like_others(void **state)
{
        struct address_ranges ranges = { 0 };

        (void)state;
        add(&ranges, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 3);
        add(&ranges, "::/0", 1);
        add(&ranges, "::", 2);
        assert_int_equal(address_ranges_flatten(&ranges), 0);
        assert_ranges(&ranges, "::-:: 2 ::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 1 "
                               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3");
        address_ranges_clear(&ranges);
}

/* As deep as prefixes can lie within each other. */
static void every_prefix_length_may_lie_within_the_one_before(void **state)
{
        struct address_ranges ranges = { 0 };
        char text[64];

        (void)state;
        for (int round = 0; round < 2; round++)
                for (unsigned length = 0; length <= 128; length++) {
                        snprintf(text, sizeof(text), "::/%u", length);
                        add(&ranges, text, length);
                }
        assert_int_equal(address_ranges_flatten(&ranges), 0);
        assert_int_equal(ranges.count, 129);
        for (size_t i = 0; i < ranges.count; i++)
                assert_int_equal(ranges.items[i].number, 128 - i);
        address_ranges_clear(&ranges);
}

static void neighbours_of_one_number_become_one_range(void **state)
{
        struct address_ranges ranges = { 0 };

        (void)state;
        add(&ranges, "10.0.1.0/24", 1);
        add(&ranges, "10.0.0.0/24", 1);
        add(&ranges, "10.0.2.0/24", 2);
        add(&ranges, "10.0.0.0/16", 1);
        assert_int_equal(address_ranges_flatten(&ranges), 0);
        assert_ranges(&ranges, "10.0.0.0-10.0.1.255 1 10.0.2.0-10.0.2.255 2 10.0.3.0-10.0.255.255 1");
        address_ranges_clear(&ranges);
}

static void an_empty_list_stays_empty(void **state)
{
        struct address_ranges ranges = { 0 };

        (void)state;
        address_ranges_join(&ranges);
        assert_int_equal(address_ranges_flatten(&ranges), 0);
        assert_int_equal(ranges.count, 0);
        address_ranges_clear(&ranges);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(joined_ranges_cover_what_the_prefixes_cover),
                cmocka_unit_test(flattened_ranges_have_the_number_of_the_longest_prefix),
                cmocka_unit_test(the_ends_of_ipv4_are_addresses_like_others),
                cmocka_unit_test(the_ends_of_ipv6_are_addresses_like_others),
                cmocka_unit_test(every_prefix_length_may_lie_within_the_one_before),
                cmocka_unit_test(neighbours_of_one_number_become_one_range),
                cmocka_unit_test(an_empty_list_stays_empty),
        };
        uint64_t seed = hash_random();

        print_message("seed %llu\n", (unsigned long long)seed);
        srandom((unsigned)seed);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
