#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "quic_fixture.h"

static struct hello_bytes before;

static void assert_named(enum quic_result result, const char *name)
{
        assert_int_equal(result, QUIC_DONE);
        assert_string_equal(hello.contents.server_name.text, name);
}

/* The verdict over a packet with these frames, and nothing else. */
static enum quic_result verdict_over(const void *bytes, size_t length)
{
        frames.length = 0;
        hello_put(&frames, bytes, length);
        build_datagram(&quic_recipe_good);
        return read_alone(&datagram);
}

#define VERDICT_OVER(bytes) verdict_over(bytes, sizeof(bytes) - 1)

/* The frames and a whole hello behind them: what is good is passed over. */
static enum quic_result verdict_before_hello(const void *bytes, size_t length)
{
        build_message(NAME);
        frames.length = 0;
        hello_put(&frames, bytes, length);
        quic_put_crypto(&frames, 0, message.bytes, message.length);
        build_datagram(&quic_recipe_good);
        return read_alone(&datagram);
}

#define VERDICT_BEFORE_HELLO(bytes) verdict_before_hello(bytes, sizeof(bytes) - 1)

static void the_packets_of_the_rfcs_are_read(void **state)
{
        (void)state;
        hello_read(DIRECTORY "rfc9001-client.hex", &datagram);
        assert_named(read_alone(&datagram), "example.com");
        assert_string_equal(hello.contents.alpn, "alpn");
        hello_read(DIRECTORY "rfc9369-client.hex", &datagram);
        assert_named(read_alone(&datagram), "example.com");
}

static void the_builder_makes_the_packets_of_the_rfcs(void **state)
{
        struct quic_recipe recipe = quic_recipe_good;

        (void)state;
        hello_read(DIRECTORY "rfc9001-client.hex", &datagram);
        assert_named(read_alone(&datagram), "example.com");
        frames.length = 0;
        quic_put_crypto(&frames, 0, hello.bytes, hello.contents.length);
        quic_put_padding(&frames, 1162 - frames.length);
        for (recipe.version = 1; recipe.version <= 2; recipe.version++) {
                hello_read(recipe.version == 1 ? DIRECTORY "rfc9001-client.hex" : DIRECTORY "rfc9369-client.hex",
                           &before);
                build_datagram(&recipe);
                assert_int_equal(datagram.length, before.length);
                assert_memory_equal(datagram.bytes, before.bytes, before.length);
        }
}

struct captured {
        const char *path;
        enum quic_result result; /* after this datagram */
        const char *alpn;
        bool ech;
        bool first; /* of its connection */
};

static const struct captured captures[] = {
        { DIRECTORY "kdig-1.hex", QUIC_DONE, "doq,doq-i12,doq-i11,doq-i03", false, true },
        { DIRECTORY "chromium-1.hex", QUIC_NEED_MORE, "", false, true },
        { DIRECTORY "chromium-2.hex", QUIC_DONE, "h3", true, false },
        { DIRECTORY "chromium-2.hex", QUIC_NEED_MORE, "", false, true },
        { DIRECTORY "chromium-3.hex", QUIC_DONE, "h3", true, false },
        { DIRECTORY "chromium-4.hex", QUIC_NEED_MORE, "", false, true },
        { DIRECTORY "chromium-1.hex", QUIC_DONE, "h3", true, false },
        { DIRECTORY "chromium-version-2-1.hex", QUIC_NEED_MORE, "", false, true },
        { DIRECTORY "chromium-version-2-2.hex", QUIC_DONE, "h3", true, false },
        { DIRECTORY "chromium-version-2-2.hex", QUIC_NEED_MORE, "", false, true },
        { DIRECTORY "chromium-version-2-1.hex", QUIC_DONE, "h3", true, false },
};

