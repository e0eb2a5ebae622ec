#include "net/socket_watch.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"

#define CONDITIONS (EV_READ | EV_WRITE | EV_ET)

void socket_watch_init(struct socket_watch *watch, struct event_base *base, int fd, event_callback_fn on_ready,
                       void *context)
{
        event_assign(&watch->event, base, fd, EV_PERSIST, on_ready, context);
}

short socket_watch_wanted(const struct socket_watch *watch)
{
        return event_get_events(&watch->event) & CONDITIONS;
}

static void assign(struct event *event, short wanted)
{
        event_assign(event, event_get_base(event), event_get_fd(event), (short)(wanted | EV_PERSIST),
                     event_get_callback(event), event_get_callback_arg(event));
}

int socket_watch_set(struct socket_watch *watch, short wanted)
{
        if (wanted == socket_watch_wanted(watch))
                return 0;
        event_del(&watch->event);
        assign(&watch->event, wanted);
        if (wanted == 0 || event_add(&watch->event, NULL) == 0)
                return 0;
        assign(&watch->event, 0);
        return -ENOMEM;
}

void socket_watch_stop(struct socket_watch *watch)
{
        event_del(&watch->event);
}

int socket_watch_error(const struct socket_watch *watch)
{
        int error = 0;
        socklen_t size = sizeof(error);

        if (getsockopt(socket_watch_fd(watch), SOL_SOCKET, SO_ERROR, &error, &size) == -1)
                return -errno;
        return -error;
}

int idle_timer_start(struct idle_timer *timer, struct event_base *base, unsigned timeout_ms,
                     event_callback_fn on_timeout, void *context)
{
        struct timeval timeout = clock_timeval(timeout_ms);
        const struct timeval *common = event_base_init_common_timeout(base, &timeout);

        timer->timeout_ms = timeout_ms;
        idle_timer_touch(timer);
        event_assign(&timer->event, base, -1, 0, on_timeout, context);
        /* libevent has 256 queues; past them a timer of its own does the same at more cost. */
        return event_add(&timer->event, common != NULL ? common : &timeout) == -1 ? -ENOMEM : 0;
}

void idle_timer_touch(struct idle_timer *timer)
{
        timer->touched_ms = (uint32_t)clock_monotonic_ms();
}

bool idle_timer_expired(struct idle_timer *timer)
{
        uint32_t idle_ms = (uint32_t)clock_monotonic_ms() - timer->touched_ms;

        if (idle_ms >= timer->timeout_ms)
                return true;
        struct timeval rest = clock_timeval(timer->timeout_ms - idle_ms);
        /* Without a timer the owner would wait for ever: end it now rather than never. */
        return event_add(&timer->event, &rest) == -1;
}

void idle_timer_run_soon(struct idle_timer *timer)
{
        event_active(&timer->event, EV_TIMEOUT, 0);
}

void idle_timer_stop(struct idle_timer *timer)
{
        event_del(&timer->event);
}
