#include <errno.h>

#include "policy_lab.h"

static enum reason check(const struct policy_lab *lab, const char *address, uint16_t port, char hint[POLICY_HINT_SIZE])
{
        struct net_address client = address_of("10.1.0.1"), destination = address_of(address);

        return policy_permits_address(lab->policy, policy_cluster_of(lab->policy, &client), &destination, port, hint);
}

static void assert_check(const struct policy_lab *lab, const char *address, uint16_t port, enum reason reason)
{
        char hint[POLICY_HINT_SIZE] = "untouched";
        enum reason found = check(lab, address, port, hint);

        if (found != reason)
                fail_msg("%s port %u: %s, not %s", address, (unsigned)port, reason_row(found)->text,
                         reason_row(reason)->text);
        assert_int_equal(hint[0] == '\0', reason == REASON_COMPLETED);
}

static void only_public_addresses_are_permitted(void **state)
{
        struct policy_lab *lab = *state;
        const char *const forbidden[] = { "127.0.0.1",
                                          "10.2.0.1",
                                          "172.16.0.1",
                                          "192.168.1.1",
                                          "100.64.0.1",
                                          "169.254.1.1",
                                          "224.0.0.1",
                                          "0.0.0.0",
                                          "255.255.255.255",
                                          "::1",
                                          "::",
                                          "fe80::1",
                                          "fd00::1",
                                          "ff02::1",
                                          "::ffff:8.8.8.8",
                                          "64:ff9b::808:808",
                                          "2002:808:808::1",
                                          "2001:0:808:808::1" };

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_check(lab, "8.8.8.8", 443, REASON_COMPLETED);
        assert_check(lab, "2603:1020::1", 443, REASON_COMPLETED);
        for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
                assert_check(lab, forbidden[i], 443, REASON_FORBIDDEN_ADDRESS);
}

static void a_listed_prefix_is_permitted_and_its_neighbour_is_not(void **state)
{
        struct policy_lab *lab = *state;
        char hint[POLICY_HINT_SIZE];

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [10.2.0.0/16, 127.0.0.0/8, 'fd00::/8']\n");
        assert_check(lab, "10.2.3.4", 443, REASON_COMPLETED);
        assert_check(lab, "127.0.0.1", 443, REASON_COMPLETED);
        assert_check(lab, "fd12::1", 443, REASON_COMPLETED);
        assert_int_equal(check(lab, "10.3.0.1", 443, hint), REASON_FORBIDDEN_ADDRESS);
        assert_non_null(strstr(hint, "private_destinations"));
        assert_non_null(strstr(hint, "'prod'"));
        assert_non_null(strstr(hint, "10.3.0.1"));
}

static void platform_addresses_are_never_permitted_in_any_form(void **state)
{
        struct policy_lab *lab = *state;
        const char *const forms[] = { "168.63.129.16",        "169.254.169.254",          "::ffff:168.63.129.16",
                                      "::169.254.169.254",    "::ffff:0:169.254.169.254", "64:ff9b::169.254.169.254",
                                      "2002:a9fe:a9fe::1",    "2001:0:a9fe:a9fe::1",      "64:ff9b:1:a9fe:a9:fe00::",
                                      "64:ff9b:1::a9fe:a9fe", "2001:0:808:808::5601:5601" };

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [0.0.0.0/0, '::/0']\n");
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
                assert_check(lab, forms[i], 80, REASON_PLATFORM_ADDRESS);
        assert_check(lab, "169.254.169.253", 80, REASON_COMPLETED);
}

static void embedded_ipv4_needs_its_own_prefix_and_its_inner_address_permitted(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: ['64:ff9b::/96', 10.2.0.0/16]\n");
        assert_check(lab, "64:ff9b::8.8.8.8", 443, REASON_COMPLETED);
        assert_check(lab, "64:ff9b::10.2.0.1", 443, REASON_COMPLETED);
        assert_check(lab, "64:ff9b::10.3.0.1", 443, REASON_FORBIDDEN_ADDRESS);
        assert_check(lab, "::ffff:10.2.0.1", 443, REASON_FORBIDDEN_ADDRESS);
}

