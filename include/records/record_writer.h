/*
 * From decisions to sinks: each producer thread has a bounded ring, one record thread drains them all, formats, and hands
 * lines to each sink's own bounded queue, which a writer thread of its own empties. Pushing never blocks and never fails:
 * what does not fit is counted and said in the next record of that sink (`lost`).
 */
#pragma once

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

/* Writes what is queued, waiting at most 5 s for slow sinks, and ends every thread. Takes NULL. */
void record_writer_free(struct record_writer *writer);

/* Copies the decision. Only the thread that owns producer calls this. */
void record_writer_push(struct record_writer *writer, unsigned producer, const struct decision *decision);

/* Sinks that stay the same keep their seq and queue; others are opened and closed. On failure the old ones go on. */
MUST_CHECK int record_writer_reload(struct record_writer *writer, const struct config *config, char *error, size_t error_size);

/* Files are opened anew under their names (USR1, after logrotate moved them). Safe from the main thread. */
void record_writer_reopen(struct record_writer *writer);

/* Records lost so far, all sinks. */
uint64_t record_writer_lost(const struct record_writer *writer);
