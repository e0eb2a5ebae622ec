#include "traffic/flow_decision.h"

#include <netinet/in.h>

#include "learned_lab.h"
#include "service_tags_sample.h"

#define RULES                                                                                                          \
        "    allow: ['udp ntp.a.com:123', 'tcp [203.0.113.0/28]:22', 'tcp *.git.com:2222', 'https web.com:8443']\n"    \
        "    deny: ['tcp [203.0.113.3]:22', 'tcp [203.0.113.4]:2222']\n"
#define ENFORCED POLICY_LAB_CLUSTER RULES
#define AUDITED POLICY_LAB_CLUSTER "    mode: audit\n" RULES

static struct learned_addresses *start(struct policy_lab *lab, const char *clusters)
{
        clock_offset_ms = 0;
        policy_lab_load(lab, clusters);
        struct learned_addresses *learned = learned_lab_new(lab->policy);
        learned_lab_apply(learned, lab->policy);
        return learned;
}

/* Exchanges the policy, as a reload does; what is known stays. */
static void reload(struct policy_lab *lab, struct learned_addresses *learned, const char *clusters)
{
        struct policy *former = policy_ref(lab->policy);

        policy_lab_load(lab, clusters);
        learned_addresses_use_policy(learned, lab->policy);
        policy_unref(former);
}

static struct flow flow_from(const char *client, uint8_t protocol, const char *destination, uint16_t port)
{
        return (struct flow){
                .protocol = protocol,
                .client = { address_of(client), 40000 },
                .destination = { address_of(destination), port },
                .snat = { address_of("192.0.2.10"), 50000 },
                .id = 0xc0ffee,
                .has_ended = true,
                .has_bytes = true,
                .bytes_out = 1000,
                .bytes_in = 2000,
                .has_duration = true,
                .duration_ms = 3000,
        };
}

static struct flow flow_to(uint8_t protocol, const char *destination, uint16_t port)
{
        return flow_from("10.1.0.7", protocol, destination, port);
}

static bool allows(const struct policy_lab *lab, struct learned_addresses *learned, const struct flow *flow)
{
        return flow_decision_allows(lab->policy, learned, flow);
}

static struct decision describe(const struct policy_lab *lab, struct learned_addresses *learned,
                                const struct flow *flow)
{
        struct decision decision;

        memset(&decision, 0xa5, sizeof(decision)); /* flow_decision_describe writes all of it */
        flow_decision_describe(lab->policy, learned, flow, &decision);
        return decision;
}

/* A flow that goes on, and what its record says. */
static void assert_goes_on(const struct policy_lab *lab, struct learned_addresses *learned, const struct flow *flow,
                           enum policy_action action, enum reason reason)
{
        struct decision decision = describe(lab, learned, flow);

        assert_true(allows(lab, learned, flow));
        assert_string_equal(reason_row(decision.reason)->text, reason_row(reason)->text);
        assert_int_equal(decision.action, action);
}

/* A flow that a reload ends, and whose record says so. */
static void assert_ends(const struct policy_lab *lab, struct learned_addresses *learned, const struct flow *flow)
{
        struct decision decision = describe(lab, learned, flow);

        assert_false(allows(lab, learned, flow));
        assert_string_equal(reason_row(decision.reason)->text, "policy-changed");
        assert_int_equal(decision.action, POLICY_ALLOW);
        assert_string_equal(decision.rule, "");
}

static void a_record_has_all_that_the_flow_tells(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        const struct flow flow = flow_to(IPPROTO_TCP, "203.0.113.1", 22);
        struct decision decision = describe(lab, learned, &flow);
        assert_int_equal(decision.event, DECISION_EVENT_FLOW);
        assert_int_equal(decision.listener, DECISION_LISTENER_FORWARD);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_TCP);
        assert_int_equal(decision.ip_protocol, IPPROTO_TCP);
        assert_string_equal(decision.cluster, "prod");
        assert_string_equal(decision.connection_id, "00c0ffee");
        assert_int_equal(decision.bytes_out, 1000);
        assert_int_equal(decision.bytes_in, 2000);
        assert_int_equal(decision.duration_ms, 3000);
        assert_false(decision.lacks_bytes || decision.lacks_duration);
        assert_memory_equal(&decision.client, &flow.client, sizeof(flow.client));
        assert_memory_equal(&decision.original, &flow.destination, sizeof(flow.destination));
        assert_memory_equal(&decision.destination, &flow.destination, sizeof(flow.destination));
        assert_memory_equal(&decision.snat, &flow.snat, sizeof(flow.snat));
        assert_int_equal(decision.time_us, 0);
        learned_addresses_free(learned);
}

