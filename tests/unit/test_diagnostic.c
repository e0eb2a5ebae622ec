#include "base/diagnostic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct diagnostic_place whole_file = { .file = "a.yaml" };
static const struct diagnostic_place line_only = { .file = "a.yaml", .line = 3 };
static const struct diagnostic_place exact = { .file = "a.yaml", .line = 3, .column = 7 };

static void the_place_has_as_much_as_is_known(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();

        (void)state;
        diagnostics_error(diagnostics, &whole_file, "cannot be read: %s", "why");
        diagnostics_error(diagnostics, &line_only, "no %d", 1);
        diagnostics_error(diagnostics, &exact, "'%%' is no %s", "port");
        assert_string_equal(diagnostics_line(diagnostics, 0), "a.yaml: cannot be read: why");
        assert_string_equal(diagnostics_line(diagnostics, 1), "a.yaml:3: no 1");
        assert_string_equal(diagnostics_line(diagnostics, 2), "a.yaml:3:7: '%' is no port");
        diagnostics_free(diagnostics);
}

static void warnings_are_marked_and_do_not_count_as_errors(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();

        (void)state;
        diagnostics_warning(diagnostics, &exact, "odd");
        assert_int_equal(diagnostics_error_count(diagnostics), 0);
        diagnostics_error(diagnostics, &exact, "wrong");
        assert_int_equal(diagnostics_error_count(diagnostics), 1);
        assert_int_equal(diagnostics_line_count(diagnostics), 2);
        assert_string_equal(diagnostics_line(diagnostics, 0), "a.yaml:3:7: warning: odd");
        assert_string_equal(diagnostics_line(diagnostics, 1), "a.yaml:3:7: wrong");
        diagnostics_free(diagnostics);
}

static void past_the_maximum_only_the_number_goes_on(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        (void)state;
        assert_non_null(stream);
        for (unsigned i = 0; i < DIAGNOSTIC_MAX + 5; i++)
                diagnostics_error(diagnostics, &exact, "error %u", i);
        assert_int_equal(diagnostics_error_count(diagnostics), DIAGNOSTIC_MAX + 5);
        assert_int_equal(diagnostics_line_count(diagnostics), DIAGNOSTIC_MAX);
        diagnostics_print(diagnostics, stream);
        assert_int_equal(fclose(stream), 0);
        assert_memory_equal(text, "a.yaml:3:7: error 0\n", 20);
        assert_string_equal(text + length - strlen("error 999\nand 5 more\n"), "error 999\nand 5 more\n");
        free(text);
        diagnostics_free(diagnostics);
}

static void a_sentence_or_a_file_name_without_end_is_cut(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();
        char long_text[5000];
        struct diagnostic_place place = { .file = long_text, .line = 1, .column = 1 };

        (void)state;
        memset(long_text, 'x', sizeof(long_text) - 1);
        long_text[sizeof(long_text) - 1] = '\0';
        diagnostics_error(diagnostics, &exact, "%s", long_text);
        diagnostics_error(diagnostics, &place, "%s", "lost");
        diagnostics_warning(diagnostics, &place, "%s", "lost");
        assert_int_equal(diagnostics_line_count(diagnostics), 3);
        for (size_t i = 0; i < 3; i++)
                assert_in_range(strlen(diagnostics_line(diagnostics, i)), 500, 1100);
        diagnostics_free(diagnostics);
}

static void nothing_is_freed_without_harm(void **state)
{
        (void)state;
        diagnostics_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_place_has_as_much_as_is_known),
                cmocka_unit_test(warnings_are_marked_and_do_not_count_as_errors),
                cmocka_unit_test(past_the_maximum_only_the_number_goes_on),
                cmocka_unit_test(a_sentence_or_a_file_name_without_end_is_cut),
                cmocka_unit_test(nothing_is_freed_without_harm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
