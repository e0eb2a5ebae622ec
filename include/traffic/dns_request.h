/*
 * One query to the DNS listener, from its bytes to its record. UDP and TCP (dns_udp.h, dns_stream.h) bring the bytes and take
 * the response; in between:
 *
 *   who asks → is it a question we answer → may the name be asked for → cache, or servers → which addresses may be told
 *   → the kernel knows those of network rules → response, record
 *
 * Each query leaves exactly one record, when it ends. What is refused has asked no server.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "inspect/dns_message.h"
#include "net/dns_lookup.h"
#include "policy/reason.h"
#include "traffic/connection.h"
#include "traffic/dns_told.h"
#include "traffic/learned_teacher.h"

#define DNS_REQUEST_MAX_PENDING 10000 /* of one worker; a query past that is answered SERVFAIL, "no-resources" */

struct dns_request; /* one that waits */

/* What the queries of one worker share. */
struct dns_requests {
        struct traffic *traffic;         /* borrowed: the worker's */
        struct dns_lookups *lookups;     /* owned */
        struct learned_teacher *teacher; /* owned */
        size_t pending_count;
        /* For the query at hand; nothing in them outlives the call in which it is written. */
        struct dns_answer cached;
        struct dns_told told;
        uint8_t response[DNS_MESSAGE_MAX_SIZE];
};

/* school is borrowed, too. Returns 0 or -Exxx; -EINVAL when c-ares refuses the servers. */
MUST_CHECK int dns_requests_new(struct traffic *traffic, struct learned_school *school, const struct config *config,
                                struct dns_requests **ret);

/* When no request is pending. Takes NULL. */
void dns_requests_free(struct dns_requests *requests);

enum dns_transport {
        DNS_TRANSPORT_UDP = 0,
        DNS_TRANSPORT_TCP,
};

enum dns_request_result {
        DNS_REQUEST_ANSWERED = 0, /* *ret_response is the response, in the requests's own memory until the next call */
        DNS_REQUEST_UNANSWERED,   /* there will be none: what came was no query */
        DNS_REQUEST_PENDING,      /* *ret is the request: to be given to dns_request_wait or dns_request_cancel */
};

enum dns_request_result dns_request_start(struct dns_requests *requests, const struct net_endpoint *client,
                                          enum dns_transport transport, const void *message, size_t length,
                                          const uint8_t **ret_response, size_t *ret_length, struct dns_request **ret);

/* The response is valid until the callback returns, and the request is gone after it. */
typedef void (*dns_request_fn)(const uint8_t *response, size_t length, void *context);

/* Says where the response goes. The callback runs once, later, at the latest timeouts.resolve after the start. */
void dns_request_wait(struct dns_request *request, dns_request_fn on_response, void *context);

/* Records size bytes of a client that never became a whole query, or a client that was not let in, with size 0. */
void dns_request_record_refusal(struct dns_requests *requests, const struct net_endpoint *client, enum reason reason,
                                size_t size);

/* Ends the request with this reason in its record; its callback will not run. */
void dns_request_cancel(struct dns_request *request, enum reason reason);
