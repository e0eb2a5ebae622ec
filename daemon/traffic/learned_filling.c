#include "traffic/learned_filling.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernel/ruleset.h"
#include "policy/network_plan.h"
#include "traffic/learned_sets.h"

typedef int (*change_elements_fn)(struct set_elements *kernel, const struct set_element *elements, size_t count,
                                  size_t *reterr_index);

/* Elements on their way into the kernel or out of it, some at a time. */
struct filling {
        struct set_elements *kernel; /* borrowed, as the next one */
        const struct policy *policy; /* whose sets the kernel has */
        change_elements_fn change;
        uint64_t now_ms;
        size_t count;
        struct set_element elements[SET_ELEMENTS_PER_TRANSACTION];
        char sets[SET_ELEMENTS_PER_TRANSACTION][RULESET_SET_NAME_SIZE];
        int result;
};

const char *learned_filling_comment(const char *name)
{
        return strlen(name) <= SET_ELEMENTS_COMMENT_MAX ? name : NULL;
}

static void fill_now(struct filling *filling)
{
        size_t refused;
        int r = 0;

        if (filling->count > 0)
                r = filling->change(filling->kernel, filling->elements, filling->count, &refused);
        filling->count = 0;
        if (r < 0)
                filling->result = r;
}

/* The texts of a fact stay while the table is walked: what changes it runs in the thread that fills. */
static void on_difference(const char *set, const struct learned_fact *fact, void *context)
{
        struct filling *filling = context;
        size_t index = filling->count++;

        memcpy(filling->sets[index], set, strlen(set) + 1);
        filling->elements[index] = (struct set_element){ .set = filling->sets[index],
                                                         .address = fact->address,
                                                         .timeout_ms = fact->until_ms - filling->now_ms,
                                                         .comment = learned_filling_comment(fact->name) };
        if (filling->count == SET_ELEMENTS_PER_TRANSACTION)
                fill_now(filling);
}

static bool cluster_has_set(const struct network_cluster *cluster, int family, const char *set)
{
        char candidate[RULESET_SET_NAME_SIZE];

        for (size_t i = 0; i < cluster->allow.count; i++) {
                if (!cluster->allow.items[i].has_names)
                        continue;
                ruleset_learned_set(&cluster->allow.items[i], cluster->name, family, candidate);
                if (strcmp(candidate, set) == 0)
                        return true;
        }
        return false;
}

/* A set that the policy has no more took its elements along. */
static void on_left_over(const char *set, const struct learned_fact *fact, void *context)
{
        const struct filling *filling = context;
        const struct network_plan *plan = policy_networks(filling->policy);

        for (size_t i = 0; i < plan->cluster_count; i++)
                if (strcmp(plan->clusters[i].name, fact->cluster) == 0 &&
                    cluster_has_set(&plan->clusters[i], fact->address.family, set))
                        on_difference(set, fact, context);
}

static struct filling *begin(struct set_elements *kernel, const struct policy *policy, change_elements_fn change)
{
        struct filling *filling = calloc(1, sizeof(*filling));

        if (filling == NULL)
                return NULL;
        filling->kernel = kernel;
        filling->policy = policy;
        filling->change = change;
        filling->now_ms = clock_monotonic_ms();
        return filling;
}

static int end(struct filling *filling)
{
        fill_now(filling);
        int r = filling->result;
        free(filling);
        return r;
}

int learned_filling_put_new(struct set_elements *kernel, struct learned_table *table, const struct policy *former,
                            const struct policy *policy)
{
        struct filling *filling = begin(kernel, policy, set_elements_put);

        if (filling == NULL)
                return -ENOMEM;
        learned_sets_each_new(table, former, policy, filling->now_ms, on_difference, filling);
        return end(filling);
}

int learned_filling_remove_stale(struct set_elements *kernel, struct learned_table *table, const struct policy *former,
                                 const struct policy *policy)
{
        struct filling *filling = begin(kernel, policy, set_elements_remove);

        if (filling == NULL)
                return -ENOMEM;
        learned_sets_each_stale(table, former, policy, filling->now_ms, on_left_over, filling);
        return end(filling);
}
