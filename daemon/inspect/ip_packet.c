#include "inspect/ip_packet.h"

#include <netinet/in.h>
#include <string.h>

#include "base/byte_cursor.h"

#define IPV4_MORE_FRAGMENTS 0x2000u
#define IPV4_OFFSET 0x1fffu
#define IPV6_MORE_FRAGMENTS 0x0001u
#define IPV6_OFFSET 0xfff8u

/* RFC 7045 1; netinet/in.h does not have the last two. */
#define EXTENSION_HIP 139
#define EXTENSION_SHIM6 140

#define ICMP_HEADER_SIZE 8 /* RFC 792, 4443 2.1: type, code, checksum, and 4 bytes that depend on the type */

static void skip_to_end(struct byte_cursor *cursor)
{
        *cursor = byte_cursor_from(cursor->next + cursor->left, 0);
}

static struct net_address take_address(struct byte_cursor *cursor, uint8_t family, size_t size)
{
        struct net_address address = { .family = family };
        struct byte_cursor bytes = { 0 };

        if (byte_cursor_take(cursor, size, &bytes))
                memcpy(address.bytes, bytes.next, size);
        return address;
}

/* Bytes behind the packet are padding. Packets that hardware is to cut into many may not say their length (0). */
static bool set_length(struct ip_packet *packet, size_t length, size_t available, struct byte_cursor *cursor)
{
        size_t before = available - cursor->left;

        packet->length = length == 0 ? available : length;
        if (packet->length < before)
                return false;
        if (packet->length < available)
                cursor->left = packet->length - before;
        return true;
}

/*
 *  version, IHL | TOS   | total length          |
 *  identification       | flags, offset         |
 *  TTL   | protocol     | checksum              |
 *  source                                       |
 *  destination                                  |
 *  options, up to IHL times 4 bytes
 *
 * On success the cursor stands behind the options, or at its end.
 */
static enum ip_packet_status parse_ipv4(struct byte_cursor *cursor, struct ip_packet *packet, bool *ret_is_later)
{
        size_t available = cursor->left;
        uint8_t first;
        uint16_t length, fragment;

        if (!byte_cursor_u8(cursor, &first) || !byte_cursor_skip(cursor, 1) || !byte_cursor_u16(cursor, &length) ||
            !byte_cursor_skip(cursor, 2) || !byte_cursor_u16(cursor, &fragment) || !byte_cursor_skip(cursor, 1) ||
            !byte_cursor_u8(cursor, &packet->protocol) || !byte_cursor_skip(cursor, 2) || cursor->left < 8)
                return IP_PACKET_NEED_MORE;
        packet->source = take_address(cursor, AF_INET, 4);
        packet->destination = take_address(cursor, AF_INET, 4);
        size_t header_length = (first & 0x0fu) * 4u;
        if (header_length < 20 || (length != 0 && length < header_length) ||
            !set_length(packet, length, available, cursor))
                return IP_PACKET_MALFORMED;
        if (!byte_cursor_skip(cursor, header_length - 20))
                skip_to_end(cursor);
        packet->is_fragment = (fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET)) != 0;
        *ret_is_later = (fragment & IPV4_OFFSET) != 0;
        return IP_PACKET_OK;
}

static bool is_extension(uint8_t protocol)
{
        return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
               protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH || protocol == IPPROTO_MH ||
               protocol == EXTENSION_HIP || protocol == EXTENSION_SHIM6;
}

/*
 *  next header | length or reserved | offset, more fragments (in a fragment header) |
 *
 * Steps over one extension header, if it is there whole.
 */
static bool skip_extension(struct byte_cursor *cursor, struct ip_packet *packet, bool *is_later)
{
        struct byte_cursor header = *cursor;
        uint8_t next, units;
        uint16_t fragment = 0;
        size_t length = 8;

        if (!byte_cursor_u8(&header, &next) || !byte_cursor_u8(&header, &units) || !byte_cursor_u16(&header, &fragment))
                return false;
        if (packet->protocol == IPPROTO_AH)
                length = ((size_t)units + 2) * 4; /* RFC 4302 2.2 */
        else if (packet->protocol != IPPROTO_FRAGMENT)
                length = ((size_t)units + 1) * 8;
        if (!byte_cursor_skip(cursor, length))
                return false;
        if (packet->protocol == IPPROTO_FRAGMENT) {
                packet->is_fragment |= (fragment & (IPV6_MORE_FRAGMENTS | IPV6_OFFSET)) != 0;
                *is_later = (fragment & IPV6_OFFSET) != 0;
        }
        packet->protocol = next;
        return true;
}

