#include "inspect/ip_packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guarded.h"
#include "values.h"

#define MAX_BYTES 2048

static struct guarded guarded;

static int set_up(void **state)
{
        (void)state;
        guarded_open(&guarded, MAX_BYTES);
        return 0;
}

static int tear_down(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

/* Bytes from hexadecimal digits; spaces are for the reader. */
static size_t bytes_of(const char *text, uint8_t *bytes)
{
        size_t digits = 0;

        for (; *text != '\0'; text++) {
                unsigned value;
                if (*text == ' ')
                        continue;
                assert_int_equal(sscanf((char[]){ *text, '\0' }, "%1x", &value), 1);
                bytes[digits / 2] = (uint8_t)(digits % 2 == 0 ? value << 4 : bytes[digits / 2] | value);
                digits++;
        }
        return digits / 2;
}

static enum ip_packet_status parse_bytes(const uint8_t *bytes, size_t length, struct ip_packet *ret)
{
        return ip_packet_parse(guarded_copy(&guarded, bytes, length), length, ret);
}

static enum ip_packet_status parse(const char *text, struct ip_packet *ret)
{
        uint8_t bytes[MAX_BYTES];

        return parse_bytes(bytes, bytes_of(text, bytes), ret);
}

/* Packets between these, by protocol and what follows the addresses. */
#define FOUR(length, fragment, protocol) "4500 " length " 1234 " fragment " 40" protocol " 0000 0a010203 c6336407 "
#define SIX(length, next)                                                                                              \
        "60000000 " length next "40 20010db8000000000000000000000001 20010db8000000000000000000000002 "
#define SYN "d431 01bb 00000001 00000000 6002 ffff 0000 0000 020405b4 "
#define UDP "d431 01bb 000c 0000 61626364 "

struct row {
        const char *bytes;
        uint8_t protocol;
        int source_port; /* -1: no ports */
        int destination_port;
        bool is_fragment;
        size_t length;
        size_t payload_start;
        size_t payload_length;
};

static const struct row rows[] = {
        /* TCP: SYN with an option, SYN, a header that says it is shorter than it can be */
        { FOUR("002c", "4000", "06") SYN, 6, 0xd431, 443, false, 44, 44, 0 },
        { FOUR("0030", "4000", "06") SYN "41424344", 6, 0xd431, 443, false, 48, 44, 4 },
        { SIX("0018", "06") SYN, 6, 0xd431, 443, false, 64, 64, 0 },
        { FOUR("002c", "4000", "06") "d431 01bb 00000001 00000000 4010 ffff 0000 0000 020405b4", 6, 0xd431, 443, false,
          44, 44, 0 },
        /* UDP: all there; padding behind; cut short; a length of its own that is shorter, or nonsense */
        { FOUR("0020", "0000", "11") UDP, 17, 0xd431, 443, false, 32, 28, 4 },
        { FOUR("0020", "0000", "11") UDP "0000000000", 17, 0xd431, 443, false, 32, 28, 4 },
        { FOUR("05dc", "0000", "11") "d431 01bb 05c8 0000 61626364", 17, 0xd431, 443, false, 1500, 28, 4 },
        { FOUR("0020", "0000", "11") "d431 01bb 000a 0000 61626364", 17, 0xd431, 443, false, 32, 28, 2 },
        { FOUR("0020", "0000", "11") "d431 01bb 0003 0000 61626364", 17, 0xd431, 443, false, 32, 28, 4 },
        { SIX("000c", "11") UDP, 17, 0xd431, 443, false, 52, 48, 4 },
        /* no length, as of packets that hardware is to cut */
        { FOUR("0000", "0000", "11") UDP, 17, 0xd431, 443, false, 32, 28, 4 },
        { SIX("0000", "11") UDP, 17, 0xd431, 443, false, 52, 48, 4 },
        /* options */
        { "4600 0024 1234 0000 40 11 0000 0a010203 c6336407 94040000" UDP, 17, 0xd431, 443, false, 36, 32, 4 },
        /* ICMP of either version, and each in the other's packet */
        { FOUR("001c", "0000", "01") "0800 0000 00010002", 1, -1, 0, false, 28, 28, 0 },
        { SIX("0008", "3a") "8000 0000 00010002", 58, -1, 0, false, 48, 48, 0 },
        { FOUR("001c", "0000", "01") "030d 0000 00000000", 1, -1, 0, false, 28, 28, 0 },
        { FOUR("001c", "0000", "3a") "8000 0000 00010002", 58, -1, 0, false, 28, 20, 8 },
        { SIX("0008", "01") "0800 0000 00010002", 1, -1, 0, false, 48, 40, 8 },
        /* other protocols: SCTP has ports, ESP and GRE have not */
        { FOUR("0020", "0000", "84") "0bb8 0bb9 00000000 00000000", 132, 3000, 3001, false, 32, 20, 12 },
        { FOUR("001c", "0000", "32") "00000001 00000002", 50, -1, 0, false, 28, 20, 8 },
        { SIX("0000", "3b"), 59, -1, 0, false, 40, 40, 0 },
        /* fragments: the first has the ports, a later one has bytes that look like some */
        { FOUR("0020", "2000", "11") UDP, 17, 0xd431, 443, true, 32, 28, 4 },
        { FOUR("0020", "2001", "11") UDP, 17, -1, 0, true, 32, 20, 12 },
        { FOUR("0020", "0001", "11") UDP, 17, -1, 0, true, 32, 20, 12 },
        { SIX("0014", "2c") "11 00 0001 00000007" UDP, 17, 0xd431, 443, true, 60, 56, 4 },
        { SIX("0014", "2c") "11 00 0008 00000007" UDP, 17, -1, 0, true, 60, 48, 12 },
        { SIX("0014", "2c") "11 00 0000 00000007" UDP, 17, 0xd431, 443, false, 60, 56, 4 },
        /* extension headers: hop by hop, routing of 16 bytes, destination options; authentication counts otherwise */
        { SIX("002c", "00") "2b 00 000000000000 3c 01 0000000000000000000000000000 11 00 000000000000" UDP, 17, 0xd431,
          443, false, 84, 80, 4 },
        { SIX("0018", "33") "11 01 0000 00000000 00000000" UDP, 17, 0xd431, 443, false, 64, 60, 4 },
        /* one that is cut off, and one that claims more than there is */
        { SIX("0014", "00") "11 00 00", 0, -1, 0, false, 60, 40, 3 },
        { SIX("0014", "00") "11 ff 000000000000" UDP, 0, -1, 0, false, 60, 40, 20 },
};

static void check_row(const struct row *row, const struct ip_packet *packet)
{
        bool is_ipv4 = row->bytes[0] == '4';
        struct net_address source = address_of(is_ipv4 ? "10.1.2.3" : "2001:db8::1");
        struct net_address destination = address_of(is_ipv4 ? "198.51.100.7" : "2001:db8::2");

        assert_true(net_address_equal(&packet->source, &source));
        assert_true(net_address_equal(&packet->destination, &destination));
        assert_int_equal(packet->protocol, row->protocol);
        assert_int_equal(packet->has_ports, row->source_port != -1);
        assert_int_equal(packet->source_port, row->source_port == -1 ? 0 : row->source_port);
        assert_int_equal(packet->destination_port, row->destination_port);
        assert_int_equal(packet->is_fragment, row->is_fragment);
        assert_int_equal(packet->length, row->length);
        assert_int_equal(packet->payload_start, row->payload_start);
        assert_int_equal(packet->payload_length, row->payload_length);
}

static void packets_say_whom_and_what_for(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct ip_packet packet;
                assert_int_equal(parse(rows[i].bytes, &packet), IP_PACKET_OK);
                check_row(&rows[i], &packet);
        }
}

