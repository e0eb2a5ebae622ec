#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "records/spool.h"

#define MIB (1u << 20)

static char parent[64];
static char directory[96];

static int make_directory(void **state)
{
        (void)state;
        snprintf(parent, sizeof(parent), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(parent));
        snprintf(directory, sizeof(directory), "%s/spool", parent);
        return 0;
}

/* Calls back for each file; returns how many there were. */
static size_t each_file(void (*on_file)(const char *path))
{
        DIR *listing = opendir(directory);
        const struct dirent *entry;
        size_t files = 0;

        while (listing != NULL && (entry = readdir(listing)) != NULL) {
                char path[512];
                if (entry->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
                if (strstr(path, ".records") != NULL)
                        files++;
                if (on_file != NULL)
                        on_file(path);
        }
        if (listing != NULL)
                closedir(listing);
        return files;
}

static void remove_file(const char *path)
{
        unlink(path);
}

static int remove_directory(void **state)
{
        (void)state;
        each_file(remove_file);
        rmdir(directory);
        rmdir(parent);
        return 0;
}

static struct spool *open_spool(const char *path, uint64_t max_bytes)
{
        struct spool *spool = NULL;
        char error[256] = "";

        if (spool_open(path, max_bytes, error, sizeof(error), &spool) < 0)
                fail_msg("%s", error);
        return spool;
}

/* A record that says its number and is length bytes long. */
static int append(struct spool *spool, unsigned number, size_t length)
{
        static char record[SPOOL_RECORD_MAX_LENGTH];

        memset(record, 'x', sizeof(record));
        memcpy(record, &number, sizeof(number));
        return spool_append(spool, record, length);
}

static void append_row(struct spool *spool, unsigned first, unsigned count, size_t length)
{
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(append(spool, first + i, length), 0);
        assert_int_equal(spool_flush(spool), 0);
}

/* The number of the next record, or -1. */
static int64_t next_number(struct spool *spool)
{
        struct spool_record record;
        unsigned number;
        int error;

        if (!spool_next(spool, &record, &error)) {
                assert_int_equal(error, 0);
                return -1;
        }
        memcpy(&number, record.bytes, sizeof(number));
        return number;
}

static void assert_row(struct spool *spool, unsigned first, unsigned count)
{
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(next_number(spool), first + i);
        assert_int_equal(next_number(spool), -1);
        assert_true(spool_is_read(spool));
}

static void what_is_appended_is_read_in_order(void **state)
{
        (void)state;
        for (int on_disk = 0; on_disk < 2; on_disk++) {
                struct spool *spool = open_spool(on_disk ? directory : NULL, 4 * MIB);
                assert_int_equal(spool_is_on_disk(spool), on_disk);
                assert_int_equal(append(spool, 0, 100), 0);
                assert_int_equal(spool_unflushed(spool), 1);
                assert_int_equal(next_number(spool), -1); /* Not before it is safe. */
                assert_int_equal(spool_flush(spool), 0);
                assert_row(spool, 0, 1);
                append_row(spool, 1, 5000, 500);
                assert_row(spool, 1, 5000);
                assert_int_equal(spool_waiting_records(spool), 5001);
                spool_commit(spool);
                assert_int_equal(spool_waiting_records(spool), 0);
                assert_int_equal(spool_waiting_bytes(spool), 0);
                spool_close(spool);
        }
}

static void the_longest_record_fits(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 20, SPOOL_RECORD_MAX_LENGTH);
        assert_row(spool, 0, 20);
        spool_close(spool);
}

static void a_broken_connection_is_replayed_from_some_way_back(void **state)
{
        struct spool *spool = open_spool(NULL, 4 * MIB);

        (void)state;
        append_row(spool, 0, 1000, 1000);
        assert_row(spool, 0, 1000);
        spool_rewind(spool); /* Nothing was committed. */
        assert_row(spool, 0, 1000);
        spool_commit(spool);
        append_row(spool, 1000, 10, 1000);
        spool_rewind(spool);
        assert_row(spool, 0, 1010); /* Less than the 2 MiB of a spool of four. */
        spool_commit(spool);
        append_row(spool, 1010, 2500, 1000);
        for (unsigned i = 1010; i < 3510; i++) {
                assert_int_equal(next_number(spool), i);
                spool_commit(spool);
        }
        spool_rewind(spool);
        unsigned first = (unsigned)next_number(spool);
        assert_in_range(first, 3509 - 2 * MIB / 1008, 3511 - 2 * MIB / 1008);
        assert_row(spool, first + 1, 3509 - first);
        assert_int_equal(spool_waiting_records(spool), 0); /* What is sent twice is counted once. */
        spool_close(spool);
}

