/*
 * Notices when another program removes or changes an nftables table of family inet, as `flush ruleset` or the loading of a
 * saved ruleset do (libmnl): without the daemon's table, or with an old policy in it, the kernel forwards what it should
 * refuse. Needs CAP_NET_ADMIN.
 */
#pragma once

#include <event2/event.h>

#include "base/compiler.h"

struct table_watch;

/* The table is gone, or changed. Returns 0 when it is right again, or a negative number to be called again in a second. */
typedef int (*table_watch_fn)(void *context);

/*
 * Calls back from the event loop each time that a change of the rules, whoever made it, left no table of this name, and each
 * time that a process of another name than owner (as in /proc/PID/comm) changed something in it. Both names are borrowed. A
 * table that is missing already is reported after the next change. Returns 0 or -errno.
 */
MUST_CHECK int table_watch_new(struct event_base *base, const char *table, const char *owner, table_watch_fn on_harm,
                               void *context, struct table_watch **ret);

/* Takes NULL. */
void table_watch_free(struct table_watch *watch);
