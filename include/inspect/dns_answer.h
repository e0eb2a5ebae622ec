/*
 * What a DNS server answered: taken apart, checked, and put together anew from the records that a client may have.
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "inspect/dns_message.h"

#define DNS_ANSWER_MAX_ADDRESSES 64 /* of A or AAAA records of one answer; a record past that is left out of it */
#define DNS_ANSWER_MAX_RECORDS 512  /* in answer and authority section; an answer with more is refused as malformed */
#define DNS_ANSWER_MAX_BODY_SIZE 16384 /* an answer that is larger is refused as malformed */
#define DNS_ANSWER_MAX_CHAIN 16 /* CNAMEs one after the other; a longer chain or a loop is refused as malformed */

/*
 * The records that follow the question, answer section then authority section, valid behind any question of the name
 * that was asked for, in any mix of capitals: owner names are compressed to the question (offset 12) and to CNAMEs
 * earlier in the body. Names inside records are written out; those of RFC 3597 4 were decompressed. Signatures (RRSIG)
 * come last in the answer section, so that leaving DNSSEC records out moves nothing that a pointer leads to. A value,
 * but a large one.
 */
struct dns_answer {
        enum dns_rcode rcode; /* NO_ERROR or NAME_ERROR; all others are failures of the server */
        bool authentic;       /* AD, unless something was changed: only as true as the way to the server */
        uint32_t ttl_s; /* the least of the records'; 0 when there is none, or a denial without SOA (RFC 2308 5) */
        uint16_t answer_count;
        uint16_t authority_count;
        size_t address_count;
        struct net_address addresses[DNS_ANSWER_MAX_ADDRESSES]; /* of the A or AAAA records kept in it */
        size_t body_length;
        uint8_t body[DNS_ANSWER_MAX_BODY_SIZE];
};

enum dns_answer_result {
        DNS_ANSWER_OK = 0,
        DNS_ANSWER_BAD, /* not an answer to this question, framed badly, or malformed in a record that is looked at */
        DNS_ANSWER_TRUNCATED, /* TC: ask over TCP */
        DNS_ANSWER_FAILED,    /* an rcode that is a failure (SERVFAIL, REFUSED, …) */
        DNS_ANSWER_FORBIDDEN, /* it had addresses, and permits allowed none of them */
};

/*
 * Takes a server's answer to (name, type, IN) apart. The id is the caller's to compare. *ret is undefined unless OK.
 *
 * Answer section: records of the type at the end of the chain of CNAMEs that begins at name, in whatever order they
 * came, the chain itself, DNAMEs that led on (the CNAME of one that has none is made, RFC 6672 3.1), and their
 * signatures; nothing else. A name that has records of the type needs no CNAME. With type ANY everything at the name
 * itself. A and AAAA records whose address permits refuses are left out (NULL: none are); in SVCB and HTTPS records,
 * what dns_service_write leaves out. Signatures of changed records go with the change.
 *
 * Authority section: SOA of a denial, its TTL lowered to what RFC 2308 5 says, NSEC and NSEC3, and their signatures.
 * The additional section is dropped.
 */
enum dns_answer_result dns_answer_parse(const void *message, size_t length, const struct fqdn *name, uint16_t type,
                                        dns_address_fn permits, void *context, struct dns_answer *ret);

/*
 * Leaves out of an answer to (name, type, IN) what permits refuses now, as dns_answer_parse would have: the cache is one for
 * all who ask, and each may be told something else. OK or FORBIDDEN, for an answer that dns_answer_parse has made; answer
 * and ret must be different objects.
 */
enum dns_answer_result dns_answer_filter(const struct dns_answer *answer, const struct fqdn *name, uint16_t type,
                                         dns_address_fn permits, void *context, struct dns_answer *ret);
