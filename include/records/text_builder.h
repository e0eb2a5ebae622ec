/*
 * Appends to a buffer that is known to be large enough: running over its end is a bug of ours and ends the program.
 * Kept inline, since formatters call it for every character that matters.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text_builder {
        char *start; /* borrowed */
        char *next;
        char *end;
};

static inline struct text_builder text_builder_on(char *buffer, size_t size)
{
        return (struct text_builder){ .start = buffer, .next = buffer, .end = buffer + size };
}

static inline size_t text_builder_length(const struct text_builder *builder)
{
        return (size_t)(builder->next - builder->start);
}

static inline void text_builder_bytes(struct text_builder *builder, const void *bytes, size_t length)
{
        assert(length <= (size_t)(builder->end - builder->next));
        memcpy(builder->next, bytes, length);
        builder->next += length;
}

static inline void text_builder_text(struct text_builder *builder, const char *text)
{
        text_builder_bytes(builder, text, strlen(text));
}

static inline void text_builder_byte(struct text_builder *builder, char byte)
{
        text_builder_bytes(builder, &byte, 1);
}

/* In decimal. */
void text_builder_number(struct text_builder *builder, uint64_t number);
