#include <errno.h>

#include "policy_lab.h"

#define HTTPS POLICY_PROTOCOL_HTTPS
#define HTTP POLICY_PROTOCOL_HTTP
#define TCP POLICY_PROTOCOL_TCP
#define UDP POLICY_PROTOCOL_UDP

static void assert_allowed(const struct policy_verdict verdict, const char *feature, const char *rule_text)
{
        assert_int_equal(verdict.action, POLICY_ALLOW);
        assert_int_equal(verdict.reason, REASON_COMPLETED);
        assert_string_equal(verdict.feature, feature);
        assert_string_equal(verdict.rule_text, rule_text);
        assert_string_equal(verdict.hint, "");
}

static void assert_denied(const struct policy_verdict verdict, enum reason reason)
{
        assert_int_equal(verdict.action, POLICY_DENY);
        assert_string_equal(reason_row(verdict.reason)->text, reason_row(reason)->text);
        if (reason == REASON_DENY_RULE)
                return;
        assert_null(verdict.feature);
        assert_null(verdict.rule_file);
        assert_string_equal(verdict.rule_text, "");
}

static void core_is_on_and_its_location_filled_in(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, "c.hcp.westeurope.azmk8s.io", 443);
        assert_allowed(verdict, "core", "https *.hcp.westeurope.azmk8s.io:443");
        assert_int_equal(verdict.rule_line, 2);
        assert_non_null(strstr(verdict.rule_file, "/core.allow"));
        assert_false(verdict.by_network_rule);
        assert_denied(policy_lab_ask(lab, HTTPS, "c.hcp.northeurope.azmk8s.io", 443), REASON_NO_RULE);
        assert_denied(policy_lab_ask(lab, HTTPS, "hcp.westeurope.azmk8s.io", 443), REASON_NO_RULE);
}

static void protocol_and_port_must_fit(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_allowed(policy_lab_ask(lab, HTTPS, "mcr.microsoft.com", 443), "core", "https mcr.microsoft.com:443");
        assert_denied(policy_lab_ask(lab, HTTPS, "mcr.microsoft.com", 444), REASON_NO_RULE);
        assert_denied(policy_lab_ask(lab, HTTP, "mcr.microsoft.com", 443), REASON_NO_RULE);
        assert_denied(policy_lab_ask(lab, TCP, "mcr.microsoft.com", 443), REASON_NO_RULE);
        assert_denied(policy_lab_ask(lab, UDP, "mcr.microsoft.com", 443), REASON_NO_RULE);
}

static void rules_of_another_cloud_do_not_count(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_denied(policy_lab_ask(lab, HTTPS, "mcr.azure.cn", 443), REASON_NO_RULE);
        policy_lab_load(lab, "  - { name: cn, sources: [10.1.0.0/16], cloud: AzureChinaCloud, location: chinaeast2, "
                             "snat_pool: main }\n");
        assert_allowed(policy_lab_ask(lab, HTTPS, "mcr.azure.cn", 443), "core", "https mcr.azure.cn:443");
        assert_denied(policy_lab_ask(lab, HTTPS, "mcr.microsoft.com", 443), REASON_NO_RULE);
}

static void a_source_in_no_cluster_is_refused_even_when_a_cluster_audits(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    mode: audit\n");
        struct policy_verdict verdict = policy_lab_ask_from(lab, "10.2.0.1", HTTPS, "mcr.microsoft.com", 443);
        assert_denied(verdict, REASON_UNKNOWN_SOURCE);
        assert_non_null(strstr(verdict.hint, "10.2.0.1"));
}

static void the_longest_source_prefix_decides_the_cluster(void **state)
{
        struct policy_lab *lab = *state;
        struct net_address a = address_of("10.1.0.1"), b = address_of("10.1.2.1");
        struct net_address mapped = address_of("::ffff:10.1.2.1");

        policy_lab_load(lab, POLICY_LAB_CLUSTER "  - { name: team, sources: [10.1.2.0/24], cloud: AzurePublicCloud, "
                                                "location: westus, snat_pool: main }\n");
        assert_string_equal(policy_cluster_name(policy_cluster_of(lab->policy, &a)), "prod");
        assert_string_equal(policy_cluster_name(policy_cluster_of(lab->policy, &b)), "team");
        assert_string_equal(policy_cluster_name(policy_cluster_of(lab->policy, &mapped)), "team");
}

