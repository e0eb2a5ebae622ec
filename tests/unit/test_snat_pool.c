#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "net/snat_pool.h"
#include "values.h"

static struct net_endpoint endpoint_of(const char *text)
{
        struct net_endpoint endpoint;

        assert_int_equal(net_endpoint_parse(text, 443, &endpoint), 0);
        return endpoint;
}

static struct net_address client_of(unsigned number)
{
        return (struct net_address){ .family = AF_INET, .bytes = { 10, 1, (uint8_t)(number >> 8), (uint8_t)number } };
}

/* What a test works with: one pool "main" of 198.18.0.1 to .10 and fd00::1 to ::4. */
struct fixture {
        char name[8];
        struct config_address_range ranges[2];
        struct config_snat_pool pool_config;
        struct config config;
        struct snat_registry *registry;
        struct snat_pools *pools;
        struct snat_pool *pool;
        unsigned alarm_count;
        unsigned alarm_in_use;
        unsigned alarm_capacity;
};

static void on_alarm(const struct net_address *source, const struct net_endpoint *destination, unsigned in_use,
                     unsigned capacity, void *context)
{
        struct fixture *fixture = context;

        assert_int_equal(source->family, AF_INET);
        assert_int_equal(destination->port, 443);
        fixture->alarm_count++;
        fixture->alarm_in_use = in_use;
        fixture->alarm_capacity = capacity;
}

static void open_fixture(struct fixture *fixture, enum config_selection selection)
{
        *fixture = (struct fixture){ .name = "main" };
        fixture->ranges[0].first = address_of("198.18.0.1");
        fixture->ranges[0].last = address_of("198.18.0.10");
        fixture->ranges[1].first = address_of("fd00::1");
        fixture->ranges[1].last = address_of("fd00::4");
        fixture->pool_config = (struct config_snat_pool){
                .name = { .text = fixture->name }, .ranges = fixture->ranges, .range_count = 2, .selection = selection
        };
        fixture->config.snat_pools = &fixture->pool_config;
        fixture->config.snat_pool_count = 1;
        assert_int_equal(snat_registry_new(on_alarm, fixture, &fixture->registry), 0);
        assert_int_equal(snat_pools_new(fixture->registry, &fixture->config, &fixture->pools), 0);
        fixture->pool = snat_pools_get(fixture->pools, 0);
}

static void close_fixture(struct fixture *fixture)
{
        snat_pools_free(fixture->pools);
        snat_registry_free(fixture->registry);
}

static struct snat_address *first_choice(struct fixture *fixture, int family, const struct net_address *client)
{
        struct snat_cursor cursor;

        snat_cursor_start(&cursor, fixture->pool, family, client);
        return snat_cursor_next(&cursor);
}

/* Which of 198.18.0.1 to .10 it is, from 0. */
static size_t index_of(const struct snat_address *address)
{
        return snat_address_value(address)->bytes[3] - 1u;
}

static void add_use(const struct snat_address_use *use, void *context)
{
        unsigned *sum = context;

        *sum += use->in_use;
}

static unsigned total_use(const struct fixture *fixture)
{
        unsigned sum = 0;

        snat_pools_each_address(fixture->pools, add_use, &sum);
        return sum;
}

static void every_present_address_of_the_family_is_tried_once(void **state)
{
        static const enum config_selection selections[] = { CONFIG_SELECTION_STICKY, CONFIG_SELECTION_ROUND_ROBIN,
                                                            CONFIG_SELECTION_LEAST_USED };
        struct net_address absent = address_of("198.18.0.4");

        (void)state;
        for (size_t s = 0; s < ARRAY_SIZE(selections); s++) {
                struct fixture fixture;
                open_fixture(&fixture, selections[s]);
                snat_registry_set_present(fixture.registry, &absent, false);
                for (unsigned c = 0; c < 50; c++) {
                        struct net_address client = client_of(c);
                        unsigned seen[10] = { 0 };
                        struct snat_cursor cursor;
                        const struct snat_address *address;
                        snat_cursor_start(&cursor, fixture.pool, AF_INET, &client);
                        while ((address = snat_cursor_next(&cursor)) != NULL) {
                                assert_int_equal(snat_address_value(address)->family, AF_INET);
                                seen[index_of(address)]++;
                        }
                        for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
                                assert_int_equal(seen[i], i == 3 ? 0 : 1);
                        assert_null(snat_cursor_next(&cursor));
                }
                close_fixture(&fixture);
        }
}

