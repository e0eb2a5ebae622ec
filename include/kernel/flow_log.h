/*
 * Tells of each forwarded flow when it has ended, with what it carried (conntrack events), for one record a flow; on demand
 * also when it begins. Needs CAP_NET_ADMIN.
 *
 * The kernel keeps an event that does not fit into our buffer, and the flow's entry with it, until it does: none is lost
 * while we live, but who does not read for long fills the table of connections.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "kernel/flow.h"

#define FLOW_LOG_BUFFER_BYTES (8u << 20)
#define FLOW_LOG_PER_TURN 256 /* flows before other events get their turn */

struct flow_log;

typedef void (*flow_log_fn)(const struct flow *flow, void *context);

/*
 * Calls back from the event loop for each flow that has ended and whose connection mark is `mark` under `mask`. Of flows
 * that began before, the kernel tells only under nf_conntrack_events=1. buffer_bytes: FLOW_LOG_BUFFER_BYTES unless a test
 * wants less.
 *
 * Returns 0 or -errno.
 */
MUST_CHECK int flow_log_new(struct event_base *base, uint32_t mark, uint32_t mask, size_t buffer_bytes,
                            flow_log_fn on_flow, void *context, struct flow_log **ret);

/* Whether flows that begin are told of as well, from now on. Returns 0 or -errno. */
MUST_CHECK int flow_log_tell_of_starts(struct flow_log *log, bool tells);

/* Tells of the flows that have ended so far: for the end, when nobody will turn the event loop again. Not from within on_flow. */
void flow_log_read_rest(struct flow_log *log);

/* Takes NULL. Not from within on_flow. */
void flow_log_free(struct flow_log *log);

/* What the kernel's settings (sysctl net.netfilter) let a flow's end tell; each counts for flows that begin from then on. */
struct flow_log_settings {
        bool counts_bytes; /* nf_conntrack_acct */
        bool keeps_times;  /* nf_conntrack_timestamp */
        bool tells_of_all; /* nf_conntrack_events is 1: also of flows that began while nobody listened */
};

/* A setting that cannot be read is off: conntrack is not loaded. */
struct flow_log_settings flow_log_settings(void);
