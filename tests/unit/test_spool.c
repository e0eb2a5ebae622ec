#include "full_disk.h"
#include "spool_lab.h"

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

/* A receiver that is always cut off before the end of a replay: it gets what is new nevertheless, and is told nothing late. */
static void a_replay_that_never_ends_gets_on(void **state)
{
        (void)state;
        for (int on_disk = 0; on_disk < 2; on_disk++) {
                struct spool *spool = open_spool(on_disk ? directory : NULL, 4 * MIB);
                int number = 0;

                append_row(spool, 0, 1000, 1000);
                assert_row(spool, 0, 1000);
                spool_commit(spool);
                append_row(spool, 1000, 10, 1000);
                for (unsigned connections = 0; number < 1000; connections++) {
                        spool_get_on(spool); /* Nothing was read since: this changes nothing. */
                        spool_rewind(spool);
                        int first = next_number(spool);
                        assert_in_range(first, number / 4, number);
                        for (unsigned i = 0; i < 52 && number < 1000; i++)
                                number = next_number(spool);
                        spool_get_on(spool);
                        assert_in_range(connections, 0, 1000 / 20);
                }
                spool_rewind(spool);
                assert_in_range(next_number(spool), 950, 999); /* What was never read is not given up. */
                spool_close(spool);
        }
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

                assert_int_equal(spool_used_percent(spool), 0);
                while ((r = append(spool, count, 1000)) == 0)
                        count++;
                assert_int_equal(r, -EXFULL);
                assert_int_equal(spool_flush(spool), 0);
                assert_in_range(spool_used_percent(spool), 99, 100);
                assert_in_range(count, 4 * MIB / 1100, 4 * MIB / 1000);
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

/* Appends and sends so many records, one batch after the other; false: nothing that was sent made room. */
static bool goes_on(struct spool *spool, unsigned first, unsigned count)
{
        unsigned appended = first;
        unsigned sent = first;
        unsigned stuck = 0;

        while (sent < first + count && stuck < 2) {
                unsigned before = sent;
                while (appended < first + count && append(spool, appended, 1000) == 0)
                        appended++;
                assert_int_equal(spool_flush(spool), 0);
                for (int64_t number; (number = next_number(spool)) != -1; sent++)
                        assert_int_equal(number, sent);
                spool_commit(spool);
                stuck = sent == before ? stuck + 1 : 0;
        }
        return sent == first + count;
}

/* Its segments are larger than the smaller one's, the last one as large as all of that may be. */
static void a_spool_that_became_smaller_goes_on(void **state)
{
        struct spool *spool = open_spool(directory, 1024 * MIB);

        (void)state;
        append_row(spool, 0, 32900, 1000);
        assert_int_equal(each_file(NULL), 2);
        assert_row(spool, 0, 32900);
        spool_commit(spool);
        spool_confirm(spool);
        assert_int_equal(each_file(NULL), 1);
        append_row(spool, 32900, 300, 1000);
        spool_close(spool);
        for (int again = 0; again < 2; again++) {
                spool = open_spool(directory, 16 * MIB);
                spool_close(spool);
        }
        spool = open_spool(directory, 16 * MIB);
        assert_row(spool, 32900, 300);
        spool_commit(spool);
        assert_true(goes_on(spool, 33200, 50000));
        spool_close(spool);
}

static void a_spool_grows_and_shrinks_while_it_is_used(void **state)
{
        struct spool *spool = open_spool(directory, 1 * MIB);
        unsigned count = 0;

        (void)state;
        while (append(spool, count, 1000) == 0)
                count++;
        assert_in_range(count, 1000, 1040);
        spool_set_max_bytes(spool, 256 * MIB);
        assert_int_equal(spool_used_percent(spool), 0);
        append_row(spool, count, 17000, 1000);
        spool_set_max_bytes(spool, 16 * MIB);
        assert_int_equal(append(spool, 0, 1000), -EXFULL);
        assert_in_range(spool_used_percent(spool), 100, 120);
        assert_row(spool, 0, count + 17000);
        spool_commit(spool);
        assert_in_range(spool_used_percent(spool), 40, 60);
        assert_true(goes_on(spool, count + 17000, 50000));
        assert_in_range(each_file(NULL), 8, 17);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                SPOOL_TEST(what_is_appended_is_read_in_order),
                SPOOL_TEST(the_longest_record_fits),
                SPOOL_TEST(a_broken_connection_is_replayed_from_some_way_back),
                SPOOL_TEST(a_replay_that_never_ends_gets_on),
                SPOOL_TEST(what_the_receiver_has_confirmed_is_not_replayed),
                SPOOL_TEST(only_what_was_read_again_can_be_confirmed),
                SPOOL_TEST(a_full_spool_takes_no_more_until_something_is_sent),
                SPOOL_TEST(files_go_when_they_are_no_longer_needed),
                SPOOL_TEST(what_was_not_sent_is_there_after_a_restart),
                SPOOL_TEST(kill_minus_9_loses_nothing_that_was_flushed),
                SPOOL_TEST(a_directory_has_one_user),
                SPOOL_TEST(a_directory_that_cannot_be_made_is_an_error),
                SPOOL_TEST(what_is_written_is_for_its_owner_alone),
                SPOOL_TEST(a_full_disk_is_survived_and_nothing_is_written_twice),
                SPOOL_TEST(a_spool_that_became_smaller_goes_on),
                SPOOL_TEST(a_spool_grows_and_shrinks_while_it_is_used),
                SPOOL_TEST(two_threads_and_broken_connections_lose_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
