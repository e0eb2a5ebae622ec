#include "kernel/source_barrier.h"

#include <dirent.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/netlink.h"
#include "kernel/routing_request.h"

#define GOTO_PRIORITY SOURCE_BARRIER_PRIORITY
#define FROM_PRIORITY (SOURCE_BARRIER_PRIORITY + 1)
#define TARGET_PRIORITY (SOURCE_BARRIER_PRIORITY + 2)
#define MAX_PREFIXES 100000 /* read back; the configuration allows 10,000 a cluster */
#define DUMP_ATTEMPTS 8
#define RP_FILTER_DIRECTORY "/proc/sys/net/ipv4/conf"

static const uint8_t families[] = { AF_INET, AF_INET6 };

/* A list of prefixes that rules are about. */
struct prefixes {
        struct net_prefix *items; /* owned */
        size_t count;
        size_t capacity;
        bool failed; /* out of memory, or too many */
};

static struct fib_rule_hdr *rule_begin(struct routing_request *request, uint16_t type, uint16_t flags, uint8_t family,
                                       uint32_t priority, struct nlmsghdr **ret)
{
        struct nlmsghdr *header = routing_request_begin(request, type, flags);
        struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(header, sizeof(*rule));

        rule->family = family;
        mnl_attr_put_u32(header, FRA_PRIORITY, priority);
        *ret = header;
        return rule;
}

/* The ways around the barrier: for what the table has marked, and for what this machine sends (as `iif lo` means). */
enum way {
        WAY_MARKED = 0,
        WAY_LOCAL,
        WAYS, /* must be last */
};

/* mark 0: whichever it is. */
static int change_way(uint16_t type, uint16_t flags, uint8_t family, enum way way, uint32_t mark)
{
        struct routing_request request;
        struct nlmsghdr *header;
        struct fib_rule_hdr *rule = rule_begin(&request, type, flags, family, GOTO_PRIORITY, &header);

        rule->action = FR_ACT_GOTO;
        mnl_attr_put_u32(header, FRA_GOTO, TARGET_PRIORITY);
        if (way == WAY_LOCAL)
                mnl_attr_put_strz(header, FRA_IIFNAME, "lo");
        else if (mark != 0) {
                mnl_attr_put_u32(header, FRA_FWMARK, mark);
                mnl_attr_put_u32(header, FRA_FWMASK, UINT32_MAX);
        }
        return netlink_request(NETLINK_ROUTE, header, NULL, NULL);
}

static int change_target(uint16_t type, uint16_t flags, uint8_t family)
{
        struct routing_request request;
        struct nlmsghdr *header;

        rule_begin(&request, type, flags, family, TARGET_PRIORITY, &header)->action = FR_ACT_NOP;
        return netlink_request(NETLINK_ROUTE, header, NULL, NULL);
}

static int change_prefix(uint16_t type, uint16_t flags, const struct net_prefix *prefix)
{
        struct routing_request request;
        struct nlmsghdr *header;
        struct fib_rule_hdr *rule = rule_begin(&request, type, flags, prefix->address.family, FROM_PRIORITY, &header);

        rule->action = FR_ACT_UNREACHABLE;
        rule->src_len = prefix->length;
        if (prefix->length > 0)
                mnl_attr_put(header, FRA_SRC, prefix->address.family == AF_INET ? 4 : 16, prefix->address.bytes);
        return netlink_request(NETLINK_ROUTE, header, NULL, NULL);
}

/* What is there. */

static void add_prefix(struct prefixes *prefixes, const struct net_prefix *prefix)
{
        if (prefixes->count == prefixes->capacity) {
                size_t capacity = prefixes->capacity == 0 ? 16 : prefixes->capacity * 2;
                struct net_prefix *items =
                        capacity > MAX_PREFIXES ? NULL : reallocarray(prefixes->items, capacity, sizeof(*items));
                if (items == NULL) {
                        prefixes->failed = true;
                        return;
                }
                prefixes->items = items;
                prefixes->capacity = capacity;
        }
        prefixes->items[prefixes->count++] = *prefix;
}

