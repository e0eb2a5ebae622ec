#include "records/sink_journal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "records/formatter.h"

#define SEND_BUFFER_SIZE (1024 * 1024) /* bytes; some 500 records may wait in the kernel */

struct sink_journal {
        int fd;
        struct sockaddr_un address;
        char datagram[FORMATTER_LINE_SIZE];
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

static int send_once(struct sink_journal *journal, size_t length)
{
        return send(journal->fd, journal->datagram, length, MSG_NOSIGNAL) == -1 ? -errno : 0;
}

/* Not connected yet, or journald closed the socket we were connected to. */
static bool needs_connect(int error)
{
        return error == -ENOTCONN || error == -ECONNREFUSED || error == -ECONNRESET || error == -EDESTADDRREQ;
}

int sink_journal_send(struct sink_journal *journal, const char *head, size_t head_length, const char *tail,
                      size_t tail_length)
{
        const struct sockaddr *address = (const struct sockaddr *)&journal->address;

        if (head_length > sizeof(journal->datagram) || tail_length > sizeof(journal->datagram) - head_length)
                return -EMSGSIZE;
        memcpy(journal->datagram, head, head_length);
        memcpy(journal->datagram + head_length, tail, tail_length);
        int r = send_once(journal, head_length + tail_length);
        if (!needs_connect(r))
                return r;
        /* Connected, and not addressed each time: only so does poll() wait for room in the queue of a slow receiver. */
        if (connect(journal->fd, address, sizeof(journal->address)) == -1)
                return -errno;
        return send_once(journal, head_length + tail_length);
}

int sink_journal_descriptor(const struct sink_journal *journal)
{
        return journal->fd;
}
