/*
 * The records of a DNS answer while they are put together: owner names compressed to the question and to the chain of
 * CNAMEs, duplicates merged. dns_answer.c decides what goes in. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/byte_builder.h"
#include "inspect/dns_answer.h"
#include "inspect/dns_name.h"

/* The question; for each step of a chain a CNAME and perhaps a DNAME; a DNAME for the step too many. */
#define DNS_BODY_MAX_NAMES (2 * DNS_ANSWER_MAX_CHAIN + 2)
/* In one section: those of a message, and CNAMEs and DNAMEs that a chain needs once more. */
#define DNS_BODY_MAX_RECORDS (DNS_ANSWER_MAX_RECORDS + DNS_BODY_MAX_NAMES)

/* A name that records may belong to, and that later ones can point to. */
struct dns_body_name {
        struct dns_name name;
        uint32_t hash;
        uint16_t offset;   /* in every message that the body becomes part of */
        uint16_t leads_by; /* type of the records there that count: CNAME, DNAME, the type asked for */
};

struct dns_body_record {
        uint32_t hash;       /* of its data */
        size_t offset;       /* of its owner, all in the body */
        size_t fixed_offset; /* of its type, class, TTL and length */
        size_t end;
};

/* Large; no need to clear it before dns_body_start. */
struct dns_body {
        struct byte_builder bytes;
        size_t message_offset; /* where it begins in every message */
        uint32_t least_ttl_s;  /* UINT32_MAX: no record yet */
        size_t name_count;
        size_t chain_end; /* index of the name that the chain has come to */
        size_t record_count;
        struct dns_body_name names[DNS_BODY_MAX_NAMES];
        struct dns_body_record records[DNS_BODY_MAX_RECORDS]; /* of the section at hand */
};

/* The question's name becomes names[0] and the end of the chain. buffer is borrowed. */
void dns_body_start(struct dns_body *body, const struct dns_name *question, uint8_t *buffer, size_t size);

/* Makes a name known that is at offset in the message, after at most DNS_BODY_MAX_NAMES - 1 others. */
void dns_body_add_name(struct dns_body *body, const struct dns_name *name, size_t offset, uint16_t leads_by);

/* Counting of records, and looking for duplicates, begins again. */
void dns_body_begin_section(struct dns_body *body);

/*
 * A record: begin, then append its data to body->bytes, then end, or drop. known: its owner, one of names; NULL: owner,
 * written out unless it ends like the question or the end of the chain.
 */
struct dns_body_record dns_body_begin_record(struct dns_body *body, const struct dns_body_name *known,
                                             const struct dns_name *owner, uint16_t type, uint32_t ttl_s);

/*
 * False: out of room. A duplicate is taken back (RFC 2181 5), its TTL lowers that of the first one if it is less (5.2).
 */
MUST_CHECK bool dns_body_end_record(struct dns_body *body, struct dns_body_record *record);

/* Takes the record back; its TTL counts nevertheless, since with what it says the answer changes. */
void dns_body_drop_record(struct dns_body *body, const struct dns_body_record *record);
