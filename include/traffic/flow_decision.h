/*
 * Flows that the kernel forwards, judged by the policy in force: whether they may go on, and what a record says of one that
 * ended. By address, and by what is or was known of names.
 */
#pragma once

#include <stdbool.h>

#include "kernel/flow.h"
#include "policy/policy.h"
#include "records/decision.h"
#include "traffic/learned_addresses.h"

/*
 * Whether the policy would let the flow begin now, in audit mode too. A flow to an address that no name is remembered for
 * goes on as long as a network rule with its protocol and port is about names.
 */
bool flow_decision_allows(const struct policy *policy, struct learned_addresses *learned, const struct flow *flow);

/* Fills the record of a flow that has ended or, where it has not, of its start; but for its time. */
void flow_decision_describe(const struct policy *policy, struct learned_addresses *learned, const struct flow *flow,
                            struct decision *ret);
