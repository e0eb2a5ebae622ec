#include "net/http_exchange.h"

#include <errno.h>
#include <event2/buffer.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "net_testing.h"

#define LONG_MS 60000
#define TINY_BUFFER 4096
#define BODY_BYTES (2 << 20)

struct fixture {
        struct event_base *base;
        struct evbuffer *input;
        struct http_exchange *exchange;
        int client;
        int client_side;
        int origin;
        int origin_side;
        bool done;
        struct http_exchange_result result;
        size_t descriptors;
        struct evbuffer *at_origin; /* all that the origin received */
        struct evbuffer *at_client;
};

static struct fixture *fixture_new(void (*pair)(int ends[2], int buffer_size), int buffer_size)
{
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        int ends[2];

        assert_non_null(fixture);
        fixture->descriptors = count_descriptors();
        fixture->base = event_base_new();
        fixture->input = evbuffer_new();
        fixture->at_origin = evbuffer_new();
        fixture->at_client = evbuffer_new();
        pair(ends, buffer_size);
        fixture->client = ends[0];
        fixture->client_side = ends[1];
        pair(ends, buffer_size);
        fixture->origin = ends[0];
        fixture->origin_side = ends[1];
        return fixture;
}

static void close_and_forget(int *fd)
{
        if (*fd != -1)
                close(*fd);
        *fd = -1;
}

static void fixture_free(struct fixture *fixture)
{
        close_and_forget(&fixture->client);
        close_and_forget(&fixture->client_side);
        close_and_forget(&fixture->origin);
        close_and_forget(&fixture->origin_side);
        evbuffer_free(fixture->input);
        evbuffer_free(fixture->at_origin);
        evbuffer_free(fixture->at_client);
        event_base_free(fixture->base);
        assert_int_equal(count_descriptors(), fixture->descriptors);
        free(fixture);
}

static void on_done(const struct http_exchange_result *result, void *context)
{
        struct fixture *fixture = context;

        assert_false(fixture->done);
        fixture->done = true;
        fixture->exchange = NULL;
        fixture->result = *result;
}

static void start(struct fixture *fixture, const struct http_exchange_request *template)
{
        struct http_exchange_request request = *template;

        request.client_fd = fixture->client_side;
        request.upstream_fd = fixture->origin_side;
        request.client_input = fixture->input;
        if (request.idle_timeout_ms == 0)
                request.idle_timeout_ms = LONG_MS;
        assert_int_equal(http_exchange_start(fixture->base, &request, on_done, fixture, &fixture->exchange), 0);
        assert_false(fixture->done);
}

static void start_get(struct fixture *fixture)
{
        struct http_exchange_request request = { .head = "GET / HTTP/1.1\r\n\r\n",
                                                 .head_length = 18,
                                                 .client_keep_alive = true };

        start(fixture, &request);
}

static void start_post(struct fixture *fixture, uint64_t body_length)
{
        struct http_exchange_request request = { .head = "POST / HTTP/1.1\r\n\r\n",
                                                 .head_length = 19,
                                                 .client_keep_alive = true,
                                                 .body = HTTP_BODY_LENGTH,
                                                 .body_length = body_length };

        start(fixture, &request);
}

static bool is_done(void *context)
{
        struct fixture *fixture = context;

        return fixture->done;
}

static void run_to_end(struct fixture *fixture)
{
        loop_until(fixture->base, is_done, fixture);
}

