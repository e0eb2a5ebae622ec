#include "records/sink_table.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "records/denial_window.h"
#include "records/formatter.h"
#include "records/sink_filter.h"

#define LOSS_ALARM_MS 60000    /* at most one alarm about a sink in this time */
#define OWED_ALARM_MS 250      /* how often to look whether a sink takes its alarm by now */
#define SPOOL_ALARM_PERCENT 80 /* of a spool are used: there is an alarm before records are lost */
#define SPOOL_CALM_PERCENT                                                                                             \
        60 /* are used again: the next time there is another; what is kept after it was sent is less */

/* What everybody was told of a sink's losses. */
struct loss {
        uint64_t told;    /* records: the sink's total at the last alarm */
        uint64_t alarms;  /* about losses, given to the sink since: that they are lost too is not told again */
        uint64_t next_ms; /* no alarm before this */
};

struct slot {
        struct sink_table *table;
        struct sink *sink;            /* borrowed */
        struct sink_filter *filter;   /* owned */
        struct denial_window *window; /* owned; NULL: denials that repeat themselves are written */
        struct formatter_style style;
        char *resource_id; /* owned; style borrows it */
        struct loss loss;
        bool spool_told; /* there was an alarm about the spool */
        bool owes_alarm; /* the latest alarm waits until the sink is heard */
        struct decision owed_alarm;
        struct slot *writer;         /* the first slot of the same style, which has the body for all */
        struct formatter_body *body; /* owned; NULL unless writer is this slot */
        uint64_t body_delivery;      /* which delivery the body is of */
};

struct sink_table {
        size_t count;
        uint64_t delivery; /* counts what was given to sinks: a body of an earlier one is old */
        struct slot slots[];
};

struct sink_table *sink_table_new(size_t max_count)
{
        return calloc(1, sizeof(struct sink_table) + max_count * sizeof(struct slot));
}

static void clear_slot(struct slot *slot)
{
        free(slot->body);
        free(slot->resource_id);
        denial_window_free(slot->window);
        sink_filter_free(slot->filter);
}

void sink_table_free(struct sink_table *table)
{
        if (table == NULL)
                return;
        for (size_t i = 0; i < table->count; i++)
                clear_slot(&table->slots[i]);
        free(table);
}

static const struct formatter_body *body_of(struct slot *slot, const struct decision *decision)
{
        struct slot *writer = slot->writer;

        if (writer->body_delivery != slot->table->delivery)
                formatter_write_body(&writer->style, decision, writer->body);
        writer->body_delivery = slot->table->delivery;
        return writer->body;
}

static void give(struct slot *slot, const struct decision *decision)
{
        sink_push(slot->sink, slot->style.format, body_of(slot, decision));
}

/* There is trouble when queues are full or nobody listens, and nobody would hear of it if alarms were lost then. */
static void give_alarm(struct slot *slot, const struct decision *alarm)
{
        if (sink_is_heard(slot->sink)) {
                give(slot, alarm);
                return;
        }
        slot->owes_alarm = true;
        slot->owed_alarm = *alarm;
}

static void give_owed_alarm(struct slot *slot)
{
        if (!slot->owes_alarm || !sink_is_heard(slot->sink))
                return;
        slot->owes_alarm = false;
        slot->table->delivery++;
        give(slot, &slot->owed_alarm);
        slot->table->delivery++;
}

static void on_summary(const struct decision *summary, void *context)
{
        struct slot *slot = context;

        slot->table->delivery++;
        give(slot, summary);
        slot->table->delivery++;
}

static int fill_slot(struct slot *slot, const struct config_sink *config, const char *host_name)
{
        slot->resource_id = strdup(config->resource_id.text != NULL ? config->resource_id.text : "");
        if (slot->resource_id == NULL)
                return -ENOMEM;
        slot->style = (struct formatter_style){
                .format = config->format,
                .has_syslog_header = config->kind == CONFIG_SINK_SYSLOG,
                .facility = (uint8_t)config->facility,
                .host_name = host_name,
                .resource_id = slot->resource_id,
        };
        if (config->summarize_ms > 0) {
                int r = denial_window_new(DENIAL_WINDOW_DEFAULT_KINDS, config->summarize_ms, on_summary, slot,
                                          &slot->window);
                if (r < 0)
                        return r;
        }
        return sink_filter_new(config, &slot->filter);
}

/* The first slot with the style of this one: itself, with a new body, where there is none before. NULL: out of memory. */
static struct slot *find_writer(struct sink_table *table, struct slot *slot)
{
        for (size_t i = 0; i < table->count; i++)
                if (formatter_style_equals(&table->slots[i].style, &slot->style))
                        return table->slots[i].writer;
        slot->body = malloc(sizeof(*slot->body));
        return slot->body != NULL ? slot : NULL;
}

int sink_table_add(struct sink_table *table, const struct config_sink *config, const char *host_name, struct sink *sink)
{
        struct slot *slot = &table->slots[table->count];

        *slot = (struct slot){ .table = table, .sink = sink, .body_delivery = UINT64_MAX };
        int r = fill_slot(slot, config, host_name);
        if (r == 0)
                slot->writer = find_writer(table, slot);
        if (r < 0 || slot->writer == NULL) {
                clear_slot(slot);
                return -ENOMEM;
        }
        table->count++;
        return 0;
}

size_t sink_table_count(const struct sink_table *table)
{
        return table->count;
}

struct sink *sink_table_sink(const struct sink_table *table, size_t index)
{
        assert(index < table->count);
        return table->slots[index].sink;
}

