#include "kernel/table_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define BUFFER_SIZE 32768
#define MESSAGES_PER_EVENT 64 /* receive calls before other events get their turn */
#define RETRY_S 1

struct table_watch {
        struct mnl_socket *socket;
        struct event *readable;
        struct event *retry;
        const char *table; /* borrowed, see the header */
        table_watch_fn on_gone;
        void *context;
        bool changed; /* the rules, since the kernel was asked */
        bool gone;    /* it answered that there is no such table */
        char buffer[BUFFER_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
};

/* A transaction with many changes is told change by change; this one message ends it. */
static int on_message(const struct nlmsghdr *header, void *context)
{
        struct table_watch *watch = context;

        if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
                watch->changed = true;
        return MNL_CB_OK;
}

/* The answer comes as any other message: the table, which means nothing to on_message, or the error ENOENT. */
static void ask(struct table_watch *watch)
{
        char bytes[256] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
        struct nfgenmsg *message;

        header->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
        header->nlmsg_flags = NLM_F_REQUEST;
        message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
        message->nfgen_family = NFPROTO_INET;
        message->version = NFNETLINK_V0;
        mnl_attr_put_strz(header, NFTA_TABLE_NAME, watch->table);
        watch->changed = false;
        if (mnl_socket_sendto(watch->socket, header, header->nlmsg_len) == -1)
                log_error("whether the nftables table inet %s is still there could not be asked: %s", watch->table,
                          strerror(errno));
}

static void read_messages(struct table_watch *watch)
{
        for (unsigned i = 0; i < MESSAGES_PER_EVENT; i++) {
                ssize_t length = mnl_socket_recvfrom(watch->socket, watch->buffer, sizeof(watch->buffer));
                if (length == -1 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (length == -1) {
                        /* ENOBUFS: what was lost may have told of a change, or been the answer. The rest is still there. */
                        watch->changed = true;
                        continue;
                }
                int r = mnl_cb_run(watch->buffer, (size_t)length, 0, 0, on_message, watch);
                if (r == MNL_CB_ERROR && errno == ENOENT)
                        watch->gone = true;
        }
}

static void on_readable(evutil_socket_t descriptor, short events, void *context)
{
        static const struct timeval delay = { .tv_sec = RETRY_S };
        struct table_watch *watch = context;

        (void)descriptor;
        (void)events;
        read_messages(watch);
        if (watch->changed)
                ask(watch);
        if (!watch->gone)
                return;
        watch->gone = false;
        if (watch->on_gone(watch->context) < 0)
                event_add(watch->retry, &delay);
}

static void on_retry(evutil_socket_t descriptor, short events, void *context)
{
        (void)descriptor;
        (void)events;
        ask(context);
}

static int start(struct table_watch *watch, struct event_base *base)
{
        int group = NFNLGRP_NFTABLES;

        watch->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (watch->socket == NULL || mnl_socket_bind(watch->socket, 0, MNL_SOCKET_AUTOPID) == -1 ||
            mnl_socket_setsockopt(watch->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == -1)
                return -errno;
        watch->readable = event_new(base, mnl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST, on_readable, watch);
        watch->retry = event_new(base, -1, 0, on_retry, watch);
        if (watch->readable == NULL || watch->retry == NULL || event_add(watch->readable, NULL) == -1)
                return -ENOMEM;
        return 0;
}

int table_watch_new(struct event_base *base, const char *table, table_watch_fn on_gone, void *context,
                    struct table_watch **ret)
{
        struct table_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->table = table;
        watch->on_gone = on_gone;
        watch->context = context;
        r = start(watch, base);
        if (r < 0) {
                table_watch_free(watch);
                return r;
        }
        *ret = watch;
        return 0;
}

void table_watch_free(struct table_watch *watch)
{
        if (watch == NULL)
                return;
        if (watch->retry != NULL)
                event_free(watch->retry);
        if (watch->readable != NULL)
                event_free(watch->readable);
        if (watch->socket != NULL)
                mnl_socket_close(watch->socket);
        free(watch);
}
