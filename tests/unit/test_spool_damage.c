/* What crashes, disks and other people leave of a spool. */
#include "full_disk.h"
#include "spool_lab.h"

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

static void write_file(const char *name, const char *bytes, size_t length)
{
        char path[192];

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, bytes, length), length);
        close(fd);
}

/* Nothing would ever be read again, and at the end of all numbers nothing could follow. */
static void places_beyond_what_any_row_comes_to_are_none(void **state)
{
        static const uint64_t places[] = { UINT64_MAX, INT64_MAX, 1ull << 50 };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                for (unsigned rows = 0; rows < 2; rows++) {
                        const uint64_t position[2] = { places[i], places[i] };
                        struct spool *spool = open_spool(directory, 4 * MIB);
                        append_row(spool, 0, 10 * rows, 100);
                        spool_close(spool);
                        write_file("position", (const char *)position, sizeof(position));
                        write_file("18446744073709551615.records", "?", 1);
                        spool = open_spool(directory, 4 * MIB);
                        append_row(spool, 10 * rows, 10, 100);
                        assert_row(spool, 0, 10 * rows + 10);
                        spool_close(spool);
                        each_file(remove_file);
                }
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

/*
 * A write that failed left whole records and half of one behind the end of a segment, and so much came to them meanwhile that
 * they went into the next segment: where both say what is there, the next one is right.
 */
static void what_a_full_disk_left_behind_a_segment_is_not_read_after_a_restart(void **state)
{
        struct spool *spool = open_spool(directory, 4 * MIB);

        (void)state;
        append_row(spool, 0, 200, 1000);
        for (unsigned i = 200; i < 240; i++)
                assert_int_equal(append(spool, i, 1000), 0);
        limit_file_size(220 * 1008 + 50);
        assert_int_equal(spool_flush(spool), -EFBIG);
        append_row(spool, 240, 100, 1000);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(each_file(NULL), 2);
        spool_close(spool);
        spool = open_spool(directory, 4 * MIB);
        assert_row(spool, 0, 340);
        assert_int_equal(spool_damaged_bytes(spool), 0);
        assert_int_equal(spool_waiting_bytes(spool), 340 * 1008);
        spool_close(spool);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SPOOL_TEST(a_record_cut_off_at_the_end_is_taken_away),
                SPOOL_TEST(a_damaged_record_costs_the_rest_of_its_segment_only),
                SPOOL_TEST(a_length_beyond_all_bounds_is_damage),
                SPOOL_TEST(a_segment_that_somebody_removed_is_passed_over),
                SPOOL_TEST(without_its_position_all_is_sent_again),
                SPOOL_TEST(places_beyond_what_any_row_comes_to_are_none),
                SPOOL_TEST(a_segment_without_records_does_not_stand_in_the_way_of_the_next),
                SPOOL_TEST(other_files_are_left_alone),
                SPOOL_TEST(what_a_full_disk_left_behind_a_segment_is_not_read_after_a_restart),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