static void a_record_says_of_nothing_uncounted_that_it_was_none(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        struct flow flow = flow_to(IPPROTO_TCP, "203.0.113.1", 22);
        flow.has_bytes = false;
        struct decision decision = describe(lab, learned, &flow);
        assert_true(decision.lacks_bytes && !decision.lacks_duration);
        flow.has_bytes = true;
        flow.has_duration = false;
        decision = describe(lab, learned, &flow);
        assert_true(!decision.lacks_bytes && decision.lacks_duration);
        learned_addresses_free(learned);
}

static void a_prefix_allows_by_its_rule(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        const struct flow flow = flow_to(IPPROTO_TCP, "203.0.113.1", 22);
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        struct decision decision = describe(lab, learned, &flow);
        assert_string_equal(decision.feature, "allow");
        assert_non_null(strstr(decision.rule, "aksegressd.yaml:12"));
        assert_int_equal(decision.fqdn.length, 0);
        assert_string_equal(decision.hint, "");
        learned_addresses_free(learned);
}

static void a_service_tag_allows_in_both_families(void **state)
{
        struct policy_lab *lab = *state;
        struct sample sample;

        own_network_or_skip();
        sample_open(&sample, "Public");
        sample_tag(&sample, "AzureMonitor", "", "\"20.2.3.0/24\", \"2603:1020:4::/48\"");
        char *text = sample_close(&sample);
        policy_lab_write(lab, "tags.json", text);
        free(text);
        lab->head = "service_tags: tags.json\n" RULESET_LAB_HEAD;
        struct learned_addresses *learned = start(lab, POLICY_LAB_CLUSTER "    allow: ['udp tag:AzureMonitor:1194']\n");
        const struct flow inside = flow_to(IPPROTO_UDP, "20.2.3.200", 1194);
        const struct flow inside6 = flow_to(IPPROTO_UDP, "2603:1020:4::9", 1194);
        const struct flow outside = flow_to(IPPROTO_UDP, "20.2.4.200", 1194);
        assert_goes_on(lab, learned, &inside, POLICY_ALLOW, REASON_COMPLETED);
        assert_string_equal(describe(lab, learned, &inside).feature, "allow");
        assert_goes_on(lab, learned, &inside6, POLICY_ALLOW, REASON_COMPLETED);
        assert_ends(lab, learned, &outside);
        learned_addresses_free(learned);
}

static void a_learned_address_allows_and_names_its_name(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        learned_lab_learn(learned, NULL, "ntp.a.com", "198.51.100.1", 60);
        learned_lab_learn(learned, NULL, "x.git.com", "2001:4860::1", 60);
        struct flow flow = flow_to(IPPROTO_UDP, "198.51.100.1", 123);
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        struct decision decision = describe(lab, learned, &flow);
        assert_string_equal(decision.fqdn.text, "ntp.a.com");
        assert_string_equal(decision.feature, "allow");
        assert_non_null(strstr(decision.rule, "aksegressd.yaml:12"));
        flow = flow_to(IPPROTO_TCP, "2001:4860::1", 2222);
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        assert_string_equal(describe(lab, learned, &flow).fqdn.text, "x.git.com");
        /* Another protocol's address. */
        flow = flow_to(IPPROTO_UDP, "2001:4860::1", 2222);
        assert_ends(lab, learned, &flow);
        learned_addresses_free(learned);
}

