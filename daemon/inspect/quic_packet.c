#include "inspect/quic_packet.h"

#include <string.h>

/*
 * A long header, the same in every version (RFC 8999 5.1):
 *
 *   form(1 bit)=1 …(7 bits)  version(4)  destination_id(1+0..255)  source_id(1+0..255)  …
 *
 * In versions 1 and 2 (RFC 9000 17.2): form=1 fixed=1 type(2 bits) protected(4 bits), identifiers of at most 20 bytes, then
 *
 *   Initial:           token(varint+…)  length(varint)  number(1..4)  payload; length counts the last two
 *   0-RTT, Handshake:  length(varint)  number(1..4)  payload
 *   Retry:             to the end of the datagram
 *
 * Version negotiation (RFC 9000 17.2.1): version 0, and behind the identifiers at least one version(4).
 */
#define FORM_LONG 0x80
#define FIXED_BIT 0x40
#define VERSION_NEGOTIATION 0
#define SAMPLED_BYTES 20 /* the longest packet number and the sample behind it (RFC 9001 5.4.2) */

enum packet_type {
        TYPE_INITIAL = 0,
        TYPE_0RTT,
        TYPE_HANDSHAKE,
        TYPE_RETRY,
};

/* RFC 9369 3.2 turns the types of version 1 by one. */
static enum packet_type packet_type(uint32_t version, uint8_t first)
{
        unsigned type = first >> 4 & 3;

        return version == QUIC_VERSION_2 ? (type + 3) % 4 : type;
}

static void skip_rest(struct byte_cursor *rest)
{
        *rest = byte_cursor_from(rest->next + rest->left, 0);
}

static bool take_identifiers(struct byte_cursor *rest, struct quic_packet *packet)
{
        struct byte_cursor destination;
        uint8_t length;

        if (!byte_cursor_u8(rest, &length) || length > QUIC_MAX_CONNECTION_ID ||
            !byte_cursor_take(rest, length, &destination))
                return false;
        packet->destination_id_length = length;
        memcpy(packet->destination_id, destination.next, length);
        return byte_cursor_u8(rest, &length) && length <= QUIC_MAX_CONNECTION_ID && byte_cursor_skip(rest, length);
}

/* A list of versions, and version 0 is none. */
static bool is_list_of_versions(struct byte_cursor list)
{
        uint32_t version;

        if (list.left == 0 || list.left % 4 != 0)
                return false;
        while (byte_cursor_u32(&list, &version))
                if (version == VERSION_NEGOTIATION)
                        return false;
        return true;
}

/* A number, and as many bytes behind it. */
static bool skip_counted(struct byte_cursor *rest, uint64_t *ret_count)
{
        return byte_cursor_varint(rest, ret_count) && *ret_count <= rest->left &&
               byte_cursor_skip(rest, (size_t)*ret_count);
}

/* Moves rest to the end of the packet. */
static enum quic_packet_kind take_known_version(struct byte_cursor *rest, size_t length, uint8_t first,
                                                struct quic_packet *packet)
{
        enum packet_type type = packet_type(packet->version, first);
        uint64_t token_length, payload_length;

        if (type == TYPE_RETRY) {
                skip_rest(rest);
                return QUIC_PACKET_OTHER_TYPE;
        }
        if (type == TYPE_INITIAL && !skip_counted(rest, &token_length))
                return QUIC_PACKET_CUT;
        if (!skip_counted(rest, &payload_length) || payload_length < SAMPLED_BYTES)
                return QUIC_PACKET_CUT;
        packet->number_offset = length - rest->left - (size_t)payload_length;
        return type == TYPE_INITIAL ? QUIC_PACKET_INITIAL : QUIC_PACKET_OTHER_TYPE;
}

/* Reads from the start of rest, and moves it behind the packet where its end is known, else to the end. */
static enum quic_packet_kind take_packet(struct byte_cursor *rest, struct quic_packet *packet)
{
        size_t length = rest->left;
        enum quic_packet_kind kind = QUIC_PACKET_OTHER_VERSION;
        uint8_t first;

        if (!byte_cursor_u8(rest, &first) || (first & FORM_LONG) == 0 || !byte_cursor_u32(rest, &packet->version) ||
            !take_identifiers(rest, packet))
                return QUIC_PACKET_NONE;
        if (packet->version == VERSION_NEGOTIATION)
                kind = is_list_of_versions(*rest) ? QUIC_PACKET_NEGOTIATION : QUIC_PACKET_NONE;
        else if ((first & FIXED_BIT) == 0)
                kind = QUIC_PACKET_NONE;
        else if (packet->version == QUIC_VERSION_1 || packet->version == QUIC_VERSION_2)
                return take_known_version(rest, length, first, packet);
        skip_rest(rest);
        return kind;
}

enum quic_packet_kind quic_packet_take(struct byte_cursor *datagram, struct quic_packet *ret)
{
        struct byte_cursor input = *datagram, rest = *datagram;
        struct quic_packet packet = { 0 };

        packet.kind = take_packet(&rest, &packet);
        if (packet.kind == QUIC_PACKET_NONE)
                return QUIC_PACKET_NONE;
        if (packet.kind == QUIC_PACKET_CUT)
                skip_rest(&rest);
        if (byte_cursor_take(&input, input.left - rest.left, &packet.bytes))
                *datagram = input;
        *ret = packet;
        return packet.kind;
}

enum quic_packet_kind quic_packet_classify(const void *datagram, size_t length, struct quic_packet *ret)
{
        struct byte_cursor input = byte_cursor_from(datagram, length);
        enum quic_packet_kind kind = quic_packet_take(&input, ret);

        return kind == QUIC_PACKET_OTHER_VERSION && length < QUIC_MIN_DATAGRAM ? QUIC_PACKET_NONE : kind;
}
