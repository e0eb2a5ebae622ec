#include "kernel/source_barrier.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_network.h"
#include "values.h"

#define MARK 0x61656401u
#define OUTPUT_SIZE 65536
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

/* A network like the NVA's: what comes in from eth0 goes out by eth1. Before each test, in a namespace of its own. */
static int enter_network(void **state)
{
        (void)own_network_setup(state);
        if (!own_network_is_entered)
                return 0;
        own_network_run("for i in all default lo; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter || exit 1; done;"
                        " echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding;"
                        " ip link add eth0 type veth peer name eth1 && ip link set eth0 up && ip link set eth1 up &&"
                        " ip addr add 10.0.0.4/24 dev eth0 && ip route add default via 10.0.1.1 dev eth1 onlink &&"
                        " ip -6 addr add fd00:0::4/64 dev eth0 nodad &&"
                        " ip -6 route add default via fe80::1 dev eth1 onlink 2>&1");
        return 0;
}

static struct net_prefix prefix_of(const char *text)
{
        struct net_prefix prefix;

        assert_int_equal(net_prefix_parse(text, strlen(text), &prefix), 0);
        return prefix;
}

/* texts: up to 8 prefixes, the last one before a NULL. */
static int set_with(uint32_t mark, const char *const *texts, char error[ERROR_SIZE])
{
        struct net_prefix prefixes[8];
        size_t prefix_count = 0;

        error[0] = '\0';
        for (; texts[prefix_count] != NULL; prefix_count++)
                prefixes[prefix_count] = prefix_of(texts[prefix_count]);
        return source_barrier_set(mark, prefixes, prefix_count, error, ERROR_SIZE);
}

static int set(const char *const *texts)
{
        char error[ERROR_SIZE];
        int r = set_with(MARK, texts, error);

        if (r < 0)
                fail_msg("%s", error);
        return r;
}

#define SET(...) set((const char *const[]){ __VA_ARGS__, NULL })

static void clear(void)
{
        char error[ERROR_SIZE] = "";

        if (source_barrier_remove(error, sizeof(error)) < 0)
                fail_msg("%s", error);
}

/* The rules of a family between the local table and the main one. */
static const char *rules(int family)
{
        return run(family == AF_INET ? "ip -4 rule | grep -v '^0:\\|^3276[67]:'"
                                     : "ip -6 rule | grep -v '^0:\\|^3276[67]:'");
}

#define WAYS                                                                                                           \
        "1376:\tfrom all fwmark 0x61656401 goto 1378\n"                                                                \
        "1376:\tfrom all iif lo goto 1378\n"
#define TARGET "1378:\tfrom all nop\n"

/* What the kernel does with a forwarded packet: "unreachable", or by which interface it goes. */
static const char *route_of(const char *source, const char *destination, const char *mark)
{
        char command[256];

        snprintf(command, sizeof(command), "ip route get %s from %s iif eth0 %s 2>&1", destination, source, mark);
        const char *output = run(command);
        if (strstr(output, "unreachable") != NULL || strstr(output, "No route to host") != NULL)
                return "unreachable";
        return strstr(output, "dev eth1") != NULL ? "eth1" : output;
}

#define MARKED "mark 0x61656401"

static void rules_for_both_families_are_what_the_header_draws(void **state)
{
        (void)state;
        own_network_or_skip();
        assert_int_equal(SET("10.1.0.0/16", "fd00:1::/64", "10.2.0.0/24"), 1);
        assert_string_equal(rules(AF_INET), WAYS "1377:\tfrom 10.1.0.0/16 unreachable\n"
                                                 "1377:\tfrom 10.2.0.0/24 unreachable\n" TARGET);
        assert_string_equal(rules(AF_INET6), WAYS "1377:\tfrom fd00:1::/64 unreachable\n" TARGET);
}

static void the_second_time_nothing_is_missing(void **state)
{
        char former[OUTPUT_SIZE];

        (void)state;
        own_network_or_skip();
        assert_int_equal(SET("10.1.0.0/16", "fd00:1::/64"), 1);
        snprintf(former, sizeof(former), "%s", run("ip -4 rule; ip -6 rule"));
        assert_int_equal(SET("10.1.0.0/16", "fd00:1::/64"), 0);
        assert_int_equal(SET("fd00:1::/64", "10.1.0.0/16"), 0);
        assert_string_equal(run("ip -4 rule; ip -6 rule"), former);
}

