/*
 * HTTP for those who run the daemon: whether it lives, whether it takes connections, its metrics. One listener on the main
 * thread's event loop, for listen.admin or listen.probe.
 *
 * Bounded: ADMIN_HTTP_MAX_CLIENTS connections, of which the one that has waited longest makes room for the next;
 * ADMIN_REQUEST_MAX_BYTES of a request, no body, one answer at a time, ADMIN_HTTP_TIMEOUT_MS for a request to come in (the
 * wait for it included) and as much for its answer to go out.
 *
 * Not libevent's evhttp: version 2.1 has no bound on connections, none on what a client sends while it does not read, and
 * does not say when a connection ends.
 */
#pragma once

#include <event2/buffer.h>
#include <event2/event.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/net_address.h"

#define ADMIN_HTTP_MAX_CLIENTS 64
#define ADMIN_HTTP_TIMEOUT_MS 10000

struct admin_http;

enum admin_http_pages {
        ADMIN_HTTP_ALL = 0, /* /metrics, /healthz, /readyz */
        ADMIN_HTTP_READINESS,
};

/* Where the answers come from, at the time of the request. */
struct admin_http_source {
        const char *(*not_ready)(void *context);                   /* NULL: ready; otherwise a word that says why not */
        int (*write_metrics)(struct evbuffer *out, void *context); /* as metrics_write */
        void *context;
};

/*
 * Opens the listener; who connects is answered once the event loop runs. base and what source points to are borrowed.
 * Returns 0, or -Exxx with a sentence in error, which calls the listener name ("listen.admin").
 */
MUST_CHECK int admin_http_new(struct event_base *base, const char *name, const struct net_endpoint *endpoint,
                              enum admin_http_pages pages, const struct admin_http_source *source, char *error,
                              size_t error_size, struct admin_http **ret);

/* Ends all its connections. Takes NULL. */
void admin_http_free(struct admin_http *http);
