#include "base/text_builder.h"

#include <stdbool.h>

#define DIGITS_MAX 20 /* of 2^64 - 1 */
#define UTF8_MAX_LENGTH 4

void text_builder_number(struct text_builder *builder, uint64_t number)
{
        char digits[DIGITS_MAX];
        size_t first = sizeof(digits);

        do {
                digits[--first] = (char)('0' + number % 10);
                number /= 10;
        } while (number > 0);
        text_builder_bytes(builder, digits + first, sizeof(digits) - first);
}

/*
 * Bytes of the UTF-8 sequence at the start of bytes, which are zero behind the end of the text; 0: there is none.
 * Overlong forms, surrogates and what is past U+10FFFF are not UTF-8 (RFC 3629 4).
 */
static size_t utf8_sequence(const uint8_t bytes[UTF8_MAX_LENGTH])
{
        uint8_t low = 0x80;
        uint8_t high = 0xbf;
        size_t length;

        if (bytes[0] < 0x80)
                return 1;
        if (bytes[0] >= 0xc2 && bytes[0] <= 0xdf)
                length = 2;
        else if (bytes[0] >= 0xe0 && bytes[0] <= 0xef)
                length = 3;
        else if (bytes[0] >= 0xf0 && bytes[0] <= 0xf4)
                length = 4;
        else
                return 0;
        if (bytes[0] == 0xe0)
                low = 0xa0;
        else if (bytes[0] == 0xed)
                high = 0x9f;
        else if (bytes[0] == 0xf0)
                low = 0x90;
        else if (bytes[0] == 0xf4)
                high = 0x8f;
        if (bytes[1] < low || bytes[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++)
                if (bytes[i] < 0x80 || bytes[i] > 0xbf)
                        return 0;
        return length;
}

void text_builder_replacement(struct text_builder *builder)
{
        text_builder_text(builder, "\xef\xbf\xbd");
}

/* The bytes that stand for themselves: a bit for each of ASCII. */
struct plain_bytes {
        uint64_t bits[2];
};

static struct plain_bytes plain_bytes_but(const char *specials)
{
        struct plain_bytes plain = { { UINT64_MAX << ' ', UINT64_MAX >> 1 } };

        for (; *specials != '\0'; specials++)
                plain.bits[*specials >> 6 & 1] &= ~(1ull << (*specials & 63));
        return plain;
}

static bool is_plain(const struct plain_bytes *plain, uint8_t byte)
{
        return byte < 0x80 && (plain->bits[byte >> 6] >> (byte & 63) & 1) != 0;
}

/*
 * The character of a sequence that controls; 0: it does not.
 *   U+0080 to U+009F             c2 80 to c2 9f
 *   U+2028 to U+202E             e2 80 a8 to e2 80 ae
 *   U+2066 to U+2069             e2 81 a6 to e2 81 a9
 */
static uint32_t controlling(const uint8_t bytes[UTF8_MAX_LENGTH])
{
        if (bytes[0] == 0xc2 && bytes[1] <= 0x9f)
                return bytes[1];
        if (bytes[0] == 0xe2 && bytes[1] == 0x80 && bytes[2] >= 0xa8 && bytes[2] <= 0xae)
                return 0x2000u + (bytes[2] & 0x3f);
        if (bytes[0] == 0xe2 && bytes[1] == 0x81 && bytes[2] >= 0xa6 && bytes[2] <= 0xa9)
                return 0x2040u + (bytes[2] & 0x3f);
        return 0;
}

/*
 * Whether a sequence is a code point that is never to be a character (Unicode 23.7), which journald takes for binary data:
 *   U+FDD0 to U+FDEF             ef b7 90 to ef b7 af
 *   U+FFFE, U+FFFF               ef bf be, ef bf bf, and the last two of every other plane
 */
static bool is_noncharacter(const uint8_t bytes[UTF8_MAX_LENGTH], size_t length)
{
        const uint8_t *end = bytes + length - 2; /* its last two bytes */

        if (length == 3 && bytes[0] == 0xef && bytes[1] == 0xb7 && bytes[2] >= 0x90 && bytes[2] <= 0xaf)
                return true;
        bool ends_plane = (length == 3 && bytes[0] == 0xef) || (length == 4 && (bytes[1] & 0x0f) == 0x0f);
        return ends_plane && end[0] == 0xbf && end[1] >= 0xbe;
}

/* One character that is not a plain byte: returns how many bytes of the text it took. */
static size_t put_sequence(struct text_builder *builder, const uint8_t bytes[UTF8_MAX_LENGTH],
                           text_builder_escape_fn escape)
{
        size_t length = utf8_sequence(bytes);
        uint32_t control = controlling(bytes);

        if (length == 0) {
                text_builder_replacement(builder);
                return 1;
        }
        if (control != 0)
                escape(builder, control);
        else if (is_noncharacter(bytes, length))
                text_builder_replacement(builder);
        else
                text_builder_bytes(builder, bytes, length);
        return length;
}

void text_builder_escaped(struct text_builder *builder, const char *text, size_t length, const char *specials,
                          text_builder_escape_fn escape)
{
        const struct plain_bytes plain = plain_bytes_but(specials);

        for (size_t i = 0; i < length;) {
                uint8_t bytes[UTF8_MAX_LENGTH] = { 0 };
                size_t start = i;

                while (i < length && is_plain(&plain, (uint8_t)text[i]))
                        i++;
                text_builder_bytes(builder, text + start, i - start);
                if (i == length)
                        return;
                if ((uint8_t)text[i] < 0x80) {
                        escape(builder, (uint8_t)text[i++]);
                        continue;
                }
                memcpy(bytes, text + i, length - i < sizeof(bytes) ? length - i : sizeof(bytes));
                i += put_sequence(builder, bytes, escape);
        }
}

/* Quote, backslash and what controls, none of which is past U+FFFF (RFC 8259 7). */
static void escape_json(struct text_builder *builder, uint32_t character)
{
        static const char digits[] = "0123456789abcdef";

        if (character == '"' || character == '\\') {
                text_builder_byte(builder, '\\');
                text_builder_byte(builder, (char)character);
                return;
        }
        text_builder_text(builder, "\\u");
        for (unsigned shift = 16; shift > 0; shift -= 4)
                text_builder_byte(builder, digits[character >> (shift - 4) & 0xf]);
}

void text_builder_quoted(struct text_builder *builder, const char *text, size_t length)
{
        text_builder_byte(builder, '"');
        text_builder_escaped(builder, text, length, "\"\\", escape_json);
        text_builder_byte(builder, '"');
}
