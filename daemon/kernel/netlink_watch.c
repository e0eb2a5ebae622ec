#include "kernel/netlink_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ASKED 1              /* sequence number: the kernel's own messages have 0 */
#define REST_DATAGRAMS 65536 /* more than any buffer of ours holds */

struct netlink_watch {
        struct mnl_socket *socket;
        struct event *readable;
        const struct netlink_watch_handlers *handlers; /* borrowed, see the header */
        void *context;
        unsigned datagrams_per_turn;
        bool lost; /* messages, since the last time that everything had been read */
        char buffer[NETLINK_BUFFER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/*
 * After an overrun the kernel keeps back every further message, without a further error, until what it had kept is read
 * (netlink_rcv_wake): only then is it worth anything to read the whole state anew.
 */
static void on_emptied(struct netlink_watch *watch)
{
        if (watch->lost && watch->handlers->on_lost != NULL)
                watch->handlers->on_lost(watch->context);
        watch->lost = false;
}

/* Returns false when nothing more is there. */
static bool read_datagram(struct netlink_watch *watch)
{
        ssize_t length = mnl_socket_recvfrom(watch->socket, watch->buffer, sizeof(watch->buffer));
        int r;

        if (length == -1 && errno == EINTR)
                return true;
        if (length == -1 && errno == EAGAIN) {
                on_emptied(watch);
                return false;
        }
        if (length == -1) {
                watch->lost = true; /* ENOBUFS, once for many; ENOSPC: it was longer than the buffer. */
                return true;
        }
        r = mnl_cb_run(watch->buffer, (size_t)length, 0, 0, watch->handlers->on_message, watch->context);
        if (r == MNL_CB_ERROR && watch->handlers->on_error != NULL)
                watch->handlers->on_error(errno, watch->context);
        return true;
}

static void read_datagrams(struct netlink_watch *watch, unsigned max)
{
        for (unsigned i = 0; i < max && read_datagram(watch); i++)
                ;
        if (watch->handlers->on_turn_end != NULL)
                watch->handlers->on_turn_end(watch->context);
}

static void on_readable(evutil_socket_t descriptor, short events, void *context)
{
        struct netlink_watch *watch = context;

        (void)descriptor;
        (void)events;
        read_datagrams(watch, watch->datagrams_per_turn);
}

void netlink_watch_read_rest(struct netlink_watch *watch)
{
        read_datagrams(watch, REST_DATAGRAMS);
}

static int start(struct netlink_watch *watch, struct event_base *base, int bus)
{
        watch->socket = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (watch->socket == NULL || mnl_socket_bind(watch->socket, 0, MNL_SOCKET_AUTOPID) == -1)
                return -errno;
        watch->readable = event_new(base, mnl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST, on_readable, watch);
        if (watch->readable == NULL || event_add(watch->readable, NULL) == -1)
                return -ENOMEM;
        return 0;
}

int netlink_watch_new(struct event_base *base, int bus, unsigned datagrams_per_turn,
                      const struct netlink_watch_handlers *handlers, void *context, struct netlink_watch **ret)
{
        struct netlink_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->handlers = handlers;
        watch->context = context;
        watch->datagrams_per_turn = datagrams_per_turn;
        r = start(watch, base, bus);
        if (r < 0) {
                netlink_watch_free(watch);
                return r;
        }
        *ret = watch;
        return 0;
}

void netlink_watch_free(struct netlink_watch *watch)
{
        if (watch == NULL)
                return;
        if (watch->readable != NULL)
                event_free(watch->readable);
        if (watch->socket != NULL)
                mnl_socket_close(watch->socket);
        free(watch);
}

int netlink_watch_join(struct netlink_watch *watch, int group)
{
        return mnl_socket_setsockopt(watch->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == -1 ? -errno : 0;
}

int netlink_watch_leave(struct netlink_watch *watch, int group)
{
        return mnl_socket_setsockopt(watch->socket, NETLINK_DROP_MEMBERSHIP, &group, sizeof(group)) == -1 ? -errno : 0;
}

int netlink_watch_send(struct netlink_watch *watch, const struct nlmsghdr *request)
{
        return mnl_socket_sendto(watch->socket, request, request->nlmsg_len) == -1 ? -errno : 0;
}

/* Whether the answer is among the messages of a datagram. */
static bool find_answer(const struct netlink_watch *watch, ssize_t length, int *ret)
{
        int left = (int)length;

        for (const struct nlmsghdr *header = (const struct nlmsghdr *)watch->buffer; mnl_nlmsg_ok(header, left);
             header = mnl_nlmsg_next(header, &left)) {
                const struct nlmsgerr *answer = mnl_nlmsg_get_payload(header);
                if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq != ASKED ||
                    mnl_nlmsg_get_payload_len(header) < sizeof(*answer))
                        continue;
                *ret = answer->error;
                return true;
        }
        return false;
}

/* The kernel has answered when the request has been sent. */
int netlink_watch_ask(struct netlink_watch *watch, struct nlmsghdr *request)
{
        int r;

        request->nlmsg_flags |= NLM_F_ACK;
        request->nlmsg_seq = ASKED;
        r = netlink_watch_send(watch, request);
        if (r < 0)
                return r;
        for (;;) {
                ssize_t length = mnl_socket_recvfrom(watch->socket, watch->buffer, sizeof(watch->buffer));
                if (length == -1 && errno != EINTR)
                        return -errno;
                if (length != -1 && find_answer(watch, length, &r))
                        return r;
        }
}

struct mnl_socket *netlink_watch_socket(struct netlink_watch *watch)
{
        return watch->socket;
}

size_t netlink_watch_enlarge(struct netlink_watch *watch, size_t bytes)
{
        int descriptor = mnl_socket_get_fd(watch->socket), wanted = bytes < INT_MAX ? (int)bytes : INT_MAX, size = 0;
        socklen_t length = sizeof(size);

        /* What neither call grants is told by the size that follows. */
        if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof(wanted)) == -1)
                (void)setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof(wanted));
        return getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, &length) == 0 && size > 0 ? (size_t)size : 0;
}
