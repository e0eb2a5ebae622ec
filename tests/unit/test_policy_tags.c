/* Service tags as a whole policy has them: from the configuration's file to the verdict. */
#include <errno.h>

#include "policy_lab.h"
#include "policy/explanation.h"
#include "service_tags_sample.h"

#define TAGS_HEAD "service_tags: tags.json\n" POLICY_LAB_HEAD /* one line more than without */

static void write_tags(struct policy_lab *lab, const char *cloud, const char *monitor)
{
        struct sample sample;

        sample_open(&sample, cloud);
        sample_tag(&sample, "AzureCloud", "", "\"20.0.0.0/8\"");
        sample_tag(&sample, "AzureCloud.centralfrance", "centralfrance", "\"20.1.0.0/16\"");
        sample_tag(&sample, "AzureCloud.westeurope", "westeurope", "\"20.2.0.0/16\", \"2603:1020::/32\"");
        sample_tag(&sample, "AzureMonitor", "", monitor);
        char *text = sample_close(&sample);
        policy_lab_write(lab, "tags.json", text);
        free(text);
}

static int open_lab(void **state)
{
        struct policy_lab *lab;
        int r = policy_lab_open(state);

        lab = *state;
        lab->head = TAGS_HEAD;
        write_tags(lab, "Public", "\"20.2.3.0/24\", \"2603:1020:4::/48\"");
        return r;
}

static void assert_allowed(const struct policy_lab *lab, enum policy_protocol protocol, const char *host, uint16_t port,
                           const char *rule_text)
{
        struct policy_verdict verdict = policy_lab_ask(lab, protocol, host, port);

        assert_string_equal(verdict.rule_text, rule_text);
        assert_int_equal(verdict.action, POLICY_ALLOW);
        assert_true(verdict.by_network_rule);
}

static void assert_denied(const struct policy_lab *lab, enum policy_protocol protocol, const char *host, uint16_t port)
{
        assert_int_equal(policy_lab_ask(lab, protocol, host, port).action, POLICY_DENY);
}

static void a_tag_allows_its_addresses_of_both_families(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab,
                        POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitor:443', 'udp tag:AzureMonitor:1194']\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443, "tcp tag:AzureMonitor:443");
        assert_allowed(lab, POLICY_PROTOCOL_HTTPS, "20.2.3.4", 443, "tcp tag:AzureMonitor:443");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "2603:1020:4::1", 443, "tcp tag:AzureMonitor:443");
        assert_allowed(lab, POLICY_PROTOCOL_UDP, "20.2.3.4", 1194, "udp tag:AzureMonitor:1194");
        assert_denied(lab, POLICY_PROTOCOL_TCP, "20.2.4.4", 443);
        assert_denied(lab, POLICY_PROTOCOL_TCP, "2603:1020:5::1", 443);
        assert_denied(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 1194);
        assert_denied(lab, POLICY_PROTOCOL_UDP, "20.2.3.4", 443);
}

static void an_address_of_a_tag_is_to_be_dialled_at_once(void **state)
{
        struct policy_lab *lab = *state;
        struct net_address source = address_of("10.1.0.1");
        struct net_address inside = address_of("20.2.3.4"), outside = address_of("20.3.3.4");

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitor:443']\n");
        const struct policy_cluster *cluster = policy_cluster_of(lab->policy, &source);
        assert_true(policy_network_rule_covers(cluster, &inside, 443));
        assert_false(policy_network_rule_covers(cluster, &inside, 80));
        assert_false(policy_network_rule_covers(cluster, &outside, 443));
}

static void a_tag_in_a_deny_rule_refuses(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp [20.0.0.0/8]:443']\n"
                                                "    deny: ['tcp tag:AzureMonitor:1-65535']\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.9.0.1", 443, "tcp [20.0.0.0/8]:443");
        struct policy_verdict verdict = policy_lab_ask(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443);
        assert_int_equal(verdict.reason, REASON_DENY_RULE);
        assert_string_equal(verdict.rule_text, "tcp tag:AzureMonitor:1-65535");
}

