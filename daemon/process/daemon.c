#include "process/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/address_watch.h"
#include "process/admin_http.h"
#include "process/file_watch.h"
#include "process/forwarding.h"
#include "process/metrics.h"
#include "process/service_manager.h"
#include "process/worker.h"

#define ERROR_SIZE 512
#define DESCRIPTORS_PER_CONNECTION 2
#define MAIN_PRODUCERS 2         /* of records: the main thread's numbers behind the workers' */
#define DESCRIPTORS_RESERVED 384 /* long streams' pipes, sinks, the kernel's watches, files of a reload, admins */
#define DESCRIPTORS_RESERVED_PER_WORKER 128 /* listeners, sockets of two DNS clients under load */

enum daemon_signal {
        SIGNAL_RELOAD = 0,
        SIGNAL_TERMINATE,
        SIGNAL_INTERRUPT,
        SIGNAL_REOPEN,
        SIGNAL_COUNT, /* must be last */
};

struct daemon {
        const char *config_path; /* borrowed */
        struct event_base *base;
        struct event *signals[SIGNAL_COUNT];
        struct event *reload;
        struct event *worker_ended;
        struct event *watchdog;
        struct event *drain_deadline;
        struct snat_registry *registry;
        struct address_watch *address_watch;
        struct file_watch *tags_watch; /* of service_tags; NULL: not configured */
        struct connection_limits *limits;
        struct record_writer *records;
        struct forwarding *forwarding;
        struct admin_http *admin; /* NULL: not configured; likewise probe */
        struct admin_http *probe;
        struct generation *generation; /* the one in force; reference */
        uint64_t reload_failures;
        struct worker **workers;
        uint64_t *heartbeats; /* at the last watchdog check */
        unsigned worker_count;
        unsigned workers_ended;
        int ended_fd;
        bool draining;
        bool failed;
};

static const struct config *daemon_config(const struct daemon *daemon)
{
        return generation_config(daemon->generation);
}

/* Raises the descriptor limit to what the service manager allows and fits limits.connections to it. */
static void apply_limits(struct daemon *daemon)
{
        const struct config *config = daemon_config(daemon);
        struct rlimit limit = { 0 };
        size_t max_connections = config->max_connections;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = limit.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &limit); /* If refused, the next line reads the old one. */
        }
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
                size_t wanted = DESCRIPTORS_RESERVED + (size_t)config->workers * DESCRIPTORS_RESERVED_PER_WORKER;
                size_t reserved = limit.rlim_cur > 2 * wanted ? wanted : limit.rlim_cur / 2;
                size_t possible = (limit.rlim_cur - reserved) / DESCRIPTORS_PER_CONNECTION;
                if (possible < max_connections) {
                        log_info("limits.connections lowered from %zu to %zu: RLIMIT_NOFILE is %zu", max_connections,
                                 possible, (size_t)limit.rlim_cur);
                        max_connections = possible;
                }
        }
        connection_limits_set(daemon->limits, max_connections, config->max_connections_per_client);
}

static void note_absent_address(const struct snat_address_use *use, void *context)
{
        struct daemon *daemon = context;
        char text[NET_ADDRESS_TEXT_SIZE];
        bool present = address_watch_has(daemon->address_watch, &use->address);

        if (!present)
                log_warning("snat pool '%s': %s is on no network interface, leaving it out until it appears", use->pool,
                            net_address_format(&use->address, text));
        snat_registry_set_present(daemon->registry, &use->address, present);
}

static void on_address_change(const struct net_address *address, bool present, void *context)
{
        struct daemon *daemon = context;

        snat_registry_set_present(daemon->registry, address, present);
        forwarding_follow_addresses(daemon->forwarding);
}

static bool same_listener(const struct config_listener *a, const struct config_listener *b)
{
        return a->enabled == b->enabled && (!a->enabled || net_endpoint_equal(&a->endpoint, &b->endpoint));
}

