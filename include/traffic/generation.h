/*
 * One loaded configuration in force: its policy and the SNAT pools built for it. Immutable, reference-counted; a worker and
 * every connection hold one reference each, so an old generation lives as long as a connection that still stands on it.
 */
#pragma once

#include <stdint.h>

#include "base/compiler.h"
#include "net/snat_pool.h"
#include "policy/policy.h"

struct generation;

/* Takes over the caller's reference to policy on success. The registry must outlive it. 0 or -ENOMEM. */
MUST_CHECK int generation_new(uint64_t number, struct policy *policy, struct snat_registry *registry,
                              struct generation **ret);

struct generation *generation_ref(struct generation *generation);

/* Takes NULL. */
void generation_unref(struct generation *generation);

uint64_t generation_number(const struct generation *generation);
const struct policy *generation_policy(const struct generation *generation);
const struct config *generation_config(const struct generation *generation);
struct snat_pools *generation_pools(const struct generation *generation);
