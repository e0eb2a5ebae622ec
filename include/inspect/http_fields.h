/*
 * What request and response heads share: where a head ends, its field lines, and the fields that decide framing
 * (RFC 9110 5, RFC 9112 2 to 6). Strict, as http_request.h says. Pure; all texts point into the caller's bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define HTTP_HEAD_MAX_FIELDS 200
#define HTTP_HEAD_MAX_OPTIONS 32 /* names in all Connection fields: each is compared with each field */

/* A run of bytes; borrowed, not NUL-terminated. */
struct http_text {
        const char *start;
        size_t length;
};

/* Case-insensitive for ASCII, and for nothing else. */
bool http_text_is(struct http_text text, const char *literal);
bool http_text_starts_with(struct http_text text, const char *literal);

/* Splits off the bytes before the first separator, which is skipped; false when there is none. */
MUST_CHECK bool http_text_cut(struct http_text *rest, char separator, struct http_text *ret);

/* How many bytes at the start may stand in a token (RFC 9110 5.6.2), and in a request target: visible ASCII but '#'. */
size_t http_text_token_length(struct http_text text);
size_t http_text_target_length(struct http_text text);

/* Whether every byte may stand in a field value: no control but tab. */
bool http_text_is_value(struct http_text text);

/* Decimal digits only, at most 2^63 - 1. Returns 0 or -EINVAL; *ret untouched then. */
MUST_CHECK int http_text_to_number(struct http_text text, uint64_t *ret);

enum http_head_status {
        HTTP_HEAD_OK = 0,
        HTTP_HEAD_NEED_MORE,
        HTTP_HEAD_MALFORMED, /* a line that does not end in CR LF */
        HTTP_HEAD_TOO_LARGE, /* over maximum, or over HTTP_HEAD_MAX_FIELDS, said at the first line too many */
};

/* A head taken apart: its first line and its field lines, both without the empty line at the end. */
struct http_head {
        struct http_text line;   /* without CR LF */
        struct http_text fields; /* whole lines with their CR LF; for http_field_next */
        size_t length;           /* with the empty line */
};

/* Finds the empty line within the first maximum bytes. Writes *ret only on OK, *ret_needed on NEED_MORE. */
MUST_CHECK enum http_head_status http_head_split(const void *bytes, size_t length, size_t maximum,
                                                 struct http_head *ret, size_t *ret_needed);

struct http_field {
        struct http_text name;
        struct http_text value; /* without white space around it */
        struct http_text line;  /* as it stands, with CR LF */
};

/* Takes the first line off *rest, which must not be empty. Returns 0, or -EBADMSG: not a field line. */
MUST_CHECK int http_field_next(struct http_text *rest, struct http_field *ret);

/*
 * The names in all Connection fields: the fields that go no further than the next hop (RFC 9110 7.6.1). Those past
 * HTTP_HEAD_MAX_OPTIONS are left out; http_fields_parse refuses such a head.
 */
struct http_options {
        struct http_text names[HTTP_HEAD_MAX_OPTIONS];
        size_t count;
};

void http_options_collect(struct http_text fields, struct http_options *ret);
bool http_options_contain(const struct http_options *options, struct http_text name);

/* The fields that a proxy must understand. */
struct http_fields {
        struct http_text host;
        bool has_host;
        bool has_content_length;
        uint64_t content_length;
        bool chunked; /* Transfer-Encoding: chunked */
        bool connection_close;
        bool connection_upgrade;
        bool upgrade_websocket; /* one Upgrade field, and it says websocket */
        bool expect_continue;
};

/*
 * Reads all field lines. Refuses a second Host, Content-Length or Transfer-Encoding, both of the latter, a coding other
 * than chunked, and a Connection field that names Host, Content-Length, Transfer-Encoding, Trailer or Expect: who obeys it
 * drops them, who does not keeps them, and the two see different messages.
 *
 * Returns 0, -EBADMSG, or -E2BIG: more than HTTP_HEAD_MAX_OPTIONS. *ret is written on success only.
 */
MUST_CHECK int http_fields_parse(struct http_text fields, struct http_fields *ret);
