/*
 * One decision: everything a record can say, filled along the way of a connection, query or flow and copied whole
 * when it ends. A value without pointers, so that it can wait in a ring after policy and connection are gone.
 * Formatters know nothing else. Field names and meanings: docs/decision-log.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fqdn.h"
#include "base/net_address.h"
#include "inspect/dns_names.h"
#include "policy/policy.h"
#include "policy/reason.h"

#define DECISION_CLUSTER_SIZE 64
#define DECISION_FEATURE_SIZE 64
#define DECISION_RULE_SIZE 256
#define DECISION_ALPN_SIZE 64
#define DECISION_ID_SIZE 24
#define DECISION_ALARM_SIZE 32

enum decision_event {
        DECISION_EVENT_CONNECTION = 0,
        DECISION_EVENT_ALARM,
        DECISION_EVENT_QUERY,  /* what a client asked the DNS listener, and what it was answered */
        DECISION_EVENT_PACKET, /* a packet that the kernel did not forward, or in audit mode would not have */
        DECISION_EVENT_FLOW,   /* the end of what the kernel forwarded by a network rule */
        DECISION_EVENT_START,  /* a connection, request or flow begins to move bytes; its end has a record of its own */
        DECISION_EVENT_SUMMARY, /* more decisions like one that has a record of its own; see denial_window.h */
};

enum decision_listener {
        DECISION_LISTENER_NONE = 0,
        DECISION_LISTENER_TRANSPARENT,
        DECISION_LISTENER_PROXY,
        DECISION_LISTENER_DNS,
        DECISION_LISTENER_FORWARD, /* no listener: the kernel's forwarding */
};

/* What the first bytes were taken for, or what the packet says of itself. */
enum decision_protocol {
        DECISION_PROTOCOL_UNKNOWN = 0, /* the field is absent */
        DECISION_PROTOCOL_HTTPS,
        DECISION_PROTOCOL_HTTP,
        DECISION_PROTOCOL_TCP,
        DECISION_PROTOCOL_UDP,
        DECISION_PROTOCOL_ICMP, /* of either family */
        DECISION_PROTOCOL_QUIC, /* a UDP datagram that is QUIC */
        DECISION_PROTOCOL_DNS,  /* a query to the DNS listener */
        DECISION_PROTOCOL_IP,   /* any other: its number is in ip_protocol */
};

/* What only queries have. */
struct decision_dns {
        uint16_t id;
        uint16_t type;
        uint16_t class;
        uint16_t rcode;     /* with the upper bits of EDNS */
        uint16_t flags;     /* the second 16 bits of the response's header; opcode and rcode in them do not matter */
        uint16_t edns_size; /* payload the client takes; 0: a query without EDNS, and dnssec_ok means nothing */
        uint32_t request_size;
        uint32_t response_size;
        bool dnssec_ok;
        bool is_tcp;       /* it came by TCP, otherwise by UDP */
        bool has_response; /* rcode, flags and response_size mean something */
};

struct decision {
        enum decision_event event;
        enum policy_action action;
        enum reason reason;              /* all events but alarms and starts */
        char alarm[DECISION_ALARM_SIZE]; /* alarm events: what goes into the field reason, "snat-nearly-exhausted" */
        enum decision_listener listener;
        enum decision_protocol protocol;
        uint8_t ip_protocol;  /* DECISION_PROTOCOL_IP: the IP header's protocol or next header, "ip-47" */
        uint64_t time_us;     /* wall clock at the end */
        uint64_t duration_ms; /* from accept (later requests of a connection: from their first byte) to the end */
        uint64_t bytes_out;   /* client to origin */
        uint64_t bytes_in;
        bool lacks_bytes;    /* of a flow that the kernel did not count: bytes_out and bytes_in mean nothing */
        bool lacks_duration; /* of a flow whose beginning the kernel did not keep: duration_ms means nothing */
        struct net_endpoint client;
        /* Where a transparent client dialled, where a forwarded packet or flow goes; AF_UNSPEC for other listeners. */
        struct net_endpoint original;
        /*
         * Where we connected to, or tried last; address AF_UNSPEC: never got that far. The port is the one asked for.
         * Of packets and flows the same as original: an address is all that was asked for.
         */
        struct net_endpoint destination;
        struct net_endpoint snat; /* our source; AF_UNSPEC when not connected */
        struct fqdn fqdn;         /* length 0: no name known */
        char cluster[DECISION_CLUSTER_SIZE];
        char feature[DECISION_FEATURE_SIZE];
        char rule[DECISION_RULE_SIZE]; /* "core.allow:12", "" when no rule matched */
        char hint[POLICY_HINT_SIZE];
        char connection_id[DECISION_ID_SIZE]; /* the same in the refusal the client read */
        char alpn[DECISION_ALPN_SIZE];
        bool ech;
        bool has_tls; /* ech means something */
        struct decision_dns dns;
        uint64_t count; /* of decisions in a summary, the one with a record of its own not among them */
        uint64_t first_time_us;
        uint64_t last_time_us;
};