/* A flow may last for longer than its address may be used by new ones. */
static void an_address_that_ran_out_is_remembered_for_old_flows(void **state)
{
        struct policy_lab *lab = *state;
        const struct flow flow = flow_to(IPPROTO_UDP, "198.51.100.1", 123);

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        learned_lab_learn(learned, NULL, "ntp.a.com", "198.51.100.1", 60);
        clock_offset_ms += 2 * LEARNED_ADDRESSES_KEEP_MS + 61000;
        learned_addresses_sweep(learned);
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "198.51.100.1", 123), "");
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        assert_string_equal(describe(lab, learned, &flow).fqdn.text, "ntp.a.com");
        reload(lab, learned, POLICY_LAB_CLUSTER "    allow: ['udp ntp.b.com:123']\n");
        assert_ends(lab, learned, &flow); /* Another name's service does not help: whose it was is known. */
        learned_addresses_free(learned);
}

/* Before the names of a new daemon are resolved, nothing says which flow was whose. */
static void an_address_of_nobody_goes_on_where_a_service_has_names(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        struct flow flow = flow_to(IPPROTO_UDP, "198.51.100.7", 123);
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        assert_string_equal(describe(lab, learned, &flow).rule, "");
        flow = flow_to(IPPROTO_TCP, "198.51.100.7", 123); /* no such service */
        assert_ends(lab, learned, &flow);
        flow = flow_to(IPPROTO_TCP, "198.51.100.7", 22); /* a service without names */
        assert_ends(lab, learned, &flow);
        flow = flow_to(IPPROTO_TCP, "203.0.113.4", 2222); /* denied by address, whatever its name */
        assert_ends(lab, learned, &flow);
        learned_addresses_free(learned);
}

static void a_deny_rule_ends_what_another_rule_allows(void **state)
{
        struct policy_lab *lab = *state;
        const struct flow flow = flow_to(IPPROTO_TCP, "203.0.113.3", 22);

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        assert_ends(lab, learned, &flow);
        learned_addresses_free(learned);
}

static void in_audit_mode_a_record_says_what_it_would_have_been_refused_for(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, AUDITED);
        struct flow flow = flow_to(IPPROTO_TCP, "198.51.100.9", 22);
        assert_goes_on(lab, learned, &flow, POLICY_AUDIT, REASON_NO_NETWORK_RULE);
        struct decision decision = describe(lab, learned, &flow);
        assert_string_equal(decision.hint, "an address is allowed by a network rule only: tcp [198.51.100.9]:22");
        assert_string_equal(decision.rule, "");
        flow = flow_to(IPPROTO_TCP, "203.0.113.3", 22);
        assert_goes_on(lab, learned, &flow, POLICY_AUDIT, REASON_DENY_RULE);
        assert_string_equal(describe(lab, learned, &flow).feature, "deny");
        assert_non_null(strstr(describe(lab, learned, &flow).rule, "aksegressd.yaml:14"));
        /* What is allowed is so in audit mode too. */
        flow = flow_to(IPPROTO_TCP, "203.0.113.1", 22);
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        learned_lab_learn(learned, NULL, "ntp.a.com", "198.51.100.1", 60);
        flow = flow_to(IPPROTO_UDP, "198.51.100.1", 123);
        assert_goes_on(lab, learned, &flow, POLICY_ALLOW, REASON_COMPLETED);
        learned_addresses_free(learned);
}

static void icmp_goes_on_in_audit_mode_only(void **state)
{
        struct policy_lab *lab = *state;
        const struct flow icmp = flow_to(IPPROTO_ICMP, "198.51.100.9", 0);
        const struct flow icmp6 = flow_to(IPPROTO_ICMPV6, "2001:4860::9", 0);

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, AUDITED);
        assert_goes_on(lab, learned, &icmp, POLICY_AUDIT, REASON_ICMP);
        assert_goes_on(lab, learned, &icmp6, POLICY_AUDIT, REASON_ICMP);
        struct decision decision = describe(lab, learned, &icmp);
        assert_int_equal(decision.protocol, DECISION_PROTOCOL_ICMP);
        assert_string_equal(decision.hint, "");
        reload(lab, learned, ENFORCED);
        assert_ends(lab, learned, &icmp);
        assert_ends(lab, learned, &icmp6);
        learned_addresses_free(learned);
}

