/*
 * What a record costs: nanoseconds in the thread that pushes it, microseconds of CPU behind that for each format, what it
 * costs instead to count a denial that repeats itself (one kind, as many as the table holds, and one more than that), and
 * memory. What the sinks cost is in bench_sinks.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "records/denial_window.h"
#include "records/formatter.h"
#include "records/record_ring.h"
#include "records/record_writer.h"
#include "records/sink_queue.h"
#include "typical_decision.h"

#define ROUNDS 200000
#define WAKE_UPS 200
#define WAKE_UP_PAUSE_MS 5 /* longer than the record thread stays awake */
#define BURST 2048         /* half a ring, so that nothing is lost */

static uint64_t clock_ns(clockid_t clock)
{
        struct timespec now;

        clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The body, which is written once for all sinks of a style, and the stamp that each sink puts into it. */
static void bench_format(const char *name, enum config_format format, bool has_syslog_header,
                         const struct decision *decision)
{
        const struct formatter_style style = { .format = format,
                                               .has_syslog_header = has_syslog_header,
                                               .facility = 16,
                                               .host_name = "nva1",
                                               .resource_id = "" };
        const struct formatter_stamp stamp = { .seq = 4711, .instance = "8f14e45fceea167a5a36dedd4bea2543" };
        static struct formatter_body body;
        static char record[FORMATTER_RECORD_SIZE];
        uint64_t before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        size_t length = 0;

        for (unsigned i = 0; i < ROUNDS; i++)
                formatter_write_body(&style, decision, &body);
        uint64_t between = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; i < ROUNDS; i++)
                length = formatter_complete(format, &stamp, body.bytes, body.length, body.stamp_at, record);
        uint64_t after = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        printf("format %-14s %6.2f us a record, %4.2f us for each sink, %zu bytes\n", name,
               (double)(between - before) / ROUNDS / 1000, (double)(after - between) / ROUNDS / 1000, length);
}

/* The ring alone: no wake-up, and the reader in the same thread, so that nothing else is measured. */
static void bench_ring(const struct decision *decision)
{
        struct record_ring *ring = record_ring_new(RECORD_RING_DEFAULT_SIZE);
        struct record_ring_lost lost;
        uint64_t spent = 0;

        if (ring == NULL)
                abort();
        for (unsigned done = 0; done < ROUNDS; done += RECORD_RING_DEFAULT_SIZE) {
                uint64_t before = clock_ns(CLOCK_MONOTONIC);
                for (unsigned i = 0; i < RECORD_RING_DEFAULT_SIZE; i++)
                        (void)record_ring_push(ring, decision);
                spent += clock_ns(CLOCK_MONOTONIC) - before;
                while (record_ring_peek(ring, &lost) != NULL)
                        record_ring_drop(ring);
        }
        unsigned pushes = (ROUNDS + RECORD_RING_DEFAULT_SIZE - 1) / RECORD_RING_DEFAULT_SIZE * RECORD_RING_DEFAULT_SIZE;
        printf("push, ring only     %6.1f ns (%zu bytes copied)\n", (double)spent / pushes, sizeof(*decision));
        record_ring_free(ring);
}

static void on_summary(const struct decision *summary, void *context)
{
        uint64_t *counted = context;

        *counted += summary->count;
}

/* Denials of as many kinds as the table holds, in turn: each look-up finds its kind cold, as far as the caches let it. */
static void bench_denial_window(const char *name, unsigned kinds)
{
        struct decision decision = typical_decision();
        struct denial_window *window;
        uint64_t counted = 0;
        uint64_t passed = 0;

        decision.action = POLICY_DENY;
        if (denial_window_new(DENIAL_WINDOW_DEFAULT_KINDS, 10000, on_summary, &counted, &window) < 0)
                abort();
        uint64_t before = clock_ns(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < ROUNDS * 5; i++) {
                decision.destination.port = (uint16_t)(i % kinds);
                passed += denial_window_note(window, &decision, 1) == DENIAL_WINDOW_PASS;
        }
        uint64_t spent = clock_ns(CLOCK_MONOTONIC) - before;
        denial_window_flush_all(window, 2);
        if (passed + counted != ROUNDS * 5)
                abort();
        printf("denial, %-11s %6.1f ns (%.1f %% written)\n", name, (double)spent / (ROUNDS * 5),
               (double)passed * 100 / (ROUNDS * 5));
        denial_window_free(window);
}

static struct record_writer *start_writer(char *path)
{
        struct config_sink sink = { .kind = CONFIG_SINK_FILE,
                                    .path.text = path,
                                    .takes_deny = true,
                                    .takes_allow = true,
                                    .allow_at_end = true,
                                    .queue = 65536 };
        struct config config = { .sinks = &sink, .sink_count = 1 };
        struct record_writer *writer;
        char error[256];

        if (record_writer_new(&config, 1, error, sizeof(error), &writer) < 0) {
                fprintf(stderr, "%s\n", error);
                exit(1);
        }
        return writer;
}

/* The dearest push: the record thread sleeps, and each decision wakes it. */
static void bench_wake_up(const struct decision *decision, char *path)
{
        struct record_writer *writer = start_writer(path);
        uint64_t spent = 0;

        for (unsigned i = 0; i < WAKE_UPS; i++) {
                (void)poll(NULL, 0, WAKE_UP_PAUSE_MS);
                uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
                record_writer_push(writer, 0, decision);
                spent += clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
        }
        printf("push, waking up     %6.1f ns of the pushing thread's CPU\n", (double)spent / WAKE_UPS);
        record_writer_free(writer);
}

/* As a worker sees it while many records come: CPU time of this thread, wake-ups included. */
static void bench_burst(const struct decision *decision, char *path)
{
        struct record_writer *writer = start_writer(path);
        uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);

        for (unsigned i = 0; i < BURST; i++)
                record_writer_push(writer, 0, decision);
        printf("push, one of a burst%6.1f ns of the pushing thread's CPU\n",
               (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - before) / BURST);
        record_writer_free(writer);
        unlink(path);
}

int main(void)
{
        struct decision decision = typical_decision();
        char path[] = "/tmp/bench-records-XXXXXX";
        struct rusage usage;
        int fd = mkstemp(path);

        if (fd == -1)
                return 1;
        close(fd);
        bench_ring(&decision);
        bench_format("json", CONFIG_FORMAT_JSON, false, &decision);
        bench_format("journal", CONFIG_FORMAT_JOURNAL, false, &decision);
        bench_format("syslog", CONFIG_FORMAT_SYSLOG, true, &decision);
        bench_format("cef", CONFIG_FORMAT_CEF, false, &decision);
        bench_format("cef in syslog", CONFIG_FORMAT_CEF, true, &decision);
        bench_format("azure", CONFIG_FORMAT_AZURE, false, &decision);
        bench_denial_window("one kind", 1);
        bench_denial_window("4096 kinds", DENIAL_WINDOW_DEFAULT_KINDS);
        bench_denial_window("full table", DENIAL_WINDOW_DEFAULT_KINDS + 1);
        bench_wake_up(&decision, path);
        bench_burst(&decision, path);
        getrusage(RUSAGE_SELF, &usage);
        printf("memory              at most %.1f MB a producer, %u MB a sink; this process took %.1f MB\n",
               (double)RECORD_RING_DEFAULT_SIZE * (sizeof(decision) + sizeof(struct record_ring_lost)) / 1e6,
               SINK_QUEUE_MAX_BYTES >> 20, (double)usage.ru_maxrss / 1000);
        return 0;
}
