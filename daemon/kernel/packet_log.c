#include "kernel/packet_log.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "kernel/netlink_watch.h"

#define PACKETS_PER_DATAGRAM 32
/* The kernel fills what it allocated for so many, which it rounds up to the next power of two, less its own overhead. */
#define DATAGRAM_BYTES (NETLINK_BUFFER_SIZE / 2)
#define DELAY_CENTISECONDS 5 /* until a datagram is sent that is not full */

struct packet_log {
        struct netlink_watch *messages;
        const struct packet_log_handlers *handlers; /* borrowed, see the header */
        void *context;
        uint16_t group;
        uint32_t next_sequence; /* what the kernel gives the next packet */
};

/* The kernel numbers packets as it logs them, whether they reach us or not. */
static void count_lost(struct packet_log *log, const struct nlattr *sequence)
{
        uint32_t number, lost;

        if (sequence == NULL)
                return;
        number = ntohl(mnl_attr_get_u32(sequence));
        lost = number - log->next_sequence;
        log->next_sequence = number + 1;
        if (lost != 0)
                log->handlers->on_lost(lost, log->context);
}

/* Packets that come from outside have the time of their arrival; wall clock, seconds and microseconds. */
static uint64_t time_of(const struct nlattr *attribute)
{
        struct nfulnl_msg_packet_timestamp timestamp; /* in the message it is not aligned as it wants to be */

        if (attribute == NULL || mnl_attr_get_payload_len(attribute) < sizeof(timestamp))
                return clock_wall_us();
        memcpy(&timestamp, mnl_attr_get_payload(attribute), sizeof(timestamp));
        return be64toh(timestamp.sec) * 1000000 + be64toh(timestamp.usec);
}

/* libnetfilter_log checks neither that texts end nor that numbers are there whole. */
static const char *text_of(const struct nlattr *attribute)
{
        return attribute != NULL && mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0 ? mnl_attr_get_str(attribute)
                                                                                           : "";
}

static const struct nlattr *number_of(const struct nlattr *attribute)
{
        return attribute != NULL && mnl_attr_validate(attribute, MNL_TYPE_U32) == 0 ? attribute : NULL;
}

static void tell(struct packet_log *log, struct nlattr **attributes)
{
        struct packet_log_record record = {
                .prefix = text_of(attributes[NFULA_PREFIX]),
                .time_us = time_of(attributes[NFULA_TIMESTAMP]),
        };

        if (attributes[NFULA_PAYLOAD] != NULL) {
                record.bytes = mnl_attr_get_payload(attributes[NFULA_PAYLOAD]);
                record.length = mnl_attr_get_payload_len(attributes[NFULA_PAYLOAD]);
        }
        if (ip_packet_parse(record.bytes, record.length, &record.packet) != IP_PACKET_OK)
                record.packet = (struct ip_packet){ .source = { .family = AF_UNSPEC } };
        log->handlers->on_packet(&record, log->context);
}

static int on_message(const struct nlmsghdr *header, void *context)
{
        struct nlattr *attributes[NFULA_MAX + 1] = { 0 };
        struct packet_log *log = context;

        if (header->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET) ||
            nflog_nlmsg_parse(header, attributes) != MNL_CB_OK)
                return MNL_CB_OK;
        count_lost(log, number_of(attributes[NFULA_SEQ]));
        tell(log, attributes);
        return MNL_CB_OK;
}

static const struct netlink_watch_handlers handlers_of_messages = { .on_message = on_message };

/* All in one message, so that no packet comes under other terms. */
static int bind_group(struct packet_log *log, uint16_t group)
{
        char bytes[256] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = nflog_nlmsg_put_header(bytes, NFULNL_MSG_CONFIG, AF_UNSPEC, group);

        if (nflog_attr_put_cfg_cmd(header, NFULNL_CFG_CMD_BIND) < 0 ||
            nflog_attr_put_cfg_mode(header, NFULNL_COPY_PACKET, PACKET_LOG_SNAP_BYTES) < 0)
                return -EINVAL;
        mnl_attr_put_u16(header, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
        mnl_attr_put_u32(header, NFULA_CFG_QTHRESH, htonl(PACKETS_PER_DATAGRAM));
        mnl_attr_put_u32(header, NFULA_CFG_TIMEOUT, htonl(DELAY_CENTISECONDS));
        mnl_attr_put_u32(header, NFULA_CFG_NLBUFSIZ, htonl(DATAGRAM_BYTES));
        return netlink_watch_ask(log->messages, header);
}

static int start(struct packet_log *log, struct event_base *base, uint16_t group, size_t buffer_bytes)
{
        int one = 1, r;

        r = netlink_watch_new(base, NETLINK_NETFILTER, PACKET_LOG_PER_TURN / PACKETS_PER_DATAGRAM,
                              &handlers_of_messages, log, &log->messages);
        if (r < 0)
                return r;
        (void)netlink_watch_enlarge(log->messages, buffer_bytes); /* With a small one more is lost, and told. */
        /* After an overrun the kernel would keep back everything until all had been read; the numbers tell what is lost. */
        if (mnl_socket_setsockopt(netlink_watch_socket(log->messages), NETLINK_NO_ENOBUFS, &one, sizeof(one)) == -1)
                return -errno;
        return bind_group(log, group);
}

int packet_log_new(struct event_base *base, uint16_t group, size_t buffer_bytes,
                   const struct packet_log_handlers *handlers, void *context, struct packet_log **ret)
{
        struct packet_log *log = calloc(1, sizeof(*log));
        int r;

        if (log == NULL)
                return -ENOMEM;
        log->handlers = handlers;
        log->context = context;
        log->group = group;
        r = start(log, base, group, buffer_bytes);
        if (r < 0) {
                packet_log_free(log);
                return r;
        }
        *ret = log;
        return 0;
}

void packet_log_finish(struct packet_log *log)
{
        char bytes[64] __attribute__((aligned(NLMSG_ALIGNTO)));
        struct nlmsghdr *header = nflog_nlmsg_put_header(bytes, NFULNL_MSG_CONFIG, AF_UNSPEC, log->group);

        /* Makes room for what the kernel holds back until a datagram is full, and now sends. */
        netlink_watch_read_rest(log->messages);
        if (nflog_attr_put_cfg_cmd(header, NFULNL_CFG_CMD_UNBIND) == 0 &&
            netlink_watch_send(log->messages, header) == 0)
                netlink_watch_read_rest(log->messages);
}

void packet_log_free(struct packet_log *log)
{
        if (log == NULL)
                return;
        netlink_watch_free(log->messages); /* The kernel ends the group with its socket. */
        free(log);
}
