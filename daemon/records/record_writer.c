#include "records/record_writer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "records/formatter.h"
#include "records/record_ring.h"
#include "records/sink.h"
#include "records/sink_table.h"
#include "records/wakeup.h"

#define DRAIN_MS 5000       /* how long a closing sink may write what it has */
#define BATCH_DECISIONS 256 /* from one ring before the next has its turn */

/*
 * After work the record thread rests before it arms its wake-up, so that a busy daemon pays for 500 wake-ups a second
 * and not for one a record. A ring holds what its producer can push in this time.
 */
#define NAP_MS 2

struct record_writer {
        struct record_ring **rings;
        unsigned producers;
        struct wakeup wakeup;
        pthread_t thread;
        bool started;
        atomic_bool stopping;
        atomic_bool wants_starts;
        char instance[FORMATTER_INSTANCE_SIZE];
        char host_name[FORMATTER_HOST_NAME_SIZE];

        /* Handing a new table to the record thread: it takes next, sets it to NULL and signals. */
        pthread_mutex_t lock;
        pthread_cond_t taken;
        struct sink_table *next;

        /* the making thread's */
        struct sink_table *table;
        struct sink **closing; /* stopped, their threads not ended yet */
        size_t closing_count;
        uint64_t closed_lost; /* of sinks that are gone */

        /* the record thread's */
        struct sink_table *current;
};

/* Returns whether the ring held anything. */
static bool drain_ring(struct sink_table *table, struct record_ring *ring, uint64_t now_ms)
{
        for (size_t taken = 0; taken < BATCH_DECISIONS; taken++) {
                struct record_ring_lost lost;
                const struct decision *decision = record_ring_peek(ring, &lost);

                sink_table_deliver_lost(table, &lost);
                if (decision == NULL)
                        return taken > 0;
                sink_table_deliver(table, decision, now_ms);
                record_ring_drop(ring);
        }
        return true;
}

static bool drain_rings(struct record_writer *writer)
{
        struct sink_table *table = writer->current;
        uint64_t now_ms = clock_monotonic_ms();
        bool any = false;

        for (unsigned i = 0; i < writer->producers; i++)
                any = drain_ring(table, writer->rings[i], now_ms) || any;
        sink_table_run_timers(table, now_ms);
        sink_table_wake(table);
        return any;
}

static void take_next_table(struct record_writer *writer)
{
        pthread_mutex_lock(&writer->lock);
        if (writer->next != NULL) {
                /* Windows end with their table: the next one may have others. */
                sink_table_end_windows(writer->current, clock_monotonic_ms());
                sink_table_take_over(writer->next, writer->current);
                writer->current = writer->next;
                writer->next = NULL;
                pthread_cond_signal(&writer->taken);
        }
        pthread_mutex_unlock(&writer->lock);
}

static bool rings_are_empty(const struct record_writer *writer)
{
        for (unsigned i = 0; i < writer->producers; i++)
                if (!record_ring_empty(writer->rings[i]))
                        return false;
        return true;
}

/* -1: nothing is due before another decision comes. */
static int next_timeout_ms(const struct record_writer *writer)
{
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t deadline_ms = sink_table_deadline_ms(writer->current, now_ms);

        if (deadline_ms == UINT64_MAX)
                return -1;
        return deadline_ms - now_ms < INT_MAX ? (int)(deadline_ms - now_ms) : INT_MAX;
}

static void sleep_until_needed(struct record_writer *writer)
{
        wakeup_prepare(&writer->wakeup);
        if (rings_are_empty(writer))
                wakeup_wait(&writer->wakeup, -1, 0, next_timeout_ms(writer));
        else
                wakeup_cancel(&writer->wakeup);
}

static void *run(void *argument)
{
        struct record_writer *writer = argument;

        for (;;) {
                /* Read first: everything pushed before the stop is then found by the drain that follows. */
                bool stopping = atomic_load(&writer->stopping);

                take_next_table(writer);
                if (drain_rings(writer)) {
                        if (!stopping && rings_are_empty(writer))
                                (void)poll(NULL, 0, NAP_MS);
                        continue;
                }
                if (stopping)
                        break;
                sleep_until_needed(writer);
        }
        sink_table_end_windows(writer->current, clock_monotonic_ms());
        sink_table_wake(writer->current);
        return NULL;
}

