#include "journal_receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "records/formatter_journal.h"
#include "records/record_ring.h"
#include "records/record_writer.h"
#include "records/sink_journal.h"

#define DEADLINE_MS 20000

static char directory[64];
static char first_path[96];
static char second_path[96];

/* A configuration of up to three sinks, all of it in the test's stack. */
struct setup {
        struct config config;
        struct config_sink sinks[3];
};

static int make_directory(void **state)
{
        (void)state;
        snprintf(directory, sizeof(directory), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        snprintf(first_path, sizeof(first_path), "%s/first", directory);
        snprintf(second_path, sizeof(second_path), "%s/second", directory);
        return 0;
}

static int remove_directory(void **state)
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

static struct config_sink *add_sink(struct setup *setup, enum config_sink_kind kind, char *path)
{
        struct config_sink *sink = &setup->sinks[setup->config.sink_count++];

        setup->config.sinks = setup->sinks;
        *sink = (struct config_sink){ .kind = kind, .path.text = path, .takes_deny = true, .queue = 65536 };
        return sink;
}

static struct record_writer *start(const struct setup *setup, unsigned producers)
{
        struct record_writer *writer = NULL;
        char error[256] = "";
        int r = record_writer_new(&setup->config, producers, error, sizeof(error), &writer);

        if (r < 0)
                fail_msg("%s", error);
        return writer;
}

static void reload(struct record_writer *writer, const struct setup *setup)
{
        char error[256] = "";

        if (record_writer_reload(writer, &setup->config, error, sizeof(error)) < 0)
                fail_msg("%s", error);
}

static void push(struct record_writer *writer, unsigned producer, uint64_t n, enum policy_action action)
{
        struct decision decision = sample_numbered(n, action);

        record_writer_push(writer, producer, &decision);
}

/* Waits until sink has written and lost so many records, all told. */
static void wait_for(const struct record_writer *writer, size_t sink, uint64_t written_and_lost)
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

struct lines {
        json_t **records;
        size_t count;
};

static void read_lines(const char *path, struct lines *lines)
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

static void free_lines(struct lines *lines)
{
        for (size_t i = 0; i < lines->count; i++)
                json_decref(lines->records[i]);
        free(lines->records);
}

static uint64_t number(const json_t *record, const char *name)
{
        return (uint64_t)json_integer_value(json_object_get(record, name));
}

static const char *text(const json_t *record, const char *name)
{
        const char *value = json_string_value(json_object_get(record, name));

        return value != NULL ? value : "";
}

/* seq goes up by one and by lost, from 1; all have one instance. Returns the sum of lost. */
static uint64_t check_sequence(const struct lines *lines)
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

/* bytes_out, which numbers the decisions of a test, is first, first + 1, … */
static void check_numbers(const struct lines *lines, uint64_t first)
{
        for (size_t i = 0; i < lines->count; i++)
                assert_int_equal(number(lines->records[i], "bytes_out"), first + i);
}

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

/* Not only when the writer is freed. */
static void a_single_record_is_written_at_once(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 1; n <= 50; n++) {
                struct stat status = { 0 };
                uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;
                stat(first_path, &status);
                off_t before = status.st_size;
                push(writer, 0, n, POLICY_DENY);
                while (stat(first_path, &status) == 0 && status.st_size == before) {
                        assert_true(clock_monotonic_ms() < deadline_ms);
                        sched_yield();
                }
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

#define PRODUCERS 3
#define PUSHES 20000

struct producer {
        struct record_writer *writer;
        unsigned number;
};

static void *produce(void *argument)
{
        const struct producer *producer = argument;

        for (uint64_t n = 0; n < PUSHES; n++)
                push(producer->writer, producer->number, n * PRODUCERS + producer->number, POLICY_DENY);
        return NULL;
}

/* Far more than the rings hold, from several threads: each producer's order stays, and what is missing is counted. */
static void whatever_overflows_is_counted(void **state)
{
        struct setup setup = { 0 };
        struct lines lines = { 0 };
        struct producer producers[PRODUCERS];
        pthread_t threads[PRODUCERS];
        uint64_t next[PRODUCERS] = { 0 };

        (void)state;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, PRODUCERS + 1);
        for (unsigned i = 0; i < PRODUCERS; i++) {
                producers[i] = (struct producer){ writer, i };
                assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
        }
        for (unsigned i = 0; i < PRODUCERS; i++)
                pthread_join(threads[i], NULL);
        wait_for(writer, 0, PRODUCERS * PUSHES);
        /* So that every loss stands before some record. */
        push(writer, PRODUCERS, UINT32_MAX, POLICY_AUDIT);
        wait_for(writer, 0, PRODUCERS * PUSHES + 1);
        uint64_t lost = record_writer_lost(writer);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(check_sequence(&lines), lost);
        assert_int_equal(lines.count + lost, PRODUCERS * PUSHES + 1);
        for (size_t i = 0; i + 1 < lines.count; i++) {
                uint64_t n = number(lines.records[i], "bytes_out");
                assert_in_range(n / PRODUCERS, next[n % PRODUCERS], PUSHES - 1);
                next[n % PRODUCERS] = n / PRODUCERS + 1;
        }
        free_lines(&lines);
}

/* Reads everything out of a pipe into a file until there is nothing for a while after the writer closed it. */
static void *copy_pipe(void *argument)
{
        static char buffer[65536];
        int fd = *(const int *)argument;
        FILE *stream = fopen(second_path, "we");
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        ssize_t length;

        while (poll(&readable, 1, DEADLINE_MS) == 1 && (length = read(fd, buffer, sizeof(buffer))) > 0)
                fwrite(buffer, 1, (size_t)length, stream);
        fclose(stream);
        return NULL;
}

static void a_stalled_sink_stops_no_other_and_its_losses_are_told(void **state)
{
        struct setup setup = { 0 };
        struct lines stalled = { 0 };
        struct lines lines = { 0 };
        char pipe_path[128];
        pthread_t thread;

        (void)state;
        snprintf(pipe_path, sizeof(pipe_path), "%s.1", first_path);
        assert_int_equal(mkfifo(pipe_path, 0600), 0);
        int reader = open(pipe_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        add_sink(&setup, CONFIG_SINK_FILE, pipe_path)->queue = 100;
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 20000; n++) {
                push(writer, 0, n, POLICY_DENY);
                if (n % 1000 == 999)
                        wait_for(writer, 1, n + 1);
        }
        struct record_writer_sink figures = record_writer_sink(writer, 0);
        assert_string_equal(figures.name, pipe_path);
        assert_in_range(figures.lost, 15000, 20000);
        assert_int_equal(record_writer_sink(writer, 1).lost, 0);
        assert_int_equal(record_writer_lost(writer), figures.lost);
        assert_int_equal(pthread_create(&thread, NULL, copy_pipe, &reader), 0);
        wait_for(writer, 0, 20000);
        push(writer, 0, 20000, POLICY_DENY);
        record_writer_free(writer);
        pthread_join(thread, NULL);
        close(reader);
        read_lines(second_path, &stalled);
        read_lines(first_path, &lines);
        assert_int_equal(check_sequence(&stalled), figures.lost);
        assert_int_equal(stalled.count + figures.lost, 20001);
        assert_int_equal(number(stalled.records[stalled.count - 1], "seq"), 20001);
        assert_int_equal(check_sequence(&lines), 0);
        assert_int_equal(lines.count, 20001);
        check_numbers(&lines, 0);
        free_lines(&stalled);
        free_lines(&lines);
}

static void freeing_gives_a_stalled_sink_five_seconds_and_no_more(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        assert_int_equal(mkfifo(first_path, 0600), 0);
        int reader = open(first_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 2000; n++)
                push(writer, 0, n, POLICY_DENY);
        uint64_t before_ms = clock_monotonic_ms();
        record_writer_free(writer);
        assert_in_range(clock_monotonic_ms() - before_ms, 4900, 7000);
        close(reader);
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
        push(writer, 0, 0, POLICY_DENY);
        push(writer, 0, 1, POLICY_ALLOW);
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

/* Namespace of our own: a small disk, and a place for the journal's socket. False where that is not permitted. */
static bool enter_mount_namespace(void)
{
        static bool entered;

        if (!entered && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
                entered = true;
        return entered;
}

static void fill_disk(const char *path)
{
        static char block[4096];
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_int_not_equal(fd, -1);
        while (write(fd, block, sizeof(block)) > 0)
                continue;
        close(fd);
}

/* The second sink takes everything, and so tells when the record thread has seen what was pushed. */
static void a_full_disk_costs_only_what_the_queue_cannot_hold(void **state)
{
        char null_path[] = "/dev/null";
        struct setup setup = { 0 };
        struct lines lines = { 0 };
        char filler[128];
        uint64_t n = 0;

        (void)state;
        if (!enter_mount_namespace())
                skip();
        assert_int_equal(mount("tmpfs", directory, "tmpfs", 0, "size=4m"), 0);
        snprintf(filler, sizeof(filler), "%s/filler", directory);
        fill_disk(filler);
        add_sink(&setup, CONFIG_SINK_FILE, first_path)->queue = 2000;
        add_sink(&setup, CONFIG_SINK_FILE, null_path);
        struct record_writer *writer = start(&setup, 1);
        while (n < 4000) {
                push(writer, 0, n++, POLICY_DENY);
                if (n % 1000 == 0)
                        wait_for(writer, 1, n);
        }
        /* The buffer of the file holds a few hundred more. */
        uint64_t lost = record_writer_lost(writer);
        assert_in_range(lost, 500, 2000);
        assert_int_equal(unlink(filler), 0);
        wait_for(writer, 0, n);
        push(writer, 0, n++, POLICY_DENY);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        assert_int_equal(check_sequence(&lines), lost);
        assert_int_equal(lines.count + lost, n);
        free_lines(&lines);
        assert_int_equal(umount(directory), 0);
}

static void make_journal_directory(void)
{
        assert_int_equal(mount("tmpfs", "/run", "tmpfs", 0, "size=1m"), 0);
        assert_int_equal(mkdir("/run/systemd", 0755), 0);
        assert_int_equal(mkdir("/run/systemd/journal", 0755), 0);
}

static void receive(int fd, struct receiver_record *record)
{
        size_t length = receiver_read(fd, record->datagram, sizeof(record->datagram));

        memset(record->fields, 0, sizeof(record->fields));
        receiver_parse(record, length);
}

static void journald_gets_each_record_and_is_told_what_it_missed(void **state)
{
        static struct receiver_record record;
        struct setup setup = { 0 };
        struct decision decision;

        (void)state;
        if (!enter_mount_namespace())
                skip();
        make_journal_directory();
        add_sink(&setup, CONFIG_SINK_JOURNAL, NULL);
        struct record_writer *writer = start(&setup, 1);
        sample_full(&decision);

        /* No journald: lost at once, and counted. */
        push(writer, 0, 0, POLICY_DENY);
        push(writer, 0, 1, POLICY_DENY);
        wait_for(writer, 0, 2);
        assert_int_equal(record_writer_lost(writer), 2);

        int fd = receiver_bind(SINK_JOURNAL_SOCKET);
        record_writer_push(writer, 0, &decision);
        receive(fd, &record);
        receiver_assert(&record, "AKSEGRESS_SEQ", "3");
        receiver_assert(&record, "AKSEGRESS_LOST", "2");
        receiver_assert(&record, "AKSEGRESS_FQDN", "example.com");
        receiver_assert(&record, "MESSAGE_ID", FORMATTER_JOURNAL_ID_CONNECTION);
        record_writer_push(writer, 0, &decision);
        receive(fd, &record);
        receiver_assert(&record, "AKSEGRESS_SEQ", "4");
        receiver_assert_absent(&record, "AKSEGRESS_LOST");
        assert_string_equal(record_writer_sink(writer, 0).name, "journal");
        record_writer_free(writer);
        close(fd);
        assert_int_equal(umount("/run"), 0);
}

/* Far more than the socket's queue holds, before the first is read. */
static void a_slow_journald_gets_all_in_order(void **state)
{
        static struct receiver_record record;
        struct setup setup = { 0 };

        (void)state;
        if (!enter_mount_namespace())
                skip();
        make_journal_directory();
        int fd = receiver_bind(SINK_JOURNAL_SOCKET);
        add_sink(&setup, CONFIG_SINK_JOURNAL, NULL);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 2000; n++)
                push(writer, 0, n, POLICY_DENY);
        for (uint64_t n = 0; n < 2000; n++) {
                char expected[32];
                receive(fd, &record);
                snprintf(expected, sizeof(expected), "%llu", (unsigned long long)n);
                receiver_assert(&record, "AKSEGRESS_BYTES_OUT", expected);
        }
        assert_int_equal(record_writer_lost(writer), 0);
        record_writer_free(writer);
        close(fd);
        assert_int_equal(umount("/run"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(records_are_in_the_file_in_order_without_gaps),
                TEST(a_single_record_is_written_at_once),
                TEST(each_sink_takes_what_its_filter_says),
                TEST(whatever_overflows_is_counted),
                TEST(a_stalled_sink_stops_no_other_and_its_losses_are_told),
                TEST(freeing_gives_a_stalled_sink_five_seconds_and_no_more),
                TEST(every_record_is_once_in_the_old_or_the_new_file_after_a_rename),
                TEST(a_reload_keeps_seq_and_instance_and_replaces_the_filter),
                TEST(a_sink_that_a_reload_closes_writes_what_it_has),
                TEST(a_sink_that_comes_back_has_another_instance),
                TEST(many_reloads_under_load_lose_nothing),
                TEST(a_reload_that_fails_says_why_and_changes_nothing),
                TEST(a_start_that_fails_says_why),
                TEST(a_full_disk_costs_only_what_the_queue_cannot_hold),
                TEST(journald_gets_each_record_and_is_told_what_it_missed),
                TEST(a_slow_journald_gets_all_in_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
