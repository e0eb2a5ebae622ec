#include "records/sink_journal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_BUFFER_SIZE (1024 * 1024) /* bytes; some 500 records may wait in the kernel */

struct sink_journal {
        int fd;
        struct sockaddr_un address;
};

int sink_journal_open(const char *socket_path, struct sink_journal **ret)
{
        int size = SEND_BUFFER_SIZE;
        struct sink_journal *journal = calloc(1, sizeof(*journal));

        if (journal == NULL)
                return -ENOMEM;
        journal->address.sun_family = AF_UNIX;
        if (strlen(socket_path) >= sizeof(journal->address.sun_path)) {
                free(journal);
                return -ENAMETOOLONG;
        }
        memcpy(journal->address.sun_path, socket_path, strlen(socket_path) + 1);
        journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (journal->fd == -1) {
                int error = errno;
                free(journal);
                return -error;
        }
        /* Only as much as the system allows; less means that records wait in our queue instead. */
        (void)setsockopt(journal->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        *ret = journal;
        return 0;
}

void sink_journal_close(struct sink_journal *journal)
{
        if (journal == NULL)
                return;
        close(journal->fd);
        free(journal);
}

/* Not connected yet, or journald closed the socket we were connected to. */
static bool needs_connect(int error)
{
        return error == ENOTCONN || error == ECONNREFUSED || error == ECONNRESET || error == EDESTADDRREQ;
}

int sink_journal_send(struct sink_journal *journal, const char *datagram, size_t length)
{
        const struct sockaddr *address = (const struct sockaddr *)&journal->address;

        if (send(journal->fd, datagram, length, MSG_NOSIGNAL) != -1)
                return 0;
        if (!needs_connect(errno))
                return -errno;
        /* Connected, and not addressed each time: only so does poll() wait for room in the queue of a slow receiver. */
        if (connect(journal->fd, address, sizeof(journal->address)) == -1)
                return -errno;
        return send(journal->fd, datagram, length, MSG_NOSIGNAL) == -1 ? -errno : 0;
}

int sink_journal_descriptor(const struct sink_journal *journal)
{
        return journal->fd;
}

/* As output of a sink. */

static int output_put(void *output, const char *record, size_t length)
{
        return sink_journal_send(output, record, length);
}

static int output_descriptor(const void *output)
{
        return sink_journal_descriptor(output);
}

static void output_close(void *output)
{
        sink_journal_close(output);
}

const struct sink_output_type sink_journal_output = {
        .put = output_put,
        .descriptor = output_descriptor,
        .close = output_close,
        .loses = true,
};
