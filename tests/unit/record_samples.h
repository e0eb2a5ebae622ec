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

/* Every field is set. */
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

/* Number n of a row, with n to be found again in bytes_out. */
static inline struct decision sample_numbered(uint64_t n, enum policy_action action)
{
        struct decision decision = { .event = DECISION_EVENT_CONNECTION, .action = action, .bytes_out = n };

        decision.reason = action == POLICY_ALLOW ? REASON_COMPLETED : REASON_NO_RULE;
        snprintf(decision.cluster, sizeof(decision.cluster), "prod-weu");
        return decision;
}
