/*
 * One resource record of a DNS message (RFC 1035 4.1.3): read where it lies, its data written out without compression.
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/byte_builder.h"
#include "base/byte_cursor.h"
#include "base/compiler.h"
#include "inspect/dns_name.h"

#define DNS_RECORD_FIXED_SIZE 10 /* type, class, TTL and length, between owner and data */

/* Where a record lies in its message. A value that points into it. */
struct dns_record {
        struct byte_cursor owner; /* its in-place part: dns_name_read makes a name of it */
        uint16_t type;
        uint16_t class;
        uint32_t ttl; /* as sent: in OPT it is something else */
        struct byte_cursor data;
};

/* Reads the record at the cursor and moves behind it. The owner is not followed. On failure both are undefined. */
MUST_CHECK bool dns_record_read(struct byte_cursor *cursor, struct dns_record *ret);

/* RFC 2181 8: a TTL with the uppermost bit set counts as 0; at most DNS_MESSAGE_MAX_TTL_S. */
uint32_t dns_record_ttl_s(const struct dns_record *record);

/* The owner name is name. False: it is not, or it is malformed. */
bool dns_record_is_of(const uint8_t *message, const struct dns_record *record, const struct dns_name *name);

/* Reads the one name that is all of the data (CNAME, DNAME, …). */
MUST_CHECK bool dns_record_read_name(const uint8_t *message, const struct dns_record *record, struct dns_name *ret);

/*
 * Appends the data. Names in the types of RFC 3597 4, which servers may compress, are written out; data of any other
 * type is copied. False: the data does not have the form of its type. Running out of room shows in builder->full alone.
 */
MUST_CHECK bool dns_record_write_data(const uint8_t *message, const struct dns_record *record,
                                      struct byte_builder *builder);
