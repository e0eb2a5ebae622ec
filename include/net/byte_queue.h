/*
 * Bytes that wait for a socket: one block while there are any, nothing while there are none. A value inside its owner;
 * all zero is an empty queue. The owner bounds it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct byte_queue_block {
        size_t start;
        size_t end;
        size_t capacity;
        uint8_t bytes[];
};

struct byte_queue {
        struct byte_queue_block *block; /* owned; NULL while empty */
};

static inline size_t byte_queue_length(const struct byte_queue *queue)
{
        return queue->block == NULL ? 0 : queue->block->end - queue->block->start;
}

/* The bytes in one piece, valid until the queue changes. Not to be asked of an empty queue. */
static inline const uint8_t *byte_queue_first(const struct byte_queue *queue)
{
        return queue->block->bytes + queue->block->start;
}

/* Returns 0, or -ENOMEM with the queue as it was. */
MUST_CHECK int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t length);

/* Room for length more bytes (not 0), of which byte_queue_commit adds those written, at least one. 0 or -ENOMEM. */
MUST_CHECK int byte_queue_reserve(struct byte_queue *queue, size_t length, void **ret);
void byte_queue_commit(struct byte_queue *queue, size_t length);

/* Each forgets length bytes, at the front or at the end; the last one frees the block. */
void byte_queue_drop(struct byte_queue *queue, size_t length);
void byte_queue_truncate(struct byte_queue *queue, size_t length);

void byte_queue_clear(struct byte_queue *queue);

/*
 * Sends at most limit bytes from the front, until the socket takes no more; *ret_sent says how many went, also on
 * failure. Returns 0 (also when the socket is full), or -Exxx from send().
 */
MUST_CHECK int byte_queue_send(struct byte_queue *queue, int fd, size_t limit, size_t *ret_sent);

/*
 * Sends bytes behind those that wait, and keeps what the socket does not take. *ret_sent says how many bytes went,
 * those that waited included. Returns 0, -ENOMEM, or -Exxx from send().
 */
MUST_CHECK int byte_queue_pass(struct byte_queue *queue, int fd, const void *bytes, size_t length, size_t *ret_sent);
