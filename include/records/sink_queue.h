/*
 * What waits for one sink: formatted records in order, bounded by number and by bytes. One thread pushes, one takes;
 * neither waits for the other longer than a list operation. Memory follows what waits, in blocks of 64 KiB.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/config.h"

#define SINK_QUEUE_MAX_BYTES (64u << 20) /* of all blocks of one queue */
#define SINK_QUEUE_BLOCK_SIZE 65536

struct sink_queue;
struct sink_queue_block;

struct sink_queue_entry {
        const char *bytes; /* borrowed from the block */
        size_t length;
        size_t stamp_at; /* as formatter_body says */
        enum config_format format;
        uint64_t lost; /* records lost between the entry before and this one */
};

/* max_records: more than 0. Returns NULL when out of memory. sink_queue_free takes NULL and drops what waits. */
struct sink_queue *sink_queue_new(size_t max_records);
void sink_queue_free(struct sink_queue *queue);

/* A new bound; what waits beyond it stays. */
void sink_queue_set_max_records(struct sink_queue *queue, size_t max_records);

/* Copies the entry (at most 16 KiB). Returns false, with everything as it was, when the queue is full or memory is out. */
MUST_CHECK bool sink_queue_push(struct sink_queue *queue, const struct sink_queue_entry *entry);

/* Whether one entry more would be taken, if there is memory; stays so until something is pushed. */
bool sink_queue_has_room(struct sink_queue *queue);

/* How many entries wait, without those in blocks already taken. */
size_t sink_queue_length(struct sink_queue *queue);

/* The oldest entries as one block, now the caller's, to be given back; NULL when none waits. */
struct sink_queue_block *sink_queue_take(struct sink_queue *queue);
void sink_queue_give_back(struct sink_queue *queue, struct sink_queue_block *block);

/* The first entry not dropped yet; false when the block is used up. */
bool sink_queue_block_peek(const struct sink_queue_block *block, struct sink_queue_entry *ret);
void sink_queue_block_drop(struct sink_queue_block *block);
