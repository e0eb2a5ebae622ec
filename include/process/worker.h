/*
 * One worker thread: its own event loop, listeners, resolver and connections. The main thread makes it, posts to it, and
 * joins it; everything else happens on its own thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "net/snat_pool.h"
#include "records/record_writer.h"
#include "traffic/connection_limits.h"
#include "traffic/generation.h"
#include "traffic/learned_addresses.h"
#include "traffic/learned_teacher.h"

struct worker;

/* What all workers share; everything is borrowed and outlives them. */
struct worker_shared {
        struct snat_registry *registry;
        struct connection_limits *limits;
        struct record_writer *records;
        struct learned_addresses *learned;
        struct learned_school *school;
        int ended_fd; /* eventfd: each worker adds 1 when its thread is about to end */
};

/*
 * Opens the worker's listeners and resolver, without running yet. index is also its number at the record writer. Takes a
 * reference of its own to generation. Returns 0, or -Exxx with a sentence in error.
 */
MUST_CHECK int worker_new(unsigned index, const struct worker_shared *shared, struct generation *generation,
                          char *error, size_t error_size, struct worker **ret);

/* Starts the thread. */
MUST_CHECK int worker_start(struct worker *worker);

/* Asks the worker to go over to a newer generation (takes a reference of its own). Safe from the main thread. */
void worker_post_generation(struct worker *worker, struct generation *generation);

/* Asks it to accept no more and to end when its last connection has. */
void worker_post_drain(struct worker *worker);

/* Asks it to end its connections (reason shutdown) and stop. */
void worker_post_stop(struct worker *worker);

/* Counts up about once a second while the loop turns: for the watchdog. */
uint64_t worker_heartbeat(const struct worker *worker);

/* Joins the thread if it was started, and frees everything. Takes NULL. */
void worker_free(struct worker *worker);

/* For snat_registry_new: writes an alarm record from the worker on whose thread it is called. */
void worker_on_snat_alarm(const struct net_address *source, const struct net_endpoint *destination, unsigned in_use,
                          unsigned capacity, void *context);
