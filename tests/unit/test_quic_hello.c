#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "quic_fixture.h"

#define ROUNDS 3000

static enum quic_result add(size_t offset, const void *bytes, size_t length)
{
        return quic_hello_add(&hello, offset, guarded_copy(&guarded, bytes, length), length);
}

static enum quic_result add_message(size_t start, size_t end)
{
        return add(start, message.bytes + start, end - start);
}

static void assert_done(void)
{
        assert_int_equal(quic_hello_judge(&hello), QUIC_DONE);
        assert_string_equal(hello.contents.server_name.text, NAME);
        assert_string_equal(hello.contents.alpn, "h2,http/1.1");
        assert_true(hello.contents.ech);
        assert_int_equal(hello.contents.length, message.length);
}

static void the_whole_message_at_once_is_done(void **state)
{
        (void)state;
        build_message(NAME);
        quic_hello_start(&hello);
        assert_int_equal(quic_hello_judge(&hello), QUIC_NEED_MORE);
        assert_int_equal(add_message(0, message.length), QUIC_NEED_MORE);
        assert_done();
}

static void every_cut_in_two_is_done_in_either_order_and_not_before(void **state)
{
        (void)state;
        build_message(NAME);
        for (size_t cut = 1; cut < message.length; cut++) {
                for (unsigned swapped = 0; swapped < 2; swapped++) {
                        quic_hello_start(&hello);
                        size_t start = swapped == 1 ? cut : 0, end = swapped == 1 ? message.length : cut;
                        assert_int_equal(add_message(start, end), QUIC_NEED_MORE);
                        assert_int_equal(quic_hello_judge(&hello), QUIC_NEED_MORE);
                        assert_int_equal(add_message(swapped == 1 ? 0 : cut, swapped == 1 ? cut : message.length),
                                         QUIC_NEED_MORE);
                        assert_done();
                }
        }
}

/* Whether the ranges are what a map of single bytes says. */
static void assert_ranges_are(const bool *there, size_t size)
{
        size_t index = 0;

        for (size_t at = 0; at < size;) {
                if (!there[at]) {
                        at++;
                        continue;
                }
                assert_in_range(index, 0, hello.range_count - 1);
                assert_int_equal(hello.ranges[index].start, at);
                while (at < size && there[at])
                        at++;
                assert_int_equal(hello.ranges[index++].end, at);
        }
        assert_int_equal(index, hello.range_count);
}

static void overlapping_pieces_in_any_order_are_done_when_every_byte_is_there(void **state)
{
        static bool there[QUIC_HELLO_MAX_BYTES];
        unsigned seed = 9000;

        (void)state;
        build_message(NAME);
        for (unsigned round = 0; round < ROUNDS; round++) {
                size_t missing = message.length;

                memset(there, 0, sizeof(there));
                quic_hello_start(&hello);
                while (missing > 0 && quic_hello_judge(&hello) == QUIC_NEED_MORE) {
                        size_t start = (size_t)rand_r(&seed) % message.length;
                        size_t longest = (size_t)rand_r(&seed) % 2 == 0 ? 700 : 100;
                        size_t length = 1 + (size_t)rand_r(&seed) % longest;

                        /* Random pieces alone would take for ever to hit the first and the last byte. */
                        if (rand_r(&seed) % 8 == 0)
                                start = 0;
                        if (length > message.length - start || rand_r(&seed) % 8 == 0)
                                length = message.length - start;
                        assert_int_equal(add_message(start, start + length), QUIC_NEED_MORE);
                        for (size_t i = start; i < start + length; i++) {
                                missing -= there[i] ? 0 : 1;
                                there[i] = true;
                        }
                        assert_ranges_are(there, message.length);
                }
                if (missing > 0)
                        print_message("seed 9000, round %u\n", round);
                assert_int_equal(missing, 0);
                assert_done();
        }
}

static void single_bytes_from_the_end_are_one_range(void **state)
{
        (void)state;
        build_message(NAME);
        quic_hello_start(&hello);
        for (size_t i = message.length; i-- > 0;) {
                assert_int_equal(add_message(i, i + 1), QUIC_NEED_MORE);
                assert_int_equal(hello.range_count, 1);
                assert_int_equal(quic_hello_judge(&hello), i > 0 ? QUIC_NEED_MORE : QUIC_DONE);
        }
        assert_done();
}

/* One byte said otherwise, anywhere in an overlap of any kind. */
static void a_conflicting_byte_is_bad_wherever_it_is(void **state)
{
        static struct hello_bytes other;

        (void)state;
        build_message(NAME);
        other.length = 0;
        hello_put(&other, message.bytes, message.length);
        for (size_t at = 100; at < 400; at++) {
                bool known = (at >= 150 && at < 200) || (at >= 250 && at < 350);

                quic_hello_start(&hello);
                assert_int_equal(add_message(150, 200), QUIC_NEED_MORE);
                assert_int_equal(add_message(250, 350), QUIC_NEED_MORE);
                other.bytes[at] ^= 1;
                assert_int_equal(add(100, other.bytes + 100, 300), known ? QUIC_CONFLICT : QUIC_NEED_MORE);
                other.bytes[at] ^= 1;
                assert_int_equal(add_message(0, message.length), QUIC_CONFLICT); /* Either of the two may come first. */
                assert_int_equal(quic_hello_judge(&hello), QUIC_CONFLICT);
        }
}

