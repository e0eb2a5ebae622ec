/*
 * Sends each record as a datagram: to journald, to another socket of this machine, or to a syslog server over UDP (RFC 5426).
 * Never waits for the receiver, but for DNS where a server is given by name. A receiver that is not there is found when it
 * comes; the addresses of a name are looked up anew every five minutes, and of these the first is used that there is a way to. One
 * thread only, but for sink_datagram_set_target.
 *
 * For journald, libsystemd's sd_journal_sendv() is not used because its socket blocks while journald is stopped, and because
 * it reports success where there is no journald, so that nothing would be counted as lost.
 */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "records/io_wait.h"
#include "records/sink_output.h"
#include "records/syslog_target.h"

#define SINK_DATAGRAM_JOURNAL "/run/systemd/journal/socket"

struct sink_datagram;

/* To a socket of this machine, there or not. Returns 0, -ENOMEM, -ENAMETOOLONG or what socket() says. */
MUST_CHECK int sink_datagram_open_path(const char *path, struct sink_datagram **ret);

/* To a server, known or not. Keeps a reference to target of its own. Returns 0, -ENOMEM or -errno. */
MUST_CHECK int sink_datagram_open_server(struct syslog_target *target, struct sink_datagram **ret);

/* Takes NULL. */
void sink_datagram_close(struct sink_datagram *datagram);

/*
 * Returns 0; -EAGAIN when the receiver has not read enough yet (poll the descriptor); otherwise -errno: this record will not
 * go through, -ENOENT or -ECONNREFUSED where nobody listens. Over UDP that is known at best of the datagram before.
 */
MUST_CHECK int sink_datagram_send(struct sink_datagram *datagram, const char *record, size_t length);

/*
 * Other settings of the same server, to be looked up with from the next record on; keeps a reference of its own. Only the thread
 * that opened it. Nothing changes for a path.
 */
void sink_datagram_set_target(struct sink_datagram *datagram, struct syslog_target *target);

/* For poll(); -1: none yet. */
int sink_datagram_descriptor(const struct sink_datagram *datagram);

/* The same as output of a sink; self is a struct sink_datagram. */
extern const struct sink_output_type sink_datagram_output;
