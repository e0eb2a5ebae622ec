/* Which decisions a sink takes: a copy of the sink's settings that outlives the configuration. Immutable. */
#pragma once

#include <stdbool.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "records/decision.h"

struct sink_filter;

/* Returns 0 or -ENOMEM. sink_filter_free takes NULL. */
MUST_CHECK int sink_filter_new(const struct config_sink *config, struct sink_filter **ret);
void sink_filter_free(struct sink_filter *filter);

/*
 * Alarms: always. Others: by action, and by cluster if the sink names clusters; a client in no cluster is in none of those.
 * Starts go where their ends will go: those of what is audited only to sinks that take denials as well.
 */
bool sink_filter_takes(const struct sink_filter *filter, const struct decision *decision);

/* The same for decisions of which only the class is known any more: true when some of that class would be taken. */
bool sink_filter_takes_class(const struct sink_filter *filter, enum decision_class class);
