/*
 * Lets a thread sleep until others have work for it, at the price of a system call only where it really sleeps.
 *
 *   wakeup_prepare(w);                  from here on wakeup_wake() makes the next wait return
 *   if (nothing to do)
 *           wakeup_wait(w, -1, 0, -1);
 *   else
 *           wakeup_cancel(w);
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "base/compiler.h"

struct wakeup {
        int fd; /* eventfd; -1: not open */
        atomic_bool asleep;
};

/* Returns 0 or -errno; then fd is -1 and wakeup_close does nothing. */
MUST_CHECK int wakeup_open(struct wakeup *wakeup);
void wakeup_close(struct wakeup *wakeup);

/* The sleeper's three calls. Wait also ends when one of events (as for poll) is there on fd (-1: none), and after timeout_ms (-1: never). */
void wakeup_prepare(struct wakeup *wakeup);
void wakeup_cancel(struct wakeup *wakeup);
void wakeup_wait(struct wakeup *wakeup, int fd, short events, int timeout_ms);

/*
 * Ends the wait of a sleeper that has prepared. What it is to find must be stored before, sequentially consistent or
 * under a lock.
 */
void wakeup_wake(struct wakeup *wakeup);

/* Ends the present wait or the next one, prepared or not. */
void wakeup_force(struct wakeup *wakeup);

/* Uses a wake-up up, without waiting for one. */
void wakeup_clear(struct wakeup *wakeup);

/* Waits for wakeup_force without using it up. Returns whether it came within timeout_ms. */
bool wakeup_poll(const struct wakeup *wakeup, int timeout_ms);
