#include "kernel/policy_routing.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_network.h"

#define MARK 0x61656400u
#define OUTPUT_SIZE 8192
#define ERROR_SIZE 256

static const char *run(const char *command)
{
        static char output[OUTPUT_SIZE];

        (void)own_network_output(command, output, sizeof(output));
        return output;
}

static size_t count(const char *text, const char *part)
{
        size_t found = 0;

        for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
                found++;
        return found;
}

static void ensure(void)
{
        char error[ERROR_SIZE] = "";

        if (policy_routing_ensure(MARK, error, sizeof(error)) < 0)
                fail_msg("%s", error);
}

static void assert_set_up_once(void)
{
        assert_int_equal(count(run("ip -4 rule"), "1375:	from all fwmark 0x61656400 lookup 27751"), 1);
        assert_int_equal(count(run("ip -6 rule"), "1375:	from all fwmark 0x61656400 lookup 27751"), 1);
        assert_int_equal(count(run("ip -4 route show table 27751"), "local default dev lo"), 1);
        assert_int_equal(count(run("ip -6 route show table 27751"), "local default dev lo"), 1);
}

static void assert_removed(void)
{
        assert_int_equal(count(run("ip -4 rule; ip -6 rule"), "27751"), 0);
        assert_string_equal(run("ip -4 route show table 27751 2>/dev/null; ip -6 route show table 27751 2>/dev/null"),
                            "");
}

static void rule_and_route_are_there_once_however_often_it_is_ensured(void **state)
{
        (void)state;
        own_network_or_skip();
        ensure();
        assert_set_up_once();
        ensure();
        assert_set_up_once();
}

static void removing_leaves_nothing_and_may_be_repeated(void **state)
{
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        ensure();
        assert_int_equal(policy_routing_remove(MARK, error, sizeof(error)), 0);
        assert_removed();
        assert_int_equal(policy_routing_remove(MARK, error, sizeof(error)), 0);
        assert_string_equal(error, "");
}

static void what_is_missing_comes_back(void **state)
{
        (void)state;
        own_network_or_skip();
        ensure();
        assert_string_equal(run("ip -6 rule del priority 1375; ip route flush table 27751"), "");
        ensure();
        assert_set_up_once();
}

static void a_stronger_rule_of_others_is_reported(void **state)
{
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_string_equal(run("ip rule add priority 10 blackhole"), "");
        assert_int_equal(policy_routing_ensure(MARK, error, sizeof(error)) < 0, 1);
        assert_non_null(strstr(error, "IPv4"));
        assert_string_equal(run("ip rule del priority 10"), "");
        ensure();
}

static void a_foreign_route_in_our_table_is_reported(void **state)
{
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_int_equal(policy_routing_remove(MARK, error, sizeof(error)), 0);
        assert_string_equal(run("ip route add 192.0.2.0/24 dev lo table 27751"), "");
        assert_int_equal(policy_routing_ensure(MARK, error, sizeof(error)), -EEXIST);
        assert_non_null(strstr(error, "are not delivered locally"));
        assert_string_equal(run("ip route flush table 27751"), "");
        ensure();
}

/* The last test: the namespace has no IPv6 afterwards. */
static void without_ipv6_the_rest_is_set_up(void **state)
{
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_int_equal(policy_routing_remove(MARK, error, sizeof(error)), 0);
        assert_string_equal(run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1 2>&1"),
                            "");
        ensure();
        assert_int_equal(count(run("ip -4 rule"), "lookup 27751"), 1);
        assert_int_equal(count(run("ip -6 rule"), "lookup 27751"), 0);
        assert_int_equal(policy_routing_remove(MARK, error, sizeof(error)), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rule_and_route_are_there_once_however_often_it_is_ensured),
                cmocka_unit_test(removing_leaves_nothing_and_may_be_repeated),
                cmocka_unit_test(what_is_missing_comes_back),
                cmocka_unit_test(a_stronger_rule_of_others_is_reported),
                cmocka_unit_test(a_foreign_route_in_our_table_is_reported),
                cmocka_unit_test(without_ipv6_the_rest_is_set_up),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
