#include "net/negative_ttl.h"

#include <stdbool.h>

#include "base/byte_cursor.h"

#define TYPE_SOA 6              /* RFC 1035 3.2.2 */
#define LABEL_POINTER_BITS 0xc0 /* RFC 1035 4.1.4 */

/* Skips a name without following compression pointers: a pointer is a name's last part. */
static bool skip_name(struct byte_cursor *cursor)
{
        for (;;) {
                uint8_t first;
                if (!byte_cursor_u8(cursor, &first))
                        return false;
                if ((first & LABEL_POINTER_BITS) == LABEL_POINTER_BITS)
                        return byte_cursor_skip(cursor, 1);
                if ((first & LABEL_POINTER_BITS) != 0)
                        return false;
                if (first == 0)
                        return true;
                if (!byte_cursor_skip(cursor, first))
                        return false;
        }
}

struct record {
        uint16_t type;
        uint32_t ttl_s;
        struct byte_cursor data;
};

static bool read_record(struct byte_cursor *cursor, struct record *ret)
{
        uint16_t length;

        return skip_name(cursor) && byte_cursor_u16(cursor, &ret->type) && byte_cursor_skip(cursor, 2) &&
               byte_cursor_u32(cursor, &ret->ttl_s) && byte_cursor_u16(cursor, &length) &&
               byte_cursor_take(cursor, length, &ret->data);
}

/* RFC 1035 3.3.13: two names, then serial, refresh, retry, expire, minimum. */
static enum negative_ttl_status read_soa(struct record *soa, uint32_t *ret_s)
{
        uint32_t minimum;

        if (!skip_name(&soa->data) || !skip_name(&soa->data) || !byte_cursor_skip(&soa->data, 16) ||
            !byte_cursor_u32(&soa->data, &minimum))
                return NEGATIVE_TTL_MALFORMED;
        *ret_s = minimum < soa->ttl_s ? minimum : soa->ttl_s;
        return NEGATIVE_TTL_OK;
}

/*
 * +----+-------+---------+---------+-----------+------------+--------------------------------------+
 * | id | flags | QDCOUNT | ANCOUNT | NSCOUNT   | ARCOUNT    | questions, answers, authority, …     |
 * +----+-------+---------+---------+-----------+------------+--------------------------------------+
 */
enum negative_ttl_status negative_ttl_parse(const void *message, size_t length, uint32_t *ret_s)
{
        struct byte_cursor cursor = byte_cursor_from(message, length);
        uint16_t questions;
        uint16_t answers;
        uint16_t authorities;
        struct record record;

        if (!byte_cursor_skip(&cursor, 4) || !byte_cursor_u16(&cursor, &questions) ||
            !byte_cursor_u16(&cursor, &answers) || !byte_cursor_u16(&cursor, &authorities) ||
            !byte_cursor_skip(&cursor, 2))
                return NEGATIVE_TTL_MALFORMED;
        for (unsigned i = 0; i < questions; i++)
                if (!skip_name(&cursor) || !byte_cursor_skip(&cursor, 4))
                        return NEGATIVE_TTL_MALFORMED;
        for (unsigned i = 0; i < answers; i++)
                if (!read_record(&cursor, &record))
                        return NEGATIVE_TTL_MALFORMED;
        for (unsigned i = 0; i < authorities; i++) {
                if (!read_record(&cursor, &record))
                        return NEGATIVE_TTL_MALFORMED;
                if (record.type == TYPE_SOA)
                        return read_soa(&record, ret_s);
        }
        return NEGATIVE_TTL_ABSENT;
}
