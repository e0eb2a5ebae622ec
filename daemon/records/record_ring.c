#include "records/record_ring.h"

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64 /* bytes; what the two threads write lies on lines of its own */

struct slot {
        struct decision decision;
        struct record_ring_lost lost; /* totals when it was pushed */
};

struct record_ring {
        /* written by the producer; counts up for ever, the place is head & mask */
        alignas(CACHE_LINE) atomic_size_t head;
        size_t tail_seen; /* saves reading the reader's line for every push */
        atomic_uint_fast64_t lost[DECISION_CLASS_COUNT];

        /* written by the reader */
        alignas(CACHE_LINE) atomic_size_t tail;
        size_t head_seen;
        struct record_ring_lost reported;

        /* constant */
        alignas(CACHE_LINE) size_t mask;
        struct slot *slots;
};

struct record_ring *record_ring_new(size_t size)
{
        assert(size > 0 && (size & (size - 1)) == 0);
        struct record_ring *ring = aligned_alloc(CACHE_LINE, sizeof(*ring));

        if (ring == NULL)
                return NULL;
        memset(ring, 0, sizeof(*ring));
        ring->mask = size - 1;
        ring->slots = calloc(size, sizeof(*ring->slots));
        if (ring->slots == NULL) {
                free(ring);
                return NULL;
        }
        return ring;
}

void record_ring_free(struct record_ring *ring)
{
        if (ring == NULL)
                return;
        free(ring->slots);
        free(ring);
}

/* Only the producer adds, so reading and writing apart loses nothing and needs no locked instruction. */
static void count_lost(struct record_ring *ring, enum decision_class class)
{
        uint64_t lost = atomic_load_explicit(&ring->lost[class], memory_order_relaxed);

        atomic_store_explicit(&ring->lost[class], lost + 1, memory_order_release);
}

static struct record_ring_lost lost_so_far(struct record_ring *ring)
{
        struct record_ring_lost lost;

        for (size_t i = 0; i < DECISION_CLASS_COUNT; i++)
                lost.of_class[i] = atomic_load_explicit(&ring->lost[i], memory_order_acquire);
        return lost;
}

bool record_ring_push(struct record_ring *ring, const struct decision *decision)
{
        size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

        if (head - ring->tail_seen > ring->mask) {
                ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
                if (head - ring->tail_seen > ring->mask) {
                        count_lost(ring, decision_class(decision));
                        return false;
                }
        }
        struct slot *slot = &ring->slots[head & ring->mask];
        slot->decision = *decision;
        slot->lost = lost_so_far(ring);
        /* In one order with the reader's "I sleep" flag: either it sees this, or we see the flag and wake it. */
        atomic_store_explicit(&ring->head, head + 1, memory_order_seq_cst);
        return true;
}

/* What totals hold beyond what was already reported. */
static struct record_ring_lost newly_lost(struct record_ring *ring, const struct record_ring_lost *totals)
{
        struct record_ring_lost lost = { { 0 } };

        for (size_t i = 0; i < DECISION_CLASS_COUNT; i++) {
                lost.of_class[i] = totals->of_class[i] - ring->reported.of_class[i];
                ring->reported.of_class[i] = totals->of_class[i];
        }
        return lost;
}

const struct decision *record_ring_peek(struct record_ring *ring, struct record_ring_lost *ret_lost)
{
        size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

        if (tail == ring->head_seen) {
                /* Read before head: then what was pushed before these losses is in head, and an empty ring has given it all out. */
                struct record_ring_lost totals = lost_so_far(ring);
                ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
                if (tail == ring->head_seen) {
                        *ret_lost = newly_lost(ring, &totals);
                        return NULL;
                }
        }
        const struct slot *slot = &ring->slots[tail & ring->mask];
        *ret_lost = newly_lost(ring, &slot->lost);
        return &slot->decision;
}

void record_ring_drop(struct record_ring *ring)
{
        size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

        atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

bool record_ring_empty(struct record_ring *ring)
{
        size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

        return tail == atomic_load_explicit(&ring->head, memory_order_seq_cst);
}
