#include "records/decision.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/compiler.h"
#include "base/text_builder.h"

#define YEAR_MAX 9999 /* RFC 3339 5.6: four digits */

/* Base name: the directory of a rule file says nothing to a reader of records. */
void decision_set_rule(struct decision *decision, const char *feature, const char *rule_file, unsigned rule_line)
{
        const char *slash;

        if (feature != NULL)
                snprintf(decision->feature, sizeof(decision->feature), "%s", feature);
        if (rule_file == NULL)
                return;
        slash = strrchr(rule_file, '/');
        snprintf(decision->rule, sizeof(decision->rule), "%s:%u", slash != NULL ? slash + 1 : rule_file, rule_line);
}

enum decision_protocol decision_protocol_of_ip(uint8_t ip_protocol)
{
        switch (ip_protocol) {
        case IPPROTO_TCP:
                return DECISION_PROTOCOL_TCP;
        case IPPROTO_UDP:
                return DECISION_PROTOCOL_UDP;
        case IPPROTO_ICMP:
        case IPPROTO_ICMPV6:
                return DECISION_PROTOCOL_ICMP;
        default:
                return DECISION_PROTOCOL_IP;
        }
}

enum decision_class decision_class(const struct decision *decision)
{
        if (decision->event == DECISION_EVENT_ALARM)
                return DECISION_CLASS_ALARM;
        if (decision->event == DECISION_EVENT_START)
                return DECISION_CLASS_START;
        return decision->action == POLICY_ALLOW ? DECISION_CLASS_ALLOW : DECISION_CLASS_DENY;
}

unsigned decision_severity(const struct decision *decision)
{
        if (decision->event == DECISION_EVENT_ALARM)
                return LOG_WARNING;
        return decision->action == POLICY_ALLOW ? LOG_INFO : LOG_NOTICE;
}

const char *decision_protocol_text(const struct decision *decision, char buffer[DECISION_PROTOCOL_SIZE])
{
        static const char *const names[] = {
                [DECISION_PROTOCOL_UNKNOWN] = "",  [DECISION_PROTOCOL_HTTPS] = "https",
                [DECISION_PROTOCOL_HTTP] = "http", [DECISION_PROTOCOL_TCP] = "tcp",
                [DECISION_PROTOCOL_UDP] = "udp",   [DECISION_PROTOCOL_ICMP] = "icmp",
                [DECISION_PROTOCOL_QUIC] = "quic", [DECISION_PROTOCOL_DNS] = "dns",
        };

        if (decision->protocol != DECISION_PROTOCOL_IP)
                return names[decision->protocol];
        snprintf(buffer, DECISION_PROTOCOL_SIZE, "ip-%u", decision->ip_protocol);
        return buffer;
}

const char *decision_listener_text(const struct decision *decision)
{
        static const char *const names[] = {
                [DECISION_LISTENER_NONE] = "",           [DECISION_LISTENER_TRANSPARENT] = "transparent",
                [DECISION_LISTENER_PROXY] = "proxy",     [DECISION_LISTENER_DNS] = "dns",
                [DECISION_LISTENER_FORWARD] = "forward",
        };

        return names[decision->listener];
}

const char *decision_event_text(const struct decision *decision)
{
        static const char *const names[] = {
                [DECISION_EVENT_CONNECTION] = "connection",
                [DECISION_EVENT_ALARM] = "alarm",
                [DECISION_EVENT_QUERY] = "query",
                [DECISION_EVENT_PACKET] = "packet",
                [DECISION_EVENT_FLOW] = "flow",
                [DECISION_EVENT_START] = "start",
                [DECISION_EVENT_SUMMARY] = "summary",
        };

        return names[decision->event];
}

const char *decision_reason_text(const struct decision *decision, size_t *ret_length)
{
        const char *text = decision->alarm;

        if (decision->event == DECISION_EVENT_ALARM) {
                *ret_length = strnlen(text, sizeof(decision->alarm));
                return text;
        }
        if (decision->event == DECISION_EVENT_START) {
                *ret_length = 0;
                return "";
        }
        text = reason_row(decision->reason)->text;
        *ret_length = strlen(text);
        return text;
}

