#include "traffic/connection.h"

#include <errno.h>
#include <event2/buffer.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "inspect/inspect.h"
#include "net/upstream.h"
#include "traffic/connection_relay.h"
#include "traffic/connection_state.h"

#define READ_MAX_BYTES 16384                            /* at a time */
#define INPUT_MAX_BYTES (CLIENT_HELLO_MAX_BYTES + 4096) /* parsers refuse at 64 KiB, so reading can never stall here */

static const char tunnel_established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

/* Connecting. */

/* A CONNECT is answered; what follows is TLS to the same name, unless a rule let the bytes through as they are. */
static void connection_open_tunnel(struct connection *c)
{
        ssize_t sent = send(c->client_fd, tunnel_established, sizeof(tunnel_established) - 1, MSG_NOSIGNAL);

        if (sent != (ssize_t)sizeof(tunnel_established) - 1) {
                connection_close(c, REASON_CLIENT_ABORTED);
                return;
        }
        evbuffer_drain(c->setup->input, c->setup->request.length);
        c->tunnel = true;
        c->speaks = INSPECT_PROTOCOL_UNKNOWN;
        if (c->verdict.by_network_rule || c->verdict.action == POLICY_AUDIT) {
                connection_relay_passing(c);
                return;
        }
        c->setup->needed = 1;
        connection_enter(c, CONNECTION_INSPECTING);
        if (evbuffer_get_length(c->setup->input) > 0)
                connection_inspect(c);
}

/* The origin is connected: goes on with what the client speaks. */
static void connection_on_upstream(struct connection *c)
{
        if (c->setup->request.form == HTTP_REQUEST_CONNECT) {
                connection_open_tunnel(c);
        } else if (c->dial_at_once) {
                c->asked.name.length = 0; /* What the client says is another matter than why it was let through. */
                connection_relay_passing(c);
        } else if (c->speaks == INSPECT_PROTOCOL_HTTP) {
                connection_relay_http(c);
        } else {
                connection_relay_tls(c, c->setup->hello_length);
        }
}

static void on_upstream_done(const struct upstream_answer *answer, void *context)
{
        struct connection *c = context;

        c->connecting = NULL;
        c->destination = answer->origin;
        if (answer->reason != REASON_COMPLETED) {
                connection_refuse(c, answer->reason);
                return;
        }
        c->snat = answer->source;
        c->upstream = (struct connection_upstream){
                .fd = answer->fd,
                .lease = answer->lease,
                .name = c->asked.name,
                .endpoint = answer->origin,
                .source = answer->source,
                .generation_number = generation_number(c->generation),
        };
        if (connection_catch_up(c))
                connection_on_upstream(c);
}

static struct snat_pool *connection_pool(const struct connection *c)
{
        return snat_pools_get(generation_pools(c->generation), policy_cluster_snat_pool(c->cluster));
}

/* Connects to those of the candidates that the policy permits. */
static void connection_connect(struct connection *c, const struct net_address *candidates, size_t count)
{
        struct net_address permitted[RESOLVER_MAX_ADDRESSES];
        char hint[POLICY_HINT_SIZE], refusal_hint[POLICY_HINT_SIZE] = "";
        enum reason refusal = REASON_COMPLETED;
        size_t permitted_count = 0;

        for (size_t i = 0; i < count; i++) {
                enum reason reason = policy_permits_address(generation_policy(c->generation), c->cluster,
                                                            &candidates[i], c->asked.port, hint);
                if (reason == REASON_COMPLETED) {
                        permitted[permitted_count++] = candidates[i];
                } else if (refusal == REASON_COMPLETED) {
                        refusal = reason;
                        memcpy(refusal_hint, hint, sizeof(hint));
                }
        }
        if (permitted_count == 0) {
                connection_state_note_hint(c, refusal_hint);
                c->destination = (struct net_endpoint){ .address = candidates[0], .port = c->asked.port };
                connection_refuse(c, refusal);
                return;
        }
        struct upstream_request request = {
                .addresses = permitted,
                .address_count = permitted_count,
                .port = c->asked.port,
                .client = c->client.address,
                .pool = connection_pool(c),
                .registry = c->traffic->registry,
                .timeout_ms = generation_config(c->generation)->connect_timeout_ms,
        };
        connection_enter(c, CONNECTION_CONNECTING);
        if (upstream_connect_start(c->traffic->base, &request, on_upstream_done, c, &c->connecting) < 0)
                connection_refuse(c, REASON_NO_RESOURCES);
}

