#include "traffic/listener.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "traffic/connection_state.h"

#define BACKLOG 4096         /* the kernel lowers it to net.core.somaxconn */
#define ACCEPTS_PER_EVENT 32 /* so that accepting does not starve what is open */
#define PAUSE_SECONDS 1      /* without descriptors, not even the spare one */
#define SOCKETS_MAX 2        /* the transparent listener has one per family */

struct accepting_socket {
        struct listener *listener; /* borrowed: the one it is part of */
        int fd;                    /* -1: not open */
        struct event acceptable;
};

struct listener {
        struct traffic *traffic; /* borrowed: the worker's */
        enum decision_listener kind;
        listener_client_fn on_client; /* NULL: a client becomes a connection */
        void *context;
        uint16_t port;
        int spare_fd; /* -1: not held */
        struct accepting_socket sockets[SOCKETS_MAX];
        struct event resume;
};

static void record_and_reset(struct listener *listener, int fd, const struct net_endpoint *client,
                             const struct net_endpoint *original, enum reason reason)
{
        connection_record_refusal(listener->traffic, listener->kind, client, original, reason);
        connection_reset_socket(fd);
}

/* Where the client dialled: TPROXY leaves it as the socket's own address. */
static struct net_endpoint original_destination(const struct listener *listener, int fd)
{
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);

        if (listener->kind != DECISION_LISTENER_TRANSPARENT ||
            getsockname(fd, (struct sockaddr *)&address, &length) == -1)
                return (struct net_endpoint){ 0 };
        return net_endpoint_from_sockaddr(&address);
}

static void start_connection(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
        struct net_endpoint client = net_endpoint_from_sockaddr(peer);
        struct net_endpoint original = original_destination(listener, fd);

        /* Nobody is steered to the listener's own port: who arrives there dialled it. */
        if (listener->kind == DECISION_LISTENER_TRANSPARENT && original.port == listener->port) {
                record_and_reset(listener, fd, &client, &original, REASON_OWN_ADDRESS);
                return;
        }
        if (listener->on_client != NULL)
                listener->on_client(fd, &client, listener->context);
        else
                connection_start(listener->traffic, fd, listener->kind, &client, &original);
}

/* Out of descriptors: takes one client in with the spare one, so that it is told and recorded instead of left waiting.
 * Returns 0, or an errno: EAGAIN if there was none, for accept4() asks for the descriptor first. */
static int turn_one_away(struct listener *listener, int fd)
{
        struct sockaddr_storage peer;
        socklen_t length = sizeof(peer);
        int error = 0;

        if (listener->spare_fd == -1)
                return EMFILE;
        close(listener->spare_fd);
        int client_fd = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client_fd >= 0) {
                struct net_endpoint client = net_endpoint_from_sockaddr(&peer);
                struct net_endpoint original = original_destination(listener, client_fd);
                record_and_reset(listener, client_fd, &client, &original, REASON_NO_RESOURCES);
        } else {
                error = errno;
        }
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return error;
}

