/* Decisions for tests of the records layer. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "records/decision.h"

static inline struct net_endpoint sample_endpoint(const char *address, uint16_t port)
{
        struct net_endpoint endpoint = { .port = port };

        assert_int_equal(net_address_parse(address, strlen(address), &endpoint.address), 0);
        return endpoint;
}

/* Every field of a connection is set. */
static inline void sample_full(struct decision *decision)
{
        memset(decision, 0, sizeof(*decision));
        decision->event = DECISION_EVENT_CONNECTION;
        decision->action = POLICY_DENY;
        decision->reason = REASON_NO_RULE;
        decision->listener = DECISION_LISTENER_TRANSPARENT;
        decision->protocol = DECISION_PROTOCOL_HTTPS;
        decision->time_us = 1719830096000123; /* 2024-07-01T10:34:56.000123Z */
        decision->duration_ms = 1002;
        decision->bytes_out = 517;
        decision->bytes_in = 18446744073;
        decision->client = sample_endpoint("10.1.0.4", 40222);
        decision->original = sample_endpoint("93.184.216.34", 443);
        decision->destination = sample_endpoint("2001:db8::5", 443);
        decision->snat = sample_endpoint("10.0.1.10", 1024);
        assert_int_equal(fqdn_from_text("example.com", &decision->fqdn), 0);
        snprintf(decision->cluster, sizeof(decision->cluster), "prod-weu");
        snprintf(decision->feature, sizeof(decision->feature), "monitor");
        snprintf(decision->rule, sizeof(decision->rule), "monitor.allow:12");
        snprintf(decision->hint, sizeof(decision->hint),
                 "allowed by feature 'monitor', not enabled for cluster 'prod-weu'");
        snprintf(decision->connection_id, sizeof(decision->connection_id), "c0ffee0123456789");
        snprintf(decision->alpn, sizeof(decision->alpn), "h2,http/1.1");
        decision->ech = true;
        decision->has_tls = true;
}

/* Who asked, when, and what the policy said: the same in all samples of forwarded traffic and queries. */
static inline struct decision sample_refused(enum decision_event event, enum decision_listener listener)
{
        struct decision decision = {
                .event = event,
                .action = POLICY_DENY,
                .listener = listener,
                .time_us = 1719830096000123, /* 2024-07-01T10:34:56.000123Z */
                .cluster = "prod-weu",
        };

        decision.client = sample_endpoint("10.1.0.4", 40222);
        return decision;
}

static inline struct decision sample_packet(void)
{
        struct decision decision = sample_refused(DECISION_EVENT_PACKET, DECISION_LISTENER_FORWARD);

        decision.reason = REASON_QUIC;
        decision.protocol = DECISION_PROTOCOL_QUIC;
        decision.original = sample_endpoint("203.0.113.9", 443);
        decision.destination = decision.original;
        assert_int_equal(fqdn_from_text("www.example.com", &decision.fqdn), 0);
        return decision;
}

static inline struct decision sample_flow(void)
{
        struct decision decision = sample_refused(DECISION_EVENT_FLOW, DECISION_LISTENER_FORWARD);

        decision.action = POLICY_ALLOW;
        decision.reason = REASON_COMPLETED;
        decision.protocol = DECISION_PROTOCOL_UDP;
        decision.original = sample_endpoint("203.0.113.4", 123);
        decision.destination = decision.original;
        decision.snat = sample_endpoint("10.0.1.10", 40222);
        decision.bytes_out = 76;
        decision.bytes_in = 77;
        decision.duration_ms = 30012;
        snprintf(decision.feature, sizeof(decision.feature), "allow");
        snprintf(decision.rule, sizeof(decision.rule), "aksegressd.yaml:7");
        assert_int_equal(fqdn_from_text("ntp.ubuntu.com", &decision.fqdn), 0);
        return decision;
}