static void a_pool_without_the_family_gives_nothing(void **state)
{
        struct net_address client = client_of(1);
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        assert_true(snat_pool_has_family(fixture.pool, AF_INET));
        assert_true(snat_pool_has_family(fixture.pool, AF_INET6));
        snat_pools_free(fixture.pools);
        fixture.pool_config.range_count = 1;
        assert_int_equal(snat_pools_new(fixture.registry, &fixture.config, &fixture.pools), 0);
        fixture.pool = snat_pools_get(fixture.pools, 0);
        assert_false(snat_pool_has_family(fixture.pool, AF_INET6));
        assert_null(first_choice(&fixture, AF_INET6, &client));
        close_fixture(&fixture);
}

static void sticky_gives_a_client_the_same_address_across_reloads(void **state)
{
        struct snat_address *before[200];
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        for (unsigned c = 0; c < ARRAY_SIZE(before); c++) {
                struct net_address client = client_of(c);
                before[c] = first_choice(&fixture, AF_INET, &client);
        }
        snat_pools_free(fixture.pools);
        assert_int_equal(snat_pools_new(fixture.registry, &fixture.config, &fixture.pools), 0);
        fixture.pool = snat_pools_get(fixture.pools, 0);
        for (unsigned c = 0; c < ARRAY_SIZE(before); c++) {
                struct net_address client = client_of(c);
                assert_ptr_equal(first_choice(&fixture, AF_INET, &client), before[c]);
        }
        close_fixture(&fixture);
}

static void sticky_spreads_clients_over_all_addresses(void **state)
{
        unsigned clients[10] = { 0 };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        for (unsigned c = 0; c < 10000; c++) {
                struct net_address client = client_of(c);
                clients[index_of(first_choice(&fixture, AF_INET, &client))]++;
        }
        for (size_t i = 0; i < ARRAY_SIZE(clients); i++) /* 1000 expected, standard deviation 30 */
                assert_in_range(clients[i], 750, 1250);
        close_fixture(&fixture);
}

static void sticky_moves_only_the_clients_of_an_address_that_left_and_brings_them_back(void **state)
{
        struct net_address gone = address_of("198.18.0.7");
        struct snat_address *before[200];
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        for (unsigned c = 0; c < ARRAY_SIZE(before); c++) {
                struct net_address client = client_of(c);
                before[c] = first_choice(&fixture, AF_INET, &client);
        }
        for (int present = 0; present <= 1; present++) {
                snat_registry_set_present(fixture.registry, &gone, present == 1);
                for (unsigned c = 0; c < ARRAY_SIZE(before); c++) {
                        struct net_address client = client_of(c);
                        bool stays = present == 1 || index_of(before[c]) != 6;
                        assert_int_equal(first_choice(&fixture, AF_INET, &client) == before[c], stays);
                }
        }
        close_fixture(&fixture);
}

static void round_robin_takes_turns_whoever_asks(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_ROUND_ROBIN);
        for (unsigned i = 0; i < 100; i++) {
                struct net_address client = client_of(i / 3);
                assert_int_equal(index_of(first_choice(&fixture, AF_INET, &client)), i % 10);
        }
        close_fixture(&fixture);
}

static void least_used_keeps_uses_within_one_of_each_other(void **state)
{
        struct net_address client = client_of(1);
        struct net_endpoint destination = endpoint_of("203.0.113.1");
        struct snat_lease leases[95];
        unsigned uses[10] = { 0 };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_LEAST_USED);
        for (size_t i = 0; i < ARRAY_SIZE(leases); i++) {
                snat_lease_take(&leases[i], first_choice(&fixture, AF_INET, &client), &destination);
                uses[index_of(leases[i].source)]++;
                for (size_t a = 0; a < ARRAY_SIZE(uses); a++)
                        assert_in_range(uses[a], (i + 1) / 10, (i + 1) / 10 + 1);
        }
        for (size_t i = 0; i < ARRAY_SIZE(leases); i++)
                snat_lease_release(fixture.registry, &leases[i]);
        close_fixture(&fixture);
}

static void least_used_prefers_the_address_that_others_left(void **state)
{
        struct net_address client = client_of(1);
        struct net_endpoint destination = endpoint_of("203.0.113.1");
        struct snat_lease leases[20];
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_LEAST_USED);
        for (size_t i = 0; i < ARRAY_SIZE(leases); i++)
                snat_lease_take(&leases[i], first_choice(&fixture, AF_INET, &client), &destination);
        struct snat_address *freed = leases[7].source;
        snat_lease_release(fixture.registry, &leases[7]);
        assert_ptr_equal(first_choice(&fixture, AF_INET, &client), freed);
        for (size_t i = 0; i < ARRAY_SIZE(leases); i++)
                snat_lease_release(fixture.registry, &leases[i]);
        close_fixture(&fixture);
}

