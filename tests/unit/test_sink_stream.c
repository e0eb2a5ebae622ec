/* Syslog over TCP, with a receiver that this program plays: what is sent, and what breaks of connections cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "records/sink_stream.h"

#define DEADLINE_MS 20000

static char directory[64];
static char spool_path[96];

static int make_directory(void **state)
{
        (void)state;
        snprintf(directory, sizeof(directory), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        snprintf(spool_path, sizeof(spool_path), "%s/spool", directory);
        return 0;
}

static int remove_directory(void **state)
{
        char command[160];

        (void)state;
        snprintf(command, sizeof(command), "rm -rf %s", directory);
        return system(command);
}

/* Listens on a free port of this machine, or on the given one. */
static int listen_at(uint16_t *port)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(*port) };
        socklen_t length = sizeof(address);
        int one = 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
        assert_int_equal(listen(fd, 10), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
        *port = ntohs(address.sin_port);
        return fd;
}

static void wait_readable(int fd)
{
        struct pollfd readable = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&readable, 1, DEADLINE_MS), 1);
}

static int accept_from(int listener)
{
        wait_readable(listener);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        assert_int_not_equal(fd, -1);
        return fd;
}

/* A frame of octet counting; its length, or -1 at the end of the connection. */
static ssize_t read_frame(int fd, char *frame, size_t size)
{
        size_t length = 0;
        char digit;

        for (;;) {
                wait_readable(fd);
                ssize_t r = recv(fd, &digit, 1, 0);
                if (r <= 0)
                        return -1;
                if (digit == ' ')
                        break;
                assert_in_range(digit, '0', '9');
                length = length * 10 + (size_t)(digit - '0');
        }
        assert_in_range(length, 1, size - 1);
        for (size_t at = 0; at < length;) {
                wait_readable(fd);
                ssize_t r = recv(fd, frame + at, length - at, 0);
                if (r <= 0)
                        return -1;
                at += (size_t)r;
        }
        frame[length] = '\0';
        return (ssize_t)length;
}

/* The number in the next frame, or -1. */
static int64_t read_number(int fd)
{
        char frame[2048];

        return read_frame(fd, frame, sizeof(frame)) < 0 ? -1 : strtoll(frame, NULL, 10);
}

static struct syslog_target *target_at(uint16_t port)
{
        struct config config = { .connect_timeout_ms = 5000, .resolve_timeout_ms = 5000 };
        char text[] = "127.0.0.1";
        struct config_sink sink = {
                .kind = CONFIG_SINK_SYSLOG,
                .transport = CONFIG_TRANSPORT_TCP,
                .server = { .text = text, .endpoint.port = port },
        };
        struct syslog_target *target;

        assert_int_equal(net_address_parse(text, strlen(text), &sink.server.endpoint.address), 0);
        assert_int_equal(syslog_target_new(&config, &sink, &target), 0);
        return target;
}

struct scene {
        struct wakeup room;
        struct sink_stream *stream;
        uint16_t port;
        int listener;
};

static void open_stream(struct scene *scene, const char *directory_or_null)
{
        struct syslog_target *target = target_at(scene->port);
        char error[256];

        assert_int_equal(wakeup_open(&scene->room), 0);
        if (sink_stream_open(target, directory_or_null, 16 << 20, &scene->room, error, sizeof(error), &scene->stream) <
            0)
                fail_msg("%s", error);
        syslog_target_unref(target);
}

/* Returns how many records will never arrive. */
static size_t close_stream(struct scene *scene)
{
        size_t lost = sink_stream_output.finish(scene->stream, clock_monotonic_ms() + 5000);

        sink_stream_output.close(scene->stream);
        wakeup_close(&scene->room);
        return lost;
}

static int put(struct scene *scene, unsigned number, size_t length)
{
        static char record[2048];
        int digits = snprintf(record, sizeof(record), "%u ", number);

        memset(record + digits, 'x', sizeof(record) - (size_t)digits);
        return sink_stream_output.put(scene->stream, record, length);
}

static void put_row(struct scene *scene, unsigned first, unsigned count)
{
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(put(scene, first + i, 20), 0);
        assert_int_equal(sink_stream_output.flush(scene->stream), 0);
}

static void assert_row(int fd, unsigned first, unsigned count)
{
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(read_number(fd), first + i);
}

static void reset(int fd)
{
        const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
        close(fd);
}

