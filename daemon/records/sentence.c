#include "records/sentence.h"

#include <string.h>

#include "base/text_builder.h"

static void put_array(struct text_builder *sentence, const char *before, const char *array, size_t size,
                      const char *after)
{
        size_t length = strnlen(array, size);

        if (length == 0)
                return;
        text_builder_text(sentence, before);
        text_builder_bytes(sentence, array, length);
        text_builder_text(sentence, after);
}

static void put_address(struct text_builder *sentence, const struct net_address *address, const char *before)
{
        char text[NET_ADDRESS_TEXT_SIZE];

        if (address->family == AF_UNSPEC)
                return;
        text_builder_text(sentence, before);
        text_builder_text(sentence, net_address_format(address, text));
}

/* An IPv6 address gets brackets, so that the port behind it can be told apart. */
static void put_destination_address(struct text_builder *sentence, const struct net_address *address)
{
        bool brackets = address->family == AF_INET6;

        put_address(sentence, address, brackets ? " [" : " ");
        text_builder_text(sentence, brackets ? "]" : "");
}

/* " example.com:443", or the address where no name is known; nothing when the client never got as far as asking. */
static void put_destination(struct text_builder *sentence, const struct decision *decision)
{
        const struct net_address *address = &decision->destination.address;

        if (address->family == AF_UNSPEC)
                address = &decision->original.address;
        if (decision->fqdn.length > 0) {
                text_builder_byte(sentence, ' ');
                text_builder_bytes(sentence, decision->fqdn.text, decision->fqdn.length);
        } else if (address->family != AF_UNSPEC) {
                put_destination_address(sentence, address);
        } else {
                return;
        }
        if (decision->destination.port != 0) {
                text_builder_byte(sentence, ':');
                text_builder_number(sentence, decision->destination.port);
        }
}

static void put_protocol(struct text_builder *sentence, const struct decision *decision, const char *before)
{
        char buffer[DECISION_PROTOCOL_SIZE];
        const char *protocol = decision_protocol_text(decision, buffer);

        put_array(sentence, before, protocol, strlen(protocol), "");
}

/* " from 10.1.0.4 (prod-weu)" */
static void put_client(struct text_builder *sentence, const struct decision *decision)
{
        put_address(sentence, &decision->client.address, " from ");
        put_array(sentence, " (", decision->cluster, sizeof(decision->cluster), ")");
}

