#include "records/spool_segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "records/spool.h"

#define NAME_DIGITS 20 /* of 2^64 - 1 */
#define NAME_SUFFIX ".records"
#define SCAN_BYTES (256 * 1024)

struct header {
        uint32_t length;
        uint32_t checksum;
};
_Static_assert(sizeof(struct header) == SPOOL_SEGMENT_HEADER_SIZE, "as the header says");

void spool_segment_name(uint64_t start, char name[SPOOL_SEGMENT_NAME_SIZE])
{
        snprintf(name, SPOOL_SEGMENT_NAME_SIZE, "%020" PRIu64 NAME_SUFFIX, start);
}

int spool_segment_parse_name(const char *name, uint64_t *ret_start)
{
        uint64_t start;
        char again[SPOOL_SEGMENT_NAME_SIZE];

        if (strlen(name) != NAME_DIGITS + strlen(NAME_SUFFIX) || strspn(name, "0123456789") != NAME_DIGITS)
                return -EINVAL;
        start = strtoull(name, NULL, 10);
        spool_segment_name(start, again);
        if (strcmp(name, again) != 0 || start > SPOOL_SEGMENT_MAX_START)
                return -EINVAL;
        *ret_start = start;
        return 0;
}

/* Against half-written pages after a power cut; nobody who can write here has to be kept from forging one. */
static uint32_t checksum(const char *record, size_t length)
{
        static const uint64_t key[2] = { 0x616b736567726573, 0x7364207370 };

        return (uint32_t)hash_bytes_keyed(key, record, length);
}

size_t spool_segment_frame(const char *record, size_t length, char *buffer)
{
        struct header header = { .length = (uint32_t)length, .checksum = checksum(record, length) };

        memcpy(buffer, &header, sizeof(header));
        memcpy(buffer + sizeof(header), record, length);
        return sizeof(header) + length;
}

enum spool_segment_answer spool_segment_parse(const char *bytes, size_t available, size_t *ret_length)
{
        struct header header;

        if (available < sizeof(header))
                return SPOOL_SEGMENT_NEED_MORE;
        memcpy(&header, bytes, sizeof(header));
        if (header.length == 0 || header.length > SPOOL_RECORD_MAX_LENGTH)
                return SPOOL_SEGMENT_DAMAGED;
        if (available - sizeof(header) < header.length)
                return SPOOL_SEGMENT_NEED_MORE;
        if (checksum(bytes + sizeof(header), header.length) != header.checksum)
                return SPOOL_SEGMENT_DAMAGED;
        *ret_length = header.length;
        return SPOOL_SEGMENT_OK;
}

/* Whole records at the start of bytes; *ret_damaged: they end before something that is none. */
static size_t whole_records(const char *bytes, size_t available, bool *ret_damaged)
{
        enum spool_segment_answer answer;
        size_t length;
        size_t at = 0;

        while ((answer = spool_segment_parse(bytes + at, available - at, &length)) == SPOOL_SEGMENT_OK)
                at += SPOOL_SEGMENT_HEADER_SIZE + length;
        *ret_damaged = answer == SPOOL_SEGMENT_DAMAGED;
        return at;
}

int spool_segment_scan(int fd, uint64_t *ret_bytes)
{
        char *buffer = malloc(SCAN_BYTES);
        bool damaged = false;
        uint64_t at = 0;
        int r = 0;

        if (buffer == NULL)
                return -ENOMEM;
        while (!damaged) {
                ssize_t length = pread(fd, buffer, SCAN_BYTES, (off_t)at);
                if (length == -1)
                        r = -errno;
                size_t whole = length > 0 ? whole_records(buffer, (size_t)length, &damaged) : 0;
                if (whole == 0)
                        break;
                at += whole;
        }
        free(buffer);
        if (r == 0)
                *ret_bytes = at;
        return r;
}
