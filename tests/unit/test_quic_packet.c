#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "inspect/quic_packet.h"
#include "quic_fixture.h"

#define HEAD_V1                                                                                                        \
        "\x00\x00\x00\x01\x04"                                                                                         \
        "abcd\x02xy"
#define HEAD_V2                                                                                                        \
        "\x6b\x33\x43\xcf\x04"                                                                                         \
        "abcd\x02xy"

static enum quic_packet_kind classify(const void *bytes, size_t length, struct quic_packet *ret)
{
        return quic_packet_classify(guarded_copy(&guarded, bytes, length), length, ret);
}

/* The kind of the first packet of a datagram that is these bytes and then zeros. */
static enum quic_packet_kind kind_of(const char *head, size_t head_length, size_t length)
{
        struct quic_packet packet;

        datagram.length = 0;
        hello_put(&datagram, head, head_length);
        quic_put_padding(&datagram, length - head_length);
        return classify(datagram.bytes, datagram.length, &packet);
}

#define KIND_OF(head, length) kind_of(head, sizeof(head) - 1, length)

static void types_are_those_of_the_version(void **state)
{
        (void)state;
        assert_int_equal(KIND_OF("\xc3" HEAD_V1 "\x00\x14", 1200), QUIC_PACKET_INITIAL);
        assert_int_equal(KIND_OF("\xd3" HEAD_V1 "\x14", 1200), QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(KIND_OF("\xe3" HEAD_V1 "\x14", 1200), QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(KIND_OF("\xf3" HEAD_V1, 100), QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(KIND_OF("\xd3" HEAD_V2 "\x00\x14", 1200), QUIC_PACKET_INITIAL);
        assert_int_equal(KIND_OF("\xe3" HEAD_V2 "\x14", 1200), QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(KIND_OF("\xf3" HEAD_V2 "\x14", 1200), QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(KIND_OF("\xc3" HEAD_V2, 100), QUIC_PACKET_OTHER_TYPE);
}

static void the_identifier_and_the_place_of_the_number_are_found(void **state)
{
        struct quic_packet packet;

        (void)state;
        for (size_t identifier = 0; identifier <= QUIC_MAX_CONNECTION_ID; identifier++) {
                struct quic_recipe recipe = quic_recipe_good;

                recipe.destination_id = "0123456789abcdefghij";
                recipe.destination_id_length = identifier;
                recipe.source_id_length = QUIC_MAX_CONNECTION_ID - identifier;
                recipe.token_length = identifier * 50;
                datagram.length = 0;
                quic_put_header(&datagram, &recipe, 100);
                size_t number_offset = datagram.length;
                hello_put_filler(&datagram, 4 + 100 + QUIC_BUILDER_TAG_SIZE);
                assert_int_equal(classify(datagram.bytes, datagram.length, &packet), QUIC_PACKET_INITIAL);
                assert_int_equal(packet.version, QUIC_VERSION_1);
                assert_int_equal(packet.destination_id_length, identifier);
                assert_memory_equal(packet.destination_id, recipe.destination_id, identifier);
                assert_int_equal(packet.number_offset, number_offset);
                assert_int_equal(packet.bytes.left, datagram.length);
        }
}

static void identifiers_longer_than_any_version_has_are_not_quic(void **state)
{
        (void)state;
        assert_int_equal(KIND_OF("\xc3\x00\x00\x00\x01\x14", 1200), QUIC_PACKET_CUT); /* no token, a length of 0 */
        assert_int_equal(KIND_OF("\xc3\x00\x00\x00\x01\x15", 1200), QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\xc3\x00\x00\x00\x01\x00\x15", 1200), QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\xc3\x00\x00\x00\x01\xff", 1200), QUIC_PACKET_NONE);
}

static void other_versions_are_known_as_such_in_large_datagrams_only(void **state)
{
        (void)state;
        assert_int_equal(KIND_OF("\xcd\x1a\x2a\x3a\x4a\x08", 1200), QUIC_PACKET_OTHER_VERSION);
        assert_int_equal(KIND_OF("\xcd\x1a\x2a\x3a\x4a\x08", 1199), QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\xcd\xff\x00\x00\x1d\x08", 1200), QUIC_PACKET_OTHER_VERSION);
        assert_int_equal(KIND_OF("\x8d\xff\x00\x00\x1d\x08", 1200), QUIC_PACKET_NONE);
}

static void a_list_of_versions_is_a_negotiation(void **state)
{
        (void)state;
        assert_int_equal(KIND_OF("\x80\0\0\0\0\x04"
                                 "abcd\x01z\x00\x00\x00\x01\x6b\x33\x43\xcf",
                                 20),
                         QUIC_PACKET_NEGOTIATION);
        assert_int_equal(KIND_OF("\x80\0\0\0\0\x04"
                                 "abcd\x01z\x00\x00\x00\x01\x6b\x33\x43",
                                 19),
                         QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\x80\0\0\0\0\x04"
                                 "abcd\x01z\x00\x00\x00\x01\x00\x00\x00\x00",
                                 20),
                         QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\x80\0\0\0\0\x04"
                                 "abcd\x01z",
                                 12),
                         QUIC_PACKET_NONE);
}

static void what_other_protocols_send_is_not_quic(void **state)
{
        (void)state;
        assert_int_equal(KIND_OF("\xe3\x00\x03\xfa\x00\x01\x00\x00\x00\x01", 48), QUIC_PACKET_NONE); /* NTP */
        assert_int_equal(KIND_OF("\xe3\x00\x06\x00", 48), QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\xc1\x23\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www", 33), QUIC_PACKET_NONE);
        assert_int_equal(KIND_OF("\x00\x01\x00\x00\x21\x12\xa4\x42", 20), QUIC_PACKET_NONE);      /* STUN */
        assert_int_equal(KIND_OF("\x16\xfe\xfd\x00\x00\x00\x00\x00\x00", 200), QUIC_PACKET_NONE); /* DTLS */
        assert_int_equal(KIND_OF("\x80\x60\x00\x01\x00\x00\x00\x00", 172), QUIC_PACKET_NONE);     /* RTP */
        assert_int_equal(KIND_OF("\x01\x00\x00\x00", 148), QUIC_PACKET_NONE);                     /* WireGuard */
        assert_int_equal(KIND_OF("\x43\x00\x00\x00\x01\x08", 1200), QUIC_PACKET_NONE);            /* a short header */
        assert_int_equal(KIND_OF("", 0), QUIC_PACKET_NONE);
}

static void lengths_that_do_not_fit_are_cut(void **state)
{
        (void)state;
        assert_int_equal(KIND_OF("\xc3" HEAD_V1 "\x00\x44\xb0", 100), QUIC_PACKET_CUT);
        assert_int_equal(KIND_OF("\xc3" HEAD_V1 "\xff\xff\xff\xff\xff\xff\xff\xff", 100), QUIC_PACKET_CUT);
        assert_int_equal(KIND_OF("\xc3" HEAD_V1 "\x00\xff\xff\xff\xff\xff\xff\xff\xff", 100), QUIC_PACKET_CUT);
        assert_int_equal(KIND_OF("\xc3" HEAD_V1 "\x00\x13", 100), QUIC_PACKET_CUT); /* no room for a sample */
        assert_int_equal(KIND_OF("\xc3" HEAD_V1, 13), QUIC_PACKET_CUT);
}

static void every_prefix_is_cut_or_nothing(void **state)
{
        struct quic_packet packet;

        (void)state;
        hello_read(DIRECTORY "kdig-1.hex", &datagram);
        assert_int_equal(classify(datagram.bytes, datagram.length, &packet), QUIC_PACKET_INITIAL);
        size_t head =
                1 + 4 + 1 + (size_t)packet.destination_id_length + 1 + datagram.bytes[6 + packet.destination_id_length];
        size_t whole = packet.bytes.left;
        assert_in_range(whole, head, datagram.length);
        for (size_t length = 0; length < whole; length++)
                assert_int_equal(classify(datagram.bytes, length, &packet),
                                 length < head ? QUIC_PACKET_NONE : QUIC_PACKET_CUT);
}

static void coalesced_packets_come_one_after_the_other(void **state)
{
        struct byte_cursor rest;
        struct quic_packet packet;

        (void)state;
        frames.length = datagram.length = 0;
        quic_put_padding(&frames, 40);
        quic_put_initial(&datagram, &quic_recipe_good, &frames);
        size_t first = datagram.length;
        hello_put(&datagram, "\xd3" HEAD_V1 "\x18", 14); /* 0-RTT */
        hello_put_filler(&datagram, 24);
        size_t second = datagram.length;
        quic_put_initial(&datagram, &quic_recipe_good, &frames);
        size_t third = datagram.length;
        quic_put_padding(&datagram, 100); /* not QUIC, and what some clients fill up with */
        rest = byte_cursor_from(guarded_copy(&guarded, datagram.bytes, datagram.length), datagram.length);
        assert_int_equal(quic_packet_take(&rest, &packet), QUIC_PACKET_INITIAL);
        assert_int_equal(packet.bytes.left, first);
        assert_int_equal(quic_packet_take(&rest, &packet), QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(packet.bytes.left, second - first);
        assert_int_equal(quic_packet_take(&rest, &packet), QUIC_PACKET_INITIAL);
        assert_int_equal(packet.bytes.left, third - second);
        assert_int_equal(quic_packet_take(&rest, &packet), QUIC_PACKET_NONE);
        assert_int_equal(rest.left, 100);
}

static void packets_without_a_length_take_the_whole_rest(void **state)
{
        static const char *const heads[] = { "\xf3" HEAD_V1,
                                             "\xc3\x1a\x1a\x1a\x1a\x04"
                                             "abcd\x02xy",
                                             "\xc3" HEAD_V1 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
                struct byte_cursor rest;
                struct quic_packet packet;

                datagram.length = 0;
                hello_put(&datagram, heads[i], 13);
                hello_put_filler(&datagram, 1300);
                rest = byte_cursor_from(guarded_copy(&guarded, datagram.bytes, datagram.length), datagram.length);
                assert_int_not_equal(quic_packet_take(&rest, &packet), QUIC_PACKET_NONE);
                assert_int_equal(packet.bytes.left, datagram.length);
                assert_int_equal(rest.left, 0);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(types_are_those_of_the_version),
                cmocka_unit_test(the_identifier_and_the_place_of_the_number_are_found),
                cmocka_unit_test(identifiers_longer_than_any_version_has_are_not_quic),
                cmocka_unit_test(other_versions_are_known_as_such_in_large_datagrams_only),
                cmocka_unit_test(a_list_of_versions_is_a_negotiation),
                cmocka_unit_test(what_other_protocols_send_is_not_quic),
                cmocka_unit_test(lengths_that_do_not_fit_are_cut),
                cmocka_unit_test(every_prefix_is_cut_or_nothing),
                cmocka_unit_test(coalesced_packets_come_one_after_the_other),
                cmocka_unit_test(packets_without_a_length_take_the_whole_rest),
        };

        return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
