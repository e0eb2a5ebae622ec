#include "records/sink_stream.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "records/io_wait.h"
#include "records/spool.h"
#include "records/syslog_connection.h"

#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 30000
#define STEADY_MS 60000    /* a connection that held so long was a good one */
#define SLOW_MS 10000      /* one that held so long and did not get to the end of a replay has to get on */
#define ERROR_LOG_MS 60000 /* at most one line about a server that cannot be reached in this time */
#define FINISH_MS 2000     /* for a server to end a connection that we have ended */
#define BATCH_BYTES (128 * 1024)
#define LENGTH_SIZE 8 /* "65536 " */
#define ERROR_SIZE 256
#define MIB (1u << 20)

static_assert(BATCH_BYTES >= SPOOL_RECORD_MAX_LENGTH + LENGTH_SIZE, "a record fits a batch");

struct sink_stream {
        struct spool *spool; /* appended to by the sink's thread, read by ours */
        struct wakeup *room; /* borrowed: the sink's */
        struct io_wait wait;
        pthread_t thread;
        bool started;
        struct syslog_target *latest;                /* the opening thread's; reference held */
        _Atomic(struct syslog_target *) next_target; /* reference held; NULL: none that was not taken yet */
        atomic_bool is_full;                         /* the sink waits for room */
        atomic_bool disk_is_full;                    /* for what the sink wrote last */
        atomic_bool connected;
        atomic_uint_fast64_t connections;

        /* our thread's */
        struct syslog_target *target;         /* reference held */
        struct syslog_connection *connection; /* NULL: none */
        uint64_t connected_ms;
        uint64_t retry_ms; /* how long to wait before the next attempt */
        uint64_t error_logged_ms;
        uint64_t damaged_bytes; /* that were logged */
        bool failing;           /* an error was logged, and no connection was made since */
        bool tried_at_end;
        char *batch;
};

/* What goes wrong is told at once and then once a minute. */
static void log_failure(struct sink_stream *stream, const char *error)
{
        uint64_t now_ms = clock_monotonic_ms();

        if (stream->error_logged_ms != 0 && now_ms - stream->error_logged_ms < ERROR_LOG_MS)
                return;
        stream->error_logged_ms = now_ms;
        stream->failing = true;
        log_error("logging: %s: %s; its records wait in the spool, %" PRIu64 " bytes so far", stream->target->name,
                  error, spool_waiting_bytes(stream->spool));
}

static void log_success(struct sink_stream *stream)
{
        if (!stream->failing)
                return;
        stream->failing = false;
        stream->error_logged_ms = 0;
        log_info("logging: %s: connected again, %" PRIu64 " bytes wait in the spool", stream->target->name,
                 spool_waiting_bytes(stream->spool));
}

static void log_damage(struct sink_stream *stream)
{
        uint64_t damaged_bytes = spool_damaged_bytes(stream->spool);

        if (damaged_bytes == stream->damaged_bytes)
                return;
        log_error("logging: %s: the spool is damaged, %" PRIu64
                  " bytes of it were passed over: records are missing where "
                  "seq has a gap",
                  stream->target->name, damaged_bytes - stream->damaged_bytes);
        stream->damaged_bytes = damaged_bytes;
}

static void disconnect(struct sink_stream *stream)
{
        if (clock_monotonic_ms() - stream->connected_ms >= SLOW_MS)
                spool_get_on(stream->spool);
        syslog_connection_close(stream->connection);
        stream->connection = NULL;
        atomic_store(&stream->connected, false);
        spool_rewind(stream->spool);
}

/* Doubles from one attempt to the next; a fifth of it is left to chance, so that many senders do not come at once. */
static void wait_to_retry(struct sink_stream *stream)
{
        uint64_t spread = stream->retry_ms / 5;
        uint64_t delay_ms = stream->retry_ms - spread + hash_random() % (2 * spread + 1);

        /* Whatever ends it, the next step is to look at everything anew. */
        (void)!io_wait_for(&stream->wait, -1, 0, clock_monotonic_ms() + delay_ms);
        stream->retry_ms = stream->retry_ms * 2 < RETRY_MAX_MS ? stream->retry_ms * 2 : RETRY_MAX_MS;
}

static void on_broken(struct sink_stream *stream, int r, const char *error)
{
        bool was_steady = stream->connection != NULL && clock_monotonic_ms() - stream->connected_ms >= STEADY_MS;

        if (stream->connection != NULL)
                disconnect(stream);
        if (r == -ECANCELED)
                return;
        if (was_steady)
                stream->retry_ms = RETRY_MIN_MS;
        if (!io_wait_is_over(&stream->wait))
                log_failure(stream, error);
        wait_to_retry(stream);
}

static void connect_now(struct sink_stream *stream)
{
        char error[ERROR_SIZE] = "";
        int r = syslog_connection_open(stream->target, &stream->wait, error, sizeof(error), &stream->connection);

        if (r < 0) {
                on_broken(stream, r, error);
                return;
        }
        stream->connected_ms = clock_monotonic_ms();
        atomic_store(&stream->connected, true);
        atomic_fetch_add(&stream->connections, 1);
        log_success(stream);
}

