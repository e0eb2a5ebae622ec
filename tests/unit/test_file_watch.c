#include "process/file_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define SETTLE_MS 20
#define LONG_SETTLE_MS 300 /* longer than the machine may pause between two changes */
#define DEADLINE_S 5

/* A directory of its own for each test, which it works in. */
struct place {
        struct event_base *base;
        struct file_watch *watch;
        unsigned count;
        char directory[64];
};

static void on_change(void *context)
{
        struct place *place = context;

        place->count++;
        event_base_loopbreak(place->base);
}

static int set_up(void **state)
{
        struct place *place = calloc(1, sizeof(*place));

        snprintf(place->directory, sizeof(place->directory), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(place->directory));
        assert_int_equal(chdir(place->directory), 0);
        place->base = event_base_new();
        assert_non_null(place->base);
        *state = place;
        return 0;
}

static int tear_down(void **state)
{
        struct place *place = *state;
        char command[96];

        file_watch_free(place->watch);
        event_base_free(place->base);
        assert_int_equal(chdir("/"), 0);
        snprintf(command, sizeof(command), "rm -r %s", place->directory);
        assert_int_equal(system(command), 0);
        free(place);
        return 0;
}

static void start(struct place *place, const char *path)
{
        assert_int_equal(file_watch_new(place->base, path, SETTLE_MS, on_change, place, &place->watch), 0);
}

/* Exactly so many reports in all: no further one within twice the time after which one would come. */
static void wait_for(struct place *place, unsigned wanted)
{
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_S * 1000;
        struct timeval quiet = { .tv_usec = 2 * SETTLE_MS * 1000 };

        while (place->count < wanted && clock_monotonic_ms() < deadline_ms) {
                event_base_loopexit(place->base, &quiet);
                event_base_dispatch(place->base);
        }
        assert_int_equal(place->count, wanted);
        uint64_t quiet_ms = clock_monotonic_ms() + 2 * SETTLE_MS;
        do {
                event_base_loopexit(place->base, &quiet);
                event_base_dispatch(place->base);
        } while (clock_monotonic_ms() < quiet_ms);
        assert_int_equal(place->count, wanted);
}

static void write_file(const char *path, const char *content)
{
        FILE *stream = fopen(path, "we");

        assert_non_null(stream);
        assert_true(fputs(content, stream) >= 0);
        assert_int_equal(fclose(stream), 0);
}

