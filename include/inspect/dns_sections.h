/* The records of a server's answer where they lie in its message: framing, question and rcode checked. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/dns_answer.h"
#include "inspect/dns_name.h"
#include "inspect/dns_record.h"

/* Points into the message. Large; no need to clear it before dns_sections_read. */
struct dns_sections {
        const uint8_t *message;
        uint16_t flags;
        unsigned rcode; /* with the upper bits, which are in OPT */
        size_t answer_count;
        size_t record_count;                               /* of answer and authority section */
        struct dns_record records[DNS_ANSWER_MAX_RECORDS]; /* answer section, then authority section */
        uint32_t owner_hashes[DNS_ANSWER_MAX_RECORDS];     /* dns_name_hash, of the answer section */
};

/*
 * OK, BAD, TRUNCATED or FAILED, as dns_answer_parse says. Owners in the answer section are names that can be read; data
 * has not been looked at. *ret is undefined unless OK.
 */
enum dns_answer_result dns_sections_read(const void *message, size_t length, const struct dns_name *name, uint16_t type,
                                         struct dns_sections *ret);

/* Whether the record of that index, in the answer section, is of class IN and of this name. hash: of the name. */
bool dns_sections_is_of(const struct dns_sections *sections, size_t index, const struct dns_name *name, uint32_t hash);
