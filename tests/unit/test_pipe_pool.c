#include "net/pipe_pool.h"

#include <errno.h>
#include <string.h>

#include "net_testing.h"

static void assert_empty(const struct pipe_pool_pipe *pipe)
{
        char byte;

        assert_int_equal(pipe->held, 0);
        assert_int_equal(read(pipe->read_end, &byte, 1), -1);
        assert_int_equal(errno, EAGAIN);
}

static void an_empty_pipe_is_used_again(void **state)
{
        struct pipe_pool *pool;

        (void)state;
        assert_int_equal(pipe_pool_new(&pool), 0);
        struct pipe_pool_pipe *pipe = pipe_pool_take(pool);
        assert_non_null(pipe);
        int read_end = pipe->read_end;
        assert_int_equal(pipe_pool_in_use(pool), 1);
        pipe_pool_give_back(pool, pipe);
        assert_int_equal(pipe_pool_in_use(pool), 0);
        pipe = pipe_pool_take(pool);
        assert_int_equal(pipe->read_end, read_end);
        pipe_pool_give_back(pool, pipe);
        pipe_pool_free(pool);
}

static void bytes_left_in_a_pipe_are_not_handed_on(void **state)
{
        struct pipe_pool *pool;

        (void)state;
        assert_int_equal(pipe_pool_new(&pool), 0);
        struct pipe_pool_pipe *pipe = pipe_pool_take(pool);
        assert_int_equal(write(pipe->write_end, "secret", 6), 6);
        pipe->held = 6;
        pipe_pool_give_back(pool, pipe);
        pipe = pipe_pool_take(pool);
        assert_empty(pipe);
        pipe_pool_give_back(pool, pipe);
        pipe_pool_free(pool);
}

static void no_more_than_the_maximum_are_out_and_few_stay_open(void **state)
{
        struct pipe_pool_pipe *pipes[PIPE_POOL_MAX_OPEN];
        size_t before = count_descriptors();
        struct pipe_pool *pool;

        (void)state;
        assert_int_equal(pipe_pool_new(&pool), 0);
        for (size_t i = 0; i < PIPE_POOL_MAX_OPEN; i++) {
                pipes[i] = pipe_pool_take(pool);
                assert_non_null(pipes[i]);
        }
        assert_null(pipe_pool_take(pool));
        for (size_t i = 0; i < PIPE_POOL_MAX_OPEN; i++)
                pipe_pool_give_back(pool, pipes[i]);
        assert_int_equal(count_descriptors(), before + 2 * PIPE_POOL_MAX_SPARE);
        pipe_pool_free(pool);
        assert_int_equal(count_descriptors(), before);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_empty_pipe_is_used_again),
                cmocka_unit_test(bytes_left_in_a_pipe_are_not_handed_on),
                cmocka_unit_test(no_more_than_the_maximum_are_out_and_few_stay_open),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
