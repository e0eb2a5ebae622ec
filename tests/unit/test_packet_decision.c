#include "traffic/packet_decision.h"

#include <netinet/in.h>

#include "kernel/ruleset.h"
#include "policy_lab.h"

#define RULES                                                                                                          \
        POLICY_LAB_CLUSTER "    allow: ['https web.com:443', 'udp [203.0.113.9]:123']\n"                               \
                           "    deny: ['udp [203.0.113.0/28]:5000', 'https bad.com:443']\n"

/* All that a record takes of a packet. */
static struct ip_packet packet_of(uint8_t protocol, const char *source, const char *destination, uint16_t port)
{
        bool has_ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;

        return (struct ip_packet){
                .source = address_of(source),
                .destination = address_of(destination),
                .protocol = protocol,
                .has_ports = has_ports,
                .source_port = has_ports ? 40000 : 0,
                .destination_port = port,
        };
}

static struct decision describe_from(const struct policy_lab *lab, const char *source, const char *prefix,
                                     uint8_t protocol, const char *destination, uint16_t port)
{
        const struct ip_packet packet = packet_of(protocol, source, destination, port);
        struct decision decision;

        memset(&decision, 0xa5, sizeof(decision)); /* packet_decision_describe writes all of it */
        assert_true(packet_decision_describe(lab->policy, prefix, &packet, &decision));
        return decision;
}

static struct decision describe(const struct policy_lab *lab, const char *prefix, uint8_t protocol,
                                const char *destination, uint16_t port)
{
        return describe_from(lab, "10.1.0.7", prefix, protocol, destination, port);
}

/* The hello of a client that asks for this server. */
static struct decision describe_quic(const struct policy_lab *lab, const char *prefix, const char *server_name,
                                     uint16_t port)
{
        static struct client_hello hello; /* large */
        struct decision decision = describe(lab, prefix, IPPROTO_UDP, "203.0.113.1", port);

        hello = (struct client_hello){ .alpn = "h3", .ech = true };
        if (server_name[0] != '\0')
                hello.server_name = name_of(server_name);
        packet_decision_note_quic(lab->policy, &hello, &decision);
        return decision;
}

static void each_prefix_has_its_reason(void **state)
{
        static const struct {
                const char *prefix;
                enum reason reason;
        } rows[] = {
                { "platform-address", REASON_PLATFORM_ADDRESS },
                { "unknown-source", REASON_UNKNOWN_SOURCE },
                { "not-proxied", REASON_NOT_PROXIED },
                { "no-flow", REASON_NO_FLOW },
                { "forbidden-address", REASON_FORBIDDEN_ADDRESS },
                { "deny-rule", REASON_DENY_RULE },
                { "no-network-rule", REASON_NO_NETWORK_RULE },
                { "snat-unavailable", REASON_SNAT_UNAVAILABLE },
        };
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct decision decision = describe(lab, rows[i].prefix, IPPROTO_TCP, "203.0.113.1", 2222);
                assert_int_equal(decision.reason, rows[i].reason);
                /* What operators grep for is one text in rules and records. */
                assert_string_equal(reason_row(decision.reason)->text, rows[i].prefix);
        }
}

static void a_prefix_that_is_not_ours_is_no_record(void **state)
{
        static const char *const prefixes[] = { "", "no-network-rul", "no-network-rule ", "No-Flow", "quic", "other" };
        const struct ip_packet packet = packet_of(IPPROTO_TCP, "10.1.0.7", "203.0.113.1", 22);
        struct policy_lab *lab = *state;
        struct decision decision = { .hint = "untouched" };

        policy_lab_load(lab, RULES);
        for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
                assert_false(packet_decision_describe(lab->policy, prefixes[i], &packet, &decision));
        assert_string_equal(decision.hint, "untouched");
}

static void a_record_says_who_where_to_and_of_which_cluster(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.1", 5001);
        const struct net_address client = address_of("10.1.0.7"), destination = address_of("203.0.113.1");
        assert_int_equal(decision.event, DECISION_EVENT_PACKET);
        assert_int_equal(decision.action, POLICY_DENY);
        assert_int_equal(decision.listener, DECISION_LISTENER_FORWARD);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_UDP);
        assert_int_equal(decision.ip_protocol, IPPROTO_UDP);
        assert_string_equal(decision.cluster, "prod");
        assert_true(net_address_equal(&decision.client.address, &client));
        assert_int_equal(decision.client.port, 40000);
        assert_true(net_address_equal(&decision.original.address, &destination));
        assert_int_equal(decision.original.port, 5001);
        assert_true(net_address_equal(&decision.destination.address, &destination));
        assert_int_equal(decision.destination.port, 5001);
        assert_int_equal(decision.snat.address.family, AF_UNSPEC);
        assert_int_equal(decision.fqdn.length, 0);
        assert_int_equal(decision.bytes_out | decision.bytes_in | decision.duration_ms | decision.time_us, 0);
}

