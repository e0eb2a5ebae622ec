/*
 * Builds protected QUIC Initial packets from any frames, for tests, fuzz targets and benches. Keys come from OpenSSL's own
 * HKDF, so that it knows nothing of the code that it tests.
 */
#pragma once

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdbool.h>

#include "hello_builder.h"

#define QUIC_BUILDER_TAG_SIZE 16

struct quic_builder_keys {
        uint8_t secret[32];
        uint8_t key[16];
        uint8_t iv[12];
        uint8_t header[16];
};

/* What a packet is made of; every field can be made wrong. */
struct quic_recipe {
        size_t version; /* 1, or anything else for version 2 */
        const void *destination_id;
        size_t destination_id_length;
        size_t source_id_length;
        size_t token_length;
        size_t number;
        size_t number_length;
        size_t reserved_bits;
        size_t length_size; /* of the varint before the packet number */
};

static const struct quic_recipe quic_recipe_good = { 1, "\x83\x94\xc8\xf0\x3e\x51\x57\x08", 8, 0, 0, 2, 4, 0, 2 };

/* One step of HKDF with SHA-256; label NULL: extract with salt, else expand the secret. */
static inline void quic_builder_hkdf(const void *secret, size_t secret_length, const void *salt, const char *label,
                                     void *ret, size_t size)
{
        int mode = label == NULL ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY : EVP_KDF_HKDF_MODE_EXPAND_ONLY;
        char digest[] = "SHA256", prefix[] = "tls13 ", text[32] = "";
        uint8_t key[32], salt_copy[20];
        OSSL_PARAM parameters[6], *next = parameters;

        assert(secret_length <= sizeof(key));
        memcpy(key, secret, secret_length);
        *next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
        *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, secret_length);
        if (label == NULL) {
                memcpy(salt_copy, salt, sizeof(salt_copy));
                *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt_copy, sizeof(salt_copy));
        } else {
                memcpy(text, label, strlen(label));
                *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, strlen(prefix));
                *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, text, strlen(label));
        }
        *next = OSSL_PARAM_construct_end();
        EVP_KDF *kdf = EVP_KDF_fetch(NULL, label == NULL ? "HKDF" : "TLS13-KDF", NULL);
        EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
        int derived = EVP_KDF_derive(context, ret, size, parameters);
        assert(derived == 1);
        (void)derived;
        EVP_KDF_CTX_free(context);
        EVP_KDF_free(kdf);
}

static inline void quic_builder_derive(const struct quic_recipe *recipe, struct quic_builder_keys *ret)
{
        static const uint8_t salts[2][21] = {
                "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
                "\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
        };
        bool second = recipe->version != 1;
        uint8_t initial[32];

        quic_builder_hkdf(recipe->destination_id, recipe->destination_id_length, salts[second], NULL, initial, 32);
        quic_builder_hkdf(initial, 32, NULL, "client in", ret->secret, 32);
        quic_builder_hkdf(ret->secret, 32, NULL, second ? "quicv2 key" : "quic key", ret->key, 16);
        quic_builder_hkdf(ret->secret, 32, NULL, second ? "quicv2 iv" : "quic iv", ret->iv, 12);
        quic_builder_hkdf(ret->secret, 32, NULL, second ? "quicv2 hp" : "quic hp", ret->header, 16);
}

static inline void quic_put_varint_of(struct hello_bytes *out, size_t size, size_t number)
{
        size_t form = size == 8 ? 3 : size / 2; /* 1, 2, 4, 8 bytes: 0, 1, 2, 3 */

        assert(size == 1 || size == 2 || size == 4 || size == 8);
        hello_put_number(out, size, number);
        out->bytes[out->length - size] |= (uint8_t)(form << 6);
}

static inline void quic_put_varint(struct hello_bytes *out, size_t number)
{
        quic_put_varint_of(out, number < 64 ? 1 : number < 16384 ? 2 : number < 1 << 30 ? 4 : 8, number);
}