/* What a running daemon cannot change: NULL, or the setting's name. */
static const char *fixed_setting_changed(const struct config *old, const struct config *new)
{
        if (!same_listener(&old->transparent, &new->transparent))
                return "listen.transparent";
        if (!same_listener(&old->proxy, &new->proxy))
                return "listen.proxy";
        if (!same_listener(&old->dns, &new->dns))
                return "listen.dns";
        if (!same_listener(&old->admin, &new->admin))
                return "listen.admin";
        if (!same_listener(&old->probe, &new->probe))
                return "listen.probe";
        if (old->workers != new->workers)
                return "workers";
        return NULL;
}

/* Brings a loaded policy into force, or leaves everything as it was. 0 or -Exxx with a sentence in error. */
static int daemon_change_policy(struct daemon *daemon, struct policy *policy, char *error, size_t error_size)
{
        const char *fixed = fixed_setting_changed(daemon_config(daemon), policy_config(policy));
        struct generation *generation;

        if (fixed != NULL) {
                snprintf(error, error_size, "%s changed, which needs a restart", fixed);
                policy_unref(policy);
                return -EBUSY;
        }
        int r = generation_new(generation_number(daemon->generation) + 1, policy, daemon->registry, &generation);
        if (r < 0) {
                snprintf(error, error_size, "%s", strerror(-r));
                policy_unref(policy);
                return r;
        }
        r = forwarding_apply(daemon->forwarding, policy, error, error_size);
        if (r == 0) {
                r = record_writer_reload(daemon->records, policy_config(policy), error, error_size);
                char again[ERROR_SIZE];
                if (r < 0 && forwarding_apply(daemon->forwarding, generation_policy(daemon->generation), again,
                                              sizeof(again)) < 0)
                        log_error("cannot put the former kernel rules back: %s", again);
        }
        if (r < 0) {
                generation_unref(generation);
                return r;
        }
        forwarding_use(daemon->forwarding, generation);
        generation_unref(daemon->generation);
        daemon->generation = generation;
        for (unsigned i = 0; i < daemon->worker_count; i++)
                worker_post_generation(daemon->workers[i], generation);
        return 0;
}

static void log_diagnostics(const struct diagnostics *diagnostics)
{
        for (size_t i = 0; i < diagnostics_line_count(diagnostics); i++)
                log_warning("%s", diagnostics_line(diagnostics, i));
}

static void daemon_reload(struct daemon *daemon)
{
        struct diagnostics *diagnostics = diagnostics_new();
        char error[ERROR_SIZE] = "out of memory";
        struct policy *policy;
        int r = -ENOMEM;

        if (diagnostics != NULL) {
                r = policy_read(daemon->config_path, diagnostics, &policy);
                log_diagnostics(diagnostics);
                if (r == -EINVAL)
                        snprintf(error, sizeof(error), "%zu errors in the configuration",
                                 diagnostics_error_count(diagnostics));
        }
        diagnostics_free(diagnostics);
        if (r == 0)
                r = daemon_change_policy(daemon, policy, error, sizeof(error));
        if (r < 0) {
                daemon->reload_failures++;
                log_error("reload failed: %s, keeping the running configuration", error);
                return;
        }
        apply_limits(daemon);
        snat_pools_each_address(generation_pools(daemon->generation), note_absent_address, daemon);
        log_info("reloaded: generation %llu, %zu rules", (unsigned long long)generation_number(daemon->generation),
                 policy_rule_count(generation_policy(daemon->generation)));
}

static void on_tags_change(void *context);

/* A file of service tags comes about once a week, and takes effect like any other change of the policy. */
static void daemon_watch_tags(struct daemon *daemon)
{
        const char *path = daemon_config(daemon)->service_tags.text;

        if (daemon->tags_watch != NULL && path != NULL && file_watch_is_of(daemon->tags_watch, path))
                return; /* A change while the policy was being read is still noticed. */
        file_watch_free(daemon->tags_watch);
        daemon->tags_watch = NULL;
        if (path == NULL)
                return;
        int r = file_watch_new(daemon->base, path, FILE_WATCH_SETTLE_MS, on_tags_change, daemon, &daemon->tags_watch);
        if (r < 0)
                log_warning("service_tags: changes of %s are not noticed: %s; reload after changing it", path,
                            strerror(-r));
}

