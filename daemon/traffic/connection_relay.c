#include "traffic/connection_relay.h"

#include <event2/buffer.h>
#include <stdlib.h>

#include "inspect/inspect.h"
#include "net/http_exchange.h"
#include "net/relay.h"
#include "traffic/connection_state.h"

/* After the first hello: no second one may name another server. */
static enum relay_gate_verdict handshake_gate(enum relay_direction direction, const void *bytes, size_t length,
                                              size_t *ret_pass, enum reason *ret_reason, void *context)
{
        struct connection *c = context;
        size_t needed;

        if (direction == RELAY_IN) {
                handshake_watch_server_bytes(&c->watch, bytes, length);
                *ret_pass = length;
        } else if (c->watch.phase != HANDSHAKE_WATCH_DONE &&
                   handshake_watch_client_bytes(&c->watch, &c->asked.name, bytes, length, ret_pass, &needed,
                                                ret_reason) == HANDSHAKE_WATCH_REFUSE) {
                return RELAY_GATE_REFUSE;
        }
        return c->watch.phase == HANDSHAKE_WATCH_DONE ? RELAY_GATE_OPEN : RELAY_GATE_PASS;
}

/* In a tunnel that was opened by name, TLS may still not name another server. */
static enum relay_gate_verdict tunnel_gate(struct connection *c, const struct inspect_result *result,
                                           enum reason *ret_reason)
{
        if (result->protocol != INSPECT_PROTOCOL_TLS)
                return RELAY_GATE_OPEN;
        connection_state_note_hello(c, &result->hello);
        if (c->verdict.action == POLICY_AUDIT || result->hello.server_name.length == 0 ||
            fqdn_equal(&c->asked.name, &result->hello.server_name))
                return RELAY_GATE_OPEN;
        connection_state_note_foreign_name(c, &result->hello.server_name);
        *ret_reason = REASON_SERVER_NAME_MISMATCH;
        return RELAY_GATE_REFUSE;
}

/*
 * A connection or tunnel that was let through as it is: the client's first bytes may be anything, but a name in them holds
 * to the one it was opened by, or where that is an address, is recorded and judged by deny rules.
 */
static enum relay_gate_verdict passing_gate(enum relay_direction direction, const void *bytes, size_t length,
                                            size_t *ret_pass, enum reason *ret_reason, void *context)
{
        struct connection *c = context;
        struct inspect_result result;
        struct policy_verdict verdict;

        *ret_pass = 0;
        if (direction == RELAY_IN)
                return RELAY_GATE_OPEN;
        switch (inspect_bytes(bytes, length, &result)) {
        case INSPECT_NEED_MORE:
                /* Nearly every text protocol could still become an unusual HTTP method: do not hold those up. */
                return result.protocol == INSPECT_PROTOCOL_TLS || inspect_looks_like_http(bytes, length)
                               ? RELAY_GATE_PASS
                               : RELAY_GATE_OPEN;
        case INSPECT_REFUSE:
                return RELAY_GATE_OPEN;
        case INSPECT_OK:
                break;
        }
        c->speaks = result.protocol;
        if (c->asked.name.length > 0)
                return tunnel_gate(c, &result, ret_reason);
        connection_state_note_name(c, &result);
        if (c->asked.name.length == 0)
                return RELAY_GATE_OPEN;
        policy_decide(generation_policy(c->generation), c->cluster, &c->asked, &verdict);
        if (verdict.action != POLICY_DENY || verdict.reason != REASON_DENY_RULE)
                return RELAY_GATE_OPEN;
        connection_state_note_verdict(c, &verdict);
        *ret_reason = REASON_DENY_RULE;
        return RELAY_GATE_REFUSE;
}

static void on_relay_done(const struct relay_result *result, void *context)
{
        struct connection *c = context;

        c->relay = NULL;
        c->bytes_out += result->bytes_out;
        c->bytes_in += result->bytes_in;
        /* Out of memory in the middle of a stream: words of ours there would pass for the origin's. */
        if (reason_row(result->reason)->outcome == REASON_OUTCOME_REFUSED &&
            (result->reason != REASON_NO_RESOURCES || result->bytes_in == 0))
                connection_refuse(c, result->reason);
        else
                connection_close(c, result->reason);
}

