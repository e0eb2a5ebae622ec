#include "base/text_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/compiler.h"

static void pieces_follow_each_other(void **state)
{
        char buffer[16];
        struct text_builder builder = text_builder_on(buffer, sizeof(buffer));

        (void)state;
        text_builder_text(&builder, "ab");
        text_builder_byte(&builder, 'c');
        text_builder_bytes(&builder, "def", 2);
        text_builder_number(&builder, 7);
        assert_int_equal(text_builder_length(&builder), 6);
        assert_memory_equal(buffer, "abcde7", 6);
}

static void numbers_are_decimal_up_to_the_largest(void **state)
{
        static const uint64_t numbers[] = { 0, 9, 10, 4294967296, UINT64_MAX };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
                char buffer[20], expected[24];
                struct text_builder builder = text_builder_on(buffer, sizeof(buffer));
                int length = snprintf(expected, sizeof(expected), "%llu", (unsigned long long)numbers[i]);
                text_builder_number(&builder, numbers[i]);
                assert_int_equal(text_builder_length(&builder), length);
                assert_memory_equal(buffer, expected, (size_t)length);
        }
}

/* For every size: the beginning of the whole text, and no byte behind the buffer's end. */
static void what_does_not_fit_is_left_out(void **state)
{
        static const char whole[] = "word:12345 \"a\\\"b\"";

        (void)state;
        for (size_t size = 0; size <= sizeof(whole); size++) {
                char buffer[sizeof(whole) + 1];
                struct text_builder builder = text_builder_cutting_on(buffer, size);
                size_t expected = size < sizeof(whole) - 1 ? size : sizeof(whole) - 1;
                memset(buffer, 0x55, sizeof(buffer));
                text_builder_text(&builder, "word:");
                text_builder_number(&builder, 12345);
                text_builder_byte(&builder, ' ');
                text_builder_quoted(&builder, "a\"b", 3);
                assert_int_equal(text_builder_length(&builder), expected);
                assert_memory_equal(buffer, whole, expected);
                assert_int_equal(buffer[expected], 0x55);
        }
}

static void quoted_texts_are_json_and_utf8(void **state)
{
        static const struct {
                const char *text;
                const char *quoted;
        } cases[] = {
                { "", "\"\"" },
                { "plain", "\"plain\"" },
                { "\"\\", "\"\\\"\\\\\"" },
                { "\n\x1f\x7f", "\"\\u000a\\u001f\\u007f\"" },
                { "\xc3\xa4", "\"\xc3\xa4\"" },
                { "\xc2\x9b\xc2\x9f\xc2\xa0", "\"\\u009b\\u009f\xc2\xa0\"" },
                { "\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9", "\"\xe2\x80\xa7\\u2028\\u2029\"" },
                { "\xe2\x80\xae\xe2\x80\xaf", "\"\\u202e\xe2\x80\xaf\"" },
                { "\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa", "\"\xe2\x81\xa5\\u2066\\u2069\xe2\x81\xaa\"" },
                { "\xe2\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "a\xc3", "\"a\xef\xbf\xbd\"" },
                { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* a surrogate */
                { "\xef\xb7\x8f\xef\xb7\x90\xef\xb7\xaf\xef\xb7\xb0",
                  "\"\xef\xb7\x8f\xef\xbf\xbd\xef\xbf\xbd\xef\xb7\xb0\"" }, /* U+FDD0 to U+FDEF are no characters */
                { "\xef\xbf\xbc\xef\xbf\xbe\xef\xbf\xbf", "\"\xef\xbf\xbc\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "\xf0\x9f\xbf\xbd\xf0\x9f\xbf\xbe\xf4\x8f\xbf\xbf", "\"\xf0\x9f\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "\xf0\x90\xbf\xbf\xe1\xbf\xbf", "\"\xf0\x90\xbf\xbf\xe1\xbf\xbf\"" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char buffer[64];
                struct text_builder builder = text_builder_on(buffer, sizeof(buffer));
                text_builder_quoted(&builder, cases[i].text, strlen(cases[i].text));
                assert_int_equal(text_builder_length(&builder), strlen(cases[i].quoted));
                assert_memory_equal(buffer, cases[i].quoted, strlen(cases[i].quoted));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pieces_follow_each_other),
                cmocka_unit_test(numbers_are_decimal_up_to_the_largest),
                cmocka_unit_test(what_does_not_fit_is_left_out),
                cmocka_unit_test(quoted_texts_are_json_and_utf8),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