static void daemon_reload_and_tell(struct daemon *daemon)
{
        if (daemon->draining) { /* What still runs is judged anew; to the service manager we stay a service that stops. */
                daemon_reload(daemon);
                return;
        }
        service_manager_reloading();
        daemon_reload(daemon);
        daemon_watch_tags(daemon);
        service_manager_ready("serving");
}

static void on_tags_change(void *context)
{
        struct daemon *daemon = context;

        log_info("service_tags: %s has changed, reloading", daemon_config(daemon)->service_tags.text);
        daemon_reload_and_tell(daemon);
}

static void on_reload(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        daemon_reload_and_tell(context);
}

/* libevent calls once for each signal; those that came while one reload ran are one further reload. */
static void on_reload_signal(evutil_socket_t signal_number, short what, void *context)
{
        struct daemon *daemon = context;

        (void)signal_number;
        (void)what;
        event_active(daemon->reload, EV_TIMEOUT, 0);
}

static void on_reopen_signal(evutil_socket_t signal_number, short what, void *context)
{
        struct daemon *daemon = context;

        (void)signal_number;
        (void)what;
        record_writer_reopen(daemon->records);
        log_info("record files reopened");
}

static void on_drain_deadline(evutil_socket_t fd, short what, void *context)
{
        struct daemon *daemon = context;

        (void)fd;
        (void)what;
        log_info("drain period over, closing %zu connections", connection_limits_open(daemon->limits));
        for (unsigned i = 0; i < daemon->worker_count; i++)
                worker_post_stop(daemon->workers[i]);
}

/* The first signal drains, a second one ends at once. */
static void on_stop_signal(evutil_socket_t signal_number, short what, void *context)
{
        struct daemon *daemon = context;
        struct timeval drain = clock_timeval(daemon_config(daemon)->drain_ms);

        (void)signal_number;
        if (daemon->draining) {
                on_drain_deadline(-1, what, daemon);
                return;
        }
        daemon->draining = true;
        log_info("stopping: accepting no more, draining %zu connections", connection_limits_open(daemon->limits));
        service_manager_stopping("draining");
        for (unsigned i = 0; i < daemon->worker_count; i++)
                worker_post_drain(daemon->workers[i]);
        event_add(daemon->drain_deadline, &drain);
}

static void on_worker_ended(evutil_socket_t fd, short what, void *context)
{
        struct daemon *daemon = context;
        uint64_t count = 0;

        (void)what;
        if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
                return;
        daemon->workers_ended += (unsigned)count;
        if (daemon->workers_ended == daemon->worker_count)
                event_base_loopbreak(daemon->base);
        if (!daemon->draining) {
                log_error("a worker ended by itself, stopping");
                daemon->failed = true;
                on_stop_signal(0, 0, daemon);
        }
}

/* systemd is told that we are alive only while every worker's loop turns. */
static void on_watchdog(evutil_socket_t fd, short what, void *context)
{
        struct daemon *daemon = context;
        bool all_alive = true;

        (void)fd;
        (void)what;
        for (unsigned i = 0; i < daemon->worker_count; i++) {
                uint64_t heartbeat = worker_heartbeat(daemon->workers[i]);
                if (heartbeat == daemon->heartbeats[i] && !daemon->draining) {
                        log_error("worker %u does not answer", i);
                        all_alive = false;
                }
                daemon->heartbeats[i] = heartbeat;
        }
        if (all_alive)
                service_manager_alive();
}

/* Before the daemon is ready the event loop does not turn: whoever asks then waits. */
static const char *why_not_ready(void *context)
{
        const struct daemon *daemon = context;

        return daemon->draining ? "draining" : NULL;
}

static int write_metrics(struct evbuffer *out, void *context)
{
        const struct daemon *daemon = context;
        const struct metrics_source source = {
                .version = AKSEGRESSD_VERSION,
                .policy_generation = generation_number(daemon->generation),
                .reload_failures = daemon->reload_failures,
                .records = daemon->records,
        };

        return metrics_write(&source, out);
}

