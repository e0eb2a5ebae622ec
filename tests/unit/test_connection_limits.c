#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "traffic/connection_limits.h"
#include "values.h"

static struct connection_limits *limits_of(size_t all, size_t per_client)
{
        struct connection_limits *limits;

        assert_int_equal(connection_limits_new(&limits), 0);
        connection_limits_set(limits, all, per_client);
        return limits;
}

static void one_client_cannot_take_more_than_its_share(void **state)
{
        struct connection_limits *limits = limits_of(10, 2);
        struct net_address greedy = address_of("10.1.0.4"), modest = address_of("10.1.0.5");

        (void)state;
        assert_int_equal(connection_limits_take(limits, &greedy), REASON_COMPLETED);
        assert_int_equal(connection_limits_take(limits, &greedy), REASON_COMPLETED);
        assert_int_equal(connection_limits_take(limits, &greedy), REASON_TOO_MANY_CLIENT_CONNECTIONS);
        assert_int_equal(connection_limits_take(limits, &modest), REASON_COMPLETED);
        assert_int_equal(connection_limits_open(limits), 3);
        connection_limits_release(limits, &greedy);
        assert_int_equal(connection_limits_take(limits, &greedy), REASON_COMPLETED);
        connection_limits_free(limits);
}

static void all_clients_together_stay_under_the_limit(void **state)
{
        struct connection_limits *limits = limits_of(3, 100);
        struct net_address client = address_of("2001:db8::1");

        (void)state;
        for (int i = 0; i < 3; i++) {
                assert_int_equal(connection_limits_take(limits, &client), REASON_COMPLETED);
                assert_true(net_address_increment(&client));
        }
        assert_int_equal(connection_limits_take(limits, &client), REASON_TOO_MANY_CONNECTIONS);
        assert_int_equal(connection_limits_open(limits), 3);
        connection_limits_free(limits);
}

static void releasing_everything_forgets_every_client(void **state)
{
        struct connection_limits *limits = limits_of(100000, 3);
        struct net_address first = address_of("10.0.0.0"), client = first;

        (void)state;
        for (int i = 0; i < 30000; i++, (void)net_address_increment(&client))
                assert_int_equal(connection_limits_take(limits, &client), REASON_COMPLETED);
        assert_int_equal(connection_limits_open(limits), 30000);
        client = first;
        for (int i = 0; i < 30000; i++, (void)net_address_increment(&client))
                connection_limits_release(limits, &client);
        assert_int_equal(connection_limits_open(limits), 0);
        connection_limits_free(limits);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_client_cannot_take_more_than_its_share),
                cmocka_unit_test(all_clients_together_stay_under_the_limit),
                cmocka_unit_test(releasing_everything_forgets_every_client),
        };

        return cmocka_run_group_tests_name("connection_limits", tests, NULL, NULL);
}
