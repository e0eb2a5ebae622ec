/*
 * Input: a byte (how the rest is cut), then a chunked body and what follows. Its end must not depend on the cuts, and must be
 * where a decoder that sees everything at once finds it.
 */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "inspect/http_response.h"

/* Returns the length of the body, -EAGAIN, or -EBADMSG. */
static long read_in_pieces(const uint8_t *data, size_t size, unsigned seed)
{
        struct http_body_reader reader;
        size_t total = 0, taken = 0;

        http_body_start(&reader, HTTP_BODY_CHUNKED, 0);
        while (total < size && !reader.done) {
                size_t count = seed == 0 ? size - total : 1 + (size_t)rand_r(&seed) % 7;
                count = count < size - total ? count : size - total;
                uint8_t *exact = malloc(count);
                CHECK(exact != NULL);
                memcpy(exact, data + total, count);
                int r = http_body_feed(&reader, exact, count, &taken);
                free(exact);
                if (r < 0) {
                        CHECK(r == -EBADMSG);
                        return r;
                }
                CHECK(taken <= count && (taken == count || reader.done));
                total += taken;
        }
        return reader.done ? (long)total : -EAGAIN;
}

/* The length of the line at data with its CR LF; 0 when it has none within size. */
static size_t line_length(const uint8_t *data, size_t size)
{
        const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;

        return end != NULL && end > data && end[-1] == '\r' ? (size_t)(end - data) + 1 : 0;
}

/* The end of the body as read from the whole of it, without its finer rules. -EAGAIN: no end in sight. */
static long reference_end(const uint8_t *data, size_t size)
{
        size_t at = 0, line;
        unsigned long long chunk;

        do {
                line = line_length(data + at, size - at);
                if (line == 0 || !isxdigit(data[at]))
                        return -EAGAIN;
                char digits[32] = { 0 };
                size_t count = 0;
                for (size_t i = 0; i < line && isxdigit(data[at + i]); i++)
                        if (count > 0 || data[at + i] != '0')
                                digits[count < 30 ? count++ : 30] = (char)data[at + i];
                chunk = strtoull(digits, NULL, 16);
                at += line;
                if (chunk == 0)
                        break;
                if (chunk > size - at || size - at - chunk < 2)
                        return -EAGAIN;
                at += chunk + 2;
        } while (at < size);
        while ((line = line_length(data + at, size - at)) > 2)
                at += line;
        return line == 2 ? (long)(at + 2) : -EAGAIN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        long whole = read_in_pieces(data + 1, size - 1, 0);
        CHECK(read_in_pieces(data + 1, size - 1, 1u + data[0]) == whole);
        if (whole >= 0)
                CHECK(reference_end(data + 1, size - 1) == whole);
        return 0;
}
