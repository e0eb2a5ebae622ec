#include "policy/network_plan.h"

#include "policy_lab.h"
#include "service_tags_sample.h"

static const struct network_plan *plan_of(const struct policy_lab *lab)
{
        return policy_networks(lab->policy);
}

/* The only cluster's allowed service with this label; NULL: there is none. */
static const struct network_service *service(const struct network_services *services, const char *label)
{
        for (size_t i = 0; i < services->count; i++)
                if (strcmp(services->items[i].label, label) == 0)
                        return &services->items[i];
        return NULL;
}

/* "first-last" of each range. */
static void assert_ranges(const struct address_ranges *ranges, const char *expected)
{
        char text[512] = "", address[NET_ADDRESS_TEXT_SIZE];

        for (size_t i = 0; i < ranges->count; i++) {
                size_t used = strlen(text);
                snprintf(text + used, sizeof(text) - used, "%s%s-", i == 0 ? "" : " ",
                         net_address_format(&ranges->items[i].first, address));
                used = strlen(text);
                snprintf(text + used, sizeof(text) - used, "%s", net_address_format(&ranges->items[i].last, address));
        }
        assert_string_equal(text, expected);
}

static void assert_names(const struct network_plan *plan, const char *expected)
{
        char text[1024] = "";

        for (size_t i = 0; i < plan->name_count; i++) {
                if (i > 0)
                        strcat(text, " ");
                strcat(text, plan->names[i].text);
        }
        assert_string_equal(text, expected);
}

static void rules_of_one_protocol_and_ports_are_one_service(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(
                lab, POLICY_LAB_CLUSTER
                "    allow: ['udp [203.0.113.0/25]:123', 'udp [203.0.113.128/25]:123', 'udp a.com:123',"
                " 'udp [2001:db8::1]:123', 'udp [203.0.113.1]:124', 'tcp [203.0.113.2]:123', 'https b.com:123']\n");
        const struct network_services *allow = &plan_of(lab)->clusters[0].allow;
        assert_int_equal(allow->count, 3);
        const struct network_service *ntp = service(allow, "udp.123");
        assert_non_null(ntp);
        assert_int_equal(ntp->protocol, POLICY_PROTOCOL_UDP);
        assert_true(ntp->has_names);
        assert_ranges(&ntp->ranges[NETWORK_IPV4], "203.0.113.0-203.0.113.255");
        assert_ranges(&ntp->ranges[NETWORK_IPV6], "2001:db8::1-2001:db8::1");
        assert_false(service(allow, "udp.124")->has_names);
        assert_ranges(&service(allow, "tcp.123")->ranges[NETWORK_IPV4], "203.0.113.2-203.0.113.2");
        assert_ptr_equal(network_services_find(allow, POLICY_PROTOCOL_UDP, &ntp->ports), ntp);
        assert_ptr_equal(network_services_find(allow, POLICY_PROTOCOL_TCP, &ntp->ports), service(allow, "tcp.123"));
        assert_null(network_services_find(&plan_of(lab)->clusters[0].deny, POLICY_PROTOCOL_UDP, &ntp->ports));
}

static void names_of_deny_rules_and_of_application_rules_are_not_resolved(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(
                lab, POLICY_LAB_CLUSTER
                "    allow: ['udp b.com:123', 'tcp a.com:22', 'tcp b.com:22', 'https c.com:443', 'tcp *.d.com:22',"
                " 'tcp e.*.com:22']\n    deny: ['tcp f.com:22', 'tcp [203.0.113.1]:22']\n    api_server: g.com\n"
                "  - { name: second, sources: [10.2.0.0/16], cloud: AzurePublicCloud, location: westeurope,"
                " snat_pool: main, allow: ['udp b.com:123', 'udp h.com:123'] }\n");
        assert_names(plan_of(lab), "a.com b.com g.com h.com");
        const struct network_cluster *cluster = &plan_of(lab)->clusters[0];
        assert_int_equal(cluster->deny.count, 1);
        assert_false(cluster->deny.items[0].has_names);
        assert_ranges(&cluster->deny.items[0].ranges[NETWORK_IPV4], "203.0.113.1-203.0.113.1");
        assert_true(service(&cluster->allow, "tcp.22")->has_names);
        assert_true(service(&cluster->allow, "tcp.443")->has_names); /* api_server's */
        assert_null(service(&plan_of(lab)->clusters[1].allow, "tcp.443"));
}

