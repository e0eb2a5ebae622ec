/*
 * HTTP/1 response heads and message bodies, as far as a proxy must know where a response ends (RFC 9112 6.3). Pure.
 * As strict as http_request.h: bare LF, obs-fold, a second Content-Length, Content-Length with Transfer-Encoding, a coding
 * other than chunked alone, or a body announced where there can be none (1xx, 204) are MALFORMED. Only a status line
 * without reason phrase may miss the space after the status, as several servers send it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/http_request.h"

#define HTTP_RESPONSE_MAX_BYTES 65536
#define HTTP_BODY_MAX_SIZE_LINE 1024 /* chunk size with its extensions */
#define HTTP_BODY_MAX_TRAILERS 16384 /* all trailer lines of a body */

enum http_response_status {
        HTTP_RESPONSE_OK = 0,
        HTTP_RESPONSE_NEED_MORE,
        HTTP_RESPONSE_MALFORMED, /* also: ambiguous framing, over HTTP_RESPONSE_MAX_BYTES */
};

struct http_response {
        unsigned status;     /* 100 to 599 */
        enum http_body body; /* NONE for 1xx, 204, 304 and answers to HEAD */
        uint64_t body_length;
        bool keep_alive; /* the origin will take another request on this connection */
        size_t length;   /* bytes of the head */
};

/* to_head: the request was HEAD. Writes *ret only on OK. */
MUST_CHECK enum http_response_status http_response_parse(const void *bytes, size_t length, bool to_head,
                                                         struct http_response *ret);

/* Follows a body as it goes by, to find its end. A value; start it with http_body_start. */
struct http_body_reader {
        enum http_body kind;
        uint64_t left; /* bytes of the body or of the current chunk */
        uint8_t state; /* of the chunk parser; private */
        bool done;
        uint64_t line_length; /* of a chunk-size line, or of all trailers; private, bounded */
};

void http_body_start(struct http_body_reader *reader, enum http_body kind, uint64_t length);

/*
 * How many of these bytes belong to the body; reader->done is set when its last byte is among them (at once for NONE and
 * length 0). Returns 0, or -EBADMSG for a malformed chunk (strict: hexadecimal size, extensions only after ";" right behind
 * it, CRLF, trailer fields in order and bounded); the reader is then used up.
 */
MUST_CHECK int http_body_feed(struct http_body_reader *reader, const void *bytes, size_t length, size_t *ret_taken);
