#include "kernel/flow.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
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

static void read_bytes(const struct nf_conntrack *entry, struct flow *flow)
{
        flow->has_bytes = nfct_attr_is_set(entry, ATTR_ORIG_COUNTER_BYTES) > 0;
        flow->bytes_out = nfct_get_attr_u64(entry, ATTR_ORIG_COUNTER_BYTES);
        flow->bytes_in = nfct_get_attr_u64(entry, ATTR_REPL_COUNTER_BYTES);
}

/* The wall clock, which may have been set back meanwhile, in nanoseconds. */
static void read_duration(const struct nf_conntrack *entry, struct flow *flow)
{
        uint64_t started_ns = nfct_get_attr_u64(entry, ATTR_TIMESTAMP_START);
        uint64_t ended_ns = nfct_get_attr_u64(entry, ATTR_TIMESTAMP_STOP);

        flow->has_duration = started_ns != 0 && ended_ns != 0;
        if (flow->has_duration && ended_ns > started_ns)
                flow->duration_ms = (ended_ns - started_ns) / 1000000;
}

static bool read_flow(const struct nf_conntrack *entry, struct flow *ret)
{
        uint8_t family = nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO);
        struct flow flow = {
                .protocol = nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO),
                .mark = nfct_get_attr_u32(entry, ATTR_MARK),
                .id = nfct_get_attr_u32(entry, ATTR_ID),
        };

        if (family != AF_INET && family != AF_INET6)
                return false;
        flow.client = read_endpoint(entry, family, ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV6_SRC, ATTR_ORIG_PORT_SRC);
        flow.destination = read_endpoint(entry, family, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST);
        flow.snat = read_endpoint(entry, family, ATTR_REPL_IPV4_DST, ATTR_REPL_IPV6_DST, ATTR_REPL_PORT_DST);
        read_bytes(entry, &flow);
        read_duration(entry, &flow);
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
        if (nfct_nlmsg_parse(header, entry) == 0 && read_flow(entry, ret)) {
                ret->has_ended = (header->nlmsg_type & 0xff) == IPCTNL_MSG_CT_DELETE;
                r = 0;
        }
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
