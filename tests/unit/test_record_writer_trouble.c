/* The record writer when producers are too fast, sinks too slow, the disk full or journald away. */
#include "journal_receiver.h"
#include "record_writer_lab.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "records/formatter_journal.h"
#include "records/record_ring.h"
#include "records/sink_datagram.h"

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
        assert_int_equal(drop_alarms(&lines), lost > 0 ? 1 : 0);
        check_total(lines.count, lost, PRODUCERS * PUSHES + 1);
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
        assert_int_equal(pthread_create(&thread, NULL, copy_pipe, &reader), 0);
        wait_for(writer, 0, 20000);
        push(writer, 0, 20000, POLICY_DENY);
        record_writer_free(writer);
        pthread_join(thread, NULL);
        close(reader);
        read_lines(second_path, &stalled);
        read_lines(first_path, &lines);
        uint64_t lost = check_sequence(&stalled);
        assert_in_range(lost, figures.lost, figures.lost + ALARMS_MAX);
        drop_alarms(&stalled);
        check_total(stalled.count, lost, 20001);
        assert_int_equal(check_sequence(&lines), 0);
        assert_int_equal(drop_alarms(&lines), 1); /* The other sink's losses are told here. */
        assert_int_equal(lines.count, 20001);
        check_numbers(&lines, 0);
        free_lines(&stalled);
        free_lines(&lines);
}

static size_t count_threads(void)
{
        DIR *tasks = opendir("/proc/self/task");
        size_t count = 0;

        assert_non_null(tasks);
        while (readdir(tasks) != NULL)
                count++;
        closedir(tasks);
        return count - 2; /* . and .. */
}

static void freeing_gives_a_stalled_sink_five_seconds_and_no_more(void **state)
{
        struct setup setup = { 0 };

        (void)state;
        assert_int_equal(mkfifo(first_path, 0600), 0);
        int reader = open(first_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        add_sink(&setup, CONFIG_SINK_FILE, first_path);
        size_t threads = count_threads();
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 2000; n++)
                push(writer, 0, n, POLICY_DENY);
        uint64_t before_ms = clock_monotonic_ms();
        record_writer_free(writer);
        assert_in_range(clock_monotonic_ms() - before_ms, 4900, 7000);
        assert_int_equal(count_threads(), threads);
        close(reader);
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
        /* All the queue may hold, and what the writer has taken of it and cannot write. */
        assert_in_range(record_writer_sink(writer, 0).queued, 2000, 2200);
        assert_int_equal(unlink(filler), 0);
        wait_for(writer, 0, n);
        wait_for_empty_queue(writer, 0);
        wait_for_empty_queue(writer, 1);
        push(writer, 0, n++, POLICY_DENY);
        record_writer_free(writer);
        read_lines(first_path, &lines);
        lost = check_sequence(&lines);
        drop_alarms(&lines);
        check_total(lines.count, lost, n);
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

/* The next record that is no alarm about losses. seq goes on from *seq, by one and by lost. */
static void receive_next(int fd, struct receiver_record *record, uint64_t *seq)
{
        do {
                receive(fd, record);
                const struct receiver_field *lost = receiver_find(record, "AKSEGRESS_LOST");
                *seq += 1 + (lost != NULL ? strtoull(lost->value, NULL, 10) : 0);
                receiver_assert_number(record, "AKSEGRESS_SEQ", *seq);
        } while (strncmp(receiver_find(record, "AKSEGRESS_EVENT")->value, "alarm", 5) == 0);
}

static void journald_gets_each_record_and_is_told_what_it_missed(void **state)
{
        static struct receiver_record record;
        struct setup setup = { 0 };
        struct decision decision;
        uint64_t seq = 0;

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
        assert_in_range(record_writer_lost(writer), 2, 2 + ALARMS_MAX);

        int fd = receiver_bind(SINK_DATAGRAM_JOURNAL);
        record_writer_push(writer, 0, &decision);
        receive_next(fd, &record, &seq);
        assert_in_range(seq, 3, 3 + ALARMS_MAX);
        receiver_assert(&record, "AKSEGRESS_FQDN", "example.com");
        receiver_assert(&record, "MESSAGE_ID", FORMATTER_JOURNAL_ID_CONNECTION);
        receive(fd, &record); /* Also those are told that were not there. */
        receiver_assert(&record, "AKSEGRESS_REASON", "records-lost");
        receiver_assert_number(&record, "AKSEGRESS_SEQ", ++seq);
        record_writer_push(writer, 0, &decision);
        receive_next(fd, &record, &seq);
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
        int fd = receiver_bind(SINK_DATAGRAM_JOURNAL);
        add_sink(&setup, CONFIG_SINK_JOURNAL, NULL);
        struct record_writer *writer = start(&setup, 1);
        for (uint64_t n = 0; n < 2000; n++)
                push(writer, 0, n, POLICY_DENY);
        for (uint64_t n = 0; n < 2000; n++) {
                receive(fd, &record);
                receiver_assert_number(&record, "AKSEGRESS_BYTES_OUT", n);
        }
        assert_int_equal(record_writer_lost(writer), 0);
        record_writer_free(writer);
        close(fd);
        assert_int_equal(umount("/run"), 0);
}

/* Losses of both kinds add up: some did not fit the queue, then what did found nobody to read it. */
static void losses_before_and_behind_the_queue_add_up(void **state)
{
        static struct receiver_record record;
        char null_path[] = "/dev/null";
        struct setup setup = { 0 };
        uint64_t n = 0;

        (void)state;
        if (!enter_mount_namespace())
                skip();
        make_journal_directory();
        int fd = receiver_bind(SINK_DATAGRAM_JOURNAL);
        add_sink(&setup, CONFIG_SINK_JOURNAL, NULL)->queue = 10;
        add_sink(&setup, CONFIG_SINK_FILE, null_path);
        struct record_writer *writer = start(&setup, 1);
        while (n < 3000) {
                push(writer, 0, n++, POLICY_DENY);
                if (n % 500 == 0)
                        wait_for(writer, 1, n);
        }
        uint64_t sent = record_writer_sink(writer, 0).written;
        assert_in_range(record_writer_lost(writer), 1000, 2999);

        /* What was in the socket's queue goes down with it, and with that some of what was told. */
        assert_int_equal(close(fd), 0);
        assert_int_equal(unlink(SINK_DATAGRAM_JOURNAL), 0);
        wait_for(writer, 0, n);
        assert_in_range(record_writer_lost(writer), n - sent, n - sent + ALARMS_MAX);
        fd = receiver_bind(SINK_DATAGRAM_JOURNAL);
        push(writer, 0, n, POLICY_DENY);
        receive(fd, &record);
        assert_in_range(strtoull(receiver_find(&record, "AKSEGRESS_SEQ")->value, NULL, 10), n + 1, n + 1 + ALARMS_MAX);
        record_writer_free(writer);
        close(fd);
        assert_int_equal(umount("/run"), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                WRITER_TEST(whatever_overflows_is_counted),
                WRITER_TEST(a_stalled_sink_stops_no_other_and_its_losses_are_told),
                WRITER_TEST(freeing_gives_a_stalled_sink_five_seconds_and_no_more),
                WRITER_TEST(a_full_disk_costs_only_what_the_queue_cannot_hold),
                WRITER_TEST(journald_gets_each_record_and_is_told_what_it_missed),
                WRITER_TEST(a_slow_journald_gets_all_in_order),
                WRITER_TEST(losses_before_and_behind_the_queue_add_up),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
