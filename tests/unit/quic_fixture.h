/* What the tests of QUIC share: datagrams before a guard page, keys, and ready made hellos. Include after cmocka.h. */
#pragma once

#include "guarded.h"
#include "inspect/quic_initial.h"
#include "quic_builder.h"

#define NAME "mcr.microsoft.com"
#define DIRECTORY "tests/data/quic/"

static struct guarded guarded;
static struct quic_keys *keys;
/* Large, so not on the stack; each test writes before it reads. */
static struct hello_bytes message, extensions, frames, datagram;
static struct quic_hello hello;

static inline int open_fixture(void **state)
{
        (void)state;
        guarded_open(&guarded, HELLO_MAX_BYTES);
        return quic_keys_new(&keys);
}

static inline int close_fixture(void **state)
{
        (void)state;
        quic_keys_free(keys);
        guarded_close(&guarded);
        return 0;
}

static inline enum quic_result read_into(struct quic_hello *into, const uint8_t *bytes, size_t length)
{
        return quic_initial_read(keys, guarded_copy(&guarded, bytes, length), length, into);
}

/* A datagram of a connection of its own. */
static inline enum quic_result read_alone(const struct hello_bytes *bytes)
{
        quic_hello_start(&hello);
        return read_into(&hello, bytes->bytes, bytes->length);
}

/* A browser's hello as a bare message. */
static inline void build_message(const char *name)
{
        extensions.length = message.length = 0;
        hello_put_browser_extensions(&extensions, name);
        hello_put_message(&message, &hello_fixed_good, &extensions);
}

/* A datagram with these frames in one Initial packet. */
static inline void build_datagram(const struct quic_recipe *recipe)
{
        datagram.length = 0;
        quic_put_initial(&datagram, recipe, &frames);
}

/* The message's bytes start..end and padding up to the usual size, in one datagram. */
static inline void build_part(size_t start, size_t end)
{
        frames.length = 0;
        quic_put_crypto(&frames, start, message.bytes + start, end - start);
        if (frames.length < 1162)
                quic_put_padding(&frames, 1162 - frames.length);
        build_datagram(&quic_recipe_good);
}
