#include "traffic/learned_addresses.h"

#include "learned_lab.h"

#define MINUTE_MS (60 * UINT64_C(1000))
#define KEEP_MINUTES (LEARNED_ADDRESSES_KEEP_MS / MINUTE_MS)

#define RULES                                                                                                          \
        POLICY_LAB_CLUSTER "    allow: ['udp ntp.a.com:123', 'tcp *.git.com:22', 'udp *.git.com:22', 'https "          \
                           "web.com:443']\n"                                                                           \
                           "    api_server: api.com\n    private_destinations: [10.2.0.0/16]\n"

#define SECOND_CLUSTER                                                                                                 \
        "  - { name: second, sources: [10.2.0.0/16], cloud: AzurePublicCloud, location: westeurope, snat_pool: main,"  \
        " allow: ['udp ntp.a.com:124'] }\n"

static struct learned_addresses *start(struct policy_lab *lab, const char *clusters)
{
        clock_offset_ms = 0;
        policy_lab_load(lab, clusters);
        struct learned_addresses *learned = learned_lab_new(lab->policy);
        learned_lab_apply(learned, lab->policy);
        return learned;
}

static void elements_arrive_with_their_time_and_the_name_they_come_from(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES SECOND_CLUSTER);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "ntp.a.com", "2001:4860::1", 600);
        const char *set = ruleset_lab_list("set", "learned.udp.123.prod.v4");
        assert_holds(set, "elements = { 203.0.113.1 timeout 40m expires ");
        assert_holds(set, "comment \"ntp.a.com\" }");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v6"), "2001:4860::1 timeout 40m");
        assert_holds(ruleset_lab_list("set", "learned.udp.124.second.v4"), "203.0.113.1");
        assert_lacks(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "elements");
        assert_int_equal(learned_addresses_count(learned), 4);
        learned_addresses_free(learned);
}

static void one_cluster_s_answer_is_not_another_s(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES SECOND_CLUSTER);
        learned_lab_learn(learned, "second", "ntp.a.com", "203.0.113.1", 600);
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "elements");
        assert_holds(ruleset_lab_list("set", "learned.udp.124.second.v4"), "203.0.113.1");
        learned_lab_learn(learned, "no-such", "ntp.a.com", "203.0.113.1", 600);
        assert_int_equal(learned_addresses_count(learned), 1);
        learned_addresses_free(learned);
}

static void what_no_network_rule_is_about_is_not_learned(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, "prod", "web.com", "203.0.113.1", 600);
        learned_lab_learn(learned, "prod", "git.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "elsewhere.com", "203.0.113.1", 600);
        assert_int_equal(learned_addresses_count(learned), 0);
        learned_addresses_free(learned);
}

static void nothing_forbidden_is_learned(void **state)
{
        static const char *const forbidden[] = { "10.1.0.1",         "127.0.0.1",   "169.254.169.254",
                                                 "168.63.129.16",    "224.0.0.1",   "0.0.0.0",
                                                 "fd00::1",          "::1",         "::ffff:8.8.8.8",
                                                 "64:ff9b::808:808", "192.168.1.1", "100.64.0.1" };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
                learned_lab_learn(learned, NULL, "ntp.a.com", forbidden[i], 600);
        assert_int_equal(learned_addresses_count(learned), 0);
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "elements");
        learned_lab_learn(learned, NULL, "ntp.a.com", "10.2.0.1", 600); /* one of private_destinations */
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "elements = { 10.2.0.1 timeout");
        learned_addresses_free(learned);
}

