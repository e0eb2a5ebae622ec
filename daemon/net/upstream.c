#include "net/upstream.h"

#include <assert.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/resolver.h"

#define STAGGER_MS 250 /* RFC 8305 5, Connection Attempt Delay */

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 /* linux/in.h */
#endif

/* One origin address. Only one of its sources is under way at a time. */
struct attempt {
        struct upstream_connect *owner;
        struct net_endpoint origin;
        struct snat_lease lease;
        int fd; /* -1: not begun, or over */
        struct event writable;
};

struct upstream_connect {
        struct event_base *base; /* borrowed */
        upstream_fn on_done;
        void *context;
        struct snat_pool *pool;         /* borrowed until the callback */
        struct snat_registry *registry; /* borrowed */
        struct net_address client;
        struct event deadline;
        struct event stagger;
        struct event deliver;
        struct upstream_answer answer; /* its reason is the most telling failure so far; fd and lease once connected */
        size_t running_count;
        size_t begun_count; /* attempts before this index were begun */
        size_t attempt_count;
        struct attempt attempts[];
};

/* Which failure of several tells the operator most: the higher. */
static int failure_rank(enum reason reason)
{
        static const enum reason ranks[] = {
                REASON_COMPLETED, /* no failure yet */
                REASON_SNAT_UNAVAILABLE, REASON_SNAT_EXHAUSTED,  REASON_CONNECT_UNREACHABLE,
                REASON_NO_RESOURCES,     REASON_CONNECT_REFUSED, REASON_CONNECT_TIMEOUT,
        };

        for (size_t i = 0; i < ARRAY_SIZE(ranks); i++)
                if (ranks[i] == reason)
                        return (int)i;
        assert(false);
        return 0;
}

static enum reason more_telling(enum reason a, enum reason b)
{
        return failure_rank(b) > failure_rank(a) ? b : a;
}

static enum reason reason_of_errno(int error)
{
        switch (error) {
        case ECONNREFUSED:
        case ECONNRESET:
                return REASON_CONNECT_REFUSED;
        case ETIMEDOUT:
                return REASON_CONNECT_TIMEOUT;
        case EADDRNOTAVAIL:
        case EADDRINUSE:
                return REASON_SNAT_EXHAUSTED;
        case EMFILE:
        case ENFILE:
        case ENOMEM:
        case ENOBUFS:
        case EAGAIN: /* no room in the routing cache, connect(2) */
                return REASON_NO_RESOURCES;
        default: /* ENETUNREACH, EHOSTUNREACH, EACCES and EPERM (a packet filter), EAFNOSUPPORT, … */
                return REASON_CONNECT_UNREACHABLE;
        }
}

static void set_option(int fd, int level, int option)
{
        int on = 1;

        /* Without them a connection works too, only less well. */
        (void)setsockopt(fd, level, option, &on, sizeof(on));
}

/* A non-blocking socket bound to the pool address, its port still open. Returns it, or -errno. */
static int open_bound(const struct net_address *source)
{
        struct net_endpoint endpoint = { .address = *source };
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &address);
        int fd = socket(source->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd == -1)
                return -errno;
        set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT); /* SOL_IP for IPv6 sockets as well, ip(7) */
        set_option(fd, SOL_TCP, TCP_NODELAY);
        if (bind(fd, (const struct sockaddr *)&address, length) == -1) {
                int error = errno;
                (void)close(fd);
                return -error;
        }
        return fd;
}

