/*
 * The origin behind the proxies of bench_system.py: takes a ClientHello, answers, and waits for the client to close. On
 * the endpoint for bulk it writes until then.
 *
 *   origin_tunnels SHORT_ADDRESS:PORT BULK_ADDRESS:PORT
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tunnels.h"

#define EVENTS_MAX 256
#define BULK_BYTES (256 << 10) /* of one write */

struct endpoint {
        int fd;
        bool accepts; /* a listener, else a connection */
        bool bulk;
        size_t received; /* of the hello */
};

static uint8_t answer[TUNNELS_ANSWER_BYTES];
static uint8_t bulk[BULK_BYTES];

static void end(struct endpoint *connection)
{
        close(connection->fd);
        free(connection);
}

static void take_connections(int epoll_fd, const struct endpoint *listener)
{
        int on = 1;
        int fd;

        while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
                struct endpoint *connection = calloc(1, sizeof(*connection));
                if (connection == NULL)
                        tunnels_die("calloc");
                (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* Only costs latency. */
                connection->fd = fd;
                connection->bulk = listener->bulk;
                tunnels_watch(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
        }
}

/* Returns whether the connection goes on. */
static bool on_readable(int epoll_fd, struct endpoint *connection)
{
        uint8_t bytes[4096];
        ssize_t got = recv(connection->fd, bytes, sizeof(bytes), 0);

        if (got == -1 && errno == EAGAIN)
                return true;
        if (got <= 0)
                return false;
        size_t before = connection->received;
        connection->received += (size_t)got;
        if (before >= TUNNELS_HELLO_BYTES || connection->received < TUNNELS_HELLO_BYTES)
                return true;
        if (send(connection->fd, answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
                return false;
        if (connection->bulk)
                tunnels_watch(epoll_fd, EPOLL_CTL_MOD, connection->fd, EPOLLIN | EPOLLOUT, connection);
        return true;
}

static bool on_writable(const struct endpoint *connection)
{
        return send(connection->fd, bulk, sizeof(bulk), MSG_NOSIGNAL) > 0 || errno == EAGAIN;
}

static void serve(int epoll_fd)
{
        struct epoll_event events[EVENTS_MAX];

        for (;;) {
                int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
                for (int i = 0; i < count; i++) {
                        struct endpoint *endpoint = events[i].data.ptr;
                        bool goes_on = true;
                        if (endpoint->accepts) {
                                take_connections(epoll_fd, endpoint);
                                continue;
                        }
                        if ((events[i].events & ~(unsigned)EPOLLOUT) != 0)
                                goes_on = on_readable(epoll_fd, endpoint);
                        if (goes_on && (events[i].events & EPOLLOUT) != 0)
                                goes_on = on_writable(endpoint);
                        if (!goes_on)
                                end(endpoint);
                }
        }
}

static void open_listener(int epoll_fd, struct endpoint *listener, const char *text)
{
        struct sockaddr_in address = tunnels_endpoint(text);
        int on = 1;

        listener->accepts = true;
        listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (listener->fd == -1 || setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
            bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) == -1 || listen(listener->fd, 4096) == -1)
                tunnels_die(text);
        tunnels_watch(epoll_fd, EPOLL_CTL_ADD, listener->fd, EPOLLIN, listener);
}

int main(int argc, char **argv)
{
        struct endpoint small = { 0 };
        struct endpoint large = { .bulk = true };
        int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

        if (argc != 3) {
                fprintf(stderr, "usage: %s SHORT_ADDRESS:PORT BULK_ADDRESS:PORT\n", argv[0]);
                return 2;
        }
        tunnels_answer(answer);
        open_listener(epoll_fd, &small, argv[1]);
        open_listener(epoll_fd, &large, argv[2]);
        serve(epoll_fd);
}