static void send_text(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void drain(int fd, struct evbuffer *into)
{
        char bytes[65536];
        ssize_t got;

        while ((got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
                evbuffer_add(into, bytes, (size_t)got);
}

static const char *text_of(struct evbuffer *buffer)
{
        evbuffer_add(buffer, "", 1);
        return (const char *)evbuffer_pullup(buffer, -1);
}

static void assert_at_client(struct fixture *fixture, const char *text)
{
        drain(fixture->client, fixture->at_client);
        assert_string_equal(text_of(fixture->at_client), text);
}

static void assert_at_origin(struct fixture *fixture, const char *text)
{
        drain(fixture->origin, fixture->at_origin);
        assert_string_equal(text_of(fixture->at_origin), text);
}

/* One exchange whose outcome must not depend on how its bytes are cut. */
struct scenario {
        const char *name; /* for the reader */
        const char *head;
        enum http_body body;
        uint64_t body_length;
        bool to_head;
        bool closes; /* the client's Connection: close */
        bool upgrade;
        const char *client; /* what the client sends after the head */
        const char *origin; /* what the origin sends */
        bool origin_closes;
        const char *at_origin;
        const char *at_client;
        enum reason reason;
        enum http_exchange_next next;
        bool refusable;   /* no byte of an answer went out */
        bool prefix;      /* at_client and at_origin are the least: how far a bad message gets depends on the cuts */
        const char *left; /* of the client's bytes, for the next request */
};

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct scenario scenarios[] = {
        { .name = "a body with a length",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "an empty body",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "a chunked body with trailers",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nSum: "
                    "7\r\n\r\n",
          .at_client = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nSum: "
                       "7\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "HEAD",
          .head = "HEAD / HTTP/1.1\r\n\r\n",
          .to_head = true,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "204",
          .head = GET,
          .origin = "HTTP/1.1 204 No Content\r\n\r\n",
          .at_client = "HTTP/1.1 204 No Content\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "304",
          .head = GET,
          .origin = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
          .at_client = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "a body until close",
          .head = GET,
          .origin = "HTTP/1.0 200 OK\r\nServer: x\r\n\r\nall of it",
          .origin_closes = true,
          .at_client = "HTTP/1.0 200 OK\r\nServer: x\r\nConnection: close\r\n\r\nall of it",
          .next = HTTP_EXCHANGE_CLOSE },
        { .name = "an origin that closes",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nA: b\r\nKeep-Alive: timeout=5\r\nx-hop: 1\r\n"
                    "Content-Length: 2\r\n\r\nok",
          .origin_closes = true,
          .at_client = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok",
          .next = HTTP_EXCHANGE_KEEP_CLIENT },
        { .name = "a client that closes",
          .head = GET,
          .closes = true,
          .origin = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
          .next = HTTP_EXCHANGE_CLOSE },
        { .name = "surplus bytes of the origin",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
          .next = HTTP_EXCHANGE_KEEP_BOTH,
          .prefix = true },
        { .name = "a request body with a length",
          .head = POST,
          .body = HTTP_BODY_LENGTH,
          .body_length = 7,
          .client = "payload",
          .origin = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
          .at_origin = POST "payload",
          .at_client = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "a pipelined request after a body with a length",
          .head = POST,
          .body = HTTP_BODY_LENGTH,
          .body_length = 7,
          .client = "payload" GET,
          .origin = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
          .at_origin = POST "payload",
          .at_client = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH,
          .left = GET },
        { .name = "a pipelined request after a chunked body",
          .head = POST,
          .body = HTTP_BODY_CHUNKED,
          .client = "3\r\nabc\r\n0\r\n\r\n" GET,
          .origin = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
          .at_origin = POST "3\r\nabc\r\n0\r\n\r\n",
          .at_client = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
          .next = HTTP_EXCHANGE_KEEP_BOTH,
          .left = GET },
        { .name = "a pipelined request after none",
          .head = GET,
          .client = GET,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
          .next = HTTP_EXCHANGE_KEEP_BOTH,
          .left = GET },
        { .name = "interim responses",
          .head = POST,
          .body = HTTP_BODY_LENGTH,
          .body_length = 2,
          .client = "hi",
          .origin = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
          .at_origin = POST "hi",
          .at_client = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
          .next = HTTP_EXCHANGE_KEEP_BOTH },
        { .name = "an upgrade",
          .head = GET,
          .upgrade = true,
          .client = "client frame",
          .origin = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
          .at_client = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
          .next = HTTP_EXCHANGE_UPGRADED,
          .left = "client frame" },
        { .name = "an upgrade that nobody asked for",
          .head = GET,
          .origin = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
          .at_client = "",
          .reason = REASON_BAD_RESPONSE,
          .refusable = true },
        { .name = "a bad chunk of the client",
          .head = POST,
          .body = HTTP_BODY_CHUNKED,
          .client = "3\r\nabcd\r\n0\r\n\r\n",
          .origin = "",
          .at_origin = "",
          .at_client = "",
          .reason = REASON_BAD_REQUEST,
          .refusable = true,
          .prefix = true },
        { .name = "a bad chunk of the origin",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
          .at_client = "",
          .reason = REASON_BAD_RESPONSE,
          .prefix = true },
        { .name = "two lengths",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
          .at_client = "",
          .reason = REASON_BAD_RESPONSE,
          .refusable = true },
        { .name = "another protocol",
          .head = GET,
          .origin = "SSH-2.0-x\r\n",
          .at_client = "",
          .reason = REASON_BAD_RESPONSE,
          .refusable = true },
        { .name = "a bare line feed",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\n",
          .at_client = "",
          .reason = REASON_BAD_RESPONSE,
          .refusable = true },
        { .name = "no answer",
          .head = GET,
          .origin = "",
          .origin_closes = true,
          .at_client = "",
          .reason = REASON_UPSTREAM_ABORTED,
          .refusable = true },
        { .name = "half a head",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nServer: x\r\n",
          .origin_closes = true,
          .at_client = "",
          .reason = REASON_UPSTREAM_ABORTED,
          .refusable = true },
        { .name = "no answer after an interim one",
          .head = GET,
          .origin = "HTTP/1.1 100 Continue\r\n\r\n",
          .origin_closes = true,
          .at_client = "HTTP/1.1 100 Continue\r\n\r\n",
          .reason = REASON_UPSTREAM_ABORTED,
          .refusable = true },
        { .name = "half a body",
          .head = GET,
          .origin = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour",
          .origin_closes = true,
          .at_client = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour",
          .reason = REASON_UPSTREAM_ABORTED },
};

static size_t send_piece(int fd, const char *text, size_t sent, size_t piece)
{
        size_t left = strlen(text) - sent;

        if (left == 0)
                return 0;
        ssize_t r = send(fd, text + sent, left < piece ? left : piece, MSG_NOSIGNAL);
        return r > 0 ? (size_t)r : 0;
}

static void run_a_while(struct fixture *fixture)
{
        for (int i = 0; i < 4; i++)
                event_base_loop(fixture->base, EVLOOP_NONBLOCK);
        drain(fixture->client, fixture->at_client);
        drain(fixture->origin, fixture->at_origin);
}

static void start_scenario(struct fixture *fixture, const struct scenario *scenario)
{
        struct http_exchange_request request = { .head = scenario->head,
                                                 .head_length = strlen(scenario->head),
                                                 .body = scenario->body,
                                                 .body_length = scenario->body_length,
                                                 .to_head = scenario->to_head,
                                                 .client_keep_alive = !scenario->closes,
                                                 .upgrade = scenario->upgrade };

        start(fixture, &request);
}

static void check_scenario(struct fixture *fixture, const struct scenario *scenario)
{
        const char *at_origin = scenario->at_origin == NULL ? scenario->head : scenario->at_origin;
        const char *at_client = text_of(fixture->at_client);

        assert_int_equal(fixture->result.reason, scenario->reason);
        if (scenario->prefix) {
                assert_int_equal(fixture->result.answered, at_client[0] != '\0');
                assert_memory_equal(text_of(fixture->at_origin), at_origin, strlen(at_origin));
                assert_memory_equal(at_client, scenario->at_client, strlen(scenario->at_client));
        } else {
                assert_int_equal(fixture->result.answered, !scenario->refusable);
                assert_int_equal(fixture->result.bytes_out, strlen(at_origin));
                assert_int_equal(fixture->result.next, scenario->next);
                if (scenario->reason == REASON_COMPLETED)
                        assert_int_equal(fixture->result.bytes_in, strlen(scenario->origin));
                assert_string_equal(text_of(fixture->at_origin), at_origin);
                assert_string_equal(at_client, scenario->at_client);
        }
        if (scenario->reason == REASON_COMPLETED) {
                drain(fixture->client_side, fixture->input);
                assert_string_equal(text_of(fixture->input), scenario->left == NULL ? "" : scenario->left);
        }
}

/* The client's bytes go first, as many in the caller's buffer as said; then both sides in pieces. */
static void run_scenario(const struct scenario *scenario, size_t buffered, size_t client_piece, size_t origin_piece)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        const char *client = scenario->client == NULL ? "" : scenario->client;
        size_t client_sent = buffered < strlen(client) ? buffered : strlen(client);
        size_t origin_sent = 0, moved;

        evbuffer_add(fixture->input, client, client_sent);
        start_scenario(fixture, scenario);
        do {
                moved = send_piece(fixture->client, client, client_sent, client_piece);
                client_sent += moved;
                run_a_while(fixture);
        } while (moved > 0);
        do {
                moved = send_piece(fixture->origin, scenario->origin, origin_sent, origin_piece);
                origin_sent += moved;
                run_a_while(fixture);
        } while (moved > 0);
        if (scenario->origin_closes)
                shutdown(fixture->origin, SHUT_WR);
        run_to_end(fixture);
        run_a_while(fixture);
        check_scenario(fixture, scenario);
        fixture_free(fixture);
}

static void the_outcome_does_not_depend_on_how_bytes_are_cut(void **state)
{
        static const size_t pieces[] = { SIZE_MAX, 1, 2, 3, 7 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
                for (size_t j = 0; j < ARRAY_SIZE(pieces) * ARRAY_SIZE(pieces); j++) {
                        run_scenario(&scenarios[i], 0, pieces[j / ARRAY_SIZE(pieces)], pieces[j % ARRAY_SIZE(pieces)]);
                        run_scenario(&scenarios[i], j, pieces[j / ARRAY_SIZE(pieces)], pieces[j % ARRAY_SIZE(pieces)]);
                }
                run_scenario(&scenarios[i], SIZE_MAX, 1, SIZE_MAX);
        }
}

static void an_upgraded_origin_s_first_bytes_reach_the_client(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_request request = { .head = GET, .head_length = strlen(GET), .upgrade = true };

        (void)state;
        start(fixture, &request);
        send_text(fixture->origin, "HTTP/1.1 101 Switching Protocols\r\n\r\nserver frame");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_UPGRADED);
        assert_at_client(fixture, "HTTP/1.1 101 Switching Protocols\r\n\r\nserver frame");
        fixture_free(fixture);
}

static void a_response_before_the_end_of_the_request_closes_the_client(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_post(fixture, 1000);
        send_text(fixture->client, "the first of a thousand");
        send_text(fixture->origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_CLOSE);
        assert_at_client(fixture,
                         "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
        fixture_free(fixture);
}

static void a_response_that_begins_early_does_not_stop_the_request(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);

        (void)state;
        start_post(fixture, 10);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        run_a_while(fixture);
        send_text(fixture->client, "0123456789");
        run_a_while(fixture);
        send_text(fixture->origin, "0123456789");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_CLOSE);
        assert_at_origin(fixture, "POST / HTTP/1.1\r\n\r\n0123456789");
        fixture_free(fixture);
}

