/*
 * The daemon's own table `inet aksegressd`, replaced whole in one transaction through libnftables: steering to the
 * transparent listener (TPROXY mark), a forward chain that drops by default, nobody but steered traffic at the
 * transparent port. Foreign tables are never touched. The table outlives the daemon (fails closed).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/policy.h"

#define NFTABLES_STEERING_MARK 0x61656400u /* "aed": packets for the transparent listener, see policy_routing.h */

/* The ruleset for a policy, as `nft -f` takes it. Returns NULL when out of memory; the caller frees. */
char *nftables_ruleset_format(const struct policy *policy);

/*
 * Puts the policy's ruleset in place of whatever table is there, for a start.
 *
 * Returns 0, or -Exxx with libnftables' words in error; the table is as it was then.
 */
MUST_CHECK int nftables_apply(const struct policy *policy, char *error, size_t error_size);

/*
 * The same on top of the table that is there, for a reload: steering goes on for every packet meanwhile. Puts the table
 * in place if it is gone.
 */
MUST_CHECK int nftables_update(const struct policy *policy, char *error, size_t error_size);

/* Removes the table; 0 also when there was none. */
MUST_CHECK int nftables_flush(char *error, size_t error_size);
