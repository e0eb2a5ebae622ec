#include "net/pipe_pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct pipe_pool {
        struct pipe_pool_pipe *spare;
        size_t spare_count;
        size_t in_use;
};

int pipe_pool_new(struct pipe_pool **ret)
{
        struct pipe_pool *pool = calloc(1, sizeof(*pool));

        if (pool == NULL)
                return -ENOMEM;
        *ret = pool;
        return 0;
}

static void close_pipe(struct pipe_pool_pipe *pipe)
{
        close(pipe->read_end);
        close(pipe->write_end);
        free(pipe);
}

void pipe_pool_free(struct pipe_pool *pool)
{
        if (pool == NULL)
                return;
        assert(pool->in_use == 0);
        while (pool->spare != NULL) {
                struct pipe_pool_pipe *pipe = pool->spare;

                pool->spare = pipe->next;
                close_pipe(pipe);
        }
        free(pool);
}

static struct pipe_pool_pipe *open_pipe(void)
{
        int ends[2];
        struct pipe_pool_pipe *pipe = calloc(1, sizeof(*pipe));

        if (pipe == NULL)
                return NULL;
        if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) == -1) {
                free(pipe);
                return NULL;
        }
        pipe->read_end = ends[0];
        pipe->write_end = ends[1];
        /* A smaller pipe works too, with more calls. */
        (void)fcntl(pipe->write_end, F_SETPIPE_SZ, PIPE_POOL_CAPACITY_BYTES);
        return pipe;
}

struct pipe_pool_pipe *pipe_pool_take(struct pipe_pool *pool)
{
        struct pipe_pool_pipe *pipe = pool->spare;

        if (pool->in_use == PIPE_POOL_MAX_OPEN)
                return NULL;
        if (pipe != NULL) {
                pool->spare = pipe->next;
                pool->spare_count--;
        } else {
                pipe = open_pipe();
        }
        if (pipe != NULL)
                pool->in_use++;
        return pipe;
}

void pipe_pool_give_back(struct pipe_pool *pool, struct pipe_pool_pipe *pipe)
{
        pool->in_use--;
        if (pipe->held > 0 || pool->spare_count == PIPE_POOL_MAX_SPARE) {
                close_pipe(pipe);
                return;
        }
        pipe->next = pool->spare;
        pool->spare = pipe;
        pool->spare_count++;
}

size_t pipe_pool_in_use(const struct pipe_pool *pool)
{
        return pool->in_use;
}
