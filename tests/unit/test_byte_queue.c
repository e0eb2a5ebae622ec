#include "net/byte_queue.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "net_testing.h"

#define MODEL_SIZE 200000

static void assert_holds(const struct byte_queue *queue, const uint8_t *bytes, size_t length)
{
        assert_int_equal(byte_queue_length(queue), length);
        if (length > 0)
                assert_memory_equal(byte_queue_first(queue), bytes, length);
        else
                assert_null(queue->block);
}

/* Random appends, drops and truncations against a plain array. */
static void it_holds_what_was_appended_and_not_dropped(void **state)
{
        static uint8_t model[MODEL_SIZE];
        struct byte_queue queue = { 0 };
        uint64_t random = 7;
        size_t start = 0, end = 0;

        (void)state;
        fill_random(model, sizeof(model), 1);
        for (int i = 0; i < 20000; i++) {
                size_t amount = random_next(&random) % 700;

                if (end + amount > sizeof(model)) {
                        byte_queue_clear(&queue);
                        start = end = 0;
                }
                switch (random_next(&random) % 4) {
                case 0:
                case 1:
                        assert_int_equal(byte_queue_append(&queue, model + end, amount), 0);
                        end += amount;
                        break;
                case 2:
                        amount = amount < end - start ? amount : end - start;
                        byte_queue_drop(&queue, amount);
                        start += amount;
                        break;
                case 3:
                        amount = amount < end - start ? amount : end - start;
                        byte_queue_truncate(&queue, amount);
                        end -= amount;
                        break;
                }
                assert_holds(&queue, model + start, end - start);
        }
        byte_queue_clear(&queue);
        assert_null(queue.block);
}

static void its_block_does_not_grow_with_what_went_through(void **state)
{
        struct byte_queue queue = { 0 };

        (void)state;
        assert_int_equal(byte_queue_append(&queue, "start", 5), 0);
        for (int i = 0; i < 100000; i++) {
                assert_int_equal(byte_queue_append(&queue, "0123456789", 10), 0);
                byte_queue_drop(&queue, 10);
        }
        assert_int_equal(byte_queue_length(&queue), 5);
        assert_true(queue.block->capacity <= 256);
        byte_queue_clear(&queue);
}

static void reserved_room_is_not_part_of_it_until_it_is_committed(void **state)
{
        struct byte_queue queue = { 0 };
        void *room;

        (void)state;
        assert_int_equal(byte_queue_append(&queue, "ab", 2), 0);
        assert_int_equal(byte_queue_reserve(&queue, 1000, &room), 0);
        memcpy(room, "cd", 2);
        assert_int_equal(byte_queue_length(&queue), 2);
        byte_queue_commit(&queue, 2);
        assert_int_equal(byte_queue_length(&queue), 4);
        assert_memory_equal(byte_queue_first(&queue), "abcd", 4);
        byte_queue_clear(&queue);
}

/* Whatever the socket takes, what comes out is what went in, in order. */
static void bytes_passed_on_come_out_in_order(void **state)
{
        static uint8_t model[MODEL_SIZE], received[MODEL_SIZE];
        struct byte_queue queue = { 0 };
        uint64_t random = 9;
        size_t passed = 0, sent_total = 0, got_total = 0;
        int ends[2];

        (void)state;
        fill_random(model, sizeof(model), 2);
        unix_pair(ends, 4096);
        while (got_total < sizeof(model)) {
                size_t amount = random_next(&random) % 9000, sent;

                if (amount > sizeof(model) - passed)
                        amount = sizeof(model) - passed;
                assert_int_equal(byte_queue_pass(&queue, ends[0], model + passed, amount, &sent), 0);
                passed += amount;
                sent_total += sent;
                assert_int_equal(sent_total + byte_queue_length(&queue), passed);
                assert_int_equal(byte_queue_send(&queue, ends[0], 100, &sent), 0);
                assert_true(sent <= 100);
                sent_total += sent;
                size_t wanted = random_next(&random) % 12000 + 1, room = sizeof(received) - got_total;
                ssize_t got = recv(ends[1], received + got_total, wanted < room ? wanted : room, MSG_DONTWAIT);
                got_total += got > 0 ? (size_t)got : 0;
        }
        assert_memory_equal(received, model, sizeof(model));
        assert_null(queue.block);
        close(ends[0]);
        close(ends[1]);
}

static void a_socket_without_peer_is_an_error_and_no_signal(void **state)
{
        struct byte_queue queue = { 0 };
        size_t sent = 1;
        int ends[2];

        (void)state;
        signal(SIGPIPE, SIG_DFL);
        unix_pair(ends, 0);
        close(ends[1]);
        assert_int_equal(byte_queue_pass(&queue, ends[0], "x", 1, &sent), -EPIPE);
        assert_int_equal(sent, 0);
        assert_int_equal(byte_queue_append(&queue, "x", 1), 0);
        assert_int_equal(byte_queue_send(&queue, ends[0], SIZE_MAX, &sent), -EPIPE);
        assert_int_equal(byte_queue_length(&queue), 1);
        byte_queue_clear(&queue);
        close(ends[0]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(it_holds_what_was_appended_and_not_dropped),
                cmocka_unit_test(its_block_does_not_grow_with_what_went_through),
                cmocka_unit_test(reserved_room_is_not_part_of_it_until_it_is_committed),
                cmocka_unit_test(bytes_passed_on_come_out_in_order),
                cmocka_unit_test(a_socket_without_peer_is_an_error_and_no_signal),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
