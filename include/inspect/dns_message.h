/*
 * DNS messages between bytes and meaning: what their parts have in common. A client's query is parsed strictly
 * (dns_query.h), what a server answered is taken apart and put together anew (dns_answer.h), and a response is written
 * for one client (dns_response.h). RFC 1035, 2181, 3597, 6891 (EDNS), 8914 (extended errors), 9460 (HTTPS and SVCB).
 * Pure: no socket, clock or log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/net_address.h"

#define DNS_MESSAGE_HEADER_SIZE 12 /* RFC 1035 4.1.1; the question begins here */
#define DNS_MESSAGE_MAX_SIZE 65535
#define DNS_MESSAGE_MAX_TTL_S 86400   /* longer ones count as this: what is told must not outlive what is remembered */
#define DNS_MESSAGE_MIN_UDP_SIZE 512  /* RFC 1035 4.2.1: what every client takes without EDNS */
#define DNS_MESSAGE_OUR_UDP_SIZE 1232 /* what we take and send: no fragments on any path, DNS flag day 2020 */

/* RFC 1035 4.1.1, 2535 6.1, in the header's second 16 bits. */
#define DNS_FLAG_RESPONSE 0x8000
#define DNS_FLAG_OPCODE 0x7800
#define DNS_FLAG_TRUNCATED 0x0200
#define DNS_FLAG_RECURSION_DESIRED 0x0100
#define DNS_FLAG_RECURSION_AVAILABLE 0x0080
#define DNS_FLAG_AUTHENTIC_DATA 0x0020
#define DNS_FLAG_CHECKING_DISABLED 0x0010
#define DNS_FLAG_RCODE 0x000f
#define DNS_OPCODE_SHIFT 11

#define DNS_EDNS_FLAG_DNSSEC_OK 0x8000 /* RFC 3225 3, in the lower 16 bits of OPT's TTL */

/*
 * The types that mean something here; all others pass as they are. RFC 1035 3.2.2, 3596, 4034, 5155, 6672, 6891, 9460.
 */
enum dns_type {
        DNS_TYPE_A = 1,
        DNS_TYPE_NS = 2,
        DNS_TYPE_CNAME = 5,
        DNS_TYPE_SOA = 6,
        DNS_TYPE_PTR = 12,
        DNS_TYPE_AAAA = 28,
        DNS_TYPE_DNAME = 39,
        DNS_TYPE_OPT = 41,
        DNS_TYPE_RRSIG = 46,
        DNS_TYPE_NSEC = 47,
        DNS_TYPE_NSEC3 = 50,
        DNS_TYPE_SVCB = 64,
        DNS_TYPE_HTTPS = 65,
        DNS_TYPE_IXFR = 251,
        DNS_TYPE_AXFR = 252,
        DNS_TYPE_ANY = 255,
};

#define DNS_CLASS_IN 1

enum dns_rcode {
        DNS_RCODE_NO_ERROR = 0,
        DNS_RCODE_FORMAT_ERROR = 1,
        DNS_RCODE_SERVER_FAILURE = 2,
        DNS_RCODE_NAME_ERROR = 3,
        DNS_RCODE_NOT_IMPLEMENTED = 4,
        DNS_RCODE_REFUSED = 5,
        DNS_RCODE_BAD_VERSION = 16, /* RFC 6891 9: the upper bits go into OPT */
};

/* RFC 8914 4. */
enum dns_ede {
        DNS_EDE_OTHER = 0,
        DNS_EDE_STALE_ANSWER = 3,
        DNS_EDE_BLOCKED = 15,
        DNS_EDE_PROHIBITED = 18,
        DNS_EDE_NO_REACHABLE_AUTHORITY = 22,
        DNS_EDE_NETWORK_ERROR = 23,
};

/* Whether a client may be told of the address. false: the record is left out (for SVCB and HTTPS: the hint is). */
typedef bool (*dns_address_fn)(const struct net_address *address, void *context);
