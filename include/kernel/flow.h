/* A flow that the kernel forwards, as its connection tracking tells of it (libnetfilter_conntrack). A value. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

struct nlmsghdr;

enum flow_tcp {
        FLOW_TCP_UNKNOWN = 0, /* no TCP, or the kernel does not say */
        FLOW_TCP_OPENING,     /* handshake not done */
        FLOW_TCP_OPEN,        /* of a flow that has ended: it was idle for too long, or was deleted */
        FLOW_TCP_CLOSED,      /* by FIN or RST */
};

struct flow {
        uint8_t protocol;                /* IPPROTO_… */
        struct net_endpoint client;      /* who began; ports are 0 where the protocol has none */
        struct net_endpoint destination; /* as the client wrote it */
        struct net_endpoint server;      /* who answers: other than destination if a rule translated that */
        struct net_endpoint snat;        /* as what the server sees the client */
        uint8_t icmp_type;
        uint8_t icmp_code;
        uint32_t mark;
        bool was_answered;
        enum flow_tcp tcp;
        bool has_counters;  /* nf_conntrack_acct was on when it began */
        uint64_t bytes_out; /* from the client, with IP headers */
        uint64_t bytes_in;
        uint64_t packets_out;
        uint64_t packets_in;
        bool has_times;       /* nf_conntrack_timestamp was on when it began */
        uint64_t started_us;  /* as clock_wall_us() */
        uint64_t duration_ms; /* until its end, 0 while it lasts */
};

/* Reads a message of conntrack. Returns 0, -EINVAL: not one that tells of a flow, or -ENOMEM. */
MUST_CHECK int flow_parse(const struct nlmsghdr *header, struct flow *ret);

static inline bool flow_is_marked(const struct flow *flow, uint32_t mark, uint32_t mask)
{
        return (flow->mark & mask) == mark;
}

/* Makes the kernel keep messages about flows of other marks from a socket. Returns 0 or -errno. */
MUST_CHECK int flow_filter_attach(int descriptor, uint32_t mark, uint32_t mask);