static void flights_of_real_clients_are_read_in_any_order(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(captures); i++) {
                const struct captured *captured = &captures[i];

                hello_read(captured->path, &datagram);
                if (captured->first)
                        quic_hello_start(&hello);
                assert_int_equal(read_into(&hello, datagram.bytes, datagram.length), captured->result);
                assert_string_equal(hello.contents.server_name.text, captured->result == QUIC_DONE ? NAME : "");
                assert_string_equal(hello.contents.alpn, captured->alpn);
                assert_int_equal(hello.contents.ech, captured->ech);
        }
}

/* Nothing of the packet may be missing, and nothing of it changed. */
static void no_prefix_of_a_datagram_yields_a_name(void **state)
{
        static const char *const paths[] = { DIRECTORY "rfc9001-client.hex", DIRECTORY "rfc9369-client.hex" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                hello_read(paths[i], &datagram);
                for (size_t length = 0; length < datagram.length; length++) {
                        quic_hello_start(&hello);
                        /* Version and two identifiers make it QUIC: 1 + 4 + 1 + 8 + 1 bytes. */
                        assert_int_equal(read_into(&hello, datagram.bytes, length),
                                         length < 15 ? QUIC_NOT_INITIAL : QUIC_BAD_PACKET);
                        assert_int_equal(hello.range_count, 0);
                }
        }
}

static void no_flipped_bit_leaves_a_name(void **state)
{
        static const char *const paths[] = { DIRECTORY "rfc9001-client.hex", DIRECTORY "rfc9369-client.hex" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                hello_read(paths[i], &datagram);
                for (size_t bit = 0; bit < 8 * datagram.length; bit++) {
                        datagram.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                        enum quic_result result = read_alone(&datagram);
                        if (bit >= 8 * 18)
                                assert_int_equal(result, QUIC_NOT_AUTHENTIC);
                        assert_in_range(result, QUIC_NOT_INITIAL, QUIC_NOT_AUTHENTIC);
                        assert_int_equal(hello.range_count, 0);
                        datagram.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                }
                assert_named(read_alone(&datagram), "example.com");
        }
}

static void every_shape_of_header_is_opened(void **state)
{
        static const size_t numbers[] = { 0, 1, 0x7f, 0xff, 0x1234, 0xffff, 0xabcdef, 0xffffffff };
        unsigned seed = 17;

        (void)state;
        build_message(NAME);
        for (size_t i = 0; i < 400; i++) {
                struct quic_recipe recipe = quic_recipe_good;
                size_t number = numbers[i % ARRAY_SIZE(numbers)];

                recipe.version = 1 + (size_t)rand_r(&seed) % 2;
                recipe.destination_id = message.bytes + i;
                recipe.destination_id_length = (size_t)rand_r(&seed) % 21;
                recipe.source_id_length = (size_t)rand_r(&seed) % 21;
                recipe.token_length = rand_r(&seed) % 2 == 0 ? 0 : (size_t)rand_r(&seed) % 300;
                recipe.length_size = (size_t)2 << rand_r(&seed) % 3;
                recipe.number = number;
                recipe.number_length = number > 0xffffff ? 4 : number > 0xffff ? 3 : number > 0xff ? 2 : 1;
                frames.length = 0;
                quic_put_crypto(&frames, 0, message.bytes, message.length);
                build_datagram(&recipe);
                assert_named(read_alone(&datagram), NAME);
        }
}

static void the_smallest_packet_has_room_for_its_sample(void **state)
{
        (void)state;
        build_message(NAME);
        for (size_t number_length = 1; number_length <= 4; number_length++) {
                struct quic_recipe recipe = quic_recipe_good;

                recipe.number_length = number_length;
                frames.length = 0;
                quic_put_padding(&frames, number_length < 4 ? 4 - number_length : 1);
                build_datagram(&recipe);
                assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);
        }
        /* With the longest number, no frame at all has room too, and is an error of its own. */
        frames.length = 0;
        build_datagram(&quic_recipe_good);
        assert_int_equal(read_alone(&datagram), QUIC_BAD_CONTENT);
}

