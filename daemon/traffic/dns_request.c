#include "traffic/dns_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "traffic/dns_request_state.h"

int dns_requests_new(struct traffic *traffic, struct learned_school *school, const struct config *config,
                     struct dns_requests **ret)
{
        struct dns_requests *requests = calloc(1, sizeof(*requests));

        if (requests == NULL)
                return -ENOMEM;
        requests->traffic = traffic;
        int r = dns_lookups_new(traffic->base, config, &requests->lookups);
        if (r == 0)
                r = learned_teacher_new(school, traffic->base, &requests->teacher);
        if (r < 0) {
                dns_requests_free(requests);
                return r;
        }
        *ret = requests;
        return 0;
}

void dns_requests_free(struct dns_requests *requests)
{
        if (requests == NULL)
                return;
        learned_teacher_free(requests->teacher);
        dns_lookups_free(requests->lookups);
        free(requests);
}

void dns_request_free(struct dns_request *request)
{
        (void)evtimer_del(&request->deadline);
        generation_unref(request->generation);
        request->requests->pending_count--;
        free(request->response);
        free(request);
}

void dns_request_deliver(struct dns_request *request, const uint8_t *response, size_t length)
{
        request->on_response(response, length, request->context);
        dns_request_free(request);
}

static void request_on_answer(const struct dns_lookup_result *result, void *context)
{
        struct dns_request *request = context;
        struct dns_request *waiting = NULL;

        request->lookup = NULL;
        size_t length = dns_request_end_with_result(request, result, &waiting);
        if (waiting == NULL)
                dns_request_deliver(request, request->requests->response, length);
}

static void cancel_waiting(struct dns_request *request)
{
        if (request->lookup != NULL)
                dns_lookup_cancel(request->lookup);
        if (request->lesson != NULL)
                learned_lesson_cancel(request->lesson);
        request->lookup = NULL;
        request->lesson = NULL;
}

static void request_on_deadline(evutil_socket_t fd, short what, void *context)
{
        struct dns_request *request = context;
        enum reason reason = request->lesson != NULL ? REASON_NO_RESOURCES : REASON_RESOLVE_TIMEOUT;

        (void)fd;
        (void)what;
        cancel_waiting(request);
        dns_request_deliver(request, request->requests->response, dns_request_end_failed(request, reason));
}

struct dns_request *dns_request_keep(const struct dns_request *at_hand)
{
        struct timeval timeout = clock_timeval(generation_config(at_hand->generation)->resolve_timeout_ms);
        struct dns_requests *requests = at_hand->requests;
        struct dns_request *request = NULL;

        if (requests->pending_count < DNS_REQUEST_MAX_PENDING)
                request = malloc(sizeof(*request));
        if (request == NULL)
                return NULL;
        *request = *at_hand;
        request->is_kept = true;
        generation_ref(request->generation);
        requests->pending_count++;
        (void)evtimer_assign(&request->deadline, requests->traffic->base, request_on_deadline, request);
        if (evtimer_add(&request->deadline, &timeout) < 0) {
                dns_request_free(request);
                return NULL;
        }
        return request;
}

/* NULL: out of memory, or there are too many. */
static struct dns_request *ask(const struct dns_request *at_hand, const struct dns_question *question)
{
        struct dns_request *request = dns_request_keep(at_hand);

        if (request != NULL &&
            dns_lookup_start(at_hand->requests->lookups, question, request_on_answer, request, &request->lookup) < 0) {
                dns_request_free(request);
                return NULL;
        }
        return request;
}

struct dns_question dns_request_question(const struct dns_query *query)
{
        return (struct dns_question){
                .name = query->name,
                .type = query->type,
                .dnssec_ok = query->dnssec_ok,
                .checking_disabled = query->checking_disabled,
        };
}

/* The question is one that the cluster may ask. Returns the response's length; 0 with *ret set: pending. */
static size_t look_up(struct dns_request *request, struct dns_request **ret)
{
        struct dns_requests *requests = request->requests;
        struct dns_question question = dns_request_question(&request->query);
        struct dns_lookup_result result;

        if (dns_lookups_cached(requests->lookups, &question, &requests->cached, &result))
                return dns_request_end_with_result(request, &result, ret);
        *ret = ask(request, &question);
        return *ret != NULL ? 0 : dns_request_end_failed(request, REASON_NO_RESOURCES);
}

/* RFC 1035 3.2.3, 6895 3.1: from here to 255 types ask for something else than records of that type. */
#define FIRST_META_TYPE 128

/* Zone transfers and the like: none of what a client needs to connect somewhere. ANY: RFC 8482. */
static bool is_meta_type(uint16_t type)
{
        return type == DNS_TYPE_OPT || (type >= FIRST_META_TYPE && type <= DNS_TYPE_ANY);
}

