/*
 * Appends texts to a buffer, for what is written too often for snprintf(). No NUL is written. Where the buffer is known to
 * be large enough, running over its end is a bug of ours and ends the program; otherwise what does not fit is left out.
 * Inline, since formatters call it for every character that matters.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text_builder {
        char *start; /* borrowed */
        char *next;
        char *end;
        bool cuts; /* what does not fit is left out */
};

static inline struct text_builder text_builder_on(char *buffer, size_t size)
{
        return (struct text_builder){ .start = buffer, .next = buffer, .end = buffer + size };
}

/* The same for texts that may be longer than the buffer. */
static inline struct text_builder text_builder_cutting_on(char *buffer, size_t size)
{
        return (struct text_builder){ .start = buffer, .next = buffer, .end = buffer + size, .cuts = true };
}

static inline size_t text_builder_length(const struct text_builder *builder)
{
        return (size_t)(builder->next - builder->start);
}

static inline void text_builder_bytes(struct text_builder *builder, const void *bytes, size_t length)
{
        size_t room = (size_t)(builder->end - builder->next);

        if (length > room) {
                assert(builder->cuts);
                length = room;
        }
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

/* Writes one character that must not stand there as it is: one that controls, or one of those the caller named. */
typedef void (*text_builder_escape_fn)(struct text_builder *builder, uint32_t character);

/*
 * Valid UTF-8 whatever the text holds: bytes that are not UTF-8, and code points that are no characters, become U+FFFD.
 * Through escape go the bytes of specials, all of them ASCII, and what controls instead of being seen: U+0000 to U+001F,
 * U+007F to U+009F (which begin escape sequences of terminals as well), U+2028 and U+2029 (which end a line for many who
 * read lines), and U+202A to U+202E and U+2066 to U+2069 (which change the order in which a line is displayed).
 */
void text_builder_escaped(struct text_builder *builder, const char *text, size_t length, const char *specials,
                          text_builder_escape_fn escape);

/* An escape function's last resort: U+FFFD. */
void text_builder_replacement(struct text_builder *builder);

/* In double quotes, as JSON wants a string (RFC 8259 7): as text_builder_escaped, what controls written \uXXXX. */
void text_builder_quoted(struct text_builder *builder, const char *text, size_t length);