/* The origin answers, takes no more and resets: the answer is what the client must see. */
static void an_answer_of_an_origin_that_resets_still_reaches_the_client(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_post(fixture, 1000);
        run_a_while(fixture);
        send_text(fixture->origin, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        send_text(fixture->client, "more");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_at_client(fixture,
                         "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!");
        fixture_free(fixture);
}

static void an_origin_that_is_gone_at_the_start_is_told_by_the_callback(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        start_get(fixture);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_UPSTREAM_ABORTED);
        assert_false(fixture->result.answered);
        fixture_free(fixture);
}

static void a_bad_chunk_at_the_start_is_told_by_the_callback(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_request request = { .head = POST, .head_length = strlen(POST), .body = HTTP_BODY_CHUNKED };

        (void)state;
        evbuffer_add(fixture->input, "zz\r\n", 4);
        start(fixture, &request);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_BAD_REQUEST);
        fixture_free(fixture);
}

static void a_half_closed_client_gets_its_response(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_get(fixture);
        shutdown(fixture->client, SHUT_WR);
        run_a_while(fixture);
        assert_int_equal(loop_passes_in(fixture->base, 50), 0);
        assert_false(fixture->done);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_at_client(fixture, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        fixture_free(fixture);
}

static void a_client_that_ends_within_its_body_has_aborted(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_post(fixture, 10);
        send_text(fixture->client, "half");
        shutdown(fixture->client, SHUT_WR);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_ABORTED);
        fixture_free(fixture);
}

