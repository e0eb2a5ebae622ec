#include "kernel/address_watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernel/netlink_watch.h"

#define DUMP_ATTEMPTS 8
#define MAX_ADDRESSES 8192 /* Azure gives an interface 256; more than this is no appliance of ours */
#define DATAGRAMS_PER_TURN 64

/* One address on one interface. The same address may be on several. */
struct entry {
        struct net_prefix prefix; /* address whole, with the length of its prefix */
        unsigned interface;
        bool seen; /* in the dump that is being read */
};

struct address_watch {
        struct netlink_watch *messages;
        address_watch_fn on_change;
        void *context;
        unsigned loopback; /* index of lo */
        struct entry *entries;
        size_t count;
        size_t capacity;
        bool lost; /* a change was not told or could not be kept: read everything anew */
};

static struct entry *find_entry(struct address_watch *watch, const struct entry *wanted)
{
        for (size_t i = 0; i < watch->count; i++)
                if (watch->entries[i].interface == wanted->interface &&
                    net_address_equal(&watch->entries[i].prefix.address, &wanted->prefix.address))
                        return &watch->entries[i];
        return NULL;
}

static bool is_on_any_interface(const struct address_watch *watch, const struct net_address *address)
{
        for (size_t i = 0; i < watch->count; i++)
                if (net_address_equal(&watch->entries[i].prefix.address, address))
                        return true;
        return false;
}

static bool make_room(struct address_watch *watch)
{
        size_t capacity = watch->capacity == 0 ? 16 : watch->capacity * 2;
        struct entry *entries;

        if (watch->count < watch->capacity)
                return true;
        if (watch->count >= MAX_ADDRESSES)
                return false;
        entries = reallocarray(watch->entries, capacity, sizeof(*entries));
        if (entries == NULL)
                return false;
        watch->entries = entries;
        watch->capacity = capacity;
        return true;
}

static void add_entry(struct address_watch *watch, const struct entry *entry)
{
        struct entry *known = find_entry(watch, entry);
        bool was_present = is_on_any_interface(watch, &entry->prefix.address);

        if (known != NULL) {
                *known = *entry;
                return;
        }
        if (!make_room(watch)) {
                watch->lost = true; /* Not known, and so not used. */
                return;
        }
        watch->entries[watch->count++] = *entry;
        if (!was_present)
                watch->on_change(&entry->prefix.address, true, watch->context);
}

static void remove_at(struct address_watch *watch, size_t index)
{
        struct net_address address = watch->entries[index].prefix.address;

        watch->entries[index] = watch->entries[--watch->count];
        if (!is_on_any_interface(watch, &address))
                watch->on_change(&address, false, watch->context);
}

static void remove_entry(struct address_watch *watch, const struct entry *entry)
{
        struct entry *known = find_entry(watch, entry);

        if (known != NULL)
                remove_at(watch, (size_t)(known - watch->entries));
}

/* What the attributes of one message say. */
struct address_attributes {
        const struct nlattr *address;
        const struct nlattr *local;
        const struct nlattr *flags;
};

static int on_attribute(const struct nlattr *attribute, void *context)
{
        struct address_attributes *attributes = context;

        switch (mnl_attr_get_type(attribute)) {
        case IFA_ADDRESS:
                attributes->address = attribute;
                break;
        case IFA_LOCAL:
                attributes->local = attribute;
                break;
        case IFA_FLAGS:
                attributes->flags = attribute;
                break;
        }
        return MNL_CB_OK;
}

/* IFA_LOCAL is our end; on links without a peer, and in IPv6, there may be IFA_ADDRESS alone (rtnetlink(7)). */
static bool read_entry(const struct ifaddrmsg *message, const struct address_attributes *attributes, struct entry *ret)
{
        const struct nlattr *address = attributes->local != NULL ? attributes->local : attributes->address;
        size_t size = message->ifa_family == AF_INET ? 4 : 16;

        if ((message->ifa_family != AF_INET && message->ifa_family != AF_INET6) || address == NULL ||
            mnl_attr_get_payload_len(address) != size)
                return false;
        *ret = (struct entry){ .interface = message->ifa_index, .seen = true };
        ret->prefix.length = message->ifa_prefixlen;
        ret->prefix.address.family = message->ifa_family;
        memcpy(ret->prefix.address.bytes, mnl_attr_get_payload(address), size);
        return true;
}

