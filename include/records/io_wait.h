/*
 * How a thread that talks to a server waits: for a descriptor, until a deadline, and no longer than others allow it. Another
 * thread can have it look up from its work (new settings) and tell it when to be done (stop).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "records/wakeup.h"

struct io_wait {
        struct wakeup wakeup;
        atomic_bool changed; /* there is something new to be looked at */
        atomic_uint_fast64_t
                stop_ms; /* nothing may take longer than until then (clock_monotonic_ms); UINT64_MAX: no end */
};

/* Returns 0 or -errno; io_wait_close may be called after either. */
MUST_CHECK int io_wait_open(struct io_wait *wait);
void io_wait_close(struct io_wait *wait);

/* From another thread: ends waits with -ECANCELED until io_wait_look. */
void io_wait_change(struct io_wait *wait);

/* From another thread: waits end at deadline_ms at the latest. */
void io_wait_stop(struct io_wait *wait, uint64_t deadline_ms);

bool io_wait_is_stopping(const struct io_wait *wait);

/* Whether the time that io_wait_stop left is over. */
bool io_wait_is_over(const struct io_wait *wait);

/* Whether io_wait_change was called since the last time. */
bool io_wait_look(struct io_wait *wait);

/*
 * Waits for events, as for poll(), on fd (-1: only for time to pass, and a stop ends that at once). Returns 0; -ETIMEDOUT:
 * the deadline or the stop is reached; -ECANCELED: io_wait_change was called.
 */
MUST_CHECK int io_wait_for(struct io_wait *wait, int fd, short events, uint64_t deadline_ms);
