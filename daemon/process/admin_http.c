#include "process/admin_http.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/admin_request.h"
#include "process/metrics_text.h"

#define BACKLOG 64
#define ACCEPTS_PER_EVENT 16 /* before other events get their turn */
#define PAUSE_MS 1000        /* without descriptors */
#define PLAIN_TEXT "text/plain; charset=utf-8"
#define DATE_SIZE 40

enum client_state {
        CLIENT_ASKING = 0, /* a request is on its way */
        CLIENT_ANSWERED,   /* its answer is on its way, then the next request's turn comes */
        CLIENT_DISMISSED,  /* its answer is on its way, and is the last one */
        CLIENT_LEAVING,    /* was answered, and is to close: what it still sends is not read */
};

struct admin_client {
        TAILQ_ENTRY(admin_client) link; /* in http->clients */
        struct admin_http *http;
        struct bufferevent *stream; /* owned, with its socket */
        struct event *deadline;
        enum client_state state;
};

struct admin_http {
        struct event_base *base; /* borrowed */
        const char *name;        /* borrowed */
        enum admin_http_pages pages;
        struct admin_http_source source;
        int fd;
        struct event *acceptable;
        struct event *resume;
        TAILQ_HEAD(admin_clients, admin_client) clients; /* owned; who has waited longest comes first */
        size_t count;
};

/* The one place where a connection ends. */
static void client_close(struct admin_client *client)
{
        TAILQ_REMOVE(&client->http->clients, client, link);
        client->http->count--;
        event_free(client->deadline);
        bufferevent_free(client->stream);
        free(client);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        client_close(context);
}

/* The one place that changes the state; each has its own time. */
static void client_enter(struct admin_client *client, enum client_state state)
{
        struct timeval deadline = clock_timeval(ADMIN_HTTP_TIMEOUT_MS);

        client->state = state;
        event_add(client->deadline, &deadline);
        TAILQ_REMOVE(&client->http->clients, client, link);
        TAILQ_INSERT_TAIL(&client->http->clients, client, link);
        /* While an answer goes out nothing is read: input stays within the high watermark. */
        if (state == CLIENT_ANSWERED || state == CLIENT_DISMISSED)
                bufferevent_disable(client->stream, EV_READ);
        else
                bufferevent_enable(client->stream, EV_READ);
}

/* Answers. */

struct answer {
        unsigned status;
        const char *phrase;
        const char *content_type;
        struct evbuffer *body;
};

static void say(struct answer *answer, unsigned status, const char *phrase, const char *text)
{
        answer->status = status;
        answer->phrase = phrase;
        answer->content_type = PLAIN_TEXT;
        evbuffer_add_printf(answer->body, "%s\n", text);
}

static void say_healthy(const struct admin_http *http, struct answer *answer)
{
        (void)http;
        say(answer, 200, "OK", "ok"); /* The main loop turns, or nobody would say so. */
}

static void say_readiness(const struct admin_http *http, struct answer *answer)
{
        const char *obstacle = http->source.not_ready(http->source.context);

        if (obstacle == NULL)
                say(answer, 200, "OK", "ready");
        else
                say(answer, 503, "Service Unavailable", obstacle);
}

static void say_metrics(const struct admin_http *http, struct answer *answer)
{
        *answer = (struct answer){ 200, "OK", METRICS_TEXT_CONTENT_TYPE, answer->body };
        if (http->source.write_metrics(answer->body, http->source.context) == 0)
                return;
        evbuffer_drain(answer->body, evbuffer_get_length(answer->body));
        say(answer, 500, "Internal Server Error", "out of memory");
}

static const struct page {
        const char *path;
        bool for_probes; /* on a listener that has readiness alone, too */
        void (*say)(const struct admin_http *http, struct answer *answer);
} pages[] = {
        { "/healthz", false, say_healthy },
        { "/metrics", false, say_metrics },
        { "/readyz", true, say_readiness },
};

static void say_page(const struct admin_http *http, struct http_text path, struct answer *answer)
{
        for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
                if ((pages[i].for_probes || http->pages == ADMIN_HTTP_ALL) && path.length == strlen(pages[i].path) &&
                    memcmp(path.start, pages[i].path, path.length) == 0) {
                        pages[i].say(http, answer);
                        return;
                }
        say(answer, 404, "Not Found", "not found");
}

/* RFC 9110 5.6.7, in C's names of days and months: the program sets no locale. */
static void format_date(char date[DATE_SIZE])
{
        time_t now = (time_t)(clock_wall_us() / 1000000);
        struct tm parts;

        if (gmtime_r(&now, &parts) == NULL || strftime(date, DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &parts) == 0)
                date[0] = '\0';
}

