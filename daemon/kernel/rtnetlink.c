#include "kernel/rtnetlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

#define ANSWER_TIMEOUT_S 5 /* The kernel answers while it is asked; this only guards against a hang. */

int rtnetlink_open(unsigned groups, struct mnl_socket **ret)
{
        struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (socket == NULL)
                return -errno;
        if (mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) == -1) {
                int error = errno;
                mnl_socket_close(socket);
                return -error;
        }
        *ret = socket;
        return 0;
}

static int open_blocking(struct mnl_socket **ret)
{
        struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
        struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

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

static int receive_answer(struct mnl_socket *socket, char *buffer, rtnetlink_message_fn on_message, void *context)
{
        unsigned port = mnl_socket_get_portid(socket);

        for (;;) {
                ssize_t length = mnl_socket_recvfrom(socket, buffer, RTNETLINK_BUFFER_SIZE);
                if (length == -1)
                        return -errno;
                int r = mnl_cb_run(buffer, (size_t)length, 1, port, on_message, context);
                if (r == MNL_CB_ERROR)
                        return -errno;
                if (r == MNL_CB_STOP)
                        return 0;
        }
}

int rtnetlink_request(struct nlmsghdr *request, rtnetlink_message_fn on_message, void *context)
{
        struct mnl_socket *socket = NULL;
        char *buffer = malloc(RTNETLINK_BUFFER_SIZE);
        int r;

        if (buffer == NULL)
                return -ENOMEM;
        r = open_blocking(&socket);
        if (r < 0) {
                free(buffer);
                return r;
        }
        request->nlmsg_seq = 1;
        if (mnl_socket_sendto(socket, request, request->nlmsg_len) == -1)
                r = -errno;
        else
                r = receive_answer(socket, buffer, on_message, context);
        mnl_socket_close(socket);
        free(buffer);
        return r;
}
