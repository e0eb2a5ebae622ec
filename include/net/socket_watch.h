/*
 * What one long-lived connection waits for: a socket's readiness and an idle timeout, as libevent events inside the
 * owner's struct. Values; _stop before the owner is freed.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/*
 * Only a reset: for a socket that is neither read nor written now. Edge-triggered, since the condition lasts and would
 * wake the loop for ever; the first call comes at once and says nothing (ask socket_watch_error). EV_CLOSED will not
 * do: libevent reports a socket's error as readable and writable, and an event for EV_CLOSED alone then never runs.
 */
#define SOCKET_WATCH_RESET (EV_WRITE | EV_ET)

/* One event a socket: libevent gets another set of conditions when the owner wants one. */
struct socket_watch {
        struct event event;
};

void socket_watch_init(struct socket_watch *watch, struct event_base *base, int fd, event_callback_fn on_ready,
                       void *context);

/*
 * Waits for EV_READ, EV_WRITE, both, SOCKET_WATCH_RESET, or 0: for nothing. Costs nothing when that is what it was.
 * Returns 0, or -ENOMEM when the kernel or libevent has no room.
 */
MUST_CHECK int socket_watch_set(struct socket_watch *watch, short wanted);
void socket_watch_stop(struct socket_watch *watch);

/* What it waits for. */
short socket_watch_wanted(const struct socket_watch *watch);

static inline int socket_watch_fd(const struct socket_watch *watch)
{
        return event_get_fd(&watch->event);
}

/* The error that the kernel holds for a socket, as -Exxx; 0 for none. Asking clears it. */
int socket_watch_error(const struct socket_watch *watch);

/*
 * Counts from the last touch. A touch writes a number and the timer is set anew only when it fires too early, so that
 * traffic costs no timer. Equal timeouts of one base share a queue (event_base_init_common_timeout).
 */
struct idle_timer {
        struct event event;
        uint32_t touched_ms; /* the low bits: only differences count, and they are below 49 days */
        uint32_t timeout_ms;
};

MUST_CHECK int idle_timer_start(struct idle_timer *timer, struct event_base *base, unsigned timeout_ms,
                                event_callback_fn on_timeout, void *context);
void idle_timer_touch(struct idle_timer *timer);

/* For on_timeout: true when the time is up; otherwise the rest of it runs now. */
bool idle_timer_expired(struct idle_timer *timer);

/* Makes on_timeout run from the loop as soon as possible, for an end that was found where no callback may run. */
void idle_timer_run_soon(struct idle_timer *timer);
void idle_timer_stop(struct idle_timer *timer);
