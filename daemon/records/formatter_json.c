#include "records/formatter_json.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "records/text_builder.h"

#define UTF8_MAX_LENGTH 4
#define ESCAPE_LENGTH 6 /* \u001f */

/* Every text of a decision at full length and wholly escaped; times, addresses, numbers and names take the rest. */
#define TEXT_BYTES                                                                                                     \
        (DECISION_CLUSTER_SIZE + DECISION_FEATURE_SIZE + DECISION_RULE_SIZE + DECISION_ALPN_SIZE + DECISION_ID_SIZE +  \
         DECISION_ALARM_SIZE + POLICY_HINT_SIZE + FQDN_MAX_LENGTH)
static_assert(TEXT_BYTES * ESCAPE_LENGTH + 1024 <= FORMATTER_BODY_SIZE, "the longest decision fits");

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

/* Quote, backslash and control characters (RFC 8259 7). */
static void put_escaped(struct text_builder *line, uint8_t byte)
{
        static const char digits[] = "0123456789abcdef";

        if (byte == '"' || byte == '\\') {
                text_builder_byte(line, '\\');
                text_builder_byte(line, (char)byte);
                return;
        }
        text_builder_text(line, "\\u00");
        text_builder_byte(line, digits[byte >> 4]);
        text_builder_byte(line, digits[byte & 0xf]);
}

static bool needs_escape(uint8_t byte)
{
        return byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f;
}

static void put_text(struct text_builder *line, const char *text, size_t length)
{
        text_builder_byte(line, '"');
        for (size_t i = 0; i < length;) {
                uint8_t byte = (uint8_t)text[i];
                uint8_t bytes[UTF8_MAX_LENGTH] = { byte };

                if (needs_escape(byte)) {
                        put_escaped(line, byte);
                        i++;
                        continue;
                }
                memcpy(bytes, text + i, length - i < sizeof(bytes) ? length - i : sizeof(bytes));
                size_t sequence = utf8_sequence(bytes);
                if (sequence == 0)
                        text_builder_text(line, "\xef\xbf\xbd");
                text_builder_bytes(line, bytes, sequence);
                i += sequence > 0 ? sequence : 1;
        }
        text_builder_byte(line, '"');
}

static void put_field(struct text_builder *line, const struct decision_field *field)
{
        text_builder_byte(line, '"');
        text_builder_text(line, field->name);
        text_builder_text(line, "\":");
        switch (field->kind) {
        case DECISION_FIELD_TEXT:
                put_text(line, field->text, field->length);
                break;
        case DECISION_FIELD_NUMBER:
                text_builder_number(line, field->number);
                break;
        case DECISION_FIELD_BOOLEAN:
                text_builder_text(line, field->number != 0 ? "true" : "false");
                break;
        }
}

size_t formatter_json_stamp(const struct formatter_stamp *stamp, char buffer[FORMATTER_STAMP_SIZE])
{
        struct text_builder line = text_builder_on(buffer, FORMATTER_STAMP_SIZE);

        text_builder_text(&line, "{\"seq\":");
        text_builder_number(&line, stamp->seq);
        text_builder_text(&line, ",\"instance\":");
        put_text(&line, stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
        if (stamp->lost > 0) {
                text_builder_text(&line, ",\"lost\":");
                text_builder_number(&line, stamp->lost);
        }
        text_builder_byte(&line, ',');
        return text_builder_length(&line);
}

size_t formatter_json_body(const struct decision *decision, char buffer[FORMATTER_BODY_SIZE])
{
        struct text_builder line = text_builder_on(buffer, FORMATTER_BODY_SIZE);
        struct decision_fields fields;

        decision_fields(decision, &fields);
        for (size_t i = 0; i < fields.count; i++) {
                if (i > 0)
                        text_builder_byte(&line, ',');
                put_field(&line, &fields.items[i]);
        }
        text_builder_text(&line, "}\n");
        return text_builder_length(&line);
}

size_t formatter_json(const struct decision *decision, const struct formatter_stamp *stamp,
                      char buffer[FORMATTER_LINE_SIZE])
{
        size_t length = formatter_json_stamp(stamp, buffer);

        return length + formatter_json_body(decision, buffer + length);
}