static void format_head(const struct answer *answer, bool keep_alive, struct evbuffer *out)
{
        char date[DATE_SIZE];

        format_date(date);
        evbuffer_add_printf(out,
                            "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                            "Cache-Control: no-store\r\n%s%s\r\n",
                            answer->status, answer->phrase, date, answer->content_type,
                            evbuffer_get_length(answer->body), answer->status == 405 ? "Allow: GET, HEAD\r\n" : "",
                            keep_alive ? "" : "Connection: close\r\n");
}

/* What does not get memory ends the connection, at the latest with the deadline: nothing waits for it. */
static void send_answer(struct admin_client *client, const struct answer *answer, const struct admin_request *request)
{
        struct evbuffer *out = bufferevent_get_output(client->stream);

        format_head(answer, request->keep_alive, out);
        if (!request->head_method)
                evbuffer_add_buffer(out, answer->body);
        client_enter(client, request->keep_alive ? CLIENT_ANSWERED : CLIENT_DISMISSED);
}

/* What a request that is not one of ours is told, and that it is the last one. */
static void say_refusal(enum admin_request_status status, struct answer *answer)
{
        switch (status) {
        case ADMIN_REQUEST_TOO_LARGE:
                say(answer, 431, "Request Header Fields Too Large", "the request is too large");
                return;
        case ADMIN_REQUEST_BAD_METHOD:
                say(answer, 405, "Method Not Allowed", "only GET and HEAD");
                return;
        case ADMIN_REQUEST_HAS_BODY:
                say(answer, 413, "Content Too Large", "no body is taken");
                return;
        case ADMIN_REQUEST_OK:
        case ADMIN_REQUEST_NEED_MORE:
        case ADMIN_REQUEST_MALFORMED:
                break;
        }
        say(answer, 400, "Bad Request", "the request cannot be read");
}

/* Answers what the client has sent, if that is whole or wrong. Returns false without memory. */
static bool client_serve(struct admin_client *client)
{
        struct evbuffer *input = bufferevent_get_input(client->stream);
        size_t length = evbuffer_get_length(input);
        struct admin_request request = { 0 };
        struct answer answer = { 0 };
        enum admin_request_status status = admin_request_parse(evbuffer_pullup(input, -1), length, &request);

        if (status == ADMIN_REQUEST_NEED_MORE)
                return true;
        answer.body = evbuffer_new();
        if (answer.body == NULL)
                return false;
        if (status == ADMIN_REQUEST_OK)
                say_page(client->http, request.path, &answer);
        else
                say_refusal(status, &answer);
        send_answer(client, &answer, &request);
        evbuffer_drain(input, status == ADMIN_REQUEST_OK ? request.length : length);
        evbuffer_free(answer.body);
        return true;
}

/* Clients. */

static void on_readable(struct bufferevent *stream, void *context)
{
        struct admin_client *client = context;
        struct evbuffer *input = bufferevent_get_input(stream);

        if (client->state == CLIENT_LEAVING)
                evbuffer_drain(input, evbuffer_get_length(input));
        else if (client->state == CLIENT_ASKING && !client_serve(client))
                client_close(client);
}

/*
 * Whoever is dismissed reads the answer and closes. We close only after that: with something unread, closing would reset
 * the connection, and the client might lose the answer.
 */
static void on_written(struct bufferevent *stream, void *context)
{
        struct admin_client *client = context;

        if (client->state == CLIENT_DISMISSED) {
                (void)shutdown(bufferevent_getfd(stream), SHUT_WR); /* Fails only when the client is gone. */
                client_enter(client, CLIENT_LEAVING);
                return;
        }
        if (client->state != CLIENT_ANSWERED)
                return;
        client_enter(client, CLIENT_ASKING);
        /* It may have sent the next one already. */
        if (evbuffer_get_length(bufferevent_get_input(stream)) > 0 && !client_serve(client))
                client_close(client);
}

/* The client has closed its side, or the connection is broken. Nothing is owed to one that did not wait for its answer. */
static void on_end(struct bufferevent *stream, short what, void *context)
{
        (void)stream;
        (void)what;
        client_close(context);
}

/* NULL without memory; fd stays the caller's then. */
static struct admin_client *client_new(struct admin_http *http, int fd)
{
        struct admin_client *client = calloc(1, sizeof(*client));