/*
 *  version, class, flow label (4 bytes)         |
 *  payload length       | next   | hop limit    |
 *  source (16)                                  |
 *  destination (16)                             |
 *  extension headers
 *
 * On success the cursor stands behind the extension headers, or at the first that is not to be stepped over.
 */
static enum ip_packet_status parse_ipv6(struct byte_cursor *cursor, struct ip_packet *packet, bool *ret_is_later)
{
        size_t available = cursor->left;
        uint16_t length;

        if (!byte_cursor_skip(cursor, 4) || !byte_cursor_u16(cursor, &length) ||
            !byte_cursor_u8(cursor, &packet->protocol) || !byte_cursor_skip(cursor, 1) || cursor->left < 32)
                return IP_PACKET_NEED_MORE;
        packet->source = take_address(cursor, AF_INET6, 16);
        packet->destination = take_address(cursor, AF_INET6, 16);
        if (!set_length(packet, length == 0 ? 0 : (size_t)length + 40, available, cursor))
                return IP_PACKET_MALFORMED;
        for (unsigned i = 0; i < IP_PACKET_MAX_EXTENSIONS && is_extension(packet->protocol) && !*ret_is_later; i++)
                if (!skip_extension(cursor, packet, ret_is_later))
                        break;
        return IP_PACKET_OK;
}

static bool starts_with_ports(uint8_t protocol)
{
        return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
               protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

/* The cursor stands behind header and options then, or at the end where they are cut off or their length is nonsense. */
static void skip_tcp(struct byte_cursor *cursor)
{
        struct byte_cursor header = *cursor;
        uint8_t offset;

        if (!byte_cursor_skip(&header, 12) || !byte_cursor_u8(&header, &offset) || offset >> 4 < 5 ||
            !byte_cursor_skip(cursor, (size_t)(offset >> 4) * 4))
                skip_to_end(cursor);
}

/* UDP tells its own length, 0 in a jumbogram (RFC 2675 4). */
static void skip_udp(struct byte_cursor *cursor)
{
        struct byte_cursor header = *cursor;
        uint16_t length;

        if (!byte_cursor_skip(&header, 4) || !byte_cursor_u16(&header, &length) || !byte_cursor_skip(cursor, 8)) {
                skip_to_end(cursor);
                return;
        }
        if (length >= 8 && (size_t)length - 8 < cursor->left)
                cursor->left = (size_t)length - 8;
}

static void parse_ports(struct byte_cursor *cursor, struct ip_packet *packet)
{
        struct byte_cursor header = *cursor;
        uint16_t source, destination;

        if (!byte_cursor_u16(&header, &source) || !byte_cursor_u16(&header, &destination))
                return;
        packet->has_ports = true;
        packet->source_port = source;
        packet->destination_port = destination;
        if (packet->protocol == IPPROTO_TCP)
                skip_tcp(cursor);
        else if (packet->protocol == IPPROTO_UDP)
                skip_udp(cursor);
}

static bool is_icmp(const struct ip_packet *packet)
{
        return packet->protocol == (packet->source.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

enum ip_packet_status ip_packet_parse(const void *bytes, size_t length, struct ip_packet *ret)
{
        struct byte_cursor cursor = byte_cursor_from(bytes, length), version = cursor;
        struct ip_packet packet = { 0 };
        enum ip_packet_status status;
        bool is_later = false; /* a fragment other than the first: no header of TCP, UDP or ICMP */
        uint8_t first;

        if (!byte_cursor_u8(&version, &first))
                return IP_PACKET_NEED_MORE;
        if (first >> 4 == 4)
                status = parse_ipv4(&cursor, &packet, &is_later);
        else if (first >> 4 == 6)
                status = parse_ipv6(&cursor, &packet, &is_later);
        else
                return IP_PACKET_MALFORMED;
        if (status != IP_PACKET_OK)
                return status;
        if (!is_later && starts_with_ports(packet.protocol))
                parse_ports(&cursor, &packet);
        else if (!is_later && is_icmp(&packet) && !byte_cursor_skip(&cursor, ICMP_HEADER_SIZE))
                skip_to_end(&cursor);
        packet.payload_start = (size_t)(cursor.next - (const uint8_t *)bytes);
        packet.payload_length = cursor.left;
        *ret = packet;
        return IP_PACKET_OK;
}
