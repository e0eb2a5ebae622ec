#include "inspect/quic_initial.h"

#include <errno.h>
#include <string.h>

#include "inspect/quic_packet.h"

/*
 * Frames that an Initial packet may hold (RFC 9000 12.4, 19), numbers as varints:
 *
 *   PADDING 0x00    PING 0x01
 *   ACK 0x02, 0x03  largest  delay  range_count  first_range  range_count × { gap  range }  [ 0x03: three counts ]
 *   CRYPTO 0x06     offset  length  data
 *   CONNECTION_CLOSE 0x1c  error  frame_type  length  reason
 */
#define FRAME_PADDING 0x00
#define FRAME_PING 0x01
#define FRAME_ACK 0x02
#define FRAME_ACK_ECN 0x03
#define FRAME_CRYPTO 0x06
#define FRAME_CONNECTION_CLOSE 0x1c

#define PROTECTED_BITS 0x0f /* of the first byte of a long header (RFC 9001 5.4.1) */
#define RESERVED_BITS 0x0c
#define NUMBER_LENGTH_BITS 0x03
#define NUMBER_MAX_LENGTH 4

static bool skip_varints(struct byte_cursor *frames, uint64_t count)
{
        uint64_t ignored;

        for (uint64_t i = 0; i < count; i++)
                if (!byte_cursor_varint(frames, &ignored))
                        return false;
        return true;
}

static bool take_counted(struct byte_cursor *frames, struct byte_cursor *ret)
{
        uint64_t length;

        return byte_cursor_varint(frames, &length) && length <= frames->left &&
               byte_cursor_take(frames, (size_t)length, ret);
}

static bool skip_ack(struct byte_cursor *frames, bool with_counts)
{
        uint64_t range_count;

        /* Two numbers a range, and 2^62 - 1 ranges at most: that is still a number. */
        return skip_varints(frames, 2) && byte_cursor_varint(frames, &range_count) &&
               skip_varints(frames, 1 + 2 * range_count + (with_counts ? 3 : 0));
}

static bool take_crypto(struct byte_cursor *frames, struct quic_hello *hello)
{
        struct byte_cursor data;
        uint64_t offset;

        if (!byte_cursor_varint(frames, &offset) || !take_counted(frames, &data))
                return false;
        (void)quic_hello_add(hello, offset, data.next, data.left);
        return true;
}

/* The rest of most Initial packets. */
static void skip_padding(struct byte_cursor *frames)
{
        size_t length = 0;

        while (length < frames->left && frames->next[length] == FRAME_PADDING)
                length++;
        *frames = byte_cursor_from(frames->next + length, frames->left - length);
}

static bool take_frame(struct byte_cursor *frames, struct quic_hello *hello)
{
        struct byte_cursor reason;
        uint8_t type;

        if (!byte_cursor_u8(frames, &type))
                return false;
        switch (type) {
        case FRAME_PADDING:
                skip_padding(frames);
                return true;
        case FRAME_PING:
                return true;
        case FRAME_ACK:
        case FRAME_ACK_ECN:
                return skip_ack(frames, type == FRAME_ACK_ECN);
        case FRAME_CRYPTO:
                return take_crypto(frames, hello);
        case FRAME_CONNECTION_CLOSE:
                return skip_varints(frames, 2) && take_counted(frames, &reason);
        default:
                return false;
        }
}

/* A packet without any frame is one error more (RFC 9000 12.4). */
static void read_frames(struct byte_cursor frames, struct quic_hello *hello)
{
        do {
                if (!take_frame(&frames, hello)) {
                        quic_hello_fail(hello, QUIC_BAD_CONTENT);
                        return;
                }
        } while (frames.left > 0);
        (void)quic_hello_judge(hello);
}

