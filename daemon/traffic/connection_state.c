#include "traffic/connection_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void connection_state_note_hello(struct connection *c, const struct client_hello *hello)
{
        c->has_tls = true;
        c->ech = hello->ech;
        free(c->alpn);
        c->alpn = hello->alpn[0] != '\0' ? strdup(hello->alpn) : NULL;
}

void connection_state_note_name(struct connection *c, const struct inspect_result *result)
{
        if (result->protocol == INSPECT_PROTOCOL_TLS) {
                connection_state_note_hello(c, &result->hello);
                c->asked.protocol = POLICY_PROTOCOL_HTTPS;
                c->asked.name = result->hello.server_name;
                return;
        }
        bool tunnel = result->request.form == HTTP_REQUEST_CONNECT;
        c->asked.protocol = tunnel ? POLICY_PROTOCOL_HTTPS : POLICY_PROTOCOL_HTTP;
        c->asked.name = result->request.name;
}

void connection_state_note_hint(struct connection *c, const char *hint)
{
        free(c->hint);
        c->hint = hint[0] != '\0' ? strdup(hint) : NULL;
}

void connection_state_note_foreign_name(struct connection *c, const struct fqdn *name)
{
        char hint[POLICY_HINT_SIZE];

        snprintf(hint, sizeof(hint), "the ClientHello names '%.200s'", name->text);
        connection_state_note_hint(c, hint);
}

void connection_state_note_verdict(struct connection *c, const struct policy_verdict *verdict)
{
        c->decided = true;
        c->verdict = (struct connection_verdict){
                .action = verdict->action,
                .reason = verdict->reason,
                .by_network_rule = verdict->by_network_rule,
                .feature = verdict->feature,
                .rule_file = verdict->rule_file,
                .rule_line = verdict->rule_line,
        };
        connection_state_note_hint(c, verdict->hint);
}

void connection_state_id(const struct connection *c, char id[DECISION_ID_SIZE])
{
        snprintf(id, DECISION_ID_SIZE, "%016" PRIx64, c->id);
}

static enum decision_protocol describe_protocol(const struct connection *c)
{
        if (!c->decided && c->asked.name.length == 0) {
                switch (c->speaks) {
                case INSPECT_PROTOCOL_TLS:
                        return DECISION_PROTOCOL_HTTPS;
                case INSPECT_PROTOCOL_HTTP:
                        return DECISION_PROTOCOL_HTTP;
                case INSPECT_PROTOCOL_UNKNOWN:
                        return DECISION_PROTOCOL_UNKNOWN;
                }
        }
        switch (c->asked.protocol) {
        case POLICY_PROTOCOL_HTTPS:
                /* A CONNECT that a tcp rule let through may carry anything. */
                if (c->verdict.by_network_rule && !c->has_tls)
                        return DECISION_PROTOCOL_TCP;
                return DECISION_PROTOCOL_HTTPS;
        case POLICY_PROTOCOL_HTTP:
                return DECISION_PROTOCOL_HTTP;
        case POLICY_PROTOCOL_TCP:
        case POLICY_PROTOCOL_UDP:
                return DECISION_PROTOCOL_TCP;
        }
        return DECISION_PROTOCOL_UNKNOWN;
}

/* Where it was to go: what we connected to, else what was asked, else what the client dialled. */
static struct net_endpoint describe_destination(const struct connection *c)
{
        struct net_endpoint destination = c->destination;

        if (destination.address.family == AF_UNSPEC && c->asked.name.length == 0)
                destination.address = c->asked.address;
        if (destination.port == 0)
                destination.port = c->asked.port != 0 ? c->asked.port : c->original.port;
        return destination;
}

void connection_state_describe(const struct connection *c, enum reason reason, struct decision *ret)
{
        bool refused = reason_row(reason)->outcome == REASON_OUTCOME_REFUSED;

        *ret = (struct decision){
                .event = DECISION_EVENT_CONNECTION,
                .action = refused ? POLICY_DENY : c->verdict.action,
                .reason = reason,
                .listener = c->listener,
                .protocol = describe_protocol(c),
                .time_us = clock_wall_us(),
                .duration_ms = clock_monotonic_ms() - c->started_ms,
                .bytes_out = c->bytes_out,
                .bytes_in = c->bytes_in,
                .client = c->client,
                .original = c->original,
                .destination = describe_destination(c),
                .snat = c->snat,
                .fqdn = c->dial_at_once && c->asked.name.length == 0 ? c->upstream.name : c->asked.name,
                .ech = c->ech,
                .has_tls = c->has_tls,
        };
        /* What an audited connection would have been refused for matters more than how it ended. */
        if (ret->action == POLICY_AUDIT)
                ret->reason = c->verdict.reason;
        connection_state_id(c, ret->connection_id);
        if (c->cluster != NULL)
                snprintf(ret->cluster, sizeof(ret->cluster), "%s", policy_cluster_name(c->cluster));
        decision_set_rule(ret, c->verdict.feature, c->verdict.rule_file, c->verdict.rule_line);
        if (c->hint != NULL)
                snprintf(ret->hint, sizeof(ret->hint), "%s", c->hint);
        if (c->alpn != NULL)
                snprintf(ret->alpn, sizeof(ret->alpn), "%s", c->alpn);
}
