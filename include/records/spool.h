/*
 * Records on their way to a receiver that may be away: a row of bytes that is appended to at one end and read at the
 * other, cut into segments. A segment is a file in a directory of the spool's own, or, without one, a piece of memory.
 * What is in a directory survives the end of the process, in whatever way it ends.
 *
 * What was read and committed stays for a while: nobody but the receiver knows whether it worked off what it was sent, so
 * after a broken connection the reader begins again some way back (spool_rewind). A segment goes when all of it lies
 * before that.
 *
 * Bounded: max_bytes of segments in all; what does not fit is refused. Two threads, one for each end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define SPOOL_REPLAY_BYTES (16u << 20)     /* sent again after a broken connection, but at most half of max_bytes */
#define SPOOL_RECORD_MAX_LENGTH (64 << 10) /* bytes */

struct spool;

struct spool_record {
        const char *bytes; /* borrowed until the next call of the reader */
        size_t length;
};

/*
 * directory NULL: in memory. Otherwise it is made (mode 0700) where it is missing, and what an earlier process left in it
 * is kept and read first, from some way before where that process had come to. max_bytes: at least 1 MiB.
 *
 * Returns 0, -ENOMEM, -EWOULDBLOCK (another process or sink has this directory), or -errno of the directory or a file, with
 * a sentence in error.
 */
MUST_CHECK int spool_open(const char *directory, uint64_t max_bytes, char *error, size_t error_size,
                          struct spool **ret);

/* Segments in a directory stay, without what was not flushed; those in memory are gone. Takes NULL. */
void spool_close(struct spool *spool);

/* The appending thread's calls. */

/*
 * Takes a copy of a record. Returns 0; -EXFULL: the spool is full; or -errno of the disk. The record was not taken then,
 * and may be offered again.
 */
MUST_CHECK int spool_append(struct spool *spool, const char *record, size_t length);

/* Makes the records taken so far readable, and safe from the end of the process. Returns as spool_append does. */
MUST_CHECK int spool_flush(struct spool *spool);

/* Whether an error of these two says that the disk, or our share of it, is full. */
bool spool_is_disk_full(int error);

/* How many records were taken and are not flushed. */
size_t spool_unflushed(const struct spool *spool);

/* The reading thread's calls. */

/*
 * The next record; false: there is none yet, or it cannot be read (then *reterr is -errno, otherwise 0). Damaged parts of a
 * segment are passed over and counted.
 */
MUST_CHECK bool spool_next(struct spool *spool, struct spool_record *ret, int *reterr);

/* All records that spool_next gave so far were sent. */
void spool_commit(struct spool *spool);

/*
 * The receiver is known, or taken, to have worked off all that was committed, as far as it was read since spool_rewind. The
 * segments of that go, but for the one that is appended to.
 */
void spool_confirm(struct spool *spool);

/*
 * A connection that held for long ended before all was sent again: half of what was read since spool_rewind is taken for
 * worked off. A receiver that is always cut off so early would otherwise never get anything new.
 */
void spool_get_on(struct spool *spool);

/* Begins again: up to SPOOL_REPLAY_BYTES before what was committed last. */
void spool_rewind(struct spool *spool);

/* Whether the reader has come to the end of what is flushed. */
bool spool_is_read(struct spool *spool);

/* From any thread. */

/* Flushed and not committed: bytes with their headers. */
uint64_t spool_waiting_bytes(struct spool *spool);

/* How much of max_bytes is taken, in percent: by what waits, and by what is kept for a while after it was sent. */
unsigned spool_used_percent(struct spool *spool);

/* Records flushed by this process and not committed. */
uint64_t spool_waiting_records(struct spool *spool);

/* Bytes that were damaged, and so passed over, since the spool was opened. */
uint64_t spool_damaged_bytes(struct spool *spool);

/*
 * Another bound, at least 1 MiB: nothing of what is there goes because of a smaller one, but nothing is taken either until it
 * has become less.
 */
void spool_set_max_bytes(struct spool *spool, uint64_t max_bytes);

/* How much of max_bytes the disk has no room for, when all of it is needed; 0 in memory. */
uint64_t spool_missing_bytes(struct spool *spool);

/* Whether the segments are files. */
bool spool_is_on_disk(const struct spool *spool);