static int on_rule(const struct nlmsghdr *header, void *context)
{
        const struct fib_rule_hdr *rule = mnl_nlmsg_get_payload(header);
        struct net_prefix prefix = { .address.family = rule->family, .length = rule->src_len };
        size_t size = rule->family == AF_INET ? 4 : 16;
        struct nlattr *attribute;
        bool is_ours = false;

        mnl_attr_for_each(attribute, header, sizeof(*rule))
        {
                uint16_t type = mnl_attr_get_type(attribute);
                if (type == FRA_PRIORITY && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0)
                        is_ours = mnl_attr_get_u32(attribute) == FROM_PRIORITY && rule->action == FR_ACT_UNREACHABLE;
                if (type == FRA_SRC && mnl_attr_get_payload_len(attribute) == size)
                        memcpy(prefix.address.bytes, mnl_attr_get_payload(attribute), size);
        }
        if (is_ours)
                add_prefix(context, &prefix);
        return MNL_CB_OK;
}

static int read_family(uint8_t family, struct prefixes *ret)
{
        struct routing_request request;
        int r = -EINTR;

        for (unsigned attempt = 0; attempt < DUMP_ATTEMPTS && r == -EINTR; attempt++) {
                struct nlmsghdr *header = mnl_nlmsg_put_header(request.bytes);
                struct fib_rule_hdr *rule;
                header->nlmsg_type = RTM_GETRULE;
                header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
                rule = mnl_nlmsg_put_extra_header(header, sizeof(*rule));
                rule->family = family;
                ret->count = 0;
                r = netlink_request(NETLINK_ROUTE, header, on_rule, ret);
        }
        return r == 0 && ret->failed ? -ENOMEM : r;
}

static bool contains(const struct net_prefix *prefixes, size_t count, const struct net_prefix *wanted)
{
        for (size_t i = 0; i < count; i++)
                if (prefixes[i].length == wanted->length && net_address_equal(&prefixes[i].address, &wanted->address))
                        return true;
        return false;
}

/* The reverse path filter. */

/* Writes the name of an interface on which the filter is on; false: on none. */
static bool find_filtering_interface(char name[32])
{
        DIR *directory = opendir(RP_FILTER_DIRECTORY);
        const struct dirent *entry;
        bool found = false;

        while (directory != NULL && !found && (entry = readdir(directory)) != NULL) {
                char path[sizeof(RP_FILTER_DIRECTORY) + 32 + sizeof("/rp_filter")];
                unsigned value = 0;
                if (entry->d_name[0] == '.' || strcmp(entry->d_name, "default") == 0)
                        continue;
                snprintf(path, sizeof(path), RP_FILTER_DIRECTORY "/%.31s/rp_filter", entry->d_name);
                FILE *stream = fopen(path, "re");
                found = stream != NULL && fscanf(stream, "%u", &value) == 1 && value != 0;
                if (stream != NULL)
                        (void)fclose(stream);
                if (found)
                        snprintf(name, 32, "%.31s", entry->d_name);
        }
        if (directory != NULL)
                (void)closedir(directory);
        return found;
}

/* Changing it. */

static int fail(int code, const char *what, uint8_t family, char *error, size_t error_size)
{
        snprintf(error, error_size, "routing barrier for %s: %s: %s", family == AF_INET ? "IPv4" : "IPv6", what,
                 strerror(-code));
        return code;
}

static int remove_unwanted(const struct prefixes *present, const struct net_prefix *wanted, size_t count)
{
        int r = 0;

        for (size_t i = 0; i < present->count && r == 0; i++) {
                if (contains(wanted, count, &present->items[i]))
                        continue;
                r = change_prefix(RTM_DELRULE, 0, &present->items[i]);
                if (routing_request_found_nothing(r))
                        r = 0;
        }
        return r;
}

/* Returns 0: both were there, 1: one was not, or -errno. */
static int add_ways(uint8_t family, uint32_t mark)
{
        int missing = 0;

        for (enum way way = 0; way < WAYS; way++) {
                int r = change_way(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, way, mark);
                if (r < 0 && r != -EEXIST)
                        return r;
                missing |= r == 0 ? 1 : 0;
        }
        return missing;
}

