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
#include "kernel/netlink_watch.h"

#define DATAGRAMS_PER_TURN 64
#define RETRY_S 1

struct table_watch {
        struct netlink_watch *messages;
        struct event *retry;
        const char *table; /* borrowed, see the header */
        table_watch_fn on_harm;
        void *context;
        const char *owner; /* likewise */
        bool touched;      /* the transaction that is being told changes something in the table */
        bool changed;      /* the rules, since the kernel was asked */
        bool harmed;       /* it answered that there is no such table, or another program changed it */
};

/* Every message about a table, chain, rule, set or element has the table's name as its attribute 1. */
static bool is_about_table(const struct table_watch *watch, const struct nlmsghdr *header)
{
        const struct nfgenmsg *message = mnl_nlmsg_get_payload(header);
        struct nlattr *attribute;

        if (message->nfgen_family != NFPROTO_INET)
                return false;
        mnl_attr_for_each(attribute, header, sizeof(*message))
        {
                if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME)
                        return mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 &&
                               strcmp(mnl_attr_get_str(attribute), watch->table) == 0;
        }
        return false;
}

/* The end of a transaction says who made it. */
static bool is_by_owner(const struct table_watch *watch, const struct nlmsghdr *header)
{
        struct nlattr *attribute;

        mnl_attr_for_each(attribute, header, sizeof(struct nfgenmsg))
        {
                if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_NAME)
                        return mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 &&
                               strcmp(mnl_attr_get_str(attribute), watch->owner) == 0;
        }
        return false;
}

/* A transaction with many changes is told change by change; one message ends it. */
static int on_message(const struct nlmsghdr *header, void *context)
{
        struct table_watch *watch = context;

        if (header->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES)
                return MNL_CB_OK;
        if (header->nlmsg_pid == mnl_socket_get_portid(netlink_watch_socket(watch->messages)))
                return MNL_CB_OK; /* The answer to what was asked. */
        if ((header->nlmsg_type & 0xff) == NFT_MSG_DELSETELEM)
                return MNL_CB_OK; /* Elements run out by themselves, without a transaction. */
        if ((header->nlmsg_type & 0xff) != NFT_MSG_NEWGEN) {
                watch->touched = watch->touched || is_about_table(watch, header);
                return MNL_CB_OK;
        }
        watch->changed = true;
        watch->harmed = watch->harmed || (watch->touched && !is_by_owner(watch, header));
        watch->touched = false;
        return MNL_CB_OK;
}

/* The answer comes as any other message: the table, which on_message passes over, or the error ENOENT. */
static void ask(struct table_watch *watch)
{
        static const struct timeval delay = { .tv_sec = RETRY_S };
        char bytes[256] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
        struct nfgenmsg *message;
        int r;

        header->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
        header->nlmsg_flags = NLM_F_REQUEST;
        message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
        message->nfgen_family = NFPROTO_INET;
        message->version = NFNETLINK_V0;
        mnl_attr_put_strz(header, NFTA_TABLE_NAME, watch->table);
        watch->changed = false;
        r = netlink_watch_send(watch->messages, header);
        if (r == 0)
                return;
        log_error("whether the nftables table inet %s is still there could not be asked: %s; asking again",
                  watch->table, strerror(-r));
        event_add(watch->retry, &delay);
}

/* What was lost may have told of a change, or been the answer. */
static void on_lost(void *context)
{
        struct table_watch *watch = context;

        watch->changed = true;
        watch->touched = false; /* Whose transaction it was nobody will say. */
}

static void on_error(int error, void *context)
{
        struct table_watch *watch = context;

        watch->harmed |= error == ENOENT;
}

static void on_turn_end(void *context)
{
        static const struct timeval delay = { .tv_sec = RETRY_S };
        struct table_watch *watch = context;

        if (!watch->harmed) {
                if (watch->changed)
                        ask(watch);
                return;
        }
        watch->harmed = false; /* What is put back is a change, too, and asked about then. */
        if (watch->on_harm(watch->context) < 0)
                event_add(watch->retry, &delay);
}

static void on_retry(evutil_socket_t descriptor, short events, void *context)
{
        (void)descriptor;
        (void)events;
        ask(context);
}

static const struct netlink_watch_handlers handlers = {
        .on_message = on_message,
        .on_lost = on_lost,
        .on_error = on_error,
        .on_turn_end = on_turn_end,
};

static int start(struct table_watch *watch, struct event_base *base)
{
        int r;

        watch->retry = event_new(base, -1, 0, on_retry, watch);
        if (watch->retry == NULL)
                return -ENOMEM;
        r = netlink_watch_new(base, NETLINK_NETFILTER, DATAGRAMS_PER_TURN, &handlers, watch, &watch->messages);
        return r < 0 ? r : netlink_watch_join(watch->messages, NFNLGRP_NFTABLES);
}

int table_watch_new(struct event_base *base, const char *table, const char *owner, table_watch_fn on_harm,
                    void *context, struct table_watch **ret)
{
        struct table_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->table = table;
        watch->owner = owner;
        watch->on_harm = on_harm;
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
        netlink_watch_free(watch->messages);
        if (watch->retry != NULL)
                event_free(watch->retry);
        free(watch);
}
