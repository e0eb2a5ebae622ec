#include "full_disk.h"
#include "record_samples.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "records/sink_file.h"

/* A directory of its own for each test. */
struct place {
        char directory[64];
        char path[96];
        char moved[96];
};

static int make_place(void **state)
{
        struct place *place = calloc(1, sizeof(*place));

        assert_non_null(place);
        snprintf(place->directory, sizeof(place->directory), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(place->directory));
        snprintf(place->path, sizeof(place->path), "%s/log", place->directory);
        snprintf(place->moved, sizeof(place->moved), "%s/log.1", place->directory);
        *state = place;
        return 0;
}

static int remove_place(void **state)
{
        struct place *place = *state;

        unlink(place->path);
        unlink(place->moved);
        rmdir(place->directory);
        free(place);
        return 0;
}

static void assert_content(const char *path, const char *expected)
{
        char content[256];
        FILE *stream = fopen(path, "re");

        assert_non_null(stream);
        size_t length = fread(content, 1, sizeof(content) - 1, stream);
        fclose(stream);
        content[length] = '\0';
        assert_string_equal(content, expected);
}

static void write_content(const char *path, const char *content)
{
        FILE *stream = fopen(path, "we");

        assert_non_null(stream);
        fputs(content, stream);
        fclose(stream);
}

static struct sink_file *open_file(const struct place *place)
{
        struct sink_file *file = NULL;

        assert_int_equal(sink_file_open(place->path, &file), 0);
        return file;
}

static void append(struct sink_file *file, const char *text)
{
        assert_int_equal(text[strlen(text) - 1], '\n');
        assert_true(sink_file_append(file, text, strlen(text) - 1));
}

