/* Builds ClientHellos, right and wrong, for tests, fuzz seeds and benches. */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HELLO_MAX_BYTES 200000

struct hello_bytes {
        size_t length;
        uint8_t bytes[HELLO_MAX_BYTES];
};

static inline void hello_put(struct hello_bytes *out, const void *bytes, size_t length)
{
        assert(length <= sizeof(out->bytes) - out->length);
        memcpy(out->bytes + out->length, bytes, length);
        out->length += length;
}

/* A big-endian number of size bytes. */
static inline void hello_put_number(struct hello_bytes *out, size_t size, size_t number)
{
        for (size_t i = size; i-- > 0;) {
                uint8_t byte = (uint8_t)(number >> (8 * i));
                hello_put(out, &byte, 1);
        }
}

static inline void hello_put_filler(struct hello_bytes *out, size_t length)
{
        for (size_t i = 0; i < length; i++)
                hello_put_number(out, 1, 0x5a);
}

static inline void hello_put_extension(struct hello_bytes *out, size_t type, const void *data, size_t length)
{
        hello_put_number(out, 2, type);
        hello_put_number(out, 2, length);
        hello_put(out, data, length);
}

/* An extension of length bytes whose content does not matter. */
static inline void hello_put_opaque(struct hello_bytes *out, size_t type, size_t length)
{
        hello_put_number(out, 2, type);
        hello_put_number(out, 2, length);
        hello_put_filler(out, length);
}

/* A list with one entry: server_name of any type and content. */
static inline void hello_put_server_name(struct hello_bytes *out, size_t name_type, const void *name, size_t length)
{
        hello_put_number(out, 2, 0);
        hello_put_number(out, 2, length + 5);
        hello_put_number(out, 2, length + 3);
        hello_put_number(out, 1, name_type);
        hello_put_number(out, 2, length);
        hello_put(out, name, length);
}

/* What stands before the extensions; every length can be made wrong. */
struct hello_fixed {
        size_t version;
        size_t session_id;
        size_t cipher_suites; /* bytes */
        size_t compressions;
        uint8_t compression;
};

static const struct hello_fixed hello_fixed_good = { 0x0303, 32, 32, 1, 0 };

/* The whole message; extensions NULL: not even an empty block. */
static inline void hello_put_message(struct hello_bytes *out, const struct hello_fixed *fixed,
                                     const struct hello_bytes *extensions)
{
        size_t start = out->length, size;

        hello_put_number(out, 4, 0x01000000);
        hello_put_number(out, 2, fixed->version);
        hello_put_filler(out, 32);
        hello_put_number(out, 1, fixed->session_id);
        hello_put_filler(out, fixed->session_id);
        hello_put_number(out, 2, fixed->cipher_suites);
        hello_put_filler(out, fixed->cipher_suites);
        hello_put_number(out, 1, fixed->compressions);
        for (size_t i = 0; i < fixed->compressions; i++)
                hello_put_number(out, 1, fixed->compression);
        if (extensions != NULL) {
                hello_put_number(out, 2, extensions->length);
                hello_put(out, extensions->bytes, extensions->length);
        }
        size = out->length - start - 4;
        out->bytes[start + 1] = (uint8_t)(size >> 16);
        out->bytes[start + 2] = (uint8_t)(size >> 8);
        out->bytes[start + 3] = (uint8_t)size;
}

static inline void hello_put_record(struct hello_bytes *out, size_t type, const void *bytes, size_t length)
{
        hello_put_number(out, 1, type);
        hello_put_number(out, 2, 0x0301);
        hello_put_number(out, 2, length);
        hello_put(out, bytes, length);
}

/* The message in records of at most size bytes. */
static inline void hello_put_records(struct hello_bytes *out, const struct hello_bytes *message, size_t size)
{
        for (size_t offset = 0; offset < message->length; offset += size) {
                size_t left = message->length - offset;
                hello_put_record(out, 22, message->bytes + offset, left < size ? left : size);
        }
}

/* Back from records to the message; false when the input is not whole records. */
static inline int hello_take_message(const uint8_t *bytes, size_t length, struct hello_bytes *ret)
{
        ret->length = 0;
        for (size_t offset = 0; offset < length;) {
                size_t size = length - offset >= 5 ? (size_t)bytes[offset + 3] << 8 | bytes[offset + 4] : length;
                if (size > length - offset - 5)
                        return 0;
                hello_put(ret, bytes + offset + 5, size);
                offset += 5 + size;
        }
        return 1;
}

/* What a current browser sends: GREASE, an encrypted hello, a post-quantum key share (1,216 bytes), the name in between. */
static inline void hello_put_browser_extensions(struct hello_bytes *extensions, const char *name)
{
        static const uint8_t alpn[] = "\0\x0c\2h2\x8http/1.1";

        hello_put_opaque(extensions, 0x3a3a, 0);
        hello_put_opaque(extensions, 51, 1263);
        hello_put_opaque(extensions, 43, 7);
        hello_put_opaque(extensions, 65037, 282);
        hello_put_extension(extensions, 16, alpn, sizeof(alpn) - 1);
        hello_put_server_name(extensions, 0, name, strlen(name));
        hello_put_opaque(extensions, 10, 12);
        hello_put_opaque(extensions, 13, 18);
        hello_put_opaque(extensions, 0xfafa, 1);
}

/* Reads a file of hexadecimal digits. */
static inline void hello_read(const char *path, struct hello_bytes *ret)
{
        FILE *file = fopen(path, "re");
        unsigned byte;

        if (file == NULL)
                fprintf(stderr, "%s: cannot be read (run from the project's root)\n", path);
        assert(file != NULL);
        ret->length = 0;
        while (fscanf(file, "%2x", &byte) == 1)
                hello_put_number(ret, 1, byte);
        fclose(file);
}
