#include "traffic/generation.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct generation {
        atomic_uint references;
        uint64_t number;
        struct policy *policy;    /* owned reference */
        struct snat_pools *pools; /* owned */
};

int generation_new(uint64_t number, struct policy *policy, struct snat_registry *registry, struct generation **ret)
{
        struct generation *generation = calloc(1, sizeof(*generation));

        if (generation == NULL)
                return -ENOMEM;
        int r = snat_pools_new(registry, policy_config(policy), &generation->pools);
        if (r < 0) {
                free(generation);
                return r;
        }
        atomic_init(&generation->references, 1);
        generation->number = number;
        generation->policy = policy;
        *ret = generation;
        return 0;
}

struct generation *generation_ref(struct generation *generation)
{
        atomic_fetch_add_explicit(&generation->references, 1, memory_order_relaxed);
        return generation;
}

void generation_unref(struct generation *generation)
{
        if (generation == NULL)
                return;
        if (atomic_fetch_sub_explicit(&generation->references, 1, memory_order_acq_rel) > 1)
                return;
        snat_pools_free(generation->pools);
        policy_unref(generation->policy);
        free(generation);
}

uint64_t generation_number(const struct generation *generation)
{
        return generation->number;
}

const struct policy *generation_policy(const struct generation *generation)
{
        return generation->policy;
}

const struct config *generation_config(const struct generation *generation)
{
        return policy_config(generation->policy);
}

struct snat_pools *generation_pools(const struct generation *generation)
{
        return generation->pools;
}
