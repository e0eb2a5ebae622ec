/* What the kernel holds of a policy, by nft's account. */
#include "kernel/ruleset.h"

#include <stdint.h>

#include "ruleset_lab.h"
#include "service_tags_sample.h"

#define SECOND_CLUSTER                                                                                                 \
        "  - name: test\n"                                                                                             \
        "    sources: [10.1.128.0/17, 10.1.7.0/24, 10.9.0.0/16]\n"                                                     \
        "    cloud: AzurePublicCloud\n"                                                                                \
        "    location: westeurope\n"                                                                                   \
        "    snat_pool: even\n"

#define LONG_CLUSTER "a23456789-123456789-123456789-123456789-123456789-123456789-123"

/* 20 ranges, which no rule of the proxy has. */
#define MANY_PORTS                                                                                                     \
        "10000-10001,10003-10004,10006-10007,10009-10010,10012-10013,10015-10016,10018-10019,10021-10022,"             \
        "10024-10025,10027-10028,10030-10031,10033-10034,10036-10037,10039-10040,10042-10043,10045-10046,"             \
        "10048-10049,10051-10052,10054-10055,10057-10058"

static void neighbouring_ports_become_ranges(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https a.com:8080-8082,9000,65534-65535']\n");
        char *text = nftables_ruleset_format(lab->policy, NULL);
        assert_non_null(text);
        assert_holds(text, "elements = { 80, 443, 8080-8082, 9000, 65534-65535 }");
        free(text);
}

static void the_text_replaces_the_table_in_one_transaction(void **state)
{
        static const char expected[] =
                "add table inet aksegressd\ndelete table inet aksegressd\ntable inet aksegressd {\n";
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        char *text = nftables_ruleset_format(lab->policy, NULL);
        assert_non_null(text);
        assert_memory_equal(text, expected, strlen(expected));
        free(text);
}

static void without_the_transparent_listener_there_is_no_rule(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "listen: { proxy: { address: 127.0.0.1, port: 3128 } }\nallowlist_dirs: [.]\n"
                    "snat_pools: [{ name: main, addresses: [127.0.0.1] }]\nclusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        char *text = nftables_ruleset_format(lab->policy, NULL);
        assert_non_null(text);
        assert_int_equal(text[0], '#');
        assert_lacks(text, "table inet");
        free(text);
}

