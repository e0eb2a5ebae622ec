/* One end of what a fuzzed relay or exchange joins: the fuzzer holds the far socket and keeps both directions' bytes. */
#pragma once

#include "fuzz.h"

#include <event2/buffer.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a step's first byte: who acts, and how. */
enum step {
        STEP_ORIGIN = 1, /* or the client */
        STEP_END = 2,    /* or send */
};

struct side {
        int far;
        int near;
        struct evbuffer *sent;
        struct evbuffer *received;
        bool ended;
};

static inline void side_open(struct side *side)
{
        int ends[2];

        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
        *side = (struct side){ .far = ends[0], .near = ends[1], .sent = evbuffer_new(), .received = evbuffer_new() };
}

static inline void side_close(struct side *side)
{
        close(side->far);
        close(side->near);
        evbuffer_free(side->sent);
        evbuffer_free(side->received);
}

static inline void side_end(struct side *side)
{
        shutdown(side->far, SHUT_WR);
        side->ended = true;
}

/* Does what the step at data[0] says, whose other bits count the bytes to send. Returns how many bytes the step took. */
static inline size_t side_take_step(struct side *side, const uint8_t *data, size_t size)
{
        size_t length = data[0] >> 2;

        if ((data[0] & STEP_END) != 0) {
                side_end(side);
                return 1;
        }
        if (length > size - 1)
                length = size - 1;
        if (!side->ended && length > 0 && send(side->far, data + 1, length, MSG_NOSIGNAL) == (ssize_t)length)
                evbuffer_add(side->sent, data + 1, length);
        return length + 1;
}

static inline void side_receive(int fd, struct evbuffer *into)
{
        char bytes[4096];
        ssize_t got;

        while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
                evbuffer_add(into, bytes, (size_t)got);
}
