/*
 * Notices when another program removes an nftables table of family inet, as `flush ruleset` does (libmnl): without the
 * daemon's table the kernel forwards what it should refuse. Needs CAP_NET_ADMIN.
 */
#pragma once

#include <event2/event.h>

#include "base/compiler.h"

struct table_watch;

/* The table is gone. Returns 0 when it is back, or a negative number to be called again in a second if it is not. */
typedef int (*table_watch_fn)(void *context);

/*
 * Calls back from the event loop each time that a change of the rules, whoever made it, left no table of this name
 * (borrowed). A table that is missing already is reported after the next change. Returns 0 or -errno.
 */
MUST_CHECK int table_watch_new(struct event_base *base, const char *table, table_watch_fn on_gone, void *context,
                               struct table_watch **ret);

/* Takes NULL. */
void table_watch_free(struct table_watch *watch);
