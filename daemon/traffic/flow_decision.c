#include "traffic/flow_decision.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "policy/network_plan.h"

static bool is_tcp_or_udp(const struct flow *flow)
{
        return flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP;
}

/* Rules are about ports of TCP and UDP; port 0 is in none, and would be asked for as any port. */
static bool may_have_rule(const struct flow *flow)
{
        return is_tcp_or_udp(flow) && flow->destination.port != 0;
}

/* Without a destination, where no rule can be about the flow. */
static struct policy_request request_for(const struct flow *flow)
{
        return (struct policy_request){
                .protocol = flow->protocol == IPPROTO_TCP ? POLICY_PROTOCOL_TCP : POLICY_PROTOCOL_UDP,
                .port = flow->destination.port,
                .address = may_have_rule(flow) ? flow->destination.address : (struct net_address){ 0 },
                .source = flow->client.address,
        };
}

/* Decides by address first, as the kernel's sets do; where that says no, by the name that the address was known for. */
static void decide(const struct policy *policy, struct learned_addresses *learned, const struct policy_cluster *cluster,
                   const struct flow *flow, enum learned_flow *ret_learned, struct policy_request *ret_request,
                   struct policy_verdict *ret)
{
        *ret_request = request_for(flow);
        *ret_learned = LEARNED_FLOW_UNKNOWN;
        policy_decide(policy, cluster, ret_request, ret);
        if (cluster == NULL || !may_have_rule(flow) || ret->reason != REASON_NO_RULE)
                return;
        *ret_learned = learned_addresses_judge_flow(learned, policy, cluster, ret_request->protocol, &flow->destination,
                                                    &ret_request->name);
        if (*ret_learned == LEARNED_FLOW_ALLOWED)
                policy_decide(policy, cluster, ret_request, ret);
}

/* Whether a network rule of the cluster with this protocol and port is about names. */
static bool learns(const struct policy *policy, const struct policy_cluster *cluster,
                   const struct policy_request *request)
{
        const struct network_services *services = policy_services_of(policy, cluster);

        for (size_t i = 0; i < services->count; i++)
                if (services->items[i].has_names && services->items[i].protocol == request->protocol &&
                    port_set_contains(&services->items[i].ports, request->port))
                        return true;
        return false;
}

/* A port that a new policy steers is the proxy's from then on. */
static bool is_proxys(const struct policy *policy, const struct flow *flow)
{
        return flow->protocol == IPPROTO_TCP && policy_is_steered(policy, flow->destination.port);
}

bool flow_decision_allows(const struct policy *policy, struct learned_addresses *learned, const struct flow *flow)
{
        const struct policy_cluster *cluster = policy_cluster_of(policy, &flow->client.address);
        struct policy_request request;
        struct policy_verdict verdict;
        enum learned_flow known;
        char hint[POLICY_HINT_SIZE];

        if (cluster == NULL || is_proxys(policy, flow) ||
            policy_permits_address(policy, cluster, &flow->destination.address, flow->destination.port, hint) !=
                    REASON_COMPLETED)
                return false;
        decide(policy, learned, cluster, flow, &known, &request, &verdict);
        if (verdict.action != POLICY_DENY)
                return true;
        return verdict.reason == REASON_NO_RULE && known == LEARNED_FLOW_UNKNOWN && may_have_rule(flow) &&
               learns(policy, cluster, &request);
}

/* What it would have been refused for. */
static void describe_audit(const struct flow *flow, const struct policy_verdict *verdict, struct decision *ret)
{
        ret->reason = verdict->reason;
        if (verdict->reason == REASON_NO_RULE)
                ret->reason = ret->protocol == DECISION_PROTOCOL_ICMP ? REASON_ICMP : REASON_NO_NETWORK_RULE;
        decision_set_rule(ret, verdict->feature, verdict->rule_file, verdict->rule_line);
        if (may_have_rule(flow))
                memcpy(ret->hint, verdict->hint, sizeof(ret->hint));
}

void flow_decision_describe(const struct policy *policy, struct learned_addresses *learned, const struct flow *flow,
                            struct decision *ret)
{
        const struct policy_cluster *cluster = policy_cluster_of(policy, &flow->client.address);
        bool closes = policy_config(policy)->on_policy_change == CONFIG_ON_POLICY_CHANGE_CLOSE;
        struct policy_request request;
        struct policy_verdict verdict;
        enum learned_flow known;

        decide(policy, learned, cluster, flow, &known, &request, &verdict);
        *ret = (struct decision){
                .event = flow->has_ended ? DECISION_EVENT_FLOW : DECISION_EVENT_START,
                .action = verdict.action == POLICY_AUDIT ? POLICY_AUDIT : POLICY_ALLOW,
                .reason = REASON_COMPLETED,
                .listener = DECISION_LISTENER_FORWARD,
                .protocol = decision_protocol_of_ip(flow->protocol),
                .ip_protocol = flow->protocol,
                .duration_ms = flow->duration_ms,
                .bytes_out = flow->bytes_out,
                .bytes_in = flow->bytes_in,
                .lacks_bytes = !flow->has_bytes,
                .lacks_duration = !flow->has_duration,
                .client = flow->client,
                .original = flow->destination,
                .destination = flow->destination,
                .snat = flow->snat,
                .fqdn = request.name,
        };
        snprintf(ret->connection_id, sizeof(ret->connection_id), "%08" PRIx32, flow->id);
        if (cluster != NULL)
                snprintf(ret->cluster, sizeof(ret->cluster), "%s", policy_cluster_name(cluster));
        if (closes && !flow_decision_allows(policy, learned, flow))
                ret->reason = REASON_POLICY_CHANGED;
        else if (verdict.action == POLICY_AUDIT)
                describe_audit(flow, &verdict, ret);
        else if (verdict.action == POLICY_ALLOW)
                decision_set_rule(ret, verdict.feature, verdict.rule_file, verdict.rule_line);
}
