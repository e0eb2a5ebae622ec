#include "net/byte_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SMALLEST_BLOCK 256 /* bytes */

static size_t round_up(size_t needed)
{
        size_t capacity = SMALLEST_BLOCK;

        while (capacity < needed)
                capacity *= 2;
        return capacity;
}

/* Moves the bytes to the front of the block: room that was sent from becomes room to write to. */
static void compact(struct byte_queue *queue)
{
        size_t length = byte_queue_length(queue);

        if (queue->start == 0)
                return;
        memmove(queue->bytes, queue->bytes + queue->start, length);
        queue->start = 0;
        queue->end = length;
}

int byte_queue_reserve(struct byte_queue *queue, size_t length, uint8_t **ret)
{
        if (queue->capacity - queue->end < length) {
                compact(queue);
                if (queue->capacity - queue->end < length) {
                        size_t capacity = round_up(queue->end + length);
                        uint8_t *bytes = realloc(queue->bytes, capacity);

                        if (bytes == NULL)
                                return -ENOMEM;
                        queue->bytes = bytes;
                        queue->capacity = capacity;
                }
        }
        *ret = queue->bytes + queue->end;
        return 0;
}

void byte_queue_commit(struct byte_queue *queue, size_t length)
{
        assert(length <= queue->capacity - queue->end);
        queue->end += length;
}

int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t length)
{
        uint8_t *room;

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
        queue->start += length;
        if (queue->start == queue->end)
                byte_queue_clear(queue);
}

void byte_queue_truncate(struct byte_queue *queue, size_t length)
{
        assert(length <= byte_queue_length(queue));
        queue->end -= length;
        if (queue->start == queue->end)
                byte_queue_clear(queue);
}

void byte_queue_clear(struct byte_queue *queue)
{
        free(queue->bytes);
        *queue = (struct byte_queue){ 0 };
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
        return byte_queue_append(queue, (const uint8_t *)bytes + *ret_sent, length - *ret_sent);
}
