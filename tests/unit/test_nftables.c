/* How one ruleset becomes another in the kernel: in place, in one transaction, nobody else's touched. */
#include "kernel/nftables.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/wait.h>

#include "kernel/netlink.h"
#include "ruleset_lab.h"

#define MANY_PREFIXES 12000
#define MANY_ELEMENTS 20000

#define NTP_RULES                                                                                                      \
        POLICY_LAB_CLUSTER "    allow: ['udp ntp.a.com:123', 'udp [203.0.113.0/24]:123', 'tcp [203.0.113.2]:22']\n"    \
                           "    deny: ['udp [203.0.113.9]:123']\n"

/* "chain prerouting { # handle 4": what tells an object that stayed from one made anew. */
static unsigned handle_of(const char *kind, const char *name)
{
        char listing[160], head[128];
        const char *found;

        snprintf(listing, sizeof(listing), "-a list %s inet aksegressd %s", kind, name);
        snprintf(head, sizeof(head), "\t%s %s { # handle ", kind, name);
        found = strstr(ruleset_lab_nft(listing), head);
        if (found == NULL)
                fail_msg("there is no %s %s", kind, name);
        return (unsigned)strtoul(found + strlen(head), NULL, 10);
}

/* A table made anew counts its objects' handles from 1 again, but has another one itself. */
static unsigned handle_of_table(void)
{
        static const char head[] = "table inet aksegressd { # handle ";
        const char *found = strstr(ruleset_lab_nft("-a list table inet aksegressd"), head);

        assert_non_null(found);
        return (unsigned)strtoul(found + strlen(head), NULL, 10);
}

static void applying_again_changes_nothing(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        char *first = strdup(ruleset_lab_nft("list ruleset"));
        assert_non_null(first);
        for (unsigned i = 0; i < 4; i++) {
                if (i % 2 == 0)
                        ruleset_lab_apply(lab);
                else
                        ruleset_lab_apply_in_place(lab);
                assert_string_equal(ruleset_lab_nft("list ruleset"), first);
        }
        free(first);
}

/* What is changed in place is what would be made anew. */
static void a_table_changed_in_place_is_like_one_made_anew(void **state)
{
        static const char *const policies[] = {
                NTP_RULES,
                POLICY_LAB_CLUSTER "    mode: audit\n    allow: ['https a.com:8443', 'udp [203.0.112.0/23]:123']\n",
                POLICY_LAB_CLUSTER "    allow: ['udp [203.0.113.128/25]:123', 'tcp b.a.com:22']\n"
                                   "    private_destinations: [10.0.0.0/8]\n",
                "  - name: other\n    sources: [10.1.4.0/22, 10.1.0.0/24]\n    cloud: AzurePublicCloud\n"
                "    location: westeurope\n    snat_pool: even\n    allow: ['udp [0.0.0.0/0]:123']\n",
                NTP_RULES,
        };
        struct ruleset_lab_facts facts = { .keeps_learned = true };
        struct policy_lab *lab = *state;
        char error[RULESET_LAB_ERROR_SIZE];

        own_network_or_skip();
        for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
                unsigned table = i == 0 ? 0 : handle_of_table();
                policy_lab_load(lab, policies[i]);
                assert_int_equal(ruleset_lab_apply_with(lab, &facts), i > 0);
                if (i > 0)
                        assert_int_equal(handle_of_table(), table);
        }
        char *changed = strdup(ruleset_lab_nft("list table inet aksegressd"));
        assert_non_null(changed);
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        ruleset_lab_apply(lab);
        /* Sets and chains are listed in the order in which they were made: compare what is there by its length. */
        assert_int_equal(strlen(ruleset_lab_nft("list table inet aksegressd")), strlen(changed));
        free(changed);
}

