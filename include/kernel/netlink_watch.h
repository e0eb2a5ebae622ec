/* A netlink socket in an event loop: what the kernel tells without being asked, in bounded turns (libmnl). */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/compiler.h"
#include "kernel/netlink.h"

struct mnl_socket;
struct netlink_watch;
struct nlmsghdr;

/* Called from the event loop only. All but on_message may be NULL. */
struct netlink_watch_handlers {
        netlink_message_fn on_message;
        /* The socket's buffer overran. Called when all that got through has been handed over: time to read state anew. */
        void (*on_lost)(void *context);
        void (*on_error)(int error, void *context); /* the kernel refused what netlink_watch_send sent; errno */
        void (*on_turn_end)(void *context);         /* what was there has been handed over, or a turn's share of it */
};

/*
 * Opens a non-blocking socket of a bus (NETLINK_ROUTE, NETLINK_NETFILTER, …), which no group is joined on yet. handlers is
 * borrowed. A turn hands over at most datagrams_per_turn datagrams before other events get theirs.
 *
 * Returns 0 or -errno.
 */
MUST_CHECK int netlink_watch_new(struct event_base *base, int bus, unsigned datagrams_per_turn,
                                 const struct netlink_watch_handlers *handlers, void *context,
                                 struct netlink_watch **ret);

/*
 * Hands over what is there already without waiting for the event loop: for the end, when nobody will turn it again. Bounded,
 * whatever comes meanwhile. Not from within a handler.
 */
void netlink_watch_read_rest(struct netlink_watch *watch);

/* Takes NULL. The handlers will not run again. Not from within on_message. */
void netlink_watch_free(struct netlink_watch *watch);

/* Joins or leaves a multicast group by number (RTNLGRP_…, NFNLGRP_…). Returns 0 or -errno. */
MUST_CHECK int netlink_watch_join(struct netlink_watch *watch, int group);
MUST_CHECK int netlink_watch_leave(struct netlink_watch *watch, int group);

/* Sends a request; its answer comes as any other message, a refusal to on_error. Returns 0 or -errno. */
MUST_CHECK int netlink_watch_send(struct netlink_watch *watch, const struct nlmsghdr *request);

/*
 * Sends a request that the kernel is to acknowledge and returns what it said: 0 or -errno. Messages that came before the
 * answer are dropped: for the time before there are any.
 */
MUST_CHECK int netlink_watch_ask(struct netlink_watch *watch, struct nlmsghdr *request);

/* The socket, for its options; remains the watch's. */
struct mnl_socket *netlink_watch_socket(struct netlink_watch *watch);

/*
 * Makes the receive buffer at least so large, beyond net.core.rmem_max where we may (CAP_NET_ADMIN). The kernel counts its
 * own overhead in it, too. Returns the size it has now, as the kernel counts it.
 */
size_t netlink_watch_enlarge(struct netlink_watch *watch, size_t bytes);
