#include <errno.h>

#include "policy_lab.h"

static void every_broken_line_of_every_feature_file_is_reported(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "off.allow", "# fine\nhttps a.com\n\n  tcp *b.com:443\n");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER, "/off.allow:2:7: 'a.com' has no port");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER, "/off.allow:4:7: '*b.com' has '*' inside a label");
        assert_int_equal(diagnostics_error_count(lab->diagnostics), 2);
}

static void a_broken_file_of_an_enabled_feature_is_reported_once(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "on.allow", "https a.com\n");
        policy_lab_refuses(lab,
                           POLICY_LAB_CLUSTER
                           "    features: [on]\n"
                           "  - { name: b, sources: [10.9.0.0/16], cloud: AzurePublicCloud, location: "
                           "westus, snat_pool: main, features: [on] }\n",
                           "/on.allow:1:7");
        assert_int_equal(diagnostics_error_count(lab->diagnostics), 1);
}

static void the_first_directory_with_a_feature_wins(void **state)
{
        struct policy_lab *lab = *state;
        char path[256];

        snprintf(path, sizeof(path), "%s/second", lab->directory);
        assert_int_equal(mkdir(path, 0700), 0);
        policy_lab_write(lab, "web.allow", "https first.com:443\n");
        policy_lab_write(lab, "second/web.allow", "https second.com:443\n");
        policy_lab_write(lab, "second/more.allow", "https more.com:443\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [web]\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "first.com", 443).action, POLICY_ALLOW);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "second.com", 443).action, POLICY_DENY);
}

static void an_unknown_feature_is_told_with_the_nearest_name(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "monitor.allow", "https a.com:443\n");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    features: [moniter]\n",
                           "yaml:11:16: cluster 'prod': no feature 'moniter': did you mean 'monitor'?");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    features: [zzzzzzzz]\n",
                           "no directory of allowlist_dirs has zzzzzzzz.allow");
}

static void the_transparent_port_is_no_port_of_a_rule(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: [\"https a.com:15000-15002\"]\n",
                           "yaml:1:24: listen.transparent: port 15001 is also the port of an https or http rule");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: [\"https a.com:15000,15002\"]\n");
}

static void a_network_rule_that_works_is_no_warning(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab,
                        POLICY_LAB_CLUSTER "    allow: ['udp ntp.ubuntu.com:123', 'tcp a.com:22', 'tcp a.com:443', "
                                           "'https b.com:8443', 'tcp [203.0.113.9]:443,8443']\n");
        assert_int_equal(diagnostics_line_count(lab->diagnostics), 0);
}

static void a_missing_core_is_an_error(void **state)
{
        struct policy_lab *lab = *state;
        char path[256];

        snprintf(path, sizeof(path), "%s/core.allow", lab->directory);
        assert_int_equal(unlink(path), 0);
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER, "no feature 'core'");
}

static void a_file_with_a_strange_name_is_a_warning(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "Bad_Name.allow", "https broken\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_int_equal(diagnostics_line_count(lab->diagnostics), 1);
        assert_non_null(strstr(diagnostics_line(lab->diagnostics, 0), "Bad_Name.allow: warning: not read"));
}

static void a_required_rule_without_its_parameter_is_an_error_naming_all(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "vault.allow",
                         "cloud AzurePublicCloud\nhttps {vault_name}.vault.azure.net:443 required vault\n");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    features: [vault]\n",
                           "cluster 'prod': parameter 'vault_name' has no value, but feature 'vault' requires it");
        assert_non_null(strstr(diagnostics_line(lab->diagnostics, 0), "/vault.allow:2)"));
        assert_int_equal(diagnostics_error_count(lab->diagnostics), 1);
        policy_lab_load(lab, POLICY_LAB_CLUSTER); /* not enabled: not needed */
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [vault]\n    parameters: { vault_name: kv }\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "kv.vault.azure.net", 443).action, POLICY_ALLOW);
}

