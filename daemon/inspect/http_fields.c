#include "inspect/http_fields.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/compiler.h"

enum byte_class {
        BYTE_TOKEN = 1,  /* RFC 9110 5.6.2 */
        BYTE_TARGET = 2, /* visible ASCII without '#': a fragment is never sent (RFC 9112 3.2) */
        BYTE_VALUE = 4,  /* RFC 9110 5.5, with obs-text */
};

#define TOKEN (BYTE_TOKEN | BYTE_TARGET | BYTE_VALUE)
#define VISIBLE (BYTE_TARGET | BYTE_VALUE)
#define SIXTEEN(class)                                                                                                 \
        class, class, class, class, class, class, class, class, class, class, class, class, class, class, class, class

static const uint8_t byte_classes[256] = {
        ['\t'] = BYTE_VALUE,
        [' '] = BYTE_VALUE,
        ['!'] = TOKEN,
        ['"'] = VISIBLE,
        ['#'] = BYTE_TOKEN | BYTE_VALUE,
        ['$'] = TOKEN,
        ['%'] = TOKEN,
        ['&'] = TOKEN,
        ['\''] = TOKEN,
        ['('] = VISIBLE,
        [')'] = VISIBLE,
        ['*'] = TOKEN,
        ['+'] = TOKEN,
        [','] = VISIBLE,
        ['-'] = TOKEN,
        ['.'] = TOKEN,
        ['/'] = VISIBLE,
        ['0'] = TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        [':'] = VISIBLE,
        VISIBLE,
        VISIBLE,
        VISIBLE,
        VISIBLE,
        VISIBLE,
        VISIBLE,
        ['A'] = SIXTEEN(TOKEN),
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        ['['] = VISIBLE,
        VISIBLE,
        VISIBLE,
        ['^'] = TOKEN,
        ['_'] = TOKEN,
        ['`'] = TOKEN,
        ['a'] = SIXTEEN(TOKEN),
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        TOKEN,
        ['{'] = VISIBLE,
        ['|'] = TOKEN,
        ['}'] = VISIBLE,
        ['~'] = TOKEN,
        [0x80] = SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
        SIXTEEN(BYTE_VALUE),
};

static size_t span(struct http_text text, enum byte_class class)
{
        size_t length = 0;

        while (length < text.length && (byte_classes[(uint8_t)text.start[length]] & class) != 0)
                length++;
        return length;
}

size_t http_text_token_length(struct http_text text)
{
        return span(text, BYTE_TOKEN);
}

size_t http_text_target_length(struct http_text text)
{
        return span(text, BYTE_TARGET);
}

bool http_text_is_value(struct http_text text)
{
        return span(text, BYTE_VALUE) == text.length;
}

