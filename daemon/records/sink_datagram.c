#include "records/sink_datagram.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

#define SEND_BUFFER_SIZE (1024 * 1024) /* bytes; some 500 records may wait in the kernel */
#define LOOK_UP_AGAIN_MS 300000

struct sink_datagram {
        int fd; /* -1: none yet */
        struct sockaddr_storage address;
        socklen_t address_length;     /* 0: not known yet */
        struct syslog_target *target; /* reference held; NULL: a path */
        struct io_wait wait;          /* for DNS */
        uint64_t looked_up_ms;
};

static int open_socket(struct sink_datagram *datagram)
{
        int size = SEND_BUFFER_SIZE;

        datagram->fd = socket(datagram->address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (datagram->fd == -1)
                return -errno;
        /* Only as much as the system allows; less means that records wait in our queue instead. */
        (void)setsockopt(datagram->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        return 0;
}

static void close_socket(struct sink_datagram *datagram)
{
        if (datagram->fd != -1)
                close(datagram->fd);
        datagram->fd = -1;
}

int sink_datagram_open_path(const char *path, struct sink_datagram **ret)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct sink_datagram *datagram;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        datagram = calloc(1, sizeof(*datagram));
        if (datagram == NULL)
                return -ENOMEM;
        memcpy(address.sun_path, path, strlen(path) + 1);
        memcpy(&datagram->address, &address, sizeof(address));
        datagram->address_length = sizeof(address);
        datagram->wait.wakeup.fd = -1;
        int r = open_socket(datagram);
        if (r < 0) {
                sink_datagram_close(datagram);
                return r;
        }
        *ret = datagram;
        return 0;
}

int sink_datagram_open_server(struct syslog_target *target, struct sink_datagram **ret)
{
        struct sink_datagram *datagram = calloc(1, sizeof(*datagram));

        if (datagram == NULL)
                return -ENOMEM;
        datagram->fd = -1;
        datagram->target = syslog_target_ref(target);
        int r = io_wait_open(&datagram->wait);
        if (r < 0) {
                sink_datagram_close(datagram);
                return r;
        }
        *ret = datagram;
        return 0;
}

void sink_datagram_close(struct sink_datagram *datagram)
{
        if (datagram == NULL)
                return;
        close_socket(datagram);
        io_wait_close(&datagram->wait);
        syslog_target_unref(datagram->target);
        free(datagram);
}

/* The server's first address. While DNS fails, the last one known serves. */
static int look_up(struct sink_datagram *datagram)
{
        struct net_endpoint addresses[SYSLOG_TARGET_MAX_ADDRESSES];
        uint64_t now_ms = clock_monotonic_ms();
        char error[128];
        size_t count;

        if (datagram->address_length > 0 && now_ms - datagram->looked_up_ms < LOOK_UP_AGAIN_MS)
                return 0;
        datagram->looked_up_ms = now_ms;
        int r = syslog_target_look_up(datagram->target, &datagram->wait, addresses, &count, error, sizeof(error));
        if (r < 0)
                return datagram->address_length > 0 ? 0 : r;
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&addresses[0], &address);
        if (length == datagram->address_length && memcmp(&address, &datagram->address, length) == 0)
                return 0;
        datagram->address = address;
        datagram->address_length = length;
        close_socket(datagram);
        return 0;
}

static int send_connected(struct sink_datagram *datagram, const char *record, size_t length)
{
        return send(datagram->fd, record, length, MSG_NOSIGNAL) == -1 ? -errno : 0;
}

/* Not connected yet, or the receiver closed the socket we were connected to. */
static bool needs_connect(int error)
{
        return error == -ENOTCONN || error == -ECONNREFUSED || error == -ECONNRESET || error == -EDESTADDRREQ;
}

/* Connected, and not addressed each time: only so does poll() wait for room in the queue of a slow receiver. */
static int connect_socket(struct sink_datagram *datagram)
{
        if (connect(datagram->fd, (const struct sockaddr *)&datagram->address, datagram->address_length) == -1)
                return -errno;
        return 0;
}

int sink_datagram_send(struct sink_datagram *datagram, const char *record, size_t length)
{
        int r = datagram->target != NULL ? look_up(datagram) : 0;

        if (r == 0 && datagram->fd == -1)
                r = open_socket(datagram);
        if (r < 0)
                return r;
        r = send_connected(datagram, record, length);
        if (!needs_connect(r))
                return r;
        r = connect_socket(datagram);
        return r < 0 ? r : send_connected(datagram, record, length);
}

int sink_datagram_descriptor(const struct sink_datagram *datagram)
{
        return datagram->fd;
}

/* As output of a sink. */

static int output_put(void *output, const char *record, size_t length)
{
        return sink_datagram_send(output, record, length);
}

static int output_descriptor(const void *output)
{
        return sink_datagram_descriptor(output);
}

static void output_close(void *output)
{
        sink_datagram_close(output);
}

const struct sink_output_type sink_datagram_output = {
        .put = output_put,
        .descriptor = output_descriptor,
        .close = output_close,
        .loses = true,
};
