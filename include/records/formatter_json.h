/*
 * A decision as one line of JSON with the field names of docs/decision-log.md. Pure. The result is valid UTF-8 whatever
 * the texts hold: control characters are escaped, bytes that are not UTF-8 become U+FFFD.
 */
#pragma once

#include <stddef.h>

#include "records/decision.h"
#include "records/formatter.h"

/* Writes the object and "\n", no NUL. Returns the length; every decision fits. */
size_t formatter_json(const struct decision *decision, const struct formatter_stamp *stamp,
                      char buffer[FORMATTER_LINE_SIZE]);

/* The two halves of that line: the stamp with the opening brace, and the rest. */
size_t formatter_json_stamp(const struct formatter_stamp *stamp, char buffer[FORMATTER_STAMP_SIZE]);
size_t formatter_json_body(const struct decision *decision, char buffer[FORMATTER_BODY_SIZE]);