static void what_the_receiver_has_confirmed_is_not_replayed(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 100, 1000);
        assert_row(spool, 0, 100);
        spool_commit(spool);
        spool_confirm(spool);
        append_row(spool, 100, 1, 1000);
        spool_rewind(spool);
        assert_row(spool, 100, 1);
        spool_close(spool);
        spool = open_spool(directory, 4 * MIB);
        assert_row(spool, 100, 1);
        spool_close(spool);
}

/* The cursor may be in the middle of a replay when a connection ends in order. */
static void only_what_was_read_again_can_be_confirmed(void **state)
{
        struct spool *spool = open_spool(NULL, 4 * MIB);

        (void)state;
        append_row(spool, 0, 100, 1000);
        assert_row(spool, 0, 100);
        spool_commit(spool);
        spool_rewind(spool);
        for (unsigned i = 0; i < 40; i++)
                assert_int_equal(next_number(spool), i);
        spool_commit(spool);
        spool_confirm(spool);
        spool_rewind(spool);
        assert_row(spool, 40, 60);
        spool_close(spool);
}

static void a_full_spool_takes_no_more_until_something_is_sent(void **state)
{
        (void)state;
        for (int on_disk = 0; on_disk < 2; on_disk++) {
                struct spool *spool = open_spool(on_disk ? directory : NULL, 4 * MIB);
                unsigned count = 0;
                int r;

                while ((r = append(spool, count, 1000)) == 0)
                        count++;
                assert_int_equal(r, -EDQUOT);
                assert_in_range(count, 4 * MIB / 1100, 4 * MIB / 1000);
                assert_int_equal(spool_flush(spool), 0);
                for (unsigned i = 0; i < count; i++)
                        assert_int_equal(next_number(spool), i);
                spool_commit(spool);
                /* Half of it is kept for a replay, the rest is free. */
                unsigned more = 0;
                while (append(spool, count + more, 1000) == 0)
                        more++;
                assert_in_range(more, MIB / 1008, 2 * MIB / 1008);
                assert_int_equal(spool_flush(spool), 0);
                assert_row(spool, count, more);
                spool_close(spool);
        }
}

static void files_go_when_they_are_no_longer_needed(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 3000, 1000);
        assert_in_range(each_file(NULL), 8, 16);
        assert_row(spool, 0, 3000);
        spool_commit(spool);
        assert_in_range(each_file(NULL), 7, 10);
        spool_confirm(spool);
        assert_int_equal(each_file(NULL), 1);
        spool_close(spool);
}

static void what_was_not_sent_is_there_after_a_restart(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 1000, 1000);
        for (unsigned i = 0; i < 600; i++)
                assert_int_equal(next_number(spool), i);
        spool_commit(spool);
        spool_confirm(spool);
        spool_close(spool);
        for (unsigned round = 0; round < 3; round++) {
                spool = open_spool(directory, 4 * MIB);
                assert_row(spool, 600, 400 + round);
                append_row(spool, 1000 + round, 1, 1000);
                assert_int_equal(spool_damaged_bytes(spool), 0);
                spool_close(spool);
        }
}

/* In whatever way the process ends: everything that was flushed, in order, and nothing twice. */
static void kill_minus_9_loses_nothing_that_was_flushed(void **state)
{
        int flushed[2];
        unsigned last;

        (void)state;
        assert_int_equal(pipe(flushed), 0);
        pid_t child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0) {
                struct spool *spool = open_spool(directory, 64 * MIB);
                for (unsigned i = 0;; i++)
                        if (append(spool, i, 100 + i % 1000) < 0 || spool_flush(spool) < 0 ||
                            write(flushed[1], &i, sizeof(i)) != sizeof(i))
                                _exit(1);
        }
        close(flushed[1]);
        do {
                assert_int_equal(read(flushed[0], &last, sizeof(last)), sizeof(last));
        } while (last < 2000);
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(flushed[0], &last, sizeof(last)) == sizeof(last))
                continue;
        close(flushed[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        struct spool *spool = open_spool(directory, 64 * MIB);
        for (unsigned i = 0; i <= last; i++)
                assert_int_equal(next_number(spool), i);
        spool_close(spool);
}

static char segment_path[512];

static void note_segment(const char *path)
{
        if (strstr(path, ".records") != NULL && (segment_path[0] == '\0' || strcmp(path, segment_path) < 0))
                snprintf(segment_path, sizeof(segment_path), "%s", path);
}

static void overwrite(off_t at, const char *bytes, size_t length)
{
        segment_path[0] = '\0';
        each_file(note_segment);
        int fd = open(segment_path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, bytes, length, at), length);
        close(fd);
}

