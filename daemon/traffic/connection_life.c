/* The life of a connection: its states and deadlines, its end, and the memory it holds on the way. */
#include "traffic/connection_state.h"

#include <errno.h>
#include <event2/buffer.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "inspect/refusal.h"
#include "net/http_exchange.h"
#include "net/upstream.h"

#define LINGER_MS 2000           /* for a refused client to read why */
#define LINGER_MAX_BYTES 1048576 /* of a refused client's further bytes read and dropped */
#define KEEP_ALIVE_MS 60000      /* between two HTTP requests */

static void on_deadline(evutil_socket_t fd, short what, void *context);

/* Setup: what a connection needs until it is a blind relay. */

static struct connection_setup *setup_new(struct connection *c)
{
        struct connection_setup *setup = calloc(1, sizeof(*setup));

        if (setup == NULL)
                return NULL;
        setup->input = evbuffer_new();
        if (setup->input == NULL) {
                free(setup);
                return NULL;
        }
        event_assign(&setup->readable, c->traffic->base, c->client_fd, EV_READ | EV_PERSIST,
                     connection_on_client_readable, c);
        event_assign(&setup->deadline, c->traffic->base, -1, 0, on_deadline, c);
        return setup;
}

void connection_setup_free(struct connection_setup *setup)
{
        if (setup == NULL)
                return;
        event_del(&setup->readable);
        event_del(&setup->deadline);
        evbuffer_free(setup->input);
        free(setup);
}

static void set_deadline(struct connection *c, unsigned timeout_ms)
{
        struct timeval timeout = clock_timeval(timeout_ms);

        event_add(&c->setup->deadline, &timeout);
}

/* The one place that changes the state, what is listened for, and the deadline. */
void connection_enter(struct connection *c, enum connection_state state)
{
        c->state = state;
        switch (state) {
        case CONNECTION_INSPECTING:
                event_add(&c->setup->readable, NULL);
                set_deadline(c, c->concluded ? KEEP_ALIVE_MS : generation_config(c->generation)->inspect_timeout_ms);
                return;
        case CONNECTION_REFUSING:
                event_add(&c->setup->readable, NULL);
                set_deadline(c, LINGER_MS);
                return;
        case CONNECTION_RESOLVING:
        case CONNECTION_CONNECTING:
                /* Resolver and upstream have deadlines of their own; the client may leave before. */
                event_add(&c->setup->readable, NULL);
                event_del(&c->setup->deadline);
                return;
        case CONNECTION_RELAYING:
                /* So have relay and exchange, which listen to the client themselves. */
                if (c->setup != NULL) {
                        event_del(&c->setup->readable);
                        event_del(&c->setup->deadline);
                }
                return;
        case CONNECTION_CLOSED:
                return;
        }
}

/* A new attempt: forgets what the last request on this connection asked and stands on the newest generation. */
void connection_begin_attempt(struct connection *c)
{
        struct generation *newest = generation_ref(c->traffic->generation);

        generation_unref(c->generation);
        c->generation = newest;
        c->cluster = policy_cluster_of(generation_policy(newest), &c->client.address);
        c->concluded = false;
        c->started_ms = clock_monotonic_ms();
        c->bytes_out = 0;
        c->bytes_in = 0;
        c->setup->needed = 1;
        c->setup->request = (struct http_request){ 0 };
        c->setup->hello_length = 0;
        free(c->hint);
        c->hint = NULL;
        c->decided = false;
        c->verdict = (struct connection_verdict){ 0 };
        c->asked = (struct policy_request){ .source = c->client.address };
        c->destination = (struct net_endpoint){ 0 };
        c->snat = (struct net_endpoint){ 0 };
}

/* Closes the origin's side and gives its SNAT port back. */
void connection_drop_upstream(struct connection *c)
{
        if (c->upstream.fd != -1)
                close(c->upstream.fd);
        snat_lease_release(c->traffic->registry, &c->upstream.lease);
        c->upstream = (struct connection_upstream){ .fd = -1 };
}

static void connection_link(struct connection *c)
{
        struct traffic *traffic = c->traffic;

        c->next = traffic->connections;
        if (c->next != NULL)
                c->next->previous = c;
        traffic->connections = c;
        traffic->connection_count++;
}

static void connection_unlink(struct connection *c)
{
        if (c->next != NULL)
                c->next->previous = c->previous;
        if (c->previous != NULL)
                c->previous->next = c->next;
        else
                c->traffic->connections = c->next;
        c->traffic->connection_count--;
}

void connection_record_start(const struct connection *c)
{
        struct decision decision;

        if (!record_writer_wants_starts(c->traffic->records))
                return;
        connection_state_describe(c, REASON_COMPLETED, &decision);
        decision.event = DECISION_EVENT_START;
        record_writer_push(c->traffic->records, c->traffic->producer, &decision);
}

/* Writes the attempt's record, once. */
void connection_conclude(struct connection *c, enum reason reason)
{
        struct decision decision;

        if (c->concluded)
                return;
        c->concluded = true;
        connection_state_describe(c, reason, &decision);
        record_writer_push(c->traffic->records, c->traffic->producer, &decision);
}