static void a_change_keeps_the_chains_that_packets_are_passing(void **state)
{
        static const char *const chains[] = {
                "untracked_prerouting", "untracked_output", "prerouting", "passage", "input", "forward",
                "source_nat",           "source_guard"
        };
        unsigned handles[ARRAY_SIZE(chains)], steered, table;
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
                handles[i] = handle_of("chain", chains[i]);
        steered = handle_of("set", "steered_ports");
        table = handle_of_table();
        lab->head = "refuse_with: drop\n" RULESET_LAB_HEAD;
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['https a.com:8443']\n    mode: audit\n");
        ruleset_lab_apply(lab);
        for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
                assert_int_equal(handle_of("chain", chains[i]), handles[i]);
        assert_int_equal(handle_of("set", "steered_ports"), steered);
        assert_int_equal(handle_of_table(), table);
        assert_holds(ruleset_lab_list("set", "steered_ports"), "elements = { 80, 443, 8443 }");
        assert_lacks(ruleset_lab_list("chain", "refuse"), "reject");
}

static void what_a_former_policy_had_disappears(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        unsigned table = handle_of_table();
        assert_holds(ruleset_lab_nft("list table inet aksegressd"), "learned.udp.123.prod.v4");
        policy_lab_load(lab, "  - name: other\n    sources: [10.1.0.0/16]\n    cloud: AzurePublicCloud\n"
                             "    location: westeurope\n    snat_pool: main\n");
        ruleset_lab_apply(lab);
        assert_int_equal(handle_of_table(), table);
        const char *listing = ruleset_lab_nft("list table inet aksegressd");
        assert_lacks(listing, "prod");
        assert_holds(listing, "10.1.0.0/16 : goto cluster.other");
}

/* "prod" is the end of "my.prod" and the beginning of "prod-2" in names of sets. */
static void a_name_within_another_does_not_keep_a_set(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        policy_lab_load(lab,
                        "  - name: prod-2\n    sources: [10.1.0.0/16]\n    cloud: AzurePublicCloud\n"
                        "    location: westeurope\n    snat_pool: main\n    allow: ['udp [203.0.113.0/24]:123']\n");
        ruleset_lab_apply(lab);
        const char *listing = ruleset_lab_nft("list table inet aksegressd");
        assert_holds(listing, "set allow.udp.123.prod-2.v4 {");
        assert_lacks(listing, "prod.v4");
        assert_lacks(listing, "chain cluster.prod {");
}

static int on_attribute(const struct nlattr *attribute, void *context)
{
        uint32_t *number = context;

        if (mnl_attr_get_type(attribute) == NFTA_GEN_ID)
                *number = ntohl(mnl_attr_get_u32(attribute));
        return MNL_CB_OK;
}

static int on_generation(const struct nlmsghdr *header, void *context)
{
        return mnl_attr_parse(header, sizeof(struct nfgenmsg), on_attribute, context);
}

/* The kernel counts transactions. */
static uint32_t transaction_number(void)
{
        char bytes[64] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = nftnl_nlmsg_build_hdr(bytes, NFT_MSG_GETGEN, AF_UNSPEC, NLM_F_ACK, 0);
        uint32_t number = 0;

        assert_int_equal(netlink_request(NETLINK_NETFILTER, header, on_generation, &number), 0);
        assert_int_not_equal(number, 0);
        return number;
}

/* Elements that are neither put again nor made anew: with what remains of their time, and their comments. */
static void learned_elements_stay_where_they_are(void **state)
{
        static const char *const policies[] = {
                NTP_RULES,
                POLICY_LAB_CLUSTER "    mode: audit\n    allow: ['udp ntp.b.com:123', 'https a.com:8443']\n",
        };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        unsigned handle = handle_of("set", "learned.udp.123.prod.v4");
        unsigned chain = handle_of("chain", "cluster.prod");
        assert_string_equal(
                ruleset_lab_nft("'add element inet aksegressd learned.udp.123.prod.v4 { 203.0.113.77 timeout "
                                "30m expires 10m comment \"ntp.a.com\" }; add element inet aksegressd "
                                "learned.udp.123.prod.v6 { 2001:db8:7::1 timeout 15m500ms expires 5m }'"),
                "");
        for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
                policy_lab_load(lab, policies[i]);
                ruleset_lab_apply_in_place(lab);
                const char *set = ruleset_lab_list("set", "learned.udp.123.prod.v4");
                assert_holds(set, "elements = { 203.0.113.77 timeout 30m expires 9m");
                assert_holds(set, "comment \"ntp.a.com\" }");
                assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v6"),
                             "2001:db8:7::1 timeout 15m500ms expires 4m");
                assert_int_equal(handle_of("set", "learned.udp.123.prod.v4"), handle);
                assert_int_equal(handle_of("chain", "cluster.prod"), chain);
        }
}