void record_writer_push(struct record_writer *writer, unsigned producer, const struct decision *decision)
{
        assert(producer < writer->producers);
        if (record_ring_push(writer->rings[producer], decision))
                wakeup_wake(&writer->wakeup);
}

static void draw_instance(char instance[FORMATTER_INSTANCE_SIZE])
{
        uint64_t high = hash_random();
        uint64_t low = hash_random();

        snprintf(instance, FORMATTER_INSTANCE_SIZE, "%016" PRIx64 "%016" PRIx64, high, low);
}

static bool holds_sink(const struct sink_table *table, const struct sink *sink)
{
        for (size_t i = 0; i < sink_table_count(table); i++)
                if (sink_table_sink(table, i) == sink)
                        return true;
        return false;
}

/* The sink of table that config describes and that taken_by does not have yet; NULL: none. */
static struct sink *find_sink(const struct sink_table *table, const struct config_sink *config,
                              const struct syslog_target *target, const struct sink_table *taken_by)
{
        for (size_t i = 0; i < sink_table_count(table); i++) {
                struct sink *sink = sink_table_sink(table, i);
                if (sink_matches(sink, config, target) && !holds_sink(taken_by, sink))
                        return sink;
        }
        return NULL;
}

static bool is_described_again(const struct sink_table *table, const struct config_sink *config,
                               const struct syslog_target *target)
{
        for (size_t i = 0; i < sink_table_count(table); i++)
                if (sink_matches(sink_table_sink(table, i), config, target))
                        return true;
        return false;
}

/*
 * A sink that begins later than the daemon, or beside another one on the same file, has an instance of its own: its seq
 * starts at 1 again, and (instance, seq) must stay unique for who reads the file.
 */
static int start_sink(const struct record_writer *writer, const struct config_sink *config,
                      struct syslog_target *target, const struct sink_table *table, char *error, size_t error_size,
                      struct sink **ret)
{
        char instance[FORMATTER_INSTANCE_SIZE];

        if (writer->started || is_described_again(table, config, target))
                draw_instance(instance);
        else
                memcpy(instance, writer->instance, sizeof(instance));
        return sink_start(config, target, instance, error, error_size, ret);
}

/* Stops a sink, of which reserve_closing has allowed for, and has its thread end when it has written what it has. */
static void close_sink(struct record_writer *writer, struct sink *sink)
{
        sink_stop(sink, clock_monotonic_ms() + DRAIN_MS);
        writer->closing[writer->closing_count++] = sink;
}

/* Appends the sink for this description to table: the running one, or a new one. */
static int add_described_sink(struct record_writer *writer, const struct config_sink *config,
                              struct syslog_target *target, struct sink_table *table, char *error, size_t error_size)
{
        struct sink *running = find_sink(writer->table, config, target, table);
        struct sink *sink = running;
        int r = 0;

        if (running != NULL)
                sink_offer_target(running, target);
        else
                r = start_sink(writer, config, target, table, error, error_size, &sink);
        if (r < 0)
                return r;
        r = sink_table_add(table, config, writer->host_name, sink);
        if (r < 0) {
                snprintf(error, error_size, "logging: %s", strerror(-r));
                if (running == NULL)
                        close_sink(writer, sink);
        }
        return r;
}

static int add_sink(struct record_writer *writer, const struct config *config, size_t index, struct sink_table *table,
                    char *error, size_t error_size)
{
        const struct config_sink *sink = &config->sinks[index];
        struct syslog_target *target = NULL;
        int r = sink->kind == CONFIG_SINK_SYSLOG ? syslog_target_new(config, sink, &target) : 0;

        if (r < 0)
                snprintf(error, error_size, "logging: %s", strerror(-r));
        else
                r = add_described_sink(writer, sink, target, table, error, error_size);
        syslog_target_unref(target);
        return r;
}

