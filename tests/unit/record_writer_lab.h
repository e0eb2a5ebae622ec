/* A record writer with sinks in a directory of its own, and what it wrote read back with another JSON parser. */
#pragma once

#include "record_samples.h"

#include <jansson.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "records/record_writer.h"

#define DEADLINE_MS 20000

static char directory[64];
static char first_path[96];
static char second_path[96];

/* A configuration of up to three sinks, all of it in the test's stack. */
struct setup {
        struct config config;
        struct config_sink sinks[3];
};

static inline int make_directory(void **state)
{
        (void)state;
        snprintf(directory, sizeof(directory), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        snprintf(first_path, sizeof(first_path), "%s/first", directory);
        snprintf(second_path, sizeof(second_path), "%s/second", directory);
        return 0;
}

static inline int remove_directory(void **state)
{
        char moved[128];

        (void)state;
        snprintf(moved, sizeof(moved), "%s.1", first_path);
        unlink(moved);
        unlink(first_path);
        unlink(second_path);
        rmdir(directory);
        return 0;
}

static inline struct config_sink *add_sink(struct setup *setup, enum config_sink_kind kind, char *path)
{
        struct config_sink *sink = &setup->sinks[setup->config.sink_count++];

        setup->config.sinks = setup->sinks;
        *sink = (struct config_sink){
                .kind = kind, .path.text = path, .takes_deny = true, .allow_at_end = true, .queue = 65536
        };
        sink->format = kind == CONFIG_SINK_JOURNAL ? CONFIG_FORMAT_JOURNAL : CONFIG_FORMAT_JSON;
        return sink;
}

static inline struct record_writer *start(const struct setup *setup, unsigned producers)
{
        struct record_writer *writer = NULL;
        char error[256] = "";
        int r = record_writer_new(&setup->config, producers, error, sizeof(error), &writer);

        if (r < 0)
                fail_msg("%s", error);
        return writer;
}

static inline void reload(struct record_writer *writer, const struct setup *setup)
{
        char error[256] = "";

        if (record_writer_reload(writer, &setup->config, error, sizeof(error)) < 0)
                fail_msg("%s", error);
}

static inline void push(struct record_writer *writer, unsigned producer, uint64_t n, enum policy_action action)
{
        struct decision decision = sample_numbered(n, action);

        record_writer_push(writer, producer, &decision);
}

/* Waits until sink has written and lost so many records, all told. */
static inline void wait_for(const struct record_writer *writer, size_t sink, uint64_t written_and_lost)
{
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;

        for (;;) {
                struct record_writer_sink figures = record_writer_sink(writer, sink);
                if (figures.written + figures.lost >= written_and_lost)
                        return;
                if (clock_monotonic_ms() > deadline_ms)
                        fail_msg("written %llu, lost %llu", (unsigned long long)figures.written,
                                 (unsigned long long)figures.lost);
                sched_yield();
        }
}

/* Waits until nothing waits in a sink's queue. */
static inline void wait_for_empty_queue(const struct record_writer *writer, size_t sink)
{
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;

        while (record_writer_sink(writer, sink).queued > 0) {
                if (clock_monotonic_ms() > deadline_ms)
                        fail_msg("%llu wait", (unsigned long long)record_writer_sink(writer, sink).queued);
                sched_yield();
        }
}

struct lines {
        json_t **records;
        size_t count;
};

static inline void read_lines(const char *path, struct lines *lines)
{
        FILE *stream = fopen(path, "re");
        char *line = NULL;
        size_t size = 0;
        ssize_t length;

        assert_non_null(stream);
        while ((length = getline(&line, &size, stream)) > 0) {
                json_error_t error;
                json_t *record = json_loadb(line, (size_t)length, JSON_REJECT_DUPLICATES, &error);
                if (record == NULL)
                        fail_msg("%s: %s", error.text, line);
                assert_int_equal(line[length - 1], '\n');
                lines->records = reallocarray(lines->records, lines->count + 1, sizeof(*lines->records));
                assert_non_null(lines->records);
                lines->records[lines->count++] = record;
        }
        free(line);
        fclose(stream);
}

static inline void free_lines(struct lines *lines)
{
        for (size_t i = 0; i < lines->count; i++)
                json_decref(lines->records[i]);
        free(lines->records);
}

static inline uint64_t number(const json_t *record, const char *name)
{
        return (uint64_t)json_integer_value(json_object_get(record, name));
}

static inline const char *text(const json_t *record, const char *name)
{
        const char *value = json_string_value(json_object_get(record, name));

        return value != NULL ? value : "";
}

/* seq goes up by one and by lost, from 1; all have one instance. Returns the sum of lost. */
static inline uint64_t check_sequence(const struct lines *lines)
{
        uint64_t seq = 0;
        uint64_t lost = 0;

        for (size_t i = 0; i < lines->count; i++) {
                const json_t *record = lines->records[i];
                assert_int_equal(number(record, "seq"), seq + number(record, "lost") + 1);
                assert_true((json_object_get(record, "lost") == NULL) == (number(record, "lost") == 0));
                assert_string_equal(text(record, "instance"), text(lines->records[0], "instance"));
                assert_int_equal(strlen(text(record, "instance")), 32);
                seq = number(record, "seq");
                lost += number(record, "lost");
        }
        return lost;
}

/* Takes alarms about losses out, and returns how many there were. */
static inline size_t drop_alarms(struct lines *lines)
{
        size_t kept = 0;

        for (size_t i = 0; i < lines->count; i++) {
                json_t *record = lines->records[i];
                if (strcmp(text(record, "event"), "alarm") != 0) {
                        lines->records[kept++] = record;
                        continue;
                }
                assert_string_equal(text(record, "reason"), "records-lost");
                json_decref(record);
        }
        size_t alarms = lines->count - kept;
        lines->count = kept;
        return alarms;
}

/* Alarms about losses, of which there are few, can be lost as well. */
#define ALARMS_MAX 4
static inline void check_total(size_t written, uint64_t lost, uint64_t pushed)
{
        assert_in_range(written + lost, pushed, pushed + ALARMS_MAX);
}

/* bytes_out, which numbers the decisions of a test, is first, first + 1, … */
static inline void check_numbers(const struct lines *lines, uint64_t first)
{
        for (size_t i = 0; i < lines->count; i++)
                assert_int_equal(number(lines->records[i], "bytes_out"), first + i);
}

#define WRITER_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