static void what_is_done_or_bad_stays_so(void **state)
{
        (void)state;
        build_message(NAME);
        quic_hello_start(&hello);
        assert_int_equal(add_message(0, message.length), QUIC_NEED_MORE);
        assert_done();
        assert_int_equal(add(0, "other", 5), QUIC_DONE);
        assert_int_equal(add(QUIC_HELLO_MAX_BYTES, "x", 1), QUIC_DONE);
        quic_hello_fail(&hello, QUIC_BAD_CONTENT);
        assert_done();

        quic_hello_start(&hello);
        quic_hello_fail(&hello, QUIC_BAD_CONTENT);
        quic_hello_fail(&hello, QUIC_CONFLICT);
        assert_int_equal(add_message(0, message.length), QUIC_BAD_CONTENT);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_CONTENT);
}

static void more_than_fits_is_too_large(void **state)
{
        static const uint8_t bytes[QUIC_HELLO_MAX_BYTES + 1] = { 0 };

        (void)state;
        quic_hello_start(&hello);
        assert_int_equal(add(QUIC_HELLO_MAX_BYTES - 1, "x", 1), QUIC_NEED_MORE);
        assert_int_equal(add(QUIC_HELLO_MAX_BYTES, "", 0), QUIC_NEED_MORE);
        assert_int_equal(add(QUIC_HELLO_MAX_BYTES, "x", 1), QUIC_TOO_LARGE);
        quic_hello_start(&hello);
        assert_int_equal(add(QUIC_HELLO_MAX_BYTES - 1, "xy", 2), QUIC_TOO_LARGE);
        quic_hello_start(&hello);
        assert_int_equal(quic_hello_add(&hello, ((uint64_t)1 << 62) - 1, "x", 1), QUIC_TOO_LARGE);
        quic_hello_start(&hello);
        assert_int_equal(quic_hello_add(&hello, UINT64_MAX, "", 0), QUIC_TOO_LARGE);
        quic_hello_start(&hello);
        assert_int_equal(add(0, bytes, sizeof(bytes)), QUIC_TOO_LARGE);
        quic_hello_start(&hello);
        assert_int_equal(add(0, bytes, sizeof(bytes) - 1), QUIC_NEED_MORE);
        /* The announced length alone shows it. */
        quic_hello_start(&hello);
        assert_int_equal(add(0, "\x01\x00\x3f\xfc", 4), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_NEED_MORE);
        quic_hello_start(&hello);
        assert_int_equal(add(0, "\x01\x00\x3f\xfd", 4), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_TOO_LARGE);
}

static void more_gaps_than_are_kept_are_too_many(void **state)
{
        (void)state;
        build_message(NAME);
        quic_hello_start(&hello);
        for (size_t i = 0; i < QUIC_HELLO_MAX_RANGES; i++)
                assert_int_equal(add_message(2 * i + 1, 2 * i + 2), QUIC_NEED_MORE);
        /* What is known or closes gaps needs no room. */
        assert_int_equal(add_message(1, 2), QUIC_NEED_MORE);
        assert_int_equal(hello.range_count, QUIC_HELLO_MAX_RANGES);
        assert_int_equal(add_message(2, 3), QUIC_NEED_MORE);
        assert_int_equal(hello.range_count, QUIC_HELLO_MAX_RANGES - 1);
        assert_int_equal(add_message(1000, 1001), QUIC_NEED_MORE);
        assert_int_equal(add_message(1002, 1003), QUIC_TOO_LARGE);
}

static void bytes_behind_the_hello_are_bad(void **state)
{
        (void)state;
        build_message(NAME);
        quic_hello_start(&hello);
        assert_int_equal(add_message(0, message.length), QUIC_NEED_MORE);
        assert_int_equal(add(message.length, "x", 1), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_HELLO);
        quic_hello_start(&hello);
        assert_int_equal(add_message(0, message.length), QUIC_NEED_MORE);
        assert_int_equal(add(message.length + 5, "x", 1), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_HELLO);
        /* Known before the hello is whole. */
        quic_hello_start(&hello);
        assert_int_equal(add(message.length, "x", 1), QUIC_NEED_MORE);
        assert_int_equal(add_message(0, 3), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_NEED_MORE);
        assert_int_equal(add_message(3, 4), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_HELLO);
}

static void what_is_no_hello_is_bad_at_its_first_byte(void **state)
{
        (void)state;
        quic_hello_start(&hello);
        assert_int_equal(add(0, "\x02", 1), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_HELLO);
        build_message("10.0.0.1");
        quic_hello_start(&hello);
        assert_int_equal(add_message(0, message.length), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_NAME);
        assert_int_equal(hello.contents.server_name.length, 0);
        build_message(NAME);
        message.bytes[4] = 2;
        quic_hello_start(&hello);
        assert_int_equal(add_message(0, message.length), QUIC_NEED_MORE);
        assert_int_equal(quic_hello_judge(&hello), QUIC_BAD_HELLO);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_whole_message_at_once_is_done),
                cmocka_unit_test(every_cut_in_two_is_done_in_either_order_and_not_before),
                cmocka_unit_test(overlapping_pieces_in_any_order_are_done_when_every_byte_is_there),
                cmocka_unit_test(single_bytes_from_the_end_are_one_range),
                cmocka_unit_test(a_conflicting_byte_is_bad_wherever_it_is),
                cmocka_unit_test(what_is_done_or_bad_stays_so),
                cmocka_unit_test(more_than_fits_is_too_large),
                cmocka_unit_test(more_gaps_than_are_kept_are_too_many),
                cmocka_unit_test(bytes_behind_the_hello_are_bad),
                cmocka_unit_test(what_is_no_hello_is_bad_at_its_first_byte),
        };

        return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
