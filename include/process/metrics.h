/*
 * Which metrics there are, and how /metrics says them: a table of those with one value for each sink, and the few of the
 * daemon as a whole. docs/metrics.md lists every one; a test compares.
 */
#pragma once

#include <event2/buffer.h>
#include <stdint.h>

#include "base/compiler.h"
#include "records/record_writer.h"

/* What the main thread knows. */
struct metrics_source {
        const char *version;
        uint64_t policy_generation;
        uint64_t reload_failures;
        const struct record_writer *records;
};

/* Appends all metrics in the text format (process/metrics_text.h). Returns 0, or -ENOMEM: the text is not whole. */
MUST_CHECK int metrics_write(const struct metrics_source *source, struct evbuffer *out);
