#include "base/byte_cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "guarded.h"

static const uint8_t bytes[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b };

static void numbers_are_read_one_after_the_other_with_the_high_byte_first(void **state)
{
        struct byte_cursor cursor = byte_cursor_from(bytes, sizeof(bytes));
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;

        (void)state;
        assert_true(byte_cursor_u8(&cursor, &u8));
        assert_true(byte_cursor_u16(&cursor, &u16));
        assert_true(byte_cursor_u32(&cursor, &u32));
        assert_int_equal(u8, 0x01);
        assert_int_equal(u16, 0x0203);
        assert_int_equal(u32, 0x04050607);
        assert_int_equal(cursor.left, 4);
}

/* Each read on each length: it succeeds exactly when there is enough, and a failed one moves and writes nothing. */
static void no_read_passes_the_end(void **state)
{
        struct guarded guarded;

        (void)state;
        guarded_open(&guarded, sizeof(bytes));
        for (size_t length = 0; length <= 6; length++) {
                const struct byte_cursor start = byte_cursor_from(guarded_copy(&guarded, bytes, length), length);
                struct byte_cursor cursors[3] = { start, start, start };
                uint8_t u8 = 0xee;
                uint16_t u16 = 0xeeee;
                uint32_t u32 = 0xeeeeeeee;
                bool read[3] = { byte_cursor_u8(&cursors[0], &u8), byte_cursor_u16(&cursors[1], &u16),
                                 byte_cursor_u32(&cursors[2], &u32) };
                for (size_t i = 0; i < 3; i++) {
                        size_t size = (size_t)1 << i;
                        assert_int_equal(read[i], length >= size);
                        assert_int_equal(cursors[i].left, length >= size ? length - size : length);
                        assert_ptr_equal(cursors[i].next, length >= size ? start.next + size : start.next);
                }
                assert_true(length >= 1 || u8 == 0xee);
                assert_true(length >= 2 || u16 == 0xeeee);
                assert_true(length >= 4 || u32 == 0xeeeeeeee);
        }
        guarded_close(&guarded);
}

static void blocks_are_split_off(void **state)
{
        struct byte_cursor cursor = byte_cursor_from(bytes, sizeof(bytes));
        struct byte_cursor block = { 0 };

        (void)state;
        assert_true(byte_cursor_skip(&cursor, 2));
        assert_true(byte_cursor_take(&cursor, 3, &block));
        assert_ptr_equal(block.next, bytes + 2);
        assert_int_equal(block.left, 3);
        assert_int_equal(cursor.left, sizeof(bytes) - 5);
        assert_true(byte_cursor_take(&cursor, 0, &block));
        assert_int_equal(block.left, 0);
}

static void a_length_that_would_overflow_is_only_too_long(void **state)
{
        struct byte_cursor cursor = byte_cursor_from(bytes, sizeof(bytes));
        struct byte_cursor block = { .left = 77 };

        (void)state;
        assert_false(byte_cursor_take(&cursor, SIZE_MAX, &block));
        assert_false(byte_cursor_skip(&cursor, SIZE_MAX - 1));
        assert_false(byte_cursor_skip(&cursor, sizeof(bytes) + 1));
        assert_int_equal(block.left, 77);
        assert_int_equal(cursor.left, sizeof(bytes));
        assert_ptr_equal(cursor.next, bytes);
}

/* RFC 9000 A.1, and the largest of each size. */
static void a_varint_has_the_size_that_its_first_two_bits_say(void **state)
{
        static const struct {
                const char *bytes;
                size_t size;
                uint64_t value;
        } samples[] = {
                { "\xc2\x19\x7c\x5e\xff\x14\xe8\x8c", 8, 151288809941952652 },
                { "\x9d\x7f\x3e\x7d", 4, 494878333 },
                { "\x7b\xbd", 2, 15293 },
                { "\x25", 1, 37 },
                { "\x40\x25", 2, 37 },
                { "\x00", 1, 0 },
                { "\x3f", 1, 63 },
                { "\x7f\xff", 2, 16383 },
                { "\xbf\xff\xff\xff", 4, 1073741823 },
                { "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 4611686018427387903 },
        };
        struct guarded guarded;

        (void)state;
        guarded_open(&guarded, 8);
        for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
                for (size_t length = 0; length <= samples[i].size; length++) {
                        const void *copy = guarded_copy(&guarded, samples[i].bytes, length);
                        struct byte_cursor cursor = byte_cursor_from(copy, length);
                        uint64_t value = 77;
                        bool whole = length == samples[i].size;

                        assert_int_equal(byte_cursor_varint(&cursor, &value), whole);
                        assert_true(value == (whole ? samples[i].value : 77));
                        assert_int_equal(cursor.left, whole ? 0 : length);
                }
        }
        guarded_close(&guarded);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(numbers_are_read_one_after_the_other_with_the_high_byte_first),
                cmocka_unit_test(no_read_passes_the_end),
                cmocka_unit_test(blocks_are_split_off),
                cmocka_unit_test(a_varint_has_the_size_that_its_first_two_bits_say),
                cmocka_unit_test(a_length_that_would_overflow_is_only_too_long),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