static void icmp_of_either_family_that_no_rule_allows_is_icmp(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_ICMP, "203.0.113.1", 0);
        assert_int_equal(decision.reason, REASON_ICMP);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_ICMP);
        assert_string_equal(decision.hint, "");
        assert_int_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_ICMPV6, "2001:4860::1", 0).reason, REASON_ICMP);
        /* What else was wrong with it goes first. */
        assert_int_equal(describe(lab, RULESET_LOG_FORBIDDEN, IPPROTO_ICMP, "10.9.0.1", 0).reason,
                         REASON_FORBIDDEN_ADDRESS);
        assert_int_equal(describe(lab, RULESET_LOG_UNKNOWN_SOURCE, IPPROTO_ICMP, "203.0.113.1", 0).reason,
                         REASON_UNKNOWN_SOURCE);
}

static void other_dns_servers_are_a_bypass_over_udp_and_tcp(void **state)
{
        static const uint8_t protocols[] = { IPPROTO_UDP, IPPROTO_TCP };
        static const uint16_t ports[] = { 53, 853 };
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
                for (size_t j = 0; j < ARRAY_SIZE(ports); j++)
                        assert_int_equal(
                                describe(lab, RULESET_LOG_NO_RULE, protocols[i], "203.0.113.1", ports[j]).reason,
                                REASON_DNS_BYPASS);
        assert_int_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.1", 5353).reason,
                         REASON_NO_NETWORK_RULE);
        /* An SCTP packet may well have a port 53. */
        assert_int_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_SCTP, "203.0.113.1", 53).reason,
                         REASON_NO_NETWORK_RULE);
        assert_int_equal(describe(lab, RULESET_LOG_DENY_RULE, IPPROTO_UDP, "203.0.113.1", 53).reason, REASON_DENY_RULE);
}

static void a_dns_bypass_s_hint_names_the_listener_or_how_to_get_one(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        assert_string_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.1", 53).hint,
                            "allow 'udp [203.0.113.1]:53', or serve DNS with listen.dns");
        assert_string_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_TCP, "2001:4860::1", 853).hint,
                            "allow 'tcp [2001:4860::1]:853', or serve DNS with listen.dns");
        lab->head = "listen: { transparent: { port: 15001 }, dns: { address: 10.0.0.4, port: 53 } }\n"
                    "allowlist_dirs: [.]\nsnat_pools:\n  - { name: main, addresses: [10.0.1.10] }\nclusters:\n";
        policy_lab_load(lab, RULES);
        assert_string_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_TCP, "203.0.113.1", 853).hint,
                            "clients are to ask 10.0.0.4:53 (listen.dns); or allow 'tcp [203.0.113.1]:853'");
}

static void a_deny_rule_is_named_with_its_place(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe(lab, RULESET_LOG_DENY_RULE, IPPROTO_UDP, "203.0.113.3", 5000);
        assert_int_equal(decision.reason, REASON_DENY_RULE);
        assert_string_equal(decision.feature, "deny");
        assert_non_null(strstr(decision.rule, "aksegressd.yaml:12"));
}

/* A reload came between the rule that logged and the record. */
static void a_deny_rule_that_is_gone_is_not_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe(lab, RULESET_LOG_DENY_RULE, IPPROTO_UDP, "203.0.113.3", 5001);
        assert_int_equal(decision.reason, REASON_DENY_RULE);
        assert_string_equal(decision.rule, "");
        assert_string_equal(decision.feature, "");
        decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.9", 123); /* allowed by now */
        assert_int_equal(decision.reason, REASON_NO_NETWORK_RULE);
        assert_int_equal(decision.action, POLICY_DENY);
        assert_string_equal(decision.rule, "");
        assert_string_equal(decision.hint, "");
}

static void a_packet_without_a_rule_is_told_which_one_would_allow_it(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        assert_string_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_TCP, "198.51.100.1", 22).hint,
                            "an address is allowed by a network rule only: tcp [198.51.100.1]:22");
        assert_string_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "2001:4860::1", 123).hint,
                            "an address is allowed by a network rule only: udp [2001:4860::1]:123");
        assert_string_equal(describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.9", 124).hint,
                            "this cluster allows it as udp port 123");
}