static void without_facts_learned_sets_are_emptied(void **state)
{
        const struct set_element element = { "learned.udp.123.prod.v4", address_of("203.0.113.77"), 1800000, NULL };
        struct policy_lab *lab = *state;
        char error[RULESET_LAB_ERROR_SIZE];

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        ruleset_lab_put(&element, 1);
        ruleset_lab_apply(lab);
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "elements");
        ruleset_lab_put(&element, 1);
        assert_int_equal(nftables_apply(lab->policy, NULL, error, sizeof(error)), 1);
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "elements");
}

/* One of them has run out by then, or somebody deleted it: it is just not there. */
static void what_is_stale_goes_with_the_rules_in_one_transaction(void **state)
{
        const struct set_element elements[] = {
                { "learned.udp.123.prod.v4", address_of("203.0.113.77"), 1800000, "ntp.a.com" },
                { "learned.udp.123.prod.v4", address_of("203.0.113.78"), 1800000, "ntp.a.com" },
                { "learned.udp.123.prod.v6", address_of("2001:db8:7::1"), 1800000, NULL },
                { "learned.udp.123.prod.v6", address_of("2001:db8:7::2"), 1800000, NULL },
        };
        const struct ruleset_lab_stale stale[] = {
                { "learned.udp.123.prod.v4", address_of("203.0.113.77") },
                { "learned.udp.123.prod.v4", address_of("203.0.113.99") },
                { "learned.udp.123.prod.v6", address_of("2001:db8:7::2") },
                { "learned.udp.123.prod.v6", address_of("2001:db8:7::2") }, /* nothing forbids to tell it twice */
        };
        struct ruleset_lab_facts facts = { .keeps_learned = true, .stale = stale, .stale_count = ARRAY_SIZE(stale) };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        ruleset_lab_put(elements, ARRAY_SIZE(elements));
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp ntp.b.com:123', 'https a.com:8443']\n");
        uint32_t before = transaction_number();
        assert_true(ruleset_lab_apply_with(lab, &facts));
        assert_int_equal(transaction_number(), before + 1);
        const char *set = ruleset_lab_list("set", "learned.udp.123.prod.v4");
        assert_holds(set, "elements = { 203.0.113.78 timeout 30m expires ");
        assert_lacks(set, "203.0.113.77");
        assert_lacks(set, "203.0.113.99");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v6"), "elements = { 2001:db8:7::1 timeout 30m");
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v6"), "2001:db8:7::2");
        assert_holds(ruleset_lab_list("set", "steered_ports"), "8443");
}

static void what_is_stale_in_a_set_that_goes_goes_with_it(void **state)
{
        const struct set_element elements[] = {
                { "learned.udp.123.prod.v4", address_of("203.0.113.77"), 1800000, "ntp.a.com" },
                { "learned.udp.124.prod.v4", address_of("203.0.113.77"), 1800000, "b.com" },
        };
        const struct ruleset_lab_stale stale = { "learned.udp.123.prod.v4", address_of("203.0.113.77") };
        struct ruleset_lab_facts facts = { .keeps_learned = true, .stale = &stale, .stale_count = 1 };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp ntp.a.com:123', 'udp b.com:124']\n");
        ruleset_lab_apply(lab);
        ruleset_lab_put(elements, ARRAY_SIZE(elements));
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp b.com:124']\n");
        assert_true(ruleset_lab_apply_with(lab, &facts));
        assert_lacks(ruleset_lab_nft("list table inet aksegressd"), "learned.udp.123");
        assert_holds(ruleset_lab_list("set", "learned.udp.124.prod.v4"), "203.0.113.77");
}

/* Names have up to 253 bytes, comments of elements up to 128. */
static void an_element_learned_from_the_longest_name_stays_and_goes(void **state)
{
        const struct ruleset_lab_stale stale = { "learned.udp.123.prod.v4", address_of("203.0.113.77") };
        struct ruleset_lab_facts facts = { .keeps_learned = true, .stale = &stale };
        char name[FQDN_MAX_LENGTH + 1], expected[SET_ELEMENTS_COMMENT_MAX + 32];
        const struct set_element element = { stale.set, stale.address, 1800000, name };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        for (size_t i = 0; i < FQDN_MAX_LENGTH; i++)
                name[i] = i % 50 == 49 ? '.' : 'a';
        name[FQDN_MAX_LENGTH] = '\0';
        snprintf(expected, sizeof(expected), "comment \"%.*s\" }", SET_ELEMENTS_COMMENT_MAX, name);
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        ruleset_lab_put(&element, 1);
        assert_true(ruleset_lab_apply_with(lab, &facts));
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), expected);
        facts.stale_count = 1;
        assert_true(ruleset_lab_apply_with(lab, &facts));
        assert_lacks(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "elements");
}

