/*
 * Reads big-endian numbers and blocks from a run of bytes without ever passing its end: all arithmetic that a
 * parser could get wrong is here. A failed read moves nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct byte_cursor {
        const uint8_t *next; /* borrowed */
        size_t left;         /* bytes */
};

static inline struct byte_cursor byte_cursor_from(const void *bytes, size_t length)
{
        return (struct byte_cursor){ .next = bytes, .left = length };
}

/* Each returns false when fewer bytes are left than asked for. */
MUST_CHECK bool byte_cursor_u8(struct byte_cursor *cursor, uint8_t *ret);
MUST_CHECK bool byte_cursor_u16(struct byte_cursor *cursor, uint16_t *ret);
MUST_CHECK bool byte_cursor_u32(struct byte_cursor *cursor, uint32_t *ret);
/* QUIC's number in 1, 2, 4 or 8 bytes, at most 2^62 - 1 (RFC 9000 16). A longer form than needed is a number too. */
MUST_CHECK bool byte_cursor_varint(struct byte_cursor *cursor, uint64_t *ret);
MUST_CHECK bool byte_cursor_skip(struct byte_cursor *cursor, size_t length);

/* Splits length bytes off into *ret. */
MUST_CHECK bool byte_cursor_take(struct byte_cursor *cursor, size_t length, struct byte_cursor *ret);
