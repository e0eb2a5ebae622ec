/*
 * Sends datagrams to journald over a socket of its own. libsystemd's sd_journal_sendv() is not used because its socket
 * blocks while journald is stopped, and because it reports success where there is no journald, so that nothing would be
 * counted as lost. One thread only.
 */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "records/sink_output.h"

#define SINK_JOURNAL_SOCKET "/run/systemd/journal/socket"

struct sink_journal;

/* Works without journald too: each send tries to reach it. Returns 0, -ENOMEM, -ENAMETOOLONG or what socket() says. */
MUST_CHECK int sink_journal_open(const char *socket_path, struct sink_journal **ret);

/* Takes NULL. */
void sink_journal_close(struct sink_journal *journal);

/*
 * Sends one datagram. Never waits. Returns 0; -EAGAIN when journald has not read enough yet (poll the descriptor);
 * otherwise -errno: this record will not go through, -ENOENT or -ECONNREFUSED where there is no journald.
 */
MUST_CHECK int sink_journal_send(struct sink_journal *journal, const char *datagram, size_t length);

/* For poll(). */
int sink_journal_descriptor(const struct sink_journal *journal);

/* The same as output of a sink; self is a struct sink_journal. */
extern const struct sink_output_type sink_journal_output;