static inline void quic_put_padding(struct hello_bytes *out, size_t length)
{
        assert(length <= sizeof(out->bytes) - out->length);
        memset(out->bytes + out->length, 0, length);
        out->length += length;
}

/* A CRYPTO frame. */
static inline void quic_put_crypto(struct hello_bytes *out, size_t offset, const void *bytes, size_t length)
{
        quic_put_varint(out, 6);
        quic_put_varint(out, offset);
        quic_put_varint(out, length);
        hello_put(out, bytes, length);
}

/* Everything up to and without the packet number; Initial is type 0 of version 1 and type 1 of version 2. */
static inline void quic_put_header(struct hello_bytes *out, const struct quic_recipe *recipe, size_t payload_length)
{
        size_t type = recipe->version == 1 ? 0 : 1;

        hello_put_number(out, 1, 0xc0 | type << 4 | recipe->reserved_bits << 2 | (recipe->number_length - 1));
        hello_put_number(out, 4, recipe->version == 1 ? 1 : 0x6b3343cf);
        hello_put_number(out, 1, recipe->destination_id_length);
        hello_put(out, recipe->destination_id, recipe->destination_id_length);
        hello_put_number(out, 1, recipe->source_id_length);
        hello_put_filler(out, recipe->source_id_length);
        quic_put_varint(out, recipe->token_length);
        hello_put_filler(out, recipe->token_length);
        quic_put_varint_of(out, recipe->length_size, recipe->number_length + payload_length + QUIC_BUILDER_TAG_SIZE);
}

/* Encrypts the payload behind the packet's header, and appends the tag. */
static inline void quic_builder_seal(const struct quic_builder_keys *keys, size_t number, const uint8_t *header,
                                     size_t header_length, const struct hello_bytes *payload, struct hello_bytes *out)
{
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        uint8_t nonce[12], tag[QUIC_BUILDER_TAG_SIZE];
        int written, good;

        memcpy(nonce, keys->iv, sizeof(nonce));
        for (size_t i = 0; i < 8; i++)
                nonce[11 - i] ^= (uint8_t)(number >> (8 * i));
        uint8_t *sealed = out->bytes + out->length;
        hello_put(out, payload->bytes, payload->length);
        good = EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, keys->key, nonce) &&
               EVP_EncryptUpdate(context, NULL, &written, header, (int)header_length) &&
               EVP_EncryptUpdate(context, sealed, &written, payload->bytes, (int)payload->length) &&
               EVP_EncryptFinal_ex(context, sealed, &written) &&
               EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), tag);
        assert(good);
        (void)good;
        EVP_CIPHER_CTX_free(context);
        hello_put(out, tag, sizeof(tag));
}

static inline void quic_builder_mask(const struct quic_builder_keys *keys, const uint8_t sample[16], uint8_t ret[16])
{
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        int written, good;

        good = EVP_EncryptInit_ex(context, EVP_aes_128_ecb(), NULL, keys->header, NULL) &&
               EVP_EncryptUpdate(context, ret, &written, sample, 16);
        assert(good);
        (void)good;
        EVP_CIPHER_CTX_free(context);
}

/* Appends a protected Initial packet with these frames: with the number at least 4 bytes. */
static inline void quic_put_initial(struct hello_bytes *out, const struct quic_recipe *recipe,
                                    const struct hello_bytes *frames)
{
        struct quic_builder_keys keys;
        size_t start = out->length, number_at;
        uint8_t mask[16];

        assert(recipe->number_length + frames->length >= 4);
        quic_builder_derive(recipe, &keys);
        quic_put_header(out, recipe, frames->length);
        number_at = out->length;
        hello_put_number(out, recipe->number_length, recipe->number);
        quic_builder_seal(&keys, recipe->number, out->bytes + start, out->length - start, frames, out);
        quic_builder_mask(&keys, out->bytes + number_at + 4, mask);
        out->bytes[start] ^= mask[0] & 0x0f;
        for (size_t i = 0; i < recipe->number_length; i++)
                out->bytes[number_at + i] ^= mask[1 + i];
}
