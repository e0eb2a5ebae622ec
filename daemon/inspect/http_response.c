#include "inspect/http_response.h"

#include <errno.h>
#include <string.h>

#include "inspect/http_fields.h"

/* HTTP/1.x SP 3DIGIT [ SP reason ] (RFC 9112 4) */
#define STATUS_OFFSET 9
#define STATUS_END 12

static bool parse_status_line(struct http_text line, unsigned *ret_status, bool *ret_version_1_1)
{
        const char *text = line.start;
        struct http_text digits = { text + STATUS_OFFSET, STATUS_END - STATUS_OFFSET };
        uint64_t status;

        if (line.length < STATUS_END || memcmp(text, "HTTP/1.", 7) != 0 || (text[7] != '0' && text[7] != '1') ||
            text[8] != ' ' || http_text_to_number(digits, &status) < 0 || status < 100 || status > 599)
                return false;
        if (line.length > STATUS_END && text[STATUS_END] != ' ')
                return false;
        *ret_status = (unsigned)status;
        *ret_version_1_1 = text[7] == '1';
        return http_text_is_value(line);
}

/* RFC 9112 6.3, first the cases without a body. */
static bool decide_body(const struct http_fields *fields, bool version_1_1, bool to_head, struct http_response *ret)
{
        bool never = ret->status < 200 || ret->status == 204;

        if (fields->chunked && !version_1_1)
                return false;
        if (never && (fields->chunked || fields->content_length > 0))
                return false;
        if (never || ret->status == 304 || to_head)
                return true;
        ret->body = HTTP_BODY_UNTIL_CLOSE;
        if (fields->chunked)
                ret->body = HTTP_BODY_CHUNKED;
        else if (fields->has_content_length)
                ret->body = fields->content_length > 0 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
        ret->body_length = fields->content_length;
        return true;
}

static bool parse_head(const struct http_head *head, bool to_head, struct http_response *ret)
{
        struct http_response response = { .length = head->length };
        struct http_fields fields;
        bool version_1_1;

        if (!parse_status_line(head->line, &response.status, &version_1_1) ||
            http_fields_parse(head->fields, &fields) < 0 || !decide_body(&fields, version_1_1, to_head, &response))
                return false;
        response.keep_alive = version_1_1 && !fields.connection_close && response.body != HTTP_BODY_UNTIL_CLOSE;
        *ret = response;
        return true;
}

enum http_response_status http_response_parse(const void *bytes, size_t length, bool to_head, struct http_response *ret)
{
        struct http_head head;
        size_t needed;

        switch (http_head_split(bytes, length, HTTP_RESPONSE_MAX_BYTES, &head, &needed)) {
        case HTTP_HEAD_OK:
                return parse_head(&head, to_head, ret) ? HTTP_RESPONSE_OK : HTTP_RESPONSE_MALFORMED;
        case HTTP_HEAD_NEED_MORE:
                return HTTP_RESPONSE_NEED_MORE;
        case HTTP_HEAD_MALFORMED:
        case HTTP_HEAD_TOO_LARGE:
                break;
        }
        return HTTP_RESPONSE_MALFORMED;
}

/*
 * chunked-body (RFC 9112 7.1): *( size [ ";" extension ] CR LF  data CR LF )  "0" [ ";" extension ] CR LF  trailers  CR LF
 * Each state names what the next byte is.
 */
enum chunk_state {
        CHUNK_SIZE_FIRST = 0,
        CHUNK_SIZE,
        CHUNK_EXTENSION,
        CHUNK_SIZE_LF,
        CHUNK_DATA,
        CHUNK_DATA_CR,
        CHUNK_DATA_LF,
        CHUNK_TRAILER_FIRST,
        CHUNK_TRAILER_NAME,
        CHUNK_TRAILER_VALUE,
        CHUNK_TRAILER_LF,
        CHUNK_LAST_LF,
        CHUNK_END,
        CHUNK_BAD, /* an answer of the functions below, and what stays after it */
};

void http_body_start(struct http_body_reader *reader, enum http_body kind, uint64_t length)
{
        *reader = (struct http_body_reader){ .kind = kind, .state = CHUNK_SIZE_FIRST };
        if (kind == HTTP_BODY_LENGTH)
                reader->left = length;
        reader->done = kind == HTTP_BODY_NONE || (kind == HTTP_BODY_LENGTH && length == 0);
}

static enum chunk_state add_size_digit(struct http_body_reader *reader, char byte)
{
        const char digits[] = "0123456789abcdef";
        const char *digit = memchr(digits, byte >= 'A' && byte <= 'F' ? byte - 'A' + 'a' : byte, 16);

