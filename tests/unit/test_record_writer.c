#include "record_writer_lab.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

static void records_are_in_the_file_in_order_without_gaps(void **state)
{
        struct setup setup = { 0 };
        struct lines lines = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 3000; n++)
                push(writer, 0, n, POLICY_DENY);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(lines.count, 3000);
        assert_int_equal(check_sequence(&lines), 0);
        check_numbers(&lines, 0);
        free_lines(&lines);
}

/* Longer than the record thread stays awake after its last record: from then on only a wake-up brings it back. */
#define QUIET_MS 10

static void a_record_after_a_quiet_time_is_written_at_once(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 1; n <= 20; n++) {
                (void)poll(NULL, 0, QUIET_MS);
                push(writer, 0, n, POLICY_DENY);
                wait_for(writer, 0, n);
        }
        record_writer_free(writer);
}

static void what_is_counted_as_written_gets_into_the_file_without_more_records(void **state)
{
        struct setup setup = { 0 };
        struct stat status = { 0 };
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        push(writer, 0, 1, POLICY_DENY);
        while (stat(first_path, &status) == -1 || status.st_size == 0) {
                assert_true(clock_monotonic_ms() < deadline_ms);
                sched_yield();
        }
        record_writer_free(writer);
}

static void each_sink_takes_what_its_filter_says(void **state)
{
        char *cluster_name = strdup("prod-weu");
        struct config_text cluster = { .text = cluster_name };
        struct setup setup = { 0 };
        struct lines first = { 0 };
        struct lines second = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct config_sink *sink = add_sink(&setup, CONFIG_SINK_FILE, second_path);
        sink->takes_deny = false;
        sink->takes_allow = true;
        sink->clusters = &cluster;
        sink->cluster_count = 1;
        struct record_writer *writer = start(&setup, 1);
        memset(cluster_name, 'x', strlen(cluster_name)); /* The writer has its own copy. */
        struct decision other = sample_numbered(3, POLICY_ALLOW);
        snprintf(other.cluster, sizeof(other.cluster), "prod-weu-2");
        const struct decision alarm = { .event = DECISION_EVENT_ALARM, .alarm = "snat-nearly-exhausted" };
        push(writer, 0, 0, POLICY_DENY);
        push(writer, 0, 1, POLICY_ALLOW);
        push(writer, 0, 2, POLICY_AUDIT);
        record_writer_push(writer, 0, &other);
        record_writer_push(writer, 0, &alarm);
        record_writer_free(writer);
        read_lines(first_path, &first);
        read_lines(second_path, &second);
        assert_int_equal(first.count, 3);
        assert_string_equal(text(first.records[0], "action"), "deny");
        assert_string_equal(text(first.records[1], "action"), "audit");
        assert_string_equal(text(first.records[2], "event"), "alarm");
        assert_int_equal(second.count, 2);
        assert_int_equal(number(second.records[0], "bytes_out"), 1);
        assert_string_equal(text(second.records[1], "event"), "alarm");
        assert_int_equal(check_sequence(&first), 0);
        assert_int_equal(check_sequence(&second), 0);
        assert_string_equal(text(first.records[0], "instance"), text(second.records[0], "instance"));
        free_lines(&first);
        free_lines(&second);
        free(cluster_name);
}

static void queries_packets_flows_and_summaries_are_taken_by_their_action(void **state)
{
        static const char *const denied[] = { "query", "packet", "summary" };
        struct decision query = sample_query();
        const struct decision packet = sample_packet();
        const struct decision flow = sample_flow();
        const struct decision summary = sample_summary(&packet);
        struct setup setup = { 0 };
        struct lines first = { 0 };
        struct lines second = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct config_sink *sink = add_sink(&setup, CONFIG_SINK_FILE, second_path);
        sink->takes_deny = false;
        sink->takes_allow = true;
        struct record_writer *writer = start(&setup, 1);
        record_writer_push(writer, 0, &query);
        record_writer_push(writer, 0, &packet);
        record_writer_push(writer, 0, &flow);
        record_writer_push(writer, 0, &summary);
        query.action = POLICY_ALLOW;
        record_writer_push(writer, 0, &query);
        record_writer_free(writer);
        read_lines(first_path, &first);
        read_lines(second_path, &second);
        assert_int_equal(first.count, ARRAY_SIZE(denied));
        for (size_t i = 0; i < ARRAY_SIZE(denied); i++)
                assert_string_equal(text(first.records[i], "event"), denied[i]);
        assert_int_equal(second.count, 2);
        assert_string_equal(text(second.records[0], "event"), "flow");
        assert_string_equal(text(second.records[1], "event"), "query");
        assert_int_equal(check_sequence(&first), 0);
        assert_int_equal(check_sequence(&second), 0);
        free_lines(&first);
        free_lines(&second);
}