/* Takes the header protection off. false: OpenSSL failed. */
static bool unmask(struct quic_keys *keys, uint8_t *packet, size_t number_offset, size_t *ret_number_length)
{
        uint8_t mask[QUIC_KEYS_MASK_SIZE];

        if (quic_keys_mask(keys, packet + number_offset + NUMBER_MAX_LENGTH, mask) < 0)
                return false;
        packet[0] ^= mask[0] & PROTECTED_BITS;
        *ret_number_length = 1 + (size_t)(packet[0] & NUMBER_LENGTH_BITS);
        for (size_t i = 0; i < *ret_number_length; i++)
                packet[number_offset + i] ^= mask[1 + i];
        return true;
}

/*
 * Before any acknowledgement a sender writes its packet numbers in full (RFC 9000 17.1), so there is no number to complete.
 * Returns DONE when the packet is open, its frames in *ret.
 */
static enum quic_result open_packet(struct quic_keys *keys, const struct quic_packet *packet, uint8_t *bytes,
                                    struct byte_cursor *ret)
{
        size_t length = packet->bytes.left, number_length;
        uint64_t number = 0;

        memcpy(bytes, packet->bytes.next, length);
        if (quic_keys_derive(keys, packet->version, packet->destination_id, packet->destination_id_length) < 0 ||
            !unmask(keys, bytes, packet->number_offset, &number_length))
                return QUIC_FAILED;
        for (size_t i = 0; i < number_length; i++)
                number = number << 8 | bytes[packet->number_offset + i];
        size_t header_length = packet->number_offset + number_length;
        int r = quic_keys_open(keys, number, bytes, header_length, bytes + header_length, length - header_length);
        if (r < 0)
                return r == -EBADMSG ? QUIC_NOT_AUTHENTIC : QUIC_FAILED;
        *ret = byte_cursor_from(bytes + header_length, length - header_length - QUIC_KEYS_TAG_SIZE);
        return QUIC_DONE;
}

/* Not inlined, so that only who opens a packet has it on the stack. DONE: it was opened, and hello says the rest. */
__attribute__((noinline)) static enum quic_result read_packet(struct quic_keys *keys, const struct quic_packet *packet,
                                                              struct quic_hello *hello)
{
        uint8_t bytes[QUIC_INITIAL_MAX_BYTES];
        struct byte_cursor frames = { 0 };

        if (packet->bytes.left > sizeof(bytes))
                return QUIC_BAD_PACKET;
        enum quic_result result = open_packet(keys, packet, bytes, &frames);
        if (result != QUIC_DONE)
                return result;
        if ((bytes[0] & RESERVED_BITS) != 0)
                quic_hello_fail(hello, QUIC_BAD_CONTENT); /* RFC 9000 17.2 */
        else
                read_frames(frames, hello);
        return QUIC_DONE;
}

static bool same_connection(const struct quic_packet *a, const struct quic_packet *b)
{
        return a->version == b->version && a->destination_id_length == b->destination_id_length &&
               memcmp(a->destination_id, b->destination_id, a->destination_id_length) == 0;
}

enum quic_result quic_initial_read(struct quic_keys *keys, const void *datagram, size_t length,
                                   struct quic_hello *hello)
{
        struct byte_cursor rest = byte_cursor_from(datagram, length);
        struct quic_packet first = { 0 }, packet;
        enum quic_result result = QUIC_NOT_INITIAL; /* of the first Initial, until one is opened */

        if (hello->result != QUIC_NEED_MORE)
                return hello->result;
        /* What follows with another identifier does not belong to the connection (RFC 9000 12.2). */
        for (size_t i = 0; quic_packet_take(&rest, &packet) != QUIC_PACKET_NONE; i++) {
                enum quic_result one = QUIC_BAD_PACKET;

                if (i == 0)
                        first = packet;
                if (!same_connection(&first, &packet))
                        break;
                if (packet.kind == QUIC_PACKET_INITIAL)
                        one = read_packet(keys, &packet, hello);
                else if (packet.kind != QUIC_PACKET_CUT)
                        continue;
                if (one == QUIC_DONE || result == QUIC_NOT_INITIAL)
                        result = one;
        }
        return result == QUIC_DONE ? hello->result : result;
}
