#include "records/formatter_cef.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "records/sentence.h"

#define VENDOR "aksegressd"
#define PRODUCT "aksegressd"

/* 0 to 3 are low, 4 to 6 medium, 7 and 8 high. */
#define SEVERITY_ALLOW 1
#define SEVERITY_AUDIT 3
#define SEVERITY_DENY 5
#define SEVERITY_ALARM 8

#define REPLACEMENT_LENGTH 3 /* U+FFFD in UTF-8, for one byte: the longest that one becomes */

/*
 * Every text wholly replaced, once for its key and once in the sentence, an alarm once more in the header; keys, labels,
 * numbers, and the syslog header.
 */
static_assert((DECISION_TEXT_BYTES + DECISION_ALARM_SIZE + SENTENCE_SIZE) * REPLACEMENT_LENGTH + 3072 <=
                      FORMATTER_BODY_SIZE,
              "the longest decision fits");

static void escape_header(struct text_builder *body, uint32_t character)
{
        if (character != '|' && character != '\\') {
                text_builder_replacement(body);
                return;
        }
        text_builder_byte(body, '\\');
        text_builder_byte(body, (char)character);
}

static void escape_value(struct text_builder *body, uint32_t character)
{
        switch (character) {
        case '=':
        case '\\':
                text_builder_byte(body, '\\');
                text_builder_byte(body, (char)character);
                break;
        case '\n':
                text_builder_text(body, "\\n");
                break;
        case '\r':
                text_builder_text(body, "\\r");
                break;
        default:
                text_builder_replacement(body);
        }
}

static void put_header(struct text_builder *body, const char *text, size_t length)
{
        text_builder_escaped(body, text, length, "|\\", escape_header);
        text_builder_byte(body, '|');
}

static void put_key(struct text_builder *body, const char *key)
{
        text_builder_text(body, key);
        text_builder_byte(body, '=');
}

/* Each pair ends in a space; the record's last one, msg, does not. */
static void put_text(struct text_builder *body, const char *key, const char *text, size_t length)
{
        if (length == 0)
                return;
        put_key(body, key);
        text_builder_escaped(body, text, length, "=\\", escape_value);
        text_builder_byte(body, ' ');
}

static void put_number(struct text_builder *body, const char *key, uint64_t number)
{
        put_key(body, key);
        text_builder_number(body, number);
        text_builder_byte(body, ' ');
}

/* One of the keys that the format leaves to the vendor: "cs1=prod-weu cs1Label=cluster ". */
static void put_labelled(struct text_builder *body, const char *key, const char *label, const char *text, size_t length)
{
        if (length == 0)
                return;
        put_text(body, key, text, length);
        text_builder_text(body, key);
        put_text(body, "Label", label, strlen(label));
}

static void put_labelled_number(struct text_builder *body, const char *key, const char *label, uint64_t number)
{
        put_number(body, key, number);
        text_builder_text(body, key);
        put_text(body, "Label", label, strlen(label));
}

/* Times are milliseconds since 1970 in CEF. */
static void put_time(struct text_builder *body, const char *key, uint64_t time_us)
{
        put_number(body, key, time_us / 1000);
}

static unsigned severity(const struct decision *decision)
{
        static const unsigned severities[] = {
                [POLICY_ALLOW] = SEVERITY_ALLOW,
                [POLICY_DENY] = SEVERITY_DENY,
                [POLICY_AUDIT] = SEVERITY_AUDIT,
        };

        return decision->event == DECISION_EVENT_ALARM ? SEVERITY_ALARM : severities[decision->action];
}

/* What a start is the start of, and a summary a summary of. */
struct subject {
        const char *one;
        const char *many;
};

static struct subject subject_of(const struct decision *decision)
{
        if (decision->listener == DECISION_LISTENER_DNS)
                return (struct subject){ "query", "queries" };
        if (decision->listener == DECISION_LISTENER_FORWARD)
                return (struct subject){ "flow", "packets" };
        return (struct subject){ "connection", "connections" };
}

static const char *participle(const struct decision *decision)
{
        static const char *const participles[] = {
                [POLICY_ALLOW] = "allowed",
                [POLICY_DENY] = "denied",
                [POLICY_AUDIT] = "audited",
        };

        return participles[decision->action];
}

static void put_words(struct text_builder *body, const char *first, const char *second, const char *third)
{
        text_builder_text(body, first);
        text_builder_byte(body, ' ');
        text_builder_text(body, second);
        text_builder_text(body, third[0] != '\0' ? " " : "");
        text_builder_text(body, third);
}