static void a_lease_counts_once_and_release_clears_it(void **state)
{
        struct net_address client = client_of(1);
        struct net_endpoint destination = endpoint_of("203.0.113.1");
        struct net_endpoint other = endpoint_of("203.0.113.1:444");
        struct snat_lease lease = { 0 };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        struct snat_address *source = first_choice(&fixture, AF_INET, &client);
        snat_lease_release(fixture.registry, &lease);
        snat_lease_take(&lease, source, &destination);
        assert_int_equal(total_use(&fixture), 1);
        assert_int_equal(snat_registry_destination_use(fixture.registry, snat_address_value(source), &destination), 1);
        assert_int_equal(snat_registry_destination_use(fixture.registry, snat_address_value(source), &other), 0);
        for (int i = 0; i < 2; i++) {
                snat_lease_release(fixture.registry, &lease);
                assert_null(lease.source);
                assert_int_equal(total_use(&fixture), 0);
                assert_int_equal(
                        snat_registry_destination_use(fixture.registry, snat_address_value(source), &destination), 0);
        }
        close_fixture(&fixture);
}

static void leases_outlive_the_pools_they_came_from(void **state)
{
        struct net_address client = client_of(1);
        struct net_endpoint destination = endpoint_of("203.0.113.1");
        struct snat_lease lease;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        snat_lease_take(&lease, first_choice(&fixture, AF_INET, &client), &destination);
        snat_pools_free(fixture.pools);
        assert_int_equal(snat_pools_new(fixture.registry, &fixture.config, &fixture.pools), 0);
        assert_int_equal(total_use(&fixture), 1);
        snat_lease_release(fixture.registry, &lease);
        assert_int_equal(total_use(&fixture), 0);
        close_fixture(&fixture);
}

static void alarm_rings_once_at_80_percent_and_again_after_falling_below_60(void **state)
{
        struct net_address client = client_of(1);
        struct net_endpoint destination = endpoint_of("203.0.113.1");
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        struct snat_address *source = first_choice(&fixture, AF_INET, &client);
        /* The first alarm tells the capacity: the port range of where the test runs. */
        struct snat_lease *leases = calloc(65536, sizeof(*leases));
        assert_non_null(leases);
        unsigned count = 0;
        while (fixture.alarm_count == 0 && count < 65536)
                snat_lease_take(&leases[count++], source, &destination);
        unsigned capacity = fixture.alarm_capacity;
        assert_int_equal(fixture.alarm_count, 1);
        assert_int_equal(fixture.alarm_in_use, count);
        assert_int_equal(count, (capacity * 80 + 99) / 100);
        unsigned alarm_at = count;
        while (count > capacity * 60 / 100 + 1) /* falls, but not below 60 % */
                snat_lease_release(fixture.registry, &leases[--count]);
        while (count < alarm_at)
                snat_lease_take(&leases[count++], source, &destination);
        assert_int_equal(fixture.alarm_count, 1);
        while (count > capacity * 60 / 100 - 1)
                snat_lease_release(fixture.registry, &leases[--count]);
        while (count < alarm_at)
                snat_lease_take(&leases[count++], source, &destination);
        assert_int_equal(fixture.alarm_count, 2);
        while (count > 0)
                snat_lease_release(fixture.registry, &leases[--count]);
        free(leases);
        close_fixture(&fixture);
}

static void a_full_destination_table_loses_only_that_count(void **state)
{
        enum { PAIRS = 100000 };
        struct net_address client = client_of(1);
        struct fixture fixture;
        size_t counted = 0;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        struct snat_address *source = first_choice(&fixture, AF_INET, &client);
        struct snat_lease *leases = calloc(PAIRS, sizeof(*leases));
        assert_non_null(leases);
        for (unsigned i = 0; i < PAIRS; i++) {
                struct net_endpoint destination = {
                        .address = { .family = AF_INET, .bytes = { 203, 0, 113, (uint8_t)(i >> 15) } },
                        .port = (uint16_t)((i & 0x7fff) + 1),
                };
                snat_lease_take(&leases[i], source, &destination);
                if (leases[i].counted)
                        counted++;
        }
        assert_int_equal(total_use(&fixture), PAIRS);
        assert_in_range(counted, 60000, 65536);
        for (unsigned i = 0; i < PAIRS; i++)
                snat_lease_release(fixture.registry, &leases[i]);
        assert_int_equal(total_use(&fixture), 0);
        free(leases);
        close_fixture(&fixture);
}

