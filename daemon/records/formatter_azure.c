#include "records/formatter_azure.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "records/formatter_json.h"

#define ACTION_REASON_SIZE 64 /* "would be refused: " and the longest reason */
#define ESCAPE_LENGTH 6       /* \u001f */

/*
 * Every text wholly escaped in the record that stands beside the columns, and again in the columns of an application rule,
 * which have the most; of the resource ID, in which the configuration takes no single byte that is escaped, every two.
 * Names, numbers, times and a syslog header take the rest.
 */
#define COLUMN_BYTES (FQDN_MAX_LENGTH + DECISION_CLUSTER_SIZE + DECISION_FEATURE_SIZE + 2 * DECISION_RULE_SIZE)
static_assert(COLUMN_BYTES >= DECISION_ALARM_SIZE + POLICY_HINT_SIZE, "an application rule is longer than an alarm");
static_assert((DECISION_TEXT_BYTES + COLUMN_BYTES + CONFIG_MAX_RESOURCE_ID / 2) * ESCAPE_LENGTH + 1536 <=
                      FORMATTER_BODY_SIZE,
              "the longest decision fits");

enum category {
        CATEGORY_APPLICATION_RULE = 0,
        CATEGORY_NETWORK_RULE,
        CATEGORY_DNS_QUERY,
        CATEGORY_ALARM,
};

/* What a decision is about, also where it is the start of it or many like it. */
static enum category category_of(const struct decision *decision)
{
        if (decision->event == DECISION_EVENT_ALARM)
                return CATEGORY_ALARM;
        if (decision->listener == DECISION_LISTENER_DNS)
                return CATEGORY_DNS_QUERY;
        if (decision->listener == DECISION_LISTENER_FORWARD)
                return CATEGORY_NETWORK_RULE;
        /* What a network rule let through to a steered port, or never said what it was, has no name to be judged by. */
        if (decision->protocol == DECISION_PROTOCOL_HTTPS || decision->protocol == DECISION_PROTOCOL_HTTP)
                return CATEGORY_APPLICATION_RULE;
        return CATEGORY_NETWORK_RULE;
}

static void put_name(struct text_builder *body, const char *name)
{
        text_builder_byte(body, '"');
        text_builder_text(body, name);
        text_builder_text(body, "\":");
}

static void put_text(struct text_builder *body, const char *name, const char *text, size_t length)
{
        put_name(body, name);
        text_builder_quoted(body, text, length);
        text_builder_byte(body, ',');
}

static void put_constant(struct text_builder *body, const char *name, const char *text)
{
        put_text(body, name, text, strlen(text));
}

static void put_number(struct text_builder *body, const char *name, uint64_t number)
{
        put_name(body, name);
        text_builder_number(body, number);
        text_builder_byte(body, ',');
}

static void put_boolean(struct text_builder *body, const char *name, bool value)
{
        put_name(body, name);
        text_builder_text(body, value ? "true," : "false,");
}

static void put_address(struct text_builder *body, const char *name, const struct net_address *address)
{
        char text[NET_ADDRESS_TEXT_SIZE];

        put_constant(body, name, net_address_format(address, text));
}

/* Of the members put so far the last one's comma goes. */
static void end_object(struct text_builder *body)
{
        body->next[-1] = '}';
}

static bool has_rule(const struct decision *decision)
{
        return decision->rule[0] != '\0';
}

/* Azure Firewall has Allow and Deny; what was let through for audit was let through. */
static const char *action_of(const struct decision *decision)
{
        return decision->action == POLICY_DENY ? "Deny" : "Allow";
}

