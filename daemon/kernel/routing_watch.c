#include "kernel/routing_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kernel/rtnetlink.h"

#define GROUP(number) (1u << ((number)-1))
#define GROUPS                                                                                                         \
        (GROUP(RTNLGRP_IPV4_RULE) | GROUP(RTNLGRP_IPV6_RULE) | GROUP(RTNLGRP_IPV4_ROUTE) | GROUP(RTNLGRP_IPV6_ROUTE))
#define MESSAGES_PER_EVENT 64 /* receive calls before other events get their turn */
#define SETTLE_MS 100         /* who removes a rule may be about to remove the route, too */
#define RETRY_MS 1000

struct routing_watch {
        struct mnl_socket *socket;
        struct event *readable;
        struct event *report;
        uint32_t table;
        routing_watch_fn on_gone;
        void *context;
        bool gone; /* something was removed since the last report */
        char buffer[RTNETLINK_BUFFER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* RTA_TABLE and FRA_TABLE: the field in the header has room for the first 256 tables only. */
static bool names_table(const struct nlmsghdr *header, size_t fixed_size, uint16_t type, uint32_t table)
{
        struct nlattr *attribute; /* The macro casts to char *, which clang 18 does not like of a const one. */

        mnl_attr_for_each(attribute, header, fixed_size)
        {
                if (mnl_attr_get_type(attribute) == type && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
                        return mnl_attr_get_u32(attribute) == table;
        }
        return false;
}

static int on_message(const struct nlmsghdr *header, void *context)
{
        struct routing_watch *watch = context;

        if (header->nlmsg_type == RTM_DELRULE)
                watch->gone |= names_table(header, sizeof(struct fib_rule_hdr), FRA_TABLE, watch->table);
        else if (header->nlmsg_type == RTM_DELROUTE)
                watch->gone |= names_table(header, sizeof(struct rtmsg), RTA_TABLE, watch->table);
        return MNL_CB_OK;
}

static void report_in(struct routing_watch *watch, unsigned interval_ms)
{
        struct timeval delay = clock_timeval(interval_ms);

        event_add(watch->report, &delay);
}

static void on_readable(evutil_socket_t descriptor, short events, void *context)
{
        struct routing_watch *watch = context;

        (void)descriptor;
        (void)events;
        for (unsigned i = 0; i < MESSAGES_PER_EVENT; i++) {
                ssize_t length = mnl_socket_recvfrom(watch->socket, watch->buffer, sizeof(watch->buffer));
                if (length == -1 && (errno == EAGAIN || errno == EINTR))
                        break;
                if (length == -1)
                        watch->gone = true; /* ENOBUFS: what was lost may have told of a removal. */
                else
                        (void)mnl_cb_run(watch->buffer, (size_t)length, 0, 0, on_message, watch);
        }
        if (watch->gone && event_pending(watch->report, EV_TIMEOUT, NULL) == 0)
                report_in(watch, SETTLE_MS);
}

static void on_report(evutil_socket_t descriptor, short events, void *context)
{
        struct routing_watch *watch = context;

        (void)descriptor;
        (void)events;
        watch->gone = false;
        if (watch->on_gone(watch->context) < 0)
                report_in(watch, RETRY_MS);
}

static int start(struct routing_watch *watch, struct event_base *base)
{
        int r = rtnetlink_open(GROUPS, &watch->socket);

        if (r < 0)
                return r;
        watch->readable = event_new(base, mnl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST, on_readable, watch);
        watch->report = event_new(base, -1, 0, on_report, watch);
        if (watch->readable == NULL || watch->report == NULL || event_add(watch->readable, NULL) == -1)
                return -ENOMEM;
        return 0;
}

int routing_watch_new(struct event_base *base, uint32_t table, routing_watch_fn on_gone, void *context,
                      struct routing_watch **ret)
{
        struct routing_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->table = table;
        watch->on_gone = on_gone;
        watch->context = context;
        r = start(watch, base);
        if (r < 0) {
                routing_watch_free(watch);
                return r;
        }
        *ret = watch;
        return 0;
}

void routing_watch_free(struct routing_watch *watch)
{
        if (watch == NULL)
                return;
        if (watch->report != NULL)
                event_free(watch->report);
        if (watch->readable != NULL)
                event_free(watch->readable);
        if (watch->socket != NULL)
                mnl_socket_close(watch->socket);
        free(watch);
}
