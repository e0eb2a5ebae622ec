#include "traffic/dns_stream.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "traffic/connection_state.h"

#define PREFIX_SIZE 2 /* the length before each message, RFC 1035 4.2.2 */
#define MAX_INPUT_BYTES (PREFIX_SIZE + DNS_MESSAGE_MAX_SIZE)
#define MAX_OUTPUT_BYTES 65536 /* unread by the client: no further query is taken; those under way may add to it */
#define MAX_QUERIES 64         /* under way on one connection; LocalDNS spreads its own over some */

struct dns_stream;

/* A query that waits for its answer. */
struct stream_query {
        LIST_ENTRY(stream_query) link; /* in stream->queries */
        struct dns_stream *stream;
        struct dns_request *request;
};

struct dns_stream {
        LIST_ENTRY(dns_stream) link; /* in streams->open */
        struct dns_streams *streams;
        int fd;
        struct net_endpoint client;
        struct evbuffer *input;  /* owned; not yet whole or not yet taken queries, without memory when there are none */
        struct evbuffer *output; /* owned; likewise */
        struct event readable;
        struct event writable;
        struct event deadline;
        LIST_HEAD(, stream_query) queries; /* owned */
        size_t query_count;
        bool input_ended; /* the client sends no more, or is not to, for this reason: */
        enum reason input_end;
};

struct dns_streams {
        struct dns_requests *requests; /* borrowed */
        LIST_HEAD(, dns_stream) open;  /* owned */
        size_t count;
};

static const struct config *stream_config(const struct dns_stream *stream)
{
        return generation_config(stream->streams->requests->traffic->generation);
}

static void free_query(struct stream_query *query)
{
        LIST_REMOVE(query, link);
        query->stream->query_count--;
        free(query);
}

/* Frees what a stream is made of; the socket is the caller's. Takes half-built ones. */
static void free_parts(struct dns_stream *stream)
{
        if (stream->input != NULL)
                evbuffer_free(stream->input);
        if (stream->output != NULL)
                evbuffer_free(stream->output);
        free(stream);
}

/* The one place where a connection ends; queries that wait get the reason into their records. */
static void stream_close(struct dns_stream *stream, enum reason reason)
{
        struct dns_streams *streams = stream->streams;

        while (!LIST_EMPTY(&stream->queries)) {
                struct stream_query *query = LIST_FIRST(&stream->queries);
                dns_request_cancel(query->request, reason);
                free_query(query);
        }
        event_del(&stream->readable);
        event_del(&stream->writable);
        event_del(&stream->deadline);
        close(stream->fd);
        connection_limits_release(streams->requests->traffic->limits, &stream->client.address);
        LIST_REMOVE(stream, link);
        streams->count--;
        free_parts(stream);
}

/* Ends a connection in the middle of a query: that was an attempt, too. */
static void stream_close_cut(struct dns_stream *stream, enum reason reason)
{
        size_t size = evbuffer_get_length(stream->input);

        if (size > 0)
                dns_request_record_refusal(stream->streams->requests, &stream->client, reason, size);
        stream_close(stream, REASON_CLIENT_ABORTED);
}

/* Bytes of the first query in the input, with its prefix; 0: it is not whole. */
static size_t whole_query(struct dns_stream *stream)
{
        uint8_t prefix[PREFIX_SIZE];
        size_t size;

        if (evbuffer_copyout(stream->input, prefix, sizeof(prefix)) != (ssize_t)sizeof(prefix))
                return 0;
        size = PREFIX_SIZE + ((size_t)prefix[0] << 8 | prefix[1]);
        return evbuffer_get_length(stream->input) >= size ? size : 0;
}

static bool is_full(const struct dns_stream *stream)
{
        return stream->query_count >= MAX_QUERIES || evbuffer_get_length(stream->output) >= MAX_OUTPUT_BYTES;
}

/* Returns 0 or -ENOMEM. */
static int add_response(struct dns_stream *stream, const uint8_t *response, size_t length)
{
        const uint8_t prefix[PREFIX_SIZE] = { (uint8_t)(length >> 8), (uint8_t)length };

        if (evbuffer_expand(stream->output, sizeof(prefix) + length) == -1 ||
            evbuffer_add(stream->output, prefix, sizeof(prefix)) == -1 ||
            evbuffer_add(stream->output, response, length) == -1)
                return -ENOMEM;
        return 0;
}

