#include "records/formatter_journal.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "records/sentence.h"

#define REPLACEMENT_LENGTH 3 /* U+FFFD in UTF-8, for one byte */

/* Every text of a decision wholly replaced, once in its field and once in the sentence; names, numbers and times. */
static_assert((DECISION_TEXT_BYTES + SENTENCE_SIZE) * REPLACEMENT_LENGTH + 2048 <= FORMATTER_BODY_SIZE,
              "the longest decision fits");

static void escape(struct text_builder *datagram, uint32_t character)
{
        (void)character;
        text_builder_replacement(datagram);
}

/* Without a newline in it a value needs none of the protocol's lengths. */
static void put_value(struct text_builder *datagram, const char *value, size_t length)
{
        text_builder_byte(datagram, '=');
        text_builder_escaped(datagram, value, length, "", escape);
        text_builder_byte(datagram, '\n');
}

static void put_plain(struct text_builder *datagram, const char *name, const char *value)
{
        text_builder_text(datagram, name);
        put_value(datagram, value, strlen(value));
}

static void put_name(struct text_builder *datagram, const char *name)
{
        text_builder_text(datagram, "AKSEGRESS_");
        for (size_t i = 0; name[i] != '\0'; i++)
                text_builder_byte(datagram, (char)toupper(name[i]));
}

static void put_number(struct text_builder *datagram, const char *name, uint64_t number)
{
        put_name(datagram, name);
        text_builder_byte(datagram, '=');
        text_builder_number(datagram, number);
        text_builder_byte(datagram, '\n');
}

static void put_field(struct text_builder *datagram, const struct decision_field *field)
{
        switch (field->kind) {
        case DECISION_FIELD_TEXT:
                put_name(datagram, field->name);
                put_value(datagram, field->text, field->length);
                break;
        case DECISION_FIELD_NUMBER:
                put_number(datagram, field->name, field->number);
                break;
        case DECISION_FIELD_BOOLEAN:
                put_name(datagram, field->name);
                text_builder_text(datagram, field->number != 0 ? "=true\n" : "=false\n");
                break;
        }
}

static const char *message_id(enum decision_event event)
{
        static const char *const ids[] = {
                [DECISION_EVENT_CONNECTION] = FORMATTER_JOURNAL_ID_CONNECTION,
                [DECISION_EVENT_ALARM] = FORMATTER_JOURNAL_ID_ALARM,
                [DECISION_EVENT_QUERY] = FORMATTER_JOURNAL_ID_QUERY,
                [DECISION_EVENT_PACKET] = FORMATTER_JOURNAL_ID_PACKET,
                [DECISION_EVENT_FLOW] = FORMATTER_JOURNAL_ID_FLOW,
                [DECISION_EVENT_START] = FORMATTER_JOURNAL_ID_START,
                [DECISION_EVENT_SUMMARY] = FORMATTER_JOURNAL_ID_SUMMARY,
        };

        return ids[event];
}

void formatter_journal_stamp(const struct formatter_stamp *stamp, struct text_builder *record)
{
        put_number(record, "seq", stamp->seq);
        put_name(record, "instance");
        put_value(record, stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
        if (stamp->lost > 0)
                put_number(record, "lost", stamp->lost);
}

size_t formatter_journal_body(const struct formatter_style *style, const struct decision *decision,
                              struct text_builder *body)
{
        char sentence[SENTENCE_SIZE];
        struct decision_fields fields;
        size_t stamp_at = text_builder_length(body);

        (void)style;
        sentence_format(decision, sentence);
        put_plain(body, "MESSAGE", sentence);
        put_plain(body, "MESSAGE_ID", message_id(decision->event));
        text_builder_text(body, "PRIORITY=");
        text_builder_number(body, decision_severity(decision));
        text_builder_byte(body, '\n');
        put_plain(body, "SYSLOG_IDENTIFIER", "aksegressd");
        decision_fields(decision, &fields);
        for (size_t i = 0; i < fields.count; i++)
                put_field(body, &fields.items[i]);
        return stamp_at;
}