static void a_client_that_resets_while_it_waits_has_aborted(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_get(fixture);
        run_a_while(fixture);
        assert_false(fixture->done);
        close_with_reset(fixture->client);
        fixture->client = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_CLIENT_ABORTED);
        fixture_free(fixture);
}

static void an_origin_that_resets_within_its_body_has_aborted(void **state)
{
        struct fixture *fixture = fixture_new(tcp_pair, 0);

        (void)state;
        start_get(fixture);
        run_a_while(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\n\r\nuntil");
        close_with_reset(fixture->origin);
        fixture->origin = -1;
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_UPSTREAM_ABORTED);
        assert_true(fixture->result.answered);
        fixture_free(fixture);
}

static void silence_ends_the_exchange_after_the_idle_timeout(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_request request = { .head = GET, .head_length = strlen(GET), .idle_timeout_ms = 40 };

        (void)state;
        start(fixture, &request);
        run_to_end(fixture);
        assert_int_equal(fixture->result.reason, REASON_IDLE_TIMEOUT);
        assert_false(fixture->result.answered);
        fixture_free(fixture);
}

static void waiting_costs_no_wakeups(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_result result;

        (void)state;
        start_get(fixture);
        send_text(fixture->client, "the next request waits in the socket");
        run_a_while(fixture);
        assert_int_equal(loop_passes_in(fixture->base, 50), 0);
        assert_int_equal(evbuffer_get_length(fixture->input), 0);
        http_exchange_cancel(fixture->exchange, &result);
        assert_int_equal(result.bytes_out, 18);
        fixture_free(fixture);
}

