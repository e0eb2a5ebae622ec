#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "net/dns_cache.h"
#include "values.h"

#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define START_MS 1000 /* soon after boot: nothing may depend on a large clock */

static struct net_address numbered_address(unsigned number)
{
        return (struct net_address){ .family = AF_INET, .bytes = { 192, 0, (uint8_t)(number >> 8), (uint8_t)number } };
}

static struct fqdn numbered_name(unsigned number)
{
        char text[32];

        snprintf(text, sizeof(text), "host%u.example", number);
        return name_of(text);
}

static struct dns_cache *new_cache(size_t capacity)
{
        struct dns_cache *cache;

        assert_int_equal(dns_cache_new(capacity, &cache), 0);
        return cache;
}

static void put(struct dns_cache *cache, const char *name_text, const char *address_text, uint32_t ttl_s,
                uint64_t now_ms)
{
        struct fqdn name = name_of(name_text);
        struct net_address address = address_of(address_text);

        dns_cache_put_addresses(cache, &name, address.family, &address, 1, ttl_s, now_ms);
}

static bool get(struct dns_cache *cache, const char *name_text, int family, uint64_t now_ms,
                struct dns_cache_answer *ret)
{
        struct fqdn name = name_of(name_text);

        return dns_cache_get(cache, &name, family, now_ms, ret);
}

static bool recently_answered(struct dns_cache *cache, const char *name_text, const char *address_text, uint64_t now_ms)
{
        struct fqdn name = name_of(name_text);
        struct net_address address = address_of(address_text);

        return dns_cache_recently_answered(cache, &name, &address, now_ms);
}

static void an_answer_is_found_under_its_name_and_family_only(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct net_address address = address_of("192.0.2.1");
        struct dns_cache_answer answer;

        (void)state;
        put(cache, "a.example", "192.0.2.1", 60, START_MS);
        assert_true(get(cache, "a.example", AF_INET, START_MS, &answer));
        assert_int_equal(answer.kind, DNS_CACHE_ADDRESSES);
        assert_false(answer.refresh);
        assert_int_equal(answer.address_count, 1);
        assert_true(net_address_equal(&answer.addresses[0], &address));
        assert_false(get(cache, "a.example", AF_INET6, START_MS, &answer));
        assert_false(get(cache, "b.example", AF_INET, START_MS, &answer));
        assert_false(get(cache, "a.exampl", AF_INET, START_MS, &answer));
        dns_cache_free(cache);
}

static void an_answer_is_fresh_until_its_ttl_then_stale_for_15_minutes(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct dns_cache_answer answer;
        uint64_t expires = START_MS + 60 * SECOND_MS;

        (void)state;
        put(cache, "a.example", "192.0.2.1", 60, START_MS);
        assert_true(get(cache, "a.example", AF_INET, expires - 1, &answer));
        assert_false(answer.refresh);
        assert_true(get(cache, "a.example", AF_INET, expires, &answer));
        assert_true(answer.refresh);
        assert_int_equal(answer.address_count, 1);
        assert_true(get(cache, "a.example", AF_INET, expires + 15 * MINUTE_MS - 1, &answer));
        assert_true(answer.refresh);
        assert_false(get(cache, "a.example", AF_INET, expires + 15 * MINUTE_MS, &answer));
        dns_cache_free(cache);
}