static void a_required_rule_of_another_cloud_needs_no_parameter(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "vault.allow",
                         "cloud AzureChinaCloud\nhttps {vault_name}.vault.azure.cn:443 required vault\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [vault]\n");
}

static void each_value_of_a_parameter_makes_a_rule(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "acr.allow", "https {registry}.{zone}.azurecr.io:443 conditional\n");
        policy_lab_load(lab,
                        POLICY_LAB_CLUSTER "    features: [acr]\n    parameters: { registry: [a, b], zone: [x, y] }\n");
        const char *const names[] = { "a.x.azurecr.io", "a.y.azurecr.io", "b.x.azurecr.io", "b.y.azurecr.io" };
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, names[i], 443).action, POLICY_ALLOW);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "c.x.azurecr.io", 443).action, POLICY_DENY);
}

static void prefixes_may_come_from_a_parameter(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "dns.allow", "udp [{custom_dns_ip}]:53 conditional\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    features: [dns]\n    parameters: { custom_dns_ip: [203.0.113.53, 2001:db8::/64] }\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_UDP, "203.0.113.53", 53).action, POLICY_ALLOW);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_UDP, "2001:db8::5", 53).action, POLICY_ALLOW);
        policy_lab_refuses(
                lab, POLICY_LAB_CLUSTER "    features: [dns]\n    parameters: { custom_dns_ip: dns.example.com }\n",
                "yaml:12:34: cluster 'prod': with parameter 'custom_dns_ip' filled in");
}

static void a_condition_switches_a_rule_on(void **state)
{
        struct policy_lab *lab = *state;
        const char *const off[] = { "", "    parameters: { wide: no }\n", "    parameters: { wide: 'false' }\n" };
        char clusters[512];

        policy_lab_write(lab, "acr.allow", "https *.blob.core.windows.net:443 required when=wide\n");
        for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
                snprintf(clusters, sizeof(clusters), "%s    features: [acr]\n%s", POLICY_LAB_CLUSTER, off[i]);
                policy_lab_load(lab, clusters);
                assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "a.blob.core.windows.net", 443).action,
                                 POLICY_DENY);
        }
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [acr]\n    parameters: { wide: yes }\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "a.blob.core.windows.net", 443).action,
                         POLICY_ALLOW);
}

static void a_parameter_that_no_rule_mentions_is_an_error(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "vault.allow", "https {vault_name}.vault.azure.net:443 optional\n");
        policy_lab_refuses(
                lab, POLICY_LAB_CLUSTER "    parameters: { vault_nam: kv }\n",
                "yaml:11:19: cluster 'prod': no rule knows the parameter 'vault_nam': did you mean 'vault_name'?");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    parameters: { location: x }\n", "remove this parameter");
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    parameters: { vault_name: kv }\n"); /* mentioned, though not used here */
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https {own}.com:443']\n    parameters: { own: kv }\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "kv.com", 443).action, POLICY_ALLOW);
}

static void an_entry_is_reported_where_it_stands_in_the_configuration(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow:\n      - https a.com:443\n      - https *b.com:443\n",
                           "yaml:13:15: '*b.com'");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    deny: [tcp a.com]\n", "yaml:11:16: 'a.com' has no port");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: ['# nothing']\n", "yaml:11:14: no rule");
        assert_int_equal(diagnostics_error_count(lab->diagnostics), 1);
}

static void lists_are_read_beside_the_configuration_and_shared(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "big.txt", "# names\r\nA.example\r\n*.b.example\nudp [203.0.113.0/24]:123\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: [file:big.txt]\n"
                                                "  - { name: two, sources: [10.9.0.0/16], cloud: AzureChinaCloud, "
                                                "location: chinaeast2, snat_pool: main, deny: [file:big.txt] }\n");
        struct policy_verdict verdict = policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "a.example", 443);
        assert_int_equal(verdict.action, POLICY_ALLOW);
        assert_string_equal(verdict.feature, "allow");
        assert_int_equal(verdict.rule_line, 2);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_UDP, "203.0.113.1", 123).action, POLICY_ALLOW);
        verdict = policy_lab_ask_from(lab, "10.9.0.1", POLICY_PROTOCOL_HTTPS, "x.b.example", 443);
        assert_int_equal(verdict.reason, REASON_DENY_RULE);
        assert_string_equal(verdict.feature, "deny");
}

