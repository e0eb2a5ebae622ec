/*
 * Carries decisions from one producer thread to the record thread: bounded, lock-free, no system call. A decision that
 * finds the ring full is counted by its class, and the count travels with the next one that fits, so the reader knows
 * between which two it was lost.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "records/decision.h"

#define RECORD_RING_DEFAULT_SIZE 4096 /* decisions; about 5 MB a producer, touched only as far as it is used */

struct record_ring;

/* How many of each class were lost. */
struct record_ring_lost {
        uint64_t of_class[DECISION_CLASS_COUNT];
};

/* size: decisions, a power of two. Returns NULL when out of memory. */
struct record_ring *record_ring_new(size_t size);

/* Takes NULL. */
void record_ring_free(struct record_ring *ring);

/* Copies the decision. Producer only. Returns false when the ring was full: the decision is lost and counted. */
bool record_ring_push(struct record_ring *ring, const struct decision *decision);

/*
 * The oldest decision, valid until record_ring_drop; NULL when there is none. Reader only. *ret_lost is what was lost
 * since the last answer: before this decision, or, with NULL, up to now.
 */
const struct decision *record_ring_peek(struct record_ring *ring, struct record_ring_lost *ret_lost);

/* Gives the place of the peeked decision back. Reader only. */
void record_ring_drop(struct record_ring *ring);

/* Whether peek would say NULL. Reader only; ordered after every earlier store of the reader (wakeup_prepare). */
bool record_ring_empty(struct record_ring *ring);
