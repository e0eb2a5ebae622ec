/*
 * The ClientHello of one QUIC connection, put together from the CRYPTO frames of its Initial packets: in any order, in
 * pieces, with repetitions, from one datagram or several (RFC 9000 19.6). Pure, without allocation.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/client_hello.h"

#define QUIC_HELLO_MAX_BYTES                                                                                           \
        16384 /* a post-quantum hello has 2,000; a QUIC server need not keep over 4,096 (RFC 9000 7.5) */
#define QUIC_HELLO_MAX_RANGES 64 /* runs of bytes with gaps between; Chrome makes at most a dozen pieces of a packet */

/* What came of reading a datagram, or of a hello. */
enum quic_result {
        QUIC_DONE = 0,      /* the whole hello is there and good */
        QUIC_NEED_MORE,     /* good so far */
        QUIC_NOT_INITIAL,   /* no Initial packet of version 1 or 2 in the datagram */
        QUIC_BAD_PACKET,    /* an Initial whose lengths do not fit the datagram, or larger than any hello needs */
        QUIC_NOT_AUTHENTIC, /* its tag is wrong: damaged, or from later in a connection than the client's first flight */
        QUIC_FAILED,        /* OpenSSL could not */
        QUIC_BAD_CONTENT,   /* authentic, and holds what no client may send in an Initial */
        QUIC_CONFLICT,      /* two frames say different things about the same bytes */
        QUIC_TOO_LARGE,     /* over QUIC_HELLO_MAX_BYTES, or over QUIC_HELLO_MAX_RANGES */
        QUIC_BAD_HELLO,     /* not one ClientHello */
        QUIC_BAD_NAME,      /* one with a server_name that is not one domain name */
};

struct quic_hello_range {
        uint16_t start;
        uint16_t end; /* one past the last byte */
};

/*
 * A value of 17 KiB that needs no freeing. Nothing of bytes is touched before a frame lands there, so that a table of them
 * costs what is in use.
 */
struct quic_hello {
        enum quic_result result;      /* NEED_MORE at first; DONE, and what is bad about the hello, stay */
        struct client_hello contents; /* once DONE */
        size_t range_count;
        struct quic_hello_range ranges[QUIC_HELLO_MAX_RANGES]; /* which of bytes are there; in order, none touch */
        uint8_t bytes[QUIC_HELLO_MAX_BYTES];
};

void quic_hello_start(struct quic_hello *hello);

/*
 * Takes the data of a CRYPTO frame. Returns hello->result, which may have become CONFLICT or TOO_LARGE. A hello that is not
 * at NEED_MORE takes nothing.
 */
enum quic_result quic_hello_add(struct quic_hello *hello, uint64_t offset, const void *bytes, size_t length);

/* Says the hello bad for a reason that lies outside of it. Not for one that is DONE or bad already: it stays what it is. */
void quic_hello_fail(struct quic_hello *hello, enum quic_result result);

/* To be called after the last frame of a packet: reads the hello if it is whole. Returns hello->result. */
enum quic_result quic_hello_judge(struct quic_hello *hello);