static void whatever_is_missing_comes_back_and_is_told(void **state)
{
        static const char *const losses[] = {
                "ip -4 rule del priority 1377",        "ip -6 rule del priority 1377",
                "ip -4 rule del priority 1376 iif lo", "ip -6 rule del priority 1376 fwmark 0x61656401",
                "ip -4 rule flush priority 1376",      "ip -6 rule flush",
        };

        (void)state;
        own_network_or_skip();
        assert_int_equal(SET("10.1.0.0/16", "fd00:1::/64"), 1);
        for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
                own_network_run(losses[i]);
                assert_int_equal(SET("10.1.0.0/16", "fd00:1::/64"), 1);
                assert_int_equal(count(rules(AF_INET), "goto 1378"), 2);
                assert_int_equal(count(rules(AF_INET6), "goto 1378"), 2);
                assert_int_equal(count(rules(AF_INET), "from 10.1.0.0/16 unreachable"), 1);
                assert_int_equal(count(rules(AF_INET6), "from fd00:1::/64 unreachable"), 1);
                assert_int_equal(SET("10.1.0.0/16", "fd00:1::/64"), 0);
        }
}

static void prefixes_follow_the_configuration(void **state)
{
        (void)state;
        own_network_or_skip();
        (void)SET("10.1.0.0/16", "10.2.0.0/16", "fd00:1::/64");
        assert_int_equal(SET("10.2.0.0/16", "10.3.0.0/16"), 1);
        assert_string_equal(rules(AF_INET), WAYS "1377:\tfrom 10.2.0.0/16 unreachable\n"
                                                 "1377:\tfrom 10.3.0.0/16 unreachable\n" TARGET);
        assert_string_equal(rules(AF_INET6), WAYS TARGET);
        /* The same address with another length is another prefix; to lose one is nothing missing. */
        assert_int_equal(SET("10.2.0.0/24", "10.2.0.0/16"), 1);
        assert_int_equal(SET("10.2.0.0/24"), 0);
        assert_string_equal(rules(AF_INET), WAYS "1377:\tfrom 10.2.0.0/24 unreachable\n" TARGET);
}

static void a_prefix_of_two_clusters_is_there_once(void **state)
{
        (void)state;
        own_network_or_skip();
        assert_int_equal(SET("10.1.0.0/16", "10.1.0.0/16"), 1);
        assert_int_equal(count(rules(AF_INET), "unreachable"), 1);
        assert_int_equal(SET("10.1.0.0/16", "10.1.0.0/16"), 0);
}

static void without_a_mark_a_client_s_packet_goes_nowhere(void **state)
{
        (void)state;
        own_network_or_skip();
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", ""), "eth1");
        assert_string_equal(route_of("fd00:1::7", "2001:4860::1", ""), "eth1");
        (void)SET("10.1.0.0/16", "fd00:1::/64");
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", ""), "unreachable");
        assert_string_equal(route_of("fd00:1::7", "2001:4860::1", ""), "unreachable");
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", MARKED), "eth1");
        assert_string_equal(route_of("fd00:1::7", "2001:4860::1", MARKED), "eth1");
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", "mark 0x61656400"), "unreachable");
        assert_string_equal(route_of("10.2.0.7", "203.0.113.1", ""), "eth1"); /* no source of ours */
        clear();
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", ""), "eth1");
        assert_string_equal(route_of("fd00:1::7", "2001:4860::1", ""), "eth1");
}

static void what_this_machine_sends_goes_around_it(void **state)
{
        (void)state;
        own_network_or_skip();
        (void)SET("10.0.0.0/8", "fd00::/16");
        assert_non_null(strstr(run("ip route get 203.0.113.1 from 10.0.0.4 2>&1"), "dev eth1"));
        assert_non_null(strstr(run("ip route get 2001:4860::1 from fd00::4 2>&1"), "dev eth1"));
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", ""), "unreachable");
}

