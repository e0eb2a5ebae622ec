#include "kernel/policy_routing.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BUFFER_SIZE 8192 /* more than MNL_SOCKET_BUFFER_SIZE, which is not a constant */

/* One netlink request and its answer. */
struct exchange {
        struct mnl_socket *socket; /* borrowed */
        unsigned sequence;
        char buffer[BUFFER_SIZE];
};

static struct nlmsghdr *start_message(struct exchange *exchange, uint16_t type, uint16_t flags)
{
        struct nlmsghdr *message = mnl_nlmsg_put_header(exchange->buffer);

        message->nlmsg_type = type;
        message->nlmsg_flags = NLM_F_REQUEST | flags;
        message->nlmsg_seq = ++exchange->sequence;
        return message;
}

/* Sends the message and waits for its acknowledgement or its one answer, which stays in the buffer. 0 or -Exxx. */
static int finish_message(struct exchange *exchange, const struct nlmsghdr *message, mnl_cb_t on_answer, void *context)
{
        unsigned port = mnl_socket_get_portid(exchange->socket);

        if (mnl_socket_sendto(exchange->socket, message, message->nlmsg_len) == -1)
                return -errno;
        ssize_t length = mnl_socket_recvfrom(exchange->socket, exchange->buffer, sizeof(exchange->buffer));
        if (length == -1)
                return -errno;
        int r = mnl_cb_run(exchange->buffer, (size_t)length, exchange->sequence, port, on_answer, context);
        return r == -1 ? -errno : 0;
}

/* ip rule: fwmark mark lookup table. */
static int change_rule(struct exchange *exchange, int family, uint32_t mark, bool add)
{
        struct nlmsghdr *message = start_message(exchange, add ? RTM_NEWRULE : RTM_DELRULE,
                                                 NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0));
        struct fib_rule_hdr *rule = mnl_nlmsg_put_extra_header(message, sizeof(*rule));

        rule->family = (uint8_t)family;
        rule->action = FR_ACT_TO_TBL;
        mnl_attr_put_u32(message, FRA_PRIORITY, POLICY_ROUTING_PRIORITY);
        mnl_attr_put_u32(message, FRA_FWMARK, mark);
        mnl_attr_put_u32(message, FRA_FWMASK, UINT32_MAX);
        mnl_attr_put_u32(message, FRA_TABLE, POLICY_ROUTING_TABLE);
        return finish_message(exchange, message, NULL, NULL);
}

/* ip route: local default dev lo table. */
static int change_route(struct exchange *exchange, int family, bool add)
{
        struct nlmsghdr *message = start_message(exchange, add ? RTM_NEWROUTE : RTM_DELROUTE,
                                                 NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0));
        struct rtmsg *route = mnl_nlmsg_put_extra_header(message, sizeof(*route));

        route->rtm_family = (uint8_t)family;
        route->rtm_table = RT_TABLE_UNSPEC; /* the number is in RTA_TABLE: it does not fit here */
        route->rtm_protocol = RTPROT_STATIC;
        route->rtm_scope = family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
        route->rtm_type = RTN_LOCAL;
        mnl_attr_put_u32(message, RTA_TABLE, POLICY_ROUTING_TABLE);
        mnl_attr_put_u32(message, RTA_OIF, if_nametoindex("lo"));
        return finish_message(exchange, message, NULL, NULL);
}

static int on_route(const struct nlmsghdr *message, void *context)
{
        const struct rtmsg *route = mnl_nlmsg_get_payload(message);
        uint8_t *type = context;

        if (message->nlmsg_type == RTM_NEWROUTE)
                *type = route->rtm_type;
        return MNL_CB_OK;
}

/* Asks the kernel where a marked packet to somewhere would go: -EEXIST when a stronger rule sends it elsewhere. */
static int check_delivery(struct exchange *exchange, int family, uint32_t mark)
{
        static const uint8_t somewhere[2][16] = { { 192, 0, 2, 1 }, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
        struct nlmsghdr *message = start_message(exchange, RTM_GETROUTE, 0);
        struct rtmsg *route = mnl_nlmsg_put_extra_header(message, sizeof(*route));
        uint8_t type = RTN_UNSPEC;

        route->rtm_family = (uint8_t)family;
        route->rtm_dst_len = family == AF_INET ? 32 : 128;
        mnl_attr_put(message, RTA_DST, family == AF_INET ? 4 : 16, somewhere[family == AF_INET6]);
        mnl_attr_put_u32(message, RTA_MARK, mark);
        int r = finish_message(exchange, message, on_route, &type);
        if (r < 0)
                return r;
        return type == RTN_LOCAL ? 0 : -EEXIST;
}

static int ensure_family(struct exchange *exchange, int family, uint32_t mark)
{
        int r = change_route(exchange, family, true);

        if (r < 0 && r != -EEXIST)
                return r;
        r = change_rule(exchange, family, mark, true);
        if (r < 0 && r != -EEXIST)
                return r;
        return check_delivery(exchange, family, mark);
}

static int remove_family(struct exchange *exchange, int family, uint32_t mark)
{
        int r = change_rule(exchange, family, mark, false);

        if (r < 0 && r != -ENOENT)
                return r;
        r = change_route(exchange, family, false);
        return r == -ESRCH || r == -ENOENT ? 0 : r;
}

static bool family_is_off(int r)
{
        return r == -EAFNOSUPPORT || r == -EOPNOTSUPP;
}

static void describe_error(int family, int r, char *error, size_t error_size)
{
        const char *name = family == AF_INET ? "IPv4" : "IPv6";

        if (r == -EEXIST)
                snprintf(error, error_size,
                         "policy routing: %s packets with the steering mark are not delivered here: a rule before "
                         "priority %d or a route in table %d (ip rule, ip route) is stronger",
                         name, POLICY_ROUTING_PRIORITY, POLICY_ROUTING_TABLE);
        else
                snprintf(error, error_size, "policy routing: %s: %s%s", name, strerror(-r),
                         r == -EPERM ? " (needs CAP_NET_ADMIN)" : "");
}

typedef int (*family_fn)(struct exchange *exchange, int family, uint32_t mark);

static int for_both_families(family_fn change, uint32_t mark, char *error, size_t error_size)
{
        static const int families[] = { AF_INET, AF_INET6 };
        struct exchange exchange = { .socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC),
                                     .sequence = (unsigned)time(NULL) };
        int r = 0;

        if (exchange.socket == NULL || mnl_socket_bind(exchange.socket, 0, MNL_SOCKET_AUTOPID) == -1) {
                r = -errno;
                describe_error(AF_INET, r, error, error_size);
        }
        for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++) {
                r = change(&exchange, families[i], mark);
                if (families[i] == AF_INET6 && family_is_off(r))
                        r = 0;
                if (r < 0)
                        describe_error(families[i], r, error, error_size);
        }
        if (exchange.socket != NULL)
                mnl_socket_close(exchange.socket);
        return r;
}

int policy_routing_ensure(uint32_t mark, char *error, size_t error_size)
{
        return for_both_families(ensure_family, mark, error, error_size);
}

int policy_routing_remove(uint32_t mark, char *error, size_t error_size)
{
        return for_both_families(remove_family, mark, error, error_size);
}
