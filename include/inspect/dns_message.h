/*
 * DNS messages between bytes and meaning: a client's query is parsed strictly, what a server answered is taken apart and put
 * together anew, and a response is written for one client. RFC 1035, 2181, 3597, 6891 (EDNS), 8914 (extended errors), 9460
 * (HTTPS and SVCB). Pure: no socket, clock or log.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"

#define DNS_MESSAGE_MAX_SIZE 65535
#define DNS_MESSAGE_MIN_UDP_SIZE 512 /* RFC 1035 4.2.1: what every client takes without EDNS */
#define DNS_MESSAGE_MAX_NAME_SIZE 255 /* RFC 1035 2.3.4, on the wire */
#define DNS_MESSAGE_MAX_QUESTION_SIZE (DNS_MESSAGE_MAX_NAME_SIZE + 4)

/* RFC 1035 3.2.2, 3596, 9460: the types that mean something here. All others pass as they are. */
enum dns_type {
        DNS_TYPE_A = 1,
        DNS_TYPE_CNAME = 5,
        DNS_TYPE_SOA = 6,
        DNS_TYPE_PTR = 12,
        DNS_TYPE_AAAA = 28,
        DNS_TYPE_OPT = 41,
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

enum dns_query_result {
        DNS_QUERY_OK = 0,
        DNS_QUERY_NOT_A_QUERY,     /* shorter than a header, or a response: no answer, or two servers may answer each other for ever */
        DNS_QUERY_BAD,             /* FORMERR: not exactly one question, a compressed or cut name, bytes behind the message, two OPT, … */
        DNS_QUERY_NOT_IMPLEMENTED, /* NOTIMP: an opcode other than QUERY */
        DNS_QUERY_BAD_VERSION,     /* BADVERS: EDNS of a version above 0 */
        DNS_QUERY_BAD_NAME,        /* a well-formed name that is no struct fqdn (spaces, a dot in a label, the root, …) */
};

/* What a client asked. A value. */
struct dns_query {
        uint16_t id;
        uint16_t type;
        uint16_t class;
        bool recursion_desired;
        bool checking_disabled;
        bool has_edns;
        bool dnssec_ok;
        uint16_t edns_size;                               /* payload the client takes; 0 without EDNS, at least 512 with it */
        struct fqdn name;                                 /* length 0: none */
        size_t question_length;                           /* 0: no question could be read, none is echoed */
        uint8_t question[DNS_MESSAGE_MAX_QUESTION_SIZE]; /* as sent, in the client's own mix of capitals (DNS 0x20) */
};

/* Parses a whole message. Whatever the answer but NOT_A_QUERY, *ret holds what dns_response_write needs to say so. */
enum dns_query_result dns_query_parse(const void *message, size_t length, struct dns_query *ret);

#define DNS_ANSWER_MAX_ADDRESSES 64 /* of A or AAAA records of one answer; a record past that is left out of it */
#define DNS_ANSWER_MAX_RECORDS 512
#define DNS_ANSWER_MAX_BODY_SIZE 16384 /* an answer that is larger is refused as malformed */

/*
 * What a server answered, put together anew for one name and type: the records that follow the question, answer section
 * then authority section, owner names compressed only to the question (offset 12), so that the body is valid behind any
 * question of that name. Names inside records are written out; those of RFC 3597 4 were decompressed. A value.
 */
struct dns_answer {
        enum dns_rcode rcode; /* NO_ERROR or NAME_ERROR; all others are failures of the server */
        bool authentic;       /* AD: only as true as the way to the server */
        uint32_t ttl_s;       /* the least of the records', for NAME_ERROR and empty answers that of RFC 2308 5; 0 when there is none */
        uint16_t answer_count;
        uint16_t authority_count;
        size_t address_count;
        struct net_address addresses[DNS_ANSWER_MAX_ADDRESSES]; /* of the A or AAAA records kept in it */
        size_t body_length;
        uint8_t body[DNS_ANSWER_MAX_BODY_SIZE];
};

/* Whether a client may be told of the address. false: the record is left out (for SVCB and HTTPS: the hint is). */
typedef bool (*dns_address_fn)(const struct net_address *address, void *context);

enum dns_answer_result {
        DNS_ANSWER_OK = 0,
        DNS_ANSWER_BAD,       /* not an answer to this question, or malformed anywhere */
        DNS_ANSWER_TRUNCATED, /* TC: ask over TCP */
        DNS_ANSWER_FAILED,    /* an rcode that is a failure (SERVFAIL, REFUSED, …) */
        DNS_ANSWER_FORBIDDEN, /* it had addresses, and permits allowed none of them */
};

/*
 * Takes a server's answer to (name, type, IN) apart. Answer records that do not belong to the question or to the chain of
 * CNAMEs that begins at it are dropped, as is the additional section. In SVCB and HTTPS records the parameter `ech` and
 * the addresses of hints that permits refuses are left out (a hint that loses all of them goes). Signatures (RRSIG) of
 * changed records are dropped with the change. *ret is undefined unless OK.
 */
enum dns_answer_result dns_answer_parse(const void *message, size_t length, const struct fqdn *name, uint16_t type,
                                        dns_address_fn permits, void *context, struct dns_answer *ret);

/* What a response says beside the question. */
struct dns_response {
        enum dns_rcode rcode;
        const struct dns_answer *answer; /* NULL: no records. Borrowed. */
        uint32_t age_s;                  /* taken off every TTL, down to at least min_ttl_s */
        uint32_t min_ttl_s;
        bool has_ede;
        enum dns_ede ede;
        const char *ede_text; /* NULL: none; cut to what fits and is UTF-8. Only to clients with EDNS. */
        size_t max_size;      /* UDP: what client and path take (RFC 6891 6.2.5); TCP: DNS_MESSAGE_MAX_SIZE */
};

/*
 * Writes the response: header (QR, RA, RD and CD as asked, AD only where asked for with DO), question, records, OPT where
 * the query had one. Records that do not fit whole are left out and TC is set, never a part of them; the EDE text gives
 * way before records do. Returns the length, at most max_size and size; 0: not even header and question fit.
 */
size_t dns_response_write(const struct dns_query *query, const struct dns_response *response, uint8_t *buffer, size_t size);
