#include "records/formatter_json.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/text_builder.h"

#define ESCAPE_LENGTH 6 /* \u001f */

/* Every text wholly escaped; times, addresses, numbers, names and a syslog header take the rest. */
static_assert(DECISION_TEXT_BYTES * ESCAPE_LENGTH + 2048 <= FORMATTER_BODY_SIZE, "the longest decision fits");

static void put_field(struct text_builder *line, const struct decision_field *field)
{
        text_builder_byte(line, '"');
        text_builder_text(line, field->name);
        text_builder_text(line, "\":");
        switch (field->kind) {
        case DECISION_FIELD_TEXT:
                text_builder_quoted(line, field->text, field->length);
                break;
        case DECISION_FIELD_NUMBER:
                text_builder_number(line, field->number);
                break;
        case DECISION_FIELD_BOOLEAN:
                text_builder_text(line, field->number != 0 ? "true" : "false");
                break;
        }
}

void formatter_json_stamp(const struct formatter_stamp *stamp, struct text_builder *record)
{
        text_builder_text(record, "\"seq\":");
        text_builder_number(record, stamp->seq);
        text_builder_text(record, ",\"instance\":");
        text_builder_quoted(record, stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
        if (stamp->lost > 0) {
                text_builder_text(record, ",\"lost\":");
                text_builder_number(record, stamp->lost);
        }
        text_builder_byte(record, ',');
}

void formatter_json_members(const struct decision *decision, struct text_builder *body)
{
        struct decision_fields fields;

        decision_fields(decision, &fields);
        for (size_t i = 0; i < fields.count; i++) {
                if (i > 0)
                        text_builder_byte(body, ',');
                put_field(body, &fields.items[i]);
        }
}

size_t formatter_json_body(const struct formatter_style *style, const struct decision *decision,
                           struct text_builder *body)
{
        size_t stamp_at;

        (void)style;
        text_builder_byte(body, '{');
        stamp_at = text_builder_length(body);
        formatter_json_members(decision, body);
        text_builder_byte(body, '}');
        return stamp_at;
}
