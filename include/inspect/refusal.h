/* What a refused client reads: an HTTP answer with reason and id, or a TLS alert. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "policy/reason.h"

#define REFUSAL_MAX_BYTES 1536
#define REFUSAL_MAX_HINT 400 /* longer hints are cut */

/*
 * The HTTP/1.1 answer ("HTTP/1.1 403 Forbidden", text/plain body that names reason, meaning, name, hint and id; for machines
 * the reason again as Proxy-Status, RFC 9209; Connection: close; for 503 and 429 a Retry-After). name is the canonical
 * text of a struct fqdn or an address, "" for none; hint may be "". Control bytes become '?'.
 *
 * Returns the length, without a NUL; 0 when the reason has no HTTP answer.
 */
size_t refusal_format_http(enum reason reason, const char *name, const char *hint, const char *connection_id,
                           char buffer[REFUSAL_MAX_BYTES]);

/* The fatal alert record (RFC 8446 6). Returns the length; 0 when the reason has no alert. */
size_t refusal_format_tls(enum reason reason, uint8_t buffer[REFUSAL_MAX_BYTES]);
