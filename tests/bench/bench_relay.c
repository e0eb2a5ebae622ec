/*
 * What moving bytes costs: recv() and send() against splice() through a pipe for pieces of each size, then whole streams
 * through a relay with and without pipes, and the memory that an idle relay holds. All over loopback TCP.
 */
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net/relay.h"

#define LARGEST_PIECE (256 << 10)
#define PIECES 2000
#define STREAM_BYTES (2ULL << 30)

static uint8_t block[LARGEST_PIECE];

static void fail(const char *what)
{
        perror(what);
        exit(EXIT_FAILURE);
}

static void tcp_pair(int ends[2])
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        int buffer = 1 << 20;

        setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
        if (bind(listener, (struct sockaddr *)&address, size) == -1 || listen(listener, 1) == -1 ||
            getsockname(listener, (struct sockaddr *)&address, &size) == -1)
                fail("listen");
        ends[0] = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
        if (connect(ends[0], (struct sockaddr *)&address, size) == -1)
                fail("connect");
        ends[1] = accept(listener, NULL, NULL);
        close(listener);
}

static uint64_t now_ns(clockid_t clock)
{
        struct timespec time;

        clock_gettime(clock, &time);
        return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void send_all(int fd, size_t length)
{
        for (ssize_t sent; length > 0; length -= (size_t)sent) {
                sent = send(fd, block, length < sizeof(block) ? length : sizeof(block), MSG_NOSIGNAL);
                if (sent <= 0)
                        fail("send");
        }
}

/* Takes the bytes off the socket without copying them, so that the receiver costs little. */
static void discard(int fd, uint64_t length)
{
        for (ssize_t got; length > 0; length -= (uint64_t)got) {
                got = recv(fd, block, length < sizeof(block) ? (size_t)length : sizeof(block), MSG_TRUNC);
                if (got <= 0)
                        fail("recv");
        }
}

static void copy_piece(int from, int to, size_t length)
{
        for (ssize_t got; length > 0; length -= (size_t)got) {
                got = recv(from, block, length < 65536 ? length : 65536, 0);
                if (got <= 0 || send(to, block, (size_t)got, 0) != got)
                        fail("copy");
        }
}

static void splice_piece(int from, int to, const int *ends, size_t length)
{
        for (ssize_t got; length > 0; length -= (size_t)got) {
                got = splice(from, NULL, ends[1], NULL, length, SPLICE_F_MOVE);
                if (got <= 0 || splice(ends[0], NULL, to, NULL, (size_t)got, SPLICE_F_MOVE) != got)
                        fail("splice");
        }
}

/* CPU time of this thread for one piece, in ns. */
static uint64_t cost_of_piece(size_t length, const int *ends)
{
        int in[2], out[2];
        uint64_t total = 0;

        tcp_pair(in);
        tcp_pair(out);
        for (int i = 0; i < PIECES; i++) {
                send_all(in[0], length);
                uint64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
                if (ends == NULL)
                        copy_piece(in[1], out[0], length);
                else
                        splice_piece(in[1], out[0], ends, length);
                total += now_ns(CLOCK_THREAD_CPUTIME_ID) - before;
                discard(out[1], length);
        }
        for (int i = 0; i < 2; i++) {
                close(in[i]);
                close(out[i]);
        }
        return total / PIECES;
}

static void compare_pieces(void)
{
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) == -1)
                fail("pipe2");
        (void)fcntl(ends[1], F_SETPIPE_SZ, LARGEST_PIECE);
        printf("%-12s %12s %12s\n", "piece", "copy ns", "splice ns");
        for (size_t length = 1024; length <= LARGEST_PIECE; length *= 2) {
                uint64_t copied = cost_of_piece(length, NULL);

                printf("%8zu KiB %12llu %12llu\n", length >> 10, (unsigned long long)copied,
                       (unsigned long long)cost_of_piece(length, ends));
        }
        close(ends[0]);
        close(ends[1]);
}