static void records_arrive_framed_and_in_order(void **state)
{
        struct scene scene = { 0 };
        char frame[64];

        (void)state;
        scene.listener = listen_at(&scene.port);
        open_stream(&scene, NULL);
        put_row(&scene, 1, 1);
        int fd = accept_from(scene.listener);
        assert_int_equal(read_frame(fd, frame, sizeof(frame)), 20);
        assert_string_equal(frame, "1 xxxxxxxxxxxxxxxxxx");
        put_row(&scene, 2, 3000);
        assert_row(fd, 2, 3000);
        assert_int_equal(sink_stream_figures(scene.stream).connections, 1);
        close(scene.listener);
        assert_int_equal(close_stream(&scene), 0);
        assert_int_equal(read_number(fd), -1);
        close(fd);
}

static void what_was_put_before_the_server_came_arrives(void **state)
{
        struct scene scene = { 0 };

        (void)state;
        close(listen_at(&scene.port));
        open_stream(&scene, NULL);
        put_row(&scene, 1, 100);
        scene.listener = listen_at(&scene.port);
        int fd = accept_from(scene.listener);
        assert_row(fd, 1, 100);
        close(fd);
        close(scene.listener);
        close_stream(&scene);
}

/* With or without a disk: what the receiver had not worked off comes again, whichever way it went. */
static void a_broken_connection_loses_nothing(void **state)
{
        (void)state;
        for (int on_disk = 0; on_disk < 2; on_disk++) {
                struct scene scene = { 0 };
                scene.listener = listen_at(&scene.port);
                open_stream(&scene, on_disk ? spool_path : NULL);
                put_row(&scene, 1, 500);
                int fd = accept_from(scene.listener);
                assert_row(fd, 1, 100); /* The other 400 wait unread in our socket, or are on their way. */
                if (on_disk)
                        reset(fd);
                else
                        close(fd);
                fd = accept_from(scene.listener);
                assert_row(fd, 1, 500);
                put_row(&scene, 501, 1);
                assert_row(fd, 501, 1);
                assert_int_equal(sink_stream_figures(scene.stream).connections, 2);
                close(fd);
                close(scene.listener);
                close_stream(&scene);
        }
}

/* As a receiver does: reads to the end, and then ends the connection in turn. */
static void *read_to_the_end(void *argument)
{
        int fd = *(const int *)argument;

        while (read_number(fd) != -1)
                continue;
        close(fd);
        return NULL;
}

/* The receiver has read all, and the next process does not send it again. */
static void what_an_orderly_end_confirmed_is_not_sent_again(void **state)
{
        struct scene scene = { 0 };
        pthread_t thread;

        (void)state;
        scene.listener = listen_at(&scene.port);
        open_stream(&scene, spool_path);
        put_row(&scene, 1, 10);
        int fd = accept_from(scene.listener);
        assert_row(fd, 1, 10);
        assert_int_equal(pthread_create(&thread, NULL, read_to_the_end, &fd), 0);
        assert_int_equal(close_stream(&scene), 0);
        pthread_join(thread, NULL);
        open_stream(&scene, spool_path);
        put_row(&scene, 11, 1);
        fd = accept_from(scene.listener);
        assert_row(fd, 11, 1);
        close(fd);
        close(scene.listener);
        close_stream(&scene);
}

static void what_waits_on_disk_is_sent_by_the_next_process(void **state)
{
        struct scene scene = { 0 };

        (void)state;
        close(listen_at(&scene.port));
        open_stream(&scene, spool_path);
        put_row(&scene, 1, 10);
        uint64_t before_ms = clock_monotonic_ms();
        assert_int_equal(close_stream(&scene), 0);                  /* Nothing is lost, */
        assert_in_range(clock_monotonic_ms() - before_ms, 0, 2000); /* and nobody waits for a server that is away. */
        scene.listener = listen_at(&scene.port);
        open_stream(&scene, spool_path);
        put_row(&scene, 11, 1);
        int fd = accept_from(scene.listener);
        assert_row(fd, 1, 11);
        close(fd);
        close(scene.listener);
        close_stream(&scene);
}

static void what_waits_in_memory_is_lost_and_counted_at_the_end(void **state)
{
        struct scene scene = { 0 };

        (void)state;
        close(listen_at(&scene.port));
        open_stream(&scene, NULL);
        put_row(&scene, 1, 10);
        size_t lost = sink_stream_output.finish(scene.stream, clock_monotonic_ms() + 300);
        assert_int_equal(lost, 10);
        sink_stream_output.close(scene.stream);
        wakeup_close(&scene.room);
}

