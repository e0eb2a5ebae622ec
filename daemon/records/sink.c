#include "records/sink.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "records/sink_datagram.h"
#include "records/sink_file.h"
#include "records/sink_stream.h"
#include "records/syslog_target.h"
#include "records/sink_queue.h"
#include "records/wakeup.h"

#define RETRY_MS 250        /* after a failed write */
#define OUTPUT_WAIT_MS 1000 /* for a full pipe or journald; poll() ends it earlier */
#define ERROR_LOG_MS 60000  /* at most one line about a failing sink in this time */
#define ERROR_SIZE 256

struct sink {
        enum config_sink_kind kind;
        char *name;
        struct syslog_target
                *target; /* the making thread's: the latest that was offered; reference held. NULL: no syslog */
        char instance[FORMATTER_INSTANCE_SIZE];
        struct sink_queue *queue;
        struct wakeup wakeup;
        struct wakeup ended; /* forced once, by the thread, as the last thing it does */
        pthread_t thread;

        /* the record thread's */
        uint64_t lost_unqueued; /* lost since the last record that got into the queue */

        /* the writer thread's */
        struct sink_output output;
        struct sink_queue_block *block;
        uint64_t seq;
        uint64_t lost_unsent; /* lost since the last record that was stamped */
        uint64_t error_logged_ms;
        bool failing; /* an error was logged and nothing worked since */
        char record[FORMATTER_RECORD_SIZE];

        /* shared */
        atomic_bool reopen;
        atomic_bool unheard; /* the last record was lost, since nobody listens */
        atomic_bool stopping;
        atomic_uint_fast64_t deadline_ms;
        atomic_uint_fast64_t written;
        atomic_uint_fast64_t lost;
        atomic_uint_fast64_t queued; /* pushed, and neither written nor lost: those in the block in hand, too */
};

static void count_lost(struct sink *sink, uint64_t count)
{
        atomic_fetch_add_explicit(&sink->lost, count, memory_order_relaxed);
}

static const char *reason_of(int error)
{
        if (error == -EXFULL)
                return "its spool is full";
        if (error == -EADDRNOTAVAIL)
                return "DNS gives no address for it";
        return strerror(-error);
}

static void log_failure(struct sink *sink, int error, const char *consequence)
{
        uint64_t now_ms = clock_monotonic_ms();

        if (sink->error_logged_ms != 0 && now_ms - sink->error_logged_ms < ERROR_LOG_MS)
                return;
        sink->error_logged_ms = now_ms;
        sink->failing = true;
        log_error("logging: %s: %s; %s (%" PRIu64 " lost so far)", sink->name, reason_of(error), consequence,
                  sink_lost(sink));
}

static void note_success(struct sink *sink)
{
        if (!sink->failing)
                return;
        sink->failing = false;
        log_info("logging: %s: works again, %" PRIu64 " records were lost since the start", sink->name,
                 sink_lost(sink));
}

static struct formatter_stamp next_stamp(const struct sink *sink, const struct sink_queue_entry *entry)
{
        uint64_t lost = entry->lost + sink->lost_unsent;

        return (struct formatter_stamp){ .seq = sink->seq + lost + 1, .lost = lost, .instance = sink->instance };
}

static void keep_stamp(struct sink *sink, const struct formatter_stamp *stamp)
{
        sink->seq = stamp->seq;
        sink->lost_unsent = 0;
}

/* Whether a later try may succeed with the same record. */
static bool is_passing(int error)
{
        return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM;
}

/* Nobody there: waiting would only fill the queue on machines without journald. */
static void lose(struct sink *sink, const struct sink_queue_entry *entry, int error)
{
        sink->lost_unsent += entry->lost + 1;
        atomic_store(&sink->unheard, true);
        count_lost(sink, 1);
        log_failure(sink, error, "its records are lost and counted");
}

static int put(struct sink *sink, const struct sink_queue_entry *entry)
{
        struct formatter_stamp stamp = next_stamp(sink, entry);
        size_t length =
                formatter_complete(entry->format, &stamp, entry->bytes, entry->length, entry->stamp_at, sink->record);
        int r = sink->output.type->put(sink->output.self, sink->record, length);

        if (r < 0 && (is_passing(r) || !sink->output.type->loses))
                return r;
        if (r < 0) {
                lose(sink, entry, r);
                return 0;
        }
        keep_stamp(sink, &stamp);
        atomic_store_explicit(&sink->unheard, false, memory_order_relaxed);
        if (sink->output.type->flush == NULL)
                note_success(sink);
        atomic_fetch_add_explicit(&sink->written, 1, memory_order_relaxed);
        return 0;
}