static void a_list_with_parameters_and_clouds_is_each_clusters_own(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(
                lab, "list.txt",
                "cloud AzurePublicCloud\nhttps {location}.example:443\ncloud AzureChinaCloud\nhttps cn.example:443\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: [file:list.txt]\n"
                                                "  - { name: two, sources: [10.9.0.0/16], cloud: AzureChinaCloud, "
                                                "location: chinaeast2, snat_pool: main, allow: [file:list.txt] }\n");
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "westeurope.example", 443).action, POLICY_ALLOW);
        assert_int_equal(policy_lab_ask(lab, POLICY_PROTOCOL_HTTPS, "cn.example", 443).action, POLICY_DENY);
        assert_int_equal(policy_lab_ask_from(lab, "10.9.0.1", POLICY_PROTOCOL_HTTPS, "cn.example", 443).action,
                         POLICY_ALLOW);
}

static void a_broken_list_is_reported_once_however_many_clusters_use_it(void **state)
{
        struct policy_lab *lab = *state;
        const char *const texts[] = { "good.example\n*bad.example\n", "{location}.example\n*bad.example\n" };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                policy_lab_write(lab, "list.txt", texts[i]);
                policy_lab_refuses(lab,
                                   POLICY_LAB_CLUSTER
                                   "    allow: [file:list.txt, file:list.txt]\n"
                                   "  - { name: two, sources: [10.9.0.0/16], cloud: AzurePublicCloud, location: "
                                   "westus, snat_pool: main, allow: [file:list.txt] }\n",
                                   "/list.txt:2:1: '*bad.example'");
                assert_int_equal(diagnostics_error_count(lab->diagnostics), 1);
        }
}

static void a_list_that_cannot_be_read_is_an_error_at_its_entry(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: [file:none.txt]\n", "yaml:11:13: cannot read '");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: ['file:.']\n", "must be a file");
        assert_int_equal(diagnostics_error_count(lab->diagnostics), 1);
}

static void too_many_shapes_are_an_error_with_a_place(void **state)
{
        struct policy_lab *lab = *state;
        char text[16384] = "";

        for (unsigned stars = 1; stars < 128; stars++) {
                strcat(text, "https a");
                for (unsigned i = 0; i < 7; i++)
                        strcat(text, (stars >> i & 1) != 0 ? ".*" : ".b");
                strcat(text, ".com:443\n");
        }
        policy_lab_write(lab, "list.txt", text);
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: [file:list.txt]\n",
                           "/list.txt:65:1: too many different places of '*'");
}

