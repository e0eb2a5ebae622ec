#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/dns_response.h"
#include "records/record_writer.h"
#include "traffic/dns_decision.h"
#include "traffic/dns_request_state.h"

#define EDE_TEXT_SIZE (POLICY_HINT_SIZE + 64)

/* Writes the query's one record. response NULL: none is sent. */
static void record(const struct dns_request *request, enum reason reason, enum dns_rcode rcode, const uint8_t *response,
                   size_t length)
{
        const struct traffic *traffic = request->requests->traffic;
        struct decision decision;
        const struct dns_decision what = {
                .client = &request->client,
                .query = request->has_query ? &request->query : NULL,
                .cluster = request->cluster,
                .verdict = &request->verdict,
                .reason = reason,
                .started_ms = request->started_ms,
                .request_size = request->request_size,
                .is_tcp = request->transport == DNS_TRANSPORT_TCP,
                .response = response,
                .response_size = length,
                .rcode = rcode,
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

/* Writes the response into requests->response. Returns its length. */
static size_t write_response(const struct dns_request *request, struct dns_response *response)
{
        struct dns_requests *requests = request->requests;

        response->max_size = max_response_size(request);
        return dns_response_write(&request->query, response, requests->response, sizeof(requests->response));
}

static size_t conclude(const struct dns_request *request, enum reason reason, struct dns_response *response)
{
        size_t length = write_response(request, response);

        record(request, reason, response->rcode, request->requests->response, length);
        return length;
}

size_t dns_request_end_refused(const struct dns_request *request, enum reason reason, enum dns_rcode rcode,
                               enum dns_ede ede)
{
        char text[EDE_TEXT_SIZE];
        struct dns_response response = { .rcode = rcode, .has_ede = true, .ede = ede, .ede_text = text };

        snprintf(text, sizeof(text), "aksegressd: %s%s%s", reason_row(reason)->text,
                 request->verdict.hint[0] != '\0' ? "; " : "", request->verdict.hint);
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

/* The kernel knows the addresses, or will not: the client may, or must not, be told. */
static void request_on_known(bool known, void *context)
{
        struct dns_request *request = context;

        request->lesson = NULL;
        if (known) {
                record(request, REASON_COMPLETED, request->rcode, request->response, request->response_length);
                dns_request_deliver(request, request->response, request->response_length);
                return;
        }
        size_t length = dns_request_end_failed(request, REASON_NO_RESOURCES);
        dns_request_deliver(request, request->requests->response, length);
}

/* Keeps the request, with the response that was just written. NULL: out of memory, or there are too many. */
static struct dns_request *keep_with_response(struct dns_request *request, size_t length, enum dns_rcode rcode)
{
        struct dns_request *kept = request->is_kept ? request : dns_request_keep(request);

        if (kept == NULL)
                return NULL;
        kept->response = malloc(length);
        if (kept->response == NULL) {
                if (kept != request)
                        dns_request_free(kept);
                return NULL;
        }
        memcpy(kept->response, request->requests->response, length);
        kept->response_length = length;
        kept->rcode = rcode;
        return kept;
}

/* Ends with the response that was just written, when the lesson is over. Returns as dns_request_end_with_result. */
static size_t tell_when_known(struct dns_request *request, struct learned_lesson *lesson, size_t length,
                              enum dns_rcode rcode, struct dns_request **ret)
{
        struct dns_request *kept = keep_with_response(request, length, rcode);

        if (kept == NULL) {
                learned_lesson_cancel(lesson);
                return dns_request_end_failed(request, REASON_NO_RESOURCES);
        }
        learned_lesson_hand_to(lesson, kept);
        kept->lesson = lesson;
        *ret = kept;
        return 0;
}

/* Teaches what the client is about to be told. Returns as learned_teacher_teach. */
static int teach(const struct dns_request *request, const struct dns_told *told, uint32_t ttl_s,
                 struct learned_lesson **ret)
{
        *ret = NULL;
        if (told->address_count == 0)
                return 0;
        return learned_teacher_teach(request->requests->teacher, generation_policy(request->generation),
                                     request->cluster, &request->query.name, told->addresses, told->address_count,
                                     ttl_s, request_on_known, NULL, ret);
}

/* What the client is told of the answer. */
static size_t tell(struct dns_request *request, const struct dns_lookup_result *result, struct dns_request **ret)
{
        const struct dns_requests *requests = request->requests;
        const struct dns_told *told = &requests->told;
        struct dns_response response = {
                .rcode = told->answer->rcode,
                .answer = told->answer,
                .age_s = result->age_s,
                .min_ttl_s = result->min_ttl_s,
                .has_ede = result->min_ttl_s > 0,
                .ede = DNS_EDE_STALE_ANSWER,
        };
        uint32_t left_s = told->answer->ttl_s > result->age_s ? told->answer->ttl_s - result->age_s : 0;
        uint32_t ttl_s = left_s > result->min_ttl_s ? left_s : result->min_ttl_s;
        size_t length = write_response(request, &response);
        struct learned_lesson *lesson;

        remember(request, told, ttl_s);
        if (teach(request, told, ttl_s, &lesson) < 0)
                return dns_request_end_failed(request, REASON_NO_RESOURCES);
        if (lesson != NULL)
                return tell_when_known(request, lesson, length, response.rcode, ret);
        record(request, REASON_COMPLETED, response.rcode, requests->response, length);
        return length;
}

/* There is an answer, positive or negative: judges its addresses. */
static size_t end_with_answer(struct dns_request *request, const struct dns_lookup_result *result,
                              struct dns_request **ret)
{
        struct dns_told *told = &request->requests->told;
        struct policy_verdict *verdict = &request->verdict;
        struct dns_question question = dns_request_question(&request->query);

        if (dns_told_judge(generation_policy(request->generation), request->cluster, &question, result->answer,
                           result->plain, told) < 0)
                return dns_request_end_failed(request, REASON_RESOLVE_FAILED);
        if (told->reason != REASON_COMPLETED)
                memcpy(verdict->hint, told->hint, sizeof(verdict->hint));
        if (told->action == POLICY_DENY)
                return dns_request_end_refused(request, told->reason, DNS_RCODE_REFUSED, DNS_EDE_BLOCKED);
        if (told->action == POLICY_AUDIT && verdict->action == POLICY_ALLOW) {
                verdict->action = POLICY_AUDIT;
                verdict->reason = told->reason;
        }
        return tell(request, result, ret);
}

size_t dns_request_end_with_result(struct dns_request *request, const struct dns_lookup_result *result,
                                   struct dns_request **ret)
{
        switch (result->status) {
        case DNS_LOOKUP_OK:
                return end_with_answer(request, result, ret);
        case DNS_LOOKUP_FAILED:
                return dns_request_end_failed(request, REASON_RESOLVE_FAILED);
        case DNS_LOOKUP_TIMED_OUT:
                return dns_request_end_failed(request, REASON_RESOLVE_TIMEOUT);
        }
        return 0;
}

void dns_request_end_unanswered(const struct dns_request *request, enum reason reason)
{
        record(request, reason, DNS_RCODE_NO_ERROR, NULL, 0);
}
