/*
 * The addresses of names in network rules: what DNS said of them, kept for as long as clients may use it, in a table that the
 * workers read and in the kernel's sets. The main thread owns and changes it.
 *
 * An address stays at least LEARNED_ADDRESSES_KEEP_MS after the answer that named it ran out. Bounded:
 * LEARNED_ADDRESSES_MAX facts. What the policy does not permit to be dialled is not learned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "inspect/dns_message.h"
#include "kernel/ruleset.h"
#include "policy/policy.h"

#define LEARNED_ADDRESSES_KEEP_MS                                                                                      \
        (15 * 60 * 1000)             /* after the TTL: clients and their caches hold on to an answer for long */
#define LEARNED_ADDRESSES_MAX 200000 /* of cluster, name and address; about 150 bytes each */
#define LEARNED_ADDRESSES_REMEMBER_MS (24 * 60 * 60 * 1000) /* after that, while there is room: to judge old flows by */
#define LEARNED_ADDRESSES_MAX_TTL_S DNS_MESSAGE_MAX_TTL_S   /* longer ones count as this */

struct learned_addresses;

/* The main thread. */

/*
 * kernel: whether there is a table `inet aksegressd` to keep up to date; without one nobody dials addresses, and there is
 * nothing to learn. Returns 0 or -Exxx. _free takes NULL.
 */
MUST_CHECK int learned_addresses_new(bool kernel, struct learned_addresses **ret);
void learned_addresses_free(struct learned_addresses *learned);

/*
 * By which policy is learned from now on (borrowed, until the next call): the one whose sets the kernel has. What was added
 * and not committed is forgotten.
 */
void learned_addresses_use_policy(struct learned_addresses *learned, const struct policy *policy);

/*
 * Takes over what the kernel still has in the sets of the policy in use, as an earlier daemon left them, before that policy's
 * table is applied. No table, no sets, or none that can be read: nothing is taken over.
 */
void learned_addresses_take_over(struct learned_addresses *learned);

/*
 * Notes that the name has these addresses for ttl_s seconds, for the named cluster or (NULL) for every one; where no network
 * rule is about the name nothing happens. In force with the next commit. Clients teach for
 * their cluster, and have a share of the table; the rest is for the names that rules spell out. Returns 0, -ENOSPC: no room;
 * or -ENOMEM.
 */
MUST_CHECK int learned_addresses_add(struct learned_addresses *learned, const char *cluster, const struct fqdn *name,
                                     const struct net_address *addresses, size_t count, uint32_t ttl_s);

/* Calls back for each name and address that is known, several times where several clusters know it. */
typedef void (*learned_known_fn)(const char *name, const struct net_address *address, void *context);
void learned_addresses_recall(struct learned_addresses *learned, learned_known_fn on_known, void *context);

/*
 * Puts what was added into the kernel's sets, and when it is there into the table. Returns 0, or -Exxx: some of it is not
 * known, which is logged.
 */
int learned_addresses_commit(struct learned_addresses *learned);

/* To be called now and then: forgets what has run out. */
void learned_addresses_sweep(struct learned_addresses *learned);

/*
 * What of the sets must go when the kernel changes from one policy to another, for ruleset_facts.each_stale (whose context
 * this is). More than LEARNED_ADDRESSES_MAX_STALE would take libnftables long: learned_addresses_remove_stale.
 */
#define LEARNED_ADDRESSES_MAX_STALE 2000
struct learned_change {
        struct learned_addresses *learned;
        const struct policy *former;
        const struct policy *policy;
};
void learned_addresses_each_stale(ruleset_element_fn on_element, void *sink, const struct learned_change *change);

/* SIZE_MAX: the kernel may have more than is known here, so that the sets are to be emptied. */
size_t learned_addresses_count_stale(const struct learned_change *change);

/*
 * When the kernel has the policy's sets, and in them still what must go: removes that, in batches. Returns 0 or -Exxx
 * (logged): some of it is still there.
 */
MUST_CHECK int learned_addresses_remove_stale(const struct learned_change *change);

/*
 * When the kernel has the policy's sets: fills in what they lack, which is all that is known where former is NULL (they are
 * empty). Returns 0 or -Exxx (logged): what is missing comes with the next answers.
 */
int learned_addresses_fill(const struct learned_change *change);

/* Any thread. */

/*
 * Whether an allowed network rule about a name covers this address and port, by what is known of the name: which one goes to
 * *ret_name.
 */
bool learned_addresses_cover(struct learned_addresses *learned, const struct policy *policy,
                             const struct policy_cluster *cluster, enum policy_protocol protocol,
                             const struct net_endpoint *destination, struct fqdn *ret_name);

enum learned_flow {
        LEARNED_FLOW_ALLOWED = 0, /* a network rule is about a name that has or had the address: *ret_name */
        LEARNED_FLOW_REFUSED,     /* names had it, and none of them is allowed any more */
        LEARNED_FLOW_UNKNOWN,     /* no name is remembered for it */
};

/* The same for a flow that began some time ago: what its address was known for counts, though it may not be known any more. */
enum learned_flow learned_addresses_judge_flow(struct learned_addresses *learned, const struct policy *policy,
                                               const struct policy_cluster *cluster, enum policy_protocol protocol,
                                               const struct net_endpoint *destination, struct fqdn *ret_name);

/*
 * Whether there is nothing to learn from an answer: no network rule of the cluster is about the name, or every address that
 * may be dialled is known for as long as the client can use it.
 */
bool learned_addresses_know(struct learned_addresses *learned, const struct policy *policy,
                            const struct policy_cluster *cluster, const struct fqdn *name,
                            const struct net_address *addresses, size_t count, uint32_t ttl_s);

size_t learned_addresses_count(const struct learned_addresses *learned);
