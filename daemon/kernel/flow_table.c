#include "kernel/flow_table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "kernel/netlink.h"

#define MESSAGE_MAX_BYTES 512 /* a question about a mark; a tuple, an id and a zone */

static struct nlmsghdr *begin_message(char *bytes, uint8_t type, uint16_t flags, uint8_t family)
{
        struct nlmsghdr *header = mnl_nlmsg_put_header(bytes);
        struct nfgenmsg *message;

        header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
        header->nlmsg_flags = NLM_F_REQUEST | flags;
        message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
        message->nfgen_family = family;
        message->version = NFNETLINK_V0;
        return header;
}

/* The kernel sends only what has the mark. */
static int dump(uint32_t mark, uint32_t mask, netlink_message_fn on_message, void *context)
{
        char bytes[MESSAGE_MAX_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = begin_message(bytes, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);

        mnl_attr_put_u32(header, CTA_MARK, htonl(mark));
        mnl_attr_put_u32(header, CTA_MARK_MASK, htonl(mask));
        return netlink_request(NETLINK_NETFILTER, header, on_message, context);
}

struct reader {
        uint32_t mark;
        uint32_t mask;
        flow_table_fn on_flow;
        void *context;
};

static int on_message(const struct nlmsghdr *header, void *context)
{
        struct reader *reader = context;
        struct flow flow;

        if (flow_parse(header, &flow) == 0 && flow_is_marked(&flow, reader->mark, reader->mask))
                reader->on_flow(&flow, reader->context);
        return MNL_CB_OK;
}

int flow_table_each(uint32_t mark, uint32_t mask, flow_table_fn on_flow, void *context)
{
        struct reader reader = { .mark = mark, .mask = mask, .on_flow = on_flow, .context = context };

        return dump(mark, mask, on_message, &reader);
}

struct ender {
        struct mnl_socket *socket;
        uint32_t mark;
        uint32_t mask;
        flow_table_keeps_fn keeps;
        void *context;
        size_t ended;
};

/* Names the flow as the kernel did; its id keeps from ending another that has the same addresses and ports by now. */
static int delete_entry(struct ender *ender, const struct nlmsghdr *entry)
{
        char bytes[MESSAGE_MAX_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
        const struct nfgenmsg *message = mnl_nlmsg_get_payload(entry);
        struct nlmsghdr *header = begin_message(bytes, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, message->nfgen_family);
        struct nlattr *attribute; /* The macro casts to char *, which clang 18 does not like of a const one. */

        mnl_attr_for_each(attribute, entry, sizeof(*message))
        {
                uint16_t type = mnl_attr_get_type(attribute);
                if (type != CTA_TUPLE_ORIG && type != CTA_ID && type != CTA_ZONE)
                        continue;
                if (!mnl_attr_put_check(header, sizeof(bytes), attribute->nla_type, mnl_attr_get_payload_len(attribute),
                                        mnl_attr_get_payload(attribute)))
                        return -EMSGSIZE;
        }
        return netlink_ask(ender->socket, header, NULL, NULL);
}

static int on_candidate(const struct nlmsghdr *header, void *context)
{
        struct ender *ender = context;
        struct flow flow;
        int r;

        if (flow_parse(header, &flow) < 0 || !flow_is_marked(&flow, ender->mark, ender->mask) ||
            ender->keeps(&flow, ender->context))
                return MNL_CB_OK;
        r = delete_entry(ender, header);
        if (r < 0 && r != -ENOENT) { /* ended by itself meanwhile */
                errno = -r;
                return MNL_CB_ERROR;
        }
        ender->ended += r == 0;
        return MNL_CB_OK;
}

int flow_table_end_where(uint32_t mark, uint32_t mask, flow_table_keeps_fn keeps, void *context, size_t *ret_ended)
{
        struct ender ender = { .mark = mark, .mask = mask, .keeps = keeps, .context = context };
        int r = netlink_open(NETLINK_NETFILTER, &ender.socket);

        *ret_ended = 0;
        if (r < 0)
                return r;
        r = dump(mark, mask, on_candidate, &ender);
        mnl_socket_close(ender.socket);
        *ret_ended = ender.ended;
        return r;
}
