#include "kernel/flow_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "flow_lab.h"

#define FIRST_PORT 20000
#define MANY 2000

struct seen {
        unsigned count;
        unsigned first_port; /* of those that are kept */
        unsigned last_port;
        bool ports[1 << 16];
};

static void on_flow(const struct flow *flow, void *context)
{
        struct seen *seen = context;

        seen->count += !seen->ports[flow->client.port];
        seen->ports[flow->client.port] = true;
}

static bool keeps(const struct flow *flow, void *context)
{
        const struct seen *seen = context;

        return flow->client.port >= seen->first_port && flow->client.port <= seen->last_port;
}

static unsigned count_of(uint32_t mark, uint32_t mask)
{
        struct seen *seen = calloc(1, sizeof(*seen));

        assert_int_equal(flow_table_each(mark, mask, on_flow, seen), 0);
        unsigned count = seen->count;
        free(seen);
        return count;
}

static void each_flow_of_the_mark_is_told(void **state)
{
        struct seen *seen = calloc(1, sizeof(*seen));

        (void)state;
        own_network_or_skip();
        flow_lab_start();
        flow_lab_send_many(FIRST_PORT, MANY, FLOW_LAB_PORT);
        flow_lab_send_many(FIRST_PORT + MANY, 10, FLOW_LAB_OTHER_PORT);
        flow_lab_send_many(FIRST_PORT + MANY + 10, 5, 7779);
        assert_int_equal(flow_table_each(FLOW_LAB_MARK, FLOW_LAB_MASK, on_flow, seen), 0);
        assert_int_equal(seen->count, MANY);
        assert_true(seen->ports[FIRST_PORT] && seen->ports[FIRST_PORT + MANY - 1]);
        assert_int_equal(count_of(FLOW_LAB_OTHER_MARK, FLOW_LAB_MASK), 10);
        assert_int_equal(count_of(0, 0), MANY + 15);
        free(seen);
}

static void flows_that_are_not_kept_are_ended_and_no_others(void **state)
{
        struct seen *seen = calloc(1, sizeof(*seen));
        size_t ended = 99;

        (void)state;
        own_network_or_skip();
        flow_lab_start();
        flow_lab_send_many(FIRST_PORT, MANY, FLOW_LAB_PORT);
        flow_lab_send_many(FIRST_PORT + MANY, 10, FLOW_LAB_OTHER_PORT);
        seen->first_port = FIRST_PORT + 100;
        seen->last_port = FIRST_PORT + 149;
        assert_int_equal(flow_table_end_where(FLOW_LAB_MARK, FLOW_LAB_MASK, keeps, seen, &ended), 0);
        assert_int_equal(ended, MANY - 50);
        assert_int_equal(flow_table_each(FLOW_LAB_MARK, FLOW_LAB_MASK, on_flow, seen), 0);
        assert_int_equal(seen->count, 50);
        assert_true(seen->ports[FIRST_PORT + 100] && seen->ports[FIRST_PORT + 149]);
        assert_int_equal(count_of(FLOW_LAB_OTHER_MARK, FLOW_LAB_MASK), 10);
        assert_int_equal(flow_table_end_where(FLOW_LAB_MARK, FLOW_LAB_MASK, keeps, seen, &ended), 0);
        assert_int_equal(ended, 0);
        free(seen);
}

static void ipv6_flows_are_ended_too(void **state)
{
        struct seen *seen = calloc(1, sizeof(*seen));
        const struct in6_addr snat = { .s6_addr = { 0x20, 0x01, 0x0d, 0xb8, [15] = 9 } };
        size_t ended = 99;

        (void)state;
        own_network_or_skip();
        own_network_add_ipv6(&snat);
        flow_lab_start();
        (void)flow_lab_exchange_udp("::1", "::1", FLOW_LAB_PORT);
        assert_int_equal(count_of(FLOW_LAB_MARK, FLOW_LAB_MASK), 1);
        assert_int_equal(flow_table_end_where(FLOW_LAB_MARK, FLOW_LAB_MASK, keeps, seen, &ended), 0);
        assert_int_equal(ended, 1);
        assert_int_equal(count_of(FLOW_LAB_MARK, FLOW_LAB_MASK), 0);
        free(seen);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_flow_of_the_mark_is_told),
                cmocka_unit_test(flows_that_are_not_kept_are_ended_and_no_others),
                cmocka_unit_test(ipv6_flows_are_ended_too),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
