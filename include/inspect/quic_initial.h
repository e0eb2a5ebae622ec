/*
 * Opens the Initial packets in which a QUIC client says which server it wants (RFC 9000, 9001; version 2: RFC 9369), and
 * hands their CRYPTO frames to the connection's hello. Pure but for what OpenSSL keeps inside of quic_keys.
 */
#pragma once

#include <stddef.h>

#include "inspect/quic_hello.h"
#include "inspect/quic_keys.h"

#define QUIC_INITIAL_MAX_BYTES 16384 /* of one packet; no path carries more than jumbo frames of 9,000 */

/*
 * Reads all Initial packets of a datagram that belong to its first packet's connection; hello is what that connection's
 * earlier datagrams left, or fresh from quic_hello_start.
 *
 * NOT_INITIAL, BAD_PACKET, NOT_AUTHENTIC and FAILED say that no packet could be opened, and leave *hello as it was. All
 * other answers are hello->result; a hello that is DONE or bad is the answer at once. No name comes from a packet whose tag
 * is wrong.
 */
enum quic_result quic_initial_read(struct quic_keys *keys, const void *datagram, size_t length,
                                   struct quic_hello *hello);
