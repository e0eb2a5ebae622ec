/*
 * Learned addresses in a network of the test's own, with the table of a policy applied, and a clock that the test puts
 * forward. Include it once in a program: it replaces the program's clock.
 */
#pragma once

#include "base/clock.h"
#include "policy/network_plan.h"
#include "ruleset_lab.h"
#include "traffic/learned_addresses.h"

/* It stands still but for what a test adds, so that a time given to the kernel is just what was meant. */
static uint64_t clock_offset_ms;

uint64_t clock_monotonic_ms(void)
{
        return UINT64_C(1000000000) + clock_offset_ms;
}

uint64_t clock_wall_us(void)
{
        return clock_monotonic_ms() * 1000;
}

static inline struct learned_addresses *learned_lab_new(const struct policy *policy)
{
        struct learned_addresses *learned;

        assert_int_equal(learned_addresses_new(true, &learned), 0);
        learned_addresses_use_policy(learned, policy);
        return learned;
}

static inline void learned_lab_each_stale(ruleset_element_fn on_element, void *sink, void *context)
{
        learned_addresses_each_stale(on_element, sink, context);
}

/*
 * Changes the kernel from one policy's table to another's as the daemon does. former NULL: nobody knows what is there.
 * Whether the sets kept what they had.
 */
static inline bool learned_lab_change(struct learned_addresses *learned, const struct policy *former,
                                      const struct policy *policy)
{
        struct learned_change change = { learned, former, policy };
        bool keeps = former != NULL && learned_addresses_count_stale(&change) <= LEARNED_ADDRESSES_MAX_STALE;
        const struct ruleset_facts facts = { .each_stale = keeps ? learned_lab_each_stale : NULL, .context = &change };
        char error[RULESET_LAB_ERROR_SIZE] = "";
        int r = nftables_apply(policy, &facts, error, sizeof(error));

        if (r < 0)
                fail_msg("%s", error);
        if (r > 0)
                change.former = NULL;
        assert_int_equal(learned_addresses_fill(&change), 0);
        return r == 0;
}

/* Applies a policy's table and puts what is learned into its sets. */
static inline void learned_lab_apply(struct learned_addresses *learned, const struct policy *policy)
{
        assert_false(learned_lab_change(learned, NULL, policy));
}

/* Adds one address. */
static inline void learned_lab_add(struct learned_addresses *learned, const char *cluster, const char *name_text,
                                   const char *address_text, uint32_t ttl_s)
{
        const struct fqdn name = name_of(name_text);
        const struct net_address address = address_of(address_text);

        assert_int_equal(learned_addresses_add(learned, cluster, &name, &address, 1, ttl_s), 0);
}

/* Adds and commits one address. */
static inline void learned_lab_learn(struct learned_addresses *learned, const char *cluster, const char *name,
                                     const char *address, uint32_t ttl_s)
{
        learned_lab_add(learned, cluster, name, address, ttl_s);
        assert_int_equal(learned_addresses_commit(learned), 0);
}

/* The name that covers the destination for the first cluster; "": none does. Good until the next call. */
static inline const char *learned_lab_cover(struct learned_addresses *learned, const struct policy *policy,
                                            enum policy_protocol protocol, const char *address, uint16_t port)
{
        const struct net_endpoint destination = { .address = address_of(address), .port = port };
        static struct fqdn name;

        if (!learned_addresses_cover(learned, policy, policy_cluster_at(policy, 0), protocol, &destination, &name))
                return "";
        return name.text;
}
