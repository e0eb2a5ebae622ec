#include "kernel/routing_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kernel/netlink_watch.h"

#define DATAGRAMS_PER_TURN 64
#define SETTLE_MS 100 /* who removes a rule may be about to remove the route, too */
#define RETRY_MS 1000

struct routing_watch {
        struct netlink_watch *messages;
        struct event *report;
        struct routing_watch_subject subject;
        routing_watch_fn on_gone;
        void *context;
        bool gone; /* something was removed since the last report */
};

/* Whether the message has this attribute with a number between the two. */
static bool has_number(const struct nlmsghdr *header, size_t fixed_size, uint16_t type, uint32_t first, uint32_t last)
{
        struct nlattr *attribute; /* The macro casts to char *, which clang 18 does not like of a const one. */

        mnl_attr_for_each(attribute, header, fixed_size)
        {
                if (mnl_attr_get_type(attribute) == type && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
                        return mnl_attr_get_u32(attribute) >= first && mnl_attr_get_u32(attribute) <= last;
        }
        return false;
}

/* RTA_TABLE and FRA_TABLE: the field in the header has room for the first 256 tables only. */
static int on_message(const struct nlmsghdr *header, void *context)
{
        struct routing_watch *watch = context;
        const struct routing_watch_subject *subject = &watch->subject;

        if (header->nlmsg_type == RTM_DELRULE)
                watch->gone |=
                        has_number(header, sizeof(struct fib_rule_hdr), FRA_TABLE, subject->table, subject->table) ||
                        has_number(header, sizeof(struct fib_rule_hdr), FRA_PRIORITY, subject->first_priority,
                                   subject->last_priority);
        else if (header->nlmsg_type == RTM_DELROUTE)
                watch->gone |= has_number(header, sizeof(struct rtmsg), RTA_TABLE, subject->table, subject->table);
        return MNL_CB_OK;
}

static void report_in(struct routing_watch *watch, unsigned interval_ms)
{
        struct timeval delay = clock_timeval(interval_ms);

        event_add(watch->report, &delay);
}

/* What was lost may have told of a removal. */
static void on_lost(void *context)
{
        struct routing_watch *watch = context;

        watch->gone = true;
}

static void on_turn_end(void *context)
{
        struct routing_watch *watch = context;

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

static const struct netlink_watch_handlers handlers = {
        .on_message = on_message,
        .on_lost = on_lost,
        .on_turn_end = on_turn_end,
};

static int start(struct routing_watch *watch, struct event_base *base)
{
        static const int groups[] = { RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };
        int r;

        watch->report = event_new(base, -1, 0, on_report, watch);
        if (watch->report == NULL)
                return -ENOMEM;
        r = netlink_watch_new(base, NETLINK_ROUTE, DATAGRAMS_PER_TURN, &handlers, watch, &watch->messages);
        for (size_t i = 0; i < ARRAY_SIZE(groups) && r == 0; i++)
                r = netlink_watch_join(watch->messages, groups[i]);
        return r;
}

int routing_watch_new(struct event_base *base, const struct routing_watch_subject *subject, routing_watch_fn on_gone,
                      void *context, struct routing_watch **ret)
{
        struct routing_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->subject = *subject;
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
        netlink_watch_free(watch->messages);
        if (watch->report != NULL)
                event_free(watch->report);
        free(watch);
}
