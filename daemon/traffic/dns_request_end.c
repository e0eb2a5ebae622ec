#include <stdio.h>
#include <string.h>

#include "inspect/dns_response.h"
#include "records/record_writer.h"
#include "traffic/dns_decision.h"
#include "traffic/dns_request_state.h"

#define EDE_TEXT_SIZE (POLICY_HINT_SIZE + 64)

/* Writes the query's one record. response NULL: none is sent. */
static void record(const struct dns_request *request, enum reason reason, const struct dns_response *response,
                   size_t response_size)
{
        const struct traffic *traffic = request->requests->traffic;
        struct decision decision;
        const struct dns_decision what = {
                .client = &request->client,
                .query = request->has_query ? &request->query : NULL,
                .cluster = request->cluster,
                .verdict = &request->verdict,
                .action = request->action,
                .reason = reason,
                .audit_reason = request->audit_reason,
                .hint = request->hint,
                .started_ms = request->started_ms,
                .request_size = request->request_size,
                .response = response != NULL ? request->requests->response : NULL,
                .response_size = response_size,
                .rcode = response != NULL ? response->rcode : DNS_RCODE_NO_ERROR,
        };

        dns_decision_describe(&what, &decision);
        record_writer_push(traffic->records, traffic->producer, &decision);
}

/* RFC 6891 6.2.5: what the client says it takes, and what passes every path. */
static size_t max_response_size(const struct dns_request *request)
{
        size_t size = request->query.has_edns ? request->query.edns_size : DNS_MESSAGE_MIN_UDP_SIZE;

        if (request->transport == DNS_TRANSPORT_TCP)
                return DNS_MESSAGE_MAX_SIZE;
        return size < DNS_MESSAGE_OUR_UDP_SIZE ? size : DNS_MESSAGE_OUR_UDP_SIZE;
}

/* Writes the response into the requests's memory, and the record. Returns its length. */
static size_t conclude(const struct dns_request *request, enum reason reason, struct dns_response *response)
{
        struct dns_requests *requests = request->requests;

        response->max_size = max_response_size(request);
        size_t length = dns_response_write(&request->query, response, requests->response, sizeof(requests->response));
        record(request, reason, response, length);
        return length;
}

/* The same for a response that only says why there is no answer. */
size_t dns_request_end_refused(const struct dns_request *request, enum reason reason, enum dns_rcode rcode,
                               enum dns_ede ede)
{
        char text[EDE_TEXT_SIZE];
        struct dns_response response = { .rcode = rcode, .has_ede = true, .ede = ede, .ede_text = text };

        snprintf(text, sizeof(text), "aksegressd: %s%s%s", reason_row(reason)->text,
                 request->hint[0] != '\0' ? "; " : "", request->hint);
        return conclude(request, reason, &response);
}

size_t dns_request_end_failed(const struct dns_request *request, enum reason reason)
{
        enum dns_ede ede = DNS_EDE_OTHER;

        if (reason == REASON_RESOLVE_TIMEOUT)
                ede = DNS_EDE_NO_REACHABLE_AUTHORITY;
        else if (reason == REASON_RESOLVE_FAILED)
                ede = DNS_EDE_NETWORK_ERROR;
        return dns_request_end_refused(request, reason, DNS_RCODE_SERVER_FAILURE, ede);
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

/*
 * Lets the resolver know what the client was told, hints too. Not where the client did without the servers' checks (CD): by a
 * forged answer it would tell us, and not only itself, where to connect to.
 */
static void remember(const struct dns_request *request, const struct dns_told *told, uint32_t ttl_s)
{
        static const int families[] = { AF_INET, AF_INET6 };
        struct net_address addresses[DNS_TOLD_MAX_ADDRESSES];

        if (request->query.checking_disabled)
                return;
        for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
                size_t count = 0;
                for (size_t j = 0; j < told->address_count; j++)
                        if (told->addresses[j].family == families[i])
                                addresses[count++] = told->addresses[j];
                if (count > 0)
                        resolver_remember(request->requests->traffic->resolver, &request->query.name, addresses, count,
                                          ttl_s);
        }
}

/* What the client is told of the answer. */
static size_t conclude_told(struct dns_request *request, const struct dns_lookup_result *result)
{
        const struct dns_told *told = &request->requests->told;
        struct dns_response response = {
                .rcode = told->answer->rcode,
                .answer = told->answer,
                .age_s = result->age_s,
                .min_ttl_s = result->min_ttl_s,
                .has_ede = result->min_ttl_s > 0,
                .ede = DNS_EDE_STALE_ANSWER,
        };
        uint32_t ttl_s = told->answer->ttl_s > result->age_s ? told->answer->ttl_s - result->age_s : 0;

        remember(request, told, ttl_s > result->min_ttl_s ? ttl_s : result->min_ttl_s);
        return conclude(request, REASON_COMPLETED, &response);
}

/* There is an answer, positive or negative: judges its addresses. */
static size_t conclude_answer(struct dns_request *request, const struct dns_lookup_result *result)
{
        struct dns_told *told = &request->requests->told;
        struct dns_question question = dns_request_question(&request->query);

        if (dns_told_judge(generation_policy(request->generation), request->cluster, &question, result->answer,
                           result->plain, told) < 0)
                return dns_request_end_failed(request, REASON_RESOLVE_FAILED);
        if (told->reason != REASON_COMPLETED)
                memcpy(request->hint, told->hint, sizeof(request->hint));
        if (told->action == POLICY_DENY)
                return dns_request_end_refused(request, told->reason, DNS_RCODE_REFUSED, DNS_EDE_BLOCKED);
        if (told->action == POLICY_AUDIT && request->action == POLICY_ALLOW) {
                request->action = POLICY_AUDIT;
                request->audit_reason = told->reason;
        }
        return conclude_told(request, result);
}

size_t dns_request_end_with_result(struct dns_request *request, const struct dns_lookup_result *result)
{
        switch (result->status) {
        case DNS_LOOKUP_OK:
                return conclude_answer(request, result);
        case DNS_LOOKUP_FAILED:
                return dns_request_end_failed(request, REASON_RESOLVE_FAILED);
        case DNS_LOOKUP_TIMED_OUT:
                return dns_request_end_failed(request, REASON_RESOLVE_TIMEOUT);
        }
        return 0;
}

void dns_request_end_unanswered(const struct dns_request *request, enum reason reason)
{
        record(request, reason, NULL, 0);
}
