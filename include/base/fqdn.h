/*
 * A domain name in the one form in which this program compares names: ASCII lower case, no trailing dot,
 * labels of 1 to 63 letters, digits, hyphens and underscores, at most 253 bytes (RFC 1035 2.3.4).
 *
 * A text whose last label is a number (1.2.3.4, 0x7f.1, 2130706433) is an address written as a name and
 * not a name: resolvers and HTTP clients read such forms as IPv4 addresses (WHATWG URL, "ends in a number").
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define FQDN_MAX_LENGTH 253      /* RFC 1035 2.3.4, without the trailing dot */
#define FQDN_MAX_LABEL_LENGTH 63 /* RFC 1035 2.3.4 */
#define FQDN_MAX_LABELS 127      /* one-byte labels and the dots between them in 253 bytes */

struct fqdn {
        uint8_t length;                 /* 0: no name */
        char text[FQDN_MAX_LENGTH + 1]; /* NUL-terminated, no NUL before length */
};

/*
 * Checks and normalises length bytes that need not end in NUL. Leaves *ret untouched on failure.
 *
 * Returns 0, or -EINVAL: the bytes are not a name.
 */
MUST_CHECK int fqdn_from_bytes(const void *bytes, size_t length, struct fqdn *ret);

/* The same for a NUL-terminated text. */
MUST_CHECK int fqdn_from_text(const char *text, struct fqdn *ret);

/* Whether name is zone or lies below it. Everything lies in the empty zone. */
bool fqdn_is_within(const struct fqdn *name, const struct fqdn *zone);

/* Whether both are the same name. Two empty ones are equal. */
bool fqdn_equal(const struct fqdn *a, const struct fqdn *b);
