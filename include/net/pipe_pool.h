/*
 * Pipes for splice(), kept for reuse by the connections of one worker. A pipe that still holds bytes is never reused:
 * they belong to another connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

#define PIPE_POOL_MAX_OPEN 256               /* pipes, two descriptors each */
#define PIPE_POOL_MAX_SPARE 16               /* pipes kept open while nobody has one */
#define PIPE_POOL_CAPACITY_BYTES (256 << 10) /* asked for; the kernel may grant less (fs.pipe-user-pages-soft) */

struct pipe_pool;

struct pipe_pool_pipe {
        int read_end;
        int write_end;
        size_t held;                 /* bytes in the pipe; the user keeps this number */
        struct pipe_pool_pipe *next; /* private */
};

/* Returns 0 or -ENOMEM. */
MUST_CHECK int pipe_pool_new(struct pipe_pool **ret);

/* Every pipe must be back. Takes NULL. */
void pipe_pool_free(struct pipe_pool *pool);

/* An empty, non-blocking pipe; NULL when PIPE_POOL_MAX_OPEN are out or the process has no descriptors left. */
struct pipe_pool_pipe *pipe_pool_take(struct pipe_pool *pool);
void pipe_pool_give_back(struct pipe_pool *pool, struct pipe_pool_pipe *pipe);

size_t pipe_pool_in_use(const struct pipe_pool *pool);
