#include "records/sink_queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_MAX_LENGTH 16384
#define ENTRY_ALIGNMENT 8

/* In a block, before the bytes of each entry. */
struct entry_header {
        uint64_t lost;
        uint32_t length;
        uint16_t stamp_at;
        uint16_t format;
};

struct sink_queue_block {
        struct sink_queue_block *next;
        size_t used; /* bytes */
        size_t read;
        size_t entries; /* pushed, all told */
        _Alignas(ENTRY_ALIGNMENT) char bytes[];
};

#define BLOCK_BYTES (SINK_QUEUE_BLOCK_SIZE - sizeof(struct sink_queue_block))

struct sink_queue {
        pthread_mutex_t lock;
        struct sink_queue_block *first;
        struct sink_queue_block *last;
        struct sink_queue_block *spare; /* saves an allocation for each block of a steady stream */
        size_t blocks;                  /* waiting or taken, without the spare one */
        size_t records;
        size_t max_records;
};

struct sink_queue *sink_queue_new(size_t max_records)
{
        assert(max_records > 0);
        struct sink_queue *queue = calloc(1, sizeof(*queue));

        if (queue == NULL)
                return NULL;
        pthread_mutex_init(&queue->lock, NULL);
        queue->max_records = max_records;
        return queue;
}

void sink_queue_free(struct sink_queue *queue)
{
        if (queue == NULL)
                return;
        while (queue->first != NULL) {
                struct sink_queue_block *block = queue->first;
                queue->first = block->next;
                free(block);
        }
        free(queue->spare);
        pthread_mutex_destroy(&queue->lock);
        free(queue);
}

void sink_queue_set_max_records(struct sink_queue *queue, size_t max_records)
{
        pthread_mutex_lock(&queue->lock);
        queue->max_records = max_records;
        pthread_mutex_unlock(&queue->lock);
}

/* Where the next header may stand. */
static size_t padded(size_t length)
{
        return (length + ENTRY_ALIGNMENT - 1) / ENTRY_ALIGNMENT * ENTRY_ALIGNMENT;
}

/* A new last block; NULL when the bound on bytes is reached or memory is out. */
static struct sink_queue_block *append_block(struct sink_queue *queue)
{
        struct sink_queue_block *block = queue->spare;

        if (queue->blocks >= SINK_QUEUE_MAX_BYTES / SINK_QUEUE_BLOCK_SIZE)
                return NULL;
        queue->spare = NULL;
        if (block == NULL)
                block = malloc(SINK_QUEUE_BLOCK_SIZE);
        if (block == NULL)
                return NULL;
        block->next = NULL;
        block->used = 0;
        block->read = 0;
        block->entries = 0;
        if (queue->last != NULL)
                queue->last->next = block;
        else
                queue->first = block;
        queue->last = block;
        queue->blocks++;
        return block;
}

static bool push_locked(struct sink_queue *queue, const struct sink_queue_entry *entry)
{
        struct sink_queue_block *block = queue->last;
        struct entry_header header = { .lost = entry->lost,
                                       .length = (uint32_t)entry->length,
                                       .stamp_at = (uint16_t)entry->stamp_at,
                                       .format = (uint16_t)entry->format };
        size_t size = padded(sizeof(header) + entry->length);

        if (queue->records >= queue->max_records)
                return false;
        if (block == NULL || size > BLOCK_BYTES - block->used)
                block = append_block(queue);
        if (block == NULL)
                return false;
        memcpy(block->bytes + block->used, &header, sizeof(header));
        memcpy(block->bytes + block->used + sizeof(header), entry->bytes, entry->length);
        block->used += size;
        block->entries++;
        queue->records++;
        return true;
}

bool sink_queue_push(struct sink_queue *queue, const struct sink_queue_entry *entry)
{
        assert(entry->length <= ENTRY_MAX_LENGTH);
        pthread_mutex_lock(&queue->lock);
        bool pushed = push_locked(queue, entry);
        pthread_mutex_unlock(&queue->lock);
        return pushed;
}

bool sink_queue_has_room(struct sink_queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        bool has_room =
                queue->records < queue->max_records && queue->blocks < SINK_QUEUE_MAX_BYTES / SINK_QUEUE_BLOCK_SIZE;
        pthread_mutex_unlock(&queue->lock);
        return has_room;
}

size_t sink_queue_length(struct sink_queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        size_t records = queue->records;
        pthread_mutex_unlock(&queue->lock);
        return records;
}

struct sink_queue_block *sink_queue_take(struct sink_queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        struct sink_queue_block *block = queue->first;
        if (block != NULL) {
                queue->first = block->next;
                if (queue->first == NULL)
                        queue->last = NULL;
                queue->records -= block->entries;
        }
        pthread_mutex_unlock(&queue->lock);
        return block;
}

void sink_queue_give_back(struct sink_queue *queue, struct sink_queue_block *block)
{
        struct sink_queue_block *surplus = block;

        pthread_mutex_lock(&queue->lock);
        queue->blocks--;
        if (queue->spare == NULL) {
                queue->spare = block;
                surplus = NULL;
        }
        pthread_mutex_unlock(&queue->lock);
        free(surplus);
}

bool sink_queue_block_peek(const struct sink_queue_block *block, struct sink_queue_entry *ret)
{
        struct entry_header header;

        if (block->read == block->used)
                return false;
        memcpy(&header, block->bytes + block->read, sizeof(header));
        ret->bytes = block->bytes + block->read + sizeof(header);
        ret->length = header.length;
        ret->stamp_at = header.stamp_at;
        ret->format = (enum config_format)header.format;
        ret->lost = header.lost;
        return true;
}

void sink_queue_block_drop(struct sink_queue_block *block)
{
        struct entry_header header;

        assert(block->read < block->used);
        memcpy(&header, block->bytes + block->read, sizeof(header));
        block->read += padded(sizeof(header) + header.length);
}