/* Stops whatever service works for the connection, adding to its byte counts what that carried. */
static void connection_cancel_services(struct connection *c)
{
        if (c->query != NULL)
                resolver_query_cancel(c->query);
        c->query = NULL;
        if (c->connecting != NULL)
                upstream_connect_cancel(c->connecting);
        c->connecting = NULL;
        if (c->relay != NULL) {
                struct relay_result result;
                relay_cancel(c->relay, &result);
                c->bytes_out += result.bytes_out;
                c->bytes_in += result.bytes_in;
        }
        c->relay = NULL;
        if (c->exchange != NULL) {
                struct http_exchange_result result;
                http_exchange_cancel(c->exchange, &result);
                c->bytes_out += result.bytes_out;
                c->bytes_in += result.bytes_in;
        }
        c->exchange = NULL;
}

void connection_reset_socket(int fd)
{
        struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)); /* A FIN would do as well. */
        close(fd);
}

/* Whether the client has yet to take bytes that were written to it (tcp(7), SIOCOUTQ). */
static bool client_has_bytes_to_take(const struct connection *c)
{
        int count = 0;

        return ioctl(c->client_fd, SIOCOUTQ, &count) == 0 && count > 0;
}

/* An orderly end, or a reset where the client must not take what it got for the whole. */
static void close_client(struct connection *c, enum reason reason)
{
        bool orderly = reason == REASON_COMPLETED || c->state == CONNECTION_REFUSING;

        /* A reset would take along what the origin sent before its own; a client that dialled it would have got that. */
        if (orderly || (reason == REASON_UPSTREAM_ABORTED && client_has_bytes_to_take(c)))
                close(c->client_fd);
        else
                connection_reset_socket(c->client_fd);
}

/* The one place where a connection ends. */
void connection_close(struct connection *c, enum reason reason)
{
        connection_cancel_services(c);
        connection_conclude(c, reason);
        connection_drop_upstream(c);
        connection_setup_free(c->setup);
        close_client(c, reason);
        connection_enter(c, CONNECTION_CLOSED);
        connection_unlink(c);
        connection_limits_release(c->traffic->limits, &c->client.address);
        generation_unref(c->generation);
        free(c->hint);
        free(c->alpn);
        free(c);
}

/* Sends what the client can read of the reason; false: nothing to send, or it could not be sent. */
static bool connection_send_refusal(struct connection *c, enum reason reason)
{
        char buffer[REFUSAL_MAX_BYTES];
        char id[DECISION_ID_SIZE];
        size_t length = 0;

        connection_state_id(c, id);
        switch (c->speaks) {
        case INSPECT_PROTOCOL_HTTP:
                length = refusal_format_http(reason, c->asked.name.text, c->hint != NULL ? c->hint : "", id, buffer);
                break;
        case INSPECT_PROTOCOL_TLS:
                length = refusal_format_tls(reason, (uint8_t *)buffer);
                break;
        case INSPECT_PROTOCOL_UNKNOWN:
                break;
        }
        return length > 0 && send(c->client_fd, buffer, length, MSG_NOSIGNAL) == (ssize_t)length;
}

void connection_close_gently(struct connection *c, enum reason reason)
{
        connection_cancel_services(c);
        connection_conclude(c, reason);
        connection_drop_upstream(c);
        (void)shutdown(c->client_fd, SHUT_WR); /* If it fails the client is gone, and the next read says so. */
        evbuffer_drain(c->setup->input, evbuffer_get_length(c->setup->input));
        connection_enter(c, CONNECTION_REFUSING);
}

/* Requests that a client sent ahead would make close() reset the response away. */
void connection_close_answered(struct connection *c)
{
        char byte;

        if (evbuffer_get_length(c->setup->input) > 0 || recv(c->client_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
                connection_close_gently(c, REASON_COMPLETED);
        else
                connection_close(c, REASON_COMPLETED);
}

void connection_refuse(struct connection *c, enum reason reason)
{
        connection_cancel_services(c);
        connection_conclude(c, reason);
        if (c->setup == NULL)
                c->setup = setup_new(c);
        if (c->setup != NULL && connection_send_refusal(c, reason))
                connection_close_gently(c, reason);
        else
                connection_close(c, reason);
}

/* The client's bytes are read so that what it was told is not lost in a reset (RFC 9112 9.6). */
void connection_linger(struct connection *c, ssize_t count)
{
        c->lingered_bytes += count > 0 ? (size_t)count : 0;
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) || c->lingered_bytes > LINGER_MAX_BYTES)
                connection_close(c, REASON_COMPLETED);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
        struct connection *c = context;

        (void)fd;
        (void)what;
        if (c->state == CONNECTION_INSPECTING && !c->concluded)
                connection_refuse(c, REASON_INSPECT_TIMEOUT);
        else
                connection_close(c, REASON_COMPLETED);
}

struct connection *connection_new(struct traffic *traffic, int client_fd, enum decision_listener listener,
                                  const struct net_endpoint *client, const struct net_endpoint *original)
{
        struct connection *c = calloc(1, sizeof(*c));

        if (c == NULL)
                return NULL;
        c->traffic = traffic;
        c->client_fd = client_fd;
        c->upstream.fd = -1;
        c->setup = setup_new(c);
        if (c->setup == NULL) {
                free(c);
                return NULL;
        }
        c->listener = listener;
        c->speaks = listener == DECISION_LISTENER_PROXY ? INSPECT_PROTOCOL_HTTP : INSPECT_PROTOCOL_UNKNOWN;
        c->client = *client;
        c->original = *original;
        c->id = traffic->next_id++;
        connection_link(c);
        connection_begin_attempt(c);
        return c;
}
