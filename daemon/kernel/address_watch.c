#include "kernel/address_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"

#define BUFFER_SIZE 32768  /* netlink dumps come in pieces of at most this (linux/netlink.h) */
#define MAX_ADDRESSES 8192 /* Azure gives a NIC 256; more than this is no NVA */

/* An address on one interface; the same address may be on several. */
struct watched_address {
        struct net_prefix prefix; /* with the address's own bits, unlike a proper prefix */
        unsigned interface;
};

struct address_list {
        struct watched_address *items;
        size_t count;
};

struct address_watch {
        struct mnl_socket *socket;
        struct event *readable;
        address_watch_fn on_change;
        void *context;
        struct address_list now;
        struct address_list dumped; /* while a dump is read */
        unsigned sequence;
};

static bool list_has(const struct address_list *list, const struct net_address *address)
{
        for (size_t i = 0; i < list->count; i++)
                if (net_address_equal(&list->items[i].prefix.address, address))
                        return true;
        return false;
}

static size_t list_find(const struct address_list *list, const struct watched_address *wanted)
{
        for (size_t i = 0; i < list->count; i++)
                if (list->items[i].interface == wanted->interface &&
                    net_address_equal(&list->items[i].prefix.address, &wanted->prefix.address))
                        return i;
        return list->count;
}

/* Already there: does nothing. Full or out of memory: the address is not known, and so not used. */
static void list_add(struct address_list *list, const struct watched_address *added)
{
        if (list_find(list, added) < list->count)
                return;
        if (list->count == MAX_ADDRESSES) {
                log_error("more than %d addresses on the network interfaces, not watching the others", MAX_ADDRESSES);
                return;
        }
        struct watched_address *items = reallocarray(list->items, list->count + 1, sizeof(*items));
        if (items == NULL) {
                log_error("out of memory, a new address on a network interface stays unknown");
                return;
        }
        items[list->count++] = *added;
        list->items = items;
}

static void list_remove(struct address_list *list, const struct watched_address *removed)
{
        size_t i = list_find(list, removed);

        if (i < list->count)
                list->items[i] = list->items[--list->count];
}

static void list_clear(struct address_list *list)
{
        free(list->items);
        *list = (struct address_list){ 0 };
}

struct parsed_address {
        struct watched_address address;
        uint32_t flags;
        bool has_local;
};

static int on_attribute(const struct nlattr *attribute, void *context)
{
        struct parsed_address *parsed = context;
        uint16_t type = mnl_attr_get_type(attribute);
        size_t size = parsed->address.prefix.address.family == AF_INET ? 4 : 16;

        if (type == IFA_FLAGS && mnl_attr_get_payload_len(attribute) == sizeof(parsed->flags))
                parsed->flags = mnl_attr_get_u32(attribute);
        /* IFA_ADDRESS is the peer's on a point-to-point link, IFA_LOCAL always ours (linux/if_addr.h). */
        if ((type != IFA_LOCAL && (type != IFA_ADDRESS || parsed->has_local)) ||
            mnl_attr_get_payload_len(attribute) != size)
                return MNL_CB_OK;
        parsed->has_local = parsed->has_local || type == IFA_LOCAL;
        memcpy(parsed->address.prefix.address.bytes, mnl_attr_get_payload(attribute), size);
        return MNL_CB_OK;
}

/* Writes the address of an RTM_NEWADDR or RTM_DELADDR; false: not one, or not usable as a source (yet). */
static bool parse_address(const struct nlmsghdr *message, struct watched_address *ret)
{
        const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
        struct parsed_address parsed = {
                .address = { .prefix = { .address = { .family = header->ifa_family }, .length = header->ifa_prefixlen },
                             .interface = header->ifa_index },
                .flags = header->ifa_flags,
        };

        if (header->ifa_family != AF_INET && header->ifa_family != AF_INET6)
                return false;
        if (mnl_attr_parse(message, sizeof(*header), on_attribute, &parsed) < 0)
                return false;
        *ret = parsed.address;
        return message->nlmsg_type == RTM_DELADDR || (parsed.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0;
}

static int on_dumped(const struct nlmsghdr *message, void *context)
{
        struct address_watch *watch = context;
        struct watched_address address;

        if (message->nlmsg_type == RTM_NEWADDR && parse_address(message, &address))
                list_add(&watch->dumped, &address);
        return MNL_CB_OK;
}

static int on_changed(const struct nlmsghdr *message, void *context)
{
        struct address_watch *watch = context;
        struct watched_address address;

        if ((message->nlmsg_type != RTM_NEWADDR && message->nlmsg_type != RTM_DELADDR) ||
            !parse_address(message, &address))
                return MNL_CB_OK;
        bool before = list_has(&watch->now, &address.prefix.address);
        if (message->nlmsg_type == RTM_NEWADDR)
                list_add(&watch->now, &address);
        else
                list_remove(&watch->now, &address);
        bool after = list_has(&watch->now, &address.prefix.address);
        if (before != after)
                watch->on_change(&address.prefix.address, after, watch->context);
        return MNL_CB_OK;
}

/* Reads every address through a socket of its own, so that changes in between are not lost. */
static int dump_addresses(struct address_watch *watch)
{
        char buffer[BUFFER_SIZE];
        struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
        struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
        ssize_t length = 0;
        int r = -1;

        if (socket == NULL)
                return -errno;
        message->nlmsg_type = RTM_GETADDR;
        message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        message->nlmsg_seq = ++watch->sequence;
        ((struct ifaddrmsg *)mnl_nlmsg_put_extra_header(message, sizeof(struct ifaddrmsg)))->ifa_family = AF_UNSPEC;
        if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
            mnl_socket_sendto(socket, message, message->nlmsg_len) >= 0)
                r = MNL_CB_OK;
        while (r > MNL_CB_STOP) {
                length = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));
                r = length < 0 ? -1
                               : mnl_cb_run(buffer, (size_t)length, watch->sequence, mnl_socket_get_portid(socket),
                                            on_dumped, watch);
        }
        int error = errno;
        mnl_socket_close(socket);
        return r < 0 ? -error : 0;
}

