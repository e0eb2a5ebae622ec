/*
 * Where syslog messages go, and how one gets there: a copy of a sink's settings, and of the DNS servers that know the
 * server's name, that outlives the configuration. Immutable and reference-counted.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "policy/config.h"
#include "records/io_wait.h"

#define SYSLOG_TARGET_MAX_ADDRESSES 16

struct syslog_target {
        atomic_uint references;
        char *name; /* for people: "tls://siem.contoso.com:6514", "unix:///dev/log" */
        enum config_transport transport;
        struct config_server server; /* text owned */
        char *ca_file;               /* NULL: the system's */
        char *cert_file;             /* NULL: none */
        char *key_file;
        char *server_name; /* NULL: what server says */
        unsigned connect_timeout_ms;
        struct config dns; /* only what a resolver takes; owned arrays */
};

/* Returns 0 or -ENOMEM. The target goes with its last reference; both calls may come from any thread and take NULL. */
MUST_CHECK int syslog_target_new(const struct config *config, const struct config_sink *sink,
                                 struct syslog_target **ret);
struct syslog_target *syslog_target_ref(struct syslog_target *target);
void syslog_target_unref(struct syslog_target *target);

/* Whether a connection made for one serves the other as well. */
bool syslog_target_equals(const struct syslog_target *a, const struct syslog_target *b);

/*
 * Finds the addresses of the server, in the order to try them; waits for DNS, at most the configured timeout. Returns 0;
 * -ECANCELED or -ETIMEDOUT as io_wait_for; -ENOMEM; -EADDRNOTAVAIL with a sentence in error.
 */
MUST_CHECK int syslog_target_look_up(const struct syslog_target *target, struct io_wait *wait,
                                     struct net_endpoint addresses[SYSLOG_TARGET_MAX_ADDRESSES], size_t *ret_count,
                                     char *error, size_t error_size);
