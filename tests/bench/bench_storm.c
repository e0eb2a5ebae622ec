/*
 * A storm of denials, fed straight into a record ring at 200,000 a second for some seconds, while another producer (another
 * client's worker) pushes 1,000 a second: one client that repeats itself, and one that asks for another name each time.
 * Beside a sink that writes to a file stands one that nobody reads. What it costs: memory of the process, CPU of the record
 * thread and the sinks, the other producer's push, and what of its records is lost; without a storm, for comparison.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "records/record_writer.h"

#define SECONDS 5
#define STORM_PER_SECOND 200000
#define STORM_STEP_MS 5
#define OTHERS_PER_SECOND 1000
#define OTHERS_COUNT (SECONDS * OTHERS_PER_SECOND)

enum storm {
        STORM_NONE = 0,
        STORM_REPEATED, /* one kind */
        STORM_VARIED,   /* every one a kind of its own */
};

struct bench {
        struct record_writer *writer;
        enum storm storm;
        atomic_bool over;
        uint64_t pushed; /* of the storm */
        uint64_t storm_cpu_ns;
        uint32_t others_ns[OTHERS_COUNT];
};

static uint64_t clock_ns(clockid_t clock)
{
        struct timespec now;

        clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static long resident_kb(void)
{
        FILE *stream = fopen("/proc/self/statm", "re");
        long size;
        long resident;

        if (stream == NULL || fscanf(stream, "%ld %ld", &size, &resident) != 2)
                abort();
        fclose(stream);
        return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static struct decision denial(const char *client)
{
        struct decision decision = {
                .event = DECISION_EVENT_CONNECTION,
                .action = POLICY_DENY,
                .reason = REASON_NO_RULE,
                .listener = DECISION_LISTENER_TRANSPARENT,
                .protocol = DECISION_PROTOCOL_HTTPS,
                .cluster = "prod-weu",
                .connection_id = "c0ffee0123456789",
                .has_tls = true,
        };

        decision.time_us = clock_ns(CLOCK_REALTIME) / 1000;
        if (net_endpoint_parse(client, 0, &decision.client) < 0 || fqdn_from_text("denied.example", &decision.fqdn) < 0)
                abort();
        return decision;
}

static void push_step(struct bench *bench, struct decision *decision)
{
        char name[32];

        for (unsigned i = 0; i < STORM_PER_SECOND / 1000 * STORM_STEP_MS; i++, bench->pushed++) {
                if (bench->storm == STORM_VARIED) {
                        snprintf(name, sizeof(name), "n%llu.example", (unsigned long long)bench->pushed);
                        if (fqdn_from_text(name, &decision->fqdn) < 0)
                                abort();
                }
                record_writer_push(bench->writer, 0, decision);
        }
}

static void *rage(void *argument)
{
        struct bench *bench = argument;
        struct decision decision = denial("10.1.0.4:40222");
        uint64_t next_ns = clock_ns(CLOCK_MONOTONIC);

        while (!atomic_load(&bench->over)) {
                if (bench->storm != STORM_NONE)
                        push_step(bench, &decision);
                next_ns += STORM_STEP_MS * 1000000ull;
                while (clock_ns(CLOCK_MONOTONIC) < next_ns && !atomic_load(&bench->over))
                        (void)poll(NULL, 0, 1);
        }
        bench->storm_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        return NULL;
}

/* Allowed connections of another client, one each millisecond: each push timed. */
static void push_others(struct bench *bench)
{
        struct decision decision = denial("10.1.0.5:40222");

        decision.action = POLICY_ALLOW;
        decision.reason = REASON_COMPLETED;
        for (unsigned i = 0; i < OTHERS_COUNT; i++) {
                uint64_t before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
                record_writer_push(bench->writer, 1, &decision);
                bench->others_ns[i] = (uint32_t)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - before);
                (void)poll(NULL, 0, 1000 / OTHERS_PER_SECOND);
        }
}

static int compare(const void *a, const void *b)
{
        const uint32_t *one = a;
        const uint32_t *other = b;

        return (*one > *other) - (*one < *other);
}

static size_t count_lines(const char *path, const char *with)
{
        FILE *stream = fopen(path, "re");
        char line[8192];
        size_t count = 0;

        while (stream != NULL && fgets(line, sizeof(line), stream) != NULL)
                if (strstr(line, with) != NULL)
                        count++;
        if (stream != NULL)
                fclose(stream);
        return count;
}

static void report(const char *name, struct bench *bench, const char *path, long grown_kb, uint64_t cpu_ns,
                   uint64_t elapsed_ns)
{
        qsort(bench->others_ns, OTHERS_COUNT, sizeof(bench->others_ns[0]), compare);
        size_t kept = count_lines(path, "\"client_ip\":\"10.1.0.5\"");
        printf("%-9s %8.0f denials/s  %6ld KiB grown  %5.1f %% of a core for records  other client: push p50 %4u ns, "
               "p99 %5u ns, %zu of %u records kept\n",
               name, (double)bench->pushed * 1e9 / (double)elapsed_ns, grown_kb,
               (double)cpu_ns * 100 / (double)elapsed_ns, bench->others_ns[OTHERS_COUNT / 2],
               bench->others_ns[OTHERS_COUNT * 99 / 100], kept, OTHERS_COUNT);
}

static void run(const char *name, enum storm storm, char *path, char *fifo)
{
        struct config_sink sinks[] = {
                { .kind = CONFIG_SINK_FILE, .path.text = path, .takes_deny = true, .takes_allow = true },
                { .kind = CONFIG_SINK_FILE, .path.text = fifo, .takes_deny = true, .takes_allow = true },
        };
        struct config config = { .sinks = sinks, .sink_count = 2 };
        static struct bench bench;
        char error[256];
        pthread_t thread;

        memset(&bench, 0, sizeof(bench));
        bench.storm = storm;
        for (size_t i = 0; i < 2; i++) {
                sinks[i].allow_at_end = true;
                sinks[i].queue = 65536;
                sinks[i].summarize_ms = 10000;
        }
        if (truncate(path, 0) == -1 || record_writer_new(&config, 2, error, sizeof(error), &bench.writer) < 0)
                abort();
        long before_kb = resident_kb();
        uint64_t cpu_before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        uint64_t own_before = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        uint64_t started = clock_ns(CLOCK_MONOTONIC);
        if (pthread_create(&thread, NULL, rage, &bench) != 0)
                abort();
        push_others(&bench);
        atomic_store(&bench.over, true);
        pthread_join(thread, NULL);
        uint64_t elapsed_ns = clock_ns(CLOCK_MONOTONIC) - started;
        uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_before - bench.storm_cpu_ns -
                          (clock_ns(CLOCK_THREAD_CPUTIME_ID) - own_before);
        long grown_kb = resident_kb() - before_kb;
        record_writer_free(bench.writer);
        report(name, &bench, path, grown_kb, cpu_ns, elapsed_ns);
}

int main(void)
{
        char directory[] = "/tmp/bench-storm-XXXXXX";
        char path[64];
        char fifo[64];

        if (mkdtemp(directory) == NULL)
                return 1;
        snprintf(path, sizeof(path), "%s/records", directory);
        snprintf(fifo, sizeof(fifo), "%s/unread", directory);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd == -1 || mkfifo(fifo, 0600) == -1)
                return 1;
        close(fd);
        fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        run("no storm", STORM_NONE, path, fifo);
        run("repeated", STORM_REPEATED, path, fifo);
        run("varied", STORM_VARIED, path, fifo);
        close(fd);
        unlink(fifo);
        unlink(path);
        rmdir(directory);
        return 0;
}