static int daemon_open_admin(struct daemon *daemon, char *error, size_t error_size)
{
        const struct admin_http_source source = { why_not_ready, write_metrics, daemon };
        const struct config *config = daemon_config(daemon);
        int r = 0;

        if (config->admin.enabled)
                r = admin_http_new(daemon->base, "listen.admin", &config->admin.endpoint, ADMIN_HTTP_ALL, &source,
                                   error, error_size, &daemon->admin);
        if (r == 0 && config->probe.enabled)
                r = admin_http_new(daemon->base, "listen.probe", &config->probe.endpoint, ADMIN_HTTP_READINESS, &source,
                                   error, error_size, &daemon->probe);
        return r;
}

static int daemon_open_events(struct daemon *daemon)
{
        static const struct {
                int number;
                event_callback_fn on_signal;
        } signals[SIGNAL_COUNT] = {
                [SIGNAL_RELOAD] = { SIGHUP, on_reload_signal },
                [SIGNAL_TERMINATE] = { SIGTERM, on_stop_signal },
                [SIGNAL_INTERRUPT] = { SIGINT, on_stop_signal },
                [SIGNAL_REOPEN] = { SIGUSR1, on_reopen_signal },
        };
        uint64_t watchdog_ms = service_manager_watchdog_ms();
        struct timeval interval = clock_timeval(watchdog_ms);

        for (size_t i = 0; i < SIGNAL_COUNT; i++) {
                daemon->signals[i] = evsignal_new(daemon->base, signals[i].number, signals[i].on_signal, daemon);
                if (daemon->signals[i] == NULL || event_add(daemon->signals[i], NULL) == -1)
                        return -ENOMEM;
        }
        daemon->reload = event_new(daemon->base, -1, 0, on_reload, daemon);
        daemon->worker_ended = event_new(daemon->base, daemon->ended_fd, EV_READ | EV_PERSIST, on_worker_ended, daemon);
        daemon->drain_deadline = event_new(daemon->base, -1, 0, on_drain_deadline, daemon);
        daemon->watchdog = event_new(daemon->base, -1, EV_PERSIST, on_watchdog, daemon);
        if (daemon->reload == NULL || daemon->worker_ended == NULL || daemon->drain_deadline == NULL ||
            daemon->watchdog == NULL)
                return -ENOMEM;
        event_add(daemon->worker_ended, NULL);
        if (watchdog_ms > 0)
                event_add(daemon->watchdog, &interval);
        return 0;
}

static int daemon_open_services(struct daemon *daemon, struct policy *policy, char *error, size_t error_size)
{
        const struct config *config = policy_config(policy);

        snprintf(error, error_size, "out of memory");
        daemon->worker_count = config->workers;
        daemon->base = event_base_new();
        daemon->ended_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        daemon->workers = calloc(config->workers, sizeof(struct worker *));
        daemon->heartbeats = calloc(config->workers, sizeof(*daemon->heartbeats));
        if (daemon->base == NULL || daemon->ended_fd == -1 || daemon->workers == NULL || daemon->heartbeats == NULL)
                return -ENOMEM;
        int r = connection_limits_new(&daemon->limits);
        if (r == 0)
                r = snat_registry_new(worker_on_snat_alarm, NULL, &daemon->registry);
        if (r == 0)
                r = generation_new(1, policy, daemon->registry, &daemon->generation);
        if (r < 0)
                return r;
        policy_ref(policy); /* The generation has taken over the caller's reference, which daemon_run still drops. */
        r = address_watch_new(daemon->base, on_address_change, daemon, &daemon->address_watch);
        if (r < 0) {
                snprintf(error, error_size, "cannot watch the network interfaces' addresses: %s", strerror(-r));
                return r;
        }
        snat_pools_each_address(generation_pools(daemon->generation), note_absent_address, daemon);
        r = record_writer_new(config, config->workers + MAIN_PRODUCERS, error, error_size, &daemon->records);
        if (r < 0)
                return r;
        const struct forwarding_shared shared = { .base = daemon->base,
                                                  .records = daemon->records,
                                                  .producer = config->workers,
                                                  .address_watch = daemon->address_watch };
        return forwarding_new(&shared, daemon->generation, error, error_size, &daemon->forwarding);
}