/* As large as before, and with the time of before. */
static void rewrite_unseen(const char *path, const char *content)
{
        struct stat before;

        assert_int_equal(stat(path, &before), 0);
        write_file(path, content);
        const struct timespec times[] = { before.st_atim, before.st_mtim };
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void a_file_that_is_rewritten_replaced_or_deleted_is_told_each_time(void **state)
{
        struct place *place = *state;

        write_file("tags", "one");
        start(place, "tags");
        wait_for(place, 0);
        write_file("tags", "two");
        wait_for(place, 1);
        rewrite_unseen("tags", "owt");
        wait_for(place, 2);
        write_file("tags.new", "three");
        wait_for(place, 2);
        assert_int_equal(rename("tags.new", "tags"), 0);
        wait_for(place, 3);
        write_file("tags", "four"); /* what was renamed over it is watched now */
        wait_for(place, 4);
        assert_int_equal(unlink("tags"), 0);
        wait_for(place, 5);
        write_file("tags", "five");
        wait_for(place, 6);
        assert_int_equal(rename("tags", "gone"), 0);
        wait_for(place, 7);
}

static void many_changes_are_told_once_after_the_last(void **state)
{
        struct place *place = *state;

        write_file("tags", "one");
        assert_int_equal(file_watch_new(place->base, "tags", LONG_SETTLE_MS, on_change, place, &place->watch), 0);
        uint64_t started_ms = 0, until_ms = clock_monotonic_ms() + 2 * LONG_SETTLE_MS;
        for (unsigned i = 0; clock_monotonic_ms() < until_ms; i++) {
                write_file("tags", i % 2 == 0 ? "two" : "three");
                started_ms = clock_monotonic_ms();
                assert_int_equal(event_base_loop(place->base, EVLOOP_NONBLOCK), 0);
        }
        assert_int_equal(place->count, 0);
        event_base_dispatch(place->base);
        assert_int_equal(place->count, 1);
        assert_true(clock_monotonic_ms() - started_ms >= LONG_SETTLE_MS - 1);
        wait_for(place, 1);
}

static void a_file_that_comes_later_is_told_by_an_absolute_path_too(void **state)
{
        struct place *place = *state;
        char path[128];

        snprintf(path, sizeof(path), "%s/tags", place->directory);
        start(place, path);
        write_file("other", "one");
        wait_for(place, 0);
        write_file("tags", "one");
        wait_for(place, 1);
}

/* As Kubernetes puts new contents of a volume in place: tags -> ..data/tags, ..data -> a directory. */
static void exchanged_links_are_told(void **state)
{
        struct place *place = *state;

        assert_int_equal(mkdir("one", 0700) | mkdir("two", 0700), 0);
        write_file("one/tags", "one");
        write_file("two/tags", "two");
        assert_int_equal(symlink("one", "..data"), 0);
        assert_int_equal(symlink("..data/tags", "tags"), 0);
        start(place, "tags");
        assert_int_equal(symlink("two", "..new"), 0);
        wait_for(place, 0);
        assert_int_equal(rename("..new", "..data"), 0);
        wait_for(place, 1);
        assert_int_equal(symlink("one/tags", "new"), 0);
        assert_int_equal(rename("new", "tags"), 0);
        wait_for(place, 2);
}

static void a_directory_that_is_exchanged_or_gone_for_a_while_is_watched_again(void **state)
{
        struct place *place = *state;

        assert_int_equal(mkdir("conf", 0700) | mkdir("next", 0700), 0);
        write_file("conf/tags", "one");
        write_file("next/tags", "two");
        start(place, "conf/tags");
        assert_int_equal(rename("conf", "old"), 0);
        assert_int_equal(rename("next", "conf"), 0);
        wait_for(place, 1);
        write_file("conf/tags", "three");
        wait_for(place, 2);
        write_file("old/tags", "four");
        wait_for(place, 2);
        assert_int_equal(unlink("conf/tags") | rmdir("conf"), 0);
        wait_for(place, 3);
        assert_int_equal(mkdir("conf", 0700), 0);
        write_file("conf/tags", "five");
        wait_for(place, 4);
        write_file("conf/tags", "six");
        wait_for(place, 5);
}

static void without_its_directory_nothing_can_be_watched(void **state)
{
        struct place *place = *state;

        write_file("file", "");
        assert_int_equal(file_watch_new(place->base, "absent/tags", SETTLE_MS, on_change, place, &place->watch),
                         -ENOENT);
        assert_int_equal(file_watch_new(place->base, "file/tags", SETTLE_MS, on_change, place, &place->watch),
                         -ENOTDIR);
}

static void free_on_change(void *context)
{
        struct place *place = context;

        file_watch_free(place->watch);
        place->watch = NULL;
        on_change(place);
}

static void the_watch_may_be_freed_when_it_calls(void **state)
{
        struct place *place = *state;

        assert_int_equal(file_watch_new(place->base, "tags", SETTLE_MS, free_on_change, place, &place->watch), 0);
        write_file("tags", "one");
        wait_for(place, 1);
        write_file("tags", "two");
        wait_for(place, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_file_that_is_rewritten_replaced_or_deleted_is_told_each_time),
                TEST(many_changes_are_told_once_after_the_last),
                TEST(a_file_that_comes_later_is_told_by_an_absolute_path_too),
                TEST(exchanged_links_are_told),
                TEST(a_directory_that_is_exchanged_or_gone_for_a_while_is_watched_again),
                TEST(without_its_directory_nothing_can_be_watched),
                TEST(the_watch_may_be_freed_when_it_calls),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