        /* Sizes stay below 2^63, as everywhere. */
        if (digit == NULL || reader->left > (uint64_t)INT64_MAX >> 4)
                return CHUNK_BAD;
        reader->left = reader->left << 4 | (uint64_t)(digit - digits);
        return CHUNK_SIZE;
}

static enum chunk_state after_size(struct http_body_reader *reader, char byte)
{
        if (byte == '\r')
                return CHUNK_SIZE_LF;
        return byte == ';' ? CHUNK_EXTENSION : add_size_digit(reader, byte);
}

/* Text up to a CR: a value byte stays where it is. */
static enum chunk_state text_until_cr(char byte, enum chunk_state same, enum chunk_state next)
{
        if (byte == '\r')
                return next;
        return http_text_is_value((struct http_text){ &byte, 1 }) ? same : CHUNK_BAD;
}

static enum chunk_state trailer_name(char byte, bool first)
{
        if (byte == ':' && !first)
                return CHUNK_TRAILER_VALUE;
        if (byte == '\r' && first)
                return CHUNK_LAST_LF;
        return http_text_token_length((struct http_text){ &byte, 1 }) == 1 ? CHUNK_TRAILER_NAME : CHUNK_BAD;
}

static enum chunk_state expect_byte(char byte, char expected, enum chunk_state next)
{
        return byte == expected ? next : CHUNK_BAD;
}

/* Never called for CHUNK_DATA, which goes by in runs. */
static enum chunk_state next_state(struct http_body_reader *reader, char byte)
{
        switch ((enum chunk_state)reader->state) {
        case CHUNK_SIZE_FIRST:
                return add_size_digit(reader, byte);
        case CHUNK_SIZE:
                return after_size(reader, byte);
        case CHUNK_EXTENSION:
                return text_until_cr(byte, CHUNK_EXTENSION, CHUNK_SIZE_LF);
        case CHUNK_SIZE_LF:
                return expect_byte(byte, '\n', reader->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_FIRST);
        case CHUNK_DATA_CR:
                return expect_byte(byte, '\r', CHUNK_DATA_LF);
        case CHUNK_DATA_LF:
                return expect_byte(byte, '\n', CHUNK_SIZE_FIRST);
        case CHUNK_TRAILER_FIRST:
                return trailer_name(byte, true);
        case CHUNK_TRAILER_NAME:
                return trailer_name(byte, false);
        case CHUNK_TRAILER_VALUE:
                return text_until_cr(byte, CHUNK_TRAILER_VALUE, CHUNK_TRAILER_LF);
        case CHUNK_TRAILER_LF:
                return expect_byte(byte, '\n', CHUNK_TRAILER_FIRST);
        case CHUNK_LAST_LF:
                return expect_byte(byte, '\n', CHUNK_END);
        case CHUNK_DATA:
        case CHUNK_END:
        case CHUNK_BAD:
                break;
        }
        return CHUNK_BAD;
}

/* Size lines count from each chunk's start, trailers all together. */
static bool count_line_byte(struct http_body_reader *reader)
{
        bool trailers = reader->state >= CHUNK_TRAILER_FIRST;

        if (reader->state == CHUNK_SIZE_FIRST)
                reader->line_length = 0;
        reader->line_length++;
        return reader->line_length <= (trailers ? HTTP_BODY_MAX_TRAILERS : HTTP_BODY_MAX_SIZE_LINE);
}

static size_t take_run(struct http_body_reader *reader, size_t length)
{
        size_t count = length < reader->left ? length : (size_t)reader->left;

        reader->left -= count;
        return count;
}

static int feed_chunked(struct http_body_reader *reader, const char *bytes, size_t length, size_t *ret_taken)
{
        size_t taken = 0;

        while (taken < length && !reader->done) {
                if (reader->state == CHUNK_DATA) {
                        taken += take_run(reader, length - taken);
                        if (reader->left == 0)
                                reader->state = CHUNK_DATA_CR;
                        continue;
                }
                reader->state = count_line_byte(reader) ? (uint8_t)next_state(reader, bytes[taken]) : CHUNK_BAD;
                if (reader->state == CHUNK_BAD)
                        return -EBADMSG;
                taken++;
                reader->done = reader->state == CHUNK_END;
        }
        *ret_taken = taken;
        return 0;
}

int http_body_feed(struct http_body_reader *reader, const void *bytes, size_t length, size_t *ret_taken)
{
        switch (reader->kind) {
        case HTTP_BODY_NONE:
                *ret_taken = 0;
                return 0;
        case HTTP_BODY_LENGTH:
                *ret_taken = take_run(reader, length);
                reader->done = reader->left == 0;
                return 0;
        case HTTP_BODY_CHUNKED:
                return feed_chunked(reader, bytes, length, ret_taken);
        case HTTP_BODY_UNTIL_CLOSE:
                *ret_taken = length;
                return 0;
        }
        return -EBADMSG;
}
