/*
 * Brings the kernel's sets of learned addresses from one policy to another by what a table of facts says of both, in batches
 * of elements (kernel/set_elements.h). libnftables would take seconds for many. Nothing is kept here.
 */
#pragma once

#include "base/compiler.h"
#include "kernel/set_elements.h"
#include "policy/policy.h"
#include "traffic/learned_table.h"

/*
 * The comment of an element: the name, borrowed. NULL for one that does not fit, which so is not taken over by the next
 * daemon: cut, it could be another name, of another rule.
 */
const char *learned_filling_comment(const char *name);

/*
 * Puts what the policy's sets, which the kernel has, are to hold and the former policy's (NULL: no set) were not to, or not
 * for the same time. Returns 0 or -Exxx: some of it is missing.
 */
MUST_CHECK int learned_filling_put_new(struct set_elements *kernel, struct learned_table *table,
                                       const struct policy *former, const struct policy *policy);

/*
 * Removes what the former policy's sets were to hold and the policy's, which the kernel has, are not to. Lookups find
 * everything else meanwhile. Returns 0 or -Exxx: some of it is left.
 */
MUST_CHECK int learned_filling_remove_stale(struct set_elements *kernel, struct learned_table *table,
                                            const struct policy *former, const struct policy *policy);