static int flush(struct sink *sink)
{
        if (sink->output.type->flush == NULL)
                return 0;
        int r = sink->output.type->flush(sink->output.self);
        if (r == 0)
                note_success(sink);
        return r;
}

/* The next entry to write, from the block in hand or a new one; false when the queue is empty. */
static bool next_entry(struct sink *sink, struct sink_queue_entry *ret)
{
        for (;;) {
                if (sink->block == NULL)
                        sink->block = sink_queue_take(sink->queue);
                if (sink->block == NULL)
                        return false;
                if (sink_queue_block_peek(sink->block, ret))
                        return true;
                sink_queue_give_back(sink->queue, sink->block);
                sink->block = NULL;
        }
}

static bool is_past_deadline(const struct sink *sink)
{
        return atomic_load(&sink->stopping) && clock_monotonic_ms() >= atomic_load(&sink->deadline_ms);
}

/* Returns 0 when everything queued is written, or the deadline passed; otherwise -errno, and the rest is kept. */
static int write_queued(struct sink *sink)
{
        struct sink_queue_entry entry;

        while (next_entry(sink, &entry) && !is_past_deadline(sink)) {
                int r = put(sink, &entry);
                if (r < 0)
                        return r;
                sink_queue_block_drop(sink->block);
                atomic_fetch_sub_explicit(&sink->queued, 1, memory_order_relaxed);
        }
        return flush(sink);
}

static void reopen_if_asked(struct sink *sink)
{
        if (!atomic_exchange(&sink->reopen, false) || sink->output.type->reopen == NULL)
                return;
        int r = sink->output.type->reopen(sink->output.self);
        if (r < 0)
                log_error("logging: %s: cannot be opened anew: %s; still writing to the old file", sink->name,
                          strerror(-r));
}

static void wait_for_work(struct sink *sink)
{
        wakeup_prepare(&sink->wakeup);
        if (sink_queue_length(sink->queue) == 0 && !atomic_load(&sink->stopping) && !atomic_load(&sink->reopen))
                wakeup_wait(&sink->wakeup, -1, 0, -1);
        else
                wakeup_cancel(&sink->wakeup);
}

static int until_deadline(const struct sink *sink, int timeout_ms)
{
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t deadline_ms = atomic_load(&sink->deadline_ms);

        if (!atomic_load(&sink->stopping) || deadline_ms >= now_ms + (uint64_t)timeout_ms)
                return timeout_ms;
        return deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0;
}

/* Not prepared for sink_wake: more in the queue is no reason to try again, only a reopen or a stop is (both force). */
static void wait_for_output(struct sink *sink, int error)
{
        if (error == -EAGAIN)
                wakeup_wait(&sink->wakeup, sink->output.type->descriptor(sink->output.self), POLLOUT,
                            until_deadline(sink, OUTPUT_WAIT_MS));
        else
                wakeup_wait(&sink->wakeup, -1, 0, until_deadline(sink, RETRY_MS));
}

/* Whatever could not be written before the deadline. */
static void abandon_rest(struct sink *sink)
{
        const struct sink_output *output = &sink->output;
        uint64_t deadline_ms = atomic_load(&sink->deadline_ms);
        uint64_t rest = output->type->pending != NULL ? output->type->pending(output->self) : 0;
        struct sink_queue_entry entry;

        if (output->type->finish != NULL)
                rest += output->type->finish(output->self, deadline_ms);

        atomic_fetch_sub_explicit(&sink->written, rest, memory_order_relaxed);
        while (next_entry(sink, &entry)) {
                rest++;
                sink_queue_block_drop(sink->block);
        }
        if (rest == 0)
                return;
        count_lost(sink, rest);
        log_error("logging: %s: %" PRIu64 " records could not be written before the end and are lost", sink->name,
                  rest);
}

/* Here already: the struct may wait for sink_finish until the next reload, the descriptors need not. */
static void close_output(struct sink *sink)
{
        if (sink->output.self != NULL)
                sink->output.type->close(sink->output.self);
        sink->output.self = NULL;
}

