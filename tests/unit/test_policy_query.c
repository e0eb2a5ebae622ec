/* Which names a client may have resolved. */
#include "policy_lab.h"

static struct policy_verdict query_from(const struct policy_lab *lab, const char *source, const char *name_text)
{
        struct net_address client = address_of(source);
        struct fqdn name = name_of(name_text);
        struct policy_verdict verdict;

        memset(&verdict, 0xa5, sizeof(verdict)); /* policy_decide_query writes all of it */
        policy_decide_query(lab->policy, policy_cluster_of(lab->policy, &client), &name, &verdict);
        return verdict;
}

static void assert_allowed(const struct policy_lab *lab, const char *name, const char *feature, const char *rule_text)
{
        struct policy_verdict verdict = query_from(lab, "10.1.0.1", name);

        assert_string_equal(verdict.rule_text, rule_text);
        assert_int_equal(verdict.action, POLICY_ALLOW);
        assert_int_equal(verdict.reason, REASON_COMPLETED);
        assert_string_equal(verdict.feature, feature);
        assert_string_equal(verdict.hint, "");
}

static void assert_refused(const struct policy_lab *lab, const char *name, enum reason reason, const char *rule_text)
{
        struct policy_verdict verdict = query_from(lab, "10.1.0.1", name);

        assert_string_equal(verdict.rule_text, rule_text);
        assert_int_equal(verdict.action, POLICY_DENY);
        assert_int_equal(verdict.reason, reason);
}

static void a_name_of_any_allowed_rule_is_answered(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "names.list", "listed.com\nudp deep.listed.com:5000\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['https a.com:8443', 'http b.com:80', 'tcp c.com:22', 'udp d.com:123', "
                        "'file:names.list']\n    api_server: api.com\n");
        assert_allowed(lab, "mcr.microsoft.com", "core", "https mcr.microsoft.com:443");
        assert_allowed(lab, "a.com", "allow", "https a.com:8443");
        assert_allowed(lab, "b.com", "allow", "http b.com:80");
        assert_allowed(lab, "c.com", "allow", "tcp c.com:22");
        assert_allowed(lab, "d.com", "allow", "udp d.com:123");
        assert_allowed(lab, "listed.com", "allow", "https listed.com:443");
        assert_allowed(lab, "deep.listed.com", "allow", "udp deep.listed.com:5000");
        assert_allowed(lab, "api.com", "api_server", "https api.com:443");
        assert_refused(lab, "e.com", REASON_NO_RULE, "");
        assert_refused(lab, "sub.a.com", REASON_NO_RULE, "");
        assert_refused(lab, "com", REASON_NO_RULE, "");
}

static void a_wildcard_answers_names_below_it(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https *.a.com:443', 'tcp x.*.b.com:22']\n");
        assert_allowed(lab, "b.a.com", "allow", "https *.a.com:443");
        assert_allowed(lab, "c.b.a.com", "allow", "https *.a.com:443");
        assert_refused(lab, "a.com", REASON_NO_RULE, "");
        assert_allowed(lab, "x.y.b.com", "allow", "tcp x.*.b.com:22");
        assert_refused(lab, "y.x.b.com", REASON_NO_RULE, "");
        assert_allowed(lab, "prod.hcp.westeurope.azmk8s.io", "core", "https *.hcp.westeurope.azmk8s.io:443");
        assert_refused(lab, "prod.hcp.eastus.azmk8s.io", REASON_NO_RULE, "");
}

static void a_deny_rule_of_every_port_takes_a_name_back(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab,
                        POLICY_LAB_CLUSTER "    allow: ['https *.a.com:443', 'tcp a.com:22', 'udp b.com:123']\n"
                                           "    deny: ['https bad.a.com:443', 'tcp a.com:1-65535', 'udp b.com:123']\n");
        assert_refused(lab, "bad.a.com", REASON_DENY_RULE, "https bad.a.com:443");
        assert_refused(lab, "a.com", REASON_DENY_RULE, "tcp a.com:1-65535");
        assert_refused(lab, "b.com", REASON_DENY_RULE, "udp b.com:123");
        assert_string_equal(query_from(lab, "10.1.0.1", "bad.a.com").feature, "deny");
        assert_allowed(lab, "good.a.com", "allow", "https *.a.com:443");
}