static void addresses_that_come_and_go_change_only_the_chains_of_sources(void **state)
{
        struct ruleset_lab_facts facts = { .absent = "192.0.2.10" };
        const struct ruleset_facts ruleset_facts = ruleset_lab_facts(&facts);
        const struct set_element element = { "learned.udp.123.prod.v4", address_of("203.0.113.77"), 1800000,
                                             "ntp.a.com" };
        struct policy_lab *lab = *state;
        char error[RULESET_LAB_ERROR_SIZE] = "";

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        ruleset_lab_put(&element, 1);
        unsigned handle = handle_of("chain", "source_nat");
        char *forward = strdup(ruleset_lab_nft("-a list chain inet aksegressd cluster.prod"));
        assert_non_null(forward);
        assert_int_equal(nftables_apply_sources(lab->policy, &ruleset_facts, error, sizeof(error)), 0);
        const char *nat = ruleset_lab_list("chain", "source_nat");
        assert_holds(nat, "mod 2 seed 0x61656400 map { 0 : 192.0.2.11, 1 : 192.0.2.12 }");
        assert_lacks(nat, "192.0.2.10");
        assert_int_equal(handle_of("chain", "source_nat"), handle);
        assert_string_equal(ruleset_lab_nft("-a list chain inet aksegressd cluster.prod"), forward);
        assert_holds(ruleset_lab_list("chain", "pass.prod"), "{\n\t\tct mark set 0x61650001 accept\n\t}");
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.77");
        facts.absent = NULL;
        assert_int_equal(nftables_apply_sources(lab->policy, &ruleset_facts, error, sizeof(error)), 0);
        assert_holds(ruleset_lab_list("chain", "source_nat"), "mod 3 seed 0x61656400 map { 0 : 192.0.2.10,");
        free(forward);
}

static void sources_without_a_table_are_an_error(void **state)
{
        struct policy_lab *lab = *state;
        char error[RULESET_LAB_ERROR_SIZE] = "";

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        assert_int_equal(nftables_apply_sources(lab->policy, NULL, error, sizeof(error)), -ENOENT);
        assert_holds(error, "nftables: ");
        assert_string_equal(ruleset_lab_nft("list ruleset"), "");
}