static void *run(void *argument)
{
        struct sink *sink = argument;

        for (;;) {
                /* Read first: what was queued before the stop is then seen by the write that follows. */
                bool stopping = atomic_load(&sink->stopping);

                reopen_if_asked(sink);
                int r = write_queued(sink);
                if (is_past_deadline(sink) || (stopping && r == 0))
                        break;
                if (r == 0) {
                        wait_for_work(sink);
                        continue;
                }
                if (r != -EAGAIN)
                        log_failure(sink, r, "its records wait while there is room in its queue");
                wait_for_output(sink, r);
        }
        abandon_rest(sink);
        close_output(sink);
        wakeup_force(&sink->ended);
        return NULL;
}

/* The thread does not run, or no more. */
static void sink_free(struct sink *sink)
{
        if (sink == NULL)
                return;
        if (sink->block != NULL)
                sink_queue_give_back(sink->queue, sink->block);
        close_output(sink);
        wakeup_close(&sink->ended);
        wakeup_close(&sink->wakeup);
        sink_queue_free(sink->queue);
        syslog_target_unref(sink->target);
        free(sink->name);
        free(sink);
}

static int open_file(struct sink *sink, char *error, size_t error_size)
{
        struct sink_file *file;
        int r = sink_file_open(sink->name, &file);

        snprintf(error, error_size, "%s", strerror(-r));
        if (r == 0)
                sink->output = (struct sink_output){ &sink_file_output, file };
        return r;
}

static int open_datagram(struct sink *sink, const char *path, char *error, size_t error_size)
{
        struct sink_datagram *datagram;
        int r = path != NULL ? sink_datagram_open_path(path, &datagram)
                             : sink_datagram_open_server(sink->target, &datagram);

        snprintf(error, error_size, "%s", strerror(-r));
        if (r == 0)
                sink->output = (struct sink_output){ &sink_datagram_output, datagram };
        return r;
}

static int open_stream(struct sink *sink, const struct config_sink *config, char *error, size_t error_size)
{
        struct sink_stream *stream;
        int r = sink_stream_open(sink->target, config->spool.text, config->spool_max, &sink->wakeup, error, error_size,
                                 &stream);

        if (r == 0)
                sink->output = (struct sink_output){ &sink_stream_output, stream };
        return r;
}

static int open_syslog(struct sink *sink, const struct config_sink *config, char *error, size_t error_size)
{
        switch (config->transport) {
        case CONFIG_TRANSPORT_TLS:
        case CONFIG_TRANSPORT_TCP:
                return open_stream(sink, config, error, error_size);
        case CONFIG_TRANSPORT_UDP:
                return open_datagram(sink, NULL, error, error_size);
        case CONFIG_TRANSPORT_UNIX:
                return open_datagram(sink, config->server.text, error, error_size);
        }
        return -EINVAL;
}

static int open_output(struct sink *sink, const struct config_sink *config, char *error, size_t error_size)
{
        switch (config->kind) {
        case CONFIG_SINK_FILE:
                return open_file(sink, error, error_size);
        case CONFIG_SINK_JOURNAL:
                return open_datagram(sink, SINK_DATAGRAM_JOURNAL, error, error_size);
        case CONFIG_SINK_SYSLOG:
                return open_syslog(sink, config, error, error_size);
        }
        return -EINVAL;
}

/* A sink is known by what it keeps when its settings change: its file, its spool; without a spool, its server. */
static int find_name(struct sink *sink, const struct config_sink *config)
{
        const char *name = config->kind == CONFIG_SINK_JOURNAL ? "journal" : config->path.text;

        if (config->kind == CONFIG_SINK_SYSLOG)
                name = config->spool.text != NULL ? config->spool.text : sink->target->name;
        sink->name = strdup(name);
        return sink->name != NULL ? 0 : -ENOMEM;
}

static int open_all(struct sink *sink, const struct config_sink *config, char *error, size_t error_size)
{
        int r = find_name(sink, config);

        sink->queue = sink_queue_new(config->queue > 0 ? config->queue : 1);
        if (sink->queue == NULL)
                r = -ENOMEM;
        if (r == 0)
                r = wakeup_open(&sink->wakeup);
        if (r == 0)
                r = wakeup_open(&sink->ended);
        snprintf(error, error_size, "%s", strerror(-r));
        if (r == 0)
                r = open_output(sink, config, error, error_size);
        return r < 0 ? r : thread_start("sink", run, sink, &sink->thread);
}