static void what_is_no_packet_is_refused(void **state)
{
        static const struct {
                const char *bytes;
                enum ip_packet_status status;
        } bad[] = {
                { "", IP_PACKET_NEED_MORE },
                { "45", IP_PACKET_NEED_MORE },
                { "50000000", IP_PACKET_MALFORMED },
                { "00", IP_PACKET_MALFORMED },
                { "f5", IP_PACKET_MALFORMED },
                { "4400 0020 1234 0000 40 11 0000 0a010203 c6336407 " UDP, IP_PACKET_MALFORMED },
                { FOUR("0013", "0000", "11") UDP, IP_PACKET_MALFORMED },
                { "4600 0017 1234 0000 40 11 0000 0a010203 c6336407 94040000" UDP, IP_PACKET_MALFORMED },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct ip_packet packet = { .protocol = 99 };
                assert_int_equal(parse(bad[i].bytes, &packet), bad[i].status);
                assert_int_equal(packet.protocol, 99);
        }
}

/* What a shorter snap length still shows is what the whole packet shows. */
static void a_packet_cut_anywhere_says_nothing_else(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                uint8_t bytes[MAX_BYTES];
                size_t length = bytes_of(rows[i].bytes, bytes), fixed = bytes[0] >> 4 == 4 ? 20 : 40;
                bool has_length = memcmp(bytes + (fixed == 20 ? 2 : 4), "\0\0", 2) != 0;
                struct ip_packet whole, part;
                assert_int_equal(parse_bytes(bytes, length, &whole), IP_PACKET_OK);
                for (size_t cut = 0; cut < length; cut++) {
                        enum ip_packet_status status = parse_bytes(bytes, cut, &part);
                        assert_int_equal(status, cut < fixed ? IP_PACKET_NEED_MORE : IP_PACKET_OK);
                        if (status != IP_PACKET_OK)
                                continue;
                        assert_true(net_address_equal(&part.destination, &whole.destination));
                        assert_true(!has_length || part.length == whole.length);
                        assert_true(!part.has_ports || part.destination_port == whole.destination_port);
                        assert_true(part.payload_start + part.payload_length <= cut);
                        assert_true(part.has_ports || !whole.has_ports || cut < whole.payload_start + 4);
                }
        }
}