static void an_unknown_address_coming_or_going_is_ignored(void **state)
{
        struct net_address unknown = address_of("192.0.2.77");
        struct net_address client = client_of(1);
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        snat_registry_set_present(fixture.registry, &unknown, true);
        snat_registry_set_present(fixture.registry, &unknown, false);
        assert_non_null(first_choice(&fixture, AF_INET, &client));
        close_fixture(&fixture);
}

static void an_exhausted_source_rests_towards_that_destination_only_and_not_for_long(void **state)
{
        struct net_endpoint destination = endpoint_of("203.0.113.1");
        struct net_endpoint other = endpoint_of("203.0.113.2");
        struct net_address client = client_of(1);
        struct snat_cursor cursor;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY);
        snat_cursor_start(&cursor, fixture.pool, AF_INET, &client);
        struct snat_address *source = snat_cursor_next(&cursor);
        struct snat_address *next_source = snat_cursor_next(&cursor);
        assert_false(snat_address_is_exhausted(source, &destination, 0));
        snat_address_note_exhausted(source, &destination, 5000);
        assert_true(snat_address_is_exhausted(source, &destination, 5000));
        assert_false(snat_address_is_exhausted(source, &other, 5000));
        assert_false(snat_address_is_exhausted(next_source, &destination, 5000));
        assert_false(snat_address_is_exhausted(source, &destination, 5000 + 65536 / 64));
        close_fixture(&fixture);
}

/* What each thread of the hammering test does. */
static void *hammer(void *context)
{
        enum { HELD = 16 };
        struct fixture *fixture = context;
        struct snat_lease leases[HELD] = { 0 };

        for (unsigned i = 0; i < 20000; i++) {
                struct net_address client = client_of(i);
                struct net_endpoint destination = { .address = client, .port = (uint16_t)(i % 7 + 1) };
                struct snat_lease *lease = &leases[i % HELD];
                snat_lease_release(fixture->registry, lease);
                struct snat_address *source = first_choice(fixture, AF_INET, &client);
                if (source != NULL)
                        snat_lease_take(lease, source, &destination);
                if (i % 64 == 0)
                        snat_registry_set_present(fixture->registry,
                                                  &(struct net_address){ AF_INET, { 198, 18, 0, 3 } }, i % 128 == 0);
        }
        for (size_t i = 0; i < HELD; i++)
                snat_lease_release(fixture->registry, &leases[i]);
        return NULL;
}

static void threads_leave_no_count_behind(void **state)
{
        static const enum config_selection selections[] = { CONFIG_SELECTION_STICKY, CONFIG_SELECTION_ROUND_ROBIN,
                                                            CONFIG_SELECTION_LEAST_USED };

        (void)state;
        for (size_t s = 0; s < ARRAY_SIZE(selections); s++) {
                struct fixture fixture;
                struct snat_pools *reloaded;
                pthread_t threads[4];
                open_fixture(&fixture, selections[s]);
                for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &fixture), 0);
                for (unsigned i = 0; i < 20; i++) { /* reloads meanwhile */
                        assert_int_equal(snat_pools_new(fixture.registry, &fixture.config, &reloaded), 0);
                        snat_pools_free(reloaded);
                }
                for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                        assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_int_equal(total_use(&fixture), 0);
                close_fixture(&fixture);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_present_address_of_the_family_is_tried_once),
                cmocka_unit_test(a_pool_without_the_family_gives_nothing),
                cmocka_unit_test(sticky_gives_a_client_the_same_address_across_reloads),
                cmocka_unit_test(sticky_spreads_clients_over_all_addresses),
                cmocka_unit_test(sticky_moves_only_the_clients_of_an_address_that_left_and_brings_them_back),
                cmocka_unit_test(round_robin_takes_turns_whoever_asks),
                cmocka_unit_test(least_used_keeps_uses_within_one_of_each_other),
                cmocka_unit_test(least_used_prefers_the_address_that_others_left),
                cmocka_unit_test(a_lease_counts_once_and_release_clears_it),
                cmocka_unit_test(leases_outlive_the_pools_they_came_from),
                cmocka_unit_test(alarm_rings_once_at_80_percent_and_again_after_falling_below_60),
                cmocka_unit_test(a_full_destination_table_loses_only_that_count),
                cmocka_unit_test(an_unknown_address_coming_or_going_is_ignored),
                cmocka_unit_test(an_exhausted_source_rests_towards_that_destination_only_and_not_for_long),
                cmocka_unit_test(threads_leave_no_count_behind),
        };

        return cmocka_run_group_tests_name("snat_pool", tests, NULL, NULL);
}
