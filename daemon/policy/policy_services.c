/* policy_each_service_of_name: where the addresses of a name belong. The rest of the policy is in policy.c. */
#include "policy/network_plan.h"
#include "policy/policy.h"
#include "policy/policy_layout.h"

/* Whether two port lists have a port in common. */
static bool ports_meet(const struct port_set *a, const struct port_set *b)
{
        for (size_t i = 0; i < a->count; i++)
                for (size_t j = 0; j < b->count; j++)
                        if (a->ranges[i].first <= b->ranges[j].last && b->ranges[j].first <= a->ranges[i].last)
                                return true;
        return false;
}

/* Looks for a deny rule that takes some port of a service back from a name. */
struct deny_search {
        const struct port_set *ports;
        bool found;
};

static bool on_deny_rule(const struct rule_match *match, void *context)
{
        struct deny_search *search = context;

        search->found = ports_meet(rule_match_ports(match), search->ports);
        return !search->found;
}

static bool name_is_denied(const struct policy_cluster *cluster, const struct fqdn *name, enum policy_protocol protocol,
                           const struct port_set *ports)
{
        const struct rule_query query = { .protocols = 1u << protocol, .name = name };
        struct deny_search search = { .ports = ports };

        for (size_t i = 0; i < cluster->deny.count && !search.found; i++)
                rule_set_each_match(cluster->deny.sets[i], &query, on_deny_rule, &search);
        return search.found;
}

/* Hands the services of the rules that are about a name on. */
struct service_search {
        const struct policy_cluster *cluster;
        const struct fqdn *name;
        const struct network_services *services;
        policy_service_fn on_service;
        void *context;
};

static bool on_service_rule(const struct rule_match *match, void *context)
{
        const struct service_search *search = context;
        const struct network_service *service =
                network_services_find(search->services, rule_match_protocol(match), rule_match_ports(match));

        if (service != NULL && !name_is_denied(search->cluster, search->name, service->protocol, &service->ports))
                search->on_service(service, search->context);
        return true;
}

const struct network_services *policy_services_of(const struct policy *policy, const struct policy_cluster *cluster)
{
        return &policy->networks->clusters[cluster - policy->clusters].allow;
}

void policy_each_service_of_name(const struct policy *policy, const struct policy_cluster *cluster,
                                 const struct fqdn *name, policy_service_fn on_service, void *context)
{
        const struct rule_query query = { .protocols = 1u << POLICY_PROTOCOL_TCP | 1u << POLICY_PROTOCOL_UDP,
                                          .name = name };
        struct service_search search = {
                .cluster = cluster,
                .name = name,
                .services = policy_services_of(policy, cluster),
                .on_service = on_service,
                .context = context,
        };

        for (size_t i = 0; i < cluster->allow.count; i++)
                rule_set_each_match(cluster->allow.sets[i], &query, on_service_rule, &search);
        rule_set_each_match(cluster->api_server, &query, on_service_rule, &search);
}
