#include "record_samples.h"

#include <stdlib.h>

#include "records/sink_queue.h"

static bool push(struct sink_queue *queue, const char *bytes, size_t length, uint64_t lost)
{
        return sink_queue_push(queue, &(struct sink_queue_entry){ .bytes = bytes, .length = length, .lost = lost });
}

static void an_empty_queue_has_no_block(void **state)
{
        struct sink_queue *queue = sink_queue_new(3);

        (void)state;
        assert_null(sink_queue_take(queue));
        assert_int_equal(sink_queue_length(queue), 0);
        sink_queue_free(queue);
}

static void entries_come_out_in_order_with_bytes_and_losses(void **state)
{
        static char bytes[8192];
        struct sink_queue *queue = sink_queue_new(100000);
        struct sink_queue_block *block;
        size_t taken = 0;

        (void)state;
        memset(bytes, 'x', sizeof(bytes));
        for (size_t i = 0; i < 1000; i++)
                assert_true(push(queue, bytes, i * 7 % sizeof(bytes), i));
        assert_int_equal(sink_queue_length(queue), 1000);
        while ((block = sink_queue_take(queue)) != NULL) {
                struct sink_queue_entry entry;
                while (sink_queue_block_peek(block, &entry)) {
                        assert_int_equal(entry.length, taken * 7 % sizeof(bytes));
                        assert_int_equal(entry.lost, taken);
                        assert_memory_equal(entry.bytes, bytes, entry.length);
                        sink_queue_block_drop(block);
                        taken++;
                }
                sink_queue_give_back(queue, block);
        }
        assert_int_equal(taken, 1000);
        assert_int_equal(sink_queue_length(queue), 0);
        sink_queue_free(queue);
}

static void records_are_bounded_and_the_bound_can_change(void **state)
{
        struct sink_queue *queue = sink_queue_new(2);

        (void)state;
        assert_true(push(queue, "a", 1, 0));
        assert_true(push(queue, "b", 1, 0));
        assert_false(push(queue, "c", 1, 0));
        sink_queue_set_max_records(queue, 3);
        assert_true(push(queue, "c", 1, 0));
        assert_false(push(queue, "d", 1, 0));
        sink_queue_set_max_records(queue, 1);
        assert_int_equal(sink_queue_length(queue), 3);
        sink_queue_give_back(queue, sink_queue_take(queue));
        assert_true(push(queue, "e", 1, 0));
        sink_queue_free(queue);
}

static void bytes_are_bounded_also_while_blocks_are_out(void **state)
{
        static char bytes[16384];
        struct sink_queue *queue = sink_queue_new(SIZE_MAX);
        size_t pushed = 0;

        (void)state;
        while (push(queue, bytes, sizeof(bytes), 0))
                pushed++;
        assert_in_range(pushed * sizeof(bytes), SINK_QUEUE_MAX_BYTES / 2, SINK_QUEUE_MAX_BYTES);
        struct sink_queue_block *block = sink_queue_take(queue);
        assert_false(push(queue, bytes, sizeof(bytes), 0));
        sink_queue_give_back(queue, block);
        assert_true(push(queue, bytes, sizeof(bytes), 0));
        sink_queue_free(queue);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_empty_queue_has_no_block),
                cmocka_unit_test(entries_come_out_in_order_with_bytes_and_losses),
                cmocka_unit_test(records_are_bounded_and_the_bound_can_change),
                cmocka_unit_test(bytes_are_bounded_also_while_blocks_are_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