/* *.git.com is in two services. Several additions before a commit are one batch, the same ones too. */
static void a_batch_may_name_an_address_several_times(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_add(learned, NULL, "a.git.com", "203.0.113.1", 600);
        learned_lab_add(learned, NULL, "a.git.com", "203.0.113.1", 900);
        learned_lab_add(learned, NULL, "b.git.com", "203.0.113.1", 600);
        assert_int_equal(learned_addresses_count(learned), 0);
        assert_int_equal(learned_addresses_commit(learned), 0);
        assert_int_equal(learned_addresses_count(learned), 2);
        assert_holds(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "203.0.113.1 timeout");
        assert_holds(ruleset_lab_list("set", "learned.udp.22.prod.v4"), "203.0.113.1 timeout");
        learned_addresses_free(learned);
}

/* The API server's port is steered: the proxy asks the table, the kernel's rules do not need to know. */
static void addresses_for_steered_ports_are_learned_too(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "api.com", "203.0.113.9", 600);
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_TCP, "203.0.113.9", 443),
                            "api.com");
        learned_lab_apply(learned, lab->policy);
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_TCP, "203.0.113.9", 443),
                            "api.com");
        learned_addresses_free(learned);
}

static void what_is_covered_has_the_rule_s_protocol_and_port(void **state)
{
        struct policy_lab *lab = *state;
        const struct net_endpoint destination = { .address = address_of("203.0.113.1"), .port = 123 };
        struct fqdn name;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES SECOND_CLUSTER);
        learned_lab_learn(learned, "prod", "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, "prod", "x.git.com", "203.0.113.1", 600);
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 123),
                            "ntp.a.com");
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_TCP, "203.0.113.1", 22),
                            "x.git.com");
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_TCP, "203.0.113.1", 123), "");
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.2", 123), "");
        assert_false(learned_addresses_cover(learned, lab->policy, policy_cluster_at(lab->policy, 1),
                                             POLICY_PROTOCOL_UDP, &destination, &name));
        assert_false(learned_addresses_cover(learned, lab->policy, NULL, POLICY_PROTOCOL_UDP, &destination, &name));
        learned_addresses_free(learned);
}

static enum learned_flow judge(const struct policy_lab *lab, struct learned_addresses *learned, const char *address)
{
        const struct net_endpoint destination = { .address = address_of(address), .port = 123 };
        struct fqdn name;
        enum learned_flow flow = learned_addresses_judge_flow(learned, lab->policy, policy_cluster_at(lab->policy, 0),
                                                              POLICY_PROTOCOL_UDP, &destination, &name);

        if (flow == LEARNED_FLOW_ALLOWED)
                assert_string_equal(name.text, "ntp.a.com");
        return flow;
}

/* New flows may use it no longer, old ones are judged by it for a day. */
static void an_address_stays_for_its_ttl_and_a_while(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        clock_offset_ms = (10 + KEEP_MINUTES) * MINUTE_MS - 1000;
        learned_addresses_sweep(learned);
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 123),
                            "ntp.a.com");
        clock_offset_ms = (10 + 2 * KEEP_MINUTES) * MINUTE_MS + 1000;
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 123), "");
        learned_addresses_sweep(learned);
        assert_int_equal(learned_addresses_count(learned), 1);
        assert_int_equal(judge(lab, learned, "203.0.113.1"), LEARNED_FLOW_ALLOWED);
        clock_offset_ms += LEARNED_ADDRESSES_REMEMBER_MS;
        assert_int_equal(judge(lab, learned, "203.0.113.1"), LEARNED_FLOW_UNKNOWN);
        learned_addresses_sweep(learned);
        assert_int_equal(learned_addresses_count(learned), 0);
        learned_addresses_free(learned);
}

static void a_flow_to_an_address_whose_names_are_no_longer_allowed_is_refused(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        assert_int_equal(judge(lab, learned, "203.0.113.1"), LEARNED_FLOW_ALLOWED);
        assert_int_equal(judge(lab, learned, "203.0.113.2"), LEARNED_FLOW_UNKNOWN);
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp ntp.b.com:123']\n");
        assert_int_equal(judge(lab, learned, "203.0.113.1"), LEARNED_FLOW_REFUSED);
        learned_addresses_free(learned);
}

