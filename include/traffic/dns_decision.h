/* The record of one query to the DNS listener. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/net_address.h"
#include "inspect/dns_query.h"
#include "policy/policy.h"
#include "policy/reason.h"
#include "records/decision.h"

/* What a query's record tells of; everything is borrowed. */
struct dns_decision {
        const struct net_endpoint *client;
        const struct dns_query *query;        /* NULL: none could be read */
        const struct policy_cluster *cluster; /* NULL: unknown source */
        const struct policy_verdict *verdict; /* AUDIT: it was let through in spite of its reason */
        enum reason reason;                   /* how it ended */
        uint64_t started_ms;
        size_t request_size;
        bool is_tcp;
        const uint8_t *response; /* NULL: none is sent */
        size_t response_size;
        enum dns_rcode rcode; /* of the response, the bits in EDNS too */
};

void dns_decision_describe(const struct dns_decision *what, struct decision *ret);
