#include "records/spool_row.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 16 /* for so many segments more, whenever there is none */

void spool_row_free(struct spool_row *row)
{
        free(row->segments);
        *row = (struct spool_row){ 0 };
}

int spool_row_add(struct spool_row *row, const struct spool_segment *segment)
{
        if (row->count == row->capacity) {
                size_t capacity = row->capacity * 2 + ROOM;
                struct spool_segment *segments = reallocarray(row->segments, capacity, sizeof(*segments));
                if (segments == NULL)
                        return -ENOMEM;
                row->segments = segments;
                row->capacity = capacity;
        }
        row->segments[row->count++] = *segment;
        row->total_bytes += segment->size;
        return 0;
}

static int compare_segments(const void *a, const void *b)
{
        const struct spool_segment *one = a;
        const struct spool_segment *other = b;

        return one->start < other->start ? -1 : one->start > other->start;
}

void spool_row_sort(struct spool_row *row)
{
        if (row->count > 0)
                qsort(row->segments, row->count, sizeof(*row->segments), compare_segments);
        for (size_t i = 0; i + 1 < row->count; i++) {
                struct spool_segment *segment = &row->segments[i];
                uint64_t room = segment[1].start - segment->start;

                if (segment->size <= room)
                        continue;
                row->total_bytes -= segment->size - room;
                segment->size = room;
        }
}

const struct spool_segment *spool_row_first(const struct spool_row *row)
{
        return row->count > 0 ? &row->segments[0] : NULL;
}

const struct spool_segment *spool_row_last(const struct spool_row *row)
{
        return row->count > 0 ? &row->segments[row->count - 1] : NULL;
}

bool spool_row_find(const struct spool_row *row, uint64_t at, struct spool_segment *ret)
{
        for (size_t i = 0; i < row->count; i++)
                if (at < spool_segment_end(&row->segments[i])) {
                        *ret = row->segments[i];
                        return true;
                }
        return false;
}

void spool_row_resize_last(struct spool_row *row, uint64_t bytes)
{
        struct spool_segment *last = &row->segments[row->count - 1];

        row->total_bytes = row->total_bytes - last->size + bytes;
        last->size = bytes;
        if (bytes == 0)
                row->count--;
}

void spool_row_remove_first(struct spool_row *row)
{
        row->total_bytes -= row->segments[0].size;
        row->count--;
        memmove(row->segments, row->segments + 1, row->count * sizeof(*row->segments));
}