static bool knows(const struct policy_lab *lab, struct learned_addresses *learned, const char *name_text,
                  const char *first, const char *second, uint32_t ttl_s)
{
        const struct net_address addresses[] = { address_of(first), address_of(second) };
        const struct fqdn name = name_of(name_text);

        return learned_addresses_know(learned, lab->policy, policy_cluster_at(lab->policy, 0), &name, addresses,
                                      ARRAY_SIZE(addresses), ttl_s);
}

static void what_is_known_for_long_enough_needs_no_learning(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        assert_true(knows(lab, learned, "web.com", "203.0.113.1", "203.0.113.2", 600));
        assert_true(knows(lab, learned, "ntp.a.com", "10.9.0.1", "127.0.0.1", 600)); /* Nobody may dial these. */
        assert_false(knows(lab, learned, "ntp.a.com", "203.0.113.1", "203.0.113.2", 600));
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        assert_false(knows(lab, learned, "ntp.a.com", "203.0.113.1", "203.0.113.2", 600));
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.2", 600);
        assert_true(knows(lab, learned, "ntp.a.com", "203.0.113.1", "203.0.113.2", 600));
        clock_offset_ms = (KEEP_MINUTES - 1) * MINUTE_MS;
        assert_true(knows(lab, learned, "ntp.a.com", "203.0.113.1", "203.0.113.2", 600));
        clock_offset_ms = (KEEP_MINUTES + 1) * MINUTE_MS;
        assert_false(knows(lab, learned, "ntp.a.com", "203.0.113.1", "203.0.113.2", 600));
        assert_false(knows(lab, learned, "ntp.a.com", "203.0.113.1", "10.9.0.1", UINT32_MAX));
        learned_addresses_free(learned);
}

static void a_renewal_reaches_the_kernel(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 60);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 30); /* shorter: nothing to do */
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 31m expires");
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 7200);
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 2h30m expires");
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", UINT32_MAX);
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 1d30m expires");
        learned_addresses_free(learned);
}

/* Cut to what fits, the comment would be the name of an allowed host, and taken over as that. */
static void a_name_that_does_not_fit_a_comment_is_not_taken_for_another(void **state)
{
        static const char label[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        struct policy_lab *lab = *state;
        char name[FQDN_MAX_LENGTH + 1];

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        snprintf(name, sizeof(name), "%s.%s.git.com", label, label);
        learned_lab_learn(learned, NULL, name, "203.0.113.1", 600);
        assert_holds(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "203.0.113.1 timeout");
        assert_lacks(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "comment");
        learned_addresses_free(learned);
        learned = learned_lab_new(lab->policy);
        learned_addresses_take_over(learned);
        assert_int_equal(learned_addresses_count(learned), 0);
        learned_addresses_free(learned);
}

/* Names that share an address: its element stays for the one that wants it for longest, whoever comes first or last. */
static void a_shorter_answer_of_another_name_takes_nothing_away(void **state)
{
        static const char *const lists[] = { "learned.tcp.22.prod.v4", "learned.udp.22.prod.v4" };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "long.git.com", "203.0.113.1", 7200);
        learned_lab_learn(learned, NULL, "short.git.com", "203.0.113.1", 60);
        learned_lab_learn(learned, NULL, "long.git.com", "203.0.113.2", 60);
        learned_lab_learn(learned, NULL, "short.git.com", "203.0.113.2", 7200);
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                assert_holds(ruleset_lab_list("set", lists[i]), "203.0.113.1 timeout 2h30m expires ");
                assert_holds(ruleset_lab_list("set", lists[i]), "203.0.113.2 timeout 2h30m expires ");
        }
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 60); /* another service is another matter */
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 31m expires ");
        clock_offset_ms = 100 * MINUTE_MS;
        learned_lab_learn(learned, NULL, "short.git.com", "203.0.113.1", 60);
        assert_holds(ruleset_lab_list("set", lists[0]), "203.0.113.1 timeout 50m expires "); /* of 150 minutes */
        learned_addresses_free(learned);
}

