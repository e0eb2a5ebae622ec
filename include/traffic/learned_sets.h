/*
 * What the kernel's sets of learned addresses are to hold: by a table of facts and a policy. An address is in a set once, for
 * as long as the name that is known for longest. Nothing is kept here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/net_address.h"
#include "kernel/ruleset.h"
#include "policy/network_plan.h"
#include "policy/policy.h"
#include "traffic/learned_table.h"

/* Until when the cluster's facts about the address want it in the service's set; 0: not at all. */
uint64_t learned_sets_until(struct learned_table *table, const struct policy *policy, const char *cluster,
                            const struct net_address *address, const struct network_service *service, uint64_t now_ms);

/* name is one that the address was learned from; all texts are borrowed for the call. */
typedef void (*learned_set_fn)(const char *set, const struct learned_fact *fact, void *context);

/*
 * Calls back for each element that the policy's sets are to hold and the former policy's (NULL: no set) were not to, or not
 * for the same time, with the fact that lasts longest. Among those whose names end at the same time, each may be told of.
 */
void learned_sets_each_new(struct learned_table *table, const struct policy *former, const struct policy *policy,
                           uint64_t now_ms, learned_set_fn on_element, void *context);

/* The same for each element that the former policy's sets were to hold and the policy's are not to. */
void learned_sets_each_stale(struct learned_table *table, const struct policy *former, const struct policy *policy,
                             uint64_t now_ms, learned_set_fn on_element, void *context);