/* Stopped sinks whose threads have ended by now, or end within timeout_ms, are freed. */
static void reap_closing(struct record_writer *writer, int timeout_ms)
{
        uint64_t deadline_ms = clock_monotonic_ms() + (uint64_t)timeout_ms;
        size_t kept = 0;

        for (size_t i = 0; i < writer->closing_count; i++) {
                struct sink *sink = writer->closing[i];
                uint64_t now_ms = clock_monotonic_ms();

                if (sink_finish(sink, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0, &writer->closed_lost))
                        continue;
                writer->closing[kept++] = sink;
        }
        writer->closing_count = kept;
}

/* Room for count more, so that closing them later cannot fail. */
static int reserve_closing(struct record_writer *writer, size_t count)
{
        struct sink **closing = reallocarray(writer->closing, writer->closing_count + count + 1, sizeof(*closing));

        if (closing == NULL)
                return -ENOMEM;
        writer->closing = closing;
        return 0;
}

/* Stops every sink of table that is not in kept (NULL: all) and frees the table. */
static void close_table(struct record_writer *writer, struct sink_table *table, const struct sink_table *kept)
{
        for (size_t i = 0; i < sink_table_count(table); i++)
                if (kept == NULL || !holds_sink(kept, sink_table_sink(table, i)))
                        close_sink(writer, sink_table_sink(table, i));
        sink_table_free(table);
}

static void hand_over(struct record_writer *writer, struct sink_table *table)
{
        pthread_mutex_lock(&writer->lock);
        writer->next = table;
        wakeup_force(&writer->wakeup);
        while (writer->next != NULL)
                pthread_cond_wait(&writer->taken, &writer->lock);
        pthread_mutex_unlock(&writer->lock);
}

/* The table for config, with running sinks of the present one where they match. */
static int build_table(struct record_writer *writer, const struct config *config, char *error, size_t error_size,
                       struct sink_table **ret)
{
        struct sink_table *table = sink_table_new(config->sink_count);
        int r = -ENOMEM;

        /* Either the old table's sinks or the new one's will be closed, in the worst case all of them. */
        if (table == NULL || reserve_closing(writer, config->sink_count + sink_table_count(writer->table)) < 0) {
                snprintf(error, error_size, "logging: %s", strerror(ENOMEM));
                sink_table_free(table);
                return r;
        }
        for (size_t i = 0; i < config->sink_count; i++) {
                r = add_sink(writer, config, i, table, error, error_size);
                if (r < 0) {
                        close_table(writer, table, writer->table);
                        return r;
                }
        }
        *ret = table;
        return 0;
}

static void note_wants(struct record_writer *writer, const struct config *config)
{
        bool wants_starts = false;

        for (size_t i = 0; i < config->sink_count; i++)
                wants_starts = wants_starts || (config->sinks[i].takes_allow && config->sinks[i].allow_at_start);
        atomic_store(&writer->wants_starts, wants_starts);
}

bool record_writer_wants_starts(const struct record_writer *writer)
{
        return atomic_load_explicit(&writer->wants_starts, memory_order_relaxed);
}

int record_writer_reload(struct record_writer *writer, const struct config *config, char *error, size_t error_size)
{
        struct sink_table *old = writer->table;
        struct sink_table *table;

        reap_closing(writer, 0);
        int r = build_table(writer, config, error, error_size, &table);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sink_table_count(table); i++)
                sink_apply(sink_table_sink(table, i), &config->sinks[i]);
        hand_over(writer, table);
        note_wants(writer, config);
        writer->table = table;
        close_table(writer, old, table);
        return 0;
}

static int make_rings(struct record_writer *writer, unsigned producers)
{
        writer->rings = calloc(producers + 1, sizeof(*writer->rings));
        if (writer->rings == NULL)
                return -ENOMEM;
        for (; writer->producers < producers; writer->producers++) {
                writer->rings[writer->producers] = record_ring_new(RECORD_RING_DEFAULT_SIZE);
                if (writer->rings[writer->producers] == NULL)
                        return -ENOMEM;
        }
        return 0;
}