static void own_listeners_are_never_permitted(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [0.0.0.0/0, '::/0']\n");
        assert_check(lab, "10.0.0.4", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "::ffff:10.0.0.4", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "64:ff9b::10.0.0.4", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.0.4", 3129, REASON_COMPLETED);
        assert_check(lab, "10.0.0.5", 3128, REASON_COMPLETED);
        assert_check(lab, "127.0.0.1", 15001, REASON_OWN_ADDRESS);
        assert_check(lab, "127.9.9.9", 15001, REASON_OWN_ADDRESS);
        assert_check(lab, "0.0.0.0", 15001, REASON_OWN_ADDRESS);
        assert_check(lab, "::1", 15001, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.1.15", 15001, REASON_OWN_ADDRESS); /* of the pool, so of this host */
        assert_check(lab, "10.0.1.30", 15001, REASON_COMPLETED);
}

static void a_listener_on_every_address_is_reached_by_all_of_this_host(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "listen: { proxy: { address: 0.0.0.0, port: 3128 } }\n"
                    "allowlist_dirs: [.]\n"
                    "snat_pools: [{ name: main, addresses: [10.0.1.10] }]\n"
                    "clusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [0.0.0.0/0, '::/0']\n");
        assert_check(lab, "127.0.0.1", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "::1", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "0.0.0.0", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.1.10", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.1.11", 3128, REASON_COMPLETED);
        assert_check(lab, "127.0.0.1", 3129, REASON_COMPLETED);
        assert_check(lab, "127.0.0.1", 15001, REASON_COMPLETED); /* no transparent listener here */
}

static void a_listener_on_loopback_is_reached_by_the_unspecified_address_too(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "listen: { proxy: { address: 127.0.0.1, port: 3128 } }\n"
                    "allowlist_dirs: [.]\n"
                    "snat_pools: [{ name: main, addresses: [10.0.1.10] }]\n"
                    "clusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [0.0.0.0/0, '::/0']\n");
        assert_check(lab, "127.0.0.1", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "0.0.0.0", 3128, REASON_OWN_ADDRESS);
        assert_check(lab, "127.0.0.2", 3128, REASON_COMPLETED);
        assert_check(lab, "10.0.1.10", 3128, REASON_COMPLETED);
}

static void no_address_at_all_is_refused(void **state)
{
        struct policy_lab *lab = *state;
        struct net_address none = { 0 };
        char hint[POLICY_HINT_SIZE];

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        assert_int_equal(policy_permits_address(lab->policy, NULL, &none, 443, hint), REASON_FORBIDDEN_ADDRESS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

static enum policy_action tell(const struct policy_lab *lab, const char *name_text, const char *address_text,
                               enum reason *ret_reason)
{
        struct net_address client = address_of("10.1.0.1"), address = address_of(address_text);
        struct fqdn name = name_of(name_text);
        char hint[POLICY_HINT_SIZE] = "untouched";
        enum policy_action action = policy_decide_answer(lab->policy, policy_cluster_of(lab->policy, &client), &name,
                                                         &address, ret_reason, hint);

        assert_int_equal(*ret_reason == REASON_COMPLETED, action == POLICY_ALLOW);
        assert_int_equal(hint[0] == '\0', action == POLICY_ALLOW);
        return action;
}

static void answers_hold_public_and_listed_addresses_and_any_in_a_forward_zone(void **state)
{
        static const char *const zone = "resolver: { forward_zones: { corp.example: [10.0.0.53] } }\n";
        struct policy_lab *lab = *state;
        char clusters[1024];
        enum reason reason;

        snprintf(clusters, sizeof(clusters), "%s    private_destinations: [10.2.0.0/16]\n%s", POLICY_LAB_CLUSTER, zone);
        policy_lab_load(lab, clusters);
        assert_int_equal(tell(lab, "a.example", "8.8.8.8", &reason), POLICY_ALLOW);
        assert_int_equal(tell(lab, "a.example", "10.2.0.1", &reason), POLICY_ALLOW);
        assert_int_equal(tell(lab, "a.example", "10.3.0.1", &reason), POLICY_DENY);
        assert_int_equal(reason, REASON_FORBIDDEN_ADDRESS);
        assert_int_equal(tell(lab, "a.corp.example", "10.3.0.1", &reason), POLICY_ALLOW);
        assert_int_equal(tell(lab, "corp.example", "fd00::1", &reason), POLICY_ALLOW);
        assert_int_equal(tell(lab, "acorp.example", "10.3.0.1", &reason), POLICY_DENY);
}

static void dns_filter_decides_about_addresses_but_never_the_platforms(void **state)
{
        static const struct {
                const char *dns_filter;
                enum policy_action action;
        } rows[] = { { "enforce", POLICY_DENY }, { "audit", POLICY_AUDIT }, { "off", POLICY_ALLOW } };
        static const char *const platform[] = { "168.63.129.16", "169.254.169.254", "::ffff:168.63.129.16" };
        struct policy_lab *lab = *state;
        char clusters[1024];
        enum reason reason;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                snprintf(clusters, sizeof(clusters), "%s    dns_filter: %s\n    private_destinations: [0.0.0.0/1]\n%s",
                         POLICY_LAB_CLUSTER, rows[i].dns_filter,
                         "resolver: { forward_zones: { corp.example: [10.0.0.53] } }\n");
                policy_lab_load(lab, clusters);
                assert_int_equal(tell(lab, "a.example", "192.168.0.1", &reason), rows[i].action);
                for (size_t j = 0; j < ARRAY_SIZE(platform); j++) {
                        assert_int_equal(tell(lab, "a.corp.example", platform[j], &reason), POLICY_DENY);
                        assert_int_equal(reason, REASON_PLATFORM_ADDRESS);
                }
        }
}

static void the_dns_listener_is_a_listener_of_ours(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "listen: { dns: { address: 10.0.0.4 } }\nallowlist_dirs: [.]\n"
                    "snat_pools:\n  - { name: main, addresses: [10.0.1.10-10.0.1.29] }\nclusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [10.0.0.0/8]\n");
        assert_check(lab, "10.0.0.4", 53, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.0.4", 443, REASON_COMPLETED);
        lab->head = "listen: { dns: { address: 0.0.0.0 } }\nallowlist_dirs: [.]\n"
                    "snat_pools:\n  - { name: main, addresses: [10.0.1.10-10.0.1.29] }\nclusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [10.0.0.0/8, 127.0.0.0/8]\n");
        assert_check(lab, "10.0.1.10", 53, REASON_OWN_ADDRESS);
        assert_check(lab, "127.0.0.1", 53, REASON_OWN_ADDRESS);
        assert_check(lab, "10.9.0.1", 53, REASON_COMPLETED);
}