static void deny_rules_come_before_all_others(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['https *.github.com:443', 'tcp git.github.com:443', 'tcp [203.0.113.0/24]:22']\n"
                        "    deny: ['https gist.github.com:443', 'tcp [203.0.113.7]:22', 'tcp raw.github.com:443']\n");
        assert_allowed(policy_lab_ask(lab, HTTPS, "api.github.com", 443), "allow", "https *.github.com:443");
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, "gist.github.com", 443);
        assert_denied(verdict, REASON_DENY_RULE);
        assert_string_equal(verdict.feature, "deny");
        assert_string_equal(verdict.rule_text, "https gist.github.com:443");
        assert_int_equal(verdict.rule_line, 12);
        assert_denied(policy_lab_ask(lab, TCP, "203.0.113.7", 22), REASON_DENY_RULE);
        assert_int_equal(policy_lab_ask(lab, TCP, "203.0.113.8", 22).action, POLICY_ALLOW);
        /* A tcp rule denies whatever is spoken on its port. */
        assert_denied(policy_lab_ask(lab, HTTPS, "raw.github.com", 443), REASON_DENY_RULE);
}

static void an_https_deny_rule_leaves_other_protocols_alone(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['http a.com:80', 'https a.com:80', 'tcp b.com:443']\n"
                                                "    deny: ['https a.com:80', 'https b.com:443']\n");
        assert_int_equal(policy_lab_ask(lab, HTTP, "a.com", 80).action, POLICY_ALLOW);
        assert_denied(policy_lab_ask(lab, HTTPS, "a.com", 80), REASON_DENY_RULE);
        assert_int_equal(policy_lab_ask(lab, TCP, "b.com", 443).action, POLICY_ALLOW);
}

static void network_rules_allow_by_name_or_address_and_come_before_application_rules(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['https git.example.com:443', 'tcp *.example.com:443', 'tcp "
                        "[203.0.113.0/24,2001:db8::/32]:443,9000-9010', 'udp [203.0.113.0/24]:123']\n");
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, "git.example.com", 443);
        assert_allowed(verdict, "allow", "tcp *.example.com:443");
        assert_true(verdict.by_network_rule);
        assert_allowed(policy_lab_ask(lab, HTTPS, "203.0.113.9", 9005), "allow", "tcp [203.0.113.0/24]:443,9000-9010");
        assert_true(policy_lab_ask(lab, TCP, "2001:db8::7", 443).by_network_rule);
        assert_denied(policy_lab_ask(lab, TCP, "203.0.113.9", 9011), REASON_NO_RULE);
        assert_denied(policy_lab_ask(lab, TCP, "203.0.114.9", 443), REASON_NO_RULE);
        assert_int_equal(policy_lab_ask(lab, UDP, "203.0.113.9", 123).action, POLICY_ALLOW);
        assert_denied(policy_lab_ask(lab, TCP, "203.0.113.9", 123), REASON_NO_RULE);
        assert_denied(policy_lab_ask(lab, UDP, "203.0.113.9", 443), REASON_NO_RULE);
}

static void an_address_without_a_name_needs_a_network_rule(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https *.com:1-15000']\n");
        assert_denied(policy_lab_ask(lab, HTTPS, "203.0.113.9", 443), REASON_NO_RULE);
}

static void covering_is_about_addresses_and_tcp_only(void **state)
{
        struct policy_lab *lab = *state;
        struct net_address client = address_of("10.1.0.1");
        struct net_address inside = address_of("203.0.113.1"), outside = address_of("203.0.114.1");

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['tcp [203.0.113.0/24]:443', 'udp [203.0.114.0/24]:443', 'tcp a.com:443']\n");
        const struct policy_cluster *cluster = policy_cluster_of(lab->policy, &client);
        assert_true(policy_network_rule_covers(cluster, &inside, 443));
        assert_false(policy_network_rule_covers(cluster, &inside, 444));
        assert_false(policy_network_rule_covers(cluster, &inside, 0));
        assert_false(policy_network_rule_covers(cluster, &outside, 443));
        assert_false(policy_network_rule_covers(NULL, &inside, 443));
}