static void reserved_bits_are_bad(void **state)
{
        struct quic_recipe recipe = quic_recipe_good;

        (void)state;
        build_message(NAME);
        frames.length = 0;
        quic_put_crypto(&frames, 0, message.bytes, message.length);
        for (recipe.reserved_bits = 1; recipe.reserved_bits < 4; recipe.reserved_bits++) {
                build_datagram(&recipe);
                assert_int_equal(read_alone(&datagram), QUIC_BAD_CONTENT);
        }
}

static void frames_of_an_initial_are_passed_over(void **state)
{
        (void)state;
        assert_named(VERDICT_BEFORE_HELLO("\x00\x00\x00"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x01\x01"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x02\x05\x00\x00\x05"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x02\x49\x00\x00\x02\x05\x01\x02\x03\x04"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x03\x05\x00\x00\x05\x01\x40\x02\x03"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x06\x00\x00"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x1c\x40\x0a\x06\x03why"), NAME);
        assert_named(VERDICT_BEFORE_HELLO("\x00\x01\x00\x02\x05\x00\x00\x05\x00\x00\x01"), NAME);
}

static void other_frames_are_bad_even_before_a_good_hello(void **state)
{
        char type[2] = { 0 };

        (void)state;
        for (unsigned i = 0; i < 256; i++) {
                bool known = i <= 3 || i == 6 || i == 0x1c;

                type[0] = (char)i;
                if (!known)
                        assert_int_equal(verdict_before_hello(type, 1), QUIC_BAD_CONTENT);
        }
        assert_int_equal(VERDICT_BEFORE_HELLO("\x40\x06\x00\x00"), QUIC_BAD_CONTENT); /* a type in two bytes */
}

static void frames_that_end_early_are_bad(void **state)
{
        static const char *const whole[] = { "\x02\x05\x40\x00\x01\x05\x01\x02", "\x03\x05\x01\x00\x05\x01\x02\x03",
                                             "\x06\x40\x05\x03xyz", "\x1c\x40\x0a\x06\x02no" };
        static const size_t lengths[] = { 8, 8, 7, 7 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
                for (size_t length = 1; length < lengths[i]; length++)
                        assert_int_equal(verdict_over(whole[i], length), QUIC_BAD_CONTENT);
                assert_int_equal(verdict_over(whole[i], lengths[i]), QUIC_NEED_MORE);
        }
        assert_int_equal(VERDICT_OVER("\x02\x05\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"), QUIC_BAD_CONTENT);
        assert_int_equal(VERDICT_OVER("\x06\x00\xff\xff\xff\xff\xff\xff\xff\xffxyz"), QUIC_BAD_CONTENT);
        assert_int_equal(VERDICT_OVER("\x06\xff\xff\xff\xff\xff\xff\xff\xff\x03xyz"), QUIC_TOO_LARGE);
}

/* Chrome's way: pieces in any order, between padding and pings. */
static void shuffled_and_overlapping_frames_are_put_together(void **state)
{
        unsigned seed = 4242;

        (void)state;
        build_message(NAME);
        for (unsigned round = 0; round < 300; round++) {
                size_t pieces = 1 + (size_t)rand_r(&seed) % 40, size = message.length / pieces + 1;
                size_t turn = (size_t)rand_r(&seed) % pieces, step = rand_r(&seed) % 2 == 0 ? 1 : pieces - 1;

                frames.length = 0;
                for (size_t i = 0; i < pieces; i++) {
                        size_t start = (turn + i * step) % pieces * size;
                        size_t end = start + size + (size_t)rand_r(&seed) % 20;

                        start = start < message.length ? start : message.length;
                        end = end < message.length ? end : message.length;
                        quic_put_crypto(&frames, start, message.bytes + start, end - start);
                        if (rand_r(&seed) % 3 == 0)
                                quic_put_varint(&frames, 1);
                        quic_put_padding(&frames, (size_t)rand_r(&seed) % 9);
                }
                build_datagram(&quic_recipe_good);
                assert_named(read_alone(&datagram), NAME);
        }
}

