/*
 * Notices when another program removes rules or routes of a routing table, as systemd-networkd does with what it has not
 * made itself whenever it starts: without the daemon's own nothing that is steered arrives.
 */
#pragma once

#include <event2/event.h>
#include <stdint.h>

#include "base/compiler.h"

struct routing_watch;

/* Something is gone. Returns 0 when all is in place again, or a negative number to be called again in a second. */
typedef int (*routing_watch_fn)(void *context);

/* What is watched: rules that lead to a table, of any priority, and routes in it; and rules of some priorities. */
struct routing_watch_subject {
        uint32_t table;
        uint32_t first_priority;
        uint32_t last_priority;
};

/*
 * Calls back from the event loop a moment after something of the subject was removed, in either family, by whomever; once for
 * many at a time. Returns 0 or -errno.
 */
MUST_CHECK int routing_watch_new(struct event_base *base, const struct routing_watch_subject *subject,
                                 routing_watch_fn on_gone, void *context, struct routing_watch **ret);

/* Takes NULL. */
void routing_watch_free(struct routing_watch *watch);
