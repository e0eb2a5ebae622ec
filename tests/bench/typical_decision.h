/*
 * The record that is formatted and written in the benchmarks: an allowed connection.
 */
#pragma once

#include <stdlib.h>

#include "records/decision.h"

static inline struct decision typical_decision(void)
{
        struct decision decision = {
                .event = DECISION_EVENT_CONNECTION,
                .action = POLICY_ALLOW,
                .reason = REASON_COMPLETED,
                .listener = DECISION_LISTENER_TRANSPARENT,
                .protocol = DECISION_PROTOCOL_HTTPS,
                .time_us = 1719830096000123,
                .duration_ms = 1002,
                .bytes_out = 517,
                .bytes_in = 123456,
                .cluster = "prod-weu",
                .feature = "core",
                .rule = "core.allow:12",
                .connection_id = "c0ffee0123456789",
                .alpn = "h2,http/1.1",
                .has_tls = true,
        };

        if (net_endpoint_parse("10.1.0.4:40222", 0, &decision.client) < 0 ||
            net_endpoint_parse("150.171.69.10:443", 0, &decision.original) < 0 ||
            net_endpoint_parse("150.171.69.10:443", 0, &decision.destination) < 0 ||
            net_endpoint_parse("10.0.1.10:31024", 0, &decision.snat) < 0 ||
            fqdn_from_text("mcr.microsoft.com", &decision.fqdn) < 0)
                abort();
        return decision;
}
