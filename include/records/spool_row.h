/*
 * The segments of a spool, one behind the other. Not locked: whoever shares a row has a lock for it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "records/spool_directory.h"

/* All zero: an empty one. */
struct spool_row {
        struct spool_segment *segments;
        size_t count;
        size_t capacity;
        uint64_t total_bytes;
};

/* The segments' descriptors and files are not touched. */
void spool_row_free(struct spool_row *row);

/* A copy of the segment becomes the last one. Returns 0 or -ENOMEM. */
MUST_CHECK int spool_row_add(struct spool_row *row, const struct spool_segment *segment);

/*
 * Sorts segments that were added as a directory had them. What a failed write left behind the end of one was written again,
 * at the start of the next, if it went there: it is left out of the first.
 */
void spool_row_sort(struct spool_row *row);

/* NULL: there is none. Borrowed until the row changes. */
const struct spool_segment *spool_row_first(const struct spool_row *row);
const struct spool_segment *spool_row_last(const struct spool_row *row);

/* The segment that holds this byte of the row, or the next one behind it; false: the row ends before. */
MUST_CHECK bool spool_row_find(const struct spool_row *row, uint64_t at, struct spool_segment *ret);

/* The last segment has so many bytes now; one of none is taken out. There is one. */
void spool_row_resize_last(struct spool_row *row, uint64_t bytes);

/* Takes the first segment out. There is one. */
void spool_row_remove_first(struct spool_row *row);