/* The words of Azure Firewall where it has some for our reason; it has none for what was let through for audit. */
static void put_action_reason(struct text_builder *body, const struct decision *decision)
{
        char would_be[ACTION_REASON_SIZE];
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        if (decision->event == DECISION_EVENT_START || (decision->action == POLICY_ALLOW && has_rule(decision))) {
                put_constant(body, "ActionReason", "");
        } else if (decision->action == POLICY_AUDIT) {
                snprintf(would_be, sizeof(would_be), "would be refused: %s", reason);
                put_constant(body, "ActionReason", would_be);
        } else if (decision->reason == REASON_NO_RULE || decision->reason == REASON_NO_NETWORK_RULE) {
                put_constant(body, "ActionReason", "Default Action");
        } else if (decision->reason == REASON_NO_SERVER_NAME) {
                put_constant(body, "ActionReason", "SNI TLS extension was missing.");
        } else {
                put_text(body, "ActionReason", reason, length);
        }
}

/* Policy, group, collection and rule: the cluster, the feature, its file, and the rule in it. All empty where none matched. */
static void put_rule(struct text_builder *body, const struct decision *decision)
{
        size_t rule_length = strnlen(decision->rule, sizeof(decision->rule));
        const char *colon = memrchr(decision->rule, ':', rule_length);
        size_t file_length = colon != NULL ? (size_t)(colon - decision->rule) : rule_length;

        put_constant(body, "Action", action_of(decision));
        put_text(body, "Policy", decision->cluster,
                 has_rule(decision) ? strnlen(decision->cluster, sizeof(decision->cluster)) : 0);
        put_text(body, "RuleCollectionGroup", decision->feature,
                 has_rule(decision) ? strnlen(decision->feature, sizeof(decision->feature)) : 0);
        put_text(body, "RuleCollection", decision->rule, file_length);
        put_text(body, "Rule", decision->rule, rule_length);
        put_action_reason(body, decision);
}

static void put_protocol(struct text_builder *body, const struct decision *decision)
{
        char buffer[DECISION_PROTOCOL_SIZE];
        char upper[DECISION_PROTOCOL_SIZE];
        const char *protocol = decision_protocol_text(decision, buffer);
        size_t length = strlen(protocol);

        /* The table is of what the kernel sees, and of TCP where nothing else is known. */
        if (decision->protocol == DECISION_PROTOCOL_QUIC)
                put_constant(body, "Protocol", "UDP");
        else if (decision->protocol == DECISION_PROTOCOL_UNKNOWN)
                put_constant(body, "Protocol", "TCP");
        else {
                for (size_t i = 0; i < length; i++)
                        upper[i] = (char)toupper((unsigned char)protocol[i]);
                put_text(body, "Protocol", upper, length);
        }
}

static void put_source(struct text_builder *body, const struct decision *decision)
{
        put_address(body, "SourceIp", &decision->client.address);
        put_number(body, "SourcePort", decision->client.port);
}

static void put_application_rule(struct text_builder *body, const struct decision *decision)
{
        put_protocol(body, decision);
        put_source(body, decision);
        put_number(body, "DestinationPort", decision->destination.port);
        put_text(body, "Fqdn", decision->fqdn.text, decision->fqdn.length);
        put_constant(body, "TargetUrl", "");
        put_rule(body, decision);
        put_boolean(body, "IsTlsInspected", false);
        put_constant(body, "WebCategory", "");
        put_boolean(body, "IsExplicitProxyRequest", decision->listener == DECISION_LISTENER_PROXY);
}

static void put_network_rule(struct text_builder *body, const struct decision *decision)
{
        const struct net_address *destination = &decision->destination.address;

        put_protocol(body, decision);
        put_source(body, decision);
        put_address(body, "DestinationIp",
                    destination->family != AF_UNSPEC ? destination : &decision->original.address);
        put_number(body, "DestinationPort", decision->destination.port);
        put_rule(body, decision);
}

/* Seconds with their milliseconds: Azure's column is a real number. */
static void put_seconds(struct text_builder *body, const char *name, uint64_t duration_ms)
{
        char text[32];

        snprintf(text, sizeof(text), "%" PRIu64 ".%03u,", duration_ms / 1000, (unsigned)(duration_ms % 1000));
        put_name(body, name);
        text_builder_text(body, text);
}