/* Returns REASON_COMPLETED: the connect is under way and the attempt holds socket and lease; otherwise why not. */
static enum reason connect_from(struct attempt *attempt, struct snat_address *source)
{
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&attempt->origin, &address);
        int fd;

        if (snat_address_is_exhausted(source, &attempt->origin, clock_monotonic_ms()))
                return REASON_SNAT_EXHAUSTED;
        fd = open_bound(snat_address_value(source));
        if (fd < 0)
                return fd == -EADDRNOTAVAIL ? REASON_SNAT_UNAVAILABLE : reason_of_errno(-fd);
        snat_lease_take(&attempt->lease, source, &attempt->origin);
        if (connect(fd, (const struct sockaddr *)&address, length) == -1 && errno != EINPROGRESS) {
                int error = errno;
                (void)close(fd);
                snat_lease_release(attempt->owner->registry, &attempt->lease);
                if (error == EADDRNOTAVAIL)
                        snat_address_note_exhausted(source, &attempt->origin, clock_monotonic_ms());
                return reason_of_errno(error);
        }
        attempt->fd = fd;
        return REASON_COMPLETED;
}

/* Tries one source after the other while the trouble is the source's. Returns as connect_from. */
static enum reason connect_from_pool(struct attempt *attempt)
{
        const struct upstream_connect *connect = attempt->owner;
        enum reason reason = REASON_SNAT_UNAVAILABLE;
        struct snat_cursor cursor;

        snat_cursor_start(&cursor, connect->pool, attempt->origin.address.family, &connect->client);
        for (;;) {
                struct snat_address *source = snat_cursor_next(&cursor);
                if (source == NULL)
                        return reason;
                enum reason outcome = connect_from(attempt, source);
                if (outcome != REASON_SNAT_UNAVAILABLE && outcome != REASON_SNAT_EXHAUSTED)
                        return outcome;
                reason = more_telling(reason, outcome);
        }
}

/* Closes the attempt's socket, if any, and gives back its lease. */
static void attempt_close(struct attempt *attempt)
{
        if (attempt->fd == -1)
                return;
        (void)event_del(&attempt->writable);
        (void)close(attempt->fd);
        attempt->fd = -1;
        snat_lease_release(attempt->owner->registry, &attempt->lease);
        attempt->owner->running_count--;
}

/* Ends all attempts and timers; the callback runs from the event loop. */
static void finish(struct upstream_connect *connect)
{
        for (size_t i = 0; i < connect->begun_count; i++)
                attempt_close(&connect->attempts[i]);
        (void)evtimer_del(&connect->deadline);
        (void)evtimer_del(&connect->stagger);
        event_active(&connect->deliver, EV_TIMEOUT, 0);
}

static void attempt_on_writable(evutil_socket_t fd, short what, void *context);

/* Whether the attempt is under way; if not, its reason counts. */
static bool attempt_begin(struct upstream_connect *connect, struct attempt *attempt)
{
        enum reason reason = connect_from_pool(attempt);

        connect->answer.origin = attempt->origin;
        if (reason == REASON_COMPLETED) {
                connect->running_count++;
                (void)event_assign(&attempt->writable, connect->base, attempt->fd, EV_WRITE, attempt_on_writable,
                                   attempt);
                if (event_add(&attempt->writable, NULL) == 0)
                        return true;
                attempt_close(attempt);
                reason = REASON_NO_RESOURCES;
        }
        connect->answer.reason = more_telling(connect->answer.reason, reason);
        return false;
}

/* Begins the next attempt that can be begun; the end, if there is none and none is under way. */
static void begin_next(struct upstream_connect *connect)
{
        static const struct timeval stagger = { .tv_usec = STAGGER_MS * 1000 };
        bool begun = false;

        while (!begun && connect->begun_count < connect->attempt_count)
                begun = attempt_begin(connect, &connect->attempts[connect->begun_count++]);
        if (connect->running_count == 0)
                finish(connect);
        else if (connect->begun_count < connect->attempt_count)
                (void)evtimer_add(&connect->stagger, &stagger); /* Fails only out of memory: no stagger then. */
}

static struct net_endpoint local_endpoint(int fd)
{
        struct sockaddr_storage address = { 0 };
        socklen_t length = sizeof(address);

        /* Fails only when fd is no socket; then the endpoint is AF_UNSPEC. */
        (void)getsockname(fd, (struct sockaddr *)&address, &length);
        return net_endpoint_from_sockaddr(&address);
}