/* Returns 0, or -EPIPE: the connection is gone. */
static int flush(struct dns_stream *stream)
{
        if (evbuffer_get_length(stream->output) == 0)
                return 0;
        if (evbuffer_write(stream->output, stream->fd) == -1 && errno != EAGAIN && errno != EINTR)
                return -EPIPE;
        return 0;
}

/*
 * The one place that says what is listened for and until when, by what the stream is in the middle of. A client must bring
 * a query that it began, and take the responses that it asked for, within timeouts.inspect of its last step.
 */
static void stream_update(struct dns_stream *stream)
{
        const struct config *config = stream_config(stream);
        bool sending = evbuffer_get_length(stream->output) > 0;
        bool begun = evbuffer_get_length(stream->input) > 0 && !is_full(stream);
        struct timeval timeout = clock_timeval(sending || begun ? config->inspect_timeout_ms : config->idle_timeout_ms);

        if (stream->input_ended && !sending && stream->query_count == 0) {
                stream_close_cut(stream, stream->input_end);
                return;
        }
        if (stream->input_ended || is_full(stream))
                event_del(&stream->readable);
        else
                event_add(&stream->readable, NULL);
        if (sending)
                event_add(&stream->writable, NULL);
        else
                event_del(&stream->writable);
        event_add(&stream->deadline, &timeout);
}

static void take_queries(struct dns_stream *stream);

static void query_on_response(const uint8_t *response, size_t length, void *context)
{
        struct stream_query *query = context;
        struct dns_stream *stream = query->stream;

        free_query(query);
        if (add_response(stream, response, length) < 0 || flush(stream) < 0) {
                stream_close(stream, REASON_CLIENT_ABORTED);
                return;
        }
        take_queries(stream);
}

/* Returns 0 or -ENOMEM, with the query recorded. */
static int keep_query(struct dns_stream *stream, struct dns_request *request)
{
        struct stream_query *query = malloc(sizeof(*query));

        if (query == NULL) {
                dns_request_cancel(request, REASON_NO_RESOURCES);
                return -ENOMEM;
        }
        query->stream = stream;
        query->request = request;
        LIST_INSERT_HEAD(&stream->queries, query, link);
        stream->query_count++;
        dns_request_wait(request, query_on_response, query);
        return 0;
}

/* Takes the query of that size, prefix included. -EPROTO: no query, so where the next one begins is not to be trusted. */
static int take_query(struct dns_stream *stream, size_t size)
{
        const uint8_t *message = evbuffer_pullup(stream->input, (ssize_t)size);
        struct dns_request *request;
        const uint8_t *response;
        size_t length;
        int r = -ENOMEM;

        if (message == NULL)
                return r;
        switch (dns_request_start(stream->streams->requests, &stream->client, DNS_TRANSPORT_TCP, message + PREFIX_SIZE,
                                  size - PREFIX_SIZE, &response, &length, &request)) {
        case DNS_REQUEST_ANSWERED:
                r = add_response(stream, response, length);
                break;
        case DNS_REQUEST_PENDING:
                r = keep_query(stream, request);
                break;
        case DNS_REQUEST_UNANSWERED:
                r = -EPROTO;
                break;
        }
        evbuffer_drain(stream->input, size);
        return r;
}

/* Goes on with what the client has sent, as far as there is room for it; the connection may be gone afterwards. */
static void take_queries(struct dns_stream *stream)
{
        size_t size = whole_query(stream);
        int r = 0;

        while (size > 0 && !is_full(stream) && r == 0) {
                r = take_query(stream, size);
                size = whole_query(stream);
        }
        if (r < 0) {
                (void)flush(stream); /* What was answered before, if it can still be sent. */
                stream_close(stream, REASON_CLIENT_ABORTED);
                return;
        }
        if (flush(stream) < 0) {
                stream_close(stream, REASON_CLIENT_ABORTED);
                return;
        }
        stream_update(stream);
}

