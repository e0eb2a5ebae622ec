/* Reads from a DNS answer without addresses how long it may be believed (RFC 2308 5). c-ares has no parser for it. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum negative_ttl_status {
        NEGATIVE_TTL_OK = 0,
        NEGATIVE_TTL_ABSENT, /* no SOA in the authority section: not to be cached for long */
        NEGATIVE_TTL_MALFORMED,
};

/* On OK *ret_s is the lesser of the SOA record's own TTL and its last field. */
MUST_CHECK enum negative_ttl_status negative_ttl_parse(const void *message, size_t length, uint32_t *ret_s);
