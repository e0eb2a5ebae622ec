#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/rule_file.h"

static struct rule_reader reader_of(const char *text, enum rule_style style)
{
        return rule_reader_from(text, strlen(text), style);
}

static void lines_are_numbered_and_ends_of_both_kinds_are_taken_off(void **state)
{
        struct rule_reader reader =
                reader_of("\xef\xbb\xbf# head\r\n\r\ntcp a.com:1\r\n\nbroken\ntcp b.com:2", RULE_STYLE_FEATURE);
        struct rule_reader_line line;

        (void)state;
        assert_true(rule_reader_next(&reader, &line));
        assert_false(line.bad);
        assert_int_equal(line.number, 3);
        assert_true(rule_span_equals(line.rule.ports, "1"));
        assert_true(rule_reader_next(&reader, &line));
        assert_true(line.bad);
        assert_int_equal(line.number, 5);
        assert_true(rule_reader_next(&reader, &line));
        assert_int_equal(line.number, 6);
        assert_true(rule_span_equals(line.rule.ports, "2"));
        assert_false(rule_reader_next(&reader, &line));
}

static void a_cloud_line_counts_until_the_next(void **state)
{
        struct rule_reader reader = reader_of("tcp a.com:1\ncloud AzureChinaCloud\ntcp b.com:1\ncloud *\ntcp c.com:1\n",
                                              RULE_STYLE_FEATURE);
        const enum rule_cloud clouds[] = { RULE_CLOUD_ALL, RULE_CLOUD_CHINA, RULE_CLOUD_ALL };
        struct rule_reader_line line;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(clouds); i++) {
                assert_true(rule_reader_next(&reader, &line));
                assert_int_equal(line.cloud, clouds[i]);
        }
}

static void a_bad_cloud_line_is_reported(void **state)
{
        struct rule_reader reader = reader_of("cloud Moon\n", RULE_STYLE_FEATURE);
        struct rule_reader_line line;

        (void)state;
        assert_true(rule_reader_next(&reader, &line));
        assert_true(line.bad);
        assert_non_null(strstr(line.error.text, "'Moon' is not a cloud"));
}

static void an_empty_text_has_no_lines(void **state)
{
        struct rule_reader reader = reader_of("", RULE_STYLE_PLAIN_LIST);
        struct rule_reader_line line;

        (void)state;
        assert_false(rule_reader_next(&reader, &line));
}

static void dependence_on_the_cluster_is_seen(void **state)
{
        const struct {
                char text[32];
                bool depends;
        } cases[] = { { "a.com\n*.b.com\n", false },          { "https {x}.com:443\n", true },
                      { "cloud AzurePublicCloud\n", true },   { "tcp a.com:1 when=x\n", true },
                      { "cloud\tAzurePublicCloud", true },    { "", false },
                      { "# cloud {x} when=\na.com\n", false } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char text[32];
                memcpy(text, cases[i].text, sizeof(text));
                struct rule_file file = { .text = text, .length = strlen(text) };
                assert_int_equal(rule_file_depends_on_cluster(&file), cases[i].depends);
        }
}

static void a_file_is_read_whole_and_what_is_none_is_refused(void **state)
{
        char directory[] = "/tmp/aksegressd-rule-file-XXXXXX", path[64], fifo[64];
        struct diagnostics *diagnostics = diagnostics_new();
        struct diagnostic_place place = { "conf", 3, 4 };
        struct rule_file *file;

        (void)state;
        assert_non_null(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/list", directory);
        snprintf(fifo, sizeof(fifo), "%s/fifo", directory);
        FILE *stream = fopen(path, "w");
        assert_non_null(stream);
        for (unsigned i = 0; i < 100000; i++)
                fprintf(stream, "name%u.example\n", i);
        fclose(stream);
        assert_int_equal(mkfifo(fifo, 0600), 0);

        assert_int_equal(rule_file_read(path, RULE_FILE_MAX_SIZE, &place, diagnostics, &file), 0);
        assert_string_equal(file->path, path);
        struct rule_reader reader = rule_reader_from(file->text, file->length, RULE_STYLE_PLAIN_LIST);
        struct rule_reader_line line;
        unsigned count = 0;
        while (rule_reader_next(&reader, &line))
                count += !line.bad;
        assert_int_equal(count, 100000);
        rule_file_free(file);

        assert_int_equal(rule_file_read(directory, RULE_FILE_MAX_SIZE, &place, diagnostics, &file), -EINVAL);
        assert_int_equal(rule_file_read(fifo, RULE_FILE_MAX_SIZE, &place, diagnostics, &file),
                         -EINVAL); /* and does not wait */
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rule_file_read(path, RULE_FILE_MAX_SIZE, &place, diagnostics, &file), -EINVAL);
        assert_int_equal(diagnostics_error_count(diagnostics), 3);
        assert_memory_equal(diagnostics_line(diagnostics, 2), "conf:3:4: cannot read '", 23);
        diagnostics_free(diagnostics);
        assert_int_equal(unlink(fifo), 0);
        assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_are_numbered_and_ends_of_both_kinds_are_taken_off),
                cmocka_unit_test(a_cloud_line_counts_until_the_next),
                cmocka_unit_test(a_bad_cloud_line_is_reported),
                cmocka_unit_test(an_empty_text_has_no_lines),
                cmocka_unit_test(dependence_on_the_cluster_is_seen),
                cmocka_unit_test(a_file_is_read_whole_and_what_is_none_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
