/*
 * Denials that repeat themselves, as sinks write them. Time passes when a test says so, since the clock is this program's.
 */
#include "fake_clock.h"
#include "record_writer_lab.h"

#define WINDOW_MS 10000
#define MARK "mark" /* an alarm that a test puts between records to see what came before it */

static struct record_writer *writer;
static uint64_t pushed;

static void open_writer(struct setup *setup, unsigned summarize_ms)
{
        add_sink(setup, CONFIG_SINK_FILE, first_path)->summarize_ms = summarize_ms;
        add_sink(setup, CONFIG_SINK_FILE, second_path)->summarize_ms = 0;
        pushed = 0;
        writer = start(setup, 1);
}

/* Waits until the record thread has dealt with it: the second sink writes everything. */
static void push_and_wait(const struct decision *decision)
{
        record_writer_push(writer, 0, decision);
        wait_for(writer, 1, ++pushed);
}

static void mark(void)
{
        const struct decision decision = { .event = DECISION_EVENT_ALARM, .alarm = MARK };

        push_and_wait(&decision);
}

static void deny(const char *client, uint16_t client_port)
{
        struct decision decision = sample_packet();

        decision.client = sample_endpoint(client, client_port);
        push_and_wait(&decision);
}

static void pass_ms(uint64_t milliseconds)
{
        atomic_fetch_add(&passed_ms, milliseconds);
        mark();
}

/* "10.1.0.4 " for a denial, "+3 10.1.0.4 " for a summary, "| " for a mark. */
static void assert_trace(const char *expected)
{
        struct lines lines = { 0 };
        char trace[4096] = "";
        size_t length = 0;

        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(check_sequence(&lines), 0);
        for (size_t i = 0; i < lines.count; i++) {
                const json_t *record = lines.records[i];
                if (strcmp(text(record, "reason"), MARK) == 0) {
                        length += (size_t)sprintf(trace + length, "| ");
                        continue;
                }
                if (strcmp(text(record, "event"), "summary") == 0)
                        length += (size_t)sprintf(trace + length, "+%u ", (unsigned)number(record, "count"));
                length += (size_t)sprintf(trace + length, "%s ", text(record, "client_ip"));
        }
        free_lines(&lines);
        assert_string_equal(trace, expected);
}

static void the_first_is_recorded_at_once_and_those_like_it_are_counted(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        open_writer(&setup, WINDOW_MS);
        deny("10.1.0.4", 1000);
        mark();
        deny("10.1.0.4", 1001);
        deny("10.1.0.4", 1002);
        pass_ms(WINDOW_MS / 2);
        deny("10.1.0.4", 1003);
        pass_ms(WINDOW_MS / 2);
        mark();
        assert_trace("10.1.0.4 | | | +3 10.1.0.4 | ");
}

static void what_goes_on_has_a_summary_a_window(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        open_writer(&setup, WINDOW_MS);
        for (uint16_t i = 1; i < 4; i++) {
                deny("10.1.0.4", i);
                deny("10.1.0.4", i);
                pass_ms(WINDOW_MS);
        }
        assert_trace("10.1.0.4 | +1 10.1.0.4 | +2 10.1.0.4 | +2 10.1.0.4 ");
}

static void what_was_quiet_for_a_window_is_recorded_at_once_again(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        open_writer(&setup, WINDOW_MS);
        deny("10.1.0.4", 1);
        pass_ms(WINDOW_MS);
        deny("10.1.0.4", 1);
        assert_trace("10.1.0.4 | 10.1.0.4 ");
}

static void off_means_that_each_has_a_record(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        open_writer(&setup, 0);
        for (uint16_t i = 1; i < 4; i++)
                deny("10.1.0.4", i);
        assert_trace("10.1.0.4 10.1.0.4 10.1.0.4 ");
}

static void the_end_and_a_reload_tell_what_was_counted(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        open_writer(&setup, WINDOW_MS);
        deny("10.1.0.4", 1);
        deny("10.1.0.4", 2);
        deny("10.1.0.5", 3);
        reload(writer, &setup);
        mark();
        deny("10.1.0.4", 4);
        deny("10.1.0.4", 5);
        assert_trace("10.1.0.4 10.1.0.5 +1 10.1.0.4 | 10.1.0.4 +1 10.1.0.4 ");
}

/* The record thread wakes by itself at the end of a window. */
static void a_summary_waits_for_no_other_record(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        open_writer(&setup, 1000);
        deny("10.1.0.4", 1);
        deny("10.1.0.4", 2);
        wait_for(writer, 0, 2);
        assert_trace("10.1.0.4 +1 10.1.0.4 ");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                WRITER_TEST(the_first_is_recorded_at_once_and_those_like_it_are_counted),
                WRITER_TEST(what_goes_on_has_a_summary_a_window),
                WRITER_TEST(what_was_quiet_for_a_window_is_recorded_at_once_again),
                WRITER_TEST(off_means_that_each_has_a_record),
                WRITER_TEST(the_end_and_a_reload_tell_what_was_counted),
                WRITER_TEST(a_summary_waits_for_no_other_record),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
