#include "records/spool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "records/spool_directory.h"
#include "records/spool_row.h"
#include "records/spool_segment.h"

#define BUFFER_SIZE (256 * 1024)
#define SEGMENTS 16 /* a full spool has about so many of them */
#define SEGMENT_MIN_BYTES (256u << 10)
#define SEGMENT_MAX_BYTES (16u << 20)
#define MAX_BYTES (1ull << 40) /* of a spool, by its configuration */

static_assert(BUFFER_SIZE <= SEGMENT_MIN_BYTES, "what is flushed fits one segment");
static_assert(SPOOL_RECORD_MAX_LENGTH + SPOOL_SEGMENT_HEADER_SIZE <= BUFFER_SIZE, "a record fits the buffers");

struct spool {
        /* constant */
        struct spool_directory directory;
        uint64_t opened_end; /* where the row ended when it was opened */

        /* the appending thread's */
        char *buffer;
        size_t buffered; /* bytes */
        size_t buffered_records;
        int write_fd; /* of the last segment; -1: there is none yet */

        /* the reading thread's */
        char *chunk; /* of the row, from chunk_start on */
        uint64_t chunk_start;
        size_t chunk_length;
        uint64_t cursor;
        uint64_t rewound_to; /* where the cursor was after the last rewind */
        uint64_t
                given_beyond; /* records of this process, behind what is committed, that were given since the last commit */
        int read_fd;          /* -1: none */
        uint64_t read_start; /* of which segment */

        /* shared */
        pthread_mutex_t lock;
        uint64_t max_bytes;
        uint64_t segment_bytes;
        uint64_t replay_bytes;
        struct spool_row row; /* its last segment is appended to */
        uint64_t appended_records;
        uint64_t sent_records;
        uint64_t damaged_bytes;
        struct spool_position position;
};

/* Where the row ends. Locked. */
static uint64_t row_end(const struct spool *spool)
{
        const struct spool_segment *last = spool_row_last(&spool->row);

        return last != NULL ? spool_segment_end(last) : spool->opened_end;
}

/* Where reading may have to begin again. Locked. */
static uint64_t replay_start(const struct spool *spool)
{
        const struct spool_position *position = &spool->position;
        uint64_t start = position->committed > spool->replay_bytes ? position->committed - spool->replay_bytes : 0;

        return start > position->confirmed ? start : position->confirmed;
}

/* Opening. */

static int on_segment(const struct spool_segment *segment, void *context)
{
        struct spool *spool = context;

        return spool_row_add(&spool->row, segment);
}

/* Only the last one can have an unfinished record at its end; earlier ones were left for the next when they were whole. */
static int cut_last_segment(struct spool *spool)
{
        const struct spool_segment *last = spool_row_last(&spool->row);
        uint64_t whole;

        if (last == NULL)
                return 0;
        int r = spool_directory_cut(&spool->directory, last, &whole);
        if (r < 0)
                return r;
        spool->damaged_bytes += last->size - whole;
        spool_row_resize_last(&spool->row, whole);
        return 0;
}

/* One behind the end of the row is what a power cut left of more, but not of more than any spool holds. */
static bool is_plausible(const struct spool *spool, const struct spool_position *position)
{
        const struct spool_segment *last = spool_row_last(&spool->row);

        if (last == NULL)
                return position->committed <= SPOOL_SEGMENT_MAX_START / 2;
        return position->committed <= spool_segment_end(last) + MAX_BYTES;
}

/* Without a position all is new. */
static void take_position(struct spool *spool)
{
        const struct spool_segment *segment = spool_row_first(&spool->row);
        uint64_t first = segment != NULL ? segment->start : 0;
        struct spool_position position;

        if (!spool_directory_read_position(&spool->directory, &position) || !is_plausible(spool, &position))
                position = (struct spool_position){ first, first };
        if (position.committed < first)
                position.committed = first;
        spool->opened_end = position.committed;
        if (row_end(spool) > spool->opened_end)
                spool->opened_end = row_end(spool);
        spool->position = position;
}

static int open_directory(struct spool *spool, const char *path)
{
        int r = spool_directory_open(&spool->directory, path);

        if (r == 0)
                r = spool_directory_each(&spool->directory, on_segment, spool);
        spool_row_sort(&spool->row);
        if (r == 0)
                r = cut_last_segment(spool);
        if (r == 0)
                take_position(spool);
        return r;
}

static uint64_t segment_bytes_for(uint64_t max_bytes)
{
        uint64_t bytes = max_bytes / SEGMENTS;

        if (bytes < SEGMENT_MIN_BYTES)
                return SEGMENT_MIN_BYTES;
        return bytes > SEGMENT_MAX_BYTES ? SEGMENT_MAX_BYTES : bytes;
}