static void a_shorter_answer_in_the_same_batch_takes_nothing_away(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_add(learned, NULL, "long.git.com", "203.0.113.1", 7200);
        learned_lab_add(learned, NULL, "short.git.com", "203.0.113.1", 60);
        learned_lab_add(learned, NULL, "short.git.com", "203.0.113.2", 60);
        learned_lab_add(learned, NULL, "long.git.com", "203.0.113.2", 7200);
        assert_int_equal(learned_addresses_commit(learned), 0);
        const char *set = ruleset_lab_list("set", "learned.tcp.22.prod.v4");
        assert_holds(set, "203.0.113.1 timeout 2h30m expires ");
        assert_holds(set, "203.0.113.2 timeout 2h30m expires ");
        assert_lacks(set, "short.git.com");
        assert_int_equal(learned_addresses_count(learned), 4);
        learned_addresses_free(learned);
}

static void count_known(const char *name, const struct net_address *address, void *context)
{
        size_t *count = context;

        (void)name;
        (void)address;
        ++*count;
}

static void the_next_daemon_takes_over_what_the_kernel_has(void **state)
{
        struct policy_lab *lab = *state;
        size_t count = 0;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "ntp.a.com", "2001:4860::1", 600);
        learned_lab_learn(learned, "prod", "x.git.com", "203.0.113.2", 600);
        learned_lab_learn(learned, NULL, "api.com", "203.0.113.3", 600);
        learned_addresses_free(learned);
        learned = learned_lab_new(lab->policy);
        learned_addresses_take_over(learned);
        assert_int_equal(learned_addresses_count(learned), 4);
        learned_addresses_recall(learned, count_known, &count);
        assert_int_equal(count, 4);
        learned_lab_apply(learned, lab->policy);
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout ");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v6"), "2001:4860::1 timeout ");
        assert_true(
                knows(lab, learned, "ntp.a.com", "203.0.113.1", "2001:4860::1", 1400)); /* 25 minutes less a little */
        assert_false(knows(lab, learned, "ntp.a.com", "203.0.113.1", "2001:4860::1", 1501));
        assert_holds(ruleset_lab_list("set", "learned.udp.22.prod.v4"), "comment \"x.git.com\" }");
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "2001:4860::1", 123),
                            "ntp.a.com");
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_TCP, "203.0.113.3", 443),
                            "api.com");
        learned_addresses_free(learned);
}

/* What else may lie in the sets: elements without or with a strange comment, without an end. */
static void strange_elements_are_not_taken_over(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        assert_string_equal(ruleset_lab_nft("'add element inet aksegressd learned.udp.123.prod.v4 { 203.0.113.1, "
                                            "203.0.113.2 timeout 1h, 203.0.113.3 timeout 1h comment \"not a name\" }'"),
                            "");
        learned_addresses_take_over(learned);
        learned_addresses_sweep(learned);
        assert_int_equal(learned_addresses_count(learned), 0);
        learned_addresses_free(learned);
}

static void without_a_table_nothing_is_taken_over(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        clock_offset_ms = 0;
        policy_lab_load(lab, RULES);
        struct learned_addresses *learned = learned_lab_new(lab->policy);
        learned_addresses_take_over(learned);
        assert_int_equal(learned_addresses_count(learned), 0);
        learned_addresses_free(learned);
}

