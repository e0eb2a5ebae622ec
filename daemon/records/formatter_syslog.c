#include "records/formatter_syslog.h"

#include <assert.h>
#include <string.h>

#include "records/sentence.h"

#define FACILITY_SHIFT 3     /* PRI is facility * 8 + severity, RFC 5424 6.2.1 */
#define REPLACEMENT_LENGTH 3 /* U+FFFD in UTF-8, for one byte: the longest that one becomes */

/* Every text wholly replaced, once in its parameter and once in the sentence; header, names, numbers and times. */
static_assert((DECISION_TEXT_BYTES + SENTENCE_SIZE) * REPLACEMENT_LENGTH + 2048 <= FORMATTER_BODY_SIZE,
              "the longest decision fits");

/* A control character has no form of its own in a message, and a newline would end it for receivers of lines. */
static void escape_text(struct text_builder *body, uint32_t character)
{
        (void)character;
        text_builder_replacement(body);
}

/* RFC 5424 6.3.3: these three are escaped with a backslash; a backslash before any other character stands for itself. */
static void escape_value(struct text_builder *body, uint32_t character)
{
        if (character != '"' && character != '\\' && character != ']') {
                text_builder_replacement(body);
                return;
        }
        text_builder_byte(body, '\\');
        text_builder_byte(body, (char)character);
}

static void put_text(struct text_builder *body, const char *name, const char *text, size_t length)
{
        text_builder_byte(body, ' ');
        text_builder_text(body, name);
        text_builder_text(body, "=\"");
        text_builder_escaped(body, text, length, "\"\\]", escape_value);
        text_builder_byte(body, '"');
}

static void put_number(struct text_builder *body, const char *name, uint64_t number)
{
        text_builder_byte(body, ' ');
        text_builder_text(body, name);
        text_builder_text(body, "=\"");
        text_builder_number(body, number);
        text_builder_byte(body, '"');
}

static void put_field(struct text_builder *body, const struct decision_field *field)
{
        switch (field->kind) {
        case DECISION_FIELD_TEXT:
                put_text(body, field->name, field->text, field->length);
                break;
        case DECISION_FIELD_NUMBER:
                put_number(body, field->name, field->number);
                break;
        case DECISION_FIELD_BOOLEAN:
                put_text(body, field->name, field->number != 0 ? "true" : "false", field->number != 0 ? 4 : 5);
                break;
        }
}

/* A time that the calendar cannot express is nil (RFC 5424 6.2.3). */
static void put_time(struct text_builder *body, const struct decision *decision)
{
        char text[DECISION_TIME_SIZE];
        size_t length = decision_time_format(decision->time_us, text);

        if (length > 0)
                text_builder_bytes(body, text, length);
        else
                text_builder_byte(body, '-');
}

/* The kernel takes any bytes for a host name. The header takes printable ASCII (6.2.4), and "-" for what is unknown. */
static void put_host_name(struct text_builder *body, const char *host_name)
{
        size_t length = strnlen(host_name, FORMATTER_HOST_NAME_SIZE - 1);
        bool is_printable = length > 0;

        for (size_t i = 0; i < length; i++)
                is_printable = is_printable && host_name[i] > ' ' && host_name[i] < 0x7f;
        if (is_printable)
                text_builder_bytes(body, host_name, length);
        else
                text_builder_byte(body, '-');
}

/* Up to MSGID. */
static void put_header(const struct formatter_style *style, const struct decision *decision, struct text_builder *body)
{
        text_builder_byte(body, '<');
        text_builder_number(body, ((unsigned)style->facility << FACILITY_SHIFT) + decision_severity(decision));
        text_builder_text(body, ">1 ");
        put_time(body, decision);
        text_builder_byte(body, ' ');
        put_host_name(body, style->host_name);
        text_builder_text(body, " aksegressd - ");
        text_builder_text(body, decision_event_text(decision));
        text_builder_byte(body, ' ');
}

void formatter_syslog_header(const struct formatter_style *style, const struct decision *decision,
                             struct text_builder *body)
{
        put_header(style, decision, body);
        text_builder_text(body, "- ");
}

size_t formatter_syslog_body(const struct formatter_style *style, const struct decision *decision,
                             struct text_builder *body)
{
        char sentence[SENTENCE_SIZE];
        struct decision_fields fields;
        size_t stamp_at;
        size_t length;

        put_header(style, decision, body);
        text_builder_text(body, "[" FORMATTER_SYSLOG_SD_ID);
        stamp_at = text_builder_length(body);
        decision_fields(decision, &fields);
        for (size_t i = 0; i < fields.count; i++)
                put_field(body, &fields.items[i]);
        text_builder_text(body, "] ");
        length = sentence_format(decision, sentence);
        text_builder_escaped(body, sentence, length, "", escape_text);
        return stamp_at;
}

void formatter_syslog_stamp(const struct formatter_stamp *stamp, struct text_builder *record)
{
        put_number(record, "seq", stamp->seq);
        put_text(record, "instance", stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
        if (stamp->lost > 0)
                put_number(record, "lost", stamp->lost);
}