/* Every text of a decision at full length. */
#define DECISION_TEXT_BYTES                                                                                            \
        (DECISION_CLUSTER_SIZE + DECISION_FEATURE_SIZE + DECISION_RULE_SIZE + DECISION_ALPN_SIZE + DECISION_ID_SIZE +  \
         DECISION_ALARM_SIZE + POLICY_HINT_SIZE + FQDN_MAX_LENGTH)

/* What sinks filter by, and the granularity at which lost decisions are counted. */
enum decision_class {
        DECISION_CLASS_DENY = 0, /* also audit */
        DECISION_CLASS_ALLOW,
        DECISION_CLASS_START, /* what is not over yet */
        DECISION_CLASS_ALARM,
        DECISION_CLASS_COUNT, /* must be last */
};

/* TCP, UDP and ICMP of either family by the number in the IP header; IP for all others. */
enum decision_protocol decision_protocol_of_ip(uint8_t ip_protocol);

/* Fills feature and rule from what a verdict says: both may be NULL. */
void decision_set_rule(struct decision *decision, const char *feature, const char *rule_file, unsigned rule_line);

enum decision_class decision_class(const struct decision *decision);

/* Severity as syslog numbers it (RFC 5424 6.2.1): warning for alarms, notice for deny and audit, informational for others. */
unsigned decision_severity(const struct decision *decision);

/* "connection", "alarm", … as in the field event. */
const char *decision_event_text(const struct decision *decision);

enum decision_field_kind {
        DECISION_FIELD_TEXT = 0,
        DECISION_FIELD_NUMBER,
        DECISION_FIELD_BOOLEAN,
};

struct decision_field {
        const char *name; /* as in JSON: lower case and underscores */
        enum decision_field_kind kind;
        const char *text; /* need not end in NUL */
        size_t length;    /* of text, bytes */
        uint64_t number;  /* NUMBER; BOOLEAN: 0 or 1 */
};

#define DECISION_FIELD_MAX 40
#define DECISION_TIME_SIZE 40
#define DECISION_PROTOCOL_SIZE 8 /* "ip-255" */
#define DECISION_FLAGS_SIZE 24   /* "qr,aa,tc,rd,ra,ad,cd" */

/* The fields a decision has, in the order of docs/decision-log.md; those that are absent are not in it. */
struct decision_fields {
        struct decision_field items[DECISION_FIELD_MAX];
        size_t count;
        char times[3][DECISION_TIME_SIZE]; /* items point into these and into the decision */
        char addresses[4][NET_ADDRESS_TEXT_SIZE];
        char protocol[DECISION_PROTOCOL_SIZE];
        char dns_names[3][DNS_NAME_TEXT_SIZE];
        char dns_flags[DECISION_FLAGS_SIZE];
};

/* RFC 3339 in UTC with microseconds, and NUL. Returns its length; 0: a time past the year 9999, which has no such form. */
size_t decision_time_format(uint64_t time_us, char text[DECISION_TIME_SIZE]);

/* The bits that are set in a DNS header, "qr,rd,ra", without NUL. Returns the length. */
size_t decision_flags_format(uint16_t flags, char text[DECISION_FLAGS_SIZE]);

/* Lists the fields. They are borrowed from *decision and *ret, so neither may move. */
void decision_fields(const struct decision *decision, struct decision_fields *ret);

/* Whether duration_ms means something. */
bool decision_has_duration(const struct decision *decision);

/* "transparent", "proxy", …; "" for none. */
const char *decision_listener_text(const struct decision *decision);

/* "https", "udp", "ip-47"; "" when unknown. Returns buffer or a constant. */
const char *decision_protocol_text(const struct decision *decision, char buffer[DECISION_PROTOCOL_SIZE]);

/*
 * What goes into the field reason: the row's text, for alarms the alarm, which need not end in NUL: *ret_length bytes. Starts
 * have none.
 */
const char *decision_reason_text(const struct decision *decision, size_t *ret_length);