static void what_the_kernel_refuses_is_not_known(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        assert_string_equal(ruleset_lab_nft("flush ruleset"), "");
        learned_lab_add(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        assert_int_equal(learned_addresses_commit(learned), -ENOENT);
        assert_int_equal(learned_addresses_count(learned), 0);
        assert_int_equal(learned_addresses_commit(learned), 0); /* It is not tried again. */
        learned_lab_apply(learned, lab->policy);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        assert_int_equal(learned_addresses_count(learned), 1);
        learned_addresses_free(learned);
}

/* The first transaction of a batch is in the kernel when the second is refused; the sets' names are put in order. */
static void what_a_failed_batch_left_goes_with_the_next_change(void **state)
{
        struct policy_lab *lab = *state;
        char address[32];

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        assert_string_equal(ruleset_lab_nft("'flush chain inet aksegressd cluster.prod; "
                                            "delete set inet aksegressd learned.udp.22.prod.v4'"),
                            "");
        for (unsigned i = 0; i < SET_ELEMENTS_PER_TRANSACTION; i++) {
                snprintf(address, sizeof(address), "198.51.100.%u", i);
                learned_lab_add(learned, NULL, "x.git.com", address, 600);
        }
        assert_int_equal(learned_addresses_commit(learned), -ENOENT);
        assert_int_equal(learned_addresses_count(learned), 1);
        assert_holds(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "198.51.100.1 timeout");
        assert_false(learned_lab_change(learned, lab->policy, lab->policy));
        assert_lacks(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "elements");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout");
        assert_true(learned_lab_change(learned, lab->policy, lab->policy));
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout");
        learned_addresses_free(learned);
}

/* The next policy is loaded from the lab, the one before stays until it is no longer in use. */
static struct policy *change_policy(struct policy_lab *lab, struct learned_addresses *learned, const char *clusters)
{
        struct policy *before = policy_ref(lab->policy);

        policy_lab_load(lab, clusters);
        assert_true(learned_lab_change(learned, before, lab->policy));
        learned_addresses_use_policy(learned, lab->policy);
        return before;
}

static void another_policy_finds_what_is_known_in_its_sets(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "x.git.com", "203.0.113.2", 600);
        learned_lab_learn(learned, NULL, "ntp.a.com", "10.2.0.1", 600);
        policy_unref(change_policy(lab, learned, POLICY_LAB_CLUSTER "    allow: ['udp *.a.com:1000-2000']\n"));
        const char *set = ruleset_lab_list("set", "learned.udp.1000-2000.prod.v4");
        assert_holds(set, "203.0.113.1 timeout");
        assert_lacks(set, "203.0.113.2");
        assert_lacks(set, "10.2.0.1"); /* no longer one of private_destinations */
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 1500),
                            "ntp.a.com");
        assert_string_equal(learned_lab_cover(learned, lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 123), "");
        policy_unref(change_policy(lab, learned, RULES));
        assert_holds(ruleset_lab_list("set", "learned.tcp.22.prod.v4"), "203.0.113.2");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "10.2.0.1");
        learned_addresses_free(learned);
}

/* Elements that both want are not touched, by nft's account of their time; one that no rule wants goes with the change. */
static void a_change_of_policy_leaves_alone_what_stays(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "x.git.com", "203.0.113.2", 600);
        learned_lab_learn(learned, NULL, "ntp.a.com", "10.2.0.1", 600);
        clock_offset_ms = 5 * MINUTE_MS; /* who put it again now would give it 35 minutes */
        policy_unref(change_policy(lab, learned,
                                   POLICY_LAB_CLUSTER "    allow: ['udp ntp.a.com:123', 'udp *.git.com:22']\n"));
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"),
                     "elements = { 203.0.113.1 timeout 40m expires ");
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "10.2.0.1");
        assert_holds(ruleset_lab_list("set", "learned.udp.22.prod.v4"), "203.0.113.2 timeout 40m expires ");
        assert_lacks(ruleset_lab_nft("list sets inet"), "learned.tcp.22");
        learned_addresses_free(learned);
}

static void a_name_that_comes_to_a_service_brings_its_time(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "x.git.com", "203.0.113.1", 7200);
        policy_unref(change_policy(lab, learned,
                                   POLICY_LAB_CLUSTER "    allow: ['udp ntp.a.com:123', 'udp *.git.com:123']\n"));
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 2h30m expires ");
        policy_unref(change_policy(lab, learned, RULES)); /* and takes it along */
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 40m expires ");
        learned_addresses_free(learned);
}