static void a_service_is_forwarded_when_some_port_is_not_steered(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['https a.com:8443-8445', 'tcp [203.0.113.1]:443', 'tcp [203.0.113.1]:8443-8445',"
                        " 'tcp [203.0.113.1]:8443-8446', 'tcp [203.0.113.1]:80,443,8444', 'tcp [203.0.113.1]:1-65535',"
                        " 'udp [203.0.113.1]:443']\n");
        const struct network_services *allow = &plan_of(lab)->clusters[0].allow;
        assert_false(service(allow, "tcp.443")->forwarded);
        assert_false(service(allow, "tcp.8443-8445")->forwarded);
        assert_true(service(allow, "tcp.8443-8446")->forwarded);
        assert_false(service(allow, "tcp.80_443_8444")->forwarded);
        assert_true(service(allow, "tcp.1-65535")->forwarded);
        assert_true(service(allow, "udp.443")->forwarded);
}

static void sources_belong_to_the_longest_prefix_s_cluster(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "  - { name: inner, sources: [10.1.2.0/24, 'fd00:2::/64'], cloud: AzurePublicCloud, location: "
                        "westeurope, snat_pool: main, private_destinations: [10.8.0.0/16, 10.9.0.0/16, 'fd00:8::/64'],"
                        " mode: audit }\n");
        const struct network_plan *plan = plan_of(lab);
        const struct address_ranges *sources = &plan->sources[NETWORK_IPV4];
        assert_ranges(sources, "10.1.0.0-10.1.1.255 10.1.2.0-10.1.2.255 10.1.3.0-10.1.255.255");
        assert_int_equal(sources->items[0].number, 0);
        assert_int_equal(sources->items[1].number, 1);
        assert_int_equal(sources->items[2].number, 0);
        assert_ranges(&plan->sources[NETWORK_IPV6], "fd00:2::-fd00:2::ffff:ffff:ffff:ffff");
        assert_string_equal(plan->clusters[1].name, "inner");
        assert_int_equal(plan->clusters[0].mode, CONFIG_MODE_ENFORCE);
        assert_int_equal(plan->clusters[1].mode, CONFIG_MODE_AUDIT);
        assert_ranges(&plan->clusters[1].private_destinations[NETWORK_IPV4], "10.8.0.0-10.9.255.255");
        assert_ranges(&plan->clusters[0].private_destinations[NETWORK_IPV4], "");
}

/* The sets of the next start must have the names of this one's. */
static void long_port_lists_get_labels_that_fit_and_stay(void **state)
{
        static const char rules[] = POLICY_LAB_CLUSTER
                "    allow: ['udp a.com:10001,10003,10005,10007,10009,10011,10013', "
                "'udp a.com:10001,10003,10005,10007,10009,10011,10015', 'udp a.com:1-2,4-5,7-8,10-11,13-14,16-17']\n";
        char labels[3][NETWORK_LABEL_SIZE];
        struct policy_lab *lab = *state;

        for (unsigned round = 0; round < 2; round++) {
                policy_lab_load(lab, rules);
                const struct network_services *allow = &plan_of(lab)->clusters[0].allow;
                assert_int_equal(allow->count, 3);
                for (size_t i = 0; i < allow->count; i++) {
                        if (round > 0)
                                assert_string_equal(allow->items[i].label, labels[i]);
                        strcpy(labels[i], allow->items[i].label);
                        assert_int_equal(strspn(labels[i], "abcdefghijklmnopqrstuvwxyz0123456789._-"),
                                         strlen(labels[i]));
                }
        }
        assert_string_not_equal(labels[0], labels[1]);
        assert_memory_equal(labels[0], "udp.x", 5);
        assert_string_equal(labels[2], "udp.1-2_4-5_7-8_10-11_13-14_16-17");
        assert_int_equal(strlen("udp.1-2_4-5_7-8_10-11_13-14_16-17"), 33);
}