static void a_record_cut_off_at_the_end_is_taken_away(void **state)
{
        static const size_t cuts[] = { 1, 7, 8, 9, 50, 107 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
                struct spool *spool = open_spool(directory, 4 * MIB);
                append_row(spool, 0, 10, 100);
                spool_close(spool);
                segment_path[0] = '\0';
                each_file(note_segment);
                assert_int_equal(truncate(segment_path, (off_t)(9 * 108 + cuts[i])), 0);
                spool = open_spool(directory, 4 * MIB);
                assert_int_equal(spool_damaged_bytes(spool), cuts[i]);
                append_row(spool, 9, 1, 100);
                assert_row(spool, 0, 10);
                spool_close(spool);
                each_file(remove_file);
        }
}

static void a_damaged_record_costs_the_rest_of_its_segment_only(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 3000, 1000);
        overwrite(100 * 1008 + 500, "?", 1);
        for (unsigned i = 0; i < 100; i++)
                assert_int_equal(next_number(spool), i);
        int64_t next = next_number(spool);
        assert_in_range(next, 101, 300);
        assert_int_equal(spool_damaged_bytes(spool), (uint64_t)(next - 100) * 1008);
        for (unsigned i = (unsigned)next + 1; i < 3000; i++)
                assert_int_equal(next_number(spool), i);
        spool_close(spool);
}

static void a_length_beyond_all_bounds_is_damage(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 10, 100);
        overwrite(5 * 108, "\xff\xff\xff\xff", 4);
        for (unsigned i = 0; i < 5; i++)
                assert_int_equal(next_number(spool), i);
        assert_int_equal(next_number(spool), -1);
        assert_int_equal(spool_damaged_bytes(spool), 5 * 108);
        append_row(spool, 10, 1, 100);
        assert_int_equal(next_number(spool), 10);
        spool_close(spool);
}

static void a_segment_that_somebody_removed_is_passed_over(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 3000, 1000);
        spool_close(spool);
        segment_path[0] = '\0';
        each_file(note_segment);
        assert_int_equal(unlink(segment_path), 0);
        spool = open_spool(directory, 4 * MIB);
        unsigned first = (unsigned)next_number(spool);
        assert_in_range(first, 100, 300);
        assert_row(spool, first + 1, 2999 - first);
        spool_close(spool);
}

static void without_its_position_all_is_sent_again(void **state)
{
        char path[128];
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 10, 100);
        assert_row(spool, 0, 10);
        spool_commit(spool);
        spool_confirm(spool);
        spool_close(spool);
        snprintf(path, sizeof(path), "%s/position", directory);
        assert_int_equal(unlink(path), 0);
        spool = open_spool(directory, 4 * MIB);
        assert_row(spool, 0, 10);
        spool_close(spool);
}

/* Killed between making a file and writing to it, or with nothing whole in it. */
static void a_segment_without_records_does_not_stand_in_the_way_of_the_next(void **state)
{
        (void)state;
        for (off_t left = 0; left < 100; left += 50) {
                struct spool *spool = open_spool(directory, 4 * MIB);
                append_row(spool, 0, 1, 100);
                spool_close(spool);
                segment_path[0] = '\0';
                each_file(note_segment);
                assert_int_equal(truncate(segment_path, left), 0);
                spool = open_spool(directory, 4 * MIB);
                append_row(spool, 1, 3000, 1000);
                assert_row(spool, 1, 3000);
                spool_commit(spool);
                spool_confirm(spool);
                append_row(spool, 3001, 1, 100);
                spool_close(spool);
                spool = open_spool(directory, 4 * MIB);
                assert_row(spool, 3001, 1);
                spool_close(spool);
                each_file(remove_file);
        }
}

static void other_files_are_left_alone(void **state)
{
        char path[128];
        struct stat status;

        (void)state;
        assert_int_equal(mkdir(directory, 0700), 0);
        snprintf(path, sizeof(path), "%s/12345.records", directory);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "mine", 4), 4);
        close(fd);
        struct spool *spool = open_spool(directory, 4 * MIB);
        append_row(spool, 0, 1, 100);
        assert_row(spool, 0, 1);
        spool_close(spool);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, 4);
}

static void a_directory_has_one_user(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);
        struct spool *second = NULL;
        char error[256];

        (void)state;
        assert_int_equal(spool_open(directory, 4 * MIB, error, sizeof(error), &second), -EWOULDBLOCK);
        assert_non_null(strstr(error, "uses it"));
        assert_null(second);
        spool_close(spool);
        spool_close(open_spool(directory, 4 * MIB));
}

