/* A decision as one JSON object (RFC 8259) with the field names of docs/decision-log.md; for formatter.c. */
#pragma once

#include "records/formatter.h"

/* Appends the body; returns where the stamp goes. */
size_t formatter_json_body(const struct formatter_style *style, const struct decision *decision,
                           struct text_builder *body);
void formatter_json_stamp(const struct formatter_stamp *stamp, struct text_builder *record);

/* The members of that object without its braces, for formats that hold it. */
void formatter_json_members(const struct decision *decision, struct text_builder *body);