static void times_to_live_are_clamped(void **state)
{
        static const struct {
                uint32_t ttl_s;
                uint64_t positive_ms;
                uint64_t negative_ms;
        } rows[] = {
                { 0, 5 * SECOND_MS, 5 * SECOND_MS },         { 4, 5 * SECOND_MS, 5 * SECOND_MS },
                { 6, 6 * SECOND_MS, 6 * SECOND_MS },         { 300, 300 * SECOND_MS, 300 * SECOND_MS },
                { 301, 301 * SECOND_MS, 300 * SECOND_MS },   { 3600, 3600 * SECOND_MS, 300 * SECOND_MS },
                { 3601, 3600 * SECOND_MS, 300 * SECOND_MS }, { UINT32_MAX, 3600 * SECOND_MS, 300 * SECOND_MS },
        };
        struct dns_cache *cache = new_cache(8);
        struct fqdn negative = name_of("b.example");
        struct dns_cache_answer answer;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                put(cache, "a.example", "192.0.2.1", rows[i].ttl_s, START_MS);
                assert_true(get(cache, "a.example", AF_INET, START_MS + rows[i].positive_ms - 1, &answer));
                assert_false(answer.refresh);
                assert_true(get(cache, "a.example", AF_INET, START_MS + rows[i].positive_ms, &answer));
                assert_true(answer.refresh);
                dns_cache_put_not_found(cache, &negative, AF_INET, rows[i].ttl_s, START_MS);
                assert_true(get(cache, "b.example", AF_INET, START_MS + rows[i].negative_ms - 1, &answer));
                assert_int_equal(answer.kind, DNS_CACHE_NOT_FOUND);
                assert_int_equal(answer.address_count, 0);
                assert_false(get(cache, "b.example", AF_INET, START_MS + rows[i].negative_ms, &answer));
        }
        dns_cache_free(cache);
}

static void an_address_stays_a_recent_answer_for_15_minutes_past_its_ttl(void **state)
{
        struct dns_cache *cache = new_cache(8);
        uint64_t first_ends = START_MS + 60 * SECOND_MS + 15 * MINUTE_MS;

        (void)state;
        put(cache, "a.example", "192.0.2.1", 60, START_MS);
        put(cache, "a.example", "192.0.2.2", 60, START_MS + 10 * MINUTE_MS);
        assert_true(recently_answered(cache, "a.example", "192.0.2.1", first_ends - 1));
        assert_false(recently_answered(cache, "a.example", "192.0.2.1", first_ends));
        assert_true(recently_answered(cache, "a.example", "192.0.2.2", first_ends));
        assert_false(recently_answered(cache, "a.example", "192.0.2.3", START_MS));
        assert_false(recently_answered(cache, "b.example", "192.0.2.1", START_MS));
        dns_cache_free(cache);
}

static void remember(struct dns_cache *cache, const char *name_text, const char *address_text, uint64_t now_ms)
{
        struct fqdn name = name_of(name_text);
        struct net_address address = address_of(address_text);

        dns_cache_remember(cache, &name, &address, 1, 60, now_ms);
}

static void what_a_client_was_told_is_a_recent_answer_and_not_the_answer(void **state)
{
        struct dns_cache *cache = new_cache(8);
        uint64_t ends = START_MS + 60 * SECOND_MS + 15 * MINUTE_MS;
        struct dns_cache_answer answer;

        (void)state;
        remember(cache, "a.example", "192.0.2.1", START_MS);
        assert_false(get(cache, "a.example", AF_INET, START_MS, &answer));
        assert_true(recently_answered(cache, "a.example", "192.0.2.1", ends - 1));
        assert_false(recently_answered(cache, "a.example", "192.0.2.1", ends));
        put(cache, "a.example", "192.0.2.2", 3600, START_MS);
        remember(cache, "a.example", "192.0.2.3", START_MS + MINUTE_MS);
        remember(cache, "a.example", "192.0.2.2", START_MS + MINUTE_MS); /* counts for longer by its own answer */
        remember(cache, "a.example", "192.0.2.3", START_MS + 2 * MINUTE_MS);
        assert_true(get(cache, "a.example", AF_INET, START_MS + MINUTE_MS, &answer));
        assert_int_equal(answer.address_count, 1);
        assert_int_equal(answer.addresses[0].bytes[3], 2);
        assert_true(recently_answered(cache, "a.example", "192.0.2.1", ends - 1));
        assert_true(recently_answered(cache, "a.example", "192.0.2.2", START_MS + 75 * MINUTE_MS - 1));
        assert_true(recently_answered(cache, "a.example", "192.0.2.3", ends + 2 * MINUTE_MS - 1));
        assert_false(recently_answered(cache, "a.example", "192.0.2.3", ends + 2 * MINUTE_MS));
        dns_cache_free(cache);
}