static void an_endless_head_is_malformed(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        char line[1024];

        (void)state;
        memset(line, 'a', sizeof(line));
        line[1] = ':';
        memcpy(line + sizeof(line) - 2, "\r\n", 2);
        start_get(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 70 && !fixture->done; i++) {
                (void)!send(fixture->origin, line, sizeof(line), MSG_NOSIGNAL);
                run_a_while(fixture);
        }
        assert_true(fixture->done);
        assert_int_equal(fixture->result.reason, REASON_BAD_RESPONSE);
        assert_false(fixture->result.answered);
        fixture_free(fixture);
}

static size_t send_some(int fd, const uint8_t *bytes, size_t length, size_t sent)
{
        ssize_t r = sent < length ? send(fd, bytes + sent, length - sent, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

        return r > 0 ? (size_t)r : 0;
}

/* Checks what has come against its place in the expected bytes. */
static void receive_some(int fd, const uint8_t *expected, size_t length, size_t most, size_t *received)
{
        static uint8_t bytes[65536];
        ssize_t got = recv(fd, bytes, most, MSG_DONTWAIT);

        if (got <= 0)
                return;
        assert_true(*received + (size_t)got <= length);
        assert_memory_equal(bytes, expected + *received, (size_t)got);
        *received += (size_t)got;
}

/* What one side of the long exchange sends or is to receive: a head and a body of random bytes. */
static uint8_t *make_message(const char *head, uint64_t seed, size_t *ret_length)
{
        size_t head_length = strlen(head);
        uint8_t *message = malloc(head_length + BODY_BYTES);

        assert_non_null(message);
        memcpy(message, head, head_length);
        fill_random(message + head_length, BODY_BYTES, seed);
        *ret_length = head_length + BODY_BYTES;
        return message;
}

#define PUT "PUT / HTTP/1.1\r\n\r\n"

/* Both ways at once, through sockets that take little, to a client that reads slowly. */
static void long_bodies_arrive_unchanged_both_ways(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, TINY_BUFFER);
        struct http_exchange_request request = { .head = PUT,
                                                 .head_length = strlen(PUT),
                                                 .body = HTTP_BODY_LENGTH,
                                                 .body_length = BODY_BYTES,
                                                 .client_keep_alive = true };
        size_t out_length, in_length, expected_length, origin_sent = 0, client_received = 0, origin_received = 0;
        size_t client_sent = strlen(PUT) + 100000; /* of which the caller has read the 100,000 */
        uint8_t *out = make_message(PUT, 1, &out_length);
        uint8_t *in = make_message("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n", 2, &in_length);
        uint8_t *expected = make_message("HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\nConnection: close\r\n\r\n", 2,
                                         &expected_length);

        (void)state;
        evbuffer_add(fixture->input, out + strlen(PUT), 100000);
        start(fixture, &request);
        while (!fixture->done) {
                /* The response's last byte ends the exchange: it comes after the request's. */
                size_t may_send = origin_received == out_length ? in_length : in_length - 1;

                client_sent += send_some(fixture->client, out, out_length, client_sent);
                origin_sent += send_some(fixture->origin, in, may_send, origin_sent);
                event_base_loop(fixture->base, EVLOOP_NONBLOCK);
                receive_some(fixture->origin, out, out_length, 65536, &origin_received);
                receive_some(fixture->client, expected, expected_length, 3000, &client_received);
        }
        while (client_received < expected_length)
                receive_some(fixture->client, expected, expected_length, 65536, &client_received);
        assert_int_equal(fixture->result.reason, REASON_COMPLETED);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_CLOSE);
        assert_int_equal(fixture->result.bytes_out, out_length);
        assert_int_equal(fixture->result.bytes_in, in_length);
        free(out);
        free(in);
        free(expected);
        fixture_free(fixture);
}

