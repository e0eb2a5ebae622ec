/*
 * Where the segments of a spool lie: files of one directory, which has one user at a time, with a file for the position of
 * the reader; or memory, where nothing is kept and each segment is a descriptor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

struct spool_directory {
        int fd; /* -1: memory */
        int lock_fd;
        int position_fd;
};

/* One segment: where in the row of bytes it begins, and how long it is. */
struct spool_segment {
        uint64_t start;
        uint64_t size;
        int fd; /* of memory; -1: a file */
};

/* The first byte behind it. */
static inline uint64_t spool_segment_end(const struct spool_segment *segment)
{
        return segment->start + segment->size;
}

/* How far the reader has come. */
struct spool_position {
        uint64_t committed;
        uint64_t confirmed;
};

/* For memory, and before spool_directory_open. */
void spool_directory_init(struct spool_directory *directory);

/*
 * Makes the directory (mode 0700) where it is missing, and locks it. Returns 0, -EWOULDBLOCK: it is in use, or -errno;
 * spool_directory_close may be called after either.
 */
MUST_CHECK int spool_directory_open(struct spool_directory *directory, const char *path);
void spool_directory_close(struct spool_directory *directory);

bool spool_directory_is_memory(const struct spool_directory *directory);

/* What of its file system is free for this process; UINT64_MAX when that is not known, and for memory. */
uint64_t spool_directory_free_bytes(const struct spool_directory *directory);

/* Calls back for each segment that holds something, in no order; its -errno ends it. Returns 0 or -errno. */
typedef int (*spool_directory_fn)(const struct spool_segment *segment, void *context);
MUST_CHECK int spool_directory_each(const struct spool_directory *directory, spool_directory_fn on_segment,
                                    void *context);

/* Takes away what is no whole record at the end of a segment: *ret_size is what stays, 0 when that is nothing and the file is gone. */
MUST_CHECK int spool_directory_cut(const struct spool_directory *directory, const struct spool_segment *segment,
                                   uint64_t *ret_size);

/* A new segment to be written by *ret_fd, which is the caller's; in memory also segment->fd. Returns 0 or -errno. */
MUST_CHECK int spool_directory_create(const struct spool_directory *directory, struct spool_segment *segment,
                                      int *ret_fd);

/* A descriptor to read a segment by; -errno: it cannot be. */
MUST_CHECK int spool_directory_open_segment(const struct spool_directory *directory,
                                            const struct spool_segment *segment);

/* What cannot be removed is there again after the next start. */
void spool_directory_remove(const struct spool_directory *directory, const struct spool_segment *segment);

/* The position that was kept last; false: there is none. */
bool spool_directory_read_position(const struct spool_directory *directory, struct spool_position *ret);

/* Safe from the end of the process, but not from a power cut: then more is read again. */
void spool_directory_keep_position(const struct spool_directory *directory, const struct spool_position *position);