void spool_set_max_bytes(struct spool *spool, uint64_t max_bytes)
{
        pthread_mutex_lock(&spool->lock);
        spool->max_bytes = max_bytes;
        spool->segment_bytes = segment_bytes_for(max_bytes);
        spool->replay_bytes = max_bytes / 2 < SPOOL_REPLAY_BYTES ? max_bytes / 2 : SPOOL_REPLAY_BYTES;
        pthread_mutex_unlock(&spool->lock);
}

int spool_open(const char *directory, uint64_t max_bytes, char *error, size_t error_size, struct spool **ret)
{
        struct spool *spool = calloc(1, sizeof(*spool));
        int r = 0;

        if (spool == NULL) {
                snprintf(error, error_size, "%s", strerror(ENOMEM));
                return -ENOMEM;
        }
        spool_directory_init(&spool->directory);
        spool->write_fd = spool->read_fd = -1;
        pthread_mutex_init(&spool->lock, NULL);
        spool_set_max_bytes(spool, max_bytes);
        spool->buffer = malloc(BUFFER_SIZE);
        spool->chunk = malloc(BUFFER_SIZE);
        if (spool->buffer == NULL || spool->chunk == NULL)
                r = -ENOMEM;
        if (r == 0 && directory != NULL)
                r = open_directory(spool, directory);
        if (r < 0) {
                snprintf(error, error_size, "spool %s: %s", directory != NULL ? directory : "in memory",
                         r == -EWOULDBLOCK ? "another process, or a sink that is just ending, uses it" : strerror(-r));
                spool_close(spool);
                return r;
        }
        spool_rewind(spool);
        *ret = spool;
        return 0;
}

void spool_close(struct spool *spool)
{
        if (spool == NULL)
                return;
        for (size_t i = 0; i < spool->row.count; i++)
                descriptor_close(&spool->row.segments[i].fd);
        descriptor_close(&spool->read_fd);
        descriptor_close(&spool->write_fd);
        spool_directory_close(&spool->directory);
        spool_row_free(&spool->row);
        free(spool->chunk);
        free(spool->buffer);
        pthread_mutex_destroy(&spool->lock);
        free(spool);
}

/* Appending. */

/* A new last segment, and the descriptor to write it by. */
static int begin_segment(struct spool *spool)
{
        struct spool_segment segment = { .fd = -1 };
        int fd;

        pthread_mutex_lock(&spool->lock);
        segment.start = row_end(spool);
        pthread_mutex_unlock(&spool->lock);
        int r = spool_directory_create(&spool->directory, &segment, &fd);
        if (r < 0)
                return r;
        pthread_mutex_lock(&spool->lock);
        r = spool_row_add(&spool->row, &segment);
        pthread_mutex_unlock(&spool->lock);
        if (r < 0) {
                descriptor_close(&segment.fd);
                descriptor_close(&fd);
                return r;
        }
        descriptor_close(&spool->write_fd);
        spool->write_fd = fd;
        return 0;
}

static int write_at(int fd, const char *bytes, size_t length, uint64_t offset)
{
        while (length > 0) {
                ssize_t written = pwrite(fd, bytes, length, (off_t)offset);
                if (written <= 0)
                        return written == 0 ? -EIO : -errno;
                bytes += written;
                length -= (size_t)written;
                offset += (uint64_t)written;
        }
        return 0;
}

/* Whether there is a segment to write to that has room for what is buffered, and how many bytes are in it. */
static bool fits_last(struct spool *spool, uint64_t *ret_size)
{
        bool fits = false;

        pthread_mutex_lock(&spool->lock);
        if (spool->write_fd != -1) {
                *ret_size = spool_row_last(&spool->row)->size;
                fits = *ret_size + spool->buffered <= spool->segment_bytes;
        }
        pthread_mutex_unlock(&spool->lock);
        return fits;
}

bool spool_is_disk_full(int error)
{
        return error == -ENOSPC || error == -EDQUOT;
}

/* The next flush begins another, so that this one can go, which makes room on a full disk. */
static void leave_segment(struct spool *spool, uint64_t size)
{
        (void)!ftruncate(spool->write_fd, (off_t)size);
        descriptor_close(&spool->write_fd);
}

int spool_flush(struct spool *spool)
{
        uint64_t size = 0;
        int r = 0;

        if (spool->buffered == 0)
                return 0;
        if (!fits_last(spool, &size)) {
                r = begin_segment(spool);
                size = 0;
        }
        /* What a failed write left behind the end is written over by the next. */
        if (r == 0)
                r = write_at(spool->write_fd, spool->buffer, spool->buffered, size);
        if (spool_is_disk_full(r) && size > 0)
                leave_segment(spool, size);
        if (r < 0)
                return r;
        pthread_mutex_lock(&spool->lock);
        spool_row_resize_last(&spool->row, size + spool->buffered);
        spool->appended_records += spool->buffered_records;
        pthread_mutex_unlock(&spool->lock);
        spool->buffered = 0;
        spool->buffered_records = 0;
        return 0;
}