static void a_directory_that_cannot_be_made_is_an_error(void **state)
{
        struct spool *spool = NULL;
        char error[256];

        (void)state;
        assert_int_equal(spool_open("/nonexistent/spool", 4 * MIB, error, sizeof(error), &spool), -ENOENT);
        assert_string_equal(error, "spool /nonexistent/spool: No such file or directory");
}

static void what_is_written_is_for_its_owner_alone(void **state)
{
        struct stat status;
        mode_t mask = umask(0);
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 1, 100);
        umask(mask);
        assert_int_equal(stat(directory, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0700);
        segment_path[0] = '\0';
        each_file(note_segment);
        assert_int_equal(stat(segment_path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0600);
        spool_close(spool);
}

/* What a full disk does, to the byte: files may not grow past size. */
static void limit_file_size(rlim_t size)
{
        struct rlimit limit;

        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
        limit.rlim_cur = size;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_is_survived_and_nothing_is_written_twice(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 10, 100);
        for (unsigned i = 10; i < 20; i++)
                assert_int_equal(append(spool, i, 100), 0);
        limit_file_size(10 * 108 + 50);
        assert_int_equal(spool_flush(spool), -EFBIG);
        assert_int_equal(spool_unflushed(spool), 10);
        for (unsigned i = 0; i < 10; i++)
                assert_int_equal(next_number(spool), i);
        assert_int_equal(next_number(spool), -1);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(spool_flush(spool), 0);
        assert_row(spool, 10, 10);
        spool_close(spool);
}

#define STRESS_RECORDS 200000

static void *append_all(void *argument)
{
        struct spool *spool = argument;

        for (unsigned i = 0; i < STRESS_RECORDS;) {
                if (append(spool, i, 100 + i % 400) == 0)
                        i++;
                else
                        sched_yield();
                if (i % 64 == 0 && spool_flush(spool) < 0)
                        return NULL;
        }
        return spool_flush(spool) == 0 ? spool : NULL;
}

static void two_threads_and_broken_connections_lose_nothing(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);
        unsigned expected = 0; /* the first that was not committed yet */
        unsigned sent = 0;
        unsigned breaks = 0;
        pthread_t thread;
        void *result;

        (void)state;
        assert_int_equal(pthread_create(&thread, NULL, append_all, spool), 0);
        while (expected < STRESS_RECORDS) {
                int64_t number = next_number(spool);
                if (number == -1) {
                        spool_commit(spool);
                        sched_yield();
                        continue;
                }
                assert_in_range(number, 0, expected);
                if (number == expected)
                        expected++;
                if (++sent % 1000 == 0)
                        spool_commit(spool);
                if (sent % 77777 == 0 && breaks++ < 5)
                        spool_rewind(spool);
        }
        spool_commit(spool);
        pthread_join(thread, &result);
        assert_ptr_equal(result, spool);
        assert_int_equal(spool_waiting_records(spool), 0);
        assert_int_equal(spool_damaged_bytes(spool), 0);
        spool_close(spool);
}

#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
        const struct CMUnitTest tests[] = {
                SPOOL_TEST(what_is_appended_is_read_in_order),
                SPOOL_TEST(the_longest_record_fits),
                SPOOL_TEST(a_broken_connection_is_replayed_from_some_way_back),
                SPOOL_TEST(what_the_receiver_has_confirmed_is_not_replayed),
                SPOOL_TEST(only_what_was_read_again_can_be_confirmed),
                SPOOL_TEST(a_full_spool_takes_no_more_until_something_is_sent),
                SPOOL_TEST(files_go_when_they_are_no_longer_needed),
                SPOOL_TEST(what_was_not_sent_is_there_after_a_restart),
                SPOOL_TEST(kill_minus_9_loses_nothing_that_was_flushed),
                SPOOL_TEST(a_record_cut_off_at_the_end_is_taken_away),
                SPOOL_TEST(a_damaged_record_costs_the_rest_of_its_segment_only),
                SPOOL_TEST(a_length_beyond_all_bounds_is_damage),
                SPOOL_TEST(a_segment_that_somebody_removed_is_passed_over),
                SPOOL_TEST(without_its_position_all_is_sent_again),
                SPOOL_TEST(a_segment_without_records_does_not_stand_in_the_way_of_the_next),
                SPOOL_TEST(other_files_are_left_alone),
                SPOOL_TEST(a_directory_has_one_user),
                SPOOL_TEST(a_directory_that_cannot_be_made_is_an_error),
                SPOOL_TEST(what_is_written_is_for_its_owner_alone),
                SPOOL_TEST(a_full_disk_is_survived_and_nothing_is_written_twice),
                SPOOL_TEST(two_threads_and_broken_connections_lose_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
