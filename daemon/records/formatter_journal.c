#include "records/formatter_journal.h"

#include <ctype.h>
#include <string.h>

#include "base/text_builder.h"

/* Priorities of syslog(3). */
#define PRIORITY_WARNING "4"
#define PRIORITY_NOTICE "5"
#define PRIORITY_INFO "6"

/*
 *   NAME=value\n                                    when value holds no newline
 *   NAME\n  length, 8 bytes little-endian  value\n  when it does
 */
static void put_value(struct text_builder *datagram, const char *value, size_t length)
{
        if (memchr(value, '\n', length) == NULL) {
                text_builder_byte(datagram, '=');
        } else {
                text_builder_byte(datagram, '\n');
                for (unsigned shift = 0; shift < 64; shift += 8)
                        text_builder_byte(datagram, (char)((uint64_t)length >> shift & 0xff));
        }
        text_builder_bytes(datagram, value, length);
        text_builder_byte(datagram, '\n');
}

static void put_plain(struct text_builder *datagram, const char *name, const char *value)
{
        text_builder_text(datagram, name);
        put_value(datagram, value, strlen(value));
}

static void put_name(struct text_builder *datagram, const char *name)
{
        text_builder_text(datagram, "AKSEGRESS_");
        for (size_t i = 0; name[i] != '\0'; i++)
                text_builder_byte(datagram, (char)toupper(name[i]));
}

static void put_number(struct text_builder *datagram, const char *name, uint64_t number)
{
        put_name(datagram, name);
        text_builder_byte(datagram, '=');
        text_builder_number(datagram, number);
        text_builder_byte(datagram, '\n');
}

static void put_field(struct text_builder *datagram, const struct decision_field *field)
{
        switch (field->kind) {
        case DECISION_FIELD_TEXT:
                put_name(datagram, field->name);
                put_value(datagram, field->text, field->length);
                break;
        case DECISION_FIELD_NUMBER:
                put_number(datagram, field->name, field->number);
                break;
        case DECISION_FIELD_BOOLEAN:
                put_name(datagram, field->name);
                text_builder_text(datagram, field->number != 0 ? "=true\n" : "=false\n");
                break;
        }
}

static const char *message_id(enum decision_event event)
{
        static const char *const ids[] = {
                [DECISION_EVENT_CONNECTION] = FORMATTER_JOURNAL_ID_CONNECTION,
                [DECISION_EVENT_ALARM] = FORMATTER_JOURNAL_ID_ALARM,
                [DECISION_EVENT_QUERY] = FORMATTER_JOURNAL_ID_QUERY,
                [DECISION_EVENT_PACKET] = FORMATTER_JOURNAL_ID_PACKET,
                [DECISION_EVENT_FLOW] = FORMATTER_JOURNAL_ID_FLOW,
                [DECISION_EVENT_SUMMARY] = FORMATTER_JOURNAL_ID_SUMMARY,
        };

        return ids[event];
}

static const char *priority(const struct decision *decision)
{
        static const char *const priorities[] = {
                [DECISION_CLASS_DENY] = PRIORITY_NOTICE,
                [DECISION_CLASS_ALLOW] = PRIORITY_INFO,
                [DECISION_CLASS_ALARM] = PRIORITY_WARNING,
        };

        return priorities[decision_class(decision)];
}

static void put_array(struct text_builder *message, const char *before, const char *array, size_t size,
                      const char *after)
{
        size_t length = strnlen(array, size);

        if (length == 0)
                return;
        text_builder_text(message, before);
        text_builder_bytes(message, array, length);
        text_builder_text(message, after);
}

static void put_address(struct text_builder *message, const struct net_address *address, const char *before)
{
        char text[NET_ADDRESS_TEXT_SIZE];

        if (address->family == AF_UNSPEC)
                return;
        text_builder_text(message, before);
        text_builder_text(message, net_address_format(address, text));
}

/* An IPv6 address gets brackets, so that the port behind it can be told apart. */
static void put_destination_address(struct text_builder *message, const struct net_address *address)
{
        bool brackets = address->family == AF_INET6;

        put_address(message, address, brackets ? " [" : " ");
        text_builder_text(message, brackets ? "]" : "");
}