/* Nothing is read any more; what was asked before is answered. */
static void end_input(struct dns_stream *stream, enum reason reason)
{
        stream->input_ended = true;
        stream->input_end = reason;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
        struct dns_stream *stream = context;
        size_t room = MAX_INPUT_BYTES - evbuffer_get_length(stream->input);

        (void)what;
        /* Never without room: a query as long as that is whole, and was taken. */
        int count = evbuffer_read(stream->input, fd, (int)room);
        if (count == -1 && (errno == EAGAIN || errno == EINTR))
                return;
        if (count == -1) {
                stream_close_cut(stream, REASON_CLIENT_GONE);
                return;
        }
        if (count == 0)
                end_input(stream, REASON_CLIENT_GONE);
        take_queries(stream);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
        struct dns_stream *stream = context;

        (void)fd;
        (void)what;
        if (flush(stream) < 0)
                stream_close(stream, REASON_CLIENT_ABORTED);
        else
                take_queries(stream); /* There may be room for them now. */
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
        struct dns_stream *stream = context;

        (void)fd;
        (void)what;
        if (evbuffer_get_length(stream->output) > 0)
                stream_close(stream, REASON_CLIENT_ABORTED);
        else if (stream->query_count == 0)
                stream_close_cut(stream, REASON_INSPECT_TIMEOUT);
        else
                stream_update(stream); /* Its queries have deadlines of their own. */
}

/* NULL: out of memory, client_fd stays the caller's. */
static struct dns_stream *stream_new(struct dns_streams *streams, int client_fd, const struct net_endpoint *client)
{
        struct event_base *base = streams->requests->traffic->base;
        struct dns_stream *stream = calloc(1, sizeof(*stream));

        if (stream == NULL)
                return NULL;
        stream->input = evbuffer_new();
        stream->output = evbuffer_new();
        if (stream->input == NULL || stream->output == NULL) {
                free_parts(stream);
                return NULL;
        }
        stream->streams = streams;
        stream->fd = client_fd;
        stream->client = *client;
        LIST_INIT(&stream->queries);
        event_assign(&stream->readable, base, client_fd, EV_READ | EV_PERSIST, on_readable, stream);
        event_assign(&stream->writable, base, client_fd, EV_WRITE | EV_PERSIST, on_writable, stream);
        event_assign(&stream->deadline, base, -1, 0, on_deadline, stream);
        LIST_INSERT_HEAD(&streams->open, stream, link);
        streams->count++;
        return stream;
}

void dns_stream_start(int client_fd, const struct net_endpoint *client, void *context)
{
        struct dns_streams *streams = context;
        struct connection_limits *limits = streams->requests->traffic->limits;
        enum reason reason = connection_limits_take(limits, &client->address);
        struct dns_stream *stream = NULL;

        if (reason == REASON_COMPLETED) {
                stream = stream_new(streams, client_fd, client);
                if (stream != NULL) {
                        stream_update(stream);
                        return;
                }
                connection_limits_release(limits, &client->address);
                reason = REASON_NO_RESOURCES;
        }
        dns_request_record_refusal(streams->requests, client, reason, 0);
        connection_reset_socket(client_fd);
}

int dns_streams_new(struct dns_requests *requests, struct dns_streams **ret)
{
        struct dns_streams *streams = calloc(1, sizeof(*streams));

        if (streams == NULL)
                return -ENOMEM;
        streams->requests = requests;
        LIST_INIT(&streams->open);
        *ret = streams;
        return 0;
}

void dns_streams_drain(struct dns_streams *streams)
{
        struct dns_stream *next;

        for (struct dns_stream *stream = LIST_FIRST(&streams->open); stream != NULL; stream = next) {
                next = LIST_NEXT(stream, link);
                end_input(stream, REASON_SHUTDOWN);
                stream_update(stream);
        }
}

size_t dns_streams_count(const struct dns_streams *streams)
{
        return streams->count;
}

void dns_streams_close(struct dns_streams *streams, enum reason reason)
{
        while (!LIST_EMPTY(&streams->open))
                stream_close(LIST_FIRST(&streams->open), reason);
}

void dns_streams_free(struct dns_streams *streams)
{
        free(streams);
}