static void add(struct decision_fields *fields, const struct decision_field *field)
{
        assert(fields->count < DECISION_FIELD_MAX);
        fields->items[fields->count++] = *field;
}

static void add_text(struct decision_fields *fields, const char *name, const char *text, size_t length)
{
        if (length > 0)
                add(fields, &(struct decision_field){ name, DECISION_FIELD_TEXT, text, length, 0 });
}

/* A text in an array that it may fill to the last byte. */
#define ADD_ARRAY(fields, name, array) add_text(fields, name, array, strnlen(array, sizeof(array)))

static void add_number(struct decision_fields *fields, const char *name, uint64_t number)
{
        add(fields, &(struct decision_field){ name, DECISION_FIELD_NUMBER, NULL, 0, number });
}

static void add_boolean(struct decision_fields *fields, const char *name, bool value)
{
        add(fields, &(struct decision_field){ name, DECISION_FIELD_BOOLEAN, NULL, 0, value ? 1 : 0 });
}

size_t decision_time_format(uint64_t time_us, char text[DECISION_TIME_SIZE])
{
        time_t seconds = (time_t)(time_us / 1000000);
        struct tm utc;

        if (gmtime_r(&seconds, &utc) == NULL || utc.tm_year > YEAR_MAX - 1900)
                return 0;
        int length = snprintf(text, DECISION_TIME_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ", utc.tm_year + 1900,
                              utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                              (unsigned)(time_us % 1000000));
        return (size_t)length;
}

static void add_time(struct decision_fields *fields, const char *name, uint64_t time_us, char text[DECISION_TIME_SIZE])
{
        add_text(fields, name, text, decision_time_format(time_us, text));
}

/* The address, if there is one, and the port, if it is known. port_name NULL: only the address is a field. */
static void add_endpoint(struct decision_fields *fields, const char *address_name, const char *port_name,
                         const struct net_endpoint *endpoint, char text[NET_ADDRESS_TEXT_SIZE])
{
        net_address_format(&endpoint->address, text);
        add_text(fields, address_name, text, strlen(text));
        if (port_name != NULL && endpoint->port != 0)
                add_number(fields, port_name, endpoint->port);
}

static void add_verdict(struct decision_fields *fields, const struct decision *decision)
{
        const char *action = policy_action_name(decision->action);
        const char *protocol = decision_protocol_text(decision, fields->protocol);
        const char *listener = decision_listener_text(decision);
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        if (decision->event != DECISION_EVENT_ALARM)
                add_text(fields, "action", action, strlen(action));
        add_text(fields, "reason", reason, length);
        ADD_ARRAY(fields, "hint", decision->hint);
        ADD_ARRAY(fields, "cluster", decision->cluster);
        ADD_ARRAY(fields, "feature", decision->feature);
        ADD_ARRAY(fields, "rule", decision->rule);
        add_text(fields, "protocol", protocol, strlen(protocol));
        add_text(fields, "listener", listener, strlen(listener));
}

/*
 * Only what can be sent through us moves bytes: no alarm, no query, no packet that was stopped. A summary is of
 * connections where its listener takes connections.
 */
static bool has_traffic(const struct decision *decision)
{
        switch (decision->event) {
        case DECISION_EVENT_CONNECTION:
        case DECISION_EVENT_FLOW:
                return !decision->lacks_bytes;
        case DECISION_EVENT_SUMMARY:
                return decision->listener == DECISION_LISTENER_TRANSPARENT ||
                       decision->listener == DECISION_LISTENER_PROXY;
        case DECISION_EVENT_ALARM:
        case DECISION_EVENT_QUERY:
        case DECISION_EVENT_PACKET:
        case DECISION_EVENT_START:
                return false;
        }
        return false;
}

/* A summary says first_time and last_time instead. */
bool decision_has_duration(const struct decision *decision)
{
        return !decision->lacks_duration &&
               (decision->event == DECISION_EVENT_CONNECTION || decision->event == DECISION_EVENT_FLOW ||
                decision->event == DECISION_EVENT_QUERY);
}

