#include "records/sink_datagram.h"

#include <errno.h>
#include <stdatomic.h>
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
        bool is_server;               /* constant; otherwise a path */
        struct syslog_target *target; /* of a server; reference held */
        struct io_wait wait;          /* for DNS */
        uint64_t looked_up_ms;
        _Atomic(struct syslog_target *) next_target; /* reference held; NULL: none that was not taken yet */
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
        datagram->is_server = true;
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
        syslog_target_unref(atomic_load(&datagram->next_target));
        syslog_target_unref(datagram->target);
        free(datagram);
}

/* Connected, and not addressed each time: only so does poll() wait for room in the queue of a slow receiver. */
static int connect_socket(struct sink_datagram *datagram)
{
        if (connect(datagram->fd, (const struct sockaddr *)&datagram->address, datagram->address_length) == -1)
                return -errno;
        return 0;
}

/* Returns 0 when there is a way to the address; a socket that is connected to it is kept. */
static int use_address(struct sink_datagram *datagram, const struct net_endpoint *endpoint)
{
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(endpoint, &address);

        if (datagram->fd != -1 && length == datagram->address_length &&
            memcmp(&address, &datagram->address, length) == 0)
                return 0;
        close_socket(datagram);
        datagram->address = address;
        datagram->address_length = length;
        int r = open_socket(datagram);
        if (r == 0)
                r = connect_socket(datagram);
        if (r < 0)
                close_socket(datagram);
        return r;
}

/* Names have addresses of both families, and this machine may have a way to one of them only. If to none, the first may get one. */
static void choose_address(struct sink_datagram *datagram, const struct net_endpoint *addresses, size_t count)
{
        for (size_t i = 0; i < count; i++)
                if (use_address(datagram, &addresses[i]) == 0)
                        return;
        (void)!use_address(datagram, &addresses[0]);
}

/* Settings that a reload brought: the server is the same, the DNS servers that know it may be others. */
static void take_target(struct sink_datagram *datagram)
{
        struct syslog_target *target = atomic_exchange(&datagram->next_target, NULL);

        if (target == NULL)
                return;
        syslog_target_unref(datagram->target);
        datagram->target = target;
        datagram->looked_up_ms = 0;
}

/* The server's address. While DNS fails, the last one known serves. */
static int look_up(struct sink_datagram *datagram)
{
        struct net_endpoint addresses[SYSLOG_TARGET_MAX_ADDRESSES];
        uint64_t now_ms = clock_monotonic_ms();
        char error[128];
        size_t count;

        take_target(datagram);
        if (datagram->address_length > 0 && datagram->looked_up_ms != 0 &&
            now_ms - datagram->looked_up_ms < LOOK_UP_AGAIN_MS)
                return 0;
        datagram->looked_up_ms = now_ms;
        int r = syslog_target_look_up(datagram->target, &datagram->wait, addresses, &count, error, sizeof(error));
        if (r < 0)
                return datagram->address_length > 0 ? 0 : r;
        choose_address(datagram, addresses, count);
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

int sink_datagram_send(struct sink_datagram *datagram, const char *record, size_t length)
{
        int r = datagram->is_server ? look_up(datagram) : 0;

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

void sink_datagram_set_target(struct sink_datagram *datagram, struct syslog_target *target)
{
        if (datagram->is_server)
                syslog_target_unref(atomic_exchange(&datagram->next_target, syslog_target_ref(target)));
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

static void output_set_target(void *output, struct syslog_target *target)
{
        sink_datagram_set_target(output, target);
}

const struct sink_output_type sink_datagram_output = {
        .put = output_put,
        .descriptor = output_descriptor,
        .close = output_close,
        .set_target = output_set_target,
        .loses = true,
};
