/*
 * The sinks in force, with what each of them is given: which decisions (sink_filter), in which style (formatter), and
 * whether those that repeat themselves are summed up (denial_window). Made by one thread, then used by the record thread
 * alone until it has gone over to the next table. The sinks themselves go on from table to table.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "records/decision.h"
#include "records/record_ring.h"
#include "records/sink.h"

struct sink_table;

/* For up to max_count sinks. Returns NULL when out of memory. */
struct sink_table *sink_table_new(size_t max_count);

/* The sinks stay. Takes NULL. */
void sink_table_free(struct sink_table *table);

/*
 * Appends a sink with the settings of config, which are copied; host_name is borrowed. Returns 0, or -ENOMEM with the
 * table as it was.
 */
MUST_CHECK int sink_table_add(struct sink_table *table, const struct config_sink *config, const char *host_name,
                              struct sink *sink);

size_t sink_table_count(const struct sink_table *table);
struct sink *sink_table_sink(const struct sink_table *table, size_t index);

/*
 * Gives the decision to each sink that takes it, once or, where it repeats itself, as part of a summary. An alarm waits for
 * room in a sink's queue, and for somebody to listen there: the latest, if there are several.
 */
void sink_table_deliver(struct sink_table *table, const struct decision *decision, uint64_t now_ms);

/* Counts decisions that were lost before they came here with each sink that would have taken some. */
void sink_table_deliver_lost(struct sink_table *table, const struct record_ring_lost *lost);

/* Has the sinks write what they were given. */
void sink_table_wake(struct sink_table *table);

/*
 * Gives out what is due: summaries whose window is over, an alarm for each sink that lost records, at once and then once a
 * minute, and one for each whose spool is nearly full.
 */
void sink_table_run_timers(struct sink_table *table, uint64_t now_ms);

/* When to call sink_table_run_timers next; UINT64_MAX: not before another decision. */
uint64_t sink_table_deadline_ms(const struct sink_table *table, uint64_t now_ms);

/*
 * Where table takes over from an earlier one: what was told of the sinks that both have is not told again, and what is still to
 * be told is not forgotten.
 */
void sink_table_take_over(struct sink_table *table, const struct sink_table *earlier);

/* Gives out every summary, whether or not its window is over. */
void sink_table_end_windows(struct sink_table *table, uint64_t now_ms);