static void a_location_becomes_the_region_of_its_cluster(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "tunnel.allow", "tcp tag:AzureCloud.{location}:9000 required tunnel\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [tunnel]\n"
                                                "  - name: paris\n"
                                                "    sources: [10.2.0.0/16]\n"
                                                "    cloud: AzurePublicCloud\n"
                                                "    location: francecentral\n"
                                                "    snat_pool: main\n"
                                                "    features: [tunnel]\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.9.9", 9000, "tcp tag:AzureCloud.westeurope:9000");
        assert_denied(lab, POLICY_PROTOCOL_TCP, "20.1.9.9", 9000);
        struct policy_verdict verdict = policy_lab_ask_from(lab, "10.2.0.1", POLICY_PROTOCOL_TCP, "20.1.9.9", 9000);
        assert_string_equal(verdict.rule_text, "tcp tag:AzureCloud.centralfrance:9000");
        verdict = policy_lab_ask_from(lab, "10.2.0.1", POLICY_PROTOCOL_TCP, "20.2.9.9", 9000);
        assert_int_equal(verdict.action, POLICY_DENY);
}

static void a_prefix_is_reported_before_a_tag_and_a_narrow_tag_before_a_wide_one(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow:\n"
                                                "      - tcp tag:AzureCloud:443,8443\n"
                                                "      - tcp tag:AzureMonitor:443\n"
                                                "      - tcp [20.2.0.0/15]:8443\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443, "tcp tag:AzureMonitor:443");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.200.3.4", 443, "tcp tag:AzureCloud:443,8443");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 8443, "tcp [20.2.0.0/15]:8443");
        policy_lab_write(lab, "list.txt", "tcp [20.0.0.0/8]:443\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitor:443', 'file:list.txt']\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443, "tcp [20.0.0.0/8]:443");
}

static void a_shared_list_may_hold_tags(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "list.txt", "example.com\ntcp tag:AzureMonitor:443\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['file:list.txt']\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443, "tcp tag:AzureMonitor:443");
        policy_lab_write(lab, "list.txt", "example.com\ntcp tag:AzureMonitr:443\n");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: ['file:list.txt']\n",
                           "/list.txt:2:5: no service tag 'AzureMonitr' in '");
}

static void a_missing_tag_is_an_error_at_its_rule(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "tunnel.allow", "# tunnel\ntcp  tag:AzureCloud.{location}:9000 required tunnel\n");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitr:443']\n",
                           "aksegressd.yaml:12:18: no service tag 'AzureMonitr' in '");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitr:443']\n",
                           "/tags.json': did you mean 'AzureMonitor'");
        policy_lab_refuses(lab,
                           "  - { name: a, sources: [10.2.0.0/16], cloud: AzurePublicCloud, location: uksouth, "
                           "snat_pool: main, features: [tunnel] }\n"
                           "  - { name: b, sources: [10.3.0.0/16], cloud: AzurePublicCloud, location: uksouth, "
                           "snat_pool: main, features: [tunnel] }\n",
                           "/tunnel.allow:2:6: no service tag 'AzureCloud.uksouth' in '");
        assert_int_equal(diagnostics_error_count(lab->diagnostics), 1); /* once for both clusters */
}

static void the_file_must_be_of_the_clusters_cloud(void **state)
{
        struct policy_lab *lab = *state;

        write_tags(lab, "AzureGovernment", "\"20.2.3.0/24\"");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER, "aksegressd.yaml:1:15: service_tags: '");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER,
                           "' is the file of cloud 'AzureGovernment', but cluster 'prod' is in 'AzurePublicCloud'");
        policy_lab_load(lab, "  - { name: gov, sources: [10.1.0.0/16], cloud: AzureUSGovernment, "
                             "location: usgovvirginia, snat_pool: main, allow: ['tcp tag:AzureMonitor:443'] }\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443, "tcp tag:AzureMonitor:443");
}

