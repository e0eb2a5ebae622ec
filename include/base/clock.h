/* The two clocks in use: monotonic for intervals and deadlines, wall time for records. */
#pragma once

#include <stdint.h>
#include <sys/time.h>

uint64_t clock_monotonic_ms(void);

/* Microseconds since 1970-01-01 UTC. */
uint64_t clock_wall_us(void);

/* An interval as timers take it. */
static inline struct timeval clock_timeval(uint64_t interval_ms)
{
        return (struct timeval){ .tv_sec = (time_t)(interval_ms / 1000),
                                 .tv_usec = (suseconds_t)(interval_ms % 1000 * 1000) };
}