/* Hands the socket and lease over to the answer. */
static void attempt_win(struct attempt *attempt, const struct net_endpoint *source)
{
        struct upstream_connect *connect = attempt->owner;

        connect->answer = (struct upstream_answer){
                .reason = REASON_COMPLETED,
                .fd = attempt->fd,
                .lease = attempt->lease,
                .origin = attempt->origin,
                .source = *source,
        };
        attempt->fd = -1;
        attempt->lease = (struct snat_lease){ 0 };
        connect->running_count--;
        finish(connect);
}

static void attempt_on_writable(evutil_socket_t fd, short what, void *context)
{
        struct attempt *attempt = context;
        struct upstream_connect *connect = attempt->owner;
        int error = 0;
        socklen_t length = sizeof(error);

        (void)what;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == -1)
                error = errno;
        struct net_endpoint source = local_endpoint(fd);
        /* Simultaneous open with oneself: a local origin without a listener whose port the kernel picked as our own. */
        if (error == 0 && net_endpoint_equal(&source, &attempt->origin))
                error = ECONNREFUSED;
        if (error == 0) {
                attempt_win(attempt, &source);
                return;
        }
        connect->answer.reason = more_telling(connect->answer.reason, reason_of_errno(error));
        connect->answer.origin = attempt->origin;
        attempt_close(attempt);
        begin_next(connect);
}

static void on_stagger(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        begin_next(context);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
        struct upstream_connect *connect = context;

        (void)fd;
        (void)what;
        connect->answer.reason = REASON_CONNECT_TIMEOUT;
        finish(connect);
}

static void on_deliver(evutil_socket_t fd, short what, void *context)
{
        struct upstream_connect *connect = context;
        struct upstream_answer answer = connect->answer;

        (void)fd;
        (void)what;
        upstream_fn on_done = connect->on_done;
        void *receiver = connect->context;
        free(connect);
        on_done(&answer, receiver);
}

static void assign_events(struct upstream_connect *connect)
{
        (void)evtimer_assign(&connect->deadline, connect->base, on_deadline, connect);
        (void)evtimer_assign(&connect->stagger, connect->base, on_stagger, connect);
        (void)evtimer_assign(&connect->deliver, connect->base, on_deliver, connect);
}

static void add_attempts(struct upstream_connect *connect, const struct upstream_request *request)
{
        connect->attempt_count = request->address_count;
        for (size_t i = 0; i < request->address_count; i++) {
                connect->attempts[i].owner = connect;
                connect->attempts[i].origin = (struct net_endpoint){ request->addresses[i], request->port };
                connect->attempts[i].fd = -1;
        }
}

int upstream_connect_start(struct event_base *base, const struct upstream_request *request, upstream_fn on_done,
                           void *context, struct upstream_connect **ret)
{
        struct timeval timeout = clock_timeval(request->timeout_ms);
        struct upstream_connect *connect;

        assert(request->address_count > 0 && request->address_count <= RESOLVER_MAX_ADDRESSES);
        connect = calloc(1, sizeof(*connect) + request->address_count * sizeof(connect->attempts[0]));
        if (connect == NULL)
                return -ENOMEM;
        connect->base = base;
        connect->on_done = on_done;
        connect->context = context;
        connect->pool = request->pool;
        connect->registry = request->registry;
        connect->client = request->client;
        connect->answer.fd = -1;
        add_attempts(connect, request);
        assign_events(connect);
        if (evtimer_add(&connect->deadline, &timeout) == -1) {
                free(connect);
                return -ENOMEM;
        }
        *ret = connect;
        begin_next(connect);
        return 0;
}

void upstream_connect_cancel(struct upstream_connect *connect)
{
        finish(connect);
        (void)event_del(&connect->deliver);
        if (connect->answer.fd != -1)
                (void)close(connect->answer.fd);
        snat_lease_release(connect->registry, &connect->answer.lease);
        free(connect);
}
