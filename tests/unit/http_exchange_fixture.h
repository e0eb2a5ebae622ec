/* An exchange between two socket pairs, with the far ends in the test's hands. */
#pragma once

#include <event2/buffer.h>
#include <signal.h>
#include <string.h>

#include "net/http_exchange.h"
#include "net_testing.h"

#define LONG_MS 60000
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n\r\n"

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

static inline struct fixture *fixture_new(void (*pair)(int ends[2], int buffer_size), int buffer_size)
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

static inline void fixture_free(struct fixture *fixture)
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

static inline void on_done(const struct http_exchange_result *result, void *context)
{
        struct fixture *fixture = context;

        assert_false(fixture->done);
        fixture->done = true;
        fixture->exchange = NULL;
        fixture->result = *result;
}

static inline void start(struct fixture *fixture, const struct http_exchange_request *template)
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

static inline bool is_done(void *context)
{
        struct fixture *fixture = context;

        return fixture->done;
}

static inline void run_to_end(struct fixture *fixture)
{
        loop_until(fixture->base, is_done, fixture);
}

static inline void drain(int fd, struct evbuffer *into)
{
        char bytes[65536];
        ssize_t got;

        while ((got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
                evbuffer_add(into, bytes, (size_t)got);
}

static inline void run_a_while(struct fixture *fixture)
{
        for (int i = 0; i < 4; i++)
                event_base_loop(fixture->base, EVLOOP_NONBLOCK);
        drain(fixture->client, fixture->at_client);
        drain(fixture->origin, fixture->at_origin);
}

static inline const char *text_of(struct evbuffer *buffer)
{
        evbuffer_add(buffer, "", 1);
        return (const char *)evbuffer_pullup(buffer, -1);
}
