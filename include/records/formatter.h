/*
 * What all formatters share. A record is two pieces: the body, which says what was decided and is the same for every
 * sink, and the stamp in front of it, which a sink adds at the moment it writes, so that seq has no unexplained gap.
 */
#pragma once

#include <stdint.h>

#define FORMATTER_STAMP_SIZE 256
#define FORMATTER_BODY_SIZE 7936
#define FORMATTER_LINE_SIZE (FORMATTER_STAMP_SIZE + FORMATTER_BODY_SIZE)

#define FORMATTER_INSTANCE_SIZE 33 /* 32 hexadecimal digits and NUL */

/* What a sink adds to a decision. lost 0: the field is absent. */
struct formatter_stamp {
        uint64_t seq;
        uint64_t lost;
        const char *instance; /* shorter than FORMATTER_INSTANCE_SIZE */
};
