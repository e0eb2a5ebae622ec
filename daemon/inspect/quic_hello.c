#include "inspect/quic_hello.h"

#include <string.h>

#define MESSAGE_HEADER_SIZE 4 /* RFC 8446 4: type(1) length(3) */

void quic_hello_start(struct quic_hello *hello)
{
        hello->result = QUIC_NEED_MORE;
        hello->contents = (struct client_hello){ 0 };
        hello->range_count = 0;
}

void quic_hello_fail(struct quic_hello *hello, enum quic_result result)
{
        if (hello->result == QUIC_NEED_MORE)
                hello->result = result;
}

/* Whether what is there of start..end says the same; ranges first..last are those that could. */
static bool agrees(const struct quic_hello *hello, size_t first, size_t last, size_t start, size_t end,
                   const uint8_t *bytes)
{
        for (size_t i = first; i < last; i++) {
                size_t from = hello->ranges[i].start > start ? hello->ranges[i].start : start;
                size_t to = hello->ranges[i].end < end ? hello->ranges[i].end : end;
                if (from < to && memcmp(hello->bytes + from, bytes + (from - start), to - from) != 0)
                        return false;
        }
        return true;
}

/* Puts start..end in the place of the ranges first..last, which it touches or overlaps. false: one too many. */
static bool replace_ranges(struct quic_hello *hello, size_t first, size_t last, size_t start, size_t end)
{
        struct quic_hello_range *ranges = hello->ranges;
        size_t behind = hello->range_count - last;

        if (first == last && hello->range_count == QUIC_HELLO_MAX_RANGES)
                return false;
        if (first < last) {
                start = ranges[first].start < start ? ranges[first].start : start;
                end = ranges[last - 1].end > end ? ranges[last - 1].end : end;
        }
        memmove(ranges + first + 1, ranges + last, behind * sizeof(*ranges));
        ranges[first] = (struct quic_hello_range){ (uint16_t)start, (uint16_t)end };
        hello->range_count = first + 1 + behind;
        return true;
}

/* start..end within bytes, and not empty. */
static enum quic_result add(struct quic_hello *hello, size_t start, size_t end, const uint8_t *bytes)
{
        size_t first = 0, last;

        while (first < hello->range_count && hello->ranges[first].end < start)
                first++;
        last = first;
        while (last < hello->range_count && hello->ranges[last].start <= end)
                last++;
        if (!agrees(hello, first, last, start, end, bytes))
                return QUIC_CONFLICT;
        if (!replace_ranges(hello, first, last, start, end))
                return QUIC_TOO_LARGE;
        memcpy(hello->bytes + start, bytes, end - start);
        return QUIC_NEED_MORE;
}

enum quic_result quic_hello_add(struct quic_hello *hello, uint64_t offset, const void *bytes, size_t length)
{
        if (hello->result != QUIC_NEED_MORE)
                return hello->result;
        if (offset > QUIC_HELLO_MAX_BYTES || length > QUIC_HELLO_MAX_BYTES - offset)
                hello->result = QUIC_TOO_LARGE;
        else if (length > 0)
                hello->result = add(hello, (size_t)offset, (size_t)offset + length, bytes);
        return hello->result;
}

static enum quic_result judge(struct quic_hello *hello)
{
        size_t whole = hello->ranges[0].end, seen = hello->ranges[hello->range_count - 1].end, needed;

        switch (client_hello_parse_message(hello->bytes, whole, &hello->contents, &needed)) {
        case CLIENT_HELLO_OK:
                /* Behind it nothing can come before the server has answered. */
                return seen > whole ? QUIC_BAD_HELLO : QUIC_DONE;
        case CLIENT_HELLO_NEED_MORE:
                if (needed > QUIC_HELLO_MAX_BYTES)
                        return QUIC_TOO_LARGE;
                return whole >= MESSAGE_HEADER_SIZE && seen > needed ? QUIC_BAD_HELLO : QUIC_NEED_MORE;
        case CLIENT_HELLO_BAD_NAME:
                return QUIC_BAD_NAME;
        case CLIENT_HELLO_TOO_LARGE:
                return QUIC_TOO_LARGE;
        case CLIENT_HELLO_NOT_TLS:
        case CLIENT_HELLO_MALFORMED:
                break;
        }
        return QUIC_BAD_HELLO;
}

enum quic_result quic_hello_judge(struct quic_hello *hello)
{
        if (hello->result == QUIC_NEED_MORE && hello->range_count > 0 && hello->ranges[0].start == 0)
                hello->result = judge(hello);
        return hello->result;
}