static void every_record_is_once_in_the_old_or_the_new_file_after_a_rename(void **state)
{
        struct setup setup = { 0 };
        struct lines lines = { 0 };
        char moved[128];
        struct stat status;
        uint64_t n = 0;

        (void)state;
        snprintf(moved, sizeof(moved), "%s.1", first_path);
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (; n < 1000; n++)
                push(writer, 0, n, POLICY_DENY);
        wait_for(writer, 0, 500);
        assert_int_equal(rename(first_path, moved), 0);
        for (; n < 2000; n++)
                push(writer, 0, n, POLICY_DENY);
        record_writer_reopen(writer);
        while (stat(first_path, &status) == -1)
                sched_yield();
        for (; n < 3000; n++)
                push(writer, 0, n, POLICY_DENY);
        record_writer_free(writer);
        read_lines(moved, &lines);
        size_t in_old = lines.count;
        assert_in_range(in_old, 500, 2000);
        read_lines(first_path, &lines);
        assert_in_range(lines.count - in_old, 1000, 2500);
        assert_int_equal(lines.count, 3000);
        assert_int_equal(check_sequence(&lines), 0);
        check_numbers(&lines, 0);
        free_lines(&lines);
}

static void a_reload_keeps_seq_and_instance_and_replaces_the_filter(void **state)
{
        struct setup setup = { 0 };
        struct setup changed = { 0 };
        struct lines first = { 0 };
        struct lines second = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct config_sink *added = add_sink(&changed, CONFIG_SINK_FILE, second_path);
        added->takes_allow = true;
        struct config_sink *kept = add_sink(&changed, CONFIG_SINK_FILE, first_path);
        kept->takes_deny = false;
        kept->takes_allow = true;
        kept->queue = 10;
        struct record_writer *writer = start(&setup, 1);
        push(writer, 0, 1, POLICY_ALLOW);
        push(writer, 0, 0, POLICY_DENY);
        wait_for(writer, 0, 1);
        reload(writer, &changed);
        push(writer, 0, 2, POLICY_DENY);
        push(writer, 0, 3, POLICY_ALLOW);
        record_writer_free(writer);
        read_lines(first_path, &first);
        read_lines(second_path, &second);
        assert_int_equal(first.count, 2);
        assert_int_equal(number(first.records[0], "bytes_out"), 0);
        assert_int_equal(number(first.records[1], "bytes_out"), 3);
        assert_int_equal(check_sequence(&first), 0);
        assert_int_equal(second.count, 2);
        check_numbers(&second, 2);
        assert_int_equal(check_sequence(&second), 0);
        free_lines(&first);
        free_lines(&second);
}

/* A start goes where its end will: that of an audited connection is among the denials. */
static void starts_follow_allow_at_and_have_ends(void **state)
{
        struct setup setup = { 0 };
        struct lines starts = { 0 }, both = { 0 };
        struct decision allowed = sample_start();
        struct decision audited = sample_start();

        (void)state;
        audited.action = POLICY_AUDIT;
        struct config_sink *sink = add_sink(&setup, CONFIG_SINK_FILE, first_path);
        sink->takes_deny = false;
        sink->takes_allow = true;
        sink->allow_at_start = true;
        sink->allow_at_end = false;
        sink = add_sink(&setup, CONFIG_SINK_FILE, second_path);
        sink->takes_allow = true;
        sink->allow_at_start = true;
        struct record_writer *writer = start(&setup, 1);
        assert_true(record_writer_wants_starts(writer));
        record_writer_push(writer, 0, &allowed);
        record_writer_push(writer, 0, &audited);
        push(writer, 0, 1, POLICY_ALLOW);
        push(writer, 0, 2, POLICY_AUDIT);
        setup.sinks[0].allow_at_start = setup.sinks[1].allow_at_start = false;
        wait_for(writer, 1, 4);
        reload(writer, &setup);
        assert_false(record_writer_wants_starts(writer));
        record_writer_free(writer);
        read_lines(first_path, &starts);
        read_lines(second_path, &both);
        assert_int_equal(starts.count, 1);
        assert_string_equal(text(starts.records[0], "event"), "start");
        assert_string_equal(text(starts.records[0], "action"), "allow");
        assert_int_equal(both.count, 4);
        assert_string_equal(text(both.records[1], "event"), "start");
        assert_string_equal(text(both.records[1], "action"), "audit");
        free_lines(&starts);
        free_lines(&both);
}

