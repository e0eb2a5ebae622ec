/*
 * A decision as one record of some format. A record is a body, which says what was decided, and a stamp, which says where
 * it stands in its sink's row of records. The body is written once for all sinks of the same style; each sink puts its
 * stamp into it when it writes, so that seq has no unexplained gap. Pure.
 *
 * Whatever a text of a decision holds, no byte of it can end the record, end its field or begin an escape sequence of a
 * terminal: each format has its own way to write such bytes, and what it cannot write becomes U+FFFD. Records end
 * without a newline: how records are kept apart is the sink's business.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text_builder.h"
#include "policy/config.h"
#include "records/decision.h"

#define FORMATTER_STAMP_SIZE 256
#define FORMATTER_BODY_SIZE 14848
#define FORMATTER_RECORD_SIZE (FORMATTER_STAMP_SIZE + FORMATTER_BODY_SIZE)

#define FORMATTER_INSTANCE_SIZE 33  /* 32 hexadecimal digits and NUL */
#define FORMATTER_HOST_NAME_SIZE 65 /* HOST_NAME_MAX and NUL */

/* Everything but the decision that a body depends on. Equal styles give equal bodies. */
struct formatter_style {
        enum config_format format;
        bool has_syslog_header;  /* before the record, unless the format has its own */
        uint8_t facility;        /* of the syslog header, RFC 5424 6.2.1: 0 to 23 */
        const char *host_name;   /* of this machine; borrowed, shorter than FORMATTER_HOST_NAME_SIZE */
        const char *resource_id; /* azure: the ID to be written, "" for none; borrowed */
};

/* What a sink adds to a decision. lost 0: the field is absent. */
struct formatter_stamp {
        uint64_t seq;
        uint64_t lost;
        const char *instance; /* shorter than FORMATTER_INSTANCE_SIZE */
};

/* A record without its stamp. */
struct formatter_body {
        size_t length;
        size_t stamp_at; /* bytes before the stamp */
        char bytes[FORMATTER_BODY_SIZE];
};

bool formatter_style_equals(const struct formatter_style *a, const struct formatter_style *b);

/* Writes the body; every decision fits. */
void formatter_write_body(const struct formatter_style *style, const struct decision *decision,
                          struct formatter_body *ret);

/* Puts a body of this format and the stamp together; no NUL. Returns the length. */
size_t formatter_complete(enum config_format format, const struct formatter_stamp *stamp, const char *body,
                          size_t body_length, size_t stamp_at, char record[FORMATTER_RECORD_SIZE]);
