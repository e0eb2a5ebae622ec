/*
 * TLS to a syslog server (RFC 5425): TLS 1.2 and later, the server's certificate checked by issuer and name, ours shown
 * when it is asked for. Nothing here waits: what cannot go on says which event on the descriptor it waits for. The only
 * file of this layer that knows OpenSSL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "records/syslog_target.h"

struct syslog_tls;

/*
 * Reads the files of target anew, for one session. Returns 0, -ENOMEM, or -EINVAL with a sentence in error: which file, and
 * what is wrong with it.
 */
MUST_CHECK int syslog_tls_open(const struct syslog_target *target, char *error, size_t error_size,
                               struct syslog_tls **ret);

/* Says where the session is to be: a connected socket, which stays the caller's. Before anything else. Returns 0 or -ENOMEM. */
MUST_CHECK int syslog_tls_attach(struct syslog_tls *tls, int fd);

/* Takes NULL. */
void syslog_tls_close(struct syslog_tls *tls);

/*
 * The three below return what they did, or -EAGAIN with *ret_events (POLLIN or POLLOUT) to wait for before the same call is
 * made again, or -EPROTO with a sentence in error, after which only syslog_tls_close is allowed.
 */

/* Returns 0 when both sides are known to each other. */
MUST_CHECK int syslog_tls_handshake(struct syslog_tls *tls, short *ret_events, char *error, size_t error_size);

/* Returns how many bytes were taken, at least one. */
MUST_CHECK int syslog_tls_write(struct syslog_tls *tls, const void *bytes, size_t length, short *ret_events,
                                char *error, size_t error_size);

/*
 * Reads and drops what the server sends, alerts among it. Returns 0 when the server has said that it will send no more:
 * it has ended the session.
 */
MUST_CHECK int syslog_tls_read(struct syslog_tls *tls, short *ret_events, char *error, size_t error_size);

/* Tells the server that no more will come (close_notify). As much as can be sent at once. */
void syslog_tls_finish(struct syslog_tls *tls);
