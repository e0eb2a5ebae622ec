#include "net/http_exchange.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "inspect/http_response.h"
#include "inspect/http_response_format.h"
#include "net/byte_queue.h"
#include "net/socket_watch.h"

/*
 * Two directions that go on side by side. Each reads only when nothing of it waits for its receiver, so that a queue
 * holds at most a head and a block.
 *
 *   client_input, client -> request_body (finds the end) -> to_origin -> origin
 *   client <- to_client <- response_body <- response_head (until it is whole) <- origin
 */

#define BLOCK_SIZE 65536            /* bytes read at once, on the stack */
#define BYTES_PER_EVENT (256 << 10) /* one direction moves at most this and then lets others have the loop */
#define VERSION_PREFIX "HTTP/1."

/*
 * A client that is neither read nor written: only its reset matters. Edge-triggered, so that the next request or an end
 * may lie in the socket unread; unlike SOCKET_WATCH_RESET it does not wake the loop for each request.
 */
#define WATCH_UNREAD_CLIENT (EV_READ | EV_ET)

struct http_exchange {
        struct socket_watch client;
        struct socket_watch origin;
        struct idle_timer idle;
        struct evbuffer *client_input; /* borrowed from the caller until the end */
        struct byte_queue to_origin;
        struct byte_queue to_client;
        struct byte_queue response_head;
        struct http_body_reader request_body;
        struct http_body_reader response_body;
        http_exchange_fn on_done;
        void *context;
        uint64_t bytes_out;
        uint64_t bytes_in;
        bool to_head;
        bool client_keep_alive;
        bool upgrade;
        bool origin_takes_no_more; /* it was reset, and what it sent before may still be a whole response */
        bool origin_reusable;
        bool final_head; /* went to the client, or to its queue; response_body is valid */
        bool upgraded;
        bool response_whole; /* its last byte was read */
        bool answered;
        bool moved; /* bytes, since the idle timer was touched */
        bool ended; /* with reason; the callback has not run */
        enum reason reason;
        enum http_exchange_next next;
};

/* The first reason counts. */
static void end_with(struct http_exchange *exchange, enum reason reason)
{
        if (exchange->ended)
                return;
        exchange->ended = true;
        exchange->reason = reason;
}

static void client_failed(struct http_exchange *exchange, int error)
{
        end_with(exchange, error == -ENOMEM || error == -ENOBUFS ? REASON_NO_RESOURCES : REASON_CLIENT_ABORTED);
}

static bool wants_body(const struct http_exchange *exchange)
{
        return !exchange->request_body.done && !exchange->origin_takes_no_more;
}

/* An origin that takes no more may have answered before: its response is read on. */
static void sent_to_origin(struct http_exchange *exchange, size_t sent, int error)
{
        exchange->bytes_out += sent;
        exchange->moved |= sent > 0;
        if (error == -ENOMEM || error == -ENOBUFS) {
                end_with(exchange, REASON_NO_RESOURCES);
        } else if (error < 0) {
                exchange->origin_takes_no_more = true;
                byte_queue_clear(&exchange->to_origin);
        }
}

/* An interim response that went out whole is not yet an answer. */
static void sent_to_client(struct http_exchange *exchange, size_t sent, int error)
{
        exchange->moved |= sent > 0;
        if (sent > 0)
                exchange->answered =
                        exchange->final_head || exchange->upgraded || byte_queue_length(&exchange->to_client) > 0;
        if (error < 0)
                client_failed(exchange, error);
}

static void flush_to_origin(struct http_exchange *exchange)
{
        size_t sent;
        int r = byte_queue_send(&exchange->to_origin, socket_watch_fd(&exchange->origin), SIZE_MAX, &sent);

        sent_to_origin(exchange, sent, r);
}

static void flush_to_client(struct http_exchange *exchange)
{
        size_t sent;
        int r = byte_queue_send(&exchange->to_client, socket_watch_fd(&exchange->client), SIZE_MAX, &sent);

        sent_to_client(exchange, sent, r);
}