/* ICMP, SCTP with a port, and port 0 of UDP, to addresses that rules for UDP and TCP allow or deny at their ports. */
static void a_rule_of_another_protocol_or_port_is_not_a_flow_s(void **state)
{
        static const char *const destinations[] = { "203.0.113.1", "203.0.113.3" };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, AUDITED);
        for (size_t i = 0; i < ARRAY_SIZE(destinations); i++) {
                const struct flow flows[] = { flow_to(IPPROTO_ICMP, destinations[i], 0),
                                              flow_to(IPPROTO_TCP, destinations[i], 0) };
                assert_goes_on(lab, learned, &flows[0], POLICY_AUDIT, REASON_ICMP);
                assert_goes_on(lab, learned, &flows[1], POLICY_AUDIT, REASON_NO_NETWORK_RULE);
        }
        reload(lab, learned,
               POLICY_LAB_CLUSTER "    mode: audit\n    allow: ['udp [203.0.113.1]:123']\n"
                                  "    deny: ['udp [203.0.113.3]:123']\n");
        for (size_t i = 0; i < ARRAY_SIZE(destinations); i++) {
                const struct flow flows[] = { flow_to(IPPROTO_ICMP, destinations[i], 0),
                                              flow_to(IPPROTO_UDP, destinations[i], 0),
                                              flow_to(IPPROTO_SCTP, destinations[i], 123) };
                assert_goes_on(lab, learned, &flows[0], POLICY_AUDIT, REASON_ICMP);
                assert_goes_on(lab, learned, &flows[1], POLICY_AUDIT, REASON_NO_NETWORK_RULE);
                assert_true(allows(lab, learned, &flows[2]));
                assert_int_equal(describe(lab, learned, &flows[2]).action, POLICY_AUDIT);
                assert_string_equal(describe(lab, learned, &flows[1]).hint, "");
        }
        learned_addresses_free(learned);
}

/* The same words as for a packet of theirs that was refused. */
static void other_protocols_in_audit_mode_are_not_called_icmp(void **state)
{
        static const uint8_t protocols[] = { IPPROTO_SCTP, IPPROTO_GRE, IPPROTO_ESP };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, AUDITED);
        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
                const struct flow flow = flow_to(protocols[i], "198.51.100.9", 0);
                assert_goes_on(lab, learned, &flow, POLICY_AUDIT, REASON_NO_NETWORK_RULE);
                assert_int_equal(describe(lab, learned, &flow).protocol, DECISION_PROTOCOL_IP);
        }
        learned_addresses_free(learned);
}

static void a_forbidden_destination_ends_in_every_mode(void **state)
{
        static const char *const forbidden[] = { "10.9.0.1", "fd00::1", "168.63.129.16", "169.254.169.254",
                                                 "::ffff:8.8.8.8" };
        struct policy_lab *lab = *state;
        struct flow flow;

        own_network_or_skip();
        struct learned_addresses *learned =
                start(lab, POLICY_LAB_CLUSTER "    allow: ['udp [0.0.0.0/0]:123', 'udp [::/0]:123']\n");
        for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
                flow = flow_to(IPPROTO_UDP, forbidden[i], 123);
                assert_false(allows(lab, learned, &flow));
                assert_int_equal(describe(lab, learned, &flow).reason, REASON_POLICY_CHANGED);
        }
        reload(lab, learned, POLICY_LAB_CLUSTER "    private_destinations: [10.9.0.0/16]\n    mode: audit\n");
        flow = flow_to(IPPROTO_UDP, "10.9.0.1", 123);
        assert_goes_on(lab, learned, &flow, POLICY_AUDIT, REASON_NO_NETWORK_RULE);
        for (size_t i = 1; i < ARRAY_SIZE(forbidden); i++) {
                flow = flow_to(IPPROTO_UDP, forbidden[i], 123);
                assert_false(allows(lab, learned, &flow));
        }
        learned_addresses_free(learned);
}