static void steering_and_its_guards_are_in_place(void **state)
{
        static const char *const hooks[] = {
                "type filter hook prerouting priority raw; policy accept;",
                "fib daddr type != local tcp dport @steered_ports notrack",
                "type filter hook output priority raw; policy accept;",
                "fib saddr type != local tcp sport @steered_ports notrack",
                "type filter hook prerouting priority mangle; policy accept;",
                "iifname != \"lo\" ip daddr { 168.63.129.16, 169.254.169.254 } counter packets 0 bytes 0 ",
                "log prefix \"platform-address\" group 27751 snaplen 1600 drop",
                "meta l4proto != tcp accept",
                "fib daddr type local accept",
                "tcp flags syn / syn,ack fib saddr . iif oif missing accept",
                "ip daddr @sources.v4 ip saddr != @sources.v4 accept",
                "ip6 daddr @sources.v6 ip6 saddr != @sources.v6 accept",
                "meta nfproto ipv4 tcp dport @steered_ports tproxy ip to :15001 meta mark set 0x61656400 counter",
                "meta nfproto ipv6 tcp dport @steered_ports tproxy ip6 to :15001 meta mark set 0x61656400 counter",
                "socket transparent 1 socket wildcard 0 meta mark set 0x61656400 accept",
                "type filter hook prerouting priority dstnat + 10; policy accept;",
                "meta mark != 0x61656400 meta mark set 0x61656401",
                "tcp dport 15001 meta mark != 0x61656400 counter packets 0 bytes 0 reject with tcp reset",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        assert_in_order(ruleset_lab_nft("list table inet aksegressd"), hooks, ARRAY_SIZE(hooks));
}

static void only_flows_with_our_mark_are_let_through_as_established(void **state)
{
        static const char *const rules[] = {
                "type filter hook forward priority filter; policy drop;",
                "ct state established,related ct mark ",
                "0x61650000", /* and a mask, which versions of nft print differently */
                "accept\n",
                "ip daddr @sources.v4 ip saddr != @sources.v4 log prefix \"unknown-source\" group 27751 snaplen 1600",
                "ip6 daddr @sources.v6 ip6 saddr != @sources.v6 log prefix \"unknown-source\" group 27751 snaplen 1600",
                "tcp dport @steered_ports log prefix \"not-proxied\" group 27751 snaplen 1600 goto refuse",
                "ct state invalid,untracked log prefix \"no-flow\" group 27751 snaplen 1600 goto refuse",
                "tcp flags != syn / fin,syn,rst,ack log prefix \"no-flow\" group 27751 snaplen 1600 goto refuse",
                "ip saddr vmap @clusters.v4",
                "ip6 saddr vmap @clusters.v6",
                "log prefix \"unknown-source\" group 27751 snaplen 1600 goto refuse",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        const char *forward = ruleset_lab_list("chain", "forward");
        assert_in_order(forward, rules, ARRAY_SIZE(rules));
        const char *accept = strstr(forward, " accept\n");
        assert_non_null(accept);
        assert_null(strstr(accept + 1, " accept\n"));
}

static void a_source_goes_to_the_cluster_of_its_longest_prefix(void **state)
{
        static const char *const ranges[] = {
                "10.1.0.0-10.1.6.255 : goto cluster.prod",   "10.1.7.0/24 : goto cluster.test",
                "10.1.8.0-10.1.127.255 : goto cluster.prod", "10.1.128.0/17 : goto cluster.test",
                "10.9.0.0/16 : goto cluster.test",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER SECOND_CLUSTER);
        ruleset_lab_apply(lab);
        assert_in_order(ruleset_lab_list("map", "clusters.v4"), ranges, ARRAY_SIZE(ranges));
        assert_lacks(ruleset_lab_list("map", "clusters.v6"), "elements");
}

static void every_cluster_s_sources_are_in_one_set(void **state)
{
        static const char *const inside[] = { "10.1.0.0", "10.1.7.9", "10.1.255.255", "10.9.0.0", "10.9.255.255" };
        static const char *const outside[] = { "10.0.255.255", "10.2.0.0", "10.8.255.255", "10.10.0.0", "0.0.0.0" };
        struct policy_lab *lab = *state;
        char arguments[160];

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER SECOND_CLUSTER);
        ruleset_lab_apply(lab);
        for (size_t i = 0; i < ARRAY_SIZE(inside); i++) {
                snprintf(arguments, sizeof(arguments), "get element inet aksegressd sources.v4 '{ %s }'", inside[i]);
                assert_holds(ruleset_lab_nft(arguments), "elements = { ");
                snprintf(arguments, sizeof(arguments), "get element inet aksegressd sources.v4 '{ %s }'", outside[i]);
                assert_holds(ruleset_lab_nft(arguments), "No such file");
        }
        assert_lacks(ruleset_lab_list("set", "sources.v6"), "elements");
}

static void a_cluster_s_chain_judges_in_the_order_of_the_design(void **state)
{
        static const char *const rules[] = {
                "ip6 daddr @embedded.v6 log prefix \"forbidden-address\" group 27751 snaplen 1600 goto refuse",
                "ip daddr @special.v4 ip daddr != @private.prod.v4 log prefix \"forbidden-address\" group",
                "ip6 daddr @special.v6 ip6 daddr != @private.prod.v6 log prefix \"forbidden-address\" group",
                "tcp dport 25 ip daddr @deny.tcp.25.prod.v4 log prefix \"deny-rule\" group 27751 snaplen 1600 goto",
                "udp dport 123 ip daddr @allow.udp.123.prod.v4 goto pass.prod",
                "udp dport 123 ip daddr @learned.udp.123.prod.v4 goto pass.prod",
                "udp dport 123 ip6 daddr @allow.udp.123.prod.v6 goto pass.prod",
                "udp dport 123 ip6 daddr @learned.udp.123.prod.v6 goto pass.prod",
                "log prefix \"no-network-rule\" group 27751 snaplen 1600 goto refuse",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['udp [203.0.113.0/24]:123', 'udp [2001:db8:1::/48]:123', 'udp ntp.a.com:123']\n"
                        "    deny: ['tcp [203.0.113.25]:25', 'tcp mail.a.com:25', 'https a.com:443']\n");
        ruleset_lab_apply(lab);
        assert_in_order(ruleset_lab_list("chain", "cluster.prod"), rules, ARRAY_SIZE(rules));
        assert_lacks(ruleset_lab_list("chain", "cluster.prod"), "audit");
        assert_holds(ruleset_lab_list("set", "deny.tcp.25.prod.v4"), "elements = { 203.0.113.25 }");
        assert_holds(ruleset_lab_list("set", "allow.udp.123.prod.v6"), "elements = { 2001:db8:1::/48 }");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "flags timeout");
}

