/*
 * What the daemon has the kernel do and hears of it: the nftables table and its routing, the addresses of names in network
 * rules, records of packets that were refused and of flows that ended. Lives on the main thread. Without listen.transparent
 * there is no table, nothing to hear and nothing to learn.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "kernel/address_watch.h"
#include "records/record_writer.h"
#include "traffic/generation.h"
#include "traffic/learned_addresses.h"
#include "traffic/learned_teacher.h"

struct forwarding;

/* Everything is borrowed and outlives the forwarding. */
struct forwarding_shared {
        struct event_base *base;
        struct record_writer *records;
        unsigned producer; /* the main thread's two numbers at the record writer: this, and the next one for packets */
        const struct address_watch *address_watch;
};

/*
 * Opens everything that needs no table, and takes over the learned addresses that an earlier daemon left in the kernel. The
 * generation is borrowed until forwarding_use. Returns 0, or -Exxx with a sentence in error.
 */
MUST_CHECK int forwarding_new(const struct forwarding_shared *shared, const struct generation *generation, char *error,
                              size_t error_size, struct forwarding **ret);

/* The table and what was learned stay in the kernel. Takes NULL. */
void forwarding_free(struct forwarding *forwarding);

/* What workers ask, and teach. */
struct learned_addresses *forwarding_learned(struct forwarding *forwarding);
struct learned_school *forwarding_school(struct forwarding *forwarding);

/* Puts table and routing of the generation in place, and keeps them there. To be called once the listeners are open. */
MUST_CHECK int forwarding_start(struct forwarding *forwarding, char *error, size_t error_size);

/*
 * The kernel goes over to another policy; the rest follows with forwarding_use, or forwarding_apply with the former policy
 * takes it back: until then the policy is borrowed. Returns 0, or -Exxx with a sentence in error: the kernel has what it had.
 */
MUST_CHECK int forwarding_apply(struct forwarding *forwarding, const struct policy *policy, char *error,
                                size_t error_size);

/* The generation whose policy was applied is in force: flows that it refuses end as on_policy_change says. */
void forwarding_use(struct forwarding *forwarding, const struct generation *generation);

/* A pool address came or went: the kernel's source addresses follow in a moment. */
void forwarding_follow_addresses(struct forwarding *forwarding);
