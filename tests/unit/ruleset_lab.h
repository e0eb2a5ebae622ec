/*
 * Rulesets in a network of the test's own: policies from policy_lab.h are applied, and nft says what the kernel holds. Facts
 * are what the test sets: absent pool addresses and learned elements that are to go.
 */
#pragma once

#include "kernel/nftables.h"
#include "kernel/set_elements.h"
#include "own_network.h"
#include "policy_lab.h"

#define RULESET_LAB_OUTPUT_SIZE 262144
#define RULESET_LAB_ERROR_SIZE 256

/* A pool of both families. */
#define RULESET_LAB_HEAD                                                                                               \
        "listen: { transparent: { port: 15001 } }\n"                                                                   \
        "allowlist_dirs: [.]\n"                                                                                        \
        "snat_pools:\n"                                                                                                \
        "  - { name: main, addresses: [192.0.2.10-192.0.2.12, '2001:db8::10-2001:db8::11'], selection: sticky }\n"     \
        "  - { name: even, addresses: [192.0.2.20-192.0.2.21], selection: round_robin }\n"                             \
        "clusters:\n"

struct ruleset_lab_stale {
        const char *set;
        struct net_address address;
};

struct ruleset_lab_facts {
        const char *absent; /* a pool address; NULL: none */
        bool keeps_learned; /* elements of learned sets stay but for these */
        const struct ruleset_lab_stale *stale;
        size_t stale_count;
};

static inline int ruleset_lab_open(void **state)
{
        (void)own_network_setup(NULL);
        int r = policy_lab_open(state);
        struct policy_lab *lab = *state;

        lab->head = RULESET_LAB_HEAD;
        return r;
}

static inline bool ruleset_lab_is_present(const struct net_address *address, void *context)
{
        const struct ruleset_lab_facts *facts = context;

        if (facts->absent == NULL)
                return true;
        struct net_address absent = address_of(facts->absent);
        return !net_address_equal(address, &absent);
}

static inline void ruleset_lab_each_stale(ruleset_element_fn on_element, void *sink, void *context)
{
        const struct ruleset_lab_facts *facts = context;

        for (size_t i = 0; i < facts->stale_count; i++)
                on_element(facts->stale[i].set, &facts->stale[i].address, sink);
}

static inline struct ruleset_facts ruleset_lab_facts(struct ruleset_lab_facts *facts)
{
        return (struct ruleset_facts){ .is_present = ruleset_lab_is_present,
                                       .each_stale = facts->keeps_learned ? ruleset_lab_each_stale : NULL,
                                       .context = facts };
}

/* Whether learned sets have what they had; otherwise they are empty. */
static inline bool ruleset_lab_apply_with(const struct policy_lab *lab, struct ruleset_lab_facts *facts)
{
        const struct ruleset_facts ruleset_facts = ruleset_lab_facts(facts);
        char error[RULESET_LAB_ERROR_SIZE] = "";
        int r = nftables_apply(lab->policy, &ruleset_facts, error, sizeof(error));

        if (r < 0)
                fail_msg("%s", error);
        return r == 0;
}

/* Learned sets are empty afterwards. */
static inline void ruleset_lab_apply(const struct policy_lab *lab)
{
        struct ruleset_lab_facts facts = { 0 };

        assert_false(ruleset_lab_apply_with(lab, &facts));
}

/* Applies again what leaves learned elements in their place. */
static inline void ruleset_lab_apply_in_place(const struct policy_lab *lab)
{
        struct ruleset_lab_facts facts = { .keeps_learned = true };

        assert_true(ruleset_lab_apply_with(lab, &facts));
}

static inline void ruleset_lab_put(const struct set_element *elements, size_t count)
{
        struct set_elements *sets;
        size_t refused = 0;

        assert_int_equal(set_elements_new("aksegressd", &sets), 0);
        int r = set_elements_put(sets, elements, count, &refused);
        if (r < 0)
                fail_msg("element %zu: %s", refused, strerror(-r));
        set_elements_free(sets);
}

/* What nft prints; good until the next call. */
static inline const char *ruleset_lab_nft(const char *arguments)
{
        static char output[RULESET_LAB_OUTPUT_SIZE];
        char command[512];

        snprintf(command, sizeof(command), "nft %s 2>&1", arguments);
        (void)own_network_output(command, output, sizeof(output));
        return output;
}

/* A chain, set or map of ours: "chain forward". */
static inline const char *ruleset_lab_list(const char *kind, const char *name)
{
        char arguments[400];

        snprintf(arguments, sizeof(arguments), "list %s inet aksegressd %s", kind, name);
        return ruleset_lab_nft(arguments);
}

static inline void assert_holds(const char *listing, const char *text)
{
        if (strstr(listing, text) == NULL)
                fail_msg("'%s' is not in:\n%s", text, listing);
}

static inline void assert_lacks(const char *listing, const char *text)
{
        if (strstr(listing, text) != NULL)
                fail_msg("'%s' is in:\n%s", text, listing);
}

/* Texts in this order, with anything between them. */
static inline void assert_in_order(const char *listing, const char *const *texts, size_t count)
{
        const char *rest = listing;

        for (size_t i = 0; i < count; i++) {
                rest = strstr(rest, texts[i]);
                if (rest == NULL)
                        fail_msg("'%s' is not where it should be in:\n%s", texts[i], listing);
                rest += strlen(texts[i]);
        }
}
