/*
 * One decision: everything a record can say, filled along a connection's way and copied whole when it ends. A value without
 * pointers, so that it can wait in a ring after policy and connection are gone. Formatters know nothing else.
 * Field names and meanings: docs/decision-log.md.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/fqdn.h"
#include "base/net_address.h"
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
};

enum decision_listener {
        DECISION_LISTENER_NONE = 0,
        DECISION_LISTENER_TRANSPARENT,
        DECISION_LISTENER_PROXY,
};

/* What the first bytes were taken for. */
enum decision_protocol {
        DECISION_PROTOCOL_UNKNOWN = 0, /* the field is absent */
        DECISION_PROTOCOL_HTTPS,
        DECISION_PROTOCOL_HTTP,
        DECISION_PROTOCOL_TCP,
};

struct decision {
        enum decision_event event;
        enum policy_action action;
        enum reason reason;              /* connection events */
        char alarm[DECISION_ALARM_SIZE]; /* alarm events: what goes into the field reason, e.g. "snat-nearly-exhausted" */
        enum decision_listener listener;
        enum decision_protocol protocol;
        uint64_t time_us;     /* wall clock at the end */
        uint64_t duration_ms; /* from accept (later requests of a connection: from their first byte) to the end */
        uint64_t bytes_out;   /* client to origin */
        uint64_t bytes_in;
        struct net_endpoint client;
        struct net_endpoint original;    /* where a transparent client dialled; AF_UNSPEC for the proxy listener */
        struct net_endpoint destination; /* where we connected to, or tried last; address AF_UNSPEC: never got that far; port always as asked */
        struct net_endpoint snat;        /* our source; AF_UNSPEC when not connected */
        struct fqdn fqdn;                /* length 0: no name known */
        char cluster[DECISION_CLUSTER_SIZE];
        char feature[DECISION_FEATURE_SIZE];
        char rule[DECISION_RULE_SIZE];   /* "core.allow:12", "" when no rule matched */
        char hint[POLICY_HINT_SIZE];
        char connection_id[DECISION_ID_SIZE]; /* the same in the refusal the client read */
        char alpn[DECISION_ALPN_SIZE];
        bool ech;
        bool has_tls;                    /* ech means something */
};