/* Sends on what of the client's bytes belongs to the body. Returns how many did. */
static size_t pass_request_body(struct http_exchange *exchange, const void *bytes, size_t length)
{
        size_t taken, sent;

        if (http_body_feed(&exchange->request_body, bytes, length, &taken) < 0) {
                end_with(exchange, REASON_BAD_REQUEST);
                return 0;
        }
        int r = byte_queue_pass(&exchange->to_origin, socket_watch_fd(&exchange->origin), bytes, taken, &sent);
        sent_to_origin(exchange, sent, r);
        return taken;
}

/* The body as far as the caller has read it already. Returns how many bytes were taken. */
static size_t take_client_input(struct http_exchange *exchange)
{
        struct evbuffer_iovec extent;

        if (evbuffer_peek(exchange->client_input, BLOCK_SIZE, NULL, &extent, 1) < 1)
                return 0;
        size_t taken =
                pass_request_body(exchange, extent.iov_base, extent.iov_len < BLOCK_SIZE ? extent.iov_len : BLOCK_SIZE);
        (void)evbuffer_drain(exchange->client_input, taken); /* It can only fail for a frozen buffer. */
        return taken;
}

static size_t read_client(struct http_exchange *exchange)
{
        uint8_t block[BLOCK_SIZE];
        size_t room = sizeof(block);

        /* Not one byte of the next request, where that can be known. */
        if (exchange->request_body.kind == HTTP_BODY_LENGTH && exchange->request_body.left < room)
                room = (size_t)exchange->request_body.left;
        ssize_t got = recv(socket_watch_fd(&exchange->client), block, room, MSG_DONTWAIT);
        if (got == -1) {
                int error = errno;

                if (error != EAGAIN && error != EINTR)
                        client_failed(exchange, -error);
                return 0;
        }
        if (got == 0) {
                end_with(exchange, REASON_CLIENT_ABORTED);
                return 0;
        }
        exchange->moved = true;
        size_t length = (size_t)got;
        size_t taken = pass_request_body(exchange, block, length);
        if (!exchange->ended && taken < length &&
            evbuffer_add(exchange->client_input, block + taken, length - taken) == -1)
                end_with(exchange, REASON_NO_RESOURCES);
        return length;
}

/* Moves the request until the client has no more of it, the origin takes none, or it is the turn of others. */
static void pump_request(struct http_exchange *exchange)
{
        size_t moved = 0;

        if (byte_queue_length(&exchange->to_origin) > 0)
                flush_to_origin(exchange);
        while (!exchange->ended && wants_body(exchange) && byte_queue_length(&exchange->to_origin) == 0 &&
               moved < BYTES_PER_EVENT) {
                size_t length = evbuffer_get_length(exchange->client_input) > 0 ? take_client_input(exchange)
                                                                                : read_client(exchange);
                if (length == 0)
                        return;
                moved += length;
        }
}

static void pass_response_body(struct http_exchange *exchange, const void *bytes, size_t length)
{
        size_t taken, sent;

        if (http_body_feed(&exchange->response_body, bytes, length, &taken) < 0) {
                end_with(exchange, REASON_BAD_RESPONSE);
                return;
        }
        if (taken < length)
                exchange->origin_reusable = false;
        exchange->response_whole = exchange->response_body.done;
        int r = byte_queue_pass(&exchange->to_client, socket_watch_fd(&exchange->client), bytes, taken, &sent);
        sent_to_client(exchange, sent, r);
}

static void pass_interim_head(struct http_exchange *exchange, const struct http_response *response)
{
        if (byte_queue_append(&exchange->to_client, byte_queue_first(&exchange->response_head), response->length) < 0) {
                end_with(exchange, REASON_NO_RESOURCES);
                return;
        }
        byte_queue_drop(&exchange->response_head, response->length);
}

/* The protocol has changed: all that follows is no longer ours to understand. */
static void pass_upgrade(struct http_exchange *exchange)
{
        struct byte_queue *head = &exchange->response_head;

        if (!exchange->upgrade || !exchange->request_body.done) {
                end_with(exchange, REASON_BAD_RESPONSE);
                return;
        }
        if (byte_queue_append(&exchange->to_client, byte_queue_first(head), byte_queue_length(head)) < 0) {
                end_with(exchange, REASON_NO_RESOURCES);
                return;
        }
        byte_queue_clear(head);
        exchange->upgraded = true;
        exchange->response_whole = true;
        exchange->next = HTTP_EXCHANGE_UPGRADED;
}

