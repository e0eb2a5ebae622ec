/* A flow that the kernel forwards, as its connection tracking tells of it (libnetfilter_conntrack). A value. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

struct nlmsghdr;

struct flow {
        uint8_t protocol;                /* IPPROTO_… */
        struct net_endpoint client;      /* who began; ports are 0 where the protocol has none */
        struct net_endpoint destination; /* as the client wrote it */
        struct net_endpoint snat;        /* as what the server sees the client */
        uint32_t mark;
        uint32_t id;        /* the kernel's own, the same as long as the flow lives */
        bool has_ended;     /* this is the last that is told of it */
        bool has_bytes;     /* nf_conntrack_acct was on when it began */
        uint64_t bytes_out; /* from the client, with IP headers; 0 without has_bytes */
        uint64_t bytes_in;
        bool has_duration;    /* it has ended, and nf_conntrack_timestamp was on when it began */
        uint64_t duration_ms; /* 0 without has_duration */
};

/* Reads a message of conntrack. Returns 0, -EINVAL: not one that tells of a flow, or -ENOMEM. */
MUST_CHECK int flow_parse(const struct nlmsghdr *header, struct flow *ret);

static inline bool flow_is_marked(const struct flow *flow, uint32_t mark, uint32_t mask)
{
        return (flow->mark & mask) == mark;
}

/* Makes the kernel keep messages about flows of other marks from a socket. Returns 0 or -errno. */
MUST_CHECK int flow_filter_attach(int descriptor, uint32_t mark, uint32_t mask);