static void a_hello_over_two_datagrams_is_done_with_the_second_of_them(void **state)
{
        (void)state;
        build_message(NAME);
        for (size_t cut = 1; cut < message.length; cut += 61) {
                for (unsigned swapped = 0; swapped < 2; swapped++) {
                        quic_hello_start(&hello);
                        build_part(swapped == 1 ? cut : 0, swapped == 1 ? message.length : cut);
                        assert_int_equal(read_into(&hello, datagram.bytes, datagram.length), QUIC_NEED_MORE);
                        assert_int_equal(read_into(&hello, datagram.bytes, datagram.length), QUIC_NEED_MORE);
                        build_part(swapped == 1 ? 0 : cut, swapped == 1 ? cut : message.length);
                        assert_named(read_into(&hello, datagram.bytes, datagram.length), NAME);
                }
        }
}

static void a_datagram_that_says_otherwise_is_a_conflict(void **state)
{
        (void)state;
        build_message(NAME);
        build_part(0, message.length - 1);
        assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);
        build_message("xcr.microsoft.com");
        build_part(0, message.length);
        assert_int_equal(read_into(&hello, datagram.bytes, datagram.length), QUIC_CONFLICT);
        assert_int_equal(hello.contents.server_name.length, 0);
}

/* Appends an Initial packet with the message's bytes start..end to the datagram. */
static void put_packet(const struct quic_recipe *recipe, size_t start, size_t end)
{
        frames.length = 0;
        quic_put_crypto(&frames, start, message.bytes + start, end - start);
        quic_put_initial(&datagram, recipe, &frames);
}

static void put_early_data(void)
{
        hello_put(&datagram, "\xd3\x00\x00\x00\x01\x08\x83\x94\xc8\xf0\x3e\x51\x57\x08\x00\x40\x50", 17);
        hello_put_filler(&datagram, 80);
}

static void the_initials_among_coalesced_packets_count(void **state)
{
        struct quic_recipe other = quic_recipe_good;

        (void)state;
        build_message(NAME);
        datagram.length = 0;
        put_packet(&quic_recipe_good, 900, message.length);
        put_early_data();
        put_packet(&quic_recipe_good, 0, 900);
        size_t whole = datagram.length;
        assert_named(read_alone(&datagram), NAME);
        quic_put_padding(&datagram, 50);
        assert_named(read_alone(&datagram), NAME);
        /* A part that is damaged or cut off takes only itself away. */
        datagram.bytes[whole - 1] ^= 1;
        assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);
        assert_int_equal(hello.range_count, 1);
        assert_int_equal(hello.ranges[0].start, 900);
        datagram.length = whole - 1;
        assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);

        datagram.bytes[100] ^= 1;
        assert_int_equal(read_alone(&datagram), QUIC_NOT_AUTHENTIC);
        datagram.length = whole;
        datagram.bytes[whole - 1] ^= 1;
        assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);
        assert_int_equal(hello.range_count, 1);
        assert_int_equal(hello.ranges[0].end, 900);

        datagram.length = 0;
        put_early_data();
        assert_int_equal(read_alone(&datagram), QUIC_NOT_INITIAL);
        put_packet(&quic_recipe_good, 0, message.length);
        assert_named(read_alone(&datagram), NAME);

        /* Another identifier is another connection. */
        datagram.length = 0;
        put_packet(&quic_recipe_good, 900, message.length);
        other.destination_id = "\x83\x94\xc8\xf0\x3e\x51\x57\x09";
        put_packet(&other, 0, 900);
        assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);
}