static void a_file_that_is_not_there_or_broken_is_an_error(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "service_tags: none.json\n" POLICY_LAB_HEAD;
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER, "aksegressd.yaml:1:15: cannot read '");
        lab->head = TAGS_HEAD;
        policy_lab_write(lab, "tags.json", "{\r\n \"cloud\": \"Public\",\r\n \"values\": [ { ]\r\n}");
        policy_lab_refuses(lab, POLICY_LAB_CLUSTER, "/tags.json:3:16: not JSON: ");
}

static void loading_again_reads_the_file_again(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitor:443']\n");
        assert_denied(lab, POLICY_PROTOCOL_TCP, "20.77.0.1", 443);
        write_tags(lab, "Public", "\"20.77.0.0/24\"");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitor:443']\n");
        assert_allowed(lab, POLICY_PROTOCOL_TCP, "20.77.0.1", 443, "tcp tag:AzureMonitor:443");
        assert_denied(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443);
}

static void note_active(const struct policy_feature_line *line, void *context)
{
        struct policy_feature_line *copy = context;

        if (strcmp(line->feature, "mixed") == 0)
                *copy = *line;
}

static void with_the_file_tag_rules_are_active_and_without_it_they_are_not(void **state)
{
        struct policy_lab *lab = *state;
        struct policy_feature_line line = { 0 };

        policy_lab_write(lab, "mixed.allow",
                         "tcp tag:AzureMonitor:443 required\n"
                         "tcp tag:AzureCloud.{location}:9000 optional when=tunnel\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [mixed]\n");
        policy_features(lab->policy, note_active, &line);
        assert_int_equal(line.active_rules, 1);
        assert_int_equal(line.inactive_rules, 1);
        assert_string_equal(line.inactive_because, "parameter tunnel is not set");
        assert_int_equal(diagnostics_line_count(lab->diagnostics), 0); /* no warning either */
        lab->head = POLICY_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    features: [mixed]\n");
        policy_features(lab->policy, note_active, &line);
        assert_int_equal(line.active_rules, 0);
        assert_string_equal(line.inactive_because, "service_tags is not configured; parameter tunnel is not set");
        assert_denied(lab, POLICY_PROTOCOL_TCP, "20.2.3.4", 443);
}

static void an_explanation_names_the_tag(void **state)
{
        struct policy_lab *lab = *state;
        struct explanation_words words = { "10.1.0.1", "tcp", "20.2.3.4:443", NULL };
        struct explanation_question question;
        struct explanation explanation;
        char complaint[EXPLANATION_COMPLAINT_SIZE], text[EXPLANATION_TEXT_SIZE];

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp tag:AzureMonitor:443']\n");
        assert_int_equal(explanation_question_parse(&words, &question, complaint), 0);
        explanation_answer(lab->policy, &question, &explanation);
        (void)explanation_format_text(&explanation, text);
        assert_ptr_equal(strstr(text, "ALLOW "), text);
        assert_non_null(strstr(text, "aksegressd.yaml:12 \"tcp tag:AzureMonitor:443\""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_lab, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_tag_allows_its_addresses_of_both_families),
                TEST(an_address_of_a_tag_is_to_be_dialled_at_once),
                TEST(a_tag_in_a_deny_rule_refuses),
                TEST(a_location_becomes_the_region_of_its_cluster),
                TEST(a_prefix_is_reported_before_a_tag_and_a_narrow_tag_before_a_wide_one),
                TEST(a_shared_list_may_hold_tags),
                TEST(a_missing_tag_is_an_error_at_its_rule),
                TEST(the_file_must_be_of_the_clusters_cloud),
                TEST(a_file_that_is_not_there_or_broken_is_an_error),
                TEST(loading_again_reads_the_file_again),
                TEST(with_the_file_tag_rules_are_active_and_without_it_they_are_not),
                TEST(an_explanation_names_the_tag),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
