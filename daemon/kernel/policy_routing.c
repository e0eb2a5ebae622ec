#include "kernel/policy_routing.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "kernel/netlink.h"
#include "kernel/routing_request.h"

/* strerror, and what helps against the likeliest one. */
static const char *explain(int code)
{
        return code == -EPERM ? "Operation not permitted (needs CAP_NET_ADMIN)" : strerror(-code);
}

static int fail(char *error, size_t error_size, int code, const char *format, ...) PRINTF_LIKE(4, 5);

static int fail(char *error, size_t error_size, int code, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(error, error_size, format, arguments);
        va_end(arguments);
        return code;
}

static const char *family_name(uint8_t family)
{
        return family == AF_INET ? "IPv4" : "IPv6";
}

static int change_rule(uint8_t family, uint16_t type, uint16_t flags, uint32_t mark)
{
        struct routing_request request;
        struct nlmsghdr *header = routing_request_begin(&request, type, flags);
        struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(header, sizeof(*rule));

        rule->family = family;
        rule->action = FR_ACT_TO_TBL;
        mnl_attr_put_u32(header, FRA_PRIORITY, POLICY_ROUTING_PRIORITY);
        mnl_attr_put_u32(header, FRA_FWMARK, mark);
        mnl_attr_put_u32(header, FRA_FWMASK, UINT32_MAX);
        mnl_attr_put_u32(header, FRA_TABLE, POLICY_ROUTING_TABLE);
        return netlink_request(NETLINK_ROUTE, header, NULL, NULL);
}

/* `local default dev lo table TABLE` */
static int change_route(uint8_t family, uint16_t type, uint16_t flags)
{
        struct routing_request request;
        struct nlmsghdr *header = routing_request_begin(&request, type, flags);
        struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));

        route->rtm_family = family;
        route->rtm_protocol = RTPROT_STATIC;
        route->rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
        route->rtm_type = RTN_LOCAL;
        mnl_attr_put_u32(header, RTA_TABLE, POLICY_ROUTING_TABLE);
        mnl_attr_put_u32(header, RTA_OIF, if_nametoindex("lo"));
        return netlink_request(NETLINK_ROUTE, header, NULL, NULL);
}

static int on_route(const struct nlmsghdr *header, void *context)
{
        const struct rtmsg *route = mnl_nlmsg_get_payload(header);
        bool *is_local = context;

        *is_local = route->rtm_type == RTN_LOCAL;
        return MNL_CB_OK;
}

/* Asks the kernel where it would send a marked packet to a documentation address (RFC 5737, RFC 3849): it must stay here. */
static int look_up(uint8_t family, uint32_t mark, bool *ret_is_local)
{
        static const uint8_t ipv4[4] = { 192, 0, 2, 1 };
        static const uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
        struct routing_request request;
        struct nlmsghdr *header = routing_request_begin(&request, RTM_GETROUTE, 0);
        struct rtmsg *route = mnl_nlmsg_put_extra_header(header, sizeof(*route));

        *ret_is_local = false;
        route->rtm_family = family;
        route->rtm_dst_len = family == AF_INET ? 32 : 128;
        if (family == AF_INET)
                mnl_attr_put(header, RTA_DST, sizeof(ipv4), ipv4);
        else
                mnl_attr_put(header, RTA_DST, sizeof(ipv6), ipv6);
        mnl_attr_put_u32(header, RTA_MARK, mark);
        return netlink_request(NETLINK_ROUTE, header, on_route, ret_is_local);
}

static int verify(uint8_t family, uint32_t mark, char *error, size_t error_size)
{
        bool is_local;
        int r = look_up(family, mark, &is_local);

        if (r < 0)
                return fail(error, error_size, r, "policy routing for %s: reading it back: %s", family_name(family),
                            explain(r));
        if (!is_local)
                return fail(error, error_size, -EEXIST,
                            "policy routing for %s: packets with mark 0x%x are not delivered locally: another rule "
                            "before priority %d, "
                            "or another route in table %d, decides first",
                            family_name(family), mark, POLICY_ROUTING_PRIORITY, POLICY_ROUTING_TABLE);
        return 0;
}

static int ensure_family(uint8_t family, uint32_t mark, char *error, size_t error_size)
{
        int r = change_route(family, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
        bool was_missing = r == 0;

        if (routing_request_family_is_off(family, r))
                return 0;
        if (r < 0 && r != -EEXIST)
                return fail(error, error_size, r,
                            "policy routing for %s: adding the route 'local default dev lo table %d': %s",
                            family_name(family), POLICY_ROUTING_TABLE, explain(r));
        r = change_rule(family, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, mark);
        if (r < 0 && r != -EEXIST)
                return fail(error, error_size, r, "policy routing for %s: adding the rule 'fwmark 0x%x lookup %d': %s",
                            family_name(family), mark, POLICY_ROUTING_TABLE, explain(r));
        was_missing = was_missing || r == 0;
        r = verify(family, mark, error, error_size);
        return r == 0 && was_missing ? 1 : r;
}

int policy_routing_ensure(uint32_t mark, char *error, size_t error_size)
{
        int ipv4 = ensure_family(AF_INET, mark, error, error_size);
        int ipv6 = ipv4 < 0 ? 0 : ensure_family(AF_INET6, mark, error, error_size);

        return ipv4 < 0 || ipv6 < 0 ? (ipv4 < 0 ? ipv4 : ipv6) : ipv4 | ipv6;
}

static int remove_family(uint8_t family, uint32_t mark, char *error, size_t error_size)
{
        int r = change_rule(family, RTM_DELRULE, 0, mark);

        if (r < 0 && !routing_request_found_nothing(r) && !routing_request_family_is_off(family, r))
                return fail(error, error_size, r, "policy routing for %s: removing the rule: %s", family_name(family),
                            explain(r));
        r = change_route(family, RTM_DELROUTE, 0);
        if (r < 0 && !routing_request_found_nothing(r) && !routing_request_family_is_off(family, r))
                return fail(error, error_size, r, "policy routing for %s: removing the route: %s", family_name(family),
                            explain(r));
        return 0;
}

int policy_routing_remove(uint32_t mark, char *error, size_t error_size)
{
        int r = remove_family(AF_INET, mark, error, error_size);

        return r < 0 ? r : remove_family(AF_INET6, mark, error, error_size);
}