static void a_bad_hello_is_told_apart_from_a_bad_name(void **state)
{
        (void)state;
        build_message("10.0.0.1");
        build_part(0, message.length);
        assert_int_equal(read_alone(&datagram), QUIC_BAD_NAME);
        build_message(NAME);
        message.bytes[0] = 2;
        build_part(0, message.length);
        assert_int_equal(read_alone(&datagram), QUIC_BAD_HELLO);
        assert_int_equal(VERDICT_OVER("\x06\x00\x04\x01\x01\x00\x00"), QUIC_TOO_LARGE);
}

static void a_finished_hello_answers_without_reading(void **state)
{
        (void)state;
        build_message(NAME);
        build_part(0, message.length);
        assert_named(read_alone(&datagram), NAME);
        assert_named(read_into(&hello, (const uint8_t *)"anything", 8), NAME);
        quic_hello_start(&hello);
        quic_hello_fail(&hello, QUIC_CONFLICT);
        assert_int_equal(read_into(&hello, datagram.bytes, datagram.length), QUIC_CONFLICT);
}

static void what_is_not_opened_leaves_the_hello_alone(void **state)
{
        (void)state;
        build_message(NAME);
        build_part(0, 700);
        assert_int_equal(read_alone(&datagram), QUIC_NEED_MORE);
        datagram.bytes[600] ^= 1;
        assert_int_equal(read_into(&hello, datagram.bytes, datagram.length), QUIC_NOT_AUTHENTIC);
        assert_int_equal(read_into(&hello, datagram.bytes, 300), QUIC_BAD_PACKET);
        assert_int_equal(read_into(&hello, datagram.bytes, 3), QUIC_NOT_INITIAL);
        build_part(700, message.length);
        assert_named(read_into(&hello, datagram.bytes, datagram.length), NAME);
}

static void packets_up_to_the_limit_are_opened(void **state)
{
        (void)state;
        build_message(NAME);
        for (size_t length = QUIC_INITIAL_MAX_BYTES - 1; length <= QUIC_INITIAL_MAX_BYTES + 1; length++) {
                struct quic_recipe recipe = quic_recipe_good;

                recipe.length_size = 4;
                frames.length = 0;
                quic_put_crypto(&frames, 0, message.bytes, message.length);
                quic_put_padding(&frames, length - frames.length - 24 - QUIC_BUILDER_TAG_SIZE);
                build_datagram(&recipe);
                assert_int_equal(datagram.length, length);
                assert_int_equal(read_alone(&datagram), length <= QUIC_INITIAL_MAX_BYTES ? QUIC_DONE : QUIC_BAD_PACKET);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_packets_of_the_rfcs_are_read),
                cmocka_unit_test(the_builder_makes_the_packets_of_the_rfcs),
                cmocka_unit_test(flights_of_real_clients_are_read_in_any_order),
                cmocka_unit_test(no_prefix_of_a_datagram_yields_a_name),
                cmocka_unit_test(no_flipped_bit_leaves_a_name),
                cmocka_unit_test(every_shape_of_header_is_opened),
                cmocka_unit_test(the_smallest_packet_has_room_for_its_sample),
                cmocka_unit_test(reserved_bits_are_bad),
                cmocka_unit_test(frames_of_an_initial_are_passed_over),
                cmocka_unit_test(other_frames_are_bad_even_before_a_good_hello),
                cmocka_unit_test(frames_that_end_early_are_bad),
                cmocka_unit_test(shuffled_and_overlapping_frames_are_put_together),
                cmocka_unit_test(a_hello_over_two_datagrams_is_done_with_the_second_of_them),
                cmocka_unit_test(a_datagram_that_says_otherwise_is_a_conflict),
                cmocka_unit_test(the_initials_among_coalesced_packets_count),
                cmocka_unit_test(a_bad_hello_is_told_apart_from_a_bad_name),
                cmocka_unit_test(a_finished_hello_answers_without_reading),
                cmocka_unit_test(what_is_not_opened_leaves_the_hello_alone),
                cmocka_unit_test(packets_up_to_the_limit_are_opened),
        };

        return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
