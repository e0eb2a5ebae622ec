/*
 * Input: a byte of flags, how many first bytes are judged and how many are not, then steps as in fuzz_http_exchange.
 * Each time the gate is asked it takes the next byte of the input's end: its verdict, and how much it passes.
 */
#include "fuzz.h"

#include <event2/buffer.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/relay.h"

enum flag {
        FLAG_GATED = 1,
        FLAG_PASS_HELD_AT_END = 2,
};

enum step {
        STEP_ORIGIN = 1, /* or the client */
        STEP_END = 2,    /* or send */
};

/* One end, and what it sent and received. */
struct side {
        int far;
        int near;
        struct evbuffer *sent;
        struct evbuffer *received;
        bool ended;
};

struct run {
        struct side sides[2]; /* indexed by the direction whose sender it is */
        struct relay *relay;
        struct relay_result result;
        bool done;
        const uint8_t *data;
        size_t size;
        size_t may_pass[2]; /* bytes, by what the gate said */
        size_t asked[2];    /* length of the last question */
        bool open[2];
        bool refused;
        bool pass_held_at_end;
};

static struct event_base *base;
static struct relay_pool *pool;

static void side_open(struct side *side)
{
        int ends[2];

        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
        *side = (struct side){ .far = ends[0], .near = ends[1], .sent = evbuffer_new(), .received = evbuffer_new() };
}

static void side_close(struct side *side)
{
        close(side->far);
        close(side->near);
        evbuffer_free(side->sent);
        evbuffer_free(side->received);
}

static void receive_all(struct side *side)
{
        char bytes[4096];
        ssize_t got;

        while ((got = recv(side->far, bytes, sizeof(bytes), 0)) > 0)
                evbuffer_add(side->received, bytes, (size_t)got);
}

static void run_loop(struct run *run)
{
        for (int i = 0; i < 3; i++)
                event_base_loop(base, EVLOOP_NONBLOCK);
        receive_all(&run->sides[0]);
        receive_all(&run->sides[1]);
}

static void on_done(const struct relay_result *result, void *context)
{
        struct run *run = context;

        CHECK(!run->done);
        run->done = true;
        run->result = *result;
}

static enum relay_gate_verdict gate(enum relay_direction direction, const void *bytes, size_t length, size_t *ret_pass,
                                    enum reason *ret_reason, void *context)
{
        struct run *run = context;
        uint8_t choice = run->size > 0 ? run->data[--run->size] : 4;
        const uint8_t *sent = evbuffer_pullup(run->sides[direction].sent, -1);

        CHECK(!run->open[direction] && length > 0 && length <= RELAY_GATE_MAX_BYTES);
        /* Exactly the bytes that follow those passed. */
        CHECK(run->may_pass[direction] + length <= evbuffer_get_length(run->sides[direction].sent));
        CHECK(memcmp(bytes, sent + run->may_pass[direction], length) == 0);
        switch (choice % 8) {
        case 0:
                *ret_reason = REASON_SERVER_NAME_CHANGED;
                run->refused = true;
                return RELAY_GATE_REFUSE;
        case 1:
                run->open[direction] = true;
                return RELAY_GATE_OPEN;
        case 2:
        case 3:
                *ret_pass = 0;
                return RELAY_GATE_PASS;
        }
        *ret_pass = (size_t)choice >> 3 < length ? (size_t)choice >> 3 : length;
        run->may_pass[direction] += *ret_pass;
        return RELAY_GATE_PASS;
}

static void start(struct run *run, const uint8_t *first, size_t length, size_t judged, uint8_t flags)
{
        struct relay_request request = {
                .client_fd = run->sides[RELAY_OUT].near,
                .upstream_fd = run->sides[RELAY_IN].near,
                .first = first,
                .first_length = length,
                .judged_length = judged,
                .idle_timeout_ms = 60000,
                .gate = (flags & FLAG_GATED) != 0 ? gate : NULL,
                .pass_held_at_end = (flags & FLAG_PASS_HELD_AT_END) != 0,
        };
        run->open[RELAY_OUT] = run->open[RELAY_IN] = request.gate == NULL;
        run->may_pass[RELAY_OUT] = judged;
        run->pass_held_at_end = request.pass_held_at_end;
        evbuffer_add(run->sides[RELAY_OUT].sent, first, length);
        CHECK(relay_start(pool, &request, on_done, run, &run->relay) == 0);
        CHECK(!run->done);
}

static void end_side(struct side *side)
{
        shutdown(side->far, SHUT_WR);
        side->ended = true;
}

static void take_step(struct run *run)
{
        uint8_t step = run->data[0];
        struct side *side = &run->sides[(step & STEP_ORIGIN) != 0 ? RELAY_IN : RELAY_OUT];
        size_t length = step >> 2;

        run->data++;
        run->size--;
        if ((step & STEP_END) != 0) {
                end_side(side);
                return;
        }
        if (length > run->size)
                length = run->size;
        if (!side->ended && length > 0 && send(side->far, run->data, length, MSG_NOSIGNAL) == (ssize_t)length)
                evbuffer_add(side->sent, run->data, length);
        run->data += length;
        run->size -= length;
}

/* What arrived is the beginning of what was sent, and no more of it than the gate let through. */
static void check_direction(struct run *run, enum relay_direction direction)
{
        struct evbuffer *sent = run->sides[direction].sent;
        struct evbuffer *received = run->sides[direction == RELAY_OUT ? RELAY_IN : RELAY_OUT].received;
        size_t length = evbuffer_get_length(received);

        CHECK(length <= evbuffer_get_length(sent));
        CHECK(length == 0 || memcmp(evbuffer_pullup(sent, -1), evbuffer_pullup(received, -1), length) == 0);
        CHECK(run->open[direction] || run->pass_held_at_end || length <= run->may_pass[direction]);
        if (run->result.reason != REASON_COMPLETED)
                return;
        if (run->open[direction] || run->pass_held_at_end)
                CHECK(length == evbuffer_get_length(sent));
        else
                CHECK(length == run->may_pass[direction]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct run run = { 0 };

        if (base == NULL) {
                signal(SIGPIPE, SIG_IGN);
                base = event_base_new();
                CHECK(base != NULL && relay_pool_new(base, &pool) == 0);
        }
        if (size < 3 || size - 3 < (size_t)data[1] + data[2])
                return 0;
        size_t first_length = (size_t)data[1] + data[2];
        side_open(&run.sides[0]);
        side_open(&run.sides[1]);
        run.data = data + 3 + first_length;
        run.size = size - 3 - first_length;
        start(&run, data + 3, first_length, data[1], data[0]);
        run_loop(&run);
        while (run.size > 0 && !run.done) {
                take_step(&run);
                run_loop(&run);
        }
        end_side(&run.sides[0]);
        run_loop(&run);
        end_side(&run.sides[1]);
        run_loop(&run);
        CHECK(run.done);
        CHECK(run.refused ? run.result.reason == REASON_SERVER_NAME_CHANGED : run.result.reason == REASON_COMPLETED);
        check_direction(&run, RELAY_OUT);
        check_direction(&run, RELAY_IN);
        side_close(&run.sides[0]);
        side_close(&run.sides[1]);
        return 0;
}