static void extension_headers_are_followed_so_far_and_no_farther(void **state)
{
        (void)state;
        for (unsigned count = 0; count <= 2 * IP_PACKET_MAX_EXTENSIONS; count++) {
                uint8_t bytes[MAX_BYTES];
                size_t length = bytes_of(SIX("0100", "3c"), bytes);
                struct ip_packet packet;
                for (unsigned i = 0; i < count; i++)
                        length += bytes_of(i + 1 < count ? "3c00 000000000000" : "1100 000000000000", bytes + length);
                if (count == 0)
                        bytes[6] = IPPROTO_UDP;
                length += bytes_of(UDP, bytes + length);
                assert_int_equal(parse_bytes(bytes, length, &packet), IP_PACKET_OK);
                assert_int_equal(packet.has_ports, count <= IP_PACKET_MAX_EXTENSIONS);
                assert_int_equal(packet.protocol, count <= IP_PACKET_MAX_EXTENSIONS ? IPPROTO_UDP : IPPROTO_DSTOPTS);
        }
}

static void changed_bytes_never_lead_past_the_end(void **state)
{
        unsigned seed = (unsigned)getpid();

        (void)state;
        print_message("seed %u\n", seed);
        for (unsigned round = 0; round < 200000; round++) {
                const struct row *row = &rows[(unsigned)rand_r(&seed) % ARRAY_SIZE(rows)];
                uint8_t bytes[MAX_BYTES];
                size_t length = bytes_of(row->bytes, bytes);
                struct ip_packet packet;
                for (unsigned i = 0; i < 3; i++)
                        bytes[(unsigned)rand_r(&seed) % length] = (uint8_t)rand_r(&seed);
                length -= (unsigned)rand_r(&seed) % 8;
                if (parse_bytes(bytes, length, &packet) == IP_PACKET_OK)
                        assert_true(packet.payload_start <= length &&
                                    packet.payload_length <= length - packet.payload_start);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(packets_say_whom_and_what_for),
                cmocka_unit_test(what_is_no_packet_is_refused),
                cmocka_unit_test(a_packet_cut_anywhere_says_nothing_else),
                cmocka_unit_test(extension_headers_are_followed_so_far_and_no_farther),
                cmocka_unit_test(changed_bytes_never_lead_past_the_end),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