static void nobody_gets_to_metrics_and_readiness_through_the_proxy(void **state)
{
        struct policy_lab *lab = *state;

        lab->head = "listen: { proxy: { address: 10.0.0.4 }, admin: {}, probe: { address: 0.0.0.0 } }\n"
                    "allowlist_dirs: [.]\nsnat_pools:\n  - { name: main, addresses: [10.0.1.10] }\nclusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [0.0.0.0/0, '::/0']\n");
        assert_check(lab, "127.0.0.1", 9180, REASON_OWN_ADDRESS);
        assert_check(lab, "0.0.0.0", 9180, REASON_OWN_ADDRESS);
        assert_check(lab, "::ffff:127.0.0.1", 9180, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.0.4", 9180, REASON_COMPLETED);
        assert_check(lab, "10.0.0.4", 8080, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.1.10", 8080, REASON_OWN_ADDRESS);
        assert_check(lab, "10.9.0.1", 8080, REASON_COMPLETED);
        lab->head =
                "listen: { proxy: { address: 127.0.0.1 }, admin: { address: 10.0.0.5 }, probe: { address: 10.0.0.6 },\n"
                "          transparent: {} }\n"
                "allowlist_dirs: [.]\nsnat_pools:\n  - { name: main, addresses: [10.0.1.10] }\nclusters:\n";
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    private_destinations: [0.0.0.0/0, '::/0']\n");
        assert_check(lab, "10.0.0.5", 9180, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.0.6", 8080, REASON_OWN_ADDRESS);
        /* They tell which addresses are this host's, for the listener that is on all of them. */
        assert_check(lab, "10.0.0.5", 15001, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.0.6", 15001, REASON_OWN_ADDRESS);
        assert_check(lab, "10.0.0.7", 15001, REASON_COMPLETED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(only_public_addresses_are_permitted),
                TEST(a_listed_prefix_is_permitted_and_its_neighbour_is_not),
                TEST(platform_addresses_are_never_permitted_in_any_form),
                TEST(embedded_ipv4_needs_its_own_prefix_and_its_inner_address_permitted),
                TEST(own_listeners_are_never_permitted),
                TEST(a_listener_on_every_address_is_reached_by_all_of_this_host),
                TEST(a_listener_on_loopback_is_reached_by_the_unspecified_address_too),
                TEST(no_address_at_all_is_refused),
                TEST(answers_hold_public_and_listed_addresses_and_any_in_a_forward_zone),
                TEST(dns_filter_decides_about_addresses_but_never_the_platforms),
                TEST(the_dns_listener_is_a_listener_of_ours),
                TEST(nobody_gets_to_metrics_and_readiness_through_the_proxy),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