/*
 * What counts of the segments. One that was written under a larger bound may be as large as all of the spool is now: of that
 * only what may be read again, or it would never become old. Locked.
 */
static uint64_t used_bytes(const struct spool *spool)
{
        const struct spool_segment *first = spool_row_first(&spool->row);
        uint64_t start = replay_start(spool);

        if (first == NULL || first->size <= spool->segment_bytes || start <= first->start)
                return spool->row.total_bytes;
        return spool->row.total_bytes - (start < spool_segment_end(first) ? start - first->start : first->size);
}

static bool is_full(struct spool *spool, size_t more)
{
        pthread_mutex_lock(&spool->lock);
        bool full = used_bytes(spool) + spool->buffered + more > spool->max_bytes;
        pthread_mutex_unlock(&spool->lock);
        return full;
}

int spool_append(struct spool *spool, const char *record, size_t length)
{
        size_t framed = SPOOL_SEGMENT_HEADER_SIZE + length;

        assert(length > 0 && length <= SPOOL_RECORD_MAX_LENGTH);
        if (framed > BUFFER_SIZE - spool->buffered) {
                int r = spool_flush(spool);
                if (r < 0)
                        return r;
        }
        if (is_full(spool, framed))
                return -EXFULL;
        spool->buffered += spool_segment_frame(record, length, spool->buffer + spool->buffered);
        spool->buffered_records++;
        return 0;
}

size_t spool_unflushed(const struct spool *spool)
{
        return spool->buffered_records;
}

/* Reading. */

static bool find_segment(struct spool *spool, uint64_t at, struct spool_segment *ret)
{
        pthread_mutex_lock(&spool->lock);
        bool found = spool_row_find(&spool->row, at, ret);
        pthread_mutex_unlock(&spool->lock);
        return found;
}

static int open_for_reading(struct spool *spool, const struct spool_segment *segment)
{
        if (spool->read_fd != -1 && spool->read_start == segment->start)
                return 0;
        descriptor_close(&spool->read_fd);
        int fd = spool_directory_open_segment(&spool->directory, segment);
        if (fd < 0)
                return fd;
        spool->read_fd = fd;
        spool->read_start = segment->start;
        return 0;
}

/* The chunk gets what the segment has from the cursor on. */
static int fill_chunk(struct spool *spool, const struct spool_segment *segment)
{
        uint64_t rest = spool_segment_end(segment) - spool->cursor;
        int r = open_for_reading(spool, segment);

        spool->chunk_start = spool->cursor;
        spool->chunk_length = 0;
        if (r < 0)
                return r;
        ssize_t length = pread(spool->read_fd, spool->chunk, rest < BUFFER_SIZE ? rest : BUFFER_SIZE,
                               (off_t)(spool->cursor - segment->start));
        if (length == -1)
                return -errno;
        spool->chunk_length = (size_t)length;
        return 0;
}

static void pass_over(struct spool *spool, uint64_t to)
{
        pthread_mutex_lock(&spool->lock);
        if (spool->cursor >= spool->position.committed) /* Otherwise it was counted the first time. */
                spool->damaged_bytes += to - spool->cursor;
        pthread_mutex_unlock(&spool->lock);
        spool->cursor = to;
}

/* The record at the cursor, where the chunk has it whole. Moves nothing. */
static bool find_in_chunk(const struct spool *spool, struct spool_record *ret)
{
        uint64_t at = spool->cursor - spool->chunk_start;

        if (spool->cursor < spool->chunk_start || at >= spool->chunk_length)
                return false;
        if (spool_segment_parse(spool->chunk + at, spool->chunk_length - at, &ret->length) != SPOOL_SEGMENT_OK)
                return false;
        ret->bytes = spool->chunk + at + SPOOL_SEGMENT_HEADER_SIZE;
        return true;
}

/* Moves the cursor to the next record and the chunk with it; false: there is none, or *reterr. */
static bool find_record(struct spool *spool, struct spool_record *ret, int *reterr)
{
        struct spool_segment segment;

        *reterr = 0;
        while (!find_in_chunk(spool, ret)) {
                if (!find_segment(spool, spool->cursor, &segment))
                        return false;
                if (segment.start > spool->cursor)
                        pass_over(spool, segment.start);
                *reterr = fill_chunk(spool, &segment);
                if (*reterr < 0)
                        return false;
                /* Segments hold whole records, so what is none at the start of a chunk is damaged, and so is all behind it. */
                if (!find_in_chunk(spool, ret))
                        pass_over(spool, spool_segment_end(&segment));
        }
        return true;
}