/* A client whose request body is not at its end now is told that this is its last response here. */
static bool must_close_client(const struct http_exchange *exchange, const struct http_response *response)
{
        return !exchange->client_keep_alive || response->body == HTTP_BODY_UNTIL_CLOSE || !exchange->request_body.done;
}

static void pass_final_head(struct http_exchange *exchange, const struct http_response *response)
{
        struct byte_queue *head = &exchange->response_head;
        size_t size = response->length + HTTP_RESPONSE_FORMAT_ROOM;
        bool close = must_close_client(exchange, response);
        void *room;

        if (byte_queue_reserve(&exchange->to_client, size, &room) < 0) {
                end_with(exchange, REASON_NO_RESOURCES);
                return;
        }
        byte_queue_commit(&exchange->to_client,
                          http_response_format_client(byte_queue_first(head), response, close, room, size));
        exchange->next = close ? HTTP_EXCHANGE_CLOSE : HTTP_EXCHANGE_KEEP_CLIENT;
        exchange->origin_reusable = response->keep_alive;
        exchange->final_head = true;
        http_body_start(&exchange->response_body, response->body, response->body_length);
        pass_response_body(exchange, byte_queue_first(head) + response->length,
                           byte_queue_length(head) - response->length);
        byte_queue_clear(head);
}

static void pass_head(struct http_exchange *exchange, const struct http_response *response)
{
        if (response->status == 101)
                pass_upgrade(exchange);
        else if (response->status < 200)
                pass_interim_head(exchange, response);
        else
                pass_final_head(exchange, response);
}

/*
 * Whether the parser can say anything new with the last added bytes: only the end of the first line or of the head
 * changes its answer, and a head that comes byte by byte is not to be parsed for each of them.
 */
static bool worth_parsing(const struct byte_queue *head, size_t added)
{
        const uint8_t *bytes = byte_queue_first(head);
        size_t length = byte_queue_length(head);
        size_t before = length - added;
        size_t tail = before < 2 ? 0 : before - 2;

        return length >= HTTP_RESPONSE_MAX_BYTES || memmem(bytes + tail, length - tail, "\n\r\n", 3) != NULL ||
               (memchr(bytes + before, '\n', added) != NULL && memchr(bytes, '\n', before) == NULL);
}

static bool is_other_protocol(const struct byte_queue *head)
{
        size_t length = byte_queue_length(head);
        size_t known = sizeof(VERSION_PREFIX) - 1;

        return length > 0 && memcmp(byte_queue_first(head), VERSION_PREFIX, length < known ? length : known) != 0;
}

static void parse_heads(struct http_exchange *exchange)
{
        struct byte_queue *head = &exchange->response_head;
        struct http_response response;

        while (!exchange->ended && byte_queue_length(head) > 0) {
                switch (http_response_parse(byte_queue_first(head), byte_queue_length(head), exchange->to_head,
                                            &response)) {
                case HTTP_RESPONSE_OK:
                        pass_head(exchange, &response);
                        break;
                case HTTP_RESPONSE_NEED_MORE:
                        return;
                case HTTP_RESPONSE_MALFORMED:
                        end_with(exchange, REASON_BAD_RESPONSE);
                        return;
                }
        }
}

static void take_response_head(struct http_exchange *exchange, const void *bytes, size_t length)
{
        struct byte_queue *head = &exchange->response_head;

        if (byte_queue_append(head, bytes, length) < 0) {
                end_with(exchange, REASON_NO_RESOURCES);
                return;
        }
        if (worth_parsing(head, length))
                parse_heads(exchange);
        if (!exchange->ended && is_other_protocol(head))
                end_with(exchange, REASON_BAD_RESPONSE);
        if (!exchange->ended && byte_queue_length(&exchange->to_client) > 0)
                flush_to_client(exchange);
}

