#include "traffic/dns_udp.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 32 /* datagrams in one system call */
#define DRAIN_BATCHES 256
#define MAX_QUERY_SIZE 2048 /* a longer one is cut, and malformed then: names and options of honest ones fit */
#define SOCKET_BUFFER_BYTES (1 << 20) /* for bursts; the kernel lowers it to net.core.rmem_max */

/* Room for the one control message that says which of our addresses is meant. */
union control {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Where a response goes, and from which of our addresses. */
struct reply_path {
        struct sockaddr_storage peer;
        socklen_t peer_length;
        struct net_address local; /* AF_UNSPEC: the socket is bound to one address */
        unsigned interface;       /* of a link-local address, which means nothing without; else 0: as routes say */
};

/* A query that waits for its answer. */
struct udp_query {
        LIST_ENTRY(udp_query) link; /* in udp->queries */
        struct dns_udp *udp;
        struct dns_request *request;
        struct reply_path path;
};

struct received {
        struct mmsghdr headers[BATCH];
        struct iovec parts[BATCH];
        struct sockaddr_storage peers[BATCH];
        union control controls[BATCH];
        uint8_t messages[BATCH][MAX_QUERY_SIZE];
};

struct outgoing {
        unsigned count;
        struct mmsghdr headers[BATCH];
        struct iovec parts[BATCH];
        struct reply_path paths[BATCH];
        union control controls[BATCH];
        uint8_t messages[BATCH][DNS_MESSAGE_OUR_UDP_SIZE];
};

struct dns_udp {
        struct dns_requests *requests; /* borrowed */
        int fd;                        /* -1: closed, drained */
        bool is_wildcard;
        bool is_draining;
        struct event readable;
        LIST_HEAD(, udp_query) queries; /* owned */
        struct received received;
        struct outgoing outgoing;
};

/* Of a datagram to a socket that is bound to every address. */
static void read_local_address(struct msghdr *header, struct reply_path *path)
{
        for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control != NULL; control = CMSG_NXTHDR(header, control)) {
                if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
                        struct in_pktinfo info;
                        memcpy(&info, CMSG_DATA(control), sizeof(info));
                        path->local.family = AF_INET;
                        memcpy(path->local.bytes, &info.ipi_spec_dst, sizeof(info.ipi_spec_dst));
                } else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
                        struct in6_pktinfo info;
                        memcpy(&info, CMSG_DATA(control), sizeof(info));
                        path->local.family = AF_INET6;
                        memcpy(path->local.bytes, &info.ipi6_addr, sizeof(info.ipi6_addr));
                        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
                                path->interface = info.ipi6_ifindex;
                }
        }
}

static void write_control(struct msghdr *header, union control *room, int level, int type, const void *info,
                          size_t size)
{
        memset(room, 0, sizeof(*room));
        room->header.cmsg_level = level;
        room->header.cmsg_type = type;
        room->header.cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(&room->header), info, size);
        header->msg_control = room;
        header->msg_controllen = CMSG_SPACE(size);
}

/* A client takes an answer only from the address that it asked. */
static void write_local_address(struct msghdr *header, const struct reply_path *path, union control *room)
{
        struct in_pktinfo ipv4 = { .ipi_ifindex = (int)path->interface };
        struct in6_pktinfo ipv6 = { .ipi6_ifindex = path->interface };

        if (path->local.family == AF_INET) {
                memcpy(&ipv4.ipi_spec_dst, path->local.bytes, sizeof(ipv4.ipi_spec_dst));
                write_control(header, room, IPPROTO_IP, IP_PKTINFO, &ipv4, sizeof(ipv4));
        } else if (path->local.family == AF_INET6) {
                memcpy(&ipv6.ipi6_addr, path->local.bytes, sizeof(ipv6.ipi6_addr));
                write_control(header, room, IPPROTO_IPV6, IPV6_PKTINFO, &ipv6, sizeof(ipv6));
        }
}

static void address_response(struct msghdr *header, struct reply_path *path, union control *room)
{
        header->msg_name = &path->peer;
        header->msg_namelen = path->peer_length;
        write_local_address(header, path, room);
}

