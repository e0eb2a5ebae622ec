#include "kernel/flow.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <string.h>

static struct net_endpoint read_endpoint(const struct nf_conntrack *entry, uint8_t family, int ipv4, int ipv6, int port)
{
        struct net_endpoint endpoint = { .address = { .family = family } };
        const void *address = nfct_get_attr(entry, family == AF_INET ? ipv4 : ipv6);

        if (address != NULL)
                memcpy(endpoint.address.bytes, address, family == AF_INET ? 4 : 16);
        if (nfct_attr_is_set(entry, port) > 0)
                endpoint.port = ntohs(nfct_get_attr_u16(entry, port));
        return endpoint;
}

static enum flow_tcp read_tcp(const struct nf_conntrack *entry)
{
        if (nfct_attr_is_set(entry, ATTR_TCP_STATE) <= 0)
                return FLOW_TCP_UNKNOWN;
        switch (nfct_get_attr_u8(entry, ATTR_TCP_STATE)) {
        case TCP_CONNTRACK_SYN_SENT:
        case TCP_CONNTRACK_SYN_SENT2:
        case TCP_CONNTRACK_SYN_RECV:
                return FLOW_TCP_OPENING;
        case TCP_CONNTRACK_ESTABLISHED:
                return FLOW_TCP_OPEN;
        case TCP_CONNTRACK_FIN_WAIT:
        case TCP_CONNTRACK_CLOSE_WAIT:
        case TCP_CONNTRACK_LAST_ACK:
        case TCP_CONNTRACK_TIME_WAIT:
        case TCP_CONNTRACK_CLOSE:
                return FLOW_TCP_CLOSED;
        }
        return FLOW_TCP_UNKNOWN;
}

static void read_counters(const struct nf_conntrack *entry, struct flow *flow)
{
        flow->has_counters = nfct_attr_is_set(entry, ATTR_ORIG_COUNTER_BYTES) > 0;
        if (!flow->has_counters)
                return;
        flow->bytes_out = nfct_get_attr_u64(entry, ATTR_ORIG_COUNTER_BYTES);
        flow->bytes_in = nfct_get_attr_u64(entry, ATTR_REPL_COUNTER_BYTES);
        flow->packets_out = nfct_get_attr_u64(entry, ATTR_ORIG_COUNTER_PACKETS);
        flow->packets_in = nfct_get_attr_u64(entry, ATTR_REPL_COUNTER_PACKETS);
}

/* Nanoseconds since 1970; a flow that lasts has no end. */
static void read_times(const struct nf_conntrack *entry, struct flow *flow)
{
        uint64_t started_ns = nfct_get_attr_u64(entry, ATTR_TIMESTAMP_START);
        uint64_t ended_ns = nfct_get_attr_u64(entry, ATTR_TIMESTAMP_STOP);

        flow->has_times = started_ns != 0;
        flow->started_us = started_ns / 1000;
        if (flow->has_times && ended_ns > started_ns)
                flow->duration_ms = (ended_ns - started_ns) / 1000000;
}

static bool read_flow(const struct nf_conntrack *entry, struct flow *ret)
{
        uint8_t family = nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO);
        struct flow flow = {
                .protocol = nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO),
                .mark = nfct_get_attr_u32(entry, ATTR_MARK),
                .was_answered = (nfct_get_attr_u32(entry, ATTR_STATUS) & IPS_SEEN_REPLY) != 0,
                .tcp = read_tcp(entry),
                .icmp_type = nfct_get_attr_u8(entry, ATTR_ICMP_TYPE),
                .icmp_code = nfct_get_attr_u8(entry, ATTR_ICMP_CODE),
        };

        if (family != AF_INET && family != AF_INET6)
                return false;
        flow.client = read_endpoint(entry, family, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, ATTR_ORIG_PORT_SRC);
        flow.destination = read_endpoint(entry, family, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST);
        flow.server = read_endpoint(entry, family, ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC);
        flow.snat = read_endpoint(entry, family, ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST, ATTR_REPL_PORT_DST);
        read_counters(entry, &flow);
        read_times(entry, &flow);
        *ret = flow;
        return true;
}

int flow_parse(const struct nlmsghdr *header, struct flow *ret)
{
        struct nf_conntrack *entry;
        int r = -EINVAL;

        if (header->nlmsg_type >> 8 != NFNL_SUBSYS_CTNETLINK ||
            mnl_nlmsg_get_payload_len(header) < sizeof(struct nfgenmsg))
                return -EINVAL;
        entry = nfct_new();
        if (entry == NULL)
                return -ENOMEM;
        if (nfct_nlmsg_parse(header, entry) == 0 && read_flow(entry, ret))
                r = 0;
        nfct_destroy(entry);
        return r;
}

int flow_filter_attach(int descriptor, uint32_t mark, uint32_t mask)
{
        const struct nfct_filter_dump_mark marked = { .val = mark, .mask = mask };
        struct nfct_filter *filter = nfct_filter_create();
        int r = 0;

        if (filter == NULL)
                return -ENOMEM;
        nfct_filter_add_attr(filter, NFCT_FILTER_MARK, &marked);
        if (nfct_filter_attach(descriptor, filter) == -1)
                r = -errno;
        nfct_filter_destroy(filter);
        return r;
}
