/*
 * Domain names as DNS messages carry them: labels with their lengths, ending in the empty one of the root, perhaps
 * compressed (RFC 1035 4.1.4). Labels hold any byte; the spelling of the message is kept, comparing ignores capitals
 * (RFC 4343). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/byte_cursor.h"
#include "base/compiler.h"
#include "base/fqdn.h"

#define DNS_NAME_MAX_SIZE 255 /* RFC 1035 2.3.4, with the root's empty label */
#define DNS_NAME_POINTER_BITS 0xc0

/* Uncompressed. A value. */
struct dns_name {
        uint8_t length; /* bytes; 1: the root */
        uint8_t bytes[DNS_NAME_MAX_SIZE];
};

/*
 * Each reads the name at the cursor and moves the cursor behind it; on failure the cursor stays and *ret is undefined.
 *
 * dns_name_read follows compression pointers. Each must lead before the part of the name that it stands in, as honest
 * ones do, so no name can loop; and there are at most as many as a name has labels. message: where the message begins
 * that the cursor is in. dns_name_read_plain takes no pointers (questions; where an RFC forbids compression).
 */
MUST_CHECK bool dns_name_read(const uint8_t *message, struct byte_cursor *cursor, struct dns_name *ret);
MUST_CHECK bool dns_name_read_plain(struct byte_cursor *cursor, struct dns_name *ret);

/* Moves the cursor behind the name there, without following a pointer. */
MUST_CHECK bool dns_name_skip(struct byte_cursor *cursor);

/* Returns 0, or -EINVAL: the root, or a label that no struct fqdn has (a space, a dot, …); *ret untouched then. */
MUST_CHECK int dns_name_to_fqdn(const struct dns_name *name, struct fqdn *ret);

void dns_name_from_fqdn(const struct fqdn *name, struct dns_name *ret);

bool dns_name_equal(const struct dns_name *a, const struct dns_name *b);

/* Equal names have equal hashes. */
uint32_t dns_name_hash(const struct dns_name *name);

/* Bytes of the longest run of whole labels that both end in; 1 when only the root is common to them. */
size_t dns_name_common_suffix(const struct dns_name *a, const struct dns_name *b);