static void forbidden_and_platform_addresses_are_explained(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        assert_string_equal(describe(lab, RULESET_LOG_FORBIDDEN, IPPROTO_TCP, "10.9.0.1", 22).hint,
                            "10.9.0.1 is private: list its prefix under private_destinations of cluster 'prod'");
        assert_string_equal(describe(lab, RULESET_LOG_FORBIDDEN, IPPROTO_UDP, "fd00::1", 22).hint,
                            "fd00::1 is private: list its prefix under private_destinations of cluster 'prod'");
        assert_string_equal(describe(lab, RULESET_LOG_PLATFORM, IPPROTO_TCP, "168.63.129.16", 80).hint,
                            "168.63.129.16 is an Azure platform address, which no setting opens");
        /* They are dropped before anybody asks for the source. */
        struct decision decision =
                describe_from(lab, "172.16.0.1", RULESET_LOG_PLATFORM, IPPROTO_TCP, "169.254.169.254", 80);
        assert_string_equal(decision.hint, "169.254.169.254 is an Azure platform address, which no setting opens");
        assert_string_equal(decision.cluster, "");
}

static void a_source_in_no_cluster_has_none(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision =
                describe_from(lab, "172.16.0.1", RULESET_LOG_UNKNOWN_SOURCE, IPPROTO_UDP, "203.0.113.1", 53);
        assert_int_equal(decision.reason, REASON_UNKNOWN_SOURCE);
        assert_string_equal(decision.cluster, "");
        assert_string_equal(decision.rule, "");
        /* Its cluster was there when the rule logged it. */
        decision = describe_from(lab, "172.16.0.1", RULESET_LOG_NO_RULE, IPPROTO_TCP, "203.0.113.1", 22);
        assert_int_equal(decision.reason, REASON_NO_NETWORK_RULE);
        assert_string_equal(decision.hint, "172.16.0.1 is under no cluster's sources");
        decision = describe_from(lab, "172.16.0.1", RULESET_LOG_FORBIDDEN, IPPROTO_TCP, "10.9.0.1", 22);
        assert_string_equal(decision.hint, "");
        decision = describe_from(lab, "172.16.0.1", RULESET_LOG_DENY_RULE, IPPROTO_TCP, "203.0.113.1", 22);
        assert_string_equal(decision.rule, "");
}

static void ipv6_has_what_ipv4_has(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, "  - { name: six, sources: ['fd00:1::/64'], cloud: AzurePublicCloud, location: westeurope,"
                             " snat_pool: main, deny: ['tcp [2001:4860::/32]:22'] }\n");
        struct decision decision =
                describe_from(lab, "fd00:1::7", RULESET_LOG_DENY_RULE, IPPROTO_TCP, "2001:4860::1", 22);
        assert_string_equal(decision.cluster, "six");
        assert_string_equal(decision.feature, "deny");
        assert_int_equal(decision.client.address.family, AF_INET6);
        assert_int_equal(decision.original.address.family, AF_INET6);
        decision = describe_from(lab, "fd00:1::7", RULESET_LOG_NO_RULE, IPPROTO_UDP, "2001:4860::1", 53);
        assert_int_equal(decision.reason, REASON_DNS_BYPASS);
}

static void a_packet_without_ports_has_none_in_its_record(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_GRE, "203.0.113.1", 0);
        assert_int_equal(decision.reason, REASON_NO_NETWORK_RULE);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_IP);
        assert_int_equal(decision.ip_protocol, IPPROTO_GRE);
        assert_int_equal(decision.client.port, 0);
        assert_int_equal(decision.destination.port, 0);
        assert_string_equal(decision.hint, "");
}

/* A later fragment of a datagram, or port 0 itself: the policy would take it for any port, and a rule cannot name it. */
static void port_0_is_taken_for_no_other_port(void **state)
{
        static const char *const destinations[] = { "203.0.113.3", "203.0.113.9", "198.51.100.1" };
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        for (size_t i = 0; i < ARRAY_SIZE(destinations); i++) {
                struct decision decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, destinations[i], 0);
                assert_int_equal(decision.reason, REASON_NO_NETWORK_RULE);
                assert_string_equal(decision.hint, "");
                decision = describe(lab, RULESET_LOG_DENY_RULE, IPPROTO_UDP, destinations[i], 0);
                assert_string_equal(decision.rule, "");
        }
}

static void quic_that_no_rule_allows_is_quic_with_what_its_hello_says(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe_quic(lab, RULESET_LOG_NO_RULE, "web.com", 443);
        assert_int_equal(decision.reason, REASON_QUIC);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_QUIC);
        assert_string_equal(decision.fqdn.text, "web.com");
        assert_string_equal(decision.alpn, "h3");
        assert_true(decision.has_tls);
        assert_true(decision.ech);
        assert_string_equal(decision.hint, "over TCP it is allowed, by feature 'allow': clients fall back to it");
        assert_string_equal(describe_quic(lab, RULESET_LOG_NO_RULE, "mcr.microsoft.com", 443).hint,
                            "over TCP it is allowed, by feature 'core': clients fall back to it");
}

