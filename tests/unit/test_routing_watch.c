#include "kernel/routing_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "own_network.h"

#define DEADLINE_S 5
#define TABLE 27751
#define SET_UP                                                                                                         \
        "ip rule add fwmark 1 lookup 27751 pref 1375 2>&1; ip -6 rule add fwmark 1 lookup 27751 pref 1375 2>&1;"       \
        "ip route add local default dev lo table 27751 2>&1; ip -6 route add local default dev lo table 27751 2>&1"

struct reports {
        struct event_base *base;
        unsigned count;
        unsigned wanted;   /* the loop ends with so many */
        unsigned failures; /* of so many reports it is said that it could not be put back */
};

static int on_gone(void *context)
{
        struct reports *reports = context;

        reports->count++;
        if (reports->count >= reports->wanted)
                event_base_loopbreak(reports->base);
        return reports->count <= reports->failures ? -1 : 0;
}

static struct routing_watch *start(struct reports *reports)
{
        static const struct routing_watch_subject subject = { .table = TABLE };
        struct routing_watch *watch;

        own_network_run("ip rule flush 2>&1; ip -6 rule flush 2>&1; ip route flush table 27751 2>/dev/null;"
                        "ip -6 route flush table 27751 2>/dev/null; " SET_UP);
        reports->base = event_base_new();
        assert_non_null(reports->base);
        assert_int_equal(routing_watch_new(reports->base, &subject, on_gone, reports, &watch), 0);
        return watch;
}

static void stop(struct reports *reports, struct routing_watch *watch)
{
        routing_watch_free(watch);
        event_base_free(reports->base);
}

static void wait_for(struct reports *reports, unsigned wanted)
{
        struct timeval deadline = { .tv_sec = DEADLINE_S };

        reports->wanted = wanted;
        event_base_loopexit(reports->base, &deadline);
        event_base_dispatch(reports->base);
        assert_int_equal(reports->count, wanted);
}

static void rules_and_routes_that_are_removed_are_reported(void **state)
{
        static const char *const removals[] = {
                "ip rule del pref 1375 2>&1",
                "ip -6 rule del pref 1375 2>&1",
                "ip route flush table 27751 2>&1",
                "ip -6 route flush table 27751 2>&1",
        };
        struct reports reports = { 0 };

        (void)state;
        own_network_or_skip();
        struct routing_watch *watch = start(&reports);
        for (unsigned i = 0; i < sizeof(removals) / sizeof(removals[0]); i++) {
                own_network_run(removals[i]);
                wait_for(&reports, i + 1);
        }
        stop(&reports, watch);
}

static void several_removals_at_a_time_are_one_report(void **state)
{
        struct reports reports = { 0 };

        (void)state;
        own_network_or_skip();
        struct routing_watch *watch = start(&reports);
        own_network_run("ip rule del pref 1375 2>&1; ip -6 rule del pref 1375 2>&1; ip route flush table 27751 2>&1");
        wait_for(&reports, 1);
        event_base_loop(reports.base, EVLOOP_NONBLOCK);
        assert_int_equal(reports.count, 1);
        stop(&reports, watch);
}

static void what_leads_elsewhere_is_not_reported(void **state)
{
        struct reports reports = { 0 };

        (void)state;
        own_network_or_skip();
        struct routing_watch *watch = start(&reports);
        own_network_run("ip rule add fwmark 2 lookup 100 pref 5 2>&1; ip rule del pref 5 2>&1");
        own_network_run("ip route add local 192.0.2.1 dev lo table 100 2>&1; ip route flush table 100 2>&1");
        assert_int_equal(event_base_loop(reports.base, EVLOOP_NONBLOCK), 0);
        own_network_run("ip rule del pref 1375 2>&1");
        wait_for(&reports, 1);
        stop(&reports, watch);
}

static void what_could_not_be_put_back_is_reported_again(void **state)
{
        struct reports reports = { .failures = 1 };

        (void)state;
        own_network_or_skip();
        struct routing_watch *watch = start(&reports);
        own_network_run("ip rule del pref 1375 2>&1");
        wait_for(&reports, 2);
        stop(&reports, watch);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rules_and_routes_that_are_removed_are_reported),
                cmocka_unit_test(several_removals_at_a_time_are_one_report),
                cmocka_unit_test(what_leads_elsewhere_is_not_reported),
                cmocka_unit_test(what_could_not_be_put_back_is_reported_again),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