static enum reason resolver_status_reason(enum resolver_status status)
{
        switch (status) {
        case RESOLVER_OK:
                return REASON_COMPLETED;
        case RESOLVER_NOT_FOUND:
                return REASON_NAME_NOT_FOUND;
        case RESOLVER_FAILED:
                return REASON_RESOLVE_FAILED;
        case RESOLVER_TIMEOUT:
                return REASON_RESOLVE_TIMEOUT;
        }
        return REASON_RESOLVE_FAILED;
}

static void connection_on_answer(const struct resolver_answer *answer, void *context)
{
        struct connection *c = context;
        const struct net_address *dialled = &c->original.address;

        c->query = NULL;
        if (answer->status != RESOLVER_OK)
                connection_refuse(c, resolver_status_reason(answer->status));
        else if (dialled->family != AF_UNSPEC && snat_pool_has_family(connection_pool(c), dialled->family) &&
                 resolver_recently_answered(c->traffic->resolver, &c->asked.name, dialled))
                connection_connect(c, dialled, 1);
        else
                connection_connect(c, answer->addresses, answer->address_count);
}

static void connection_resolve(struct connection *c)
{
        struct snat_pool *pool = connection_pool(c);
        bool by_address =
                c->asked.name.length == 0 || (c->asked.address.family != AF_UNSPEC &&
                                              policy_network_rule_covers(c->cluster, &c->asked.address, c->asked.port));

        connection_enter(c, CONNECTION_RESOLVING);
        if (by_address) {
                connection_connect(c, &c->asked.address, 1);
                return;
        }
        int r = resolver_lookup(c->traffic->resolver, &c->asked.name, snat_pool_has_family(pool, AF_INET),
                                snat_pool_has_family(pool, AF_INET6), connection_on_answer, c, &c->query);
        if (r < 0)
                connection_refuse(c, REASON_NO_RESOURCES);
}

/* Deciding. */

/*
 * Whether the origin's connection of the last request serves this one: same name and port, and the origin has not closed
 * it. Not after a reload: the address may no longer be permitted, or the cluster's pool be another one.
 */