/* Sends what a batch of queries was answered at once. A datagram that the kernel does not take is lost, as on the way. */
static void flush(struct dns_udp *udp)
{
        struct outgoing *outgoing = &udp->outgoing;
        unsigned sent = 0;

        while (sent < outgoing->count) {
                int count = sendmmsg(udp->fd, outgoing->headers + sent, outgoing->count - sent, 0);
                if (count < 0 && errno == EINTR)
                        continue;
                sent += count > 0 ? (unsigned)count : 1; /* The first of those that are left is the one that failed. */
        }
        outgoing->count = 0;
}

static void queue_response(struct dns_udp *udp, const struct reply_path *path, const uint8_t *response, size_t length)
{
        struct outgoing *outgoing = &udp->outgoing;
        unsigned i = outgoing->count++;

        memcpy(outgoing->messages[i], response, length);
        outgoing->paths[i] = *path;
        outgoing->parts[i] = (struct iovec){ .iov_base = outgoing->messages[i], .iov_len = length };
        outgoing->headers[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &outgoing->parts[i], .msg_iovlen = 1 } };
        address_response(&outgoing->headers[i].msg_hdr, &outgoing->paths[i], &outgoing->controls[i]);
}

/* Who asks from then on hears at once that nobody is there, and asks another server. */
static void close_when_drained(struct dns_udp *udp)
{
        if (!udp->is_draining || !LIST_EMPTY(&udp->queries) || udp->fd == -1)
                return;
        close(udp->fd);
        udp->fd = -1;
}

static void query_on_response(const uint8_t *response, size_t length, void *context)
{
        struct udp_query *query = context;
        struct dns_udp *udp = query->udp;

        queue_response(udp, &query->path, response, length);
        flush(udp);
        LIST_REMOVE(query, link);
        free(query);
        close_when_drained(udp);
}

static void keep_query(struct dns_udp *udp, struct dns_request *request, const struct reply_path *path)
{
        struct udp_query *query = malloc(sizeof(*query));

        if (query == NULL) {
                dns_request_cancel(request, REASON_NO_RESOURCES);
                return;
        }
        query->udp = udp;
        query->request = request;
        query->path = *path;
        LIST_INSERT_HEAD(&udp->queries, query, link);
        dns_request_wait(request, query_on_response, query);
}

static void take_query(struct dns_udp *udp, struct mmsghdr *datagram)
{
        struct msghdr *header = &datagram->msg_hdr;
        const struct sockaddr_storage *peer = header->msg_name;
        struct reply_path path = { .peer = *peer, .peer_length = header->msg_namelen };
        struct net_endpoint client = net_endpoint_from_sockaddr(peer);
        struct dns_request *request;
        const uint8_t *response;
        size_t length;

        if (udp->is_wildcard)
                read_local_address(header, &path);
        switch (dns_request_start(udp->requests, &client, DNS_TRANSPORT_UDP, header->msg_iov->iov_base,
                                  datagram->msg_len, &response, &length, &request)) {
        case DNS_REQUEST_ANSWERED:
                queue_response(udp, &path, response, length);
                break;
        case DNS_REQUEST_PENDING:
                keep_query(udp, request, &path);
                break;
        case DNS_REQUEST_UNANSWERED:
                break;
        }
}

static void prepare_receiving(struct dns_udp *udp)
{
        struct received *received = &udp->received;

        for (size_t i = 0; i < BATCH; i++) {
                received->parts[i] = (struct iovec){ .iov_base = received->messages[i], .iov_len = MAX_QUERY_SIZE };
                received->headers[i].msg_hdr = (struct msghdr){
                        .msg_name = &received->peers[i],
                        .msg_namelen = sizeof(received->peers[i]),
                        .msg_iov = &received->parts[i],
                        .msg_iovlen = 1,
                        .msg_control = udp->is_wildcard ? &received->controls[i] : NULL,
                        .msg_controllen = udp->is_wildcard ? sizeof(received->controls[i]) : 0,
                };
        }
}