/* Another version's set has the name of one of ours, and cannot become it. */
static void a_table_of_another_version_is_replaced(void **state)
{
        static const char *const old_tables[] = {
                "'table inet aksegressd { set steered_ports { type ipv4_addr; }; chain ours { accept; }; }'",
                "'table inet aksegressd { map clusters.v4 { type ipv4_addr : mark; }; }'",
                "'table inet aksegressd { chain forward { type filter hook output priority 0; }; }'",
                "'table inet aksegressd { set learned.udp.123.prod.v4 { type ipv4_addr; flags interval; }; }'",
        };
        struct ruleset_lab_facts facts = { .keeps_learned = true };
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        char *expected = strdup(ruleset_lab_nft("list table inet aksegressd"));
        assert_non_null(expected);
        for (size_t i = 0; i < ARRAY_SIZE(old_tables); i++) {
                char error[RULESET_LAB_ERROR_SIZE];
                assert_int_equal(nftables_flush(error, sizeof(error)), 0);
                assert_string_equal(ruleset_lab_nft(old_tables[i]), "");
                assert_false(ruleset_lab_apply_with(lab, &facts)); /* nothing can be kept */
                assert_int_equal(strlen(ruleset_lab_nft("list table inet aksegressd")), strlen(expected));
        }
        free(expected);
}

static void chains_that_call_each_other_are_no_obstacle(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        size_t expected = strlen(ruleset_lab_nft("list table inet aksegressd"));
        assert_string_equal(ruleset_lab_nft("'table inet aksegressd { chain a { jump b; }; chain b { jump c; }; "
                                            "chain c { accept; }; }'"),
                            "");
        ruleset_lab_apply_in_place(lab);
        assert_int_equal(strlen(ruleset_lab_nft("list table inet aksegressd")), expected);
}

static void a_foreign_table_survives_apply_and_flush(void **state)
{
        static const char foreign[] = "'add table inet foreign; add chain inet foreign forward; add rule inet foreign "
                                      "forward tcp dport 22 accept; add table ip aksegressd; add set ip aksegressd "
                                      "private.prod.v4 { type ipv4_addr; }'";
        struct policy_lab *lab = *state;
        char error[RULESET_LAB_ERROR_SIZE] = "";

        own_network_or_skip();
        assert_string_equal(ruleset_lab_nft(foreign), "");
        char *before = strdup(ruleset_lab_nft("list ruleset"));
        assert_non_null(before);
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        ruleset_lab_apply(lab);
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_string_equal(ruleset_lab_nft("list ruleset"), before);
        free(before);
}

static void a_table_that_somebody_flushed_comes_back(void **state)
{
        struct policy_lab *lab = *state;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        assert_string_equal(ruleset_lab_nft("flush ruleset"), "");
        ruleset_lab_apply(lab);
        assert_holds(ruleset_lab_nft("list table inet aksegressd"), "tproxy ip to :15001");
        assert_string_equal(ruleset_lab_nft("flush table inet aksegressd"), "");
        ruleset_lab_apply(lab);
        assert_holds(ruleset_lab_nft("list table inet aksegressd"), "tproxy ip to :15001");
}

