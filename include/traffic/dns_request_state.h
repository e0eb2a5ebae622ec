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
#include "traffic/learned_teacher.h"

struct dns_request {
        struct dns_requests *requests;
        struct generation *generation;        /* the one it is judged by; a reference is held while it is pending */
        const struct policy_cluster *cluster; /* borrowed from generation; NULL: unknown source */
        struct net_endpoint client;
        enum dns_transport transport;
        bool has_query;
        struct dns_query query;
        struct policy_verdict verdict; /* on the name, and in the end on the addresses; zeros: nothing was decided */
        uint64_t started_ms;
        size_t request_size;
        bool is_kept;                  /* pending: it outlives the call that made it, and the rest of this is true */
        struct dns_lookup *lookup;     /* waits for the answer */
        struct learned_lesson *lesson; /* waits for the kernel to know the addresses of, */
        uint8_t *response;             /* this response (owned), */
        size_t response_length;
        enum dns_rcode rcode;
        struct event deadline;
        dns_request_fn on_response;
        void *context;
};

/* dns_request.c */

/* What the query asks servers for. */
struct dns_question dns_request_question(const struct dns_query *query);

/*
 * Makes of a request at hand one that outlives the call, with a deadline. NULL: out of memory, or there are too many.
 */
struct dns_request *dns_request_keep(const struct dns_request *at_hand);

/* Frees one that was kept and waits for nothing. */
void dns_request_free(struct dns_request *request);

/* Hands the response of a kept request over, and frees the request. */
void dns_request_deliver(struct dns_request *request, const uint8_t *response, size_t length);

/*
 * dns_request_end.c. Each ends a query: writes the response into requests->response and the record. Returns the response's
 * length.
 */

/*
 * With what the answer, and who asks, make of it. 0 with *ret set: the request, kept if it was not yet, waits for the kernel
 * to know the addresses.
 */
size_t dns_request_end_with_result(struct dns_request *request, const struct dns_lookup_result *result,
                                   struct dns_request **ret);

/* Says only why there is no answer: by an extended error, with the request's hint. */
size_t dns_request_end_refused(const struct dns_request *request, enum reason reason, enum dns_rcode rcode,
                               enum dns_ede ede);

/* SERVFAIL. */
size_t dns_request_end_failed(const struct dns_request *request, enum reason reason);

/* Only the record: nothing is sent. */
void dns_request_end_unanswered(const struct dns_request *request, enum reason reason);