static void a_tag_s_prefixes_of_both_families_are_in_its_service(void **state)
{
        struct policy_lab *lab = *state;
        struct sample sample;

        sample_open(&sample, "Public");
        sample_tag(&sample, "AzureMonitor", "", "\"20.2.3.0/24\", \"20.2.4.0/24\", \"2603:1020:4::/48\"");
        char *text = sample_close(&sample);
        policy_lab_write(lab, "tags.json", text);
        free(text);
        lab->head = "service_tags: tags.json\n" POLICY_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp tag:AzureMonitor:1194', 'udp [20.2.4.128/25]:1194']\n"
                                                "    deny: ['udp tag:AzureMonitor:1195']\n");
        const struct network_cluster *cluster = &plan_of(lab)->clusters[0];
        assert_ranges(&service(&cluster->allow, "udp.1194")->ranges[NETWORK_IPV4], "20.2.3.0-20.2.4.255");
        assert_ranges(&service(&cluster->allow, "udp.1194")->ranges[NETWORK_IPV6],
                      "2603:1020:4::-2603:1020:4:ffff:ffff:ffff:ffff:ffff");
        assert_ranges(&service(&cluster->deny, "udp.1195")->ranges[NETWORK_IPV4], "20.2.3.0-20.2.4.255");
        assert_false(service(&cluster->allow, "udp.1194")->has_names);
}

static void on_service(const struct network_service *found, void *context)
{
        char *text = context;

        if (strstr(text, found->label) == NULL)
                strcat(strcat(text, found->label), " ");
}

static void assert_services_of(const struct policy_lab *lab, const char *name_text, const char *expected)
{
        const struct fqdn name = name_of(name_text);
        char text[512] = "";

        policy_each_service_of_name(lab->policy, policy_cluster_at(lab->policy, 0), &name, on_service, text);
        assert_string_equal(text, expected);
}

static void a_name_s_addresses_belong_into_each_service_that_is_about_it(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_write(lab, "names.list", "tcp c.a.com:24\nudp *.a.com:25\n");
        policy_lab_load(lab, POLICY_LAB_CLUSTER
                        "    allow: ['tcp a.com:22', 'tcp *.a.com:23', 'https a.com:8443', 'udp [203.0.113.1]:123',"
                        " 'file:names.list']\n    deny: ['tcp b.com:26', 'tcp a.com:27']\n    api_server: api.com\n");
        assert_services_of(lab, "a.com", "tcp.22 ");
        assert_services_of(lab, "b.a.com", "tcp.23 udp.25 ");
        assert_services_of(lab, "c.a.com", "tcp.23 tcp.24 udp.25 ");
        assert_services_of(lab, "b.com", "");
        assert_services_of(lab, "api.com", "tcp.443 ");
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(rules_of_one_protocol_and_ports_are_one_service),
                LAB_TEST(names_of_deny_rules_and_of_application_rules_are_not_resolved),
                LAB_TEST(a_service_is_forwarded_when_some_port_is_not_steered),
                LAB_TEST(sources_belong_to_the_longest_prefix_s_cluster),
                LAB_TEST(long_port_lists_get_labels_that_fit_and_stay),
                LAB_TEST(a_tag_s_prefixes_of_both_families_are_in_its_service),
                LAB_TEST(a_name_s_addresses_belong_into_each_service_that_is_about_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