bool spool_next(struct spool *spool, struct spool_record *ret, int *reterr)
{
        if (!find_record(spool, ret, reterr))
                return false;
        if (spool->cursor >= spool->position.committed && spool->cursor >= spool->opened_end)
                spool->given_beyond++;
        spool->cursor += SPOOL_SEGMENT_HEADER_SIZE + ret->length;
        return true;
}

static void remove_first(struct spool *spool)
{
        const struct spool_segment *first = spool_row_first(&spool->row);

        /* Its bytes stay on the disk for as long as it is open. */
        if (spool->read_start == first->start)
                descriptor_close(&spool->read_fd);
        spool_directory_remove(&spool->directory, first);
        spool_row_remove_first(&spool->row);
}

/* The last one is still appended to. Locked. */
static void remove_old_segments(struct spool *spool)
{
        uint64_t start = replay_start(spool);

        while (spool->row.count > 1 && spool_segment_end(spool_row_first(&spool->row)) <= start)
                remove_first(spool);
}

void spool_commit(struct spool *spool)
{
        if (spool->cursor <= spool->position.committed)
                return;
        pthread_mutex_lock(&spool->lock);
        spool->position.committed = spool->cursor;
        spool->sent_records += spool->given_beyond;
        remove_old_segments(spool);
        pthread_mutex_unlock(&spool->lock);
        spool->given_beyond = 0;
        spool_directory_keep_position(&spool->directory, &spool->position);
}

static void confirm_to(struct spool *spool, uint64_t reached)
{
        pthread_mutex_lock(&spool->lock);
        if (reached > spool->position.confirmed)
                spool->position.confirmed = reached;
        remove_old_segments(spool);
        pthread_mutex_unlock(&spool->lock);
        spool_directory_keep_position(&spool->directory, &spool->position);
}

void spool_confirm(struct spool *spool)
{
        confirm_to(spool, spool->cursor < spool->position.committed ? spool->cursor : spool->position.committed);
}

void spool_get_on(struct spool *spool)
{
        if (spool->cursor > spool->rewound_to && spool->cursor < spool->position.committed)
                confirm_to(spool, spool->rewound_to + (spool->cursor - spool->rewound_to + 1) / 2);
}

void spool_rewind(struct spool *spool)
{
        struct spool_record record;
        struct spool_segment segment;
        uint64_t start;
        int error;

        pthread_mutex_lock(&spool->lock);
        start = replay_start(spool);
        pthread_mutex_unlock(&spool->lock);
        spool->given_beyond = 0;
        spool->cursor = start;
        spool->rewound_to = start;
        if (!find_segment(spool, start, &segment))
                return;
        /* Where records begin is known only from the start of a segment on. */
        spool->cursor = segment.start;
        while (spool->cursor < start && find_record(spool, &record, &error))
                spool->cursor += SPOOL_SEGMENT_HEADER_SIZE + record.length;
}

bool spool_is_read(struct spool *spool)
{
        pthread_mutex_lock(&spool->lock);
        uint64_t end = row_end(spool);
        pthread_mutex_unlock(&spool->lock);
        return spool->cursor >= end;
}

/* Figures. */

uint64_t spool_waiting_bytes(struct spool *spool)
{
        pthread_mutex_lock(&spool->lock);
        uint64_t end = row_end(spool);
        uint64_t waiting = end > spool->position.committed ? end - spool->position.committed : 0;
        pthread_mutex_unlock(&spool->lock);
        return waiting;
}

unsigned spool_used_percent(struct spool *spool)
{
        pthread_mutex_lock(&spool->lock);
        uint64_t percent = used_bytes(spool) * 100 / spool->max_bytes;
        pthread_mutex_unlock(&spool->lock);
        return (unsigned)percent;
}

uint64_t spool_waiting_records(struct spool *spool)
{
        pthread_mutex_lock(&spool->lock);
        uint64_t waiting = spool->appended_records - spool->sent_records;
        pthread_mutex_unlock(&spool->lock);
        return waiting;
}

uint64_t spool_damaged_bytes(struct spool *spool)
{
        pthread_mutex_lock(&spool->lock);
        uint64_t damaged = spool->damaged_bytes;
        pthread_mutex_unlock(&spool->lock);
        return damaged;
}

uint64_t spool_missing_bytes(struct spool *spool)
{
        uint64_t free_bytes = spool_directory_free_bytes(&spool->directory);

        pthread_mutex_lock(&spool->lock);
        uint64_t growth = spool->max_bytes > spool->row.total_bytes ? spool->max_bytes - spool->row.total_bytes : 0;
        pthread_mutex_unlock(&spool->lock);
        return growth > free_bytes ? growth - free_bytes : 0;
}

bool spool_is_on_disk(const struct spool *spool)
{
        return !spool_directory_is_memory(&spool->directory);
}
