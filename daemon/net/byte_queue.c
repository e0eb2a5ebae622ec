#include "net/byte_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SMALLEST_CAPACITY 256 /* bytes */

static size_t round_up(size_t needed)
{
        size_t capacity = SMALLEST_CAPACITY;

        while (capacity < needed)
                capacity *= 2;
        return capacity;
}

/* Moves the bytes to the front of the block: room that was sent from becomes room to write to. */
static void compact(struct byte_queue_block *block)
{
        if (block->start == 0)
                return;
        memmove(block->bytes, block->bytes + block->start, block->end - block->start);
        block->end -= block->start;
        block->start = 0;
}

static int grow(struct byte_queue *queue, size_t needed)
{
        size_t capacity = round_up(needed);
        struct byte_queue_block *block = realloc(queue->block, sizeof(*block) + capacity);

        if (block == NULL)
                return -ENOMEM;
        if (queue->block == NULL)
                *block = (struct byte_queue_block){ 0 };
        block->capacity = capacity;
        queue->block = block;
        return 0;
}

int byte_queue_reserve(struct byte_queue *queue, size_t length, void **ret)
{
        size_t needed = byte_queue_length(queue) + length;

        if (queue->block != NULL && queue->block->capacity - queue->block->end < length)
                compact(queue->block);
        if (queue->block == NULL || queue->block->capacity - queue->block->end < length) {
                int r = grow(queue, needed);
                if (r < 0)
                        return r;
        }
        *ret = queue->block->bytes + queue->block->end;
        return 0;
}

void byte_queue_commit(struct byte_queue *queue, size_t length)
{
        assert(length > 0 && length <= queue->block->capacity - queue->block->end);
        queue->block->end += length;
}

int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t length)
{
        void *room;

        if (length == 0)
                return 0;
        int r = byte_queue_reserve(queue, length, &room);
        if (r < 0)
                return r;
        memcpy(room, bytes, length);
        byte_queue_commit(queue, length);
        return 0;
}

void byte_queue_drop(struct byte_queue *queue, size_t length)
{
        assert(length <= byte_queue_length(queue));
        if (length == byte_queue_length(queue))
                byte_queue_clear(queue);
        else
                queue->block->start += length;
}

void byte_queue_truncate(struct byte_queue *queue, size_t length)
{
        assert(length <= byte_queue_length(queue));
        if (length == byte_queue_length(queue))
                byte_queue_clear(queue);
        else
                queue->block->end -= length;
}

void byte_queue_clear(struct byte_queue *queue)
{
        free(queue->block);
        queue->block = NULL;
}

/* How many bytes one send() took; 0 when the socket is full. */
static int send_some(int fd, const void *bytes, size_t length, size_t *ret_sent)
{
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        *ret_sent = 0;
        if (sent == -1) {
                int error = errno;

                return error == EAGAIN || error == EWOULDBLOCK || error == EINTR ? 0 : -error;
        }
        *ret_sent = (size_t)sent;
        return 0;
}

int byte_queue_send(struct byte_queue *queue, int fd, size_t limit, size_t *ret_sent)
{
        size_t length = byte_queue_length(queue);

        *ret_sent = 0;
        if (limit > length)
                limit = length;
        if (limit == 0)
                return 0;
        /* One call: a socket that takes less than it is given is full. */
        int r = send_some(fd, byte_queue_first(queue), limit, ret_sent);
        if (*ret_sent > 0)
                byte_queue_drop(queue, *ret_sent);
        return r;
}

int byte_queue_pass(struct byte_queue *queue, int fd, const void *bytes, size_t length, size_t *ret_sent)
{
        const uint8_t *rest = bytes;

        *ret_sent = 0;
        if (length == 0)
                return byte_queue_send(queue, fd, SIZE_MAX, ret_sent);
        if (byte_queue_length(queue) > 0) {
                int r = byte_queue_append(queue, bytes, length);

                return r < 0 ? r : byte_queue_send(queue, fd, SIZE_MAX, ret_sent);
        }

        int r = send_some(fd, bytes, length, ret_sent);
        if (r < 0)
                return r;
        return byte_queue_append(queue, rest + *ret_sent, length - *ret_sent);
}