/* bind() to an IPv6 address fails until it is known that nobody else has it, which a further message tells. */
static bool is_usable(const struct ifaddrmsg *message, const struct address_attributes *attributes)
{
        uint32_t flags = attributes->flags != NULL && mnl_attr_get_payload_len(attributes->flags) == sizeof(uint32_t)
                                 ? mnl_attr_get_u32(attributes->flags)
                                 : message->ifa_flags;

        if ((flags & IFA_F_DADFAILED) != 0)
                return false;
        return (flags & IFA_F_TENTATIVE) == 0 || (flags & IFA_F_OPTIMISTIC) != 0;
}

static int on_message(const struct nlmsghdr *header, void *context)
{
        struct address_watch *watch = context;
        struct address_attributes attributes = { 0 };
        const struct ifaddrmsg *message = mnl_nlmsg_get_payload(header);
        struct entry entry;

        if (header->nlmsg_type != RTM_NEWADDR && header->nlmsg_type != RTM_DELADDR)
                return MNL_CB_OK;
        if (mnl_nlmsg_get_payload_len(header) < sizeof(*message) ||
            mnl_attr_parse(header, sizeof(*message), on_attribute, &attributes) == MNL_CB_ERROR ||
            !read_entry(message, &attributes, &entry))
                return MNL_CB_OK;
        if (header->nlmsg_type == RTM_NEWADDR && is_usable(message, &attributes))
                add_entry(watch, &entry);
        else
                remove_entry(watch, &entry);
        return MNL_CB_OK;
}

static int dump(struct address_watch *watch)
{
        char bytes[64] __attribute__((aligned(NLMSG_ALIGNTO)));
        int r = -EINTR;

        for (unsigned attempt = 0; attempt < DUMP_ATTEMPTS && r == -EINTR; attempt++) {
                struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
                struct ifaddrmsg *message;
                header->nlmsg_type = RTM_GETADDR;
                header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
                message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
                message->ifa_family = AF_UNSPEC;
                r = netlink_request(NETLINK_ROUTE, header, on_message, watch);
        }
        return r;
}

/* Reads all addresses and reports the differences. On failure what was known stays. */
static int read_all(struct address_watch *watch)
{
        int r;

        for (size_t i = 0; i < watch->count; i++)
                watch->entries[i].seen = false;
        watch->lost = false;
        r = dump(watch);
        if (r == 0 && watch->lost)
                r = watch->count >= MAX_ADDRESSES ? -E2BIG : -ENOMEM;
        if (r < 0)
                return r;
        for (size_t i = watch->count; i > 0; i--)
                if (!watch->entries[i - 1].seen)
                        remove_at(watch, i - 1);
        return 0;
}

static void on_lost(void *context)
{
        struct address_watch *watch = context;

        watch->lost = true;
}

static void on_turn_end(void *context)
{
        struct address_watch *watch = context;
        int r = 0;

        if (watch->lost)
                r = read_all(watch);
        if (r < 0) {
                watch->lost = true; /* Tried again with the next change. */
                log_error("addresses of the network interfaces could not be read: %s; keeping what was known",
                          strerror(-r));
        }
}

static const struct netlink_watch_handlers handlers = {
        .on_message = on_message,
        .on_lost = on_lost,
        .on_turn_end = on_turn_end,
};

static int start(struct address_watch *watch, struct event_base *base)
{
        int r = netlink_watch_new(base, NETLINK_ROUTE, DATAGRAMS_PER_TURN, &handlers, watch, &watch->messages);

        if (r == 0)
                r = netlink_watch_join(watch->messages, RTNLGRP_IPV4_IFADDR);
        if (r == 0)
                r = netlink_watch_join(watch->messages, RTNLGRP_IPV6_IFADDR);
        /* Subscribed before: a change during the dump is told again and means nothing the second time. */
        return r < 0 ? r : read_all(watch);
}

int address_watch_new(struct event_base *base, address_watch_fn on_change, void *context, struct address_watch **ret)
{
        struct address_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->on_change = on_change;
        watch->context = context;
        watch->loopback = if_nametoindex("lo");
        r = start(watch, base);
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
        netlink_watch_free(watch->messages);
        free(watch->entries);
        free(watch);
}

/* On lo, IPv4 takes every address of a prefix for local. */
static bool loopback_prefix_holds(const struct address_watch *watch, const struct entry *entry,
                                  const struct net_address *address)
{
        return entry->interface == watch->loopback && address->family == AF_INET &&
               net_prefix_contains(&entry->prefix, address);
}

bool address_watch_has(const struct address_watch *watch, const struct net_address *address)
{
        for (size_t i = 0; i < watch->count; i++)
                if (net_address_equal(&watch->entries[i].prefix.address, address) ||
                    loopback_prefix_holds(watch, &watch->entries[i], address))
                        return true;
        return false;
}