static void on_end_of_origin(struct http_exchange *exchange)
{
        if (exchange->final_head && exchange->response_body.kind == HTTP_BODY_UNTIL_CLOSE &&
            !exchange->origin_takes_no_more) {
                exchange->response_whole = true;
                return;
        }
        parse_heads(exchange);
        end_with(exchange, REASON_UPSTREAM_ABORTED);
}

static size_t read_origin(struct http_exchange *exchange)
{
        uint8_t block[BLOCK_SIZE];
        size_t room = sizeof(block);

        if (!exchange->final_head)
                room = HTTP_RESPONSE_MAX_BYTES - byte_queue_length(&exchange->response_head);
        ssize_t got = recv(socket_watch_fd(&exchange->origin), block, room, MSG_DONTWAIT);
        if (got == -1) {
                int error = errno;

                if (error == ENOMEM || error == ENOBUFS)
                        end_with(exchange, REASON_NO_RESOURCES);
                else if (error != EAGAIN && error != EINTR)
                        end_with(exchange, REASON_UPSTREAM_ABORTED);
                return 0;
        }
        if (got == 0) {
                on_end_of_origin(exchange);
                return 0;
        }
        size_t length = (size_t)got;
        exchange->moved = true;
        exchange->bytes_in += length;
        if (exchange->final_head)
                pass_response_body(exchange, block, length);
        else
                take_response_head(exchange, block, length);
        return length;
}

static void complete(struct http_exchange *exchange)
{
        if (exchange->next == HTTP_EXCHANGE_CLOSE && !exchange->request_body.done)
                exchange->next = HTTP_EXCHANGE_LINGER;
        if (exchange->next == HTTP_EXCHANGE_KEEP_CLIENT && exchange->origin_reusable &&
            !exchange->origin_takes_no_more && byte_queue_length(&exchange->to_origin) == 0)
                exchange->next = HTTP_EXCHANGE_KEEP_BOTH;
        end_with(exchange, REASON_COMPLETED);
}

/* Moves the response until the origin has no more now, the client takes none, or it is the turn of others. */
static void pump_response(struct http_exchange *exchange)
{
        size_t moved = 0;

        if (byte_queue_length(&exchange->to_client) > 0)
                flush_to_client(exchange);
        while (!exchange->ended && !exchange->response_whole && byte_queue_length(&exchange->to_client) == 0 &&
               moved < BYTES_PER_EVENT) {
                size_t length = read_origin(exchange);

                if (length < BLOCK_SIZE)
                        break;
                moved += length;
        }
        if (!exchange->ended && exchange->response_whole && byte_queue_length(&exchange->to_client) == 0)
                complete(exchange);
}

static short wanted_of_client(const struct http_exchange *exchange)
{
        short wanted = 0;

        if (wants_body(exchange) && byte_queue_length(&exchange->to_origin) == 0)
                wanted |= EV_READ;
        if (byte_queue_length(&exchange->to_client) > 0)
                wanted |= EV_WRITE;
        return wanted != 0 ? wanted : WATCH_UNREAD_CLIENT;
}

static short wanted_of_origin(const struct http_exchange *exchange)
{
        short wanted = 0;

        if (!exchange->response_whole && byte_queue_length(&exchange->to_client) == 0)
                wanted |= EV_READ;
        if (byte_queue_length(&exchange->to_origin) > 0)
                wanted |= EV_WRITE;
        return wanted;
}

/* Makes the events and the idle timer fit the state that the last bytes left. */
static void settle(struct http_exchange *exchange)
{
        if (exchange->moved)
                idle_timer_touch(&exchange->idle);
        exchange->moved = false;
        if (exchange->ended)
                return;
        if (socket_watch_set(&exchange->client, wanted_of_client(exchange)) < 0 ||
            socket_watch_set(&exchange->origin, wanted_of_origin(exchange)) < 0)
                end_with(exchange, REASON_NO_RESOURCES);
}

static void result_of(const struct http_exchange *exchange, struct http_exchange_result *ret)
{
        *ret = (struct http_exchange_result){
                .reason = exchange->reason,
                .next = exchange->reason == REASON_COMPLETED ? exchange->next : HTTP_EXCHANGE_CLOSE,
                .answered = exchange->answered,
                .bytes_out = exchange->bytes_out,
                .bytes_in = exchange->bytes_in,
        };
}