/* A receiver that reads nothing: the spool fills, and the sink is woken when there is room. */
static void a_full_spool_says_so_and_wakes_the_sink(void **state)
{
        struct scene scene = { 0 };
        unsigned count = 0;
        int r;

        (void)state;
        scene.listener = listen_at(&scene.port);
        open_stream(&scene, NULL);
        int fd = accept_from(scene.listener);
        /* The sockets' buffers take some megabytes before it fills for good. */
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;
        for (;;) {
                while ((r = put(&scene, count, 1000)) == 0)
                        count++;
                assert_int_equal(r, -EXFULL);
                assert_int_equal(sink_stream_output.flush(scene.stream), 0);
                if (!wakeup_poll(&scene.room, 300))
                        break;
                wakeup_clear(&scene.room);
                assert_true(clock_monotonic_ms() < deadline_ms);
        }
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(read_number(fd), i);
        assert_true(wakeup_poll(&scene.room, DEADLINE_MS));
        assert_int_equal(put(&scene, count, 1000), 0);
        assert_int_equal(sink_stream_output.flush(scene.stream), 0);
        assert_int_equal(read_number(fd), count);
        close(fd);
        close(scene.listener);
        close_stream(&scene);
}

static void another_server_gets_what_the_first_may_not_have_worked_off(void **state)
{
        struct scene scene = { 0 };
        uint16_t other_port = 0;
        struct syslog_target *target;

        (void)state;
        scene.listener = listen_at(&scene.port);
        int other_listener = listen_at(&other_port);
        open_stream(&scene, NULL);
        put_row(&scene, 1, 10);
        int fd = accept_from(scene.listener);
        assert_row(fd, 1, 10);
        target = target_at(scene.port);
        sink_stream_set_target(scene.stream, target); /* The same: the connection stays. */
        syslog_target_unref(target);
        put_row(&scene, 11, 1);
        assert_row(fd, 11, 1);
        target = target_at(other_port);
        sink_stream_set_target(scene.stream, target);
        syslog_target_unref(target);
        assert_int_equal(read_number(fd), -1);
        int other = accept_from(other_listener);
        assert_row(other, 1, 11);
        close(other);
        close(other_listener);
        close(fd);
        close(scene.listener);
        close_stream(&scene);
}

/* What a server says is not for us, however much it is. */
static void a_talkative_server_is_not_listened_to(void **state)
{
        static const char chatter[65536];
        struct scene scene = { 0 };

        (void)state;
        scene.listener = listen_at(&scene.port);
        open_stream(&scene, NULL);
        put_row(&scene, 1, 1);
        int fd = accept_from(scene.listener);
        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(send(fd, chatter, sizeof(chatter), 0), sizeof(chatter));
        put_row(&scene, 2, 10);
        assert_row(fd, 1, 11);
        close(fd);
        close(scene.listener);
        close_stream(&scene);
}

static void a_spool_in_use_is_an_error(void **state)
{
        struct scene scene = { 0 };
        struct sink_stream *second = NULL;
        char error[256];

        (void)state;
        close(listen_at(&scene.port));
        open_stream(&scene, spool_path);
        struct syslog_target *target = target_at(scene.port);
        assert_int_equal(sink_stream_open(target, spool_path, 16 << 20, &scene.room, error, sizeof(error), &second),
                         -EWOULDBLOCK);
        assert_non_null(strstr(error, spool_path));
        syslog_target_unref(target);
        close_stream(&scene);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
        const struct CMUnitTest tests[] = {
                STREAM_TEST(records_arrive_framed_and_in_order),
                STREAM_TEST(what_was_put_before_the_server_came_arrives),
                STREAM_TEST(a_broken_connection_loses_nothing),
                STREAM_TEST(what_an_orderly_end_confirmed_is_not_sent_again),
                STREAM_TEST(what_waits_on_disk_is_sent_by_the_next_process),
                STREAM_TEST(what_waits_in_memory_is_lost_and_counted_at_the_end),
                STREAM_TEST(a_full_spool_says_so_and_wakes_the_sink),
                STREAM_TEST(another_server_gets_what_the_first_may_not_have_worked_off),
                STREAM_TEST(a_talkative_server_is_not_listened_to),
                STREAM_TEST(a_spool_in_use_is_an_error),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