static void flushing_nothing_is_fine(void **state)
{
        char error[RULESET_LAB_ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_string_equal(error, "");
}

/* In a process of its own, as it gives its rights away. Exits with 0 when the answer is the one for want of rights. */
static void apply_without_rights(const struct policy *policy)
{
        char error[RULESET_LAB_ERROR_SIZE] = "";

        if (freopen("/dev/null", "w", stderr) == NULL || setuid(65534) != 0) /* libnftables says it there, too */
                _exit(1);
        if (nftables_apply(policy, NULL, error, sizeof(error)) != -EPERM)
                _exit(2);
        if (strncmp(error, "nftables: ", 10) != 0 || strchr(error, '\n') != NULL ||
            strstr(error, "Operation not permitted") == NULL)
                _exit(3);
        if (nftables_apply_sources(policy, NULL, error, sizeof(error)) != -EPERM)
                _exit(4);
        _exit(0);
}

static void without_rights_the_old_rules_stay_and_the_error_says_why(void **state)
{
        struct policy_lab *lab = *state;
        int status;

        own_network_or_skip();
        policy_lab_load(lab, NTP_RULES);
        ruleset_lab_apply(lab);
        char *before = strdup(ruleset_lab_nft("list ruleset"));
        assert_non_null(before);
        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
                apply_without_rights(lab->policy);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_string_equal(ruleset_lab_nft("list ruleset"), before);
        free(before);
}

static size_t count_of(const char *text, const char *part)
{
        size_t count = 0;

        for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
                count++;
        return count;
}

/* No two neighbours: every second /24. */
static void write_many_prefixes(const struct policy_lab *lab)
{
        char *text;
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        assert_non_null(stream);
        for (unsigned i = 0; i < MANY_PREFIXES; i++)
                fprintf(stream, "udp [%u.%u.%u.0/24]:123\n", 11 + i * 2 / 65536, i * 2 / 256 % 256, i * 2 % 256);
        assert_int_equal(fclose(stream), 0);
        policy_lab_write(lab, "many.list", text);
        free(text);
}

static void thousands_of_prefixes_and_elements_are_applied_again_and_again(void **state)
{
        struct set_element *elements = calloc(MANY_ELEMENTS, sizeof(*elements));
        struct policy_lab *lab = *state;

        own_network_or_skip();
        assert_non_null(elements);
        for (size_t i = 0; i < MANY_ELEMENTS; i++)
                elements[i] = (struct set_element){ "learned.udp.124.prod.v4",
                                                    { AF_INET, { 198, 18, (uint8_t)(i / 256), (uint8_t)i } },
                                                    1800000,
                                                    "a.com" };
        write_many_prefixes(lab);
        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['file:many.list', 'udp a.com:124']\n");
        ruleset_lab_apply(lab);
        ruleset_lab_put(elements, MANY_ELEMENTS);
        for (unsigned i = 0; i < 2; i++) {
                ruleset_lab_apply_in_place(lab);
                char *listing = malloc(8u << 20);
                assert_non_null(listing);
                (void)own_network_output("nft list set inet aksegressd allow.udp.123.prod.v4", listing, 8u << 20);
                assert_int_equal(count_of(listing, "/24"), MANY_PREFIXES);
                (void)own_network_output("nft list set inet aksegressd learned.udp.124.prod.v4", listing, 8u << 20);
                assert_int_equal(count_of(listing, "198.18."), MANY_ELEMENTS);
                free(listing);
        }
        free(elements);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(applying_again_changes_nothing),
                LAB_TEST(a_table_changed_in_place_is_like_one_made_anew),
                LAB_TEST(a_change_keeps_the_chains_that_packets_are_passing),
                LAB_TEST(what_a_former_policy_had_disappears),
                LAB_TEST(a_name_within_another_does_not_keep_a_set),
                LAB_TEST(learned_elements_stay_where_they_are),
                LAB_TEST(without_facts_learned_sets_are_emptied),
                LAB_TEST(what_is_stale_goes_with_the_rules_in_one_transaction),
                LAB_TEST(what_is_stale_in_a_set_that_goes_goes_with_it),
                LAB_TEST(an_element_learned_from_the_longest_name_stays_and_goes),
                LAB_TEST(addresses_that_come_and_go_change_only_the_chains_of_sources),
                LAB_TEST(sources_without_a_table_are_an_error),
                LAB_TEST(a_table_of_another_version_is_replaced),
                LAB_TEST(chains_that_call_each_other_are_no_obstacle),
                LAB_TEST(a_foreign_table_survives_apply_and_flush),
                LAB_TEST(a_table_that_somebody_flushed_comes_back),
                LAB_TEST(flushing_nothing_is_fine),
                LAB_TEST(without_rights_the_old_rules_stay_and_the_error_says_why),
                LAB_TEST(thousands_of_prefixes_and_elements_are_applied_again_and_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