/* "connection denied", "flow started", "summary of denied queries", "alarm". */
static void put_name(struct text_builder *body, const struct decision *decision)
{
        struct subject subject = subject_of(decision);

        if (decision->event == DECISION_EVENT_ALARM)
                text_builder_text(body, decision_event_text(decision));
        else if (decision->event == DECISION_EVENT_SUMMARY)
                put_words(body, "summary of", participle(decision), subject.many);
        else if (decision->event == DECISION_EVENT_START)
                put_words(body, subject.one, "started", "");
        else
                put_words(body, decision_event_text(decision), participle(decision), "");
        text_builder_byte(body, '|');
}

static void put_event_class(struct text_builder *body, const struct decision *decision)
{
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        if (length == 0)
                put_header(body, "started", strlen("started"));
        else
                put_header(body, reason, length);
}

static void put_cef_header(struct text_builder *body, const struct decision *decision)
{
        text_builder_text(body, "CEF:0|" VENDOR "|" PRODUCT "|" AKSEGRESSD_VERSION "|");
        put_event_class(body, decision);
        put_name(body, decision);
        text_builder_number(body, severity(decision));
        text_builder_byte(body, '|');
}

static void put_verdict(struct text_builder *body, const struct decision *decision)
{
        static const char *const actions[] = {
                [POLICY_ALLOW] = "Allow",
                [POLICY_DENY] = "Deny",
                [POLICY_AUDIT] = "Audit",
        };
        const char *action = actions[decision->action];
        const char *outcome = decision->action == POLICY_DENY ? "failure" : "success";
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        if (decision->event != DECISION_EVENT_ALARM) {
                put_text(body, "act", action, strlen(action));
                put_text(body, "outcome", outcome, strlen(outcome));
                put_number(body, "deviceDirection", 1); /* outbound */
        }
        put_text(body, "reason", reason, length);
}

/* The listeners for connections take TCP alone, whatever is said over it. */
static const char *carrier_of(const struct decision *decision)
{
        static const char *const carriers[] = {
                [DECISION_PROTOCOL_UNKNOWN] = "", [DECISION_PROTOCOL_HTTPS] = "TCP", [DECISION_PROTOCOL_HTTP] = "TCP",
                [DECISION_PROTOCOL_TCP] = "TCP",  [DECISION_PROTOCOL_UDP] = "UDP",   [DECISION_PROTOCOL_ICMP] = "ICMP",
                [DECISION_PROTOCOL_QUIC] = "UDP", [DECISION_PROTOCOL_DNS] = "UDP",   [DECISION_PROTOCOL_IP] = "IP",
        };

        if (decision->listener == DECISION_LISTENER_TRANSPARENT || decision->listener == DECISION_LISTENER_PROXY)
                return "TCP";
        if (decision->protocol == DECISION_PROTOCOL_DNS && decision->dns.is_tcp)
                return "TCP";
        return carriers[decision->protocol];
}

/* app is what was spoken, proto what carried it. */
static void put_protocol(struct text_builder *body, const struct decision *decision)
{
        char buffer[DECISION_PROTOCOL_SIZE];
        char upper[DECISION_PROTOCOL_SIZE];
        const char *protocol = decision_protocol_text(decision, buffer);
        const char *carrier = carrier_of(decision);
        size_t length = strlen(protocol);

        for (size_t i = 0; i < length; i++)
                upper[i] = (char)toupper((unsigned char)protocol[i]);
        put_text(body, "app", upper, length);
        put_text(body, "proto", carrier, strlen(carrier));
}

/* An address of a family that CEF has a key for in each. */
static void put_address(struct text_builder *body, const struct net_address *address, const char *key4,
                        const char *key6, const char *label6)
{
        char text[NET_ADDRESS_TEXT_SIZE];
        size_t length = strlen(net_address_format(address, text));

        if (address->family == AF_INET)
                put_text(body, key4, text, length);
        else if (address->family == AF_INET6)
                put_labelled(body, key6, label6, text, length);
}

static void put_port(struct text_builder *body, const char *key, uint16_t port)
{
        if (port != 0)
                put_number(body, key, port);
}

static void put_plain_address(struct text_builder *body, const char *key, const struct net_address *address)
{
        char text[NET_ADDRESS_TEXT_SIZE];

        net_address_format(address, text);
        put_text(body, key, text, strlen(text));
}

/* A client that was refused before anything was resolved still asked for an address: dst is that one then. */
static void put_endpoints(struct text_builder *body, const struct decision *decision)
{
        const struct net_address *destination = &decision->destination.address;

        if (destination->family == AF_UNSPEC)
                destination = &decision->original.address;
        put_address(body, &decision->client.address, "src", "c6a2", "Source IPv6 Address");
        put_port(body, "spt", decision->client.port);
        put_address(body, destination, "dst", "c6a3", "Destination IPv6 Address");
        put_port(body, "dpt", decision->destination.port);
        put_text(body, "dhost", decision->fqdn.text, decision->fqdn.length);
        put_plain_address(body, "sourceTranslatedAddress", &decision->snat.address);
        put_port(body, "sourceTranslatedPort", decision->snat.port);
        put_plain_address(body, "aksegressOriginalIp", &decision->original.address);
}

