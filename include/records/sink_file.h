/*
 * Appends lines to a file through a buffer, many lines a write. When a write fails or stops half-way (full disk), the
 * rest stays in the buffer and is tried again from where it stopped, so that each line in the file is whole, or is the
 * last of a file that was moved away or truncated meanwhile, and then it stands whole in what follows. One thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "records/sink_output.h"

struct sink_file;

/*
 * Creates the file (mode 0640) where there is none, and appends otherwise; a cut last line of an earlier run is ended
 * with the first write. Returns 0, -ENOMEM or what open() says.
 */
MUST_CHECK int sink_file_open(const char *path, struct sink_file **ret);

/* What is still buffered is dropped. Takes NULL. */
void sink_file_close(struct sink_file *file);

/*
 * Buffers one line, given without its "\n"; false: no room, flush first. Any line of up to 16 KiB fits an empty buffer.
 */
MUST_CHECK bool sink_file_append(struct sink_file *file, const char *line, size_t length);

/*
 * Writes what is buffered. Returns 0 when all is in the file; -errno otherwise, the rest is kept (-EAGAIN: poll the
 * descriptor).
 */
MUST_CHECK int sink_file_flush(struct sink_file *file);

/* Lines not wholly written yet. */
size_t sink_file_pending(const struct sink_file *file);

/*
 * Opens the file anew under its name, for after it was moved away. On failure the old one is used on. Returns 0 or -errno.
 */
MUST_CHECK int sink_file_reopen(struct sink_file *file);

/* For poll(). */
int sink_file_descriptor(const struct sink_file *file);

/* The same as output of a sink; self is a struct sink_file. */
extern const struct sink_output_type sink_file_output;
