/* policy_decide_query: which names may be resolved. The rest of the policy is in policy.c. */
#include <limits.h>

#include "policy/policy.h"
#include "policy/policy_layout.h"

/* Looks for an allowed rule about a name of which some port is not denied. */
struct name_search {
        const struct policy *policy;
        const struct policy_cluster *cluster;
        const struct fqdn *name;
        struct policy_verdict *verdict;
        bool found;
};

static bool port_is_allowed(struct name_search *search, enum policy_protocol protocol, uint16_t port)
{
        const struct policy_request request = { .protocol = protocol, .port = port, .name = *search->name };

        policy_decide(search->policy, search->cluster, &request, search->verdict);
        return search->verdict->reason == REASON_COMPLETED;
}

/* A deny rule that leaves only ports between the ends of a range open is not seen through: the name is refused. */
static bool on_name_rule(const struct rule_match *match, void *context)
{
        struct name_search *search = context;
        enum policy_protocol protocol = rule_match_protocol(match);
        const struct port_set *ports = rule_match_ports(match);

        for (size_t i = 0; i < ports->count && !search->found; i++)
                search->found = port_is_allowed(search, protocol, ports->ranges[i].first) ||
                                port_is_allowed(search, protocol, ports->ranges[i].last);
        return !search->found;
}

const struct config_forward_zone *policy_forward_zone_of(const struct policy *policy, const struct fqdn *name)
{
        for (size_t i = 0; i < policy->config->forward_zone_count; i++)
                if (fqdn_is_within(name, &policy->config->forward_zones[i].zone))
                        return &policy->config->forward_zones[i];
        return NULL;
}

static void deny_name(const struct policy *policy, const struct policy_cluster *cluster, const struct fqdn *name,
                      struct policy_verdict *ret)
{
        struct policy_request request = { .protocol = POLICY_PROTOCOL_HTTPS, .port = 443, .name = *name };

        if (ret->reason == REASON_COMPLETED) { /* No rule is about it at all. */
                ret->reason = REASON_NO_RULE;
                policy_hint_write(policy, cluster, &request, ret->hint);
        }
        ret->action = cluster->config->dns_filter == CONFIG_DNS_FILTER_AUDIT ? POLICY_AUDIT : POLICY_DENY;
}

void policy_decide_query(const struct policy *policy, const struct policy_cluster *cluster, const struct fqdn *name,
                         struct policy_verdict *ret)
{
        struct name_search search = { .policy = policy, .cluster = cluster, .name = name, .verdict = ret };
        struct rule_query query = { .protocols = UINT_MAX, .name = name };

        *ret = (struct policy_verdict){ .action = POLICY_ALLOW, .reason = REASON_COMPLETED };
        if (cluster == NULL) {
                ret->action = POLICY_DENY;
                ret->reason = REASON_UNKNOWN_SOURCE;
                return;
        }
        if (cluster->config->dns_filter == CONFIG_DNS_FILTER_OFF)
                return;
        if (policy_forward_zone_of(policy, name) != NULL) {
                ret->feature = "forward_zones";
                return;
        }
        for (size_t i = 0; i < cluster->allow.count && !search.found; i++)
                rule_set_each_match(cluster->allow.sets[i], &query, on_name_rule, &search);
        if (!search.found)
                deny_name(policy, cluster, name, ret);
}
