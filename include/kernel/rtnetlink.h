/* One request to the kernel's routing side (rtnetlink(7)) and its answer, through libmnl. */
#pragma once

#include "base/compiler.h"

#define RTNETLINK_BUFFER_SIZE 32768 /* the kernel fills dumps in parts of up to this */

struct mnl_socket;
struct nlmsghdr;

/* What libmnl calls mnl_cb_t: returns MNL_CB_OK to go on. */
typedef int (*rtnetlink_message_fn)(const struct nlmsghdr *message, void *context);

/* Opens a socket, subscribed to groups (RTMGRP_…, 0: none). Returns 0 or -errno. To be closed with mnl_socket_close. */
MUST_CHECK int rtnetlink_open(unsigned groups, struct mnl_socket **ret);

/*
 * Sends one request on a socket of its own and gives each message of the answer to on_message (NULL: only the
 * acknowledgement counts). Waits for the kernel, which answers at once.
 *
 * Returns 0, or -errno as the kernel answered; -EINTR: a dump changed underneath, try again.
 */
MUST_CHECK int rtnetlink_request(struct nlmsghdr *request, rtnetlink_message_fn on_message, void *context);