static void quic_is_told_what_tcp_would_be_refused_for(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "monitor.allow", "https *.monitor.com:443 required data\n");
        policy_lab_load(lab, RULES);
        assert_string_equal(describe_quic(lab, RULESET_LOG_NO_RULE, "x.monitor.com", 443).hint,
                            "allowed by feature 'monitor', not enabled for cluster 'prod'");
        assert_string_equal(describe_quic(lab, RULESET_LOG_NO_RULE, "web.com", 8443).hint,
                            "this cluster allows it as https port 443");
        assert_string_equal(describe_quic(lab, RULESET_LOG_NO_RULE, "nowhere.com", 443).hint, "");
        assert_string_equal(describe_quic(lab, RULESET_LOG_NO_RULE, "bad.com", 443).hint, "");
}

static void quic_without_a_hello_or_a_name_keeps_its_hint(void **state)
{
        struct policy_lab *lab = *state;
        struct decision decision;

        policy_lab_load(lab, RULES);
        decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.1", 443);
        packet_decision_note_quic(lab->policy, NULL, &decision);
        assert_int_equal(decision.reason, REASON_QUIC);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_QUIC);
        assert_false(decision.has_tls);
        assert_string_equal(decision.hint, "an address is allowed by a network rule only: udp [203.0.113.1]:443");
        decision = describe_quic(lab, RULESET_LOG_NO_RULE, "", 443);
        assert_int_equal(decision.reason, REASON_QUIC);
        assert_int_equal(decision.fqdn.length, 0);
        assert_true(decision.has_tls);
        assert_string_equal(decision.hint, "an address is allowed by a network rule only: udp [203.0.113.1]:443");
}

/* refused_packets tells a waiting record its name when the hello is whole. */
static void a_name_may_come_later(void **state)
{
        static struct client_hello hello;
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe(lab, RULESET_LOG_NO_RULE, IPPROTO_UDP, "203.0.113.1", 443);
        packet_decision_note_quic(lab->policy, NULL, &decision);
        hello.server_name = name_of("web.com");
        packet_decision_note_quic(lab->policy, &hello, &decision);
        assert_int_equal(decision.reason, REASON_QUIC);
        assert_string_equal(decision.fqdn.text, "web.com");
        assert_string_equal(decision.hint, "over TCP it is allowed, by feature 'allow': clients fall back to it");
}

static void quic_refused_for_something_else_keeps_that_reason(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, RULES);
        struct decision decision = describe_quic(lab, RULESET_LOG_DENY_RULE, "web.com", 5000);
        assert_int_equal(decision.reason, REASON_DENY_RULE);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_QUIC);
        assert_string_equal(decision.fqdn.text, "web.com");
        assert_string_equal(decision.feature, "deny");
        assert_string_equal(decision.hint, "");
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(each_prefix_has_its_reason),
                LAB_TEST(a_prefix_that_is_not_ours_is_no_record),
                LAB_TEST(a_record_says_who_where_to_and_of_which_cluster),
                LAB_TEST(icmp_of_either_family_that_no_rule_allows_is_icmp),
                LAB_TEST(other_dns_servers_are_a_bypass_over_udp_and_tcp),
                LAB_TEST(a_dns_bypass_s_hint_names_the_listener_or_how_to_get_one),
                LAB_TEST(a_deny_rule_is_named_with_its_place),
                LAB_TEST(a_deny_rule_that_is_gone_is_not_named),
                LAB_TEST(a_packet_without_a_rule_is_told_which_one_would_allow_it),
                LAB_TEST(forbidden_and_platform_addresses_are_explained),
                LAB_TEST(a_source_in_no_cluster_has_none),
                LAB_TEST(ipv6_has_what_ipv4_has),
                LAB_TEST(a_packet_without_ports_has_none_in_its_record),
                LAB_TEST(port_0_is_taken_for_no_other_port),
                LAB_TEST(quic_that_no_rule_allows_is_quic_with_what_its_hello_says),
                LAB_TEST(quic_is_told_what_tcp_would_be_refused_for),
                LAB_TEST(quic_without_a_hello_or_a_name_keeps_its_hint),
                LAB_TEST(a_name_may_come_later),
                LAB_TEST(quic_refused_for_something_else_keeps_that_reason),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