void sink_table_deliver(struct sink_table *table, const struct decision *decision, uint64_t now_ms)
{
        table->delivery++;
        for (size_t i = 0; i < table->count; i++) {
                struct slot *slot = &table->slots[i];
                if (!sink_filter_takes(slot->filter, decision))
                        continue;
                if (decision->event == DECISION_EVENT_ALARM)
                        give_alarm(slot, decision);
                else if (slot->window == NULL ||
                         denial_window_note(slot->window, decision, now_ms) == DENIAL_WINDOW_PASS)
                        give(slot, decision);
        }
}

void sink_table_deliver_lost(struct sink_table *table, const struct record_ring_lost *lost)
{
        for (size_t class = 0; class < DECISION_CLASS_COUNT; class ++) {
                if (lost->of_class[class] == 0)
                        continue;
                for (size_t i = 0; i < table->count; i++)
                        if (sink_filter_takes_class(table->slots[i].filter, class))
                                sink_lose(table->slots[i].sink, lost->of_class[class]);
        }
}

void sink_table_wake(struct sink_table *table)
{
        for (size_t i = 0; i < table->count; i++)
                sink_wake(table->slots[i].sink);
}

/* Losses that nobody was told of yet. */
static uint64_t untold(const struct slot *slot)
{
        uint64_t lost = sink_lost(slot->sink) - slot->loss.told;

        return lost > slot->loss.alarms ? lost : 0;
}

/* To every sink, also the one that it is about: the alarm may get through there, and rules for alarms see it. */
static void raise_alarm(struct sink_table *table, struct decision *alarm, uint64_t now_ms)
{
        alarm->event = DECISION_EVENT_ALARM;
        alarm->time_us = clock_wall_us();
        sink_table_deliver(table, alarm, now_ms);
}

static void say_lost(struct slot *slot, uint64_t lost, uint64_t now_ms)
{
        struct decision alarm = { .alarm = "records-lost" };

        snprintf(alarm.hint, sizeof(alarm.hint), "%" PRIu64 " records for %.190s were lost", lost,
                 sink_name(slot->sink));
        slot->loss = (struct loss){ .told = slot->loss.told + lost, .next_ms = now_ms + LOSS_ALARM_MS };
        for (size_t i = 0; i < slot->table->count; i++)
                slot->table->slots[i].loss.alarms++;
        raise_alarm(slot->table, &alarm, now_ms);
}

static void watch_spool(struct slot *slot, uint64_t now_ms)
{
        struct decision alarm = { .alarm = "spool-nearly-full" };
        unsigned percent = sink_output_figures(slot->sink).spool_used_percent;

        if (percent < SPOOL_CALM_PERCENT)
                slot->spool_told = false;
        if (percent < SPOOL_ALARM_PERCENT || slot->spool_told)
                return;
        slot->spool_told = true;
        snprintf(alarm.hint, sizeof(alarm.hint),
                 "%u %% of the spool of %.180s are used; when it is full, records are lost", percent,
                 sink_name(slot->sink));
        raise_alarm(slot->table, &alarm, now_ms);
}

void sink_table_run_timers(struct sink_table *table, uint64_t now_ms)
{
        for (size_t i = 0; i < table->count; i++) {
                struct slot *slot = &table->slots[i];
                uint64_t lost = untold(slot);

                give_owed_alarm(slot);
                if (slot->window != NULL)
                        denial_window_flush(slot->window, now_ms);
                if (lost > 0 && now_ms >= slot->loss.next_ms)
                        say_lost(slot, lost, now_ms);
                watch_spool(slot, now_ms);
        }
}

static uint64_t slot_deadline_ms(const struct slot *slot, uint64_t now_ms)
{
        uint64_t deadline_ms = slot->window != NULL ? denial_window_deadline_ms(slot->window) : UINT64_MAX;

        if (untold(slot) > 0 && slot->loss.next_ms < deadline_ms)
                deadline_ms = slot->loss.next_ms;
        if (slot->owes_alarm && now_ms + OWED_ALARM_MS < deadline_ms)
                deadline_ms = now_ms + OWED_ALARM_MS;
        return deadline_ms;
}

uint64_t sink_table_deadline_ms(const struct sink_table *table, uint64_t now_ms)
{
        uint64_t deadline_ms = UINT64_MAX;

        for (size_t i = 0; i < table->count; i++) {
                uint64_t slot_ms = slot_deadline_ms(&table->slots[i], now_ms);
                deadline_ms = slot_ms < deadline_ms ? slot_ms : deadline_ms;
        }
        return deadline_ms > now_ms ? deadline_ms : now_ms;
}

void sink_table_take_over(struct sink_table *table, const struct sink_table *earlier)
{
        for (size_t i = 0; i < table->count; i++)
                for (size_t j = 0; j < earlier->count; j++) {
                        if (table->slots[i].sink != earlier->slots[j].sink)
                                continue;
                        table->slots[i].loss = earlier->slots[j].loss;
                        table->slots[i].spool_told = earlier->slots[j].spool_told;
                        table->slots[i].owes_alarm = earlier->slots[j].owes_alarm;
                        table->slots[i].owed_alarm = earlier->slots[j].owed_alarm;
                }
}

void sink_table_end_windows(struct sink_table *table, uint64_t now_ms)
{
        for (size_t i = 0; i < table->count; i++)
                if (table->slots[i].window != NULL)
                        denial_window_flush_all(table->slots[i].window, now_ms);
}