/* Hands both sockets to a relay. Of what the client sent already the gate judges all but the first judged_length bytes. */
static void start_relay(struct connection *c, size_t judged_length, relay_gate_fn gate)
{
        struct evbuffer *input = c->setup->input;
        struct relay_request request = {
                .client_fd = c->client_fd,
                .upstream_fd = c->upstream.fd,
                .first = evbuffer_pullup(input, -1),
                .first_length = evbuffer_get_length(input),
                .judged_length = judged_length,
                .idle_timeout_ms = generation_config(c->generation)->idle_timeout_ms,
                .gate = gate,
                .pass_held_at_end = gate == passing_gate,
        };

        connection_enter(c, CONNECTION_RELAYING);
        if (relay_start(c->traffic->relay_pool, &request, on_relay_done, c, &c->relay) < 0) {
                connection_refuse(c, REASON_NO_RESOURCES);
                return;
        }
        connection_setup_free(c->setup);
        c->setup = NULL;
        connection_record_start(c);
}

void connection_relay_tls(struct connection *c, size_t hello_length)
{
        handshake_watch_start(&c->watch);
        start_relay(c, hello_length, handshake_gate);
}

void connection_relay_passing(struct connection *c)
{
        start_relay(c, 0, passing_gate);
}

static void connection_next_request(struct connection *c)
{
        if (c->traffic->draining) {
                connection_close_answered(c);
                return;
        }
        c->setup->needed = 1;
        connection_enter(c, CONNECTION_INSPECTING);
        if (evbuffer_get_length(c->setup->input) > 0) {
                connection_begin_attempt(c);
                connection_enter(c, CONNECTION_INSPECTING);
                connection_inspect(c);
        }
}

static void on_exchange_done(const struct http_exchange_result *result, void *context)
{
        struct connection *c = context;

        c->exchange = NULL;
        c->bytes_out += result->bytes_out;
        c->bytes_in += result->bytes_in;
        if (result->reason != REASON_COMPLETED) {
                if (result->answered || reason_row(result->reason)->http_status == 0)
                        connection_close(c, result->reason);
                else
                        connection_refuse(c, result->reason);
                return;
        }
        switch (result->next) {
        case HTTP_EXCHANGE_UPGRADED:
                start_relay(c, 0, NULL);
                return;
        case HTTP_EXCHANGE_CLOSE:
                connection_close_answered(c);
                return;
        case HTTP_EXCHANGE_LINGER:
                connection_close_gently(c, REASON_COMPLETED);
                return;
        case HTTP_EXCHANGE_KEEP_CLIENT:
        case HTTP_EXCHANGE_KEEP_BOTH:
                connection_conclude(c, REASON_COMPLETED);
                if (result->next == HTTP_EXCHANGE_KEEP_CLIENT)
                        connection_drop_upstream(c);
                connection_next_request(c);
                return;
        }
}

void connection_relay_http(struct connection *c)
{
        const struct http_request *request = &c->setup->request;
        size_t size = request->length + 512;
        char *head = malloc(size);

        connection_enter(c, CONNECTION_RELAYING);
        if (head == NULL) {
                connection_refuse(c, REASON_NO_RESOURCES);
                return;
        }
        const void *bytes = evbuffer_pullup(c->setup->input, (ev_ssize_t)request->length);
        struct http_exchange_request exchange = {
                .client_fd = c->client_fd,
                .upstream_fd = c->upstream.fd,
                .head = head,
                .head_length = http_request_format_upstream(bytes, request, head, size),
                .client_input = c->setup->input,
                .body = request->body,
                .body_length = request->body_length,
                .to_head = request->head_method,
                .client_keep_alive = request->keep_alive && !c->traffic->draining,
                .upgrade = request->upgrade,
                .idle_timeout_ms = generation_config(c->generation)->idle_timeout_ms,
        };
        evbuffer_drain(c->setup->input, request->length);
        int r = http_exchange_start(c->traffic->base, &exchange, on_exchange_done, c, &c->exchange);
        free(head);
        if (r < 0)
                connection_refuse(c, REASON_NO_RESOURCES);
        else
                connection_record_start(c);
}