/* Every kind of element that a broken configuration lacks, with a broken rule behind them. */
static void errors_of_rules_are_told_beside_those_of_values(void **state)
{
        struct policy_lab *lab = *state;
        char path[256], text[2048];
        struct policy *policy;

        policy_lab_write(lab, "off.allow", "https *b.com:443\n");
        snprintf(path, sizeof(path), "%s/broken.yaml", lab->directory);
        snprintf(text, sizeof(text),
                 "listen: { proxy: { address: 10.0.0.4, port: 3128 } }\n"
                 "allowlist_dirs: [., {}]\n"
                 "snat_pools: [{ name: main, addresses: [10.0.1.10, x] }]\n"
                 "clusters:\n%s"
                 "    features: [[], 'A B', off]\n"
                 "    parameters: { 'A B': c, ok: ['a b', 'c'], none: 'a b' }\n"
                 "    allow: [{}, tcp a.com]\n"
                 "    deny: [[]]\n"
                 "    api_server: 1.2.3.4\n"
                 "    private_destinations: [x]\n"
                 "  - { sources: [10.9.0.0/16] }\n",
                 POLICY_LAB_CLUSTER);
        policy_lab_write(lab, "broken.yaml", text);
        struct diagnostics *diagnostics = diagnostics_new();
        assert_int_equal(policy_read(path, diagnostics, &policy), -EINVAL);
        const char *const expected[] = { "off.allow:1:7:", "broken.yaml:12:21: 'a.com' has no port",
                                         "broken.yaml:10:16:" };
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
                bool found = false;
                for (size_t j = 0; j < diagnostics_line_count(diagnostics); j++)
                        found = found || strstr(diagnostics_line(diagnostics, j), expected[i]) != NULL;
                if (!found) {
                        diagnostics_print(diagnostics, stderr);
                        fail_msg("nothing says '%s'", expected[i]);
                }
        }
        diagnostics_free(diagnostics);
}

struct feature_note {
        const char *wanted;
        struct policy_feature_line line;
        char because[256];
};

static void note_feature(const struct policy_feature_line *line, void *context)
{
        struct feature_note *note = context;

        if (strcmp(line->feature, note->wanted) != 0)
                return;
        note->line = *line;
        snprintf(note->because, sizeof(note->because), "%s", line->inactive_because);
}

static void features_tell_what_is_inactive_and_why(void **state)
{
        struct policy_lab *lab = *state;
        struct feature_note on = { .wanted = "mixed" }, off = { .wanted = "other" };

        policy_lab_write(lab, "mixed.allow",
                         "https a.com:443\n"
                         "https {first}.com:443 conditional\n"
                         "https {first}.net:443 optional\n"
                         "https b.com:443 optional when=second\n"
                         "tcp tag:AzureMonitor:443 required\n");
        policy_lab_write(lab, "other.allow", "https c.com:443\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [mixed]\n");
        policy_features(lab->policy, note_feature, &on);
        policy_features(lab->policy, note_feature, &off);
        assert_true(on.line.enabled);
        assert_int_equal(on.line.active_rules, 1);
        assert_int_equal(on.line.inactive_rules, 4);
        assert_string_equal(
                on.because,
                "parameter first has no value; parameter second is not set; service_tags is not configured");
        assert_false(off.line.enabled);
        assert_string_equal(off.because, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(every_broken_line_of_every_feature_file_is_reported),
                TEST(a_broken_file_of_an_enabled_feature_is_reported_once),
                TEST(the_first_directory_with_a_feature_wins),
                TEST(an_unknown_feature_is_told_with_the_nearest_name),
                TEST(the_transparent_port_is_no_port_of_a_rule),
                TEST(a_network_rule_that_works_is_no_warning),
                TEST(a_missing_core_is_an_error),
                TEST(a_file_with_a_strange_name_is_a_warning),
                TEST(a_required_rule_without_its_parameter_is_an_error_naming_all),
                TEST(a_required_rule_of_another_cloud_needs_no_parameter),
                TEST(each_value_of_a_parameter_makes_a_rule),
                TEST(prefixes_may_come_from_a_parameter),
                TEST(a_condition_switches_a_rule_on),
                TEST(a_parameter_that_no_rule_mentions_is_an_error),
                TEST(an_entry_is_reported_where_it_stands_in_the_configuration),
                TEST(lists_are_read_beside_the_configuration_and_shared),
                TEST(a_list_with_parameters_and_clouds_is_each_clusters_own),
                TEST(a_broken_list_is_reported_once_however_many_clusters_use_it),
                TEST(a_list_that_cannot_be_read_is_an_error_at_its_entry),
                TEST(too_many_shapes_are_an_error_with_a_place),
                TEST(errors_of_rules_are_told_beside_those_of_values),
                TEST(features_tell_what_is_inactive_and_why),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
