/*
 * Notices when a file changes, comes or goes (inotify(7) on its directory), so that it can be read anew. Survives what
 * editors and deployments do: rewriting in place, renaming over it, deleting and making it again, and exchanging a symbolic
 * link in the same directory that its path leads through, or the directory itself.
 *
 * Not seen: changes behind a link that leads out of the directory, until something in the directory changes, too.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/compiler.h"

#define FILE_WATCH_SETTLE_MS 1000 /* without a change, until it is told: who writes a file does it in several steps */

struct file_watch;

typedef void (*file_watch_fn)(void *context);

/*
 * Calls back from the event loop once the file has not changed for settle_ms (FILE_WATCH_SETTLE_MS) after one change or
 * many. path is copied. The file need not be there, its directory must.
 *
 * Returns 0 or -errno.
 */
MUST_CHECK int file_watch_new(struct event_base *base, const char *path, unsigned settle_ms, file_watch_fn on_change,
                              void *context, struct file_watch **ret);

/* Whether it watches this path. */
bool file_watch_is_of(const struct file_watch *watch, const char *path);

/* Takes NULL. on_change may call it. */
void file_watch_free(struct file_watch *watch);