/* Everything but the thread. */
static int prepare(struct record_writer *writer, const struct config *config, unsigned producers, char *error,
                   size_t error_size)
{
        struct sink_table *table;
        int r;

        draw_instance(writer->instance);
        if (gethostname(writer->host_name, sizeof(writer->host_name)) == -1)
                writer->host_name[0] = '\0';
        writer->host_name[sizeof(writer->host_name) - 1] = '\0';
        r = make_rings(writer, producers);
        if (r == 0)
                r = wakeup_open(&writer->wakeup);
        if (r == 0 && (writer->table = sink_table_new(0)) == NULL)
                r = -ENOMEM;
        if (r < 0) {
                snprintf(error, error_size, "logging: %s", strerror(-r));
                return r;
        }
        r = build_table(writer, config, error, error_size, &table);
        if (r < 0)
                return r;
        sink_table_free(writer->table);
        writer->table = table;
        writer->current = table;
        note_wants(writer, config);
        return 0;
}

int record_writer_new(const struct config *config, unsigned producers, char *error, size_t error_size,
                      struct record_writer **ret)
{
        struct record_writer *writer = calloc(1, sizeof(*writer));
        int r;

        if (writer == NULL) {
                snprintf(error, error_size, "logging: %s", strerror(ENOMEM));
                return -ENOMEM;
        }
        writer->wakeup.fd = -1;
        pthread_mutex_init(&writer->lock, NULL);
        pthread_cond_init(&writer->taken, NULL);
        r = prepare(writer, config, producers, error, error_size);
        if (r == 0) {
                r = thread_start("records", run, writer, &writer->thread);
                writer->started = r == 0;
                if (r < 0)
                        snprintf(error, error_size, "logging: cannot start a thread: %s", strerror(-r));
        }
        if (r < 0) {
                record_writer_free(writer);
                return r;
        }
        *ret = writer;
        return 0;
}

static void stop_thread(struct record_writer *writer)
{
        if (!writer->started)
                return;
        atomic_store(&writer->stopping, true);
        wakeup_force(&writer->wakeup);
        pthread_join(writer->thread, NULL);
}

void record_writer_free(struct record_writer *writer)
{
        if (writer == NULL)
                return;
        stop_thread(writer);
        if (writer->table != NULL)
                close_table(writer, writer->table, NULL);
        /* A thread that hangs inside the kernel keeps its sink; it shares nothing with what is freed here. */
        reap_closing(writer, DRAIN_MS + 500);
        free(writer->closing);
        for (unsigned i = 0; i < writer->producers; i++)
                record_ring_free(writer->rings[i]);
        free(writer->rings);
        wakeup_close(&writer->wakeup);
        pthread_cond_destroy(&writer->taken);
        pthread_mutex_destroy(&writer->lock);
        free(writer);
}

void record_writer_reopen(struct record_writer *writer)
{
        for (size_t i = 0; i < sink_table_count(writer->table); i++)
                sink_reopen(sink_table_sink(writer->table, i));
}

uint64_t record_writer_lost(const struct record_writer *writer)
{
        uint64_t lost = writer->closed_lost;

        for (size_t i = 0; i < sink_table_count(writer->table); i++)
                lost += sink_lost(sink_table_sink(writer->table, i));
        for (size_t i = 0; i < writer->closing_count; i++)
                lost += sink_lost(writer->closing[i]);
        return lost;
}

size_t record_writer_sink_count(const struct record_writer *writer)
{
        return sink_table_count(writer->table);
}

struct record_writer_sink record_writer_sink(const struct record_writer *writer, size_t index)
{
        const struct sink *sink = sink_table_sink(writer->table, index);

        const struct sink_output_figures output = sink_output_figures(sink);

        return (struct record_writer_sink){
                .name = sink_name(sink),
                .written = sink_written(sink),
                .lost = sink_lost(sink),
                .queued = sink_queued(sink),
                .spooled_bytes = output.spooled_bytes,
                .connections = output.connections,
        };
}
