#include "records/wakeup.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int wakeup_open(struct wakeup *wakeup)
{
        atomic_init(&wakeup->asleep, false);
        wakeup->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return wakeup->fd == -1 ? -errno : 0;
}

void wakeup_close(struct wakeup *wakeup)
{
        if (wakeup->fd != -1)
                close(wakeup->fd);
        wakeup->fd = -1;
}

void wakeup_prepare(struct wakeup *wakeup)
{
        atomic_store(&wakeup->asleep, true);
}

void wakeup_cancel(struct wakeup *wakeup)
{
        atomic_store(&wakeup->asleep, false);
}

void wakeup_clear(struct wakeup *wakeup)
{
        uint64_t count;
        ssize_t length = read(wakeup->fd, &count, sizeof(count));

        (void)length; /* EAGAIN when there was none. */
}

void wakeup_wait(struct wakeup *wakeup, int fd, short events, int timeout_ms)
{
        struct pollfd fds[] = {
                { .fd = wakeup->fd, .events = POLLIN },
                { .fd = fd, .events = events },
        };

        /* Interrupted is as good as woken: every caller looks at its conditions again. */
        (void)poll(fds, ARRAY_SIZE(fds), timeout_ms);
        atomic_store(&wakeup->asleep, false);
        wakeup_clear(wakeup);
}

void wakeup_force(struct wakeup *wakeup)
{
        uint64_t one = 1;
        ssize_t length = write(wakeup->fd, &one, sizeof(one));

        (void)length; /* Fails only when the counter is full, and then the sleeper is woken already. */
}

void wakeup_wake(struct wakeup *wakeup)
{
        if (atomic_load(&wakeup->asleep) && atomic_exchange(&wakeup->asleep, false))
                wakeup_force(wakeup);
}

bool wakeup_poll(const struct wakeup *wakeup, int timeout_ms)
{
        struct pollfd fd = { .fd = wakeup->fd, .events = POLLIN };
        int r;

        do {
                r = poll(&fd, 1, timeout_ms);
        } while (r == -1 && errno == EINTR);
        return r == 1;
}