static void release(struct http_exchange *exchange)
{
        socket_watch_stop(&exchange->client);
        socket_watch_stop(&exchange->origin);
        idle_timer_stop(&exchange->idle);
        byte_queue_clear(&exchange->to_origin);
        byte_queue_clear(&exchange->to_client);
        byte_queue_clear(&exchange->response_head);
        free(exchange);
}

static void finish(struct http_exchange *exchange)
{
        struct http_exchange_result result;
        http_exchange_fn on_done = exchange->on_done;
        void *context = exchange->context;

        result_of(exchange, &result);
        release(exchange);
        on_done(&result, context);
}

static void settle_or_finish(struct http_exchange *exchange)
{
        settle(exchange);
        if (exchange->ended)
                finish(exchange);
}

static void client_on_ready(evutil_socket_t fd, short what, void *context)
{
        struct http_exchange *exchange = context;
        bool unread = socket_watch_wanted(&exchange->client) == WATCH_UNREAD_CLIENT;
        int error = unread ? socket_watch_error(&exchange->client) : 0;

        (void)fd;
        if (error < 0)
                client_failed(exchange, error);
        if ((what & EV_WRITE) != 0)
                pump_response(exchange);
        if ((what & EV_READ) != 0 && !unread && !exchange->ended)
                pump_request(exchange);
        settle_or_finish(exchange);
}

static void origin_on_ready(evutil_socket_t fd, short what, void *context)
{
        struct http_exchange *exchange = context;

        (void)fd;
        if ((what & EV_WRITE) != 0)
                pump_request(exchange);
        if ((what & EV_READ) != 0 && !exchange->ended)
                pump_response(exchange);
        settle_or_finish(exchange);
}

static void idle_on_timeout(evutil_socket_t fd, short what, void *context)
{
        struct http_exchange *exchange = context;

        (void)fd;
        (void)what;
        if (!exchange->ended && idle_timer_expired(&exchange->idle))
                end_with(exchange, REASON_IDLE_TIMEOUT);
        if (exchange->ended)
                finish(exchange);
}

static void exchange_init(struct http_exchange *exchange, struct event_base *base,
                          const struct http_exchange_request *request)
{
        *exchange = (struct http_exchange){
                .client_input = request->client_input,
                .to_head = request->to_head,
                .client_keep_alive = request->client_keep_alive,
                .upgrade = request->upgrade,
        };
        http_body_start(&exchange->request_body, request->body, request->body_length);
        socket_watch_init(&exchange->client, base, request->client_fd, client_on_ready, exchange);
        socket_watch_init(&exchange->origin, base, request->upstream_fd, origin_on_ready, exchange);
}

/* The head leaves with as much of the body as is here, in one call. */
static void begin(struct http_exchange *exchange)
{
        if (wants_body(exchange) && evbuffer_get_length(exchange->client_input) > 0)
                (void)take_client_input(exchange);
        if (!exchange->ended)
                pump_request(exchange);
        settle(exchange);
        if (exchange->ended)
                idle_timer_run_soon(&exchange->idle);
}

int http_exchange_start(struct event_base *base, const struct http_exchange_request *request, http_exchange_fn on_done,
                        void *context, struct http_exchange **ret)
{
        struct http_exchange *exchange = malloc(sizeof(*exchange));

        if (exchange == NULL)
                return -ENOMEM;
        exchange_init(exchange, base, request);
        exchange->on_done = on_done;
        exchange->context = context;
        int r = byte_queue_append(&exchange->to_origin, request->head, request->head_length);
        if (r == 0)
                r = idle_timer_start(&exchange->idle, base, request->idle_timeout_ms, idle_on_timeout, exchange);
        if (r < 0) {
                byte_queue_clear(&exchange->to_origin);
                free(exchange);
                return r;
        }
        begin(exchange);
        *ret = exchange;
        return 0;
}

void http_exchange_cancel(struct http_exchange *exchange, struct http_exchange_result *ret)
{
        result_of(exchange, ret);
        release(exchange);
}