static void history_survives_a_negative_answer_and_a_failure(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct fqdn name = name_of("a.example");
        struct dns_cache_answer answer;

        (void)state;
        put(cache, "a.example", "192.0.2.1", 60, START_MS);
        dns_cache_put_not_found(cache, &name, AF_INET, 60, START_MS + MINUTE_MS);
        assert_true(get(cache, "a.example", AF_INET, START_MS + MINUTE_MS, &answer));
        assert_int_equal(answer.kind, DNS_CACHE_NOT_FOUND);
        dns_cache_put_failure(cache, &name, AF_INET, DNS_CACHE_FAILED, START_MS + 3 * MINUTE_MS);
        assert_true(recently_answered(cache, "a.example", "192.0.2.1", START_MS + 15 * MINUTE_MS));
        assert_false(recently_answered(cache, "a.example", "192.0.2.1", START_MS + 16 * MINUTE_MS));
        dns_cache_free(cache);
}

static void history_is_bounded_and_keeps_the_newest(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct fqdn name = name_of("a.example");

        (void)state;
        for (unsigned i = 0; i < 1000; i++) {
                struct net_address address = numbered_address(i);
                dns_cache_put_addresses(cache, &name, AF_INET, &address, 1, 60, START_MS + i);
        }
        for (unsigned i = 0; i < 1000; i++) {
                struct net_address address = numbered_address(i);
                assert_int_equal(dns_cache_recently_answered(cache, &name, &address, START_MS + 1000),
                                 i >= 1000 - DNS_CACHE_MAX_HISTORY);
        }
        dns_cache_free(cache);
}

static void an_answer_keeps_its_order_without_doubles_and_is_cut_at_the_maximum(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct fqdn name = name_of("a.example");
        struct net_address addresses[2 * (DNS_CACHE_MAX_ADDRESSES + 10)];
        struct dns_cache_answer answer;

        (void)state;
        for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++)
                addresses[i] = numbered_address(1000 - i / 2);
        dns_cache_put_addresses(cache, &name, AF_INET, addresses, ARRAY_SIZE(addresses), 60, START_MS);
        assert_true(dns_cache_get(cache, &name, AF_INET, START_MS, &answer));
        assert_int_equal(answer.address_count, DNS_CACHE_MAX_ADDRESSES);
        for (unsigned i = 0; i < DNS_CACHE_MAX_ADDRESSES; i++)
                assert_true(net_address_equal(&answer.addresses[i], &addresses[2 * i]));
        dns_cache_free(cache);
}

static void a_failure_without_an_older_answer_is_remembered_for_a_second(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct fqdn name = name_of("a.example");
        struct dns_cache_answer answer;

        (void)state;
        dns_cache_put_failure(cache, &name, AF_INET, DNS_CACHE_TIMED_OUT, START_MS);
        assert_true(dns_cache_get(cache, &name, AF_INET, START_MS + 999, &answer));
        assert_int_equal(answer.kind, DNS_CACHE_TIMED_OUT);
        assert_false(dns_cache_get(cache, &name, AF_INET, START_MS + 1000, &answer));
        dns_cache_free(cache);
}

static void a_failed_refresh_keeps_the_stale_answer_and_puts_off_the_next(void **state)
{
        struct dns_cache *cache = new_cache(8);
        struct fqdn name = name_of("a.example");
        struct dns_cache_answer answer;
        uint64_t later = START_MS + 2 * MINUTE_MS;

        (void)state;
        put(cache, "a.example", "192.0.2.1", 60, START_MS);
        dns_cache_put_failure(cache, &name, AF_INET, DNS_CACHE_FAILED, later);
        assert_true(dns_cache_get(cache, &name, AF_INET, later + 4999, &answer));
        assert_int_equal(answer.kind, DNS_CACHE_ADDRESSES);
        assert_false(answer.refresh);
        assert_true(dns_cache_get(cache, &name, AF_INET, later + 5000, &answer));
        assert_true(answer.refresh);
        /* Too old to be served: now the failure is the answer. */
        dns_cache_put_failure(cache, &name, AF_INET, DNS_CACHE_FAILED, START_MS + 16 * MINUTE_MS);
        assert_true(dns_cache_get(cache, &name, AF_INET, START_MS + 16 * MINUTE_MS, &answer));
        assert_int_equal(answer.kind, DNS_CACHE_FAILED);
        dns_cache_free(cache);
}