static void everything_may_be_a_source(void **state)
{
        (void)state;
        own_network_or_skip();
        (void)SET("0.0.0.0/0", "::/0");
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", ""), "unreachable");
        assert_string_equal(route_of("200.1.0.7", "203.0.113.1", ""), "unreachable");
        assert_string_equal(route_of("fd00:1::7", "2001:4860::1", ""), "unreachable");
        assert_string_equal(route_of("10.1.0.7", "203.0.113.1", MARKED), "eth1");
        assert_int_equal(SET("0.0.0.0/0", "::/0"), 0);
        clear();
        assert_string_equal(run("ip -4 rule; ip -6 rule"), "0:\tfrom all lookup local\n"
                                                           "32766:\tfrom all lookup main\n"
                                                           "32767:\tfrom all lookup default\n"
                                                           "0:\tfrom all lookup local\n"
                                                           "32766:\tfrom all lookup main\n");
}

/* The kernel takes a rule without a source for any of its priority when it adds or removes one. */
static void everything_comes_and_leaves_beside_other_prefixes(void **state)
{
        static const char *const narrow[] = { "10.1.0.0/16", "fd00:1::/64", NULL };
        static const char *const wide[] = { "10.1.0.0/16", "fd00:1::/64", "0.0.0.0/0", "::/0", NULL };

        (void)state;
        own_network_or_skip();
        (void)set(narrow);
        assert_int_equal(set(wide), 1);
        assert_string_equal(route_of("200.1.0.7", "203.0.113.1", ""), "unreachable");
        assert_string_equal(route_of("9.1.0.7", "203.0.113.1", ""), "unreachable");
        assert_string_equal(route_of("2001:4860::7", "2001:4860::1", ""), "unreachable");
        assert_string_equal(route_of("fd00:2::7", "2001:4860::1", ""), "unreachable");
        assert_int_equal(set(wide), 0);
        (void)set(narrow);
        assert_string_equal(rules(AF_INET), WAYS "1377:\tfrom 10.1.0.0/16 unreachable\n" TARGET);
        assert_string_equal(rules(AF_INET6), WAYS "1377:\tfrom fd00:1::/64 unreachable\n" TARGET);
        assert_int_equal(set(narrow), 0);
}

static void a_reverse_path_filter_keeps_ipv4_out_and_is_named(void **state)
{
        static const char *const both[] = { "10.1.0.0/16", "fd00:1::/64", NULL };
        static const char *const interfaces[] = { "eth1", "lo", "all" };
        char error[ERROR_SIZE], command[96], words[96];

        (void)state;
        own_network_or_skip();
        for (size_t i = 0; i < sizeof(interfaces) / sizeof(interfaces[0]); i++) {
                for (int mode = 1; mode <= 2; mode++) { /* strict, loose: RFC 3704 */
                        assert_int_equal(set(both) >= 0, 1);
                        assert_int_equal(count(rules(AF_INET), "unreachable"), 1);
                        snprintf(command, sizeof(command), "echo %d >/proc/sys/net/ipv4/conf/%s/rp_filter", mode,
                                 interfaces[i]);
                        own_network_run(command);
                        assert_int_equal(set_with(MARK, both, error), -EOPNOTSUPP);
                        snprintf(words, sizeof(words), "net.ipv4.conf.%s.rp_filter", interfaces[i]);
                        assert_non_null(strstr(error, words));
                        assert_int_equal(count(rules(AF_INET), "unreachable"), 0);
                        assert_int_equal(count(rules(AF_INET6), "from fd00:1::/64 unreachable"), 1);
                        snprintf(command, sizeof(command), "echo 0 >/proc/sys/net/ipv4/conf/%s/rp_filter",
                                 interfaces[i]);
                        own_network_run(command);
                }
        }
        /* What interfaces to come will have is not yet in anybody's way. */
        own_network_run("echo 1 >/proc/sys/net/ipv4/conf/default/rp_filter");
        assert_int_equal(set_with(MARK, both, error), 1);
        assert_string_equal(error, "");
}