static void an_origin_that_sends_too_much_is_used_up(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);

        (void)state;
        start_get(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n");
        run_to_end(fixture);
        assert_int_equal(fixture->result.next, HTTP_EXCHANGE_KEEP_CLIENT);
        assert_at_client(fixture, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        fixture_free(fixture);
}

static void what_a_slow_client_makes_it_take_is_bounded(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, TINY_BUFFER);
        struct http_exchange_result result;
        static const uint8_t zeros[65536];
        size_t sent = 0, before;

        (void)state;
        start_get(fixture);
        send_text(fixture->origin, "HTTP/1.1 200 OK\r\n\r\n");
        do {
                before = sent;
                sent += send_some(fixture->origin, zeros, sizeof(zeros), 0);
                for (int i = 0; i < 4; i++)
                        event_base_loop(fixture->base, EVLOOP_NONBLOCK);
        } while (sent > before);
        assert_true(loop_passes_in(fixture->base, 50) <= 1);
        http_exchange_cancel(fixture->exchange, &result);
        assert_true(result.bytes_in <= 2 * 65536);
        fixture_free(fixture);
}

static void an_exchange_that_waits_holds_only_its_struct(void **state)
{
        struct fixture *fixture = fixture_new(unix_pair, 0);
        struct http_exchange_result result;

        (void)state;
        start_post(fixture, 1 << 20);
        run_a_while(fixture);
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < 10; i++) {
                send_text(fixture->client, "some of the body");
                run_a_while(fixture);
                evbuffer_drain(fixture->at_origin, evbuffer_get_length(fixture->at_origin));
        }
        assert_int_equal(mallinfo2().uordblks, before);
        http_exchange_cancel(fixture->exchange, &result);
        fixture_free(fixture);
}

static void cancel_in_every_phase_leaves_nothing(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
                for (size_t cut = 0; cut < strlen(scenarios[i].origin); cut += 5) {
                        struct fixture *fixture = fixture_new(unix_pair, 0);
                        struct http_exchange_result result;

                        start_scenario(fixture, &scenarios[i]);
                        (void)!send(fixture->origin, scenarios[i].origin, cut, MSG_NOSIGNAL);
                        if (cut > 0)
                                run_a_while(fixture);
                        if (!fixture->done)
                                http_exchange_cancel(fixture->exchange, &result);
                        fixture_free(fixture);
                }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_outcome_does_not_depend_on_how_bytes_are_cut),
                cmocka_unit_test(an_upgraded_origin_s_first_bytes_reach_the_client),
                cmocka_unit_test(a_response_before_the_end_of_the_request_closes_the_client),
                cmocka_unit_test(a_response_that_begins_early_does_not_stop_the_request),
                cmocka_unit_test(an_answer_of_an_origin_that_resets_still_reaches_the_client),
                cmocka_unit_test(an_origin_that_is_gone_at_the_start_is_told_by_the_callback),
                cmocka_unit_test(a_bad_chunk_at_the_start_is_told_by_the_callback),
                cmocka_unit_test(a_half_closed_client_gets_its_response),
                cmocka_unit_test(a_client_that_ends_within_its_body_has_aborted),
                cmocka_unit_test(a_client_that_resets_while_it_waits_has_aborted),
                cmocka_unit_test(an_origin_that_resets_within_its_body_has_aborted),
                cmocka_unit_test(silence_ends_the_exchange_after_the_idle_timeout),
                cmocka_unit_test(waiting_costs_no_wakeups),
                cmocka_unit_test(an_endless_head_is_malformed),
                cmocka_unit_test(an_origin_that_sends_too_much_is_used_up),
                cmocka_unit_test(long_bodies_arrive_unchanged_both_ways),
                cmocka_unit_test(what_a_slow_client_makes_it_take_is_bounded),
                cmocka_unit_test(an_exchange_that_waits_holds_only_its_struct),
                cmocka_unit_test(cancel_in_every_phase_leaves_nothing),
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