static void put_dns_query(struct text_builder *body, const struct decision *decision)
{
        const struct decision_dns *dns = &decision->dns;
        char type[DNS_NAME_TEXT_SIZE];
        char class[DNS_NAME_TEXT_SIZE];
        char code[DNS_NAME_TEXT_SIZE];
        char flags[DECISION_FLAGS_SIZE];
        bool failed = decision->action == POLICY_DENY;
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        put_source(body, decision);
        put_number(body, "QueryId", dns->id);
        put_constant(body, "QueryType", dns->type != 0 ? dns_type_name(dns->type, type) : "");
        put_constant(body, "QueryClass", dns->type != 0 ? dns_class_name(dns->class, class) : "");
        put_text(body, "QueryName", decision->fqdn.text, decision->fqdn.length);
        put_constant(body, "Protocol", dns->is_tcp ? "tcp" : "udp");
        put_number(body, "RequestSize", dns->request_size);
        put_boolean(body, "DnssecOkBit", dns->edns_size != 0 && dns->dnssec_ok);
        put_number(body, "EDNS0BufferSize", dns->edns_size);
        put_constant(body, "ResponseCode", dns->has_response ? dns_rcode_name(dns->rcode, code) : "");
        put_text(body, "ResponseFlags", flags, dns->has_response ? decision_flags_format(dns->flags, flags) : 0);
        put_number(body, "ResponseSize", dns->has_response ? dns->response_size : 0);
        put_seconds(body, "RequestDurationSecs", decision->duration_ms);
        put_number(body, "ErrorNumber", failed && dns->has_response ? dns->rcode : 0);
        put_text(body, "ErrorMessage", reason, failed ? length : 0);
}

static void put_alarm(struct text_builder *body, const struct decision *decision)
{
        put_text(body, "Reason", decision->alarm, strnlen(decision->alarm, sizeof(decision->alarm)));
        put_text(body, "Message", decision->hint, strnlen(decision->hint, sizeof(decision->hint)));
}

static void put_properties(struct text_builder *body, const struct decision *decision)
{
        text_builder_text(body, "\"properties\":{");
        switch (category_of(decision)) {
        case CATEGORY_APPLICATION_RULE:
                put_application_rule(body, decision);
                break;
        case CATEGORY_NETWORK_RULE:
                put_network_rule(body, decision);
                break;
        case CATEGORY_DNS_QUERY:
                put_dns_query(body, decision);
                break;
        case CATEGORY_ALARM:
                put_alarm(body, decision);
                break;
        }
        end_object(body);
}

/* A time that the calendar cannot express would not be one for Azure either. */
static void put_time(struct text_builder *body, const struct decision *decision)
{
        char text[DECISION_TIME_SIZE];

        put_text(body, "time", text, decision_time_format(decision->time_us, text));
}

size_t formatter_azure_body(const struct formatter_style *style, const struct decision *decision,
                            struct text_builder *body)
{
        static const char *const categories[] = {
                [CATEGORY_APPLICATION_RULE] = "AZFWApplicationRule",
                [CATEGORY_NETWORK_RULE] = "AZFWNetworkRule",
                [CATEGORY_DNS_QUERY] = "AZFWDnsQuery",
                [CATEGORY_ALARM] = "AksEgressAlarm",
        };
        size_t stamp_at;

        text_builder_byte(body, '{');
        put_time(body, decision);
        put_constant(body, "category", categories[category_of(decision)]);
        put_constant(body, "resourceId", style->resource_id);
        put_properties(body, decision);
        text_builder_text(body, ",\"aksegress\":{");
        stamp_at = text_builder_length(body);
        formatter_json_members(decision, body);
        text_builder_text(body, "}}");
        return stamp_at;
}

void formatter_azure_stamp(const struct formatter_stamp *stamp, struct text_builder *record)
{
        formatter_json_stamp(stamp, record);
}