static void a_new_file_is_private_to_owner_and_group(void **state)
{
        const struct place *place = *state;
        struct stat status;
        mode_t mask = umask(0);
        struct sink_file *file = open_file(place);

        umask(mask);
        assert_int_equal(stat(place->path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0640);
        sink_file_close(file);
}

static void a_path_that_cannot_be_opened_is_an_error(void **state)
{
        struct sink_file *file = NULL;

        (void)state;
        assert_int_equal(sink_file_open("/nonexistent/log", &file), -ENOENT);
        assert_int_equal(sink_file_open("/", &file), -EISDIR);
        assert_null(file);
}

static void lines_are_appended_to_what_is_there(void **state)
{
        const struct place *place = *state;

        write_content(place->path, "old\n");
        struct sink_file *file = open_file(place);
        append(file, "one\n");
        append(file, "two\n");
        assert_int_equal(sink_file_pending(file), 2);
        assert_int_equal(sink_file_flush(file), 0);
        assert_int_equal(sink_file_pending(file), 0);
        assert_content(place->path, "old\none\ntwo\n");
        sink_file_close(file);
}

static void a_cut_line_of_an_earlier_run_is_ended_first(void **state)
{
        const struct place *place = *state;

        write_content(place->path, "old\ncu");
        struct sink_file *file = open_file(place);
        append(file, "one\n");
        assert_int_equal(sink_file_flush(file), 0);
        assert_content(place->path, "old\ncu\none\n");
        sink_file_close(file);
}

static void a_full_buffer_takes_nothing_until_it_is_flushed(void **state)
{
        static char line[16384];
        const struct place *place = *state;
        struct sink_file *file = open_file(place);
        size_t lines = 0;

        memset(line, 'x', sizeof(line));
        while (sink_file_append(file, line, sizeof(line)))
                lines++;
        assert_in_range(lines, 2, 1000);
        assert_int_equal(sink_file_pending(file), lines);
        assert_int_equal(sink_file_flush(file), 0);
        assert_true(sink_file_append(file, line, sizeof(line)));
        sink_file_close(file);
}

/* For every byte at which the disk can be full: nothing is torn and nothing comes twice once there is room. */
static void a_full_disk_tears_no_line(void **state)
{
        const struct place *place = *state;

        for (rlim_t room = 1; room < 8; room++) {
                struct sink_file *file = open_file(place);
                limit_file_size(room);
                append(file, "one\n");
                append(file, "two\n");
                assert_int_equal(sink_file_flush(file), -EFBIG);
                assert_int_equal(sink_file_flush(file), -EFBIG);
                assert_int_equal(sink_file_pending(file), room < 4 ? 2 : 1);
                append(file, "three\n");
                limit_file_size(RLIM_INFINITY);
                assert_int_equal(sink_file_flush(file), 0);
                assert_content(place->path, "one\ntwo\nthree\n");
                sink_file_close(file);
                unlink(place->path);
        }
}

static void a_line_torn_by_a_full_disk_is_whole_in_the_file_opened_anew(void **state)
{
        const struct place *place = *state;
        struct sink_file *file = open_file(place);

        limit_file_size(6);
        append(file, "one\n");
        append(file, "two\n");
        assert_int_equal(sink_file_flush(file), -EFBIG);
        assert_int_equal(rename(place->path, place->moved), 0);
        assert_int_equal(sink_file_reopen(file), 0);
        assert_int_equal(sink_file_flush(file), 0);
        limit_file_size(RLIM_INFINITY);
        assert_content(place->moved, "one\ntw");
        assert_content(place->path, "two\n");
        sink_file_close(file);
}

static void a_torn_line_is_finished_in_the_old_file_if_that_has_room_again(void **state)
{
        const struct place *place = *state;
        struct sink_file *file = open_file(place);

        limit_file_size(6);
        append(file, "one\n");
        append(file, "two\n");
        append(file, "three\n");
        assert_int_equal(sink_file_flush(file), -EFBIG);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(rename(place->path, place->moved), 0);
        assert_int_equal(sink_file_reopen(file), 0);
        assert_int_equal(sink_file_flush(file), 0);
        assert_content(place->moved, "one\ntwo\n");
        assert_content(place->path, "three\n");
        sink_file_close(file);
}

static void reopening_a_file_that_was_not_moved_changes_nothing(void **state)
{
        const struct place *place = *state;
        struct sink_file *file = open_file(place);

        limit_file_size(6);
        append(file, "one\n");
        append(file, "two\n");
        assert_int_equal(sink_file_flush(file), -EFBIG);
        assert_int_equal(sink_file_reopen(file), 0);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(sink_file_flush(file), 0);
        assert_content(place->path, "one\ntwo\n");
        sink_file_close(file);
}

static void a_torn_line_is_written_anew_after_someone_truncated_the_file(void **state)
{
        const struct place *place = *state;
        struct sink_file *file = open_file(place);

        limit_file_size(6);
        append(file, "one\n");
        append(file, "two\n");
        assert_int_equal(sink_file_flush(file), -EFBIG);
        assert_int_equal(truncate(place->path, 0), 0);
        assert_int_equal(sink_file_flush(file), 0);
        limit_file_size(RLIM_INFINITY);
        assert_content(place->path, "two\n");
        sink_file_close(file);
}

static void a_failed_reopen_keeps_the_old_file(void **state)
{
        const struct place *place = *state;
        struct sink_file *file = open_file(place);

        assert_int_equal(rename(place->path, place->moved), 0);
        assert_int_equal(mkdir(place->path, 0700), 0);
        assert_int_equal(sink_file_reopen(file), -EISDIR);
        append(file, "one\n");
        assert_int_equal(sink_file_flush(file), 0);
        assert_content(place->moved, "one\n");
        sink_file_close(file);
        rmdir(place->path);
}

static void a_pipe_that_nobody_reads_says_try_again(void **state)
{
        static const char line[] = "a line of a few bytes for a pipe of 64 KiB\n";
        const struct place *place = *state;

        assert_int_equal(mkfifo(place->path, 0600), 0);
        int reader = open(place->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        struct sink_file *file = open_file(place);
        while (sink_file_append(file, line, sizeof(line) - 2))
                continue;
        assert_int_equal(sink_file_flush(file), -EAGAIN);
        close(reader);
        sink_file_close(file);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_new_file_is_private_to_owner_and_group, make_place, remove_place),
                cmocka_unit_test(a_path_that_cannot_be_opened_is_an_error),
                cmocka_unit_test_setup_teardown(lines_are_appended_to_what_is_there, make_place, remove_place),
                cmocka_unit_test_setup_teardown(a_cut_line_of_an_earlier_run_is_ended_first, make_place, remove_place),
                cmocka_unit_test_setup_teardown(a_full_buffer_takes_nothing_until_it_is_flushed, make_place,
                                                remove_place),
                cmocka_unit_test_setup_teardown(a_full_disk_tears_no_line, make_place, remove_place),
                cmocka_unit_test_setup_teardown(a_line_torn_by_a_full_disk_is_whole_in_the_file_opened_anew, make_place,
                                                remove_place),
                cmocka_unit_test_setup_teardown(a_torn_line_is_finished_in_the_old_file_if_that_has_room_again,
                                                make_place, remove_place),
                cmocka_unit_test_setup_teardown(reopening_a_file_that_was_not_moved_changes_nothing, make_place,
                                                remove_place),
                cmocka_unit_test_setup_teardown(a_torn_line_is_written_anew_after_someone_truncated_the_file,
                                                make_place, remove_place),
                cmocka_unit_test_setup_teardown(a_failed_reopen_keeps_the_old_file, make_place, remove_place),
                cmocka_unit_test_setup_teardown(a_pipe_that_nobody_reads_says_try_again, make_place, remove_place),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