/* The record is the flow's, when it has ended. */
static void an_audited_cluster_records_and_lets_through_but_not_to_forbidden_addresses(void **state)
{
        static const char *const rules[] = {
                "log prefix \"forbidden-address\" group 27751 snaplen 1600 goto refuse",
                "udp dport 53 ip daddr @deny.udp.53.prod.v4 goto pass.prod\n",
                "\t\tgoto pass.prod\n",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    mode: audit\n    deny: ['udp [203.0.113.0/24]:53']\n");
        ruleset_lab_apply(lab);
        const char *chain = ruleset_lab_list("chain", "cluster.prod");
        assert_in_order(chain, rules, ARRAY_SIZE(rules));
        assert_lacks(chain, "\"deny-rule\"");
        assert_lacks(chain, "\"no-network-rule\"");
}

static void tcp_rules_on_steered_ports_are_the_proxy_s_and_mixed_ones_both(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp [203.0.113.1]:443', 'tcp [203.0.113.2]:443,444', "
                                                "'udp [203.0.113.3]:443']\n");
        ruleset_lab_apply(lab);
        const char *chain = ruleset_lab_list("chain", "cluster.prod");
        assert_lacks(chain, "tcp dport 443 ");
        assert_holds(chain, "tcp dport 443-444 ip daddr @allow.tcp.443-444.prod.v4 goto pass.prod");
        assert_holds(chain, "udp dport 443 ip daddr @allow.udp.443.prod.v4 goto pass.prod");
        assert_lacks(ruleset_lab_nft("list sets inet"), "allow.tcp.443.prod");
}

static void prefixes_that_lie_within_each_other_are_one_range(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['udp [203.0.113.0/24]:123', 'udp [203.0.113.7]:123', 'udp [203.0.112.0/24]:123',"
                        " 'udp [198.51.100.1]:123', 'udp [0.0.0.0/0]:124', 'udp [::/0]:124']\n");
        ruleset_lab_apply(lab);
        assert_holds(ruleset_lab_list("set", "allow.udp.123.prod.v4"), "elements = { 198.51.100.1, 203.0.112.0/23 }");
        assert_holds(ruleset_lab_list("set", "allow.udp.124.prod.v4"), "elements = { 0.0.0.0/0 }");
        assert_holds(ruleset_lab_list("set", "allow.udp.124.prod.v6"), "elements = { ::/0 }");
}

static void a_tag_s_prefixes_are_in_a_set_of_each_family(void **state)
{
        struct policy_lab *lab = *state;
        struct sample sample;

        own_network_or_skip();
        sample_open(&sample, "Public");
        sample_tag(&sample, "AzureCloud", "", "\"20.0.0.0/8\"");
        sample_tag(&sample, "AzureMonitor", "", "\"20.2.3.0/24\", \"20.2.4.0/24\", \"2603:1020:4::/48\"");
        char *text = sample_close(&sample);
        policy_lab_write(lab, "tags.json", text);
        free(text);
        lab->head = "service_tags: tags.json\n" RULESET_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp tag:AzureMonitor:1194', 'udp [20.2.5.0/24]:1194']\n");
        ruleset_lab_apply(lab);
        assert_holds(ruleset_lab_list("set", "allow.udp.1194.prod.v4"), "elements = { 20.2.3.0-20.2.5.255 }");
        assert_holds(ruleset_lab_list("set", "allow.udp.1194.prod.v6"), "elements = { 2603:1020:4::/48 }");
}

static void private_destinations_are_a_cluster_s_own(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    private_destinations: [10.2.0.0/16, 10.3.0.0/16, 'fd00:1::/64']\n" SECOND_CLUSTER);
        ruleset_lab_apply(lab);
        assert_holds(ruleset_lab_list("set", "private.prod.v4"), "elements = { 10.2.0.0/15 }");
        assert_holds(ruleset_lab_list("set", "private.prod.v6"), "elements = { fd00:1::/64 }");
        assert_lacks(ruleset_lab_list("set", "private.test.v4"), "elements");
        assert_lacks(ruleset_lab_list("set", "private.test.v6"), "elements");
}