static char lower(char byte)
{
        return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

bool http_text_starts_with(struct http_text text, const char *literal)
{
        size_t length = strlen(literal);

        if (text.length < length)
                return false;
        for (size_t i = 0; i < length; i++)
                if (lower(text.start[i]) != lower(literal[i]))
                        return false;
        return true;
}

bool http_text_is(struct http_text text, const char *literal)
{
        return text.length == strlen(literal) && http_text_starts_with(text, literal);
}

static void advance(struct http_text *text, size_t count)
{
        text->start += count;
        text->length -= count;
}

bool http_text_cut(struct http_text *rest, char separator, struct http_text *ret)
{
        const char *found = rest->length > 0 ? memchr(rest->start, separator, rest->length) : NULL;

        if (found == NULL)
                return false;
        *ret = (struct http_text){ rest->start, (size_t)(found - rest->start) };
        advance(rest, ret->length + 1);
        return true;
}

int http_text_to_number(struct http_text text, uint64_t *ret)
{
        const uint64_t maximum = INT64_MAX;
        uint64_t number = 0;

        if (text.length == 0)
                return -EINVAL;
        for (size_t i = 0; i < text.length; i++) {
                if (text.start[i] < '0' || text.start[i] > '9')
                        return -EINVAL;
                uint64_t digit = (uint64_t)(text.start[i] - '0');
                if (number > (maximum - digit) / 10)
                        return -EINVAL;
                number = number * 10 + digit;
        }
        *ret = number;
        return 0;
}

/* The least total length with which the head can be whole: how much of CR LF CR LF stands at the end already? */
static size_t least_needed(const char *bytes, size_t length)
{
        static const char end[4] = { '\r', '\n', '\r', '\n' };

        for (size_t present = 3; present > 0; present--)
                if (length >= present && memcmp(bytes + length - present, end, present) == 0)
                        return length + sizeof(end) - present;
        return length + sizeof(end);
}

enum http_head_status http_head_split(const void *bytes, size_t length, size_t maximum, struct http_head *ret,
                                      size_t *ret_needed)
{
        struct http_text rest = { bytes, length < maximum ? length : maximum };
        struct http_head head = { 0 };
        struct http_text line;

        /* Counted here and not only in a whole head: a client that sends short lines byte by byte has us here often. */
        for (unsigned lines = 0; http_text_cut(&rest, '\n', &line); lines++) {
                if (line.length == 0 || line.start[line.length - 1] != '\r')
                        return HTTP_HEAD_MALFORMED;
                line.length--;
                if (head.line.start == NULL) {
                        head.line = line;
                        head.fields.start = rest.start;
                } else if (line.length == 0) {
                        head.fields.length = (size_t)(line.start - head.fields.start);
                        head.length = (size_t)(rest.start - head.line.start);
                        *ret = head;
                        return HTTP_HEAD_OK;
                } else if (lines > HTTP_HEAD_MAX_FIELDS) {
                        return HTTP_HEAD_TOO_LARGE;
                }
        }
        if (length >= maximum)
                return HTTP_HEAD_TOO_LARGE;
        *ret_needed = least_needed(bytes, length);
        return HTTP_HEAD_NEED_MORE;
}

static bool is_white(char byte)
{
        return byte == ' ' || byte == '\t';
}

static struct http_text trim(struct http_text text)
{
        while (text.length > 0 && is_white(text.start[0]))
                advance(&text, 1);
        while (text.length > 0 && is_white(text.start[text.length - 1]))
                text.length--;
        return text;
}

int http_field_next(struct http_text *rest, struct http_field *ret)
{
        struct http_text line, name, value;

        if (!http_text_cut(rest, '\n', &line) || line.length == 0 || line.start[line.length - 1] != '\r')
                return -EBADMSG;
        value = (struct http_text){ line.start, line.length - 1 };
        name = (struct http_text){ line.start, http_text_token_length(value) };
        advance(&value, name.length);
        if (name.length == 0 || value.length == 0 || value.start[0] != ':')
                return -EBADMSG;
        advance(&value, 1);
        if (!http_text_is_value(value))
                return -EBADMSG;
        *ret = (struct http_field){ .name = name, .value = trim(value), .line = { line.start, line.length + 1 } };
        return 0;
}

/* The next element of a comma-separated list of tokens; empty ones are skipped. Returns 1, 0 at the end, or -EBADMSG. */
static int next_token(struct http_text *rest, struct http_text *ret)
{
        while (rest->length > 0) {
                struct http_text element;

                if (!http_text_cut(rest, ',', &element)) {
                        element = *rest;
                        advance(rest, rest->length);
                }
                element = trim(element);
                if (element.length == 0)
                        continue;
                if (http_text_token_length(element) != element.length)
                        return -EBADMSG;
                *ret = element;
                return 1;
        }
        return 0;
}

void http_options_collect(struct http_text fields, struct http_options *ret)
{
        struct http_field field;
        struct http_text name;

        ret->count = 0;
        while (fields.length > 0 && http_field_next(&fields, &field) == 0) {
                if (!http_text_is(field.name, "connection"))
                        continue;
                while (ret->count < HTTP_HEAD_MAX_OPTIONS && next_token(&field.value, &name) > 0)
                        ret->names[ret->count++] = name;
        }
}

bool http_options_contain(const struct http_options *options, struct http_text name)
{
        for (size_t i = 0; i < options->count; i++)
                if (options->names[i].length == name.length &&
                    strncasecmp(options->names[i].start, name.start, name.length) == 0)
                        return true;
        return false;
}

/* The head while it is read: what has been there once must not come again. */
struct reading {
        struct http_fields fields;
        unsigned upgrades;
        unsigned options; /* of Connection */
};

static int read_host(struct reading *reading, struct http_text value)
{
        if (reading->fields.has_host)
                return -EBADMSG;
        reading->fields.has_host = true;
        reading->fields.host = value;
        return 0;
}

static int read_content_length(struct reading *reading, struct http_text value)
{
        if (reading->fields.has_content_length || reading->fields.chunked ||
            http_text_to_number(value, &reading->fields.content_length) < 0)
                return -EBADMSG;
        reading->fields.has_content_length = true;
        return 0;
}

static int read_transfer_encoding(struct reading *reading, struct http_text value)
{
        if (reading->fields.has_content_length || reading->fields.chunked || !http_text_is(value, "chunked"))
                return -EBADMSG;
        reading->fields.chunked = true;
        return 0;
}

static bool must_not_be_hop_by_hop(struct http_text option)
{
        return http_text_is(option, "host") || http_text_is(option, "content-length") ||
               http_text_is(option, "transfer-encoding") || http_text_is(option, "trailer") ||
               http_text_is(option, "expect");
}

static int read_connection(struct reading *reading, struct http_text value)
{
        struct http_text option;
        int r;

        while ((r = next_token(&value, &option)) > 0) {
                if (++reading->options > HTTP_HEAD_MAX_OPTIONS)
                        return -E2BIG;
                if (must_not_be_hop_by_hop(option))
                        return -EBADMSG;
                reading->fields.connection_close |= http_text_is(option, "close");
                reading->fields.connection_upgrade |= http_text_is(option, "upgrade");
        }
        return r;
}

static int read_upgrade(struct reading *reading, struct http_text value)
{
        reading->upgrades++;
        reading->fields.upgrade_websocket = reading->upgrades == 1 && http_text_is(value, "websocket");
        return 0;
}

static int read_expect(struct reading *reading, struct http_text value)
{
        reading->fields.expect_continue |= http_text_is(value, "100-continue");
        return 0;
}

struct known_field {
        const char *name;
        size_t length;
        int (*read)(struct reading *reading, struct http_text value);
};

#define KNOWN(name, read)                                                                                              \
        {                                                                                                              \
                name, sizeof(name) - 1, read                                                                           \
        }

static const struct known_field known_fields[] = {
        KNOWN("host", read_host),
        KNOWN("expect", read_expect),
        KNOWN("upgrade", read_upgrade),
        KNOWN("connection", read_connection),
        KNOWN("content-length", read_content_length),
        KNOWN("transfer-encoding", read_transfer_encoding),
};

static int read_field(struct reading *reading, const struct http_field *field)
{
        for (size_t i = 0; i < ARRAY_SIZE(known_fields); i++)
                if (field->name.length == known_fields[i].length && http_text_is(field->name, known_fields[i].name))
                        return known_fields[i].read(reading, field->value);
        return 0;
}

int http_fields_parse(struct http_text fields, struct http_fields *ret)
{
        struct reading reading = { 0 };

        while (fields.length > 0) {
                struct http_field field;
                int r = http_field_next(&fields, &field);
                if (r == 0)
                        r = read_field(&reading, &field);
                if (r < 0)
                        return r;
        }
        *ret = reading.fields;
        return 0;
}
