/*
 * What a query to the DNS listener is made of, and what its files need of each other: dns_request.c leads it from its bytes
 * to an answer, dns_request_end.c writes what the client is told and the record.
 */
#pragma once

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inspect/dns_query.h"
#include "policy/policy.h"
#include "traffic/dns_request.h"

struct dns_request {
        struct dns_requests *requests;
        struct generation *generation;        /* the one it is judged by; a reference is held while it is pending */
        const struct policy_cluster *cluster; /* borrowed from generation; NULL: unknown source */
        struct net_endpoint client;
        enum dns_transport transport;
        bool has_query;
        struct dns_query query;
        struct policy_verdict verdict;
        enum policy_action action; /* AUDIT: let through in spite of audit_reason */
        enum reason audit_reason;
        char hint[POLICY_HINT_SIZE];
        uint64_t started_ms;
        size_t request_size;
        struct dns_lookup *lookup; /* pending: for the answer */
        struct event deadline;
        dns_request_fn on_response;
        void *context;
};

/*
 * Each ends a query: writes the response into requests->response and the record. Returns the response's length. What follows
 * on the first is what the answer, and who asks, make of it.
 */
size_t dns_request_end_with_result(struct dns_request *request, const struct dns_lookup_result *result);

/* Says only why there is no answer: by an extended error, with the request's hint. */
size_t dns_request_end_refused(const struct dns_request *request, enum reason reason, enum dns_rcode rcode,
                               enum dns_ede ede);

/* SERVFAIL. */
size_t dns_request_end_failed(const struct dns_request *request, enum reason reason);

/* Only the record: nothing is sent. */
void dns_request_end_unanswered(const struct dns_request *request, enum reason reason);

/* What the query asks servers for. */
struct dns_question dns_request_question(const struct dns_query *query);