/* " example.com:443", or the address where no name is known; nothing when the client never got as far as asking. */
static void put_destination(struct text_builder *message, const struct decision *decision)
{
        const struct net_address *address = &decision->destination.address;

        if (address->family == AF_UNSPEC)
                address = &decision->original.address;
        if (decision->fqdn.length > 0) {
                text_builder_byte(message, ' ');
                text_builder_bytes(message, decision->fqdn.text, decision->fqdn.length);
        } else if (address->family != AF_UNSPEC) {
                put_destination_address(message, address);
        } else {
                return;
        }
        if (decision->destination.port != 0) {
                text_builder_byte(message, ':');
                text_builder_number(message, decision->destination.port);
        }
}

static void put_protocol(struct text_builder *message, const struct decision *decision, const char *before)
{
        char buffer[DECISION_PROTOCOL_SIZE];
        const char *protocol = decision_protocol_text(decision, buffer);

        put_array(message, before, protocol, strlen(protocol), "");
}

/* " from 10.1.0.4 (prod-weu)" */
static void put_client(struct text_builder *message, const struct decision *decision)
{
        put_address(message, &decision->client.address, " from ");
        put_array(message, " (", decision->cluster, sizeof(decision->cluster), ")");
}

static void put_reason(struct text_builder *message, const struct decision *decision)
{
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        text_builder_text(message, ": ");
        text_builder_bytes(message, reason, length);
        put_array(message, "; hint: ", decision->hint, sizeof(decision->hint), "");
}

static const char *verb(const struct decision *decision)
{
        static const char *const verbs[] = {
                [POLICY_ALLOW] = "allowed",
                [POLICY_DENY] = "denied",
                [POLICY_AUDIT] = "let through for audit",
        };

        return verbs[decision->action];
}

static void put_traffic(struct text_builder *message, const struct decision *decision)
{
        put_address(message, &decision->snat.address, ", as ");
        if (!decision->lacks_bytes) {
                text_builder_text(message, ", ");
                text_builder_number(message, decision->bytes_out);
                text_builder_text(message, " bytes out, ");
                text_builder_number(message, decision->bytes_in);
                text_builder_text(message, " in");
        }
        if (!decision->lacks_duration) {
                text_builder_text(message, ", ");
                text_builder_number(message, decision->duration_ms);
                text_builder_text(message, " ms");
        }
}

/* "alarm snat-nearly-exhausted, 10.0.1.10, to 192.0.2.1:443: 52000 of 64512 ports in use". */
static void put_alarm(struct text_builder *message, const struct decision *decision)
{
        text_builder_text(message, "alarm");
        put_array(message, " ", decision->alarm, sizeof(decision->alarm), "");
        put_address(message, &decision->snat.address, ", ");
        if (decision->fqdn.length > 0 || decision->destination.address.family != AF_UNSPEC) {
                text_builder_text(message, ", to");
                put_destination(message, decision);
        }
        put_array(message, ": ", decision->hint, sizeof(decision->hint), "");
}

static void put_connection(struct text_builder *message, const struct decision *decision)
{
        text_builder_text(message, verb(decision));
        put_protocol(message, decision, " ");
        put_destination(message, decision);
        put_client(message, decision);
        put_reason(message, decision);
        if (decision->action != POLICY_DENY)
                put_traffic(message, decision);
}

static void put_query(struct text_builder *message, const struct decision *decision)
{
        char buffer[DNS_NAME_TEXT_SIZE];
        bool asked = decision->dns.type != 0 || decision->dns.class != 0;

        text_builder_text(message, decision->action == POLICY_DENY ? "refused" : verb(decision));
        text_builder_text(message, " query");
        if (asked) {
                text_builder_byte(message, ' ');
                text_builder_text(message, dns_type_name(decision->dns.type, buffer));
        }
        put_array(message, " ", decision->fqdn.text, decision->fqdn.length, "");
        put_client(message, decision);
        put_reason(message, decision);
        if (decision->action != POLICY_DENY && decision->dns.has_response) {
                text_builder_text(message, ", ");
                text_builder_text(message, dns_rcode_name(decision->dns.rcode, buffer));
        }
}

