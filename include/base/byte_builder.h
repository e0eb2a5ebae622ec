/*
 * Appends big-endian numbers and blocks to a buffer without ever passing its end: the counterpart of byte_cursor. What
 * does not fit is not written at all and sets `full`, after which nothing else is written: a writer asks once, at its
 * end.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct byte_builder {
        uint8_t *start; /* borrowed */
        size_t length;  /* written */
        size_t size;
        bool full;
};

static inline struct byte_builder byte_builder_on(uint8_t *buffer, size_t size)
{
        return (struct byte_builder){ .start = buffer, .size = size };
}

static inline void byte_builder_bytes(struct byte_builder *builder, const void *bytes, size_t length)
{
        builder->full = builder->full || length > builder->size - builder->length;
        if (builder->full || length == 0)
                return;
        memcpy(builder->start + builder->length, bytes, length);
        builder->length += length;
}

static inline void byte_builder_u8(struct byte_builder *builder, uint8_t value)
{
        byte_builder_bytes(builder, &value, 1);
}

static inline void byte_builder_u16(struct byte_builder *builder, uint16_t value)
{
        const uint8_t bytes[] = { (uint8_t)(value >> 8), (uint8_t)value };

        byte_builder_bytes(builder, bytes, sizeof(bytes));
}

static inline void byte_builder_u32(struct byte_builder *builder, uint32_t value)
{
        const uint8_t bytes[] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                                  (uint8_t)value };

        byte_builder_bytes(builder, bytes, sizeof(bytes));
}

/* Writes over what is there already: a length that is known only now. */
static inline void byte_builder_set_u16(struct byte_builder *builder, size_t at, uint16_t value)
{
        assert(at + 2 <= builder->length);
        builder->start[at] = (uint8_t)(value >> 8);
        builder->start[at + 1] = (uint8_t)value;
}

static inline void byte_builder_set_u32(struct byte_builder *builder, size_t at, uint32_t value)
{
        byte_builder_set_u16(builder, at, (uint16_t)(value >> 16));
        byte_builder_set_u16(builder, at + 2, (uint16_t)value);
}

/* Takes back what was written past length, and a failure to write more. */
static inline void byte_builder_cut(struct byte_builder *builder, size_t length)
{
        assert(length <= builder->length);
        builder->length = length;
        builder->full = false;
}
