#include "records/decision.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum decision_class decision_class(const struct decision *decision)
{
        if (decision->event == DECISION_EVENT_ALARM)
                return DECISION_CLASS_ALARM;
        return decision->action == POLICY_ALLOW ? DECISION_CLASS_ALLOW : DECISION_CLASS_DENY;
}

const char *decision_protocol_name(enum decision_protocol protocol)
{
        static const char *const names[] = {
                [DECISION_PROTOCOL_UNKNOWN] = "",
                [DECISION_PROTOCOL_HTTPS] = "https",
                [DECISION_PROTOCOL_HTTP] = "http",
                [DECISION_PROTOCOL_TCP] = "tcp",
        };

        return names[protocol];
}

static const char *listener_name(enum decision_listener listener)
{
        static const char *const names[] = {
                [DECISION_LISTENER_NONE] = "",
                [DECISION_LISTENER_TRANSPARENT] = "transparent",
                [DECISION_LISTENER_PROXY] = "proxy",
        };

        return names[listener];
}

static const char *event_name(enum decision_event event)
{
        static const char *const names[] = {
                [DECISION_EVENT_CONNECTION] = "connection",
                [DECISION_EVENT_ALARM] = "alarm",
        };

        return names[event];
}

const char *decision_reason_text(const struct decision *decision, size_t *ret_length)
{
        const char *text = decision->alarm;

        if (decision->event == DECISION_EVENT_ALARM) {
                *ret_length = strnlen(text, sizeof(decision->alarm));
                return text;
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

/* RFC 3339 in UTC with microseconds. */
static void add_time(struct decision_fields *fields, uint64_t time_us)
{
        time_t seconds = (time_t)(time_us / 1000000);
        struct tm utc;

        if (gmtime_r(&seconds, &utc) == NULL)
                return;
        int length = snprintf(fields->time, sizeof(fields->time), "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ",
                              utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                              (unsigned)(time_us % 1000000));
        add_text(fields, "time", fields->time, (size_t)length);
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
        const char *protocol = decision_protocol_name(decision->protocol);
        const char *listener = listener_name(decision->listener);
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

static void add_traffic(struct decision_fields *fields, const struct decision *decision)
{
        /* An alarm is about no connection, so it has moved nothing and taken no time. */
        if (decision->event == DECISION_EVENT_ALARM)
                return;
        add_number(fields, "bytes_out", decision->bytes_out);
        add_number(fields, "bytes_in", decision->bytes_in);
        add_number(fields, "duration_ms", decision->duration_ms);
}

void decision_fields(const struct decision *decision, struct decision_fields *ret)
{
        const char *event = event_name(decision->event);

        ret->count = 0;
        add_time(ret, decision->time_us);
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
                add(ret, &(struct decision_field){ "ech", DECISION_FIELD_BOOLEAN, NULL, 0, decision->ech ? 1 : 0 });
}
