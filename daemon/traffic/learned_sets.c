#include "traffic/learned_sets.h"

#include <string.h>

/* Looks for the fact that wants an address in a service's set for longest. */
struct longest_search {
        const struct policy *policy;
        const struct policy_cluster *cluster;
        const char *label; /* of the service */
        bool is_about;     /* the fact that is looked at */
        uint64_t until_ms;
};

static void on_service_of_name(const struct network_service *service, void *context)
{
        struct longest_search *search = context;

        search->is_about = search->is_about || strcmp(service->label, search->label) == 0;
}

static bool on_fact(const struct learned_fact *fact, void *context)
{
        struct longest_search *search = context;
        struct fqdn name;

        if (fact->until_ms <= search->until_ms || fqdn_from_text(fact->name, &name) < 0)
                return true;
        search->is_about = false;
        policy_each_service_of_name(search->policy, search->cluster, &name, on_service_of_name, search);
        if (search->is_about)
                search->until_ms = fact->until_ms;
        return true;
}

static bool is_permitted(const struct policy *policy, const struct policy_cluster *cluster,
                         const struct net_address *address)
{
        char hint[POLICY_HINT_SIZE];

        return policy_permits_address(policy, cluster, address, 0, hint) == REASON_COMPLETED;
}

uint64_t learned_sets_until(struct learned_table *table, const struct policy *policy, const char *cluster,
                            const struct net_address *address, const struct network_service *service, uint64_t now_ms)
{
        struct longest_search search = { .policy = policy,
                                         .cluster = policy_cluster_named(policy, cluster),
                                         .label = service->label };

        if (search.cluster == NULL || !is_permitted(policy, search.cluster, address))
                return 0;
        learned_table_each_of(table, cluster, address, now_ms, on_fact, &search);
        return search.until_ms;
}

/* Hands on what one policy wants and another does not, or not so. */
struct difference {
        struct learned_table *table;
        const struct policy *policy;
        const struct policy *other; /* NULL: it wants nothing */
        uint64_t now_ms;
        bool also_for_another_time;
        learned_set_fn on_element;
        void *context;
        const struct learned_fact *fact;
};

static uint64_t wanted_until(const struct difference *difference, const struct policy *policy,
                             const struct network_service *service)
{
        return learned_sets_until(difference->table, policy, difference->fact->cluster, &difference->fact->address,
                                  service, difference->now_ms);
}

/* Of several facts that want the same, the longest speaks; of equally long ones each does, which does no harm. */
static void on_service_of_fact(const struct network_service *service, void *context)
{
        const struct difference *difference = context;
        const struct learned_fact *fact = difference->fact;
        char set[RULESET_SET_NAME_SIZE];
        uint64_t other_ms;

        if (wanted_until(difference, difference->policy, service) != fact->until_ms)
                return;
        other_ms = difference->other == NULL ? 0 : wanted_until(difference, difference->other, service);
        if (other_ms == fact->until_ms || (other_ms > 0 && !difference->also_for_another_time))
                return;
        ruleset_learned_set(service, fact->cluster, fact->address.family, set);
        difference->on_element(set, fact, difference->context);
}

static bool on_each_fact(const struct learned_fact *fact, void *context)
{
        struct difference *difference = context;
        const struct policy_cluster *cluster = policy_cluster_named(difference->policy, fact->cluster);
        struct fqdn name;

        if (cluster == NULL || fqdn_from_text(fact->name, &name) < 0)
                return true;
        difference->fact = fact;
        policy_each_service_of_name(difference->policy, cluster, &name, on_service_of_fact, difference);
        return true;
}

void learned_sets_each_new(struct learned_table *table, const struct policy *former, const struct policy *policy,
                           uint64_t now_ms, learned_set_fn on_element, void *context)
{
        struct difference difference = { .table = table,
                                         .policy = policy,
                                         .other = former,
                                         .now_ms = now_ms,
                                         .also_for_another_time = true,
                                         .on_element = on_element,
                                         .context = context };

        if (former != policy)
                learned_table_each(table, now_ms, on_each_fact, &difference);
}

void learned_sets_each_stale(struct learned_table *table, const struct policy *former, const struct policy *policy,
                             uint64_t now_ms, learned_set_fn on_element, void *context)
{
        struct difference difference = { .table = table,
                                         .policy = former,
                                         .other = policy,
                                         .now_ms = now_ms,
                                         .on_element = on_element,
                                         .context = context };

        if (former != NULL && former != policy)
                learned_table_each(table, now_ms, on_each_fact, &difference);
}