/* 10.0.x.0/24 and fd00:x::/32 by turns. */
static void make_prefixes(struct net_prefix *prefixes, size_t prefix_count)
{
        char text[NET_ADDRESS_TEXT_SIZE + 4];

        for (size_t i = 0; i < prefix_count; i++) {
                snprintf(text, sizeof(text), i % 2 == 0 ? "10.%zu.0.0/24" : "fd00:%zx::/32", i / 2);
                prefixes[i] = prefix_of(text);
        }
}

static void more_prefixes_than_fit_are_none(void **state)
{
        static struct net_prefix prefixes[SOURCE_BARRIER_MAX + 1];
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        make_prefixes(prefixes, SOURCE_BARRIER_MAX + 1);
        assert_int_equal(source_barrier_set(MARK, prefixes, SOURCE_BARRIER_MAX, error, sizeof(error)), 1);
        assert_int_equal(count(rules(AF_INET), "unreachable"), SOURCE_BARRIER_MAX / 2);
        assert_int_equal(count(rules(AF_INET6), "unreachable"), SOURCE_BARRIER_MAX / 2);
        assert_int_equal(source_barrier_set(MARK, prefixes, SOURCE_BARRIER_MAX, error, sizeof(error)), 0);
        assert_int_equal(source_barrier_set(MARK, prefixes, SOURCE_BARRIER_MAX + 1, error, sizeof(error)), -E2BIG);
        assert_non_null(strstr(error, "257 source prefixes, at most 256"));
        assert_int_equal(count(rules(AF_INET), "unreachable"), 0);
        assert_int_equal(count(rules(AF_INET6), "unreachable"), 0);
        assert_int_equal(source_barrier_set(MARK, prefixes, 0, error, sizeof(error)), 0);
}

static void removing_leaves_what_is_others_and_may_be_repeated(void **state)
{
        char former[OUTPUT_SIZE];

        (void)state;
        own_network_or_skip();
        own_network_run("for f in -4 -6; do ip $f rule add priority 1375 fwmark 0x61656400 lookup 27751;"
                        " ip $f rule add priority 1379 unreachable; ip $f rule add priority 100 iif eth0 lookup 5;"
                        " done; ip rule add priority 2000 from 10.1.0.0/16 unreachable");
        snprintf(former, sizeof(former), "%s", run("ip -4 rule; ip -6 rule"));
        (void)SET("10.1.0.0/16", "fd00:1::/64");
        assert_string_not_equal(run("ip -4 rule; ip -6 rule"), former);
        clear();
        assert_string_equal(run("ip -4 rule; ip -6 rule"), former);
        clear();
        assert_string_equal(run("ip -4 rule; ip -6 rule"), former);
}

static void half_a_barrier_is_removed_too(void **state)
{
        (void)state;
        own_network_or_skip();
        (void)SET("10.1.0.0/16", "fd00:1::/64");
        own_network_run("ip -4 rule del priority 1376 iif lo; ip -6 rule del priority 1378");
        clear();
        assert_string_equal(rules(AF_INET), "");
        assert_string_equal(rules(AF_INET6), "");
}

#define BARRIER_TEST(name) cmocka_unit_test_setup(name, enter_network)

int main(void)
{
        const struct CMUnitTest tests[] = {
                BARRIER_TEST(rules_for_both_families_are_what_the_header_draws),
                BARRIER_TEST(the_second_time_nothing_is_missing),
                BARRIER_TEST(whatever_is_missing_comes_back_and_is_told),
                BARRIER_TEST(prefixes_follow_the_configuration),
                BARRIER_TEST(a_prefix_of_two_clusters_is_there_once),
                BARRIER_TEST(without_a_mark_a_client_s_packet_goes_nowhere),
                BARRIER_TEST(what_this_machine_sends_goes_around_it),
                BARRIER_TEST(everything_may_be_a_source),
                BARRIER_TEST(everything_comes_and_leaves_beside_other_prefixes),
                BARRIER_TEST(a_reverse_path_filter_keeps_ipv4_out_and_is_named),
                BARRIER_TEST(more_prefixes_than_fit_are_none),
                BARRIER_TEST(removing_leaves_what_is_others_and_may_be_repeated),
                BARRIER_TEST(half_a_barrier_is_removed_too),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