static void put_reason(struct text_builder *sentence, const struct decision *decision)
{
        size_t length;
        const char *reason = decision_reason_text(decision, &length);

        text_builder_text(sentence, ": ");
        text_builder_bytes(sentence, reason, length);
        put_array(sentence, "; hint: ", decision->hint, sizeof(decision->hint), "");
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

static void put_traffic(struct text_builder *sentence, const struct decision *decision)
{
        put_address(sentence, &decision->snat.address, ", as ");
        if (!decision->lacks_bytes) {
                text_builder_text(sentence, ", ");
                text_builder_number(sentence, decision->bytes_out);
                text_builder_text(sentence, " bytes out, ");
                text_builder_number(sentence, decision->bytes_in);
                text_builder_text(sentence, " in");
        }
        if (decision_has_duration(decision)) {
                text_builder_text(sentence, ", ");
                text_builder_number(sentence, decision->duration_ms);
                text_builder_text(sentence, " ms");
        }
}

/* "alarm snat-nearly-exhausted, 10.0.1.10, to 192.0.2.1:443: 52000 of 64512 ports in use". */
static void put_alarm(struct text_builder *sentence, const struct decision *decision)
{
        text_builder_text(sentence, "alarm");
        put_array(sentence, " ", decision->alarm, sizeof(decision->alarm), "");
        put_address(sentence, &decision->snat.address, ", ");
        if (decision->fqdn.length > 0 || decision->destination.address.family != AF_UNSPEC) {
                text_builder_text(sentence, ", to");
                put_destination(sentence, decision);
        }
        put_array(sentence, ": ", decision->hint, sizeof(decision->hint), "");
}

static void put_connection(struct text_builder *sentence, const struct decision *decision)
{
        text_builder_text(sentence, verb(decision));
        put_protocol(sentence, decision, " ");
        put_destination(sentence, decision);
        put_client(sentence, decision);
        put_reason(sentence, decision);
        if (decision->action != POLICY_DENY)
                put_traffic(sentence, decision);
}

static void put_query(struct text_builder *sentence, const struct decision *decision)
{
        char buffer[DNS_NAME_TEXT_SIZE];
        bool asked = decision->dns.type != 0 || decision->dns.class != 0;

        text_builder_text(sentence, decision->action == POLICY_DENY ? "refused" : verb(decision));
        text_builder_text(sentence, " query");
        if (asked) {
                text_builder_byte(sentence, ' ');
                text_builder_text(sentence, dns_type_name(decision->dns.type, buffer));
        }
        put_array(sentence, " ", decision->fqdn.text, decision->fqdn.length, "");
        put_client(sentence, decision);
        put_reason(sentence, decision);
        if (decision->action != POLICY_DENY && decision->dns.has_response) {
                text_builder_text(sentence, ", ");
                text_builder_text(sentence, dns_rcode_name(decision->dns.rcode, buffer));
        }
}

/* " 203.0.113.9:443": by address the kernel decides, so it comes first, whatever name is known. */
static void put_packet_destination(struct text_builder *sentence, const struct decision *decision)
{
        put_destination_address(sentence, &decision->destination.address);
        if (decision->destination.port != 0) {
                text_builder_byte(sentence, ':');
                text_builder_number(sentence, decision->destination.port);
        }
}

static void put_packet(struct text_builder *sentence, const struct decision *decision)
{
        text_builder_text(sentence, verb(decision));
        put_protocol(sentence, decision, " ");
        put_packet_destination(sentence, decision);
        put_array(sentence, " (", decision->fqdn.text, decision->fqdn.length, ")");
        put_client(sentence, decision);
        put_reason(sentence, decision);
}

static void put_flow(struct text_builder *sentence, const struct decision *decision)
{
        if (decision->action != POLICY_ALLOW) {
                text_builder_text(sentence, verb(decision));
                text_builder_byte(sentence, ' ');
        }
        put_protocol(sentence, decision, "");
        put_array(sentence, " ", decision->fqdn.text, decision->fqdn.length, "");
        put_packet_destination(sentence, decision);
        put_client(sentence, decision);
        text_builder_text(sentence, " ended");
        put_reason(sentence, decision);
        put_traffic(sentence, decision);
}

/* The listener says what it is a summary of. */
static void put_summary(struct text_builder *sentence, const struct decision *decision)
{
        text_builder_number(sentence, decision->count);
        text_builder_text(sentence, " more like: ");
        switch (decision->listener) {
        case DECISION_LISTENER_DNS:
                put_query(sentence, decision);
                break;
        case DECISION_LISTENER_FORWARD:
                put_packet(sentence, decision);
                break;
        case DECISION_LISTENER_NONE:
        case DECISION_LISTENER_TRANSPARENT:
        case DECISION_LISTENER_PROXY:
                put_connection(sentence, decision);
                break;
        }
}

/*
 * "started https example.com:443 from 10.1.0.4 (prod-weu), as 10.0.1.10"; flows: "started udp ntp.ubuntu.com
 * 203.0.113.4:123 from …"
 */
static void put_start(struct text_builder *sentence, const struct decision *decision)
{
        text_builder_text(sentence, "started");
        put_protocol(sentence, decision, " ");
        if (decision->listener == DECISION_LISTENER_FORWARD) {
                put_array(sentence, " ", decision->fqdn.text, decision->fqdn.length, "");
                put_packet_destination(sentence, decision);
        } else {
                put_destination(sentence, decision);
        }
        put_client(sentence, decision);
        put_address(sentence, &decision->snat.address, ", as ");
}

static void put_sentence(struct text_builder *sentence, const struct decision *decision)
{
        switch (decision->event) {
        case DECISION_EVENT_CONNECTION:
                put_connection(sentence, decision);
                break;
        case DECISION_EVENT_ALARM:
                put_alarm(sentence, decision);
                break;
        case DECISION_EVENT_QUERY:
                put_query(sentence, decision);
                break;
        case DECISION_EVENT_PACKET:
                put_packet(sentence, decision);
                break;
        case DECISION_EVENT_FLOW:
                put_flow(sentence, decision);
                break;
        case DECISION_EVENT_START:
                put_start(sentence, decision);
                break;
        case DECISION_EVENT_SUMMARY:
                put_summary(sentence, decision);
                break;
        }
}

size_t sentence_format(const struct decision *decision, char buffer[SENTENCE_SIZE])
{
        struct text_builder sentence = text_builder_on(buffer, SENTENCE_SIZE);

        put_sentence(&sentence, decision);
        text_builder_byte(&sentence, '\0');
        return text_builder_length(&sentence) - 1;
}
