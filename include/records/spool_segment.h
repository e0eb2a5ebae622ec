/*
 * One segment of a spool: records one behind the other, each with its length and a checksum before it, in the machine's byte
 * order (segments never leave it).
 *
 *   length (32 bits)  checksum (32 bits)  bytes
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define SPOOL_SEGMENT_HEADER_SIZE 8
#define SPOOL_SEGMENT_NAME_SIZE 32
#define SPOOL_SEGMENT_MAX_START INT64_MAX /* no row comes so far; behind it numbers would have an end */

/* The name of the segment that begins at this byte of the row. Names sort as the segments follow each other. */
void spool_segment_name(uint64_t start, char name[SPOOL_SEGMENT_NAME_SIZE]);

/* The reverse. Returns 0, or -EINVAL: not the name of a segment. */
MUST_CHECK int spool_segment_parse_name(const char *name, uint64_t *ret_start);

/* Writes header and record to buffer, which has room. Returns their length. */
size_t spool_segment_frame(const char *record, size_t length, char *buffer);

enum spool_segment_answer {
        SPOOL_SEGMENT_OK = 0,
        SPOOL_SEGMENT_NEED_MORE, /* the record does not end within these bytes */
        SPOOL_SEGMENT_DAMAGED,
};

/* Looks for a record at the start of bytes: *ret_length is its own, without header. */
enum spool_segment_answer spool_segment_parse(const char *bytes, size_t available, size_t *ret_length);

/*
 * How many bytes of a segment hold whole records, from the start on, before a damaged or unfinished one. Returns 0 or -errno.
 */
MUST_CHECK int spool_segment_scan(int fd, uint64_t *ret_bytes);
