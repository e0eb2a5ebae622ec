/*
 * Puts the daemon's own table `inet aksegressd` (kernel/ruleset.h) into the kernel, each time in one transaction through
 * libnftables. Foreign tables are never touched. The table outlives the daemon (fails closed) and is taken over by the next.
 */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "kernel/ruleset.h"
#include "policy/policy.h"

/*
 * The ruleset for a policy as `nft -f` takes it, in place of whatever table is there. facts may be NULL. Returns NULL when
 * out of memory; the caller frees.
 */
char *nftables_ruleset_format(const struct policy *policy, const struct ruleset_facts *facts);

/*
 * Makes the table what the policy says. Chains and sets that are there stay, with other rules and elements in them: steering
 * goes on for every packet meanwhile. What does not belong to the policy any more is removed. Only a table that cannot be
 * changed so (of another version) is replaced as a whole.
 *
 * Returns 0: learned sets have what they had, less what is stale; 1: they are empty; or -Exxx with libnftables' words in
 * error: the table is as it was.
 */
MUST_CHECK int nftables_apply(const struct policy *policy, const struct ruleset_facts *facts, char *error,
                              size_t error_size);

/* The same for just what depends on the pool addresses that are present (facts). */
MUST_CHECK int nftables_apply_sources(const struct policy *policy, const struct ruleset_facts *facts, char *error,
                                      size_t error_size);

/* Removes the table; 0 also when there was none. */
MUST_CHECK int nftables_flush(char *error, size_t error_size);