static bool connection_can_reuse_upstream(const struct connection *c)
{
        char byte;

        return c->upstream.fd != -1 && c->upstream.generation_number == generation_number(c->generation) &&
               c->speaks == INSPECT_PROTOCOL_HTTP && c->setup->request.form != HTTP_REQUEST_CONNECT &&
               c->asked.name.length > 0 && fqdn_equal(&c->upstream.name, &c->asked.name) &&
               c->upstream.endpoint.port == c->asked.port &&
               recv(c->upstream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN;
}

/*
 * A client that dials a private address by what it says in the hello nobody could allow: what lacks is the address, where the
 * API server or Private Link is meant.
 */
static void connection_hint_at_address(struct connection *c)
{
        char hint[POLICY_HINT_SIZE];

        if (c->hint == NULL && c->cluster != NULL && c->original.address.family != AF_UNSPEC &&
            policy_permits_address(generation_policy(c->generation), c->cluster, &c->original.address, c->original.port,
                                   hint) == REASON_FORBIDDEN_ADDRESS)
                connection_state_note_hint(c, hint);
}

static void connection_decide(struct connection *c)
{
        struct policy_verdict verdict;

        policy_decide(generation_policy(c->generation), c->cluster, &c->asked, &verdict);
        connection_state_note_verdict(c, &verdict);
        if (verdict.action == POLICY_DENY) {
                connection_hint_at_address(c);
                connection_refuse(c, verdict.reason);
                return;
        }
        if (connection_can_reuse_upstream(c)) {
                c->destination = c->upstream.endpoint;
                c->snat = c->upstream.source;
                connection_relay_http(c);
                return;
        }
        connection_drop_upstream(c);
        connection_resolve(c);
}

/* A hello without a name, as of pods that use the API server's address: in audit mode it goes where it was sent. */
static void connection_decide_nameless(struct connection *c)
{
        struct policy_verdict verdict;

        policy_decide(generation_policy(c->generation), c->cluster, &c->asked, &verdict);
        if (verdict.action == POLICY_DENY) {
                connection_hint_at_address(c);
                connection_refuse(c, REASON_NO_SERVER_NAME);
                return;
        }
        if (verdict.action == POLICY_AUDIT)
                verdict.reason = REASON_NO_SERVER_NAME;
        connection_state_note_verdict(c, &verdict);
        connection_resolve(c);
}

/* Inspecting. */

/* Inside CONNECT the hello must ask for the name in the CONNECT request. */
static void connection_on_tunnel_hello(struct connection *c, const struct client_hello *hello)
{
        connection_state_note_hello(c, hello);
        if (hello->server_name.length == 0) {
                connection_refuse(c, REASON_NO_SERVER_NAME);
        } else if (!fqdn_equal(&c->asked.name, &hello->server_name)) {
                connection_state_note_foreign_name(c, &hello->server_name);
                connection_refuse(c, REASON_SERVER_NAME_MISMATCH);
        } else {
                connection_relay_tls(c, hello->length);
        }
}

static void connection_on_hello(struct connection *c, const struct inspect_result *result)
{
        c->setup->hello_length = result->hello.length;
        connection_state_note_name(c, result);
        c->asked.port = c->original.port;
        c->asked.address = c->original.address;
        if (c->listener == DECISION_LISTENER_PROXY)
                connection_refuse(c, REASON_NOT_A_PROXY_REQUEST);
        else if (c->asked.name.length == 0)
                connection_decide_nameless(c);
        else
                connection_decide(c);
}

static void connection_on_request(struct connection *c, const struct inspect_result *result)
{
        const struct http_request *request = &result->request;

        c->setup->request = *request;
        connection_state_note_name(c, result);
        if (c->listener == DECISION_LISTENER_TRANSPARENT) {
                c->asked.port = c->original.port;
                c->asked.address = c->original.address;
                if (request->form == HTTP_REQUEST_CONNECT) {
                        connection_refuse(c, REASON_BAD_REQUEST);
                        return;
                }
        } else {
                c->asked.port = request->port;
                c->asked.address = request->address;
                if (request->form == HTTP_REQUEST_ORIGIN) {
                        connection_refuse(c, REASON_NOT_A_PROXY_REQUEST);
                        return;
                }
        }
        connection_decide(c);
}

void connection_inspect(struct connection *c)
{
        struct evbuffer *input = c->setup->input;
        size_t length = evbuffer_get_length(input);
        struct inspect_result result;
        enum inspect_status status;

        if (length < c->setup->needed)
                return;
        const void *bytes = evbuffer_pullup(input, -1);
        if (bytes == NULL) {
                connection_refuse(c, REASON_NO_RESOURCES);
                return;
        }
        status = c->tunnel ? inspect_tunnel_bytes(bytes, length, &result) : inspect_bytes(bytes, length, &result);
        if (result.protocol != INSPECT_PROTOCOL_UNKNOWN)
                c->speaks = result.protocol;
        switch (status) {
        case INSPECT_NEED_MORE:
                c->setup->needed = result.needed;
                return;
        case INSPECT_REFUSE:
                connection_refuse(c, result.reason);
                return;
        case INSPECT_OK:
                if (c->tunnel)
                        connection_on_tunnel_hello(c, &result.hello);
                else if (result.protocol == INSPECT_PROTOCOL_TLS)
                        connection_on_hello(c, &result);
                else
                        connection_on_request(c, &result);
                return;
        }
}

/*
 * The client's socket became readable while its name is resolved or its origin connected: has it left? Its end alone does
 * not say so, as it may only have sent all it has; it passes on to the origin. What it sends waits unread, and then a
 * reset cannot be seen either; the resolver's and the connect's deadlines are near enough.
 */
static void connection_on_client_early(struct connection *c)
{
        char byte;
        ssize_t count = recv(c->client_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

        if (count < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (count < 0)
                connection_close(c, REASON_CLIENT_ABORTED);
        else
                event_del(&c->setup->readable);
}

static void connection_on_client_end(struct connection *c)
{
        if (c->concluded) /* After its last request; it may have its response still to read. */
                connection_close(c, REASON_COMPLETED);
        else
                connection_close(c, c->tunnel ? REASON_CLIENT_ABORTED : REASON_CLIENT_GONE);
}

void connection_on_client_readable(evutil_socket_t fd, short what, void *context)
{
        struct connection *c = context;
        uint8_t bytes[READ_MAX_BYTES];
        size_t room = INPUT_MAX_BYTES - evbuffer_get_length(c->setup->input);

        (void)what;
        if (c->state == CONNECTION_RESOLVING || c->state == CONNECTION_CONNECTING) {
                connection_on_client_early(c);
                return;
        }
        ssize_t count = recv(fd, bytes, room < sizeof(bytes) ? room : sizeof(bytes), 0);
        if (c->state == CONNECTION_REFUSING) {
                connection_linger(c, count);
                return;
        }
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (count <= 0) {
                connection_on_client_end(c);
                return;
        }
        if (evbuffer_add(c->setup->input, bytes, (size_t)count) == -1) {
                connection_close(c, REASON_NO_RESOURCES);
                return;
        }
        if (c->concluded) {
                connection_begin_attempt(c);
                connection_enter(c, CONNECTION_INSPECTING);
        }
        connection_inspect(c);
}

/*
 * Whether a network rule covers where the client dialled: by address, or by what is known of the name in it, which then is
 * what was asked for.
 */
static bool connection_covers_original(struct connection *c)
{
        const struct policy *policy = generation_policy(c->generation);

        if (c->cluster == NULL || c->original.address.family == AF_UNSPEC)
                return false;
        return policy_network_rule_covers(c->cluster, &c->original.address, c->original.port) ||
               learned_addresses_cover(c->traffic->learned, policy, c->cluster, POLICY_PROTOCOL_TCP, &c->original,
                                       &c->asked.name);
}

/* Connects before a word is said: the server may speak first. */
static void connection_dial_original(struct connection *c)
{
        struct policy_verdict verdict;

        c->dial_at_once = true;
        c->asked.protocol = POLICY_PROTOCOL_TCP;
        c->asked.port = c->original.port;
        c->asked.address = c->original.address;
        policy_decide(generation_policy(c->generation), c->cluster, &c->asked, &verdict);
        connection_state_note_verdict(c, &verdict);
        if (verdict.action == POLICY_DENY)
                connection_refuse(c, verdict.reason);
        else
                connection_connect(c, &c->original.address, 1);
}

void connection_record_refusal(struct traffic *traffic, enum decision_listener listener,
                               const struct net_endpoint *client, const struct net_endpoint *original,
                               enum reason reason)
{
        struct connection c = {
                .traffic = traffic,
                .generation = traffic->generation,
                .cluster = policy_cluster_of(generation_policy(traffic->generation), &client->address),
                .listener = listener,
                .client = *client,
                .original = *original,
                .id = traffic->next_id++,
                .started_ms = clock_monotonic_ms(),
        };

        connection_conclude(&c, reason);
}

void connection_start(struct traffic *traffic, int client_fd, enum decision_listener listener,
                      const struct net_endpoint *client, const struct net_endpoint *original)
{
        enum reason reason = connection_limits_take(traffic->limits, &client->address);

        if (reason != REASON_COMPLETED) {
                connection_record_refusal(traffic, listener, client, original, reason);
                connection_reset_socket(client_fd);
                return;
        }
        struct connection *c = connection_new(traffic, client_fd, listener, client, original);
        if (c == NULL) {
                connection_limits_release(traffic->limits, &client->address);
                connection_record_refusal(traffic, listener, client, original, REASON_NO_RESOURCES);
                connection_reset_socket(client_fd);
                return;
        }
        if (connection_covers_original(c))
                connection_dial_original(c);
        else
                connection_enter(c, CONNECTION_INSPECTING);
}
