/*
 * Input: a byte of flags, a body length, then steps: a byte whose bits 0 and 1 say who acts (client, origin) and what
 * (send, end), whose other bits how many of the following bytes are sent.
 */
#include "fuzz_side.h"

#include <signal.h>
#include <string.h>

#include "net/http_exchange.h"

#define HEAD "GET / HTTP/1.1\r\n\r\n"

enum flag {
        FLAG_TO_HEAD = 1,
        FLAG_KEEP_ALIVE = 2,
        FLAG_UPGRADE = 4,
        FLAG_LENGTH = 8,
        FLAG_CHUNKED = 16,
};

struct run {
        struct side client;
        struct side origin;
        struct evbuffer *input;
        struct http_exchange *exchange;
        struct http_exchange_result result;
        bool done;
};

static struct event_base *base;

static void run_loop(struct run *run)
{
        for (int i = 0; i < 3; i++)
                event_base_loop(base, EVLOOP_NONBLOCK);
        side_receive(run->client.far, run->client.received);
        side_receive(run->origin.far, run->origin.received);
}

static void on_done(const struct http_exchange_result *result, void *context)
{
        struct run *run = context;

        CHECK(!run->done);
        run->done = true;
        run->result = *result;
}

static void start(struct run *run, uint8_t flags, uint8_t body_length)
{
        struct http_exchange_request request = {
                .client_fd = run->client.near,
                .upstream_fd = run->origin.near,
                .head = HEAD,
                .head_length = strlen(HEAD),
                .client_input = run->input,
                .to_head = (flags & FLAG_TO_HEAD) != 0,
                .client_keep_alive = (flags & FLAG_KEEP_ALIVE) != 0,
                .upgrade = (flags & FLAG_UPGRADE) != 0,
                .idle_timeout_ms = 60000,
        };

        if ((flags & FLAG_CHUNKED) != 0) {
                request.body = HTTP_BODY_CHUNKED;
        } else if ((flags & FLAG_LENGTH) != 0) {
                request.body = HTTP_BODY_LENGTH;
                request.body_length = body_length + 1;
        }
        CHECK(http_exchange_start(base, &request, on_done, run, &run->exchange) == 0);
        CHECK(!run->done);
}

static void append(struct evbuffer *to, struct evbuffer *from)
{
        evbuffer_add(to, evbuffer_pullup(from, -1), evbuffer_get_length(from));
}

static bool equal(struct evbuffer *a, struct evbuffer *b)
{
        size_t length = evbuffer_get_length(a);

        return length == evbuffer_get_length(b) &&
               (length == 0 || memcmp(evbuffer_pullup(a, -1), evbuffer_pullup(b, -1), length) == 0);
}

/* What went to the origin, what was given back and what lies unread is what the client sent, in this order. */
static void check_client_bytes(struct run *run)
{
        struct evbuffer *all = evbuffer_new(), *sent = evbuffer_new();

        append(all, run->origin.received);
        append(all, run->input);
        side_receive(run->client.near, all);
        evbuffer_add(sent, HEAD, strlen(HEAD));
        append(sent, run->client.sent);
        CHECK(equal(all, sent));
        evbuffer_free(all);
        evbuffer_free(sent);
}

static void check(struct run *run)
{
        size_t at_client = evbuffer_get_length(run->client.received);
        const uint8_t *text = evbuffer_pullup(run->client.received, -1);

        CHECK(run->done);
        CHECK(run->result.bytes_out == evbuffer_get_length(run->origin.received));
        CHECK(run->result.bytes_in <= evbuffer_get_length(run->origin.sent));
        CHECK(run->result.reason == REASON_COMPLETED || run->result.next == HTTP_EXCHANGE_CLOSE);
        CHECK(run->result.reason != REASON_COMPLETED || run->result.answered);
        CHECK(run->result.answered ? at_client > 0
                                   : at_client == 0 || memcmp(text + at_client - 4, "\r\n\r\n", 4) == 0);
        if (run->result.reason != REASON_BAD_REQUEST)
                check_client_bytes(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct run run = { 0 };

        if (base == NULL) {
                signal(SIGPIPE, SIG_IGN);
                base = event_base_new();
                CHECK(base != NULL);
        }
        if (size < 2)
                return 0;
        side_open(&run.client);
        side_open(&run.origin);
        run.input = evbuffer_new();
        start(&run, data[0], data[1]);
        data += 2;
        size -= 2;
        while (size > 0 && !run.done) {
                struct side *side = (data[0] & STEP_ORIGIN) != 0 ? &run.origin : &run.client;
                size_t taken = side_take_step(side, data, size);

                data += taken;
                size -= taken;
                run_loop(&run);
        }
        if (!run.done) {
                shutdown(run.origin.far, SHUT_WR);
                run_loop(&run);
        }
        check(&run);
        side_close(&run.client);
        side_close(&run.origin);
        evbuffer_free(run.input);
        return 0;
}
