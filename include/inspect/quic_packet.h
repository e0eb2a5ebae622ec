/*
 * QUIC packets with a long header, as far as they can be read without keys: RFC 8999 for every version, RFC 9000 17.2 and
 * RFC 9369 3 for versions 1 and 2. Tells which of the datagrams that were dropped are QUIC. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/byte_cursor.h"
#include "base/compiler.h"

#define QUIC_VERSION_1 0x00000001u
#define QUIC_VERSION_2 0x6b3343cfu
#define QUIC_MAX_CONNECTION_ID 20 /* RFC 9000 17.2 */
#define QUIC_MIN_DATAGRAM 1200    /* RFC 9000 14.1: what a client's first one has at least */

enum quic_packet_kind {
        QUIC_PACKET_NONE = 0,      /* not QUIC, or not to be told from other bytes (short headers) */
        QUIC_PACKET_INITIAL,       /* of version 1 or 2, as are the next two */
        QUIC_PACKET_OTHER_TYPE,    /* 0-RTT, Handshake or Retry */
        QUIC_PACKET_CUT,           /* its lengths do not fit: the rest of the datagram is lost */
        QUIC_PACKET_OTHER_VERSION, /* nothing is known of it but version and connection identifier */
        QUIC_PACKET_NEGOTIATION,   /* a server's list of versions */
};

/* A value; what it points to is borrowed from the datagram. */
struct quic_packet {
        enum quic_packet_kind kind;
        uint32_t version;
        uint8_t destination_id_length;
        uint8_t destination_id[QUIC_MAX_CONNECTION_ID];
        struct byte_cursor bytes; /* the whole packet, header protection still on */
        size_t number_offset;     /* Initial: of the packet number in bytes; at least 20 bytes are there */
};

/*
 * Takes the next of the packets that a datagram may hold together (RFC 9000 12.2). NONE: there is none; *datagram is
 * untouched then. Only INITIAL and OTHER_TYPE of a known length can have another one behind them.
 */
enum quic_packet_kind quic_packet_take(struct byte_cursor *datagram, struct quic_packet *ret);

/*
 * What the datagram begins with, for the protocol in a record. Stricter than quic_packet_take where nothing but the look of
 * it tells QUIC from other protocols (NTP and DNS can have the first bytes of some version): an unknown version counts only
 * in a datagram of at least QUIC_MIN_DATAGRAM bytes. *ret is undefined after NONE.
 */
enum quic_packet_kind quic_packet_classify(const void *datagram, size_t length, struct quic_packet *ret);
