#include "records/formatter_json.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/text_builder.h"

#define ESCAPE_LENGTH 6 /* \u001f */

/* Every text of a decision at full length and wholly escaped; times, addresses, numbers and names take the rest. */
#define TEXT_BYTES                                                                                                     \
        (DECISION_CLUSTER_SIZE + DECISION_FEATURE_SIZE + DECISION_RULE_SIZE + DECISION_ALPN_SIZE + DECISION_ID_SIZE +  \
         DECISION_ALARM_SIZE + POLICY_HINT_SIZE + FQDN_MAX_LENGTH)
static_assert(TEXT_BYTES * ESCAPE_LENGTH + 1536 <= FORMATTER_BODY_SIZE, "the longest decision fits");

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

size_t formatter_json_stamp(const struct formatter_stamp *stamp, char buffer[FORMATTER_STAMP_SIZE])
{
        struct text_builder line = text_builder_on(buffer, FORMATTER_STAMP_SIZE);

        text_builder_text(&line, "{\"seq\":");
        text_builder_number(&line, stamp->seq);
        text_builder_text(&line, ",\"instance\":");
        text_builder_quoted(&line, stamp->instance, strnlen(stamp->instance, FORMATTER_INSTANCE_SIZE - 1));
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