static void a_deny_rule_that_leaves_a_port_open_does_not(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['https a.com:443,8443', 'tcp b.com:22-24', 'https c.com:443', 'udp c.com:123', "
                        "'https d.com:443', 'http e.com:80']\n"
                        "    deny: ['https a.com:443', 'tcp b.com:22', 'https c.com:443', 'http d.com:443', "
                        "'https e.com:80']\n");
        assert_allowed(lab, "a.com", "allow", "https a.com:443,8443");
        assert_allowed(lab, "b.com", "allow", "tcp b.com:22-24");
        assert_allowed(lab, "c.com", "allow", "udp c.com:123");
        assert_allowed(lab, "d.com", "allow", "https d.com:443");
        assert_allowed(lab, "e.com", "allow", "http e.com:80");
}

/* The more specific rule may be the denied one. */
static void another_rule_s_port_is_enough(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https b.a.com:443', 'https *.a.com:8443']\n"
                                                "    deny: ['https *.a.com:443']\n");
        assert_allowed(lab, "b.a.com", "allow", "https *.a.com:8443");
}

static void rules_about_addresses_say_nothing_of_names(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp [0.0.0.0/0]:1-65535', 'tcp [::/0]:1-65535', "
                                                "'https a.com:443']\n    deny: ['tcp [0.0.0.0/0]:443']\n");
        assert_refused(lab, "b.com", REASON_NO_RULE, "");
        assert_allowed(lab, "a.com", "allow", "https a.com:443");
}

static void an_unknown_source_gets_no_answer(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "resolver: { forward_zones: { corp.com: [10.0.0.53] } }\n" POLICY_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    dns_filter: off\n");
        struct policy_verdict verdict = query_from(lab, "10.2.0.1", "mcr.microsoft.com");
        assert_int_equal(verdict.action, POLICY_DENY);
        assert_int_equal(verdict.reason, REASON_UNKNOWN_SOURCE);
        assert_null(verdict.feature);
        assert_int_equal(query_from(lab, "10.2.0.1", "a.corp.com").action, POLICY_DENY);
}

static void the_dns_filter_is_a_cluster_s_own_mode(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    dns_filter: audit\n    deny: ['https mcr.microsoft.com:443']\n"
                        "  - { name: open, sources: [10.2.0.0/16], cloud: AzurePublicCloud, location: westeurope,"
                        " snat_pool: main, dns_filter: off }\n"
                        "  - { name: audited, sources: [10.3.0.0/16], cloud: AzurePublicCloud, location: westeurope,"
                        " snat_pool: main, mode: audit, deny: ['https mcr.microsoft.com:443'] }\n");
        assert_int_equal(query_from(lab, "10.1.0.1", "no.com").action, POLICY_AUDIT);
        assert_int_equal(query_from(lab, "10.1.0.1", "no.com").reason, REASON_NO_RULE);
        assert_int_equal(query_from(lab, "10.1.0.1", "mcr.microsoft.com").action, POLICY_AUDIT);
        assert_int_equal(query_from(lab, "10.1.0.1", "mcr.microsoft.com").reason, REASON_DENY_RULE);
        assert_int_equal(query_from(lab, "10.1.0.1", "x.hcp.westeurope.azmk8s.io").action, POLICY_ALLOW);
        assert_int_equal(query_from(lab, "10.2.0.1", "no.com").action, POLICY_ALLOW);
        assert_int_equal(query_from(lab, "10.2.0.1", "no.com").reason, REASON_COMPLETED);
        assert_null(query_from(lab, "10.2.0.1", "no.com").rule_file);
        /* Mode audit refuses nothing, a name no more than a connection. */
        assert_int_equal(query_from(lab, "10.3.0.1", "no.com").action, POLICY_AUDIT);
        assert_int_equal(query_from(lab, "10.3.0.1", "mcr.microsoft.com").action, POLICY_AUDIT);
        assert_int_equal(query_from(lab, "10.3.0.1", "mcr.microsoft.com").reason, REASON_DENY_RULE);
}

