/*
 * The second lock behind the nftables table: rules of the kernel's routing (rtnetlink through libmnl) that make every
 * destination unreachable for packets from the clusters' sources which that table has not marked. Whoever removes the table
 * (`nft flush ruleset`) stops the traffic, instead of letting it out unjudged and from the client's own address. What this
 * machine itself sends goes around it: its addresses may lie among the sources.
 *
 *   SOURCE_BARRIER_PRIORITY      fwmark MARK goto the last
 *   SOURCE_BARRIER_PRIORITY      iif lo goto the last
 *   SOURCE_BARRIER_PRIORITY + 1  from PREFIX unreachable, for each prefix, that of all addresses as its two halves
 *   SOURCE_BARRIER_PRIORITY + 2  nop
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

#define SOURCE_BARRIER_PRIORITY 1376 /* behind POLICY_ROUTING_PRIORITY */
#define SOURCE_BARRIER_LAST_PRIORITY (SOURCE_BARRIER_PRIORITY + 2)
#define SOURCE_BARRIER_MAX 256 /* prefixes; the kernel goes through them for every packet that it routes */

/*
 * Makes the prefixes behind the barrier those given, adding first what is missing. For IPv4 the reverse path filter must be
 * off on every interface: it asks the routing where answers would come from, and asks without a mark.
 *
 * Returns 0: nothing was missing, 1: something was. -EOPNOTSUPP: the filter is on, which error names, and no IPv4 prefix is
 * behind the barrier; -E2BIG: too many prefixes, and none is; or -Exxx: it could not be changed. All with a sentence in error.
 */
MUST_CHECK int source_barrier_set(uint32_t mark, const struct net_prefix *prefixes, size_t count, char *error,
                                  size_t error_size);

/* Removes all of it; what is not there is fine. Returns 0, or -Exxx with a sentence in error. */
MUST_CHECK int source_barrier_remove(char *error, size_t error_size);