/* Answers one batch. Returns how many datagrams there were; 0: none for now. */
static unsigned take_batch(struct dns_udp *udp)
{
        prepare_receiving(udp);
        int count = recvmmsg(udp->fd, udp->received.headers, BATCH, MSG_DONTWAIT, NULL);

        if (count <= 0) /* Errors of single datagrams (ICMP) are not reported to a socket that is not connected. */
                return 0;
        for (int i = 0; i < count; i++)
                take_query(udp, &udp->received.headers[i]);
        flush(udp);
        return (unsigned)count;
}

/* One batch, so that other sockets get their turn: the loop comes back while there is more. */
static void on_readable(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        (void)take_batch(context);
}

static int set_options(int fd, int family, bool is_wildcard)
{
        int bytes = SOCKET_BUFFER_BYTES;
        int on = 1;

        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); /* Less only loses more of a burst. */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
        if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == -1)
                return -errno;
        if (!is_wildcard)
                return 0;
        int r = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on))
                                   : setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
        return r == -1 ? -errno : 0;
}

/* How a socket may use its port: as one of the workers', or nobody else with it. */
enum port_use {
        PORT_SHARED = 0,
        PORT_ALONE,
};

/* Returns a bound descriptor or -Exxx. */
static int bind_socket(const struct net_endpoint *endpoint, bool is_wildcard, enum port_use use)
{
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(endpoint, &address);
        int fd = socket(endpoint->address.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int on = 1;

        if (fd == -1)
                return -errno;
        int r = set_options(fd, endpoint->address.family, is_wildcard);
        if (r == 0 && use == PORT_SHARED && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == -1)
                r = -errno;
        if (r == 0 && bind(fd, (const struct sockaddr *)&address, length) == -1)
                r = -errno;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

/* Workers share a port, and so would a second daemon of the same user, unnoticed: the first worker asks for it alone. */
static int open_socket(struct dns_udp *udp, const struct net_endpoint *endpoint)
{
        if (udp->requests->traffic->producer == 0) {
                int fd = bind_socket(endpoint, udp->is_wildcard, PORT_ALONE);
                if (fd < 0)
                        return fd;
                close(fd);
        }
        udp->fd = bind_socket(endpoint, udp->is_wildcard, PORT_SHARED);
        return udp->fd < 0 ? udp->fd : 0;
}

int dns_udp_new(struct dns_requests *requests, const struct net_endpoint *endpoint, char *error, size_t error_size,
                struct dns_udp **ret)
{
        static const uint8_t zeroes[16];
        struct dns_udp *udp = calloc(1, sizeof(*udp));
        char text[NET_ENDPOINT_TEXT_SIZE];

        if (udp == NULL) {
                snprintf(error, error_size, "out of memory");
                return -ENOMEM;
        }
        udp->requests = requests;
        udp->is_wildcard = memcmp(endpoint->address.bytes, zeroes, sizeof(zeroes)) == 0;
        LIST_INIT(&udp->queries);
        int r = open_socket(udp, endpoint);
        if (r < 0) {
                snprintf(error, error_size, "listen.dns: cannot listen on UDP %s: %s",
                         net_endpoint_format(endpoint, text), strerror(-r));
                free(udp);
                return r;
        }
        event_assign(&udp->readable, requests->traffic->base, udp->fd, EV_READ | EV_PERSIST, on_readable, udp);
        event_add(&udp->readable, NULL);
        *ret = udp;
        return 0;
}

void dns_udp_drain(struct dns_udp *udp)
{
        event_del(&udp->readable);
        /* What the kernel holds for this socket no other worker can answer. It holds less than this, and more may come. */
        for (unsigned i = 0; i < DRAIN_BATCHES && take_batch(udp) > 0; i++)
                ;
        udp->is_draining = true;
        close_when_drained(udp);
}

bool dns_udp_is_idle(const struct dns_udp *udp)
{
        return LIST_EMPTY(&udp->queries);
}

void dns_udp_end_queries(struct dns_udp *udp, enum reason reason)
{
        while (!LIST_EMPTY(&udp->queries)) {
                struct udp_query *query = LIST_FIRST(&udp->queries);
                LIST_REMOVE(query, link);
                dns_request_cancel(query->request, reason);
                free(query);
        }
}

void dns_udp_free(struct dns_udp *udp)
{
        if (udp == NULL)
                return;
        event_del(&udp->readable);
        if (udp->fd != -1)
                close(udp->fd);
        free(udp);
}
