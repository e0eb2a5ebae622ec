/*
 * From decisions to sinks: each producer thread has a bounded ring, one record thread drains them all, formats, and hands
 * records to each sink's own bounded queue, which a writer thread of its own empties. Pushing never blocks and never fails:
 * what does not fit is counted and said in the next record of that sink (`lost`), and its seq jumps by the same number.
 *
 * A record is lost where a ring is full, where a sink's queue is full (config_sink.queue records or 64 MiB; a file that
 * cannot be written is tried again until then), where no journald listens, and where a sink is too slow to the end. For a
 * sink that takes only some clusters, decisions lost in a full ring count whatever their cluster was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "records/decision.h"

struct record_writer;

/*
 * Starts the record thread and the sinks of config. producers: how many threads push, each with its own number from 0.
 * Returns 0, -ENOMEM, or what opening a sink gave, with a sentence in error ("logging: /var/log/x: Permission denied").
 */
MUST_CHECK int record_writer_new(const struct config *config, unsigned producers, char *error, size_t error_size,
                                 struct record_writer **ret);

/* Writes what is queued, waiting at most 5 s for slow sinks, and ends every thread. Nobody pushes any more. Takes NULL. */
void record_writer_free(struct record_writer *writer);

/* Copies the decision. Only the thread that owns producer calls this. */
void record_writer_push(struct record_writer *writer, unsigned producer, const struct decision *decision);

/*
 * Whether some sink takes records of what begins (DECISION_EVENT_START): others need not make any. From any thread; follows
 * a reload.
 */
bool record_writer_wants_starts(const struct record_writer *writer);

/*
 * Sinks of the same kind and path go on with their seq, queue and thread and get their new filter; others are opened and
 * closed. On failure the old ones go on as they were. A closed sink writes what it still has for up to 5 s, unattended.
 * This and all below: only the thread that made the writer.
 */
MUST_CHECK int record_writer_reload(struct record_writer *writer, const struct config *config, char *error,
                                    size_t error_size);

/* Files are opened anew under their names (USR1, after logrotate moved them). What goes wrong is logged. */
void record_writer_reopen(struct record_writer *writer);

/* Records lost so far, all sinks, those closed since included. */
uint64_t record_writer_lost(const struct record_writer *writer);

/* One sink's figures for status and metrics. */
struct record_writer_sink {
        const char *name; /* as sink_name; valid until the next reload */
        uint64_t written;
        uint64_t lost;
        uint64_t queued;        /* waiting to be written */
        uint64_t spooled_bytes; /* of streams: waiting to be sent */
        uint64_t connections;   /* of streams: made so far */
};

size_t record_writer_sink_count(const struct record_writer *writer);
struct record_writer_sink record_writer_sink(const struct record_writer *writer, size_t index);
