#include "process/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "net/relay.h"
#include "net/resolver.h"
#include "traffic/connection.h"
#include "traffic/dns_listener.h"
#include "traffic/listener.h"

#define HEARTBEAT_MS 400 /* well below the shortest time between two looks of the watchdog, 1 s */
#define DRAIN_CHECK_MS 50
#define WORKER_ID_SHIFT 56 /* the worker's number in the top byte keeps connection ids apart */

struct worker {
        struct traffic traffic;
        struct listener *transparent; /* NULL: not configured, or draining */
        struct listener *proxy;
        struct dns_listener *dns; /* NULL: not configured */
        struct event *heartbeat_timer;
        struct event *mail_event;
        pthread_t thread;
        bool started;
        int ended_fd; /* borrowed */
        atomic_uint_fast64_t heartbeat;

        /* The mailbox: written by the main thread, emptied by the worker. */
        pthread_mutex_t mail_lock;
        int mail_fd;
        struct generation *mail_generation; /* reference; NULL: none */
        bool mail_drain;
        bool mail_stop;
};

/* The worker whose thread this is: tells the SNAT alarm, which knows no worker, where to record. NULL on other threads. */
static _Thread_local struct worker *this_worker;

static void worker_change_generation(struct worker *worker, struct generation *generation)
{
        const struct config *config = generation_config(generation);
        int r = resolver_reconfigure(worker->traffic.resolver, config);

        if (r == 0 && worker->dns != NULL)
                r = dns_listener_reconfigure(worker->dns, config);
        if (r < 0)
                log_error("resolver: %s, keeping the servers of the configuration before", strerror(-r));
        connection_change_generation(&worker->traffic, generation);
}

static void arm_heartbeat(struct worker *worker, unsigned interval_ms)
{
        struct timeval interval = clock_timeval(interval_ms);

        event_add(worker->heartbeat_timer, &interval);
}

static void worker_drain(struct worker *worker)
{
        listener_free(worker->transparent);
        worker->transparent = NULL;
        listener_free(worker->proxy);
        worker->proxy = NULL;
        connection_drain(&worker->traffic);
        if (worker->dns != NULL)
                dns_listener_drain(worker->dns);
        arm_heartbeat(worker, DRAIN_CHECK_MS);
}

static void on_heartbeat(evutil_socket_t fd, short what, void *context)
{
        struct worker *worker = context;

        (void)fd;
        (void)what;
        atomic_fetch_add_explicit(&worker->heartbeat, 1, memory_order_relaxed);
        if (worker->traffic.draining && worker->traffic.connection_count == 0 && dns_listener_is_idle(worker->dns))
                event_base_loopbreak(worker->traffic.base);
        arm_heartbeat(worker, worker->traffic.draining ? DRAIN_CHECK_MS : HEARTBEAT_MS);
}

static void worker_close_all(struct worker *worker)
{
        connection_close_all(&worker->traffic, REASON_SHUTDOWN);
        dns_listener_close_all(worker->dns, REASON_SHUTDOWN);
}

static void on_mail(evutil_socket_t fd, short what, void *context)
{
        struct worker *worker = context;
        uint64_t count;

        (void)what;
        ssize_t r = read(fd, &count, sizeof(count));
        (void)r; /* Only resets the counter; what to do is in the mailbox. */
        pthread_mutex_lock(&worker->mail_lock);
        struct generation *generation = worker->mail_generation;
        bool drain = worker->mail_drain;
        bool stop = worker->mail_stop;
        worker->mail_generation = NULL;
        worker->mail_drain = false;
        pthread_mutex_unlock(&worker->mail_lock);
        if (generation != NULL)
                worker_change_generation(worker, generation);
        if (drain)
                worker_drain(worker);
        if (stop) {
                worker_close_all(worker);
                event_base_loopbreak(worker->traffic.base);
        }
}

static void ring(int fd)
{
        uint64_t one = 1;
        ssize_t written = write(fd, &one, sizeof(one));

        (void)written; /* Fails only when the counter is at its maximum, and then the reader is awake anyway. */
}

static void *worker_run(void *context)
{
        struct worker *worker = context;

        this_worker = worker;
        event_base_dispatch(worker->traffic.base);
        worker_close_all(worker);
        ring(worker->ended_fd);
        return NULL;
}

static int worker_open_listeners(struct worker *worker, const struct worker_shared *shared, const struct config *config,
                                 char *error, size_t error_size)
{
        int r = 0;

        if (config->transparent.enabled)
                r = listener_new(&worker->traffic, DECISION_LISTENER_TRANSPARENT, &config->transparent.endpoint, error,
                                 error_size, &worker->transparent);
        if (r == 0 && config->proxy.enabled)
                r = listener_new(&worker->traffic, DECISION_LISTENER_PROXY, &config->proxy.endpoint, error, error_size,
                                 &worker->proxy);
        if (r == 0 && config->dns.enabled)
                r = dns_listener_new(&worker->traffic, shared->school, config, error, error_size, &worker->dns);
        return r;
}