static void names_of_a_forward_zone_need_no_rule(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "resolver: { forward_zones: { corp.com: [10.0.0.53], privatelink.b.net: [10.0.0.54] } "
                    "}\n" POLICY_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_allowed(lab, "corp.com", "forward_zones", "");
        assert_allowed(lab, "a.b.corp.com", "forward_zones", "");
        assert_allowed(lab, "x.privatelink.b.net", "forward_zones", "");
        assert_refused(lab, "notcorp.com", REASON_NO_RULE, "");
        assert_refused(lab, "b.net", REASON_NO_RULE, "");
        assert_refused(lab, "com", REASON_NO_RULE, "");
}

static void a_refusal_says_what_would_have_allowed_it(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "monitor.allow",
                         "https *.ods.opinsights.azure.com:443 required data\n"
                         "udp ntp.ubuntu.com:123 optional time\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_string_equal(query_from(lab, "10.1.0.1", "x.ods.opinsights.azure.com").hint,
                            "allowed by feature 'monitor', not enabled for cluster 'prod'");
        assert_non_null(strstr(query_from(lab, "10.1.0.1", "ntp.ubuntu.com").hint, "feature 'monitor'"));
        assert_string_equal(query_from(lab, "10.1.0.1", "nowhere.com").hint, "");
}

/* For who dials its addresses. Who asks for the name as TLS must speak TLS. */
static void the_api_server_s_tcp_rule_is_not_for_who_asks_by_name(void **state)
{
        struct policy_lab *lab = *state;
        struct policy_verdict verdict;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    api_server: api.com\n");
        verdict = policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "api.com", 443);
        assert_int_equal(verdict.action, POLICY_ALLOW);
        assert_false(verdict.by_network_rule);
        assert_string_equal(verdict.rule_text, "https api.com:443");
        assert_string_equal(verdict.feature, "api_server");
        verdict = policy_lab_ask(lab, POLICY_PROTOCOL_TCP, "api.com", 443);
        assert_int_equal(verdict.action, POLICY_ALLOW);
        assert_true(verdict.by_network_rule);
        assert_string_equal(verdict.rule_text, "tcp api.com:443");
        assert_string_equal(verdict.feature, "api_server");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTP, "api.com", 443).action, POLICY_DENY);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_UDP, "api.com", 443).action, POLICY_DENY);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_TCP, "api.com", 444).action, POLICY_DENY);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_TCP, "x.api.com", 443).action, POLICY_DENY);
}

static void a_deny_rule_takes_the_api_server_back(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    api_server: api.com\n    deny: ['tcp api.com:443']\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_TCP, "api.com", 443).reason, REASON_DENY_RULE);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "api.com", 443).reason, REASON_DENY_RULE);
        assert_refused(lab, "api.com", REASON_DENY_RULE, "tcp api.com:443");
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(a_name_of_any_allowed_rule_is_answered),
                LAB_TEST(a_wildcard_answers_names_below_it),
                LAB_TEST(a_deny_rule_of_every_port_takes_a_name_back),
                LAB_TEST(a_deny_rule_that_leaves_a_port_open_does_not),
                LAB_TEST(another_rule_s_port_is_enough),
                LAB_TEST(rules_about_addresses_say_nothing_of_names),
                LAB_TEST(an_unknown_source_gets_no_answer),
                LAB_TEST(the_dns_filter_is_a_cluster_s_own_mode),
                LAB_TEST(names_of_a_forward_zone_need_no_rule),
                LAB_TEST(a_refusal_says_what_would_have_allowed_it),
                LAB_TEST(the_api_server_s_tcp_rule_is_not_for_who_asks_by_name),
                LAB_TEST(a_deny_rule_takes_the_api_server_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