int sink_start(const struct config_sink *config, struct syslog_target *target,
               const char instance[FORMATTER_INSTANCE_SIZE], char *error, size_t error_size, struct sink **ret)
{
        struct sink *sink = calloc(1, sizeof(*sink));
        char reason[ERROR_SIZE];

        if (sink == NULL) {
                snprintf(error, error_size, "logging: %s", strerror(ENOMEM));
                return -ENOMEM;
        }
        sink->wakeup.fd = -1;
        sink->ended.fd = -1;
        sink->kind = config->kind;
        sink->target = syslog_target_ref(target);
        memcpy(sink->instance, instance, FORMATTER_INSTANCE_SIZE);
        int r = open_all(sink, config, reason, sizeof(reason));
        if (r < 0) {
                snprintf(error, error_size, "logging: %s: %s", sink->name != NULL ? sink->name : "sink", reason);
                sink_free(sink);
                return r;
        }
        *ret = sink;
        return 0;
}

const char *sink_name(const struct sink *sink)
{
        return sink->name;
}

bool sink_matches(const struct sink *sink, const struct config_sink *config, const struct syslog_target *target)
{
        if (sink->kind != config->kind)
                return false;
        switch (config->kind) {
        case CONFIG_SINK_JOURNAL:
                return true;
        case CONFIG_SINK_FILE:
                return strcmp(sink->name, config->path.text) == 0;
        case CONFIG_SINK_SYSLOG:
                return strcmp(sink->name, config->spool.text != NULL ? config->spool.text : target->name) == 0;
        }
        return false;
}

void sink_offer_target(struct sink *sink, struct syslog_target *target)
{
        syslog_target_unref(sink->target);
        sink->target = syslog_target_ref(target);
}

void sink_apply(struct sink *sink, const struct config_sink *config)
{
        sink_queue_set_max_records(sink->queue, config->queue > 0 ? config->queue : 1);
        if (sink->output.type->set_target != NULL)
                sink->output.type->set_target(sink->output.self, sink->target);
        if (sink->output.type->set_spool_max != NULL)
                sink->output.type->set_spool_max(sink->output.self, config->spool_max);
}

struct sink_output_figures sink_output_figures(const struct sink *sink)
{
        if (sink->output.type->figures == NULL)
                return (struct sink_output_figures){ 0 };
        return sink->output.type->figures(sink->output.self);
}

void sink_push(struct sink *sink, enum config_format format, const struct formatter_body *body)
{
        const struct sink_queue_entry entry = { .bytes = body->bytes,
                                                .length = body->length,
                                                .stamp_at = body->stamp_at,
                                                .format = format,
                                                .lost = sink->lost_unqueued };

        /* Counted first: the writer may have taken it off again before the push returns. */
        atomic_fetch_add_explicit(&sink->queued, 1, memory_order_relaxed);
        if (sink_queue_push(sink->queue, &entry)) {
                sink->lost_unqueued = 0;
                return;
        }
        atomic_fetch_sub_explicit(&sink->queued, 1, memory_order_relaxed);
        sink_lose(sink, 1);
}

bool sink_is_heard(const struct sink *sink)
{
        return !atomic_load(&sink->unheard) && sink_queue_has_room(sink->queue);
}

void sink_lose(struct sink *sink, uint64_t count)
{
        sink->lost_unqueued += count;
        count_lost(sink, count);
}

void sink_wake(struct sink *sink)
{
        if (sink_queue_length(sink->queue) > 0)
                wakeup_wake(&sink->wakeup);
}

void sink_reopen(struct sink *sink)
{
        atomic_store(&sink->reopen, true);
        wakeup_force(&sink->wakeup);
}

uint64_t sink_written(const struct sink *sink)
{
        return atomic_load_explicit(&sink->written, memory_order_relaxed);
}

uint64_t sink_lost(const struct sink *sink)
{
        return atomic_load_explicit(&sink->lost, memory_order_relaxed);
}

uint64_t sink_queued(const struct sink *sink)
{
        return atomic_load_explicit(&sink->queued, memory_order_relaxed);
}

void sink_stop(struct sink *sink, uint64_t deadline_ms)
{
        atomic_store(&sink->deadline_ms, deadline_ms);
        atomic_store(&sink->stopping, true);
        wakeup_force(&sink->wakeup);
}

bool sink_finish(struct sink *sink, int timeout_ms, uint64_t *lost)
{
        if (!wakeup_poll(&sink->ended, timeout_ms))
                return false;
        pthread_join(sink->thread, NULL);
        *lost += sink_lost(sink);
        sink_free(sink);
        return true;
}