static void report_differences(struct address_watch *watch, const struct address_list *from,
                               const struct address_list *to, bool present)
{
        for (size_t i = 0; i < to->count; i++)
                if (!list_has(from, &to->items[i].prefix.address))
                        watch->on_change(&to->items[i].prefix.address, present, watch->context);
}

/* Reads everything anew and reports what is different from before. */
static int refresh(struct address_watch *watch)
{
        struct address_list before = watch->now;
        int r = dump_addresses(watch);

        if (r < 0) {
                list_clear(&watch->dumped);
                return r;
        }
        watch->now = watch->dumped;
        watch->dumped = (struct address_list){ 0 };
        report_differences(watch, &before, &watch->now, true);
        report_differences(watch, &watch->now, &before, false);
        list_clear(&before);
        return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
        struct address_watch *watch = context;
        char buffer[BUFFER_SIZE];

        (void)fd;
        (void)what;
        ssize_t length = mnl_socket_recvfrom(watch->socket, buffer, sizeof(buffer));
        if (length > 0) {
                (void)mnl_cb_run(buffer, (size_t)length, 0, 0, on_changed, watch); /* A malformed message is skipped. */
                return;
        }
        if (length < 0 && errno == ENOBUFS) {
                int r = refresh(watch);
                if (r < 0)
                        log_error("cannot read the network interfaces' addresses: %s, going on with those known",
                                  strerror(-r));
        }
}

static int open_socket(struct address_watch *watch, struct event_base *base)
{
        watch->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (watch->socket == NULL ||
            mnl_socket_bind(watch->socket, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, MNL_SOCKET_AUTOPID) == -1)
                return -errno;
        watch->readable = event_new(base, mnl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST, on_readable, watch);
        if (watch->readable == NULL || event_add(watch->readable, NULL) == -1)
                return -ENOMEM;
        return 0;
}

int address_watch_new(struct event_base *base, address_watch_fn on_change, void *context, struct address_watch **ret)
{
        struct address_watch *watch = calloc(1, sizeof(*watch));

        if (watch == NULL)
                return -ENOMEM;
        watch->on_change = on_change;
        watch->context = context;
        int r = open_socket(watch, base);
        if (r == 0)
                r = refresh(watch);
        if (r < 0) {
                address_watch_free(watch);
                return r;
        }
        *ret = watch;
        return 0;
}

void address_watch_free(struct address_watch *watch)
{
        if (watch == NULL)
                return;
        if (watch->readable != NULL)
                event_free(watch->readable);
        if (watch->socket != NULL)
                mnl_socket_close(watch->socket);
        list_clear(&watch->now);
        free(watch);
}

/* Every address of a prefix on the loopback interface is local, listed or not (127.0.0.1/8). */
static bool in_loopback_prefix(const struct watched_address *watched, const struct net_address *address)
{
        struct net_prefix loopback = { .address = { .family = AF_INET, .bytes = { 127 } }, .length = 8 };

        return net_prefix_contains(&loopback, &watched->prefix.address) && watched->prefix.length <= 8 &&
               net_prefix_contains(&loopback, address);
}

bool address_watch_has(const struct address_watch *watch, const struct net_address *address)
{
        for (size_t i = 0; i < watch->now.count; i++)
                if (net_address_equal(&watch->now.items[i].prefix.address, address) ||
                    in_loopback_prefix(&watch->now.items[i], address))
                        return true;
        return false;
}
