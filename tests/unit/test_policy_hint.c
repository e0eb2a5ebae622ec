#include <errno.h>

#include "policy_lab.h"

static void assert_hint(const struct policy_lab *lab, enum policy_protocol protocol, const char *host, uint16_t port,
                        const char *hint)
{
        struct policy_verdict verdict = policy_lab_ask(lab, protocol, host, port);

        assert_int_equal(verdict.action, POLICY_DENY);
        assert_string_equal(verdict.hint, hint);
}

#define HTTPS POLICY_PROTOCOL_HTTPS
#define HTTP POLICY_PROTOCOL_HTTP
#define TCP POLICY_PROTOCOL_TCP

static void a_feature_that_is_off_is_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "monitor.allow", "https *.ods.opinsights.azure.com:443 required data\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(lab, HTTPS, "w.ods.opinsights.azure.com", 443,
                    "allowed by feature 'monitor', not enabled for cluster 'prod'");
        assert_hint(lab, HTTPS, "w.ods.opinsights.azure.com", 8443,
                    "feature 'monitor', not enabled for cluster 'prod', allows it as https port 443");
        assert_hint(lab, HTTPS, "ods.opinsights.azure.com", 443, "");
        assert_hint(lab, HTTPS, "example.com", 443, "");
}

static void a_missing_parameter_is_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "secrets-store-csi.allow", "https {vault_name}.vault.azure.net:443 conditional\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [secrets-store-csi]\n");
        assert_hint(lab, HTTPS, "kv.vault.azure.net", 443,
                    "feature 'secrets-store-csi' would allow it with parameter 'vault_name'");
        assert_hint(lab, HTTPS, "a.kv.vault.azure.net", 443, "");
        policy_lab_load(lab,
                        POLICY_LAB_CLUSTER "    features: [secrets-store-csi]\n    parameters: { vault_name: mine }\n");
        assert_hint(lab, HTTPS, "kv.vault.azure.net", 443,
                    "feature 'secrets-store-csi' would allow it with parameter 'vault_name' listing 'kv'");
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(
                lab, HTTPS, "kv.vault.azure.net", 443,
                "allowed by feature 'secrets-store-csi' with parameter 'vault_name', not enabled for cluster 'prod'");
}

static void of_two_features_the_enabled_one_is_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "a-first.allow", "https {vault_name}.vault.azure.net:443 conditional\n");
        policy_lab_write(lab, "b-second.allow", "https {vault_name}.vault.azure.net:443 conditional\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [b-second]\n");
        assert_hint(lab, HTTPS, "kv.vault.azure.net", 443,
                    "feature 'b-second' would allow it with parameter 'vault_name'");
}

static void a_condition_that_is_not_set_is_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "acr.allow", "https *.blob.core.windows.net:443 conditional when=wide\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [acr]\n");
        assert_hint(lab, HTTPS, "x.blob.core.windows.net", 443, "feature 'acr' would allow it with parameter 'wide'");
}

static void another_location_is_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(lab, HTTPS, "c.hcp.northeurope.azmk8s.io", 443,
                    "allowed for location 'northeurope'; cluster 'prod' is in 'westeurope'");
}

static void what_two_changes_would_allow_gives_no_hint(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "ext.allow",
                         "https {location}.dp.example.com:443\nhttps {registry}.{location}.azurecr.io:443 optional\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(lab, HTTPS, "westeurope.dp.example.com", 443,
                    "allowed by feature 'ext', not enabled for cluster 'prod'");
        assert_hint(lab, HTTPS, "northeurope.dp.example.com", 443, "");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [ext]\n");
        assert_hint(lab, HTTPS, "northeurope.dp.example.com", 443,
                    "allowed for location 'northeurope'; cluster 'prod' is in 'westeurope'");
        assert_hint(lab, HTTPS, "contoso.westeurope.azurecr.io", 443,
                    "feature 'ext' would allow it with parameter 'registry'");
        assert_hint(lab, HTTPS, "contoso.northeurope.azurecr.io", 443, "");
}

static void a_whole_destination_of_a_parameter_gives_no_hint(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "flux.allow", "https {git_host}:443 conditional\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [flux]\n");
        assert_hint(lab, HTTPS, "evil.example", 443, "");
        assert_hint(lab, HTTPS, "evil", 443, "");
}

static void another_port_or_protocol_of_this_cluster_is_named(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab,
                        POLICY_LAB_CLUSTER "    allow: ['tcp [203.0.113.0/24]:22', 'https *.example.com:443,8443']\n");
        assert_hint(lab, HTTP, "mcr.microsoft.com", 80, "this cluster allows it as https port 443");
        assert_hint(lab, TCP, "a.example.com", 443, "this cluster allows it as https port 443,8443");
        assert_hint(lab, TCP, "203.0.113.1", 23, "this cluster allows it as tcp port 22");
}

static void the_name_above_a_wildcard_is_told_so(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https *.example.com:443']\n");
        assert_hint(lab, HTTPS, "example.com", 443, "'*.example.com' is allowed, which does not cover the name itself");
        assert_hint(lab, HTTP, "example.com", 80, "");
}

static void an_address_is_told_which_rule_it_needs(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(lab, HTTPS, "203.0.113.1", 443,
                    "an address is allowed by a network rule only: tcp [203.0.113.1]:443");
        assert_hint(lab, POLICY_PROTOCOL_UDP, "2001:db8::1", 123,
                    "an address is allowed by a network rule only: udp [2001:db8::1]:123");
}

static void for_a_platform_address_no_rule_is_proposed(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(lab, HTTPS, "169.254.169.254", 80,
                    "169.254.169.254 is an Azure platform address, which no setting opens");
        assert_hint(lab, TCP, "::ffff:168.63.129.16", 80,
                    "::ffff:168.63.129.16 is an Azure platform address, which no setting opens");
}

static void features_of_another_cloud_give_no_hint(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "cn.allow", "cloud AzureChinaCloud\nhttps only.azure.cn:443\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_hint(lab, HTTPS, "only.azure.cn", 443, "");
}

/* The longest name and the longest ports still end inside the hint. */
static void a_long_name_fits_its_hint(void **state)
{
        struct policy_lab *lab = *state;
        char name[FQDN_MAX_LENGTH + 1], entry[512];

        memset(name, 'a', sizeof(name));
        for (size_t i = 60; i < FQDN_MAX_LENGTH; i += 61)
                name[i] = '.';
        name[FQDN_MAX_LENGTH - 2] = '\0';
        snprintf(entry, sizeof(entry), "%s    allow: ['https *.%s:443']\n", POLICY_LAB_CLUSTER, name);
        policy_lab_load(lab, entry);
        struct policy_verdict verdict = policy_lab_ask(lab, HTTPS, name, 443);
        assert_memory_equal(verdict.hint, "'*.aaa", 6);
        assert_true(strlen(verdict.hint) < POLICY_HINT_SIZE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_feature_that_is_off_is_named),
                TEST(a_missing_parameter_is_named),
                TEST(of_two_features_the_enabled_one_is_named),
                TEST(a_condition_that_is_not_set_is_named),
                TEST(another_location_is_named),
                TEST(what_two_changes_would_allow_gives_no_hint),
                TEST(a_whole_destination_of_a_parameter_gives_no_hint),
                TEST(another_port_or_protocol_of_this_cluster_is_named),
                TEST(the_name_above_a_wildcard_is_told_so),
                TEST(an_address_is_told_which_rule_it_needs),
                TEST(for_a_platform_address_no_rule_is_proposed),
                TEST(features_of_another_cloud_give_no_hint),
                TEST(a_long_name_fits_its_hint),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