static size_t refuse_question(struct dns_request *request, enum dns_rcode rcode, const char *hint)
{
        snprintf(request->verdict.hint, sizeof(request->verdict.hint), "%s", hint);
        return dns_request_end_refused(request, REASON_BAD_QUERY, rcode, DNS_EDE_OTHER);
}

/* Returns as look_up. */
static size_t decide(struct dns_request *request, struct dns_request **ret)
{
        const struct policy *policy = generation_policy(request->generation);

        if (request->query.class != DNS_CLASS_IN)
                return refuse_question(request, DNS_RCODE_REFUSED, "only class IN is served");
        if (is_meta_type(request->query.type))
                return refuse_question(request, DNS_RCODE_NOT_IMPLEMENTED,
                                       "zone transfers, ANY and the like are not served");
        policy_decide_query(policy, request->cluster, &request->query.name, &request->verdict);
        if (request->verdict.action == POLICY_DENY)
                return dns_request_end_refused(request, request->verdict.reason, DNS_RCODE_REFUSED, DNS_EDE_BLOCKED);
        return look_up(request, ret);
}

/* A client that is in no cluster learns nothing, not even whether it asked well. */
static size_t refuse_stranger(struct dns_request *request)
{
        char text[NET_ADDRESS_TEXT_SIZE];

        snprintf(request->verdict.hint, sizeof(request->verdict.hint), "%s is under no cluster's sources",
                 net_address_format(&request->client.address, text));
        return dns_request_end_refused(request, REASON_UNKNOWN_SOURCE, DNS_RCODE_REFUSED, DNS_EDE_PROHIBITED);
}

/* Returns as look_up; 0 without *ret: no response. */
static size_t take_query(struct dns_request *request, enum dns_query_result result, struct dns_request **ret)
{
        if (result == DNS_QUERY_NOT_A_QUERY) {
                dns_request_end_unanswered(request, REASON_BAD_QUERY);
                return 0;
        }
        request->has_query = true;
        if (request->cluster == NULL)
                return refuse_stranger(request);
        switch (result) {
        case DNS_QUERY_OK:
                return decide(request, ret);
        case DNS_QUERY_NOT_A_QUERY: /* above */
        case DNS_QUERY_BAD:
                return refuse_question(request, DNS_RCODE_FORMAT_ERROR, "");
        case DNS_QUERY_NOT_IMPLEMENTED:
                return refuse_question(request, DNS_RCODE_NOT_IMPLEMENTED, "only queries are served");
        case DNS_QUERY_BAD_VERSION:
                return refuse_question(request, DNS_RCODE_BAD_VERSION, "EDNS has version 0");
        case DNS_QUERY_BAD_NAME:
                return refuse_question(request, DNS_RCODE_REFUSED, "not a domain name that a rule could allow");
        }
        return 0;
}

/* What is known of a query before its bytes are read. */
static struct dns_request begin(struct dns_requests *requests, const struct net_endpoint *client, size_t request_size)
{
        struct generation *generation = requests->traffic->generation;

        return (struct dns_request){
                .requests = requests,
                .generation = generation,
                .cluster = policy_cluster_of(generation_policy(generation), &client->address),
                .client = *client,
                .started_ms = clock_monotonic_ms(),
                .request_size = request_size,
        };
}

enum dns_request_result dns_request_start(struct dns_requests *requests, const struct net_endpoint *client,
                                          enum dns_transport transport, const void *message, size_t length,
                                          const uint8_t **ret_response, size_t *ret_length, struct dns_request **ret)
{
        struct dns_request request = begin(requests, client, length);
        struct dns_request *pending = NULL;
        enum dns_query_result result = dns_query_parse(message, length, &request.query);

        request.transport = transport;
        size_t response_length = take_query(&request, result, &pending);

        if (pending != NULL) {
                *ret = pending;
                return DNS_REQUEST_PENDING;
        }
        *ret_response = requests->response;
        *ret_length = response_length;
        return response_length > 0 ? DNS_REQUEST_ANSWERED : DNS_REQUEST_UNANSWERED;
}

void dns_request_wait(struct dns_request *request, dns_request_fn on_response, void *context)
{
        request->on_response = on_response;
        request->context = context;
}

void dns_request_cancel(struct dns_request *request, enum reason reason)
{
        cancel_waiting(request);
        dns_request_end_unanswered(request, reason);
        dns_request_free(request);
}

void dns_request_record_refusal(struct dns_requests *requests, const struct net_endpoint *client, enum reason reason,
                                size_t size)
{
        struct dns_request request = begin(requests, client, size);

        request.transport = DNS_TRANSPORT_TCP; /* A datagram is whole, and lets itself in. */
        dns_request_end_unanswered(&request, reason);
}
