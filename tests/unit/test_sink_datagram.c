#include "journal_receiver.h"

#include <errno.h>
#include <stdlib.h>

#include "records/formatter.h"
#include "records/sink_datagram.h"

static char directory[64];
static char path[96];

static int make_directory(void **state)
{
        (void)state;
        snprintf(directory, sizeof(directory), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/socket", directory);
        return 0;
}

static int remove_directory(void **state)
{
        (void)state;
        unlink(path);
        rmdir(directory);
        return 0;
}

static struct sink_datagram *open_datagram(void)
{
        struct sink_datagram *datagram = NULL;

        assert_int_equal(sink_datagram_open_path(path, &datagram), 0);
        return datagram;
}

static int send_text(struct sink_datagram *datagram, const char *text)
{
        return sink_datagram_send(datagram, text, strlen(text));
}

static void each_record_arrives_as_one_datagram(void **state)
{
        char buffer[64];
        int fd = receiver_bind(path);
        struct sink_datagram *datagram = open_datagram();

        (void)state;
        assert_int_equal(send_text(datagram, "A=one\n"), 0);
        assert_int_equal(send_text(datagram, "A=two\n"), 0);
        assert_int_equal(receiver_read(fd, buffer, sizeof(buffer)), 6);
        assert_memory_equal(buffer, "A=one\n", 6);
        assert_int_equal(receiver_read(fd, buffer, sizeof(buffer)), 6);
        assert_memory_equal(buffer, "A=two\n", 6);
        sink_datagram_close(datagram);
        close(fd);
}

static void the_longest_record_goes_through(void **state)
{
        static char buffer[65536];
        static char record[FORMATTER_RECORD_SIZE];
        int fd = receiver_bind(path);
        struct sink_datagram *datagram = open_datagram();

        (void)state;
        assert_int_equal(sink_datagram_send(datagram, record, sizeof(record)), 0);
        assert_int_equal(receiver_read(fd, buffer, sizeof(buffer)), FORMATTER_RECORD_SIZE);
        sink_datagram_close(datagram);
        close(fd);
}

static void without_journald_each_send_says_so(void **state)
{
        struct sink_datagram *datagram = open_datagram();

        (void)state;
        assert_int_equal(send_text(datagram, "A=one\n"), -ENOENT);
        assert_int_equal(send_text(datagram, "A=two\n"), -ENOENT);
        sink_datagram_close(datagram);
}

static void a_journald_that_comes_goes_and_comes_back_is_found(void **state)
{
        char buffer[64];
        struct sink_datagram *datagram = open_datagram();

        (void)state;
        assert_int_equal(send_text(datagram, "lost\n"), -ENOENT);
        for (int round = 0; round < 3; round++) {
                int fd = receiver_bind(path);
                assert_int_equal(send_text(datagram, "A=one\n"), 0);
                assert_int_equal(receiver_read(fd, buffer, sizeof(buffer)), 6);
                close(fd);
                assert_int_equal(send_text(datagram, "lost\n"), -ECONNREFUSED);
                unlink(path);
                assert_int_equal(send_text(datagram, "lost\n"), -ENOENT);
        }
        sink_datagram_close(datagram);
}

static void a_stalled_journald_blocks_nobody_and_can_be_waited_for(void **state)
{
        char buffer[64];
        int fd = receiver_bind(path);
        struct sink_datagram *datagram = open_datagram();
        struct pollfd writable = { .fd = sink_datagram_descriptor(datagram), .events = POLLOUT };
        size_t sent = 0;
        int r;

        (void)state;
        while ((r = send_text(datagram, "x\n")) == 0)
                sent++;
        assert_int_equal(r, -EAGAIN);
        assert_int_equal(poll(&writable, 1, 0), 0);
        for (size_t i = 0; i < sent; i++)
                receiver_read(fd, buffer, sizeof(buffer));
        assert_int_equal(poll(&writable, 1, 0), 1);
        assert_int_equal(send_text(datagram, "x\n"), 0);
        sink_datagram_close(datagram);
        close(fd);
}

static void a_path_too_long_for_a_socket_is_an_error(void **state)
{
        char long_path[200];
        struct sink_datagram *datagram = NULL;

        (void)state;
        memset(long_path, 'x', sizeof(long_path) - 1);
        long_path[sizeof(long_path) - 1] = '\0';
        assert_int_equal(sink_datagram_open_path(long_path, &datagram), -ENAMETOOLONG);
        assert_null(datagram);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(each_record_arrives_as_one_datagram),
                TEST(the_longest_record_goes_through),
                TEST(without_journald_each_send_says_so),
                TEST(a_journald_that_comes_goes_and_comes_back_is_found),
                TEST(a_stalled_journald_blocks_nobody_and_can_be_waited_for),
                TEST(a_path_too_long_for_a_socket_is_an_error),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
