/* What one DNS client is told: writes responses, with the records of an answer or without. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/dns_answer.h"
#include "inspect/dns_message.h"
#include "inspect/dns_query.h"

/* What a response says beside the question. */
struct dns_response {
        enum dns_rcode rcode;
        const struct dns_answer *answer; /* NULL: no records. Borrowed. To the query's name and type. */
        uint32_t age_s;                  /* taken off every TTL, down to at least min_ttl_s */
        uint32_t min_ttl_s;
        bool has_ede;
        enum dns_ede ede;
        const char
                *ede_text; /* UTF-8, cut between characters where it must be; NULL: none. Only to clients with EDNS. */
        size_t max_size;   /* UDP: what client and path take (RFC 6891 6.2.5); TCP: DNS_MESSAGE_MAX_SIZE */
};

/*
 * Writes the response: header (QR, RA; opcode, RD and CD as asked; AD only where the query had DO or AD), question,
 * records, OPT where the query had one. RRSIG, NSEC and NSEC3 go only to those who asked with DO or for the type (RFC
 * 4035 3.2.1).
 *
 * Records that do not fit whole are left out with all that follow, and TC is set. OPT always stays; an extended error
 * gives way to records, its text before its code. Returns the length, at most max_size and size; 0: not even header,
 * question and OPT fit, which 512 bytes always hold.
 */
size_t dns_response_write(const struct dns_query *query, const struct dns_response *response, uint8_t *buffer,
                          size_t size);