static void a_table_that_somebody_removed_is_filled_again(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_learn(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        learned_lab_learn(learned, NULL, "x.git.com", "2001:4860::1", 600);
        assert_string_equal(ruleset_lab_nft("flush ruleset"), "");
        assert_false(learned_lab_change(learned, lab->policy, lab->policy)); /* nothing was there to be kept */
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 40m expires ");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "comment \"ntp.a.com\" }");
        assert_holds(ruleset_lab_list("set", "learned.tcp.22.prod.v6"), "2001:4860::1 timeout 40m expires ");
        assert_holds(ruleset_lab_list("set", "learned.udp.22.prod.v6"), "2001:4860::1 timeout 40m expires ");
        learned_addresses_free(learned);
}

/* Pending additions name sets and clusters of the policy before. */
static void what_was_not_committed_ends_with_its_policy(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        struct learned_addresses *learned = start(lab, RULES);
        learned_lab_add(learned, NULL, "ntp.a.com", "203.0.113.1", 600);
        policy_unref(change_policy(lab, learned, POLICY_LAB_CLUSTER));
        assert_int_equal(learned_addresses_commit(learned), 0);
        assert_int_equal(learned_addresses_count(learned), 0);
        learned_addresses_free(learned);
}

static void without_the_kernel_there_is_nothing_to_learn(void **state)
{
        struct policy_lab *lab = *state;
        struct learned_addresses *learned;

        policy_lab_load(lab, RULES);
        assert_int_equal(learned_addresses_new(false, &learned), 0);
        learned_addresses_use_policy(learned, lab->policy);
        learned_addresses_take_over(learned);
        assert_true(knows(lab, learned, "ntp.a.com", "203.0.113.1", "203.0.113.2", 600));
        learned_addresses_free(learned);
        learned_addresses_free(NULL);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(elements_arrive_with_their_time_and_the_name_they_come_from),
                LAB_TEST(one_cluster_s_answer_is_not_another_s),
                LAB_TEST(what_no_network_rule_is_about_is_not_learned),
                LAB_TEST(nothing_forbidden_is_learned),
                LAB_TEST(a_batch_may_name_an_address_several_times),
                LAB_TEST(addresses_for_steered_ports_are_learned_too),
                LAB_TEST(what_is_covered_has_the_rule_s_protocol_and_port),
                LAB_TEST(an_address_stays_for_its_ttl_and_a_while),
                LAB_TEST(a_flow_to_an_address_whose_names_are_no_longer_allowed_is_refused),
                LAB_TEST(what_is_known_for_long_enough_needs_no_learning),
                LAB_TEST(a_renewal_reaches_the_kernel),
                LAB_TEST(a_name_that_does_not_fit_a_comment_is_not_taken_for_another),
                LAB_TEST(a_shorter_answer_of_another_name_takes_nothing_away),
                LAB_TEST(a_shorter_answer_in_the_same_batch_takes_nothing_away),
                LAB_TEST(the_next_daemon_takes_over_what_the_kernel_has),
                LAB_TEST(strange_elements_are_not_taken_over),
                LAB_TEST(without_a_table_nothing_is_taken_over),
                LAB_TEST(what_the_kernel_refuses_is_not_known),
                LAB_TEST(what_a_failed_batch_left_goes_with_the_next_change),
                LAB_TEST(another_policy_finds_what_is_known_in_its_sets),
                LAB_TEST(a_change_of_policy_leaves_alone_what_stays),
                LAB_TEST(a_name_that_comes_to_a_service_brings_its_time),
                LAB_TEST(a_table_that_somebody_removed_is_filled_again),
                LAB_TEST(what_was_not_committed_ends_with_its_policy),
                LAB_TEST(without_the_kernel_there_is_nothing_to_learn),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
