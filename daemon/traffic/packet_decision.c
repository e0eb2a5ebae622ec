#include "traffic/packet_decision.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "kernel/ruleset.h"

#define DNS_PORT 53
#define DNS_OVER_TLS_PORT 853 /* RFC 7858; over QUIC: RFC 9250 */

static const struct {
        const char *prefix;
        enum reason reason;
} reasons[] = {
        { RULESET_LOG_PLATFORM, REASON_PLATFORM_ADDRESS },   { RULESET_LOG_UNKNOWN_SOURCE, REASON_UNKNOWN_SOURCE },
        { RULESET_LOG_NOT_PROXIED, REASON_NOT_PROXIED },     { RULESET_LOG_NO_FLOW, REASON_NO_FLOW },
        { RULESET_LOG_FORBIDDEN, REASON_FORBIDDEN_ADDRESS }, { RULESET_LOG_DENY_RULE, REASON_DENY_RULE },
        { RULESET_LOG_NO_RULE, REASON_NO_NETWORK_RULE },     { RULESET_LOG_NO_SOURCE, REASON_SNAT_UNAVAILABLE },
};

static bool find_reason(const char *prefix, enum reason *ret)
{
        for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
                if (strcmp(prefix, reasons[i].prefix) == 0) {
                        *ret = reasons[i].reason;
                        return true;
                }
        return false;
}

static bool is_tcp_or_udp(const struct ip_packet *packet)
{
        return packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP;
}

/* What no rule allows, by what it is. */
static enum reason refine(const struct ip_packet *packet)
{
        if (decision_protocol_of_ip(packet->protocol) == DECISION_PROTOCOL_ICMP)
                return REASON_ICMP;
        if (is_tcp_or_udp(packet) &&
            (packet->destination_port == DNS_PORT || packet->destination_port == DNS_OVER_TLS_PORT))
                return REASON_DNS_BYPASS;
        return REASON_NO_NETWORK_RULE;
}

static struct policy_request request_for(const struct decision *decision)
{
        return (struct policy_request){
                .protocol = decision->protocol == DECISION_PROTOCOL_TCP ? POLICY_PROTOCOL_TCP : POLICY_PROTOCOL_UDP,
                .port = decision->original.port,
                .address = decision->original.address,
                .source = decision->client.address,
        };
}

/* The rule that denies, or what would have allowed it. */
static void add_rule(const struct policy *policy, const struct policy_cluster *cluster, struct decision *decision)
{
        const struct policy_request request = request_for(decision);
        struct policy_verdict verdict;

        policy_decide(policy, cluster, &request, &verdict);
        if (verdict.reason == decision->reason)
                decision_set_rule(decision, verdict.feature, verdict.rule_file, verdict.rule_line);
        memcpy(decision->hint, verdict.hint, sizeof(decision->hint));
}

static void add_dns_hint(const struct policy *policy, struct decision *decision)
{
        const struct config_listener *dns = &policy_config(policy)->dns;
        const char *protocol = policy_protocol_name(request_for(decision).protocol);
        char address[NET_ADDRESS_TEXT_SIZE], server[NET_ENDPOINT_TEXT_SIZE];

        net_address_format(&decision->original.address, address);
        if (dns->enabled)
                snprintf(decision->hint, sizeof(decision->hint),
                         "clients are to ask %s (listen.dns); or allow '%s [%s]:%u'",
                         net_endpoint_format(&dns->endpoint, server), protocol, address,
                         (unsigned)decision->original.port);
        else
                snprintf(decision->hint, sizeof(decision->hint), "allow '%s [%s]:%u', or serve DNS with listen.dns",
                         protocol, address, (unsigned)decision->original.port);
}

/* Rules are about ports of TCP and UDP; port 0 is in none, and would be asked for as any port. */
static bool has_port(const struct decision *decision)
{
        return decision->original.port != 0 &&
               (decision->protocol == DECISION_PROTOCOL_TCP || decision->protocol == DECISION_PROTOCOL_UDP);
}

static void add_hint(const struct policy *policy, const struct policy_cluster *cluster, struct decision *decision)
{
        char hint[POLICY_HINT_SIZE];

        if (decision->reason == REASON_FORBIDDEN_ADDRESS || decision->reason == REASON_PLATFORM_ADDRESS) {
                (void)policy_permits_address(policy, cluster, &decision->original.address, decision->original.port,
                                             hint);
                memcpy(decision->hint, hint, sizeof(hint));
        } else if (decision->reason == REASON_DNS_BYPASS) {
                add_dns_hint(policy, decision);
        } else if (decision->reason == REASON_DENY_RULE || decision->reason == REASON_NO_NETWORK_RULE) {
                if (has_port(decision))
                        add_rule(policy, cluster, decision);
        }
}

bool packet_decision_describe(const struct policy *policy, const char *prefix, const struct ip_packet *packet,
                              struct decision *ret)
{
        const struct policy_cluster *cluster = policy_cluster_of(policy, &packet->source);
        enum reason reason;

        if (!find_reason(prefix, &reason))
                return false;
        *ret = (struct decision){
                .event = DECISION_EVENT_PACKET,
                .action = POLICY_DENY,
                .reason = reason == REASON_NO_NETWORK_RULE ? refine(packet) : reason,
                .listener = DECISION_LISTENER_FORWARD,
                .protocol = decision_protocol_of_ip(packet->protocol),
                .ip_protocol = packet->protocol,
                .client = { packet->source, packet->source_port },
                .original = { packet->destination, packet->destination_port },
                .destination = { packet->destination, packet->destination_port },
        };
        if (cluster != NULL)
                snprintf(ret->cluster, sizeof(ret->cluster), "%s", policy_cluster_name(cluster));
        add_hint(policy, cluster, ret);
        return true;
}

/* A browser tries QUIC first and TCP next; whether that will do is what an operator asks next. */
static void add_quic_hint(const struct policy *policy, struct decision *decision)
{
        const struct policy_request request = { .protocol = POLICY_PROTOCOL_HTTPS,
                                                .port = decision->original.port,
                                                .name = decision->fqdn,
                                                .source = decision->client.address };
        const struct policy_cluster *cluster = policy_cluster_of(policy, &decision->client.address);
        struct policy_verdict verdict;

        policy_decide(policy, cluster, &request, &verdict);
        if (verdict.action == POLICY_ALLOW)
                snprintf(decision->hint, sizeof(decision->hint),
                         "over TCP it is allowed, by feature '%s': clients fall back to it", verdict.feature);
        else
                memcpy(decision->hint, verdict.hint, sizeof(decision->hint));
}

void packet_decision_note_quic(const struct policy *policy, const struct client_hello *hello, struct decision *decision)
{
        decision->protocol = DECISION_PROTOCOL_QUIC;
        if (decision->reason == REASON_NO_NETWORK_RULE)
                decision->reason = REASON_QUIC;
        if (hello == NULL)
                return;
        decision->fqdn = hello->server_name;
        memcpy(decision->alpn, hello->alpn, sizeof(decision->alpn));
        decision->has_tls = true;
        decision->ech = hello->ech;
        if (decision->reason == REASON_QUIC && decision->fqdn.length > 0)
                add_quic_hint(policy, decision);
}
