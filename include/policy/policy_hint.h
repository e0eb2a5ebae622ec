/* What would have allowed a request that no rule allows: looked for in all feature files, enabled or not. */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "policy/feature_catalog.h"
#include "policy/policy.h"
#include "policy/rule.h"

/* All rules of all feature files for one cloud, with every label that holds a parameter as a wildcard. */
struct policy_hints;

/* Borrows the catalog. Returns 0 or -ENOMEM. */
MUST_CHECK int policy_hints_new(const struct feature_catalog *catalog, enum rule_cloud cloud,
                                struct policy_hints **ret);

/* Takes NULL. */
void policy_hints_free(struct policy_hints *hints);

/* Writes the most useful sentence, or "" when there is none. The cluster may be NULL: the source is in none. */
void policy_hint_write(const struct policy *policy, const struct policy_cluster *cluster,
                       const struct policy_request *request, char hint[POLICY_HINT_SIZE]);