/* " 203.0.113.9:443": by address the kernel decides, so it comes first, whatever name is known. */
static void put_packet_destination(struct text_builder *message, const struct decision *decision)
{
        put_destination_address(message, &decision->destination.address);
        if (decision->destination.port != 0) {
                text_builder_byte(message, ':');
                text_builder_number(message, decision->destination.port);
        }
}

static void put_packet(struct text_builder *message, const struct decision *decision)
{
        text_builder_text(message, verb(decision));
        put_protocol(message, decision, " ");
        put_packet_destination(message, decision);
        put_array(message, " (", decision->fqdn.text, decision->fqdn.length, ")");
        put_client(message, decision);
        put_reason(message, decision);
}

static void put_flow(struct text_builder *message, const struct decision *decision)
{
        if (decision->action != POLICY_ALLOW) {
                text_builder_text(message, verb(decision));
                text_builder_byte(message, ' ');
        }
        put_protocol(message, decision, "");
        put_array(message, " ", decision->fqdn.text, decision->fqdn.length, "");
        put_packet_destination(message, decision);
        put_client(message, decision);
        text_builder_text(message, " ended");
        put_reason(message, decision);
        put_traffic(message, decision);
}

/* The listener says what it is a summary of. */
static void put_summary(struct text_builder *message, const struct decision *decision)
{
        text_builder_number(message, decision->count);
        text_builder_text(message, " more like: ");
        switch (decision->listener) {
        case DECISION_LISTENER_DNS:
                put_query(message, decision);
                break;
        case DECISION_LISTENER_FORWARD:
                put_packet(message, decision);
                break;
        case DECISION_LISTENER_NONE:
        case DECISION_LISTENER_TRANSPARENT:
        case DECISION_LISTENER_PROXY:
                put_connection(message, decision);
                break;
        }
}

static void put_sentence(struct text_builder *message, const struct decision *decision)
{
        switch (decision->event) {
        case DECISION_EVENT_CONNECTION:
                put_connection(message, decision);
                break;
        case DECISION_EVENT_ALARM:
                put_alarm(message, decision);
                break;
        case DECISION_EVENT_QUERY:
                put_query(message, decision);
                break;
        case DECISION_EVENT_PACKET:
                put_packet(message, decision);
                break;
        case DECISION_EVENT_FLOW:
                put_flow(message, decision);
                break;
        case DECISION_EVENT_SUMMARY:
                put_summary(message, decision);
                break;
        }
}

size_t formatter_journal_message(const struct decision *decision, char buffer[FORMATTER_MESSAGE_SIZE])
{
        struct text_builder message = text_builder_on(buffer, FORMATTER_MESSAGE_SIZE);

        put_sentence(&message, decision);
        text_builder_byte(&message, '\0');
        return text_builder_length(&message) - 1;
}

size_t formatter_journal_stamp(const struct formatter_stamp *stamp, char buffer[FORMATTER_STAMP_SIZE])
{
        struct text_builder datagram = text_builder_on(buffer, FORMATTER_STAMP_SIZE);

        put_number(&datagram, "seq", stamp->seq);
        put_name(&datagram, "instance");
        put_value(&datagram, stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
        if (stamp->lost > 0)
                put_number(&datagram, "lost", stamp->lost);
        return text_builder_length(&datagram);
}

size_t formatter_journal_body(const struct decision *decision, char buffer[FORMATTER_BODY_SIZE])
{
        struct text_builder datagram = text_builder_on(buffer, FORMATTER_BODY_SIZE);
        char message[FORMATTER_MESSAGE_SIZE];
        struct decision_fields fields;

        formatter_journal_message(decision, message);
        put_plain(&datagram, "MESSAGE", message);
        put_plain(&datagram, "MESSAGE_ID", message_id(decision->event));
        put_plain(&datagram, "PRIORITY", priority(decision));
        put_plain(&datagram, "SYSLOG_IDENTIFIER", "aksegressd");
        decision_fields(decision, &fields);
        for (size_t i = 0; i < fields.count; i++)
                put_field(&datagram, &fields.items[i]);
        return text_builder_length(&datagram);
}
