/* policy_each_service_of_name with deny rules: in which sets the addresses of a name belong. */
#include "policy/network_plan.h"
#include "policy_lab.h"

#define TEXT_SIZE 512

static void on_service(const struct network_service *service, void *context)
{
        char *text = context;

        assert_true(strlen(text) + strlen(service->label) + 2 < TEXT_SIZE);
        if (strstr(text, service->label) == NULL)
                strcat(strcat(text, service->label), " ");
}

static void assert_services_at(const struct policy_lab *lab, size_t cluster, const char *name_text,
                               const char *expected)
{
        const struct fqdn name = name_of(name_text);
        char text[TEXT_SIZE] = "";

        policy_each_service_of_name(lab->policy, policy_cluster_at(lab->policy, cluster), &name, on_service, text);
        assert_string_equal(text, expected);
}

static void assert_services(const struct policy_lab *lab, const char *name, const char *expected)
{
        assert_services_at(lab, 0, name, expected);
}

static void a_denied_name_s_addresses_belong_nowhere(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['tcp *.a.com:22', 'udp b.com:123']\n"
                        "    deny: ['tcp bad.a.com:22', 'udp b.com:123', 'tcp *.worse.a.com:1-65535']\n");
        assert_services(lab, "good.a.com", "tcp.22 ");
        assert_services(lab, "bad.a.com", "");
        assert_services(lab, "b.com", "");
        assert_services(lab, "x.worse.a.com", "");
        assert_services(lab, "worse.a.com", "tcp.22 "); /* *.name is not name */
        assert_services(lab, "x.bad.a.com", "tcp.22 ");
}

/* A set is for all of its ports, so a name that lacks one of them cannot be in it. */
static void one_denied_port_of_a_service_is_enough(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp a.com:22-24', 'tcp a.com:30', 'tcp b.com:22-24,40']\n"
                                                "    deny: ['tcp a.com:24', 'tcp b.com:25-39', 'tcp b.com:21']\n");
        assert_services(lab, "a.com", "tcp.30 ");
        assert_services(lab, "b.com", "tcp.22-24_40 ");
}

static void any_of_several_deny_rules_is_enough(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['tcp x.a.com:22', 'tcp x.a.com:23', 'tcp x.b.com:22']\n"
                        "    deny: ['tcp x.a.com:50', 'tcp *.a.com:22', 'tcp x.b.com:22', 'tcp *.b.com:50']\n");
        assert_services(lab, "x.a.com", "tcp.23 ");
        assert_services(lab, "x.b.com", "");
}

static void a_deny_rule_is_for_its_own_protocol(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp a.com:22', 'udp a.com:22', 'tcp b.com:2222']\n"
                                                "    deny: ['udp a.com:22', 'https b.com:2222', 'http b.com:2222']\n");
        assert_services(lab, "a.com", "tcp.22 ");
        assert_services(lab, "b.com", "tcp.2222 "); /* what it speaks there is the proxy's to see */
}

/* The ruleset's own deny sets are for those: an address does not say whose it was. */
static void a_deny_rule_about_addresses_is_not_about_names(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp a.com:22']\n"
                                                "    deny: ['tcp [0.0.0.0/0]:22', 'tcp [::/0]:22']\n");
        assert_services(lab, "a.com", "tcp.22 ");
}

static void the_api_server_can_be_denied(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    api_server: api.com\n    deny: ['udp api.com:443']\n");
        assert_services(lab, "api.com", "tcp.443 ");
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    api_server: api.com\n    deny: ['tcp *.com:443']\n");
        assert_services(lab, "api.com", "");
}

static void each_cluster_has_its_own(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp a.com:22']\n    deny: ['tcp b.com:22']\n"
                                                "  - { name: second, sources: [10.2.0.0/16], cloud: AzurePublicCloud,"
                                                " location: westeurope, snat_pool: main, mode: audit,"
                                                " allow: ['tcp b.com:22'], deny: ['tcp a.com:22'] }\n");
        assert_services_at(lab, 0, "a.com", "tcp.22 ");
        assert_services_at(lab, 0, "b.com", "");
        assert_services_at(lab, 1, "a.com", "");
        assert_services_at(lab, 1, "b.com", "tcp.22 ");
}

/* The other definition of the same: a service has a name's addresses when every port of it would be allowed by name. */
static void services_agree_with_decisions_port_by_port(void **state)
{
        static const char *const names[] = { "a.com", "b.a.com", "c.b.a.com", "d.com" };
        static const char *const patterns[] = { "a.com", "*.a.com", "b.a.com", "*.b.a.com", "d.com" };
        struct policy_lab *lab = *state;
        unsigned seed = (unsigned)getpid();

        print_message("seed %u\n", seed);
        srandom(seed);
        for (size_t round = 0; round < 60; round++) {
                char text[1024], expected[TEXT_SIZE];
                unsigned deny_first = 2000 + (unsigned)random() % 12, deny_length = (unsigned)random() % 6;
                const char *allowed = patterns[(size_t)random() % ARRAY_SIZE(patterns)];
                const char *denied = patterns[(size_t)random() % ARRAY_SIZE(patterns)];
                snprintf(text, sizeof(text),
                         POLICY_LAB_CLUSTER "    allow: ['tcp %s:2000-2003', 'tcp %s:2006,2008', 'udp %s:2010']\n"
                                            "    deny: ['%s %s:%u-%u']\n",
                         allowed, allowed, allowed, random() % 2 == 0 ? "tcp" : "udp", denied, deny_first,
                         deny_first + deny_length + 1);
                policy_lab_load(lab, text);
                const struct network_services *services =
                        policy_services_of(lab->policy, policy_cluster_at(lab->policy, 0));
                for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                        expected[0] = '\0';
                        for (size_t j = 0; j < services->count; j++) {
                                bool all = true;
                                for (uint16_t port = 1990; port < 2030; port++)
                                        if (port_set_contains(&services->items[j].ports, port))
                                                all &= policy_lab_ask(lab, services->items[j].protocol, names[i], port)
                                                               .action == POLICY_ALLOW;
                                if (all)
                                        on_service(&services->items[j], expected);
                        }
                        assert_services(lab, names[i], expected);
                }
        }
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(a_denied_name_s_addresses_belong_nowhere),
                LAB_TEST(one_denied_port_of_a_service_is_enough),
                LAB_TEST(any_of_several_deny_rules_is_enough),
                LAB_TEST(a_deny_rule_is_for_its_own_protocol),
                LAB_TEST(a_deny_rule_about_addresses_is_not_about_names),
                LAB_TEST(the_api_server_can_be_denied),
                LAB_TEST(each_cluster_has_its_own),
                LAB_TEST(services_agree_with_decisions_port_by_port),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
