/*
 * What a client of the admin listeners asks for: a request head with a path to GET or HEAD, and nothing else. Pure, and as
 * strict about heads as inspect/http_fields.h; Host is not looked at, since there is one site only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "inspect/http_fields.h"

#define ADMIN_REQUEST_MAX_BYTES 8192

enum admin_request_status {
        ADMIN_REQUEST_OK = 0,
        ADMIN_REQUEST_NEED_MORE,
        ADMIN_REQUEST_MALFORMED,
        ADMIN_REQUEST_TOO_LARGE,  /* no end within ADMIN_REQUEST_MAX_BYTES, or too many fields */
        ADMIN_REQUEST_BAD_METHOD, /* neither GET nor HEAD */
        ADMIN_REQUEST_HAS_BODY,
};

struct admin_request {
        struct http_text path; /* in the caller's bytes, without a query */
        bool head_method;      /* the answer has no body */
        bool keep_alive;       /* HTTP/1.1 without Connection: close */
        size_t length;         /* bytes of the head */
};

/* Writes *ret only on OK. After any answer but OK and NEED_MORE it is not known where a next request would begin. */
MUST_CHECK enum admin_request_status admin_request_parse(const void *bytes, size_t length, struct admin_request *ret);