/* Every field of a query is set. */
static inline struct decision sample_query(void)
{
        struct decision decision = sample_refused(DECISION_EVENT_QUERY, DECISION_LISTENER_DNS);

        decision.reason = REASON_NO_RULE;
        decision.protocol = DECISION_PROTOCOL_DNS;
        decision.duration_ms = 2;
        decision.dns = (struct decision_dns){
                .id = 4660,
                .type = 28,
                .class = 1,
                .rcode = 5,
                .flags = 0x8185, /* a response, recursion desired and available, REFUSED */
                .edns_size = 1232,
                .request_size = 40,
                .response_size = 97,
                .dnssec_ok = true,
                .has_response = true,
        };
        assert_int_equal(fqdn_from_text("example.com", &decision.fqdn), 0);
        return decision;
}

/* Of 12 decisions like this one, in ten seconds. */
static inline struct decision sample_summary(const struct decision *first)
{
        struct decision decision = *first;

        decision.event = DECISION_EVENT_SUMMARY;
        decision.client.port = 0;
        decision.count = 12;
        decision.first_time_us = 1719830086000124;
        decision.last_time_us = 1719830095999999;
        return decision;
}

/*
 * Every event of every listener with everything set, each text full of this byte and each number as large as it can be:
 * no record is longer. which: 0 to SAMPLE_LARGEST_COUNT - 1.
 */
#define SAMPLE_LARGEST_COUNT (7 * 5)
static inline void sample_largest(struct decision *decision, unsigned which, int byte)
{
        sample_full(decision);
        decision->event = (enum decision_event)(which % 7);
        decision->listener = (enum decision_listener)(which / 7);
        decision->action = (enum policy_action)(which % 3);
        decision->reason = REASON_TOO_MANY_CLIENT_CONNECTIONS;
        decision->protocol = DECISION_PROTOCOL_IP;
        decision->ip_protocol = 255;
        decision->client = sample_endpoint("fdaa:aaaa:bbbb:cccc:dddd:eeee:ffff:1111", 65535);
        decision->original = decision->client;
        decision->destination = decision->client;
        decision->snat = decision->client;
        decision->time_us = decision->first_time_us = decision->last_time_us = UINT64_MAX;
        decision->bytes_in = decision->bytes_out = decision->duration_ms = decision->count = INT64_MAX;
        decision->dns = (struct decision_dns){ UINT16_MAX, UINT16_MAX, UINT16_MAX, 4095, UINT16_MAX, UINT16_MAX,
                                               UINT32_MAX, UINT32_MAX, false,      true, true };
        memset(decision->hint, byte, sizeof(decision->hint));
        memset(decision->cluster, byte, sizeof(decision->cluster));
        memset(decision->feature, byte, sizeof(decision->feature));
        memset(decision->rule, byte, sizeof(decision->rule));
        memset(decision->alpn, byte, sizeof(decision->alpn));
        memset(decision->connection_id, byte, sizeof(decision->connection_id));
        memset(decision->alarm, byte, sizeof(decision->alarm));
        memset(decision->fqdn.text, byte, FQDN_MAX_LENGTH);
        decision->fqdn.length = FQDN_MAX_LENGTH;
        decision->ech = false;
}

/* Number n of a row, with n to be found again in bytes_out. */
static inline struct decision sample_numbered(uint64_t n, enum policy_action action)
{
        struct decision decision = { .event = DECISION_EVENT_CONNECTION, .action = action, .bytes_out = n };

        decision.reason = action == POLICY_ALLOW ? REASON_COMPLETED : REASON_NO_RULE;
        snprintf(decision.cluster, sizeof(decision.cluster), "prod-weu");
        return decision;
}

/* The begin of what sample_full is the end of. */
static inline struct decision sample_start(void)
{
        struct decision decision;

        sample_full(&decision);
        decision.event = DECISION_EVENT_START;
        decision.action = POLICY_ALLOW;
        decision.reason = REASON_COMPLETED;
        decision.hint[0] = '\0';
        return decision;
}

static inline struct decision sample_alarm(void)
{
        struct decision decision = {
                .event = DECISION_EVENT_ALARM,
                .alarm = "snat-nearly-exhausted",
                .hint = "52000 of 64512 ports in use; add addresses to the pool",
                .time_us = 1719830096000123, /* 2024-07-01T10:34:56.000123Z */
        };

        decision.snat = sample_endpoint("10.0.1.10", 0);
        decision.destination = sample_endpoint("192.0.2.1", 443);
        return decision;
}
