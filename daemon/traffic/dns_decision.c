#include "traffic/dns_decision.h"

#include <stdio.h>

#include "base/clock.h"

static void describe_query(const struct dns_query *query, struct decision *ret)
{
        ret->fqdn = query->name;
        ret->dns.id = query->id;
        ret->dns.type = query->type;
        ret->dns.class = query->class;
        ret->dns.edns_size = query->edns_size;
        ret->dns.dnssec_ok = query->dnssec_ok;
}

static void describe_response(const struct dns_decision *what, struct decision *ret)
{
        ret->dns.has_response = true;
        ret->dns.response_size = (uint32_t)what->response_size;
        ret->dns.rcode = (uint16_t)what->rcode;
        ret->dns.flags = (uint16_t)(what->response[2] << 8 | what->response[3]);
}

void dns_decision_describe(const struct dns_decision *what, struct decision *ret)
{
        bool refused = reason_row(what->reason)->outcome == REASON_OUTCOME_REFUSED;

        *ret = (struct decision){
                .event = DECISION_EVENT_QUERY,
                .action = refused ? POLICY_DENY : what->verdict->action,
                .reason = what->reason,
                .listener = DECISION_LISTENER_DNS,
                .protocol = DECISION_PROTOCOL_DNS,
                .time_us = clock_wall_us(),
                .duration_ms = clock_monotonic_ms() - what->started_ms,
                .client = *what->client,
                .dns.request_size = (uint32_t)what->request_size,
                .dns.is_tcp = what->is_tcp,
        };
        /* What an audited query would have been refused for matters more than how it ended. */
        if (ret->action == POLICY_AUDIT)
                ret->reason = what->verdict->reason;
        if (what->query != NULL)
                describe_query(what->query, ret);
        if (what->response != NULL)
                describe_response(what, ret);
        if (what->cluster != NULL)
                snprintf(ret->cluster, sizeof(ret->cluster), "%s", policy_cluster_name(what->cluster));
        decision_set_rule(ret, what->verdict->feature, what->verdict->rule_file, what->verdict->rule_line);
        snprintf(ret->hint, sizeof(ret->hint), "%s", what->verdict->hint);
}