static void never_more_entries_than_the_capacity(void **state)
{
        struct dns_cache *cache = new_cache(100);

        (void)state;
        for (unsigned i = 0; i < 10000; i++) {
                struct fqdn name = numbered_name(i);
                dns_cache_put_not_found(cache, &name, i % 2 == 0 ? AF_INET : AF_INET6, 60, START_MS);
                assert_int_equal(dns_cache_count(cache), i < 100 ? i + 1 : 100);
        }
        dns_cache_free(cache);
}

static void what_is_used_outlives_a_flood_of_names_used_once(void **state)
{
        struct dns_cache *cache = new_cache(100);
        struct dns_cache_answer answer;

        (void)state;
        put(cache, "used.example", "192.0.2.1", 60, START_MS);
        for (unsigned i = 0; i < 10000; i++) {
                struct fqdn name = numbered_name(i);
                dns_cache_put_not_found(cache, &name, AF_INET, 60, START_MS);
                assert_true(get(cache, "used.example", AF_INET, START_MS, &answer));
        }
        dns_cache_free(cache);
}

/* A table of the last value put for each name: whatever the cache says must agree with it. */
static void random_use_agrees_with_a_model(void **state)
{
        enum { NAMES = 300, CAPACITY = 128 };
        struct dns_cache *cache = new_cache(CAPACITY);
        unsigned model[NAMES] = { 0 }; /* number of the address; 0: not found */
        bool known[NAMES] = { false };
        struct dns_cache_answer answer;
        size_t hits = 0;

        (void)state;
        srand(20260702); /* The seed: the same run each time. */
        for (unsigned step = 0; step < 50000; step++) {
                unsigned i = (unsigned)rand() % NAMES;
                struct fqdn name = numbered_name(i);
                struct net_address address = numbered_address((unsigned)rand() % 1000 + 1);
                switch (rand() % 4) {
                case 0:
                        dns_cache_put_addresses(cache, &name, AF_INET, &address, 1, 60, START_MS + step);
                        model[i] = address.bytes[2] * 256u + address.bytes[3];
                        known[i] = true;
                        break;
                case 1:
                        dns_cache_put_not_found(cache, &name, AF_INET, 60, START_MS + step);
                        model[i] = 0;
                        known[i] = true;
                        break;
                default:
                        if (!dns_cache_get(cache, &name, AF_INET, START_MS + step, &answer))
                                break;
                        hits++;
                        assert_true(known[i]);
                        assert_int_equal(answer.kind, model[i] == 0 ? DNS_CACHE_NOT_FOUND : DNS_CACHE_ADDRESSES);
                        address = numbered_address(model[i]);
                        if (model[i] != 0)
                                assert_true(net_address_equal(&answer.addresses[0], &address));
                }
                assert_true(dns_cache_count(cache) <= CAPACITY);
        }
        assert_true(hits > 1000);
        dns_cache_free(cache);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_answer_is_found_under_its_name_and_family_only),
                cmocka_unit_test(an_answer_is_fresh_until_its_ttl_then_stale_for_15_minutes),
                cmocka_unit_test(times_to_live_are_clamped),
                cmocka_unit_test(an_address_stays_a_recent_answer_for_15_minutes_past_its_ttl),
                cmocka_unit_test(what_a_client_was_told_is_a_recent_answer_and_not_the_answer),
                cmocka_unit_test(history_survives_a_negative_answer_and_a_failure),
                cmocka_unit_test(history_is_bounded_and_keeps_the_newest),
                cmocka_unit_test(an_answer_keeps_its_order_without_doubles_and_is_cut_at_the_maximum),
                cmocka_unit_test(a_failure_without_an_older_answer_is_remembered_for_a_second),
                cmocka_unit_test(a_failed_refresh_keeps_the_stale_answer_and_puts_off_the_next),
                cmocka_unit_test(never_more_entries_than_the_capacity),
                cmocka_unit_test(what_is_used_outlives_a_flood_of_names_used_once),
                cmocka_unit_test(random_use_agrees_with_a_model),
        };

        return cmocka_run_group_tests_name("dns_cache", tests, NULL, NULL);
}
