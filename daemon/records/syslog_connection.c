#include "records/syslog_connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "records/syslog_tls.h"

#define KEEP_ALIVE_IDLE_S 60 /* below the 4 min after which Azure's load balancer forgets a flow */
#define KEEP_ALIVE_INTERVAL_S 10
#define KEEP_ALIVE_PROBES 3

struct syslog_connection {
        int fd;
        struct syslog_tls *tls; /* NULL: TCP alone */
};

static void set_options(int fd)
{
        static const struct {
                int level;
                int name;
                int value;
        } options[] = {
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, KEEP_ALIVE_IDLE_S },
                { IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_S },
                { IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVE_PROBES },
                { IPPROTO_TCP, TCP_USER_TIMEOUT, SYSLOG_CONNECTION_STALL_MS },
                { IPPROTO_TCP, TCP_NODELAY, 1 },
        };

        /* All of them only make it better. */
        for (size_t i = 0; i < ARRAY_SIZE(options); i++)
                (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

static int wait_connected(int fd, struct io_wait *wait, uint64_t deadline_ms)
{
        int error;
        socklen_t length = sizeof(error);
        int r = io_wait_for(wait, fd, POLLOUT, deadline_ms);

        if (r < 0)
                return r;
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1 ? -errno : -error;
}

static int connect_to(const struct net_endpoint *address, struct io_wait *wait, unsigned timeout_ms, int *ret_fd)
{
        struct sockaddr_storage socket_address;
        socklen_t length = net_endpoint_to_sockaddr(address, &socket_address);
        int fd = socket(socket_address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int r = 0;

        if (fd == -1)
                return -errno;
        set_options(fd);
        if (connect(fd, (const struct sockaddr *)&socket_address, length) == -1)
                r = errno == EINPROGRESS ? wait_connected(fd, wait, clock_monotonic_ms() + timeout_ms) : -errno;
        if (r < 0) {
                close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

/* One address after the other; the error is of the last one. */
static int connect_to_any(const struct syslog_target *target, struct io_wait *wait, char *error, size_t error_size,
                          int *ret_fd)
{
        struct net_endpoint addresses[SYSLOG_TARGET_MAX_ADDRESSES];
        char text[NET_ENDPOINT_TEXT_SIZE];
        size_t count;
        int r = syslog_target_look_up(target, wait, addresses, &count, error, error_size);

        if (r < 0)
                return r;
        for (size_t i = 0; i < count; i++) {
                r = connect_to(&addresses[i], wait, target->connect_timeout_ms, ret_fd);
                if (r == 0 || r == -ECANCELED || io_wait_is_over(wait))
                        return r;
                snprintf(error, error_size, "%s: %s", net_endpoint_format(&addresses[i], text), strerror(-r));
        }
        return r;
}

static int shake_hands(struct syslog_connection *connection, const struct syslog_target *target, struct io_wait *wait,
                       char *error, size_t error_size)
{
        uint64_t deadline_ms = clock_monotonic_ms() + target->connect_timeout_ms;
        short events;
        int r = syslog_tls_attach(connection->tls, connection->fd);

        while (r == 0 && (r = syslog_tls_handshake(connection->tls, &events, error, error_size)) == -EAGAIN) {
                snprintf(error, error_size, "the TLS handshake takes too long");
                r = io_wait_for(wait, connection->fd, events, deadline_ms);
        }
        return r;
}

int syslog_connection_open(const struct syslog_target *target, struct io_wait *wait, char *error, size_t error_size,
                           struct syslog_connection **ret)
{
        struct syslog_connection *connection = calloc(1, sizeof(*connection));

        snprintf(error, error_size, "%s", strerror(ENOMEM));
        if (connection == NULL)
                return -ENOMEM;
        connection->fd = -1;
        int r = 0;

        /* First, so that a file that is wrong is told whether or not the server is there. */
        if (target->transport == CONFIG_TRANSPORT_TLS)
                r = syslog_tls_open(target, error, error_size, &connection->tls);
        if (r == 0)
                r = connect_to_any(target, wait, error, error_size, &connection->fd);
        if (r == 0 && connection->tls != NULL)
                r = shake_hands(connection, target, wait, error, error_size);
        if (r < 0) {
                syslog_connection_close(connection);
                return r;
        }
        *ret = connection;
        return 0;
}

/* Some bytes: how many, or -EAGAIN and what to wait for. */
static ssize_t send_some(struct syslog_connection *connection, const char *bytes, size_t length, short *ret_events,
                         char *error, size_t error_size)
{
        if (connection->tls != NULL)
                return syslog_tls_write(connection->tls, bytes, length, ret_events, error, error_size);
        ssize_t sent = send(connection->fd, bytes, length, MSG_NOSIGNAL);
        if (sent != -1)
                return sent;
        *ret_events = POLLOUT;
        snprintf(error, error_size, "%s", strerror(errno));
        return -errno;
}

int syslog_connection_send(struct syslog_connection *connection, struct io_wait *wait, const char *bytes, size_t length,
                           char *error, size_t error_size)
{
        while (length > 0) {
                short events;
                ssize_t sent = send_some(connection, bytes, length, &events, error, error_size);

                if (sent > 0) {
                        bytes += sent;
                        length -= (size_t)sent;
                        continue;
                }
                if (sent != -EAGAIN)
                        return (int)sent;
                snprintf(error, error_size, "the server takes no more");
                int r = io_wait_for(wait, connection->fd, events, clock_monotonic_ms() + SYSLOG_CONNECTION_STALL_MS);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_some(struct syslog_connection *connection, char *error, size_t error_size)
{
        char dropped[4096];
        short events;

        if (connection->tls != NULL)
                return syslog_tls_read(connection->tls, &events, error, error_size);
        ssize_t length = recv(connection->fd, dropped, sizeof(dropped), 0);
        if (length > 0)
                return -EAGAIN;
        snprintf(error, error_size, "%s", length == 0 ? "the server closed the connection" : strerror(errno));
        return length == 0 ? 0 : -errno;
}

int syslog_connection_check(struct syslog_connection *connection, char *error, size_t error_size)
{
        int r = read_some(connection, error, error_size);

        if (r == -EAGAIN)
                return 0;
        if (r == 0)
                snprintf(error, error_size, "the server closed the connection");
        return r == 0 ? -EPIPE : r;
}

int syslog_connection_descriptor(const struct syslog_connection *connection)
{
        return connection->fd;
}

bool syslog_connection_finish(struct syslog_connection *connection, struct io_wait *wait, unsigned timeout_ms)
{
        uint64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
        char dropped[256];

        if (connection->tls != NULL)
                syslog_tls_finish(connection->tls);
        if (shutdown(connection->fd, SHUT_WR) == -1)
                return false;
        for (;;) {
                /* Below TLS: what counts is that the server's side of the connection is closed, and in order. */
                ssize_t length = recv(connection->fd, dropped, sizeof(dropped), 0);
                if (length == 0)
                        return true;
                if (length == -1 && errno != EAGAIN)
                        return false;
                if (length == -1 && io_wait_for(wait, connection->fd, POLLIN, deadline_ms) < 0)
                        return false;
        }
}

void syslog_connection_close(struct syslog_connection *connection)
{
        if (connection == NULL)
                return;
        syslog_tls_close(connection->tls);
        if (connection->fd != -1)
                close(connection->fd);
        free(connection);
}
