/* Questions to the kernel over netlink (netlink(7)) and its answers, through libmnl. */
#pragma once

#include "base/compiler.h"

#define NETLINK_BUFFER_SIZE 32768 /* the kernel fills dumps in parts of up to this */

struct mnl_socket;
struct nlmsghdr;

/* What libmnl calls mnl_cb_t: returns MNL_CB_OK to go on. */
typedef int (*netlink_message_fn)(const struct nlmsghdr *message, void *context);

/*
 * Opens a socket to ask on, whose reads wait for the kernel, but not for ever (-EAGAIN after some seconds). bus:
 * NETLINK_ROUTE, NETLINK_NETFILTER, …
 *
 * Returns 0 or -errno. To be closed with mnl_socket_close.
 */
MUST_CHECK int netlink_open(int bus, struct mnl_socket **ret);

/*
 * Sends one request and gives each message of the answer to on_message (NULL: only the acknowledgement counts). Waits for
 * the kernel, which answers at once.
 *
 * Returns 0, or -errno as the kernel answered; -EINTR: a dump changed underneath, ask again. After -EINTR and -EAGAIN the
 * rest of the answer may still come: close the socket.
 */
MUST_CHECK int netlink_ask(struct mnl_socket *socket, struct nlmsghdr *request, netlink_message_fn on_message,
                           void *context);

/* The same on a socket of its own. */
MUST_CHECK int netlink_request(int bus, struct nlmsghdr *request, netlink_message_fn on_message, void *context);