static void pause_accepting(struct listener *listener)
{
        struct timeval pause = { .tv_sec = PAUSE_SECONDS };

        for (size_t i = 0; i < SOCKETS_MAX; i++)
                if (listener->sockets[i].fd != -1)
                        event_del(&listener->sockets[i].acceptable);
        event_add(&listener->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *context)
{
        struct listener *listener = context;

        (void)fd;
        (void)what;
        if (listener->spare_fd == -1)
                listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        for (size_t i = 0; i < SOCKETS_MAX; i++)
                if (listener->sockets[i].fd != -1)
                        event_add(&listener->sockets[i].acceptable, NULL);
}

/* Returns whether to go on accepting now. */
static bool survive_accept_error(struct listener *listener, int fd, int error)
{
        switch (error) {
        case EAGAIN:
                return false;
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
                error = turn_one_away(listener, fd);
                if (error == 0 || error == EAGAIN)
                        return error == 0;
                log_warning("accept: %s, pausing for %d s", strerror(error), PAUSE_SECONDS);
                pause_accepting(listener);
                return false;
        default:
                /* The connection died in the queue (accept(2), "Error handling"): go on with the next. */
                return true;
        }
}

static void on_acceptable(evutil_socket_t fd, short what, void *context)
{
        struct accepting_socket *socket = context;

        (void)what;
        for (size_t i = 0; i < ACCEPTS_PER_EVENT; i++) {
                struct sockaddr_storage peer;
                socklen_t length = sizeof(peer);
                int client_fd = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (client_fd >= 0)
                        start_connection(socket->listener, client_fd, &peer);
                else if (!survive_accept_error(socket->listener, fd, errno))
                        return;
        }
}

/* How a socket may use its port: as one of the workers', or nobody else listening on it. */
enum port_use {
        PORT_SHARED = 0,
        PORT_ALONE,
};

static int set_options(int fd, int family, enum decision_listener kind, enum port_use use)
{
        int on = 1;

        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
            (use == PORT_SHARED && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1))
                return -errno;
        /* Accepted sockets have it from here. Only costs latency when it fails. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1)
                return -errno;
        if (kind != DECISION_LISTENER_TRANSPARENT)
                return 0;
        int r = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on))
                                   : setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
        return r == -1 ? -errno : 0;
}

/* Returns a bound descriptor or -Exxx. */
static int bind_socket(enum decision_listener kind, const struct net_endpoint *endpoint, enum port_use use)
{
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(endpoint, &address);
        int fd = socket(endpoint->address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd == -1)
                return -errno;
        int r = set_options(fd, endpoint->address.family, kind, use);
        if (r == 0 && bind(fd, (struct sockaddr *)&address, length) == -1)
                r = -errno;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

/* Workers share a port, and so would a second daemon of the same user, unnoticed: the first worker asks for it alone. */
static int check_unused(enum decision_listener kind, const struct net_endpoint *endpoint)
{
        int fd = bind_socket(kind, endpoint, PORT_ALONE);

        if (fd < 0)
                return fd;
        close(fd);
        return 0;
}

/* Returns a listening descriptor or -Exxx. */
static int open_socket(const struct listener *listener, const struct net_endpoint *endpoint)
{
        int r = listener->traffic->producer == 0 ? check_unused(listener->kind, endpoint) : 0;
        int fd = r < 0 ? r : bind_socket(listener->kind, endpoint, PORT_SHARED);

        if (fd >= 0 && listen(fd, BACKLOG) == -1) {
                r = -errno;
                close(fd);
                return r;
        }
        return fd;
}

/* As in the configuration. */
static const char *kind_name(enum decision_listener kind)
{
        switch (kind) {
        case DECISION_LISTENER_TRANSPARENT:
                return "transparent";
        case DECISION_LISTENER_PROXY:
                return "proxy";
        case DECISION_LISTENER_DNS:
                return "dns";
        case DECISION_LISTENER_NONE:
        case DECISION_LISTENER_FORWARD:
                break;
        }
        return "";
}

static int add_socket(struct listener *listener, size_t index, const struct net_endpoint *endpoint, char *error,
                      size_t error_size)
{
        struct accepting_socket *socket = &listener->sockets[index];
        char text[NET_ENDPOINT_TEXT_SIZE];
        int fd = open_socket(listener, endpoint);

        /* A kernel without IPv6 has no IPv6 clients either. */
        if (fd == -EAFNOSUPPORT && listener->kind == DECISION_LISTENER_TRANSPARENT)
                return 0;
        if (fd < 0) {
                snprintf(error, error_size, "listen.%s: cannot listen on %s: %s%s", kind_name(listener->kind),
                         net_endpoint_format(endpoint, text), strerror(-fd),
                         fd == -EPERM ? " (transparent sockets need CAP_NET_ADMIN)" : "");
                return fd;
        }
        socket->fd = fd;
        event_assign(&socket->acceptable, listener->traffic->base, fd, EV_READ | EV_PERSIST, on_acceptable, socket);
        event_add(&socket->acceptable, NULL);
        return 0;
}

static int open_sockets(struct listener *listener, const struct net_endpoint *endpoint, char *error, size_t error_size)
{
        struct net_endpoint any = { .port = endpoint->port };

        if (listener->kind != DECISION_LISTENER_TRANSPARENT)
                return add_socket(listener, 0, endpoint, error, error_size);
        any.address.family = AF_INET;
        int r = add_socket(listener, 0, &any, error, error_size);
        if (r < 0)
                return r;
        any.address.family = AF_INET6;
        return add_socket(listener, 1, &any, error, error_size);
}

int listener_new(struct traffic *traffic, enum decision_listener kind, const struct net_endpoint *endpoint, char *error,
                 size_t error_size, struct listener **ret)
{
        return listener_new_handing_on(traffic, kind, endpoint, NULL, NULL, error, error_size, ret);
}

int listener_new_handing_on(struct traffic *traffic, enum decision_listener kind, const struct net_endpoint *endpoint,
                            listener_client_fn on_client, void *context, char *error, size_t error_size,
                            struct listener **ret)
{
        struct listener *listener = calloc(1, sizeof(*listener));

        if (listener == NULL) {
                snprintf(error, error_size, "out of memory");
                return -ENOMEM;
        }
        listener->traffic = traffic;
        listener->kind = kind;
        listener->on_client = on_client;
        listener->context = context;
        listener->port = endpoint->port;
        listener->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        event_assign(&listener->resume, traffic->base, -1, 0, on_resume, listener);
        for (size_t i = 0; i < SOCKETS_MAX; i++) {
                listener->sockets[i].listener = listener;
                listener->sockets[i].fd = -1;
        }
        int r = open_sockets(listener, endpoint, error, error_size);
        if (r < 0) {
                listener_free(listener);
                return r;
        }
        *ret = listener;
        return 0;
}

void listener_free(struct listener *listener)
{
        if (listener == NULL)
                return;
        event_del(&listener->resume);
        for (size_t i = 0; i < SOCKETS_MAX; i++) {
                if (listener->sockets[i].fd == -1)
                        continue;
                event_del(&listener->sockets[i].acceptable);
                close(listener->sockets[i].fd);
        }
        if (listener->spare_fd != -1)
                close(listener->spare_fd);
        free(listener);
}
