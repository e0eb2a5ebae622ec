/*
 * A connection to a syslog server over TCP or TLS. Every call may wait, as io_wait.h says: made by a thread that has nothing
 * else to do.
 *
 * Errors, with a sentence in error: -ECANCELED, new settings wait; -ETIMEDOUT, also when the thread's own time is over; and
 * any other -errno of a connection that cannot be made or has broken.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "records/io_wait.h"
#include "records/syslog_target.h"

#define SYSLOG_CONNECTION_STALL_MS 90000 /* a server that takes no byte for so long has gone (RFC 5482) */

struct syslog_connection;

/*
 * Looks the server up, connects to the first address that answers, and with TLS finds out who is there. Peers that vanish are
 * noticed within about a minute and a half, by TCP keep-alive and user timeout. target is borrowed for the call.
 */
MUST_CHECK int syslog_connection_open(const struct syslog_target *target, struct io_wait *wait, char *error,
                                      size_t error_size, struct syslog_connection **ret);

/* Sends all of it, however long that takes as long as it goes on. */
MUST_CHECK int syslog_connection_send(struct syslog_connection *connection, struct io_wait *wait, const char *bytes,
                                      size_t length, char *error, size_t error_size);

/*
 * Reads and drops what the server has sent, without waiting. Returns 0 while the connection stands, -EPIPE when the server
 * has ended it.
 */
MUST_CHECK int syslog_connection_check(struct syslog_connection *connection, char *error, size_t error_size);

/* To wait for something to check. */
int syslog_connection_descriptor(const struct syslog_connection *connection);

/*
 * Says that no more will come, and waits up to timeout_ms for the server to end the connection in turn. Returns whether it
 * did: then it has read all that it was sent.
 */
MUST_CHECK bool syslog_connection_finish(struct syslog_connection *connection, struct io_wait *wait,
                                         unsigned timeout_ms);

/* Takes NULL. */
void syslog_connection_close(struct syslog_connection *connection);
