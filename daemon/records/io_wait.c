#include "records/io_wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"

int io_wait_open(struct io_wait *wait)
{
        atomic_init(&wait->changed, false);
        atomic_init(&wait->stop_ms, UINT64_MAX);
        return wakeup_open(&wait->wakeup);
}

void io_wait_close(struct io_wait *wait)
{
        wakeup_close(&wait->wakeup);
}

void io_wait_change(struct io_wait *wait)
{
        atomic_store(&wait->changed, true);
        wakeup_force(&wait->wakeup);
}

void io_wait_stop(struct io_wait *wait, uint64_t deadline_ms)
{
        atomic_store(&wait->stop_ms, deadline_ms);
        wakeup_force(&wait->wakeup);
}

bool io_wait_is_stopping(const struct io_wait *wait)
{
        return atomic_load(&wait->stop_ms) != UINT64_MAX;
}

bool io_wait_is_over(const struct io_wait *wait)
{
        return clock_monotonic_ms() >= atomic_load(&wait->stop_ms);
}

bool io_wait_look(struct io_wait *wait)
{
        return atomic_exchange(&wait->changed, false);
}

static int timeout_until(const struct io_wait *wait, uint64_t deadline_ms)
{
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t stop_ms = atomic_load(&wait->stop_ms);
        uint64_t end_ms = stop_ms < deadline_ms ? stop_ms : deadline_ms;

        if (end_ms <= now_ms)
                return 0;
        return end_ms - now_ms < INT_MAX ? (int)(end_ms - now_ms) : INT_MAX;
}

int io_wait_for(struct io_wait *wait, int fd, short events, uint64_t deadline_ms)
{
        for (;;) {
                int timeout_ms = timeout_until(wait, deadline_ms);
                struct pollfd fds[] = {
                        { .fd = wait->wakeup.fd, .events = POLLIN },
                        { .fd = fd, .events = events },
                };
                int ready = poll(fds, ARRAY_SIZE(fds), timeout_ms);

                if (ready == -1 && errno != EINTR)
                        return -errno;
                if (ready > 0 && fds[0].revents != 0)
                        wakeup_clear(&wait->wakeup);
                if (atomic_load(&wait->changed))
                        return -ECANCELED;
                if (ready > 0 && fds[1].revents != 0)
                        return 0;
                if ((ready == 0 && timeout_ms == 0) || (fd == -1 && io_wait_is_stopping(wait)))
                        return -ETIMEDOUT;
        }
}
