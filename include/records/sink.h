/*
 * One sink: a bounded queue, the thread that empties it, and the output it writes to. Numbers the records: seq
 * goes up by one for each, and jumps over those that were lost, which the next record then counts.
 *
 * One thread pushes and loses (the record thread); the rest is for the thread that made the sink.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "records/formatter.h"
#include "records/sink_output.h"
#include "records/syslog_target.h"

struct sink;

/*
 * Opens the sink and starts its thread. target, of a syslog sink, NULL otherwise: keeps a reference of its own; instance is
 * copied. Returns 0, -ENOMEM, or -errno of what could not be opened, with a sentence in error.
 */
MUST_CHECK int sink_start(const struct config_sink *config, struct syslog_target *target,
                          const char instance[FORMATTER_INSTANCE_SIZE], char *error, size_t error_size,
                          struct sink **ret);

/* What it is known by: the path of its file or spool, "journal", or the name of its server ("tls://siem.contoso.com:6514"). */
const char *sink_name(const struct sink *sink);

/* Whether config and target describe this sink: same kind, known by the same name. */
bool sink_matches(const struct sink *sink, const struct config_sink *config, const struct syslog_target *target);

/*
 * Other settings of the same sink, in two steps, so that nothing is changed before it is known that all can be: offers a target
 * (a reference is kept; NULL for sinks without one), then goes over to it and to what config says of queue and spool.
 */
void sink_offer_target(struct sink *sink, struct syslog_target *target);
void sink_apply(struct sink *sink, const struct config_sink *config);

/* Queues one formatted body; when it does not fit, it is lost and counted. Call sink_wake after the last of a batch. */
void sink_push(struct sink *sink, enum config_format format, const struct formatter_body *body);

/* Whether the next sink_push would be taken, and somebody took the last record that was written. The record thread's, too. */
bool sink_is_heard(const struct sink *sink);

/* Counts records that were lost before they came here. */
void sink_lose(struct sink *sink, uint64_t count);

/* Has the sink's thread write what is queued; costs little when nothing is. */
void sink_wake(struct sink *sink);

/* A file is opened anew under its name, soon; on failure that is logged and the old one is used on. */
void sink_reopen(struct sink *sink);

/* From any thread. */
uint64_t sink_written(const struct sink *sink);
uint64_t sink_lost(const struct sink *sink);
uint64_t sink_queued(const struct sink *sink); /* waiting to be written */

/* What the output tells of itself; before sink_stop. */
struct sink_output_figures sink_output_figures(const struct sink *sink);

/* Nothing is pushed any more: the thread writes what is queued and ends, by deadline_ms (clock_monotonic_ms). */
void sink_stop(struct sink *sink, uint64_t deadline_ms);

/*
 * After sink_stop: waits up to timeout_ms for the thread, adds what the sink lost to *lost and frees it. Returns false
 * when the thread hangs inside the kernel; the sink stays, to be tried again or to be left to the end of the process.
 */
MUST_CHECK bool sink_finish(struct sink *sink, int timeout_ms, uint64_t *lost);