static void *send_stream(void *context)
{
        const int *fd = context;

        for (uint64_t left = STREAM_BYTES; left > 0; left -= sizeof(block))
                send_all(*fd, sizeof(block));
        shutdown(*fd, SHUT_WR);
        return NULL;
}

static void *receive_stream(void *context)
{
        const int *fd = context;

        discard(*fd, STREAM_BYTES);
        shutdown(*fd, SHUT_WR);
        return NULL;
}

static void on_done(const struct relay_result *result, void *context)
{
        bool *done = context;

        if (result->reason != REASON_COMPLETED || result->bytes_in != STREAM_BYTES)
                fail("relay");
        *done = true;
}

static void set_descriptor_limit(rlim_t limit)
{
        struct rlimit descriptors;

        getrlimit(RLIMIT_NOFILE, &descriptors);
        descriptors.rlim_cur = limit;
        setrlimit(RLIMIT_NOFILE, &descriptors);
}

/* Without descriptors to spare there are no pipes, and the relay copies. */
static void relay_stream(bool with_pipes)
{
        struct event_base *base = event_base_new();
        struct relay_pool *pool = NULL;
        struct relay_pool_statistics statistics;
        struct relay *relay;
        struct rlimit before;
        int client[2], origin[2];
        pthread_t sender, receiver;
        bool done = false;

        tcp_pair(client);
        tcp_pair(origin);
        fcntl(client[1], F_SETFL, O_NONBLOCK);
        fcntl(origin[1], F_SETFL, O_NONBLOCK);
        if (base == NULL || relay_pool_new(base, &pool) < 0)
                fail("relay_pool_new");
        struct relay_request request = { .client_fd = client[1], .upstream_fd = origin[1], .idle_timeout_ms = 60000 };
        if (relay_start(pool, &request, on_done, &done, &relay) < 0)
                fail("relay_start");
        getrlimit(RLIMIT_NOFILE, &before);
        if (!with_pipes)
                set_descriptor_limit(3);
        pthread_create(&sender, NULL, send_stream, &origin[0]);
        pthread_create(&receiver, NULL, receive_stream, &client[0]);
        uint64_t wall = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
        while (!done)
                event_base_loop(base, EVLOOP_ONCE);
        wall = now_ns(CLOCK_MONOTONIC) - wall;
        cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
        pthread_join(sender, NULL);
        pthread_join(receiver, NULL);
        set_descriptor_limit(before.rlim_cur);
        relay_pool_statistics(pool, &statistics);
        printf("%-12s %9.2f GB/s %9.3f CPU s/GB %8.0f %% spliced\n", with_pipes ? "with pipes" : "copying",
               (double)STREAM_BYTES / (double)wall, (double)cpu / (double)STREAM_BYTES,
               100.0 * (double)statistics.bytes_spliced / (double)STREAM_BYTES);
        relay_pool_free(pool);
        event_base_free(base);
        for (int i = 0; i < 2; i++) {
                close(client[i]);
                close(origin[i]);
        }
}

static void measure_idle(void)
{
        struct event_base *base = event_base_new();
        struct relay_pool *pool = NULL;
        struct relay_result result;
        struct relay *relay;
        int client[2], origin[2];

        tcp_pair(client);
        tcp_pair(origin);
        if (base == NULL || relay_pool_new(base, &pool) < 0)
                fail("relay_pool_new");
        struct relay_request request = { .client_fd = client[1], .upstream_fd = origin[1], .idle_timeout_ms = 60000 };
        if (relay_start(pool, &request, on_done, NULL, &relay) < 0)
                fail("relay_start");
        printf("an idle relay: %zu bytes\n", malloc_usable_size(relay));
        relay_cancel(relay, &result);
        relay_pool_free(pool);
        event_base_free(base);
        for (int i = 0; i < 2; i++) {
                close(client[i]);
                close(origin[i]);
        }
}

int main(void)
{
        signal(SIGPIPE, SIG_IGN);
        compare_pieces();
        for (int i = 0; i < 2; i++) {
                relay_stream(false);
                relay_stream(true);
        }
        measure_idle();
        return EXIT_SUCCESS;
}
