/*
 * The keys that protect a client's Initial packets (RFC 9001 5.2, RFC 9369 3.3): everyone who sees the packet can derive
 * them, from its version and its destination connection identifier. Owns the use of OpenSSL for QUIC.
 *
 * All that OpenSSL allocates is kept here and used again, so that a packet allocates nothing. One thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define QUIC_KEYS_SAMPLE_SIZE 16 /* RFC 9001 5.4.3 */
#define QUIC_KEYS_MASK_SIZE 5    /* RFC 9001 5.4.1 */
#define QUIC_KEYS_TAG_SIZE 16    /* RFC 9001 5.3 */

struct quic_keys;

/*
 * Call at start: OpenSSL reads its openssl.cnf now. 0, -ENOMEM, or -ENOTSUP: it does not offer HMAC with SHA-256, AES-128-ECB
 * and AES-128-GCM. _free takes NULL.
 */
MUST_CHECK int quic_keys_new(struct quic_keys **ret);
void quic_keys_free(struct quic_keys *keys);

/*
 * Derives a connection's keys, for the functions below; costs nothing when they are those derived last. version is
 * QUIC_VERSION_1 or QUIC_VERSION_2, length at most QUIC_MAX_CONNECTION_ID. 0 or -EIO (OpenSSL failed; the next call tries
 * again).
 */
MUST_CHECK int quic_keys_derive(struct quic_keys *keys, uint32_t version, const void *destination_id, size_t length);

/* What hides the first byte and the packet number of the packet that this sample is from. 0 or -EIO. */
MUST_CHECK int quic_keys_mask(struct quic_keys *keys, const uint8_t sample[QUIC_KEYS_SAMPLE_SIZE],
                              uint8_t ret[QUIC_KEYS_MASK_SIZE]);

/*
 * Opens a packet's payload where it lies: length bytes, the last QUIC_KEYS_TAG_SIZE of them its tag, which are left as they
 * are. The header is as it was before protection. 0; -EBADMSG: the tag is wrong, what is left of the payload means nothing;
 * -EIO.
 */
MUST_CHECK int quic_keys_open(struct quic_keys *keys, uint64_t packet_number, const uint8_t *header,
                              size_t header_length, uint8_t *payload, size_t length);
