#include "base/compiler.h"
#include "http_exchange_fixture.h"

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
                cmocka_unit_test(cancel_in_every_phase_leaves_nothing),
        };

        signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
