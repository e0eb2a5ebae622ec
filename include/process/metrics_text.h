/*
 * Writes metrics in Prometheus' text format 0.0.4: a family with its help and type, then its samples. Knows no metric; which
 * there are is in process/metrics.h.
 */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_TEXT_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metrics_type {
        METRICS_COUNTER = 0, /* only goes up; its name ends in _total */
        METRICS_GAUGE,
};

struct metrics_label {
        const char *name;
        const char *value; /* UTF-8; whatever else it holds is escaped */
};

struct metrics_text {
        struct evbuffer *out; /* borrowed */
        bool failed;          /* out of memory: what is in out is not whole */
};

/* Begins a family. name and help need no escaping: they are this program's own words. */
void metrics_text_family(struct metrics_text *text, const char *name, enum metrics_type type, const char *help);

/* One sample of the family that was begun last, whose name is given again. No two have the same labels. */
void metrics_text_sample(struct metrics_text *text, const char *name, const struct metrics_label *labels,
                         size_t label_count, uint64_t value);