static int worker_open_loop(struct worker *worker, const struct config *config)
{
        struct traffic *traffic = &worker->traffic;

        /* Not with EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST: a level-triggered event that replaces a SOCKET_WATCH_RESET in one
           pass then stays edge-triggered (libevent 2.1.12), and a stream stands still. */
        traffic->base = event_base_new();
        worker->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (traffic->base == NULL || worker->mail_fd == -1)
                return -ENOMEM;
        worker->mail_event = event_new(traffic->base, worker->mail_fd, EV_READ | EV_PERSIST, on_mail, worker);
        worker->heartbeat_timer = event_new(traffic->base, -1, 0, on_heartbeat, worker);
        if (worker->mail_event == NULL || worker->heartbeat_timer == NULL)
                return -ENOMEM;
        event_add(worker->mail_event, NULL);
        arm_heartbeat(worker, HEARTBEAT_MS);
        int r = relay_pool_new(traffic->base, &traffic->relay_pool);
        if (r == 0)
                r = resolver_new(traffic->base, config, &traffic->resolver);
        return r;
}

int worker_new(unsigned index, const struct worker_shared *shared, struct generation *generation, char *error,
               size_t error_size, struct worker **ret)
{
        const struct config *config = generation_config(generation);
        struct worker *worker = calloc(1, sizeof(*worker));

        if (worker == NULL) {
                snprintf(error, error_size, "out of memory");
                return -ENOMEM;
        }
        worker->mail_fd = -1;
        worker->ended_fd = shared->ended_fd;
        pthread_mutex_init(&worker->mail_lock, NULL);
        worker->traffic.registry = shared->registry;
        worker->traffic.limits = shared->limits;
        worker->traffic.records = shared->records;
        worker->traffic.learned = shared->learned;
        worker->traffic.producer = index;
        worker->traffic.next_id = (uint64_t)index << WORKER_ID_SHIFT | hash_random() >> (64 - WORKER_ID_SHIFT) >> 1;
        worker->traffic.generation = generation_ref(generation);
        int r = worker_open_loop(worker, config);
        if (r < 0)
                snprintf(error, error_size, "worker %u: %s", index, strerror(-r));
        else
                r = worker_open_listeners(worker, shared, config, error, error_size);
        if (r < 0) {
                worker_free(worker);
                return r;
        }
        *ret = worker;
        return 0;
}

int worker_start(struct worker *worker)
{
        int r = pthread_create(&worker->thread, NULL, worker_run, worker);

        worker->started = r == 0;
        return -r;
}

void worker_post_generation(struct worker *worker, struct generation *generation)
{
        struct generation *unread;

        generation_ref(generation);
        pthread_mutex_lock(&worker->mail_lock);
        unread = worker->mail_generation;
        worker->mail_generation = generation;
        pthread_mutex_unlock(&worker->mail_lock);
        generation_unref(unread);
        ring(worker->mail_fd);
}

void worker_post_drain(struct worker *worker)
{
        pthread_mutex_lock(&worker->mail_lock);
        worker->mail_drain = true;
        pthread_mutex_unlock(&worker->mail_lock);
        ring(worker->mail_fd);
}

void worker_post_stop(struct worker *worker)
{
        pthread_mutex_lock(&worker->mail_lock);
        worker->mail_stop = true;
        pthread_mutex_unlock(&worker->mail_lock);
        ring(worker->mail_fd);
}

uint64_t worker_heartbeat(const struct worker *worker)
{
        return atomic_load_explicit(&worker->heartbeat, memory_order_relaxed);
}

void worker_free(struct worker *worker)
{
        if (worker == NULL)
                return;
        if (worker->started)
                pthread_join(worker->thread, NULL);
        listener_free(worker->transparent);
        listener_free(worker->proxy);
        dns_listener_free(worker->dns);
        resolver_free(worker->traffic.resolver);
        relay_pool_free(worker->traffic.relay_pool);
        if (worker->heartbeat_timer != NULL)
                event_free(worker->heartbeat_timer);
        if (worker->mail_event != NULL)
                event_free(worker->mail_event);
        if (worker->mail_fd != -1)
                close(worker->mail_fd);
        if (worker->traffic.base != NULL)
                event_base_free(worker->traffic.base);
        generation_unref(worker->mail_generation);
        generation_unref(worker->traffic.generation);
        pthread_mutex_destroy(&worker->mail_lock);
        free(worker);
}

void worker_on_snat_alarm(const struct net_address *source, const struct net_endpoint *destination, unsigned in_use,
                          unsigned capacity, void *context)
{
        struct decision alarm = {
                .event = DECISION_EVENT_ALARM,
                .alarm = "snat-nearly-exhausted",
                .time_us = clock_wall_us(),
                .destination = *destination,
                .snat = { .address = *source },
        };

        (void)context;
        if (this_worker == NULL)
                return;
        snprintf(alarm.hint, sizeof(alarm.hint), "%u of %u ports in use; add addresses to the pool", in_use, capacity);
        record_writer_push(this_worker->traffic.records, this_worker->traffic.producer, &alarm);
}