        if (client == NULL)
                return NULL;
        client->http = http;
        client->deadline = event_new(http->base, -1, 0, on_deadline, client);
        if (client->deadline != NULL)
                client->stream = bufferevent_socket_new(http->base, fd, BEV_OPT_CLOSE_ON_FREE);
        if (client->stream == NULL) {
                if (client->deadline != NULL)
                        event_free(client->deadline);
                free(client);
                return NULL;
        }
        return client;
}

/* Takes over fd, whatever comes of it. */
static void client_start(struct admin_http *http, int fd)
{
        struct admin_client *client = client_new(http, fd);

        if (client == NULL) {
                close(fd);
                return;
        }
        if (http->count == ADMIN_HTTP_MAX_CLIENTS)
                client_close(TAILQ_FIRST(&http->clients));
        TAILQ_INSERT_TAIL(&http->clients, client, link);
        http->count++;
        bufferevent_setcb(client->stream, on_readable, on_written, on_end, client);
        /* A request as large as that is answered, and drained: reading never goes on with a full buffer. */
        bufferevent_setwatermark(client->stream, EV_READ, 0, ADMIN_REQUEST_MAX_BYTES);
        client_enter(client, CLIENT_ASKING);
}

/* The listener. */

static void on_resume(evutil_socket_t fd, short what, void *context)
{
        struct admin_http *http = context;

        (void)fd;
        (void)what;
        event_add(http->acceptable, NULL);
}

static bool is_out_of_resources(int error)
{
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void pause_accepting(struct admin_http *http, int error)
{
        struct timeval pause = clock_timeval(PAUSE_MS);

        log_warning("%s: accept: %s, pausing for %d ms", http->name, strerror(error), PAUSE_MS);
        event_del(http->acceptable);
        event_add(http->resume, &pause);
}

static void on_acceptable(evutil_socket_t fd, short what, void *context)
{
        struct admin_http *http = context;

        (void)what;
        for (size_t i = 0; i < ACCEPTS_PER_EVENT; i++) {
                int client_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (client_fd >= 0) {
                        client_start(http, client_fd);
                } else if (is_out_of_resources(errno)) {
                        pause_accepting(http, errno);
                        return;
                } else if (errno == EAGAIN) {
                        return;
                }
                /* Else the connection died in the queue (accept(2), "Error handling"): go on with the next. */
        }
}

static int listen_at(struct admin_http *http, const struct net_endpoint *endpoint)
{
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(endpoint, &address);
        int on = 1;

        http->fd = socket(endpoint->address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (http->fd == -1 || setsockopt(http->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1)
                return -errno;
        if (endpoint->address.family == AF_INET6 &&
            setsockopt(http->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1)
                return -errno;
        if (bind(http->fd, (struct sockaddr *)&address, length) == -1 || listen(http->fd, BACKLOG) == -1)
                return -errno;
        http->acceptable = event_new(http->base, http->fd, EV_READ | EV_PERSIST, on_acceptable, http);
        http->resume = event_new(http->base, -1, 0, on_resume, http);
        if (http->acceptable == NULL || http->resume == NULL)
                return -ENOMEM;
        event_add(http->acceptable, NULL);
        return 0;
}

int admin_http_new(struct event_base *base, const char *name, const struct net_endpoint *endpoint,
                   enum admin_http_pages pages_served, const struct admin_http_source *source, char *error,
                   size_t error_size, struct admin_http **ret)
{
        struct admin_http *http = calloc(1, sizeof(*http));
        char text[NET_ENDPOINT_TEXT_SIZE];

        if (http == NULL) {
                snprintf(error, error_size, "out of memory");
                return -ENOMEM;
        }
        http->base = base;
        http->name = name;
        http->pages = pages_served;
        http->source = *source;
        http->fd = -1;
        TAILQ_INIT(&http->clients);
        int r = listen_at(http, endpoint);
        if (r < 0) {
                snprintf(error, error_size, "%s: cannot listen on %s: %s", name, net_endpoint_format(endpoint, text),
                         strerror(-r));
                admin_http_free(http);
                return r;
        }
        *ret = http;
        return 0;
}

void admin_http_free(struct admin_http *http)
{
        if (http == NULL)
                return;
        while (!TAILQ_EMPTY(&http->clients))
                client_close(TAILQ_FIRST(&http->clients));
        if (http->resume != NULL)
                event_free(http->resume);
        if (http->acceptable != NULL)
                event_free(http->acceptable);
        if (http->fd != -1)
                close(http->fd);
        free(http);
}
