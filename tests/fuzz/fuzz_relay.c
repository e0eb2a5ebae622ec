/*
 * Input: a byte of flags, how many first bytes are judged and how many are not, then steps as in fuzz_http_exchange.
 * Each time the gate is asked it takes the next byte of the input's end: its verdict, and how much it passes.
 */
#include "fuzz_side.h"

#include <signal.h>
#include <string.h>

#include "net/relay.h"

enum flag {
        FLAG_GATED = 1,
        FLAG_PASS_HELD_AT_END = 2,
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

static void run_loop(struct run *run)
{
        for (int i = 0; i < 3; i++)
                event_base_loop(base, EVLOOP_NONBLOCK);
        side_receive(run->sides[0].far, run->sides[0].received);
        side_receive(run->sides[1].far, run->sides[1].received);
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

static void take_step(struct run *run)
{
        struct side *side = &run->sides[(run->data[0] & STEP_ORIGIN) != 0 ? RELAY_IN : RELAY_OUT];
        size_t taken = side_take_step(side, run->data, run->size);

        run->data += taken;
        run->size -= taken;
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
        side_end(&run.sides[0]);
        run_loop(&run);
        side_end(&run.sides[1]);
        run_loop(&run);
        CHECK(run.done);
        CHECK(run.refused ? run.result.reason == REASON_SERVER_NAME_CHANGED : run.result.reason == REASON_COMPLETED);
        check_direction(&run, RELAY_OUT);
        check_direction(&run, RELAY_IN);
        side_close(&run.sides[0]);
        side_close(&run.sides[1]);
        return 0;
}
