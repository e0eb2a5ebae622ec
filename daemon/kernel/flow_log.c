#include "kernel/flow_log.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <unistd.h>

#include "kernel/kernel_setting.h"
#include "kernel/netlink_watch.h"

#define SETTINGS "/proc/sys/net/netfilter/"

struct flow_log {
        struct netlink_watch *messages;
        uint32_t mark;
        uint32_t mask;
        flow_log_fn on_flow;
        bool tells_of_starts;
        void *context;
};

static int on_message(const struct nlmsghdr *header, void *context)
{
        struct flow_log *log = context;
        struct flow flow;

        /* Each group has messages of its own kind only. */
        if (flow_parse(header, &flow) == 0 && flow_is_marked(&flow, log->mark, log->mask) &&
            (flow.has_ended || log->tells_of_starts))
                log->on_flow(&flow, log->context);
        return MNL_CB_OK;
}

static const struct netlink_watch_handlers handlers = { .on_message = on_message };

static int start(struct flow_log *log, struct event_base *base, size_t buffer_bytes)
{
        struct mnl_socket *socket;
        int one = 1, r;

        r = netlink_watch_new(base, NETLINK_NETFILTER, FLOW_LOG_PER_TURN, &handlers, log, &log->messages);
        if (r < 0)
                return r;
        socket = netlink_watch_socket(log->messages);
        (void)netlink_watch_enlarge(log->messages, buffer_bytes); /* With a small one the kernel keeps more for us. */
        /* What cannot be delivered is kept and tried again, and so is nothing that the socket would have to tell of. */
        if (mnl_socket_setsockopt(socket, NETLINK_BROADCAST_ERROR, &one, sizeof(one)) == -1 ||
            mnl_socket_setsockopt(socket, NETLINK_NO_ENOBUFS, &one, sizeof(one)) == -1)
                return -errno;
        r = flow_filter_attach(mnl_socket_get_fd(socket), log->mark, log->mask);
        return r < 0 ? r : netlink_watch_join(log->messages, NFNLGRP_CONNTRACK_DESTROY);
}

int flow_log_new(struct event_base *base, uint32_t mark, uint32_t mask, size_t buffer_bytes, flow_log_fn on_flow,
                 void *context, struct flow_log **ret)
{
        struct flow_log *log = calloc(1, sizeof(*log));
        int r;

        if (log == NULL)
                return -ENOMEM;
        log->mark = mark;
        log->mask = mask;
        log->on_flow = on_flow;
        log->context = context;
        r = start(log, base, buffer_bytes);
        if (r < 0) {
                flow_log_free(log);
                return r;
        }
        *ret = log;
        return 0;
}

int flow_log_tell_of_starts(struct flow_log *log, bool tells)
{
        int r = 0;

        if (tells && !log->tells_of_starts)
                r = netlink_watch_join(log->messages, NFNLGRP_CONNTRACK_NEW);
        else if (!tells && log->tells_of_starts)
                r = netlink_watch_leave(log->messages, NFNLGRP_CONNTRACK_NEW);
        if (r == 0)
                log->tells_of_starts = tells;
        return r;
}

void flow_log_read_rest(struct flow_log *log)
{
        netlink_watch_read_rest(log->messages);
}

void flow_log_free(struct flow_log *log)
{
        if (log == NULL)
                return;
        netlink_watch_free(log->messages);
        free(log);
}

struct flow_log_settings flow_log_settings(void)
{
        return (struct flow_log_settings){
                .counts_bytes = kernel_setting_read(SETTINGS "nf_conntrack_acct") != '0',
                .keeps_times = kernel_setting_read(SETTINGS "nf_conntrack_timestamp") != '0',
                .tells_of_all = kernel_setting_read(SETTINGS "nf_conntrack_events") == '1',
        };
}