static void every_range_that_is_not_public_is_in_a_set_of_forbidden_ones(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        for (size_t i = 0; i < net_address_special_count(); i++) {
                char text[NET_ADDRESS_TEXT_SIZE], arguments[160];
                struct net_prefix prefix;
                bool embeds = net_address_special(i, &prefix) == NET_ADDRESS_EMBEDDED_IPV4;
                snprintf(arguments, sizeof(arguments), "get element inet aksegressd %s.%s '{ %s }'",
                         embeds ? "embedded" : "special", prefix.address.family == AF_INET ? "v4" : "v6",
                         net_address_format(&prefix.address, text));
                assert_holds(ruleset_lab_nft(arguments), "elements = { ");
        }
        assert_holds(ruleset_lab_nft("get element inet aksegressd special.v4 '{ 8.8.8.8 }'"), "No such file");
        assert_holds(ruleset_lab_nft("get element inet aksegressd special.v6 '{ 2603:1020::1 }'"), "No such file");
}

static void what_is_refused_is_told_or_dropped(void **state)
{
        static const char *const silent[] = {
                /* who is outside, and who is not where the packet came from */
                "ip daddr @sources.v4 ip saddr != @sources.v4 counter packets 0 bytes 0 drop",
                "ip6 daddr @sources.v6 ip6 saddr != @sources.v6 counter packets 0 bytes 0 drop",
                "fib saddr . iif oif missing counter packets 0 bytes 0 drop",
                "reject with tcp reset",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        assert_holds(ruleset_lab_list("chain", "refuse"),
                     "meta l4proto tcp counter packets 0 bytes 0 reject with tcp reset");
        assert_holds(ruleset_lab_list("chain", "refuse"),
                     "counter packets 0 bytes 0 reject with icmpx admin-prohibited");
        assert_in_order(ruleset_lab_list("chain", "refuse"), silent, ARRAY_SIZE(silent));
        lab->head = "refuse_with: drop\n" RULESET_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        assert_lacks(ruleset_lab_list("chain", "refuse"), "reject");
        assert_holds(ruleset_lab_list("chain", "refuse"), "counter packets 0 bytes 0 drop");
}

/* The second pool has no IPv6 address at all: such flows are refused before they begin. */
static void each_cluster_s_flows_get_addresses_of_its_pool(void **state)
{
        static const char *const rules[] = {
                "type nat hook postrouting priority srcnat; policy accept;",
                "ct mark 0x61650001 ",
                "snat ip to jhash ip saddr mod 3 seed 0x61656400 map { 0 : 192.0.2.10, 1 : 192.0.2.11, 2 : 192.0.2.12 "
                "}",
                "ct mark 0x61650001 ",
                "snat ip6 to jhash ip6 saddr mod 2 seed 0x61656400 map { 0 : 2001:db8::10, 1 : 2001:db8::11 }",
                "ct mark 0x61650002 meta nfproto ipv4 snat ip to numgen inc mod 2 map { 0 : 192.0.2.20, 1 : 192.0.2.21 "
                "}",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER SECOND_CLUSTER);
        ruleset_lab_apply(lab);
        const char *nat = ruleset_lab_list("chain", "source_nat");
        assert_in_order(nat, rules, ARRAY_SIZE(rules));
        assert_lacks(nat, "ct mark 0x61650002 meta nfproto ipv6");
        assert_lacks(ruleset_lab_list("chain", "pass.prod"), "snat-unavailable");
        assert_holds(ruleset_lab_list("chain", "pass.prod"), "ct mark set 0x61650001 accept");
        const char *pass = ruleset_lab_list("chain", "pass.test");
        assert_holds(pass, "meta nfproto ipv6 log prefix \"snat-unavailable\" group 27751 snaplen 1600 goto refuse");
        assert_holds(pass, "ct mark set 0x61650002 accept");
        assert_lacks(pass, "meta nfproto ipv4");
}

static void an_absent_address_is_not_sent_from(void **state)
{
        struct ruleset_lab_facts facts = { .absent = "192.0.2.11" };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply_with(lab, &facts);
        assert_holds(ruleset_lab_list("chain", "source_nat"),
                     "mod 2 seed 0x61656400 map { 0 : 192.0.2.10, 1 : 192.0.2.12 }");
        lab->head = "listen: { transparent: { port: 15001 } }\nallowlist_dirs: [.]\n"
                    "snat_pools: [{ name: main, addresses: [192.0.2.11] }]\nclusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply_with(lab, &facts);
        assert_lacks(ruleset_lab_list("chain", "source_nat"), "snat ip");
        assert_holds(ruleset_lab_list("chain", "pass.prod"), "meta nfproto ipv4 log prefix \"snat-unavailable\"");
        facts.absent = NULL;
        ruleset_lab_apply_with(lab, &facts);
        assert_holds(ruleset_lab_list("chain", "source_nat"), "mod 1 seed 0x61656400 map { 0 : 192.0.2.11 }");
}

static void a_flow_without_a_source_address_of_ours_ends_at_the_guard(void **state)
{
        static const char *const rules[] = {
                "type filter hook postrouting priority srcnat + 10; policy accept;", "ct mark ", "0x61650000",
                "ct direction original ct status ! snat counter packets 0 bytes 0 drop",
                "mark 0x61656401 ct state invalid,untracked counter packets 0 bytes 0 drop"
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        const char *guard = ruleset_lab_list("chain", "source_guard");
        assert_in_order(guard, rules, ARRAY_SIZE(rules));
}

static void the_longest_names_and_port_lists_fit(void **state)
{
        static const char cluster[] =
                "  - name: " LONG_CLUSTER "\n    sources: [10.1.0.0/16]\n    cloud: AzurePublicCloud\n"
                "    location: westeurope\n    snat_pool: main\n"
                "    allow: ['udp a.com:" MANY_PORTS "', 'udp [203.0.113.1]:" MANY_PORTS "',"
                " 'tcp [203.0.113.1]:" MANY_PORTS "']\n"
                "    deny: ['udp [203.0.113.2]:" MANY_PORTS "']\n";
        struct policy_lab *lab = *state;

        own_network_or_skip();
        assert_int_equal(strlen(LONG_CLUSTER), 63);
        policy_lab_load(lab, cluster);
        ruleset_lab_apply(lab);
        const char *chain = ruleset_lab_list("chain", "cluster." LONG_CLUSTER);
        assert_holds(chain, "10054-10055, 10057-10058 } ip daddr @allow.udp.x");
        assert_holds(chain, "10054-10055, 10057-10058 } ip daddr @allow.tcp.x");
        assert_holds(chain, "10054-10055, 10057-10058 } ip daddr @learned.udp.x");
        assert_holds(chain, "10054-10055, 10057-10058 } ip daddr @deny.udp.x");
        assert_holds(chain, "." LONG_CLUSTER ".v4 goto pass." LONG_CLUSTER);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(neighbouring_ports_become_ranges),
                LAB_TEST(the_text_replaces_the_table_in_one_transaction),
                LAB_TEST(without_the_transparent_listener_there_is_no_rule),
                LAB_TEST(steering_and_its_guards_are_in_place),
                LAB_TEST(only_flows_with_our_mark_are_let_through_as_established),
                LAB_TEST(a_source_goes_to_the_cluster_of_its_longest_prefix),
                LAB_TEST(every_cluster_s_sources_are_in_one_set),
                LAB_TEST(a_cluster_s_chain_judges_in_the_order_of_the_design),
                LAB_TEST(an_audited_cluster_records_and_lets_through_but_not_to_forbidden_addresses),
                LAB_TEST(tcp_rules_on_steered_ports_are_the_proxy_s_and_mixed_ones_both),
                LAB_TEST(prefixes_that_lie_within_each_other_are_one_range),
                LAB_TEST(a_tag_s_prefixes_are_in_a_set_of_each_family),
                LAB_TEST(private_destinations_are_a_cluster_s_own),
                LAB_TEST(every_range_that_is_not_public_is_in_a_set_of_forbidden_ones),
                LAB_TEST(what_is_refused_is_told_or_dropped),
                LAB_TEST(each_cluster_s_flows_get_addresses_of_its_pool),
                LAB_TEST(an_absent_address_is_not_sent_from),
                LAB_TEST(a_flow_without_a_source_address_of_ours_ends_at_the_guard),
                LAB_TEST(the_longest_names_and_port_lists_fit),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
