#include "process/metrics.h"

#include "record_writer_lab.h"

#include <event2/buffer.h>
#include <inttypes.h>

#include "process/metrics_text.h"

/* What was written, as one text; ends with the buffer. */
static const char *text_of(struct evbuffer *out)
{
        evbuffer_add(out, "", 1);
        return (const char *)evbuffer_pullup(out, -1);
}

static void a_family_is_help_type_and_samples(void **state)
{
        const struct metrics_label labels[] = { { "pool", "main" }, { "address", "10.0.0.1" } };
        struct evbuffer *out = evbuffer_new();
        struct metrics_text text = { .out = out };

        (void)state;
        metrics_text_family(&text, "a_total", METRICS_COUNTER, "What a is.");
        metrics_text_sample(&text, "a_total", NULL, 0, 0);
        metrics_text_family(&text, "b", METRICS_GAUGE, "What b is.");
        metrics_text_sample(&text, "b", labels, 1, 1);
        metrics_text_sample(&text, "b", labels, 2, UINT64_MAX);
        assert_false(text.failed);
        assert_string_equal(text_of(out), "# HELP a_total What a is.\n# TYPE a_total counter\na_total 0\n"
                                          "# HELP b What b is.\n# TYPE b gauge\nb{pool=\"main\"} 1\n"
                                          "b{pool=\"main\",address=\"10.0.0.1\"} 18446744073709551615\n");
        evbuffer_free(out);
}

static void a_label_may_hold_anything(void **state)
{
        static const struct {
                const char *value;
                const char *written;
        } rows[] = {
                { "", "a{l=\"\"} 7\n" },
                { "tls://siem.contoso.com:6514", "a{l=\"tls://siem.contoso.com:6514\"} 7\n" },
                { "/v\\a\"r\n", "a{l=\"/v\\\\a\\\"r\\n\"} 7\n" },
                { "\\\\\"\"\n\nx", "a{l=\"\\\\\\\\\\\"\\\"\\n\\nx\"} 7\n" },
                { "{,} = \xc3\xa4\t", "a{l=\"{,} = \xc3\xa4\t\"} 7\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const struct metrics_label label = { "l", rows[i].value };
                struct evbuffer *out = evbuffer_new();
                struct metrics_text text = { .out = out };
                metrics_text_sample(&text, "a", &label, 1, 7);
                assert_string_equal(text_of(out), rows[i].written);
                evbuffer_free(out);
        }
}

/* A frozen buffer takes nothing, as one that gets no memory. */
static void text_that_is_not_whole_is_known(void **state)
{
        struct evbuffer *out = evbuffer_new();
        struct metrics_text text = { .out = out };

        (void)state;
        assert_int_equal(evbuffer_freeze(out, 0), 0);
        metrics_text_sample(&text, "a", NULL, 0, 7);
        assert_true(text.failed);
        evbuffer_free(out);
}

static void assert_sample(const struct metrics_source *source, const char *metric, const char *sink, uint64_t value)
{
        struct evbuffer *out = evbuffer_new();
        char line[256];

        assert_int_equal(metrics_write(source, out), 0);
        snprintf(line, sizeof(line), "\n%s{sink=\"%s\"} %" PRIu64 "\n", metric, sink, value);
        if (strstr(text_of(out), line) == NULL)
                fail_msg("no %s in\n%s", line, (const char *)evbuffer_pullup(out, -1));
        evbuffer_free(out);
}

static size_t times(const char *text, const char *word)
{
        size_t count = 0;

        for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
                count++;
        return count;
}

static void sinks_on_one_file_are_one_sample(void **state)
{
        struct setup setup = { 0 };
        struct metrics_source source = { .version = "1.2", .policy_generation = 3, .reload_failures = 4 };
        struct evbuffer *out = evbuffer_new();

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        add_sink(&setup, CONFIG_SINK_FILE, second_path);
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        source.records = writer;
        for (uint64_t n = 0; n < 5; n++)
                push(writer, 0, n, POLICY_DENY);
        for (size_t i = 0; i < 3; i++) {
                wait_for(writer, i, 5);
                wait_for_empty_queue(writer, i);
        }
        assert_sample(&source, "aksegressd_records_total", first_path, 10);
        assert_sample(&source, "aksegressd_records_total", second_path, 5);
        assert_sample(&source, "aksegressd_records_lost_total", first_path, 0);
        assert_sample(&source, "aksegressd_records_queued", second_path, 0);
        assert_int_equal(metrics_write(&source, out), 0);
        const char *text = text_of(out);
        assert_int_equal(times(text, "\naksegressd_records_total{"), 2);
        assert_non_null(strstr(text, "\naksegressd_build_info{version=\"1.2\"} 1\n"));
        assert_non_null(strstr(text, "\naksegressd_policy_generation 3\n"));
        assert_non_null(strstr(text, "\naksegressd_policy_reload_failures_total 4\n"));
        evbuffer_free(out);
        record_writer_free(writer);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_family_is_help_type_and_samples),
                cmocka_unit_test(a_label_may_hold_anything),
                cmocka_unit_test(text_that_is_not_whole_is_known),
                WRITER_TEST(sinks_on_one_file_are_one_sample),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
