#include "kernel/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_TIMEOUT_S 5 /* The kernel answers while it is asked; this only guards against a hang. */

int netlink_open(int bus, struct mnl_socket **ret)
{
        struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
        struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC);

        if (socket == NULL)
                return -errno;
        if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == -1 ||
            setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == -1) {
                int error = errno;
                mnl_socket_close(socket);
                return -error;
        }
        *ret = socket;
        return 0;
}

static int receive_answer(struct mnl_socket *socket, unsigned sequence, char *buffer, netlink_message_fn on_message,
                          void *context)
{
        unsigned port = mnl_socket_get_portid(socket);

        for (;;) {
                ssize_t length = mnl_socket_recvfrom(socket, buffer, NETLINK_BUFFER_SIZE);
                if (length == -1)
                        return -errno;
                int r = mnl_cb_run(buffer, (size_t)length, sequence, port, on_message, context);
                if (r == MNL_CB_ERROR)
                        return -errno;
                if (r == MNL_CB_STOP)
                        return 0;
        }
}

int netlink_ask(struct mnl_socket *socket, struct nlmsghdr *request, netlink_message_fn on_message, void *context)
{
        char *buffer = malloc(NETLINK_BUFFER_SIZE);
        int r;

        if (buffer == NULL)
                return -ENOMEM;
        request->nlmsg_seq = 1;
        if (mnl_socket_sendto(socket, request, request->nlmsg_len) == -1)
                r = -errno;
        else
                r = receive_answer(socket, request->nlmsg_seq, buffer, on_message, context);
        free(buffer);
        return r;
}

int netlink_request(int bus, struct nlmsghdr *request, netlink_message_fn on_message, void *context)
{
        struct mnl_socket *socket;
        int r = netlink_open(bus, &socket);

        if (r < 0)
                return r;
        r = netlink_ask(socket, request, on_message, context);
        mnl_socket_close(socket);
        return r;
}