static void a_sink_that_a_reload_closes_writes_what_it_has(void **state)
{
        struct setup setup = { 0 };
        struct setup empty = { 0 };
        struct lines lines = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 1000; n++)
                push(writer, 0, n, POLICY_DENY);
        wait_for(writer, 0, 1);
        reload(writer, &empty);
        assert_int_equal(record_writer_sink_count(writer), 0);
        push(writer, 0, 1000, POLICY_DENY);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_in_range(lines.count, 1, 1000);
        assert_int_equal(check_sequence(&lines), 0);
        check_numbers(&lines, 0);
        free_lines(&lines);
}

/* Who reads the file tells records apart by instance and seq. */
static void a_sink_that_comes_back_has_another_instance(void **state)
{
        struct setup setup = { 0 };
        struct setup empty = { 0 };
        struct lines lines = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        push(writer, 0, 0, POLICY_DENY);
        wait_for(writer, 0, 1);
        reload(writer, &empty);
        reload(writer, &setup);
        push(writer, 0, 1, POLICY_DENY);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(lines.count, 2);
        assert_string_not_equal(text(lines.records[0], "instance"), text(lines.records[1], "instance"));
        free_lines(&lines);
}

static void many_reloads_under_load_lose_nothing(void **state)
{
        struct setup setup = { 0 };
        struct setup both = { 0 };
        struct lines lines = { 0 };
        uint64_t n = 0;

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        add_sink(&both, CONFIG_SINK_FILE, second_path);
        add_sink(&both, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (unsigned round = 0; round < 200; round++) {
                for (unsigned i = 0; i < 10; i++)
                        push(writer, 0, n++, POLICY_DENY);
                reload(writer, round % 2 == 0 ? &both : &setup);
        }
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(lines.count, 2000);
        assert_int_equal(check_sequence(&lines), 0);
        check_numbers(&lines, 0);
        free_lines(&lines);
}

static void a_reload_that_fails_says_why_and_changes_nothing(void **state)
{
        char bad_path[] = "/nonexistent/decisions.json";
        struct setup setup = { 0 };
        struct setup bad = { 0 };
        struct lines lines = { 0 };
        char error[256];

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        add_sink(&bad, CONFIG_SINK_FILE, first_path)->takes_deny = false;
        add_sink(&bad, CONFIG_SINK_FILE, second_path);
        add_sink(&bad, CONFIG_SINK_FILE, bad_path);
        struct record_writer *writer = start(&setup, 1);
        push(writer, 0, 0, POLICY_DENY);
        assert_int_equal(record_writer_reload(writer, &bad.config, error, sizeof(error)), -ENOENT);
        assert_string_equal(error, "logging: /nonexistent/decisions.json: No such file or directory");
        push(writer, 0, 1, POLICY_DENY);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(lines.count, 2);
        assert_int_equal(check_sequence(&lines), 0);
        free_lines(&lines);
}

static void a_start_that_fails_says_why(void **state)
{
        char bad_path[] = "/nonexistent/decisions.json";
        struct record_writer *writer = NULL;
        struct setup setup = { 0 };
        char error[256];

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        add_sink(&setup, CONFIG_SINK_FILE, bad_path);
        assert_int_equal(record_writer_new(&setup.config, 2, error, sizeof(error), &writer), -ENOENT);
        assert_string_equal(error, "logging: /nonexistent/decisions.json: No such file or directory");
        assert_null(writer);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                WRITER_TEST(starts_follow_allow_at_and_have_ends),
                WRITER_TEST(records_are_in_the_file_in_order_without_gaps),
                WRITER_TEST(a_record_after_a_quiet_time_is_written_at_once),
                WRITER_TEST(what_is_counted_as_written_gets_into_the_file_without_more_records),
                WRITER_TEST(each_sink_takes_what_its_filter_says),
                WRITER_TEST(queries_packets_flows_and_summaries_are_taken_by_their_action),
                WRITER_TEST(every_record_is_once_in_the_old_or_the_new_file_after_a_rename),
                WRITER_TEST(a_reload_keeps_seq_and_instance_and_replaces_the_filter),
                WRITER_TEST(a_sink_that_a_reload_closes_writes_what_it_has),
                WRITER_TEST(a_sink_that_comes_back_has_another_instance),
                WRITER_TEST(many_reloads_under_load_lose_nothing),
                WRITER_TEST(a_reload_that_fails_says_why_and_changes_nothing),
                WRITER_TEST(a_start_that_fails_says_why),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