static int daemon_open_workers(struct daemon *daemon, char *error, size_t error_size)
{
        struct worker_shared shared = {
                .registry = daemon->registry,
                .limits = daemon->limits,
                .records = daemon->records,
                .learned = forwarding_learned(daemon->forwarding),
                .school = forwarding_school(daemon->forwarding),
                .ended_fd = daemon->ended_fd,
        };

        for (unsigned i = 0; i < daemon->worker_count; i++) {
                int r = worker_new(i, &shared, daemon->generation, error, error_size, &daemon->workers[i]);
                if (r < 0)
                        return r;
        }
        return forwarding_start(daemon->forwarding, error, error_size);
}

/* Signals are the main thread's: workers start with all of them blocked. */
static int daemon_start_workers(struct daemon *daemon)
{
        sigset_t all, before;
        int r = 0;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        for (unsigned i = 0; i < daemon->worker_count && r == 0; i++)
                r = worker_start(daemon->workers[i]);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}

/* In the reverse order of opening; takes a half-built daemon. */
static void daemon_close(struct daemon *daemon)
{
        admin_http_free(daemon->probe);
        admin_http_free(daemon->admin);
        for (unsigned i = 0; daemon->workers != NULL && i < daemon->worker_count; i++) {
                if (daemon->workers[i] != NULL)
                        worker_post_stop(daemon->workers[i]);
                worker_free(daemon->workers[i]);
        }
        for (size_t i = 0; i < SIGNAL_COUNT; i++)
                if (daemon->signals[i] != NULL)
                        event_free(daemon->signals[i]);
        if (daemon->reload != NULL)
                event_free(daemon->reload);
        if (daemon->worker_ended != NULL)
                event_free(daemon->worker_ended);
        if (daemon->drain_deadline != NULL)
                event_free(daemon->drain_deadline);
        if (daemon->watchdog != NULL)
                event_free(daemon->watchdog);
        file_watch_free(daemon->tags_watch);
        forwarding_free(daemon->forwarding);
        record_writer_free(daemon->records);
        address_watch_free(daemon->address_watch);
        generation_unref(daemon->generation);
        snat_registry_free(daemon->registry);
        connection_limits_free(daemon->limits);
        free(daemon->workers);
        free(daemon->heartbeats);
        if (daemon->ended_fd != -1)
                close(daemon->ended_fd);
        if (daemon->base != NULL)
                event_base_free(daemon->base);
}

static int daemon_open(struct daemon *daemon, struct policy *policy, char *error, size_t error_size)
{
        int r = daemon_open_services(daemon, policy, error, error_size);

        if (r < 0)
                return r;
        apply_limits(daemon);
        r = daemon_open_admin(daemon, error, error_size);
        if (r == 0)
                r = daemon_open_workers(daemon, error, error_size);
        if (r < 0)
                return r;
        snprintf(error, error_size, "out of memory");
        r = daemon_open_events(daemon);
        if (r < 0)
                return r;
        r = daemon_start_workers(daemon);
        if (r < 0)
                snprintf(error, error_size, "cannot start a thread: %s", strerror(-r));
        daemon_watch_tags(daemon);
        return r;
}

int daemon_run(const char *config_path, struct policy *policy)
{
        struct daemon daemon = { .config_path = config_path, .ended_fd = -1 };
        char error[ERROR_SIZE];

        /* splice() to a closed socket raises it, and has no flag against that. */
        (void)signal(SIGPIPE, SIG_IGN);
        int r = daemon_open(&daemon, policy, error, sizeof(error));
        policy_unref(policy);
        if (r < 0) {
                log_error("cannot start: %s", error);
                daemon_close(&daemon);
                return EXIT_FAILURE;
        }
        log_info("aksegressd %s: %u workers, %zu rules", AKSEGRESSD_VERSION, daemon.worker_count,
                 policy_rule_count(generation_policy(daemon.generation)));
        service_manager_ready("serving");
        event_base_dispatch(daemon.base);
        bool failed = daemon.failed;
        daemon_close(&daemon);
        log_info("stopped");
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