/* Frames as many records as fit; returns the bytes. */
static size_t fill_batch(struct sink_stream *stream, int *reterr)
{
        struct spool_record record;
        size_t used = 0;

        *reterr = 0;
        while (BATCH_BYTES - used >= SPOOL_RECORD_MAX_LENGTH + LENGTH_SIZE &&
               spool_next(stream->spool, &record, reterr)) {
                used += (size_t)snprintf(stream->batch + used, LENGTH_SIZE, "%zu ", record.length);
                memcpy(stream->batch + used, record.bytes, record.length);
                used += record.length;
        }
        return used;
}

static void note_room(struct sink_stream *stream)
{
        if (atomic_exchange(&stream->is_full, false))
                wakeup_force(stream->room);
}

/* What was sent on this connection gives way: what is new would be lost for certain. The sink tries again by itself. */
static void make_room_on_disk(struct sink_stream *stream)
{
        if (atomic_exchange(&stream->disk_is_full, false))
                spool_confirm(stream->spool);
}

/* Sends a batch. Returns whether there was one. */
static bool send_batch(struct sink_stream *stream)
{
        char error[ERROR_SIZE] = "";
        int r = syslog_connection_check(stream->connection, error, sizeof(error));
        int spool_error = 0;
        size_t length = 0;

        if (r == 0)
                length = fill_batch(stream, &spool_error);
        log_damage(stream);
        if (r == 0 && length > 0)
                r = syslog_connection_send(stream->connection, &stream->wait, stream->batch, length, error,
                                           sizeof(error));
        if (r < 0) {
                on_broken(stream, r, error);
                return true;
        }
        spool_commit(stream->spool);
        make_room_on_disk(stream);
        note_room(stream);
        if (spool_error < 0) {
                log_failure(stream, strerror(-spool_error));
                wait_to_retry(stream);
        }
        return length > 0;
}

static void wait_for_records(struct sink_stream *stream)
{
        struct wakeup *wakeup = &stream->wait.wakeup;

        wakeup_prepare(wakeup);
        if (spool_is_read(stream->spool) && !io_wait_is_stopping(&stream->wait) &&
            !atomic_load(&stream->wait.changed) && !atomic_load(&stream->disk_is_full))
                wakeup_wait(wakeup, syslog_connection_descriptor(stream->connection), POLLIN, -1);
        else
                wakeup_cancel(wakeup);
}

/* New settings are for the next connection, and end the present one where it does not serve them. */
static void take_target(struct sink_stream *stream)
{
        bool changed = io_wait_look(&stream->wait);

        if (changed && stream->connection != NULL)
                disconnect(stream);
        if (stream->connection != NULL)
                return;
        struct syslog_target *target = atomic_exchange(&stream->next_target, NULL);
        if (target == NULL)
                return;
        syslog_target_unref(stream->target);
        stream->target = target;
        stream->retry_ms = RETRY_MIN_MS;
        stream->error_logged_ms = 0;
}

/* What is on disk can wait for the next process; for what is in memory a server that is away is tried once more. */
static bool is_done(struct sink_stream *stream)
{
        if (!io_wait_is_stopping(&stream->wait))
                return false;
        if (io_wait_is_over(&stream->wait))
                return true;
        if (stream->connection != NULL)
                return spool_is_read(stream->spool);
        if (spool_is_on_disk(stream->spool) || spool_waiting_bytes(stream->spool) == 0 || stream->tried_at_end)
                return true;
        stream->tried_at_end = true;
        return false;
}

static void finish_connection(struct sink_stream *stream)
{
        if (stream->connection == NULL)
                return;
        if (spool_is_read(stream->spool) && syslog_connection_finish(stream->connection, &stream->wait, FINISH_MS))
                spool_confirm(stream->spool);
        syslog_connection_close(stream->connection);
        stream->connection = NULL;
        atomic_store(&stream->connected, false);
}

static void *run(void *argument)
{
        struct sink_stream *stream = argument;

        while (!is_done(stream)) {
                take_target(stream);
                if (stream->connection == NULL)
                        connect_now(stream);
                else if (!send_batch(stream))
                        wait_for_records(stream);
        }
        finish_connection(stream);
        return NULL;
}

static void stream_free(struct sink_stream *stream)
{
        spool_close(stream->spool);
        io_wait_close(&stream->wait);
        syslog_target_unref(atomic_load(&stream->next_target));
        syslog_target_unref(stream->target);
        syslog_target_unref(stream->latest);
        free(stream->batch);
        free(stream);
}

static void warn_of_small_disk(struct spool *spool, const char *directory)
{
        uint64_t missing_bytes = spool_missing_bytes(spool);

        if (missing_bytes > 0)
                log_warning("logging: %s: its disk has %" PRIu64
                            " MiB too little for all of spool_max: records are lost "
                            "once it is full: make room, or lower spool_max",
                            directory, (missing_bytes + MIB - 1) / MIB);
}

