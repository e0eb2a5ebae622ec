/* The two clocks in use: monotonic for intervals and deadlines, wall time for records. */
#pragma once

#include <stdint.h>

uint64_t clock_monotonic_ms(void);

/* Microseconds since 1970-01-01 UTC. */
uint64_t clock_wall_us(void);
