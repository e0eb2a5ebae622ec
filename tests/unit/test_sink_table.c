/* What a table of sinks tells of them, by a clock of the test's own. */
#include "record_writer_lab.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "records/sink_table.h"

#define INSTANCE "0123456789abcdef0123456789abcdef"

static struct sink *start_sink(const struct config_sink *config)
{
        struct sink *sink = NULL;
        char error[256] = "";

        if (sink_start(config, NULL, INSTANCE, error, sizeof(error), &sink) < 0)
                fail_msg("%s", error);
        return sink;
}

static struct sink_table *table_with(const struct config_sink *config, struct sink *sink)
{
        struct sink_table *table = sink_table_new(1);

        assert_non_null(table);
        assert_int_equal(sink_table_add(table, config, "nva1", sink), 0);
        return table;
}

/* Ends the sink, whose file must then have an alarm with each of these hints, and nothing else. */
static void finish_with_alarms(struct sink *sink, const char *const *hints, size_t count)
{
        struct lines lines = { 0 };
        uint64_t lost = 0;

        sink_stop(sink, clock_monotonic_ms() + DEADLINE_MS);
        assert_true(sink_finish(sink, DEADLINE_MS, &lost));
        read_lines(first_path, &lines);
        assert_int_equal(lines.count, count);
        for (size_t i = 0; i < count; i++) {
                assert_string_equal(text(lines.records[i], "reason"), "records-lost");
                assert_non_null(strstr(text(lines.records[i], "hint"), hints[i]));
        }
        free_lines(&lines);
}

static void losses_are_told_once_a_minute_also_over_a_reload(void **state)
{
        static const char *const hints[] = { "5 records for ", "11 records for " };
        struct setup setup = { 0 };
        const struct config_sink *config = add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct sink *sink = start_sink(config);
        struct sink_table *table = table_with(config, sink);

        (void)state;
        sink_lose(sink, 5);
        sink_table_run_timers(table, 1000);
        sink_lose(sink, 7);
        sink_table_run_timers(table, 2000);
        struct sink_table *next = table_with(config, sink);
        sink_table_take_over(next, table);
        sink_table_free(table);
        sink_lose(sink, 4);
        sink_table_run_timers(next, 3000);
        assert_int_equal(sink_table_deadline_ms(next, 3000), 61000);
        sink_table_run_timers(next, 61000);
        sink_table_run_timers(next, 200000);
        finish_with_alarms(sink, hints, ARRAY_SIZE(hints));
        sink_table_free(next);
}

/* Pushes denials until the pipe is full, the sink's buffer, what it has in hand, and its queue. */
static void fill(struct sink_table *table, struct sink *sink)
{
        const struct decision decision = sample_numbered(1, POLICY_DENY);
        unsigned full = 0;

        while (full < 10000) {
                full = sink_is_heard(sink) ? 0 : full + 1;
                if (full == 0)
                        sink_table_deliver(table, &decision, 0);
                sink_table_wake(table);
                sched_yield();
        }
}

/* Reads lines until one has this text. */
static void read_up_to(int fd, struct sink_table *table, const char *wanted)
{
        static char bytes[65536];
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;
        size_t kept = 0;

        for (;;) {
                ssize_t length = read(fd, bytes + kept, sizeof(bytes) - 1 - kept);
                kept += length > 0 ? (size_t)length : 0;
                bytes[kept] = '\0';
                if (strstr(bytes, wanted) != NULL)
                        return;
                if (clock_monotonic_ms() > deadline_ms)
                        fail_msg("no %s", wanted);
                if (kept > sizeof(bytes) / 2) {
                        memmove(bytes, bytes + kept - strlen(wanted), strlen(wanted));
                        kept = strlen(wanted);
                }
                sink_table_run_timers(table, 2000);
                sink_table_wake(table);
        }
}

static void an_alarm_waits_for_room_also_over_a_reload(void **state)
{
        struct setup setup = { 0 };
        struct config_sink *config = add_sink(&setup, CONFIG_SINK_FILE, first_path);
        uint64_t lost = 0;

        (void)state;
        config->queue = 64;
        assert_int_equal(mkfifo(first_path, 0600), 0);
        int fd = open(first_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        struct sink *sink = start_sink(config);
        struct sink_table *table = table_with(config, sink);
        fill(table, sink);
        sink_lose(sink, 5);
        sink_table_run_timers(table, 1000);
        assert_int_equal(sink_table_deadline_ms(table, 1000), 1250);
        struct sink_table *next = table_with(config, sink);
        sink_table_take_over(next, table);
        sink_table_free(table);
        read_up_to(fd, next, "5 records for ");
        assert_int_equal(sink_table_deadline_ms(next, 3000), UINT64_MAX);
        sink_stop(sink, clock_monotonic_ms());
        assert_true(sink_finish(sink, DEADLINE_MS, &lost));
        close(fd);
        sink_table_free(next);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                WRITER_TEST(an_alarm_waits_for_room_also_over_a_reload),
                WRITER_TEST(losses_are_told_once_a_minute_also_over_a_reload),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