int sink_stream_open(struct syslog_target *target, const char *spool_directory, uint64_t spool_max_bytes,
                     struct wakeup *room, char *error, size_t error_size, struct sink_stream **ret)
{
        struct sink_stream *stream = calloc(1, sizeof(*stream));
        int r;

        snprintf(error, error_size, "%s", strerror(ENOMEM));
        if (stream == NULL)
                return -ENOMEM;
        stream->latest = syslog_target_ref(target);
        stream->target = syslog_target_ref(target);
        stream->room = room;
        stream->retry_ms = RETRY_MIN_MS;
        stream->batch = malloc(BATCH_BYTES);
        r = io_wait_open(&stream->wait);
        if (r == 0 && stream->batch == NULL)
                r = -ENOMEM;
        if (r == 0)
                r = spool_open(spool_directory, spool_directory != NULL ? spool_max_bytes : SINK_STREAM_MEMORY_BYTES,
                               error, error_size, &stream->spool);
        if (r == 0)
                r = thread_start("syslog", run, stream, &stream->thread);
        if (r < 0) {
                stream_free(stream);
                return r;
        }
        stream->started = true;
        warn_of_small_disk(stream->spool, spool_directory);
        *ret = stream;
        return 0;
}

void sink_stream_set_target(struct sink_stream *stream, struct syslog_target *target)
{
        bool serves = syslog_target_equals(stream->latest, target);

        syslog_target_unref(stream->latest);
        stream->latest = syslog_target_ref(target);
        syslog_target_unref(atomic_exchange(&stream->next_target, syslog_target_ref(target)));
        if (!serves)
                io_wait_change(&stream->wait);
}

struct sink_output_figures sink_stream_figures(struct sink_stream *stream)
{
        return (struct sink_output_figures){
                .spooled_bytes = spool_waiting_bytes(stream->spool),
                .connections = atomic_load(&stream->connections),
                /* One in memory is so small that a burst fills it. */
                .spool_used_percent = spool_is_on_disk(stream->spool) ? spool_used_percent(stream->spool) : 0,
        };
}

/* As output of a sink. */

static int output_put(void *output, const char *record, size_t length)
{
        struct sink_stream *stream = output;
        int r = spool_append(stream->spool, record, length);

        if (spool_is_disk_full(r)) {
                atomic_store(&stream->disk_is_full, true);
                wakeup_wake(&stream->wait.wakeup);
        }
        if (r != -EXFULL)
                return r;
        /* Room that is made before the flag is seen by the second try, room that is made after it is told. */
        atomic_store(&stream->is_full, true);
        r = spool_append(stream->spool, record, length);
        if (r == 0)
                atomic_store(&stream->is_full, false);
        return r;
}

static int output_flush(void *output)
{
        struct sink_stream *stream = output;
        int r = spool_flush(stream->spool);

        atomic_store(&stream->disk_is_full, spool_is_disk_full(r));
        wakeup_wake(&stream->wait.wakeup);
        return r;
}

static size_t output_pending(const void *output)
{
        const struct sink_stream *stream = output;

        return spool_unflushed(stream->spool);
}

static int output_descriptor(const void *output)
{
        (void)output;
        return -1;
}

static size_t output_finish(void *output, uint64_t deadline_ms)
{
        struct sink_stream *stream = output;
        bool on_disk = spool_is_on_disk(stream->spool);
        bool can_wait = on_disk && !atomic_load(&stream->connected);

        io_wait_stop(&stream->wait, can_wait ? clock_monotonic_ms() : deadline_ms);
        pthread_join(stream->thread, NULL);
        stream->started = false;
        uint64_t waiting_bytes = spool_waiting_bytes(stream->spool);
        if (on_disk && waiting_bytes > 0)
                log_info("logging: %s: %" PRIu64 " bytes wait in the spool for the next start", stream->target->name,
                         waiting_bytes);
        return on_disk ? 0 : spool_waiting_records(stream->spool);
}

static void output_set_target(void *output, struct syslog_target *target)
{
        sink_stream_set_target(output, target);
}

static void output_set_spool_max(void *output, uint64_t max_bytes)
{
        struct sink_stream *stream = output;

        if (spool_is_on_disk(stream->spool))
                spool_set_max_bytes(stream->spool, max_bytes);
}

static struct sink_output_figures output_figures(void *output)
{
        return sink_stream_figures(output);
}

static void output_close(void *output)
{
        struct sink_stream *stream = output;

        if (stream->started)
                (void)output_finish(stream, clock_monotonic_ms());
        stream_free(stream);
}

const struct sink_output_type sink_stream_output = {
        .put = output_put,
        .flush = output_flush,
        .pending = output_pending,
        .descriptor = output_descriptor,
        .finish = output_finish,
        .set_target = output_set_target,
        .set_spool_max = output_set_spool_max,
        .figures = output_figures,
        .close = output_close,
};
