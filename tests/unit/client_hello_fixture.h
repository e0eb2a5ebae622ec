/* What the tests of client_hello share: input before a guard page, and a browser's hello. Include after cmocka.h. */
#pragma once

#include "guarded.h"
#include "hello_builder.h"
#include "inspect/client_hello.h"

#define NAME "mcr.microsoft.com"

static struct guarded guarded;
/* Large, so not on the stack; each test writes before it reads. */
static struct hello_bytes message, extensions, input, other;

static inline int open_guard(void **state)
{
        (void)state;
        guarded_open(&guarded, HELLO_MAX_BYTES);
        return 0;
}

static inline int close_guard(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

static inline enum client_hello_status parse(const uint8_t *bytes, size_t length, struct client_hello *ret,
                                             size_t *ret_needed)
{
        return client_hello_parse(guarded_copy(&guarded, bytes, length), length, ret, ret_needed);
}

static inline enum client_hello_status verdict(const struct hello_bytes *bytes)
{
        struct client_hello hello;
        size_t needed;

        return parse(bytes->bytes, bytes->length, &hello, &needed);
}

/* The hello of a browser in records of at most size bytes. */
static inline void build_browser_hello(struct hello_bytes *out, size_t size)
{
        extensions.length = message.length = out->length = 0;
        hello_put_browser_extensions(&extensions, NAME);
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(out, &message, size);
}

/* A caller that waits as told, while bytes come one by one. */
static inline size_t count_calls(const struct hello_bytes *bytes, enum client_hello_status *ret)
{
        struct client_hello hello;
        size_t calls = 1, needed = 0, length = 1;

        while ((*ret = parse(bytes->bytes, length, &hello, &needed)) == CLIENT_HELLO_NEED_MORE &&
               needed <= bytes->length) {
                length = needed;
                calls++;
        }
        return calls;
}