static void add_traffic(struct decision_fields *fields, const struct decision *decision)
{
        if (has_traffic(decision)) {
                add_number(fields, "bytes_out", decision->bytes_out);
                add_number(fields, "bytes_in", decision->bytes_in);
        }
        if (decision_has_duration(decision))
                add_number(fields, "duration_ms", decision->duration_ms);
}

/* The bits that are set, by their names in RFC 1035 4.1.1 and RFC 4035 3.1.6, from the first one sent: "qr,rd,ra". */
size_t decision_flags_format(uint16_t flags, char text[DECISION_FLAGS_SIZE])
{
        static const struct {
                uint16_t bit;
                const char *name;
        } names[] = {
                { 0x8000, "qr," }, { 0x0400, "aa," }, { 0x0200, "tc," }, { 0x0100, "rd," },
                { 0x0080, "ra," }, { 0x0020, "ad," }, { 0x0010, "cd," },
        };
        struct text_builder builder = text_builder_on(text, DECISION_FLAGS_SIZE);

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if ((flags & names[i].bit) != 0)
                        text_builder_text(&builder, names[i].name);
        size_t length = text_builder_length(&builder);
        return length > 0 ? length - 1 : 0;
}

static void add_dns_response(struct decision_fields *fields, const struct decision_dns *dns)
{
        const char *rcode = dns_rcode_name(dns->rcode, fields->dns_names[2]);

        add_text(fields, "response_code", rcode, strlen(rcode));
        add_text(fields, "response_flags", fields->dns_flags, decision_flags_format(dns->flags, fields->dns_flags));
        add_number(fields, "response_size", dns->response_size);
}

static void add_dns(struct decision_fields *fields, const struct decision *decision)
{
        const struct decision_dns *dns = &decision->dns;

        if (decision->listener != DECISION_LISTENER_DNS)
                return;
        const char *type = dns_type_name(dns->type, fields->dns_names[0]);
        const char *class = dns_class_name(dns->class, fields->dns_names[1]);
        if (decision->event == DECISION_EVENT_QUERY)
                add_number(fields, "query_id", dns->id);
        if (dns->type != 0) {
                add_text(fields, "query_type", type, strlen(type));
                add_text(fields, "query_class", class, strlen(class));
        }
        add_number(fields, "request_size", dns->request_size);
        if (dns->has_response)
                add_dns_response(fields, dns);
        if (dns->edns_size == 0)
                return;
        add_number(fields, "edns_size", dns->edns_size);
        add_boolean(fields, "dnssec_ok", dns->dnssec_ok);
}

static void add_summary(struct decision_fields *fields, const struct decision *decision)
{
        if (decision->event != DECISION_EVENT_SUMMARY)
                return;
        add_number(fields, "count", decision->count);
        add_time(fields, "first_time", decision->first_time_us, fields->times[1]);
        add_time(fields, "last_time", decision->last_time_us, fields->times[2]);
}

void decision_fields(const struct decision *decision, struct decision_fields *ret)
{
        const char *event = decision_event_text(decision);

        ret->count = 0;
        add_time(ret, "time", decision->time_us, ret->times[0]);
        add_text(ret, "event", event, strlen(event));
        add_verdict(ret, decision);
        add_endpoint(ret, "client_ip", "client_port", &decision->client, ret->addresses[0]);
        add_text(ret, "fqdn", decision->fqdn.text, decision->fqdn.length);
        add_endpoint(ret, "original_ip", NULL, &decision->original, ret->addresses[1]);
        add_endpoint(ret, "destination_ip", "destination_port", &decision->destination, ret->addresses[2]);
        add_endpoint(ret, "snat_ip", "snat_port", &decision->snat, ret->addresses[3]);
        add_traffic(ret, decision);
        ADD_ARRAY(ret, "connection_id", decision->connection_id);
        ADD_ARRAY(ret, "alpn", decision->alpn);
        if (decision->has_tls)
                add_boolean(ret, "ech", decision->ech);
        add_dns(ret, decision);
        add_summary(ret, decision);
}
