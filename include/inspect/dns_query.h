/* What a DNS client asks: parses a query strictly, since it is rebuilt and never relayed. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "inspect/dns_message.h"
#include "inspect/dns_name.h"

#define DNS_QUERY_MAX_QUESTION_SIZE (DNS_NAME_MAX_SIZE + 4)

enum dns_query_result {
        DNS_QUERY_OK = 0,
        DNS_QUERY_NOT_A_QUERY, /* no header, or a response: no answer, or two servers answer each other for ever */
        DNS_QUERY_BAD, /* FORMERR: not exactly one question, a compressed or cut name, bytes behind it, two OPT, … */
        DNS_QUERY_NOT_IMPLEMENTED, /* NOTIMP: an opcode other than QUERY */
        DNS_QUERY_BAD_VERSION,     /* BADVERS: EDNS of a version above 0 */
        DNS_QUERY_BAD_NAME, /* a well-formed name that is no struct fqdn (spaces, a dot in a label, the root, …) */
};

/* What a client asked. A value. */
struct dns_query {
        uint16_t id;
        uint16_t type;
        uint16_t class;
        uint8_t opcode; /* echoed (RFC 1035 4.1.1) */
        bool recursion_desired;
        bool checking_disabled;
        bool authentic_data; /* AD: the client understands AD without asking for signatures (RFC 6840 5.7) */
        bool has_edns;
        bool dnssec_ok;
        uint16_t edns_size;     /* payload the client takes; 0 without EDNS, at least 512 with it */
        struct fqdn name;       /* length 0: none */
        size_t question_length; /* 0: no question could be read, none is echoed */
        uint8_t question[DNS_QUERY_MAX_QUESTION_SIZE]; /* as sent, in the client's own mix of capitals (DNS 0x20) */
};

/*
 * Parses a whole message. Whatever the answer but NOT_A_QUERY, *ret holds what dns_response_write needs to say so.
 *
 * A record other than OPT in the additional section is BAD. That is TSIG (RFC 8945) and SIG(0) (RFC 2931): a client
 * that signs must not believe an answer without signature, and we have no key to give it one, so it is told at once.
 * Options of OPT that we do not know are ignored (RFC 6891 6.1.2), cookies too.
 */
enum dns_query_result dns_query_parse(const void *message, size_t length, struct dns_query *ret);