static void audit_lets_through_and_keeps_the_reason(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    mode: audit\n    deny: ['https gist.github.com:443']\n");
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, "example.com", 443);
        assert_int_equal(verdict.action, POLICY_AUDIT);
        assert_int_equal(verdict.reason, REASON_NO_RULE);
        verdict = policy_lab_ask(lab, HTTPS, "gist.github.com", 443);
        assert_int_equal(verdict.action, POLICY_AUDIT);
        assert_int_equal(verdict.reason, REASON_DENY_RULE);
        assert_int_equal(policy_lab_ask(lab, HTTPS, "mcr.microsoft.com", 443).action, POLICY_ALLOW);
}

static void the_api_server_is_allowed_by_its_name(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    api_server: Private.Contoso.example\n");
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, "private.contoso.example", 443);
        assert_allowed(verdict, "api_server", "https private.contoso.example:443");
        assert_int_equal(verdict.rule_line, 11);
        assert_denied(policy_lab_ask(lab, HTTPS, "x.private.contoso.example", 443), REASON_NO_RULE);
}

static void the_most_specific_rule_is_reported_then_the_first(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "wide.txt", "*.example.com\n*.com\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https *.com:443', 'https a.example.com:1-1000', 'https "
                                                "a.example.com:443', file:wide.txt]\n");
        assert_allowed(policy_lab_ask(lab, HTTPS, "a.example.com", 443), "allow", "https a.example.com:1-1000");
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, "b.example.com", 443);
        assert_allowed(verdict, "allow", "https *.example.com:443");
        assert_non_null(strstr(verdict.rule_file, "wide.txt"));
        verdict = policy_lab_ask(lab, HTTPS, "b.com", 443);
        assert_non_null(strstr(verdict.rule_file, "aksegressd.yaml"));
}

static void steered_ports_are_80_443_and_those_of_application_rules(void **state)
{
        struct policy_lab *lab = *state;
        const uint16_t expected[] = { 80, 443, 5000, 5001, 8443 };
        const uint16_t *ports;

        policy_lab_write(lab, "list.txt", "http a.com:5000-5001\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp a.com:9000', 'https b.com:8443', file:list.txt]\n");
        assert_int_equal(policy_steered_ports(lab->policy, &ports), ARRAY_SIZE(expected));
        assert_memory_equal(ports, expected, sizeof(expected));
        for (unsigned port = 0, next = 0; port <= UINT16_MAX; port++) {
                bool is_steered = next < ARRAY_SIZE(expected) && expected[next] == port;
                assert_int_equal(policy_is_steered(lab->policy, (uint16_t)port), is_steered);
                next += is_steered;
        }
}

static void references_keep_the_policy_alive(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        struct policy *second = policy_ref(lab->policy);
        policy_unref(second);
        assert_string_equal(policy_config(lab->policy)->clusters[0].name.text, "prod");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(core_is_on_and_its_location_filled_in),
                TEST(protocol_and_port_must_fit),
                TEST(rules_of_another_cloud_do_not_count),
                TEST(a_source_in_no_cluster_is_refused_even_when_a_cluster_audits),
                TEST(the_longest_source_prefix_decides_the_cluster),
                TEST(deny_rules_come_before_all_others),
                TEST(an_https_deny_rule_leaves_other_protocols_alone),
                TEST(network_rules_allow_by_name_or_address_and_come_before_application_rules),
                TEST(an_address_without_a_name_needs_a_network_rule),
                TEST(covering_is_about_addresses_and_tcp_only),
                TEST(audit_lets_through_and_keeps_the_reason),
                TEST(the_api_server_is_allowed_by_its_name),
                TEST(the_most_specific_rule_is_reported_then_the_first),
                TEST(steered_ports_are_80_443_and_those_of_application_rules),
                TEST(references_keep_the_policy_alive),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