static int remove_ways(uint8_t family)
{
        int r = 0;

        for (enum way way = WAYS; way > 0 && (r == 0 || routing_request_found_nothing(r)); way--)
                r = change_way(RTM_DELRULE, 0, family, way - 1, 0);
        return routing_request_found_nothing(r) ? 0 : r;
}

static int add_missing(const struct prefixes *present, uint8_t family, const struct net_prefix *wanted, size_t count)
{
        bool was_missing = false;

        for (size_t i = 0; i < count; i++) {
                if (wanted[i].address.family != family || contains(present->items, present->count, &wanted[i]))
                        continue;
                int r = change_prefix(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &wanted[i]);
                if (r < 0 && r != -EEXIST)
                        return r;
                was_missing = was_missing || r == 0;
        }
        return was_missing ? 1 : 0;
}

static int set_family(uint8_t family, uint32_t mark, const struct net_prefix *wanted, size_t count, char *error,
                      size_t error_size)
{
        struct prefixes present = { 0 };
        int r = read_family(family, &present), missing = 0;

        if (routing_request_family_is_off(family, r)) {
                free(present.items);
                return 0;
        }
        /* The target before who jumps to it, and the way around the barrier before the barrier. */
        if (r == 0)
                r = change_target(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family);
        if (r == 0 || r == -EEXIST)
                r = add_ways(family, mark);
        missing = r > 0 ? 1 : 0;
        if (r >= 0)
                r = add_missing(&present, family, wanted, count);
        missing |= r > 0 ? 1 : 0;
        if (r >= 0)
                r = remove_unwanted(&present, wanted, count);
        free(present.items);
        return r < 0 ? fail(r, "changing its rules", family, error, error_size) : missing;
}

/*
 * Every prefix, that of all addresses as its two halves: the kernel takes a rule without a source for any of its priority
 * when it is to add it (NLM_F_EXCL) or to remove it. Returns how many there are; there is room for twice as many as came.
 */
static size_t split_widest(const struct net_prefix *prefixes, size_t count, struct net_prefix *ret)
{
        size_t split_count = 0;

        for (size_t i = 0; i < count; i++) {
                ret[split_count] = prefixes[i];
                if (prefixes[i].length == 0) {
                        ret[split_count].length = 1;
                        ret[split_count + 1] = ret[split_count];
                        ret[++split_count].address.bytes[0] = 0x80;
                }
                split_count++;
        }
        return split_count;
}

int source_barrier_set(uint32_t mark, const struct net_prefix *prefixes, size_t count, char *error, size_t error_size)
{
        char interface[32];
        struct net_prefix wanted[2 * SOURCE_BARRIER_MAX];
        bool filtering = find_filtering_interface(interface), fits = count <= SOURCE_BARRIER_MAX;
        size_t wanted_count = split_widest(prefixes, fits ? count : 0, wanted);
        int missing = 0;

        for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
                bool may_be = !(families[i] == AF_INET && filtering);
                int r = set_family(families[i], mark, wanted, may_be ? wanted_count : 0, error, error_size);
                if (r < 0)
                        return r;
                missing |= r;
        }
        if (!fits) {
                snprintf(error, error_size, "no routing barrier: %zu source prefixes, at most %d can be behind it",
                         count, SOURCE_BARRIER_MAX);
                return -E2BIG;
        }
        if (!filtering)
                return missing;
        snprintf(error, error_size,
                 "no routing barrier for IPv4: net.ipv4.conf.%s.rp_filter is on, and would drop answers; set it to 0",
                 interface);
        return -EOPNOTSUPP;
}

static int remove_family(uint8_t family, char *error, size_t error_size)
{
        struct prefixes present = { 0 };
        int r = read_family(family, &present);

        if (r == 0)
                r = remove_unwanted(&present, NULL, 0);
        free(present.items);
        if (r == 0)
                r = remove_ways(family);
        if (r == 0)
                r = change_target(RTM_DELRULE, 0, family);
        if (r == 0 || routing_request_found_nothing(r) || routing_request_family_is_off(family, r))
                return 0;
        return fail(r, "removing its rules", family, error, error_size);
}

int source_barrier_remove(char *error, size_t error_size)
{
        int r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++)
                r = remove_family(families[i], error, error_size);
        return r;
}