static void put_labels(struct text_builder *body, const struct decision *decision)
{
        const char *listener = decision_listener_text(decision);

        put_labelled(body, "cs1", "cluster", decision->cluster, strnlen(decision->cluster, sizeof(decision->cluster)));
        put_labelled(body, "cs2", "feature", decision->feature, strnlen(decision->feature, sizeof(decision->feature)));
        put_labelled(body, "cs3", "rule", decision->rule, strnlen(decision->rule, sizeof(decision->rule)));
        put_labelled(body, "cs4", "hint", decision->hint, strnlen(decision->hint, sizeof(decision->hint)));
        put_labelled(body, "cs5", "listener", listener, strlen(listener));
        put_labelled(body, "flexString1", "connection_id", decision->connection_id,
                     strnlen(decision->connection_id, sizeof(decision->connection_id)));
}

/* What only these fields of a record say, under the names that CEF has, or under ours. */
static void put_field(struct text_builder *body, const struct decision_field *field)
{
        static const struct {
                const char *name;
                const char *key;
                const char *label; /* NULL: a key that needs none */
        } keys[] = {
                { "event", "aksegressEvent", NULL },
                { "bytes_out", "out", NULL },
                { "bytes_in", "in", NULL },
                { "duration_ms", "cn1", "duration_ms" },
                { "count", "cnt", NULL },
                { "alpn", "aksegressAlpn", NULL },
                { "ech", "aksegressEch", NULL },
                { "query_id", "aksegressQueryId", NULL },
                { "query_type", "aksegressQueryType", NULL },
                { "query_class", "aksegressQueryClass", NULL },
                { "request_size", "aksegressRequestSize", NULL },
                { "response_code", "aksegressResponseCode", NULL },
                { "response_flags", "aksegressResponseFlags", NULL },
                { "response_size", "aksegressResponseSize", NULL },
                { "edns_size", "aksegressEdnsSize", NULL },
                { "dnssec_ok", "aksegressDnssecOk", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                if (strcmp(field->name, keys[i].name) != 0)
                        continue;
                if (field->kind == DECISION_FIELD_TEXT)
                        put_text(body, keys[i].key, field->text, field->length);
                else if (field->kind == DECISION_FIELD_BOOLEAN)
                        put_text(body, keys[i].key, field->number != 0 ? "true" : "false", field->number != 0 ? 4 : 5);
                else if (keys[i].label != NULL)
                        put_labelled_number(body, keys[i].key, keys[i].label, field->number);
                else
                        put_number(body, keys[i].key, field->number);
                return;
        }
}

/* When it began and ended: of a summary, the first and the last of what it counts. */
static void put_span(struct text_builder *body, const struct decision *decision)
{
        uint64_t duration_us = decision->duration_ms < decision->time_us / 1000 ? decision->duration_ms * 1000 : 0;

        if (decision->event == DECISION_EVENT_SUMMARY) {
                put_time(body, "start", decision->first_time_us);
                put_time(body, "end", decision->last_time_us);
        } else if (decision_has_duration(decision)) {
                put_time(body, "start", decision->time_us - duration_us);
                put_time(body, "end", decision->time_us);
        }
}

size_t formatter_cef_body(const struct formatter_style *style, const struct decision *decision,
                          struct text_builder *body)
{
        char sentence[SENTENCE_SIZE];
        struct decision_fields fields;
        size_t stamp_at;

        put_cef_header(body, decision);
        stamp_at = text_builder_length(body);
        put_time(body, "rt", decision->time_us);
        put_text(body, "dvchost", style->host_name, strlen(style->host_name));
        put_verdict(body, decision);
        put_protocol(body, decision);
        put_endpoints(body, decision);
        put_labels(body, decision);
        decision_fields(decision, &fields);
        for (size_t i = 0; i < fields.count; i++)
                put_field(body, &fields.items[i]);
        put_span(body, decision);
        put_key(body, "msg");
        text_builder_escaped(body, sentence, sentence_format(decision, sentence), "=\\", escape_value);
        return stamp_at;
}

void formatter_cef_stamp(const struct formatter_stamp *stamp, struct text_builder *record)
{
        put_number(record, "externalId", stamp->seq);
        put_labelled(record, "cs6", "instance", stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
        if (stamp->lost > 0)
                put_labelled_number(record, "cn2", "lost", stamp->lost);
}
