/*
 * Syslog over TCP and TLS, as output of a sink: records go into a spool, and a thread of its own sends them from there, so
 * that a receiver that is away, or slow, holds up neither the sink nor what it has already. Messages are framed by octet
 * counting (RFC 6587 3.4.1, RFC 5425 4.3).
 *
 * The thread connects anew when a connection breaks, at growing intervals up to 30 s, and begins some way back in the spool:
 * TCP does not say what the receiver has worked off. What arrives twice has the same instance and seq.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "records/sink_output.h"
#include "records/syslog_target.h"
#include "records/wakeup.h"

#define SINK_STREAM_MEMORY_BYTES (4u << 20) /* of the spool of a sink without a directory for it */

struct sink_stream;

/*
 * Opens the spool, in spool_directory or, NULL, in memory, and starts the thread. Keeps a reference to target of its own. When
 * a full spool has room again, room is forced: it wakes the sink.
 *
 * Returns 0 or -errno with a sentence in error.
 */
MUST_CHECK int sink_stream_open(struct syslog_target *target, const char *spool_directory, uint64_t spool_max_bytes,
                                struct wakeup *room, char *error, size_t error_size, struct sink_stream **ret);

/*
 * Sends to another server from now on; a connection that serves it as well is kept. Keeps a reference of its own. Only the
 * thread that opened the stream.
 */
void sink_stream_set_target(struct sink_stream *stream, struct syslog_target *target);

/* As sink_output_type.figures. */
struct sink_output_figures sink_stream_figures(struct sink_stream *stream);

/* self is a struct sink_stream. */
extern const struct sink_output_type sink_stream_output;