/* The proxy has it from now on, and what the kernel forwards there would be a second way out. */
static void a_port_that_is_steered_now_ends_tcp_only(void **state)
{
        struct policy_lab *lab = *state;
        const struct flow tcp = flow_to(IPPROTO_TCP, "203.0.113.1", 9000);
        const struct flow udp = flow_to(IPPROTO_UDP, "203.0.113.1", 9000);

        own_network_or_skip();
        struct learned_addresses *learned =
                start(lab, POLICY_LAB_CLUSTER "    allow: ['tcp [203.0.113.1]:9000', 'udp [203.0.113.1]:9000']\n");
        assert_goes_on(lab, learned, &tcp, POLICY_ALLOW, REASON_COMPLETED);
        reload(lab, learned,
               POLICY_LAB_CLUSTER "    allow: ['tcp [203.0.113.1]:9000', 'udp [203.0.113.1]:9000',"
                                  " 'https web.com:9000']\n");
        assert_false(allows(lab, learned, &tcp));
        assert_goes_on(lab, learned, &udp, POLICY_ALLOW, REASON_COMPLETED);
        learned_addresses_free(learned);
}

static void a_cluster_that_is_gone_takes_its_flows_along(void **state)
{
        struct policy_lab *lab = *state;
        const struct flow flow = flow_from("10.7.0.1", IPPROTO_TCP, "203.0.113.1", 22);

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, ENFORCED);
        assert_ends(lab, learned, &flow);
        assert_string_equal(describe(lab, learned, &flow).cluster, "");
        learned_addresses_free(learned);
}

/* Only a flow that a reload ends ended for that. */
static void policy_changed_is_said_only_where_it_closes(void **state)
{
        static const char *const others[] = { "on_policy_change: keep\n" RULESET_LAB_HEAD,
                                              "on_policy_change: log\n" RULESET_LAB_HEAD };
        struct policy_lab *lab = *state;
        const struct flow flow = flow_to(IPPROTO_TCP, "203.0.113.3", 22);

        own_network_or_skip();
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                lab->head = others[i];
                struct learned_addresses *learned = start(lab, ENFORCED);
                struct decision decision = describe(lab, learned, &flow);
                assert_false(allows(lab, learned, &flow));
                assert_int_equal(decision.reason, REASON_COMPLETED);
                assert_int_equal(decision.action, POLICY_ALLOW);
                assert_string_equal(decision.rule, "");
                learned_addresses_free(learned);
        }
        lab->head = "on_policy_change: close\n" RULESET_LAB_HEAD;
        struct learned_addresses *learned = start(lab, ENFORCED);
        assert_ends(lab, learned, &flow);
        learned_addresses_free(learned);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(a_record_has_all_that_the_flow_tells),
                LAB_TEST(a_record_says_of_nothing_uncounted_that_it_was_none),
                LAB_TEST(a_prefix_allows_by_its_rule),
                LAB_TEST(a_service_tag_allows_in_both_families),
                LAB_TEST(a_learned_address_allows_and_names_its_name),
                LAB_TEST(an_address_that_ran_out_is_remembered_for_old_flows),
                LAB_TEST(an_address_of_nobody_goes_on_where_a_service_has_names),
                LAB_TEST(a_deny_rule_ends_what_another_rule_allows),
                LAB_TEST(in_audit_mode_a_record_says_what_it_would_have_been_refused_for),
                LAB_TEST(icmp_goes_on_in_audit_mode_only),
                LAB_TEST(a_rule_of_another_protocol_or_port_is_not_a_flow_s),
                LAB_TEST(other_protocols_in_audit_mode_are_not_called_icmp),
                LAB_TEST(a_forbidden_destination_ends_in_every_mode),
                LAB_TEST(a_port_that_is_steered_now_ends_tcp_only),
                LAB_TEST(a_cluster_that_is_gone_takes_its_flows_along),
                LAB_TEST(policy_changed_is_said_only_where_it_closes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
