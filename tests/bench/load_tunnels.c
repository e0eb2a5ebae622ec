/*
 * Load for a proxy: opens tunnels to an origin (origin_tunnels), sends a ClientHello, waits for the answer, and prints
 * one line of JSON. It ends after --total tunnels or --seconds, whichever is first.
 *
 *   load_tunnels --to ADDRESS:PORT --name NAME [--from ADDRESS] [--connect] [--concurrent N] [--total N] [--seconds N] [--hold | --bulk |
 *                --refused]
 *
 * --connect   ask a proxy with CONNECT first
 * --hold      open the tunnels and keep them, idle, until standard input ends
 * --bulk      read for --seconds what the origin writes
 * --refused   the proxy is to refuse: anything but the origin's answer will do
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tunnels.h"

#define EVENTS_MAX 256
#define TOTAL_MAX 1000000
#define BLOCK_BYTES (1 << 20)

enum mode {
        MODE_SHORT = 0, /* close after the answer */
        MODE_HOLD,
        MODE_BULK,
        MODE_REFUSED,
};

enum phase {
        PHASE_CONNECTING = 0,
        PHASE_ASKING,  /* CONNECT is sent */
        PHASE_READING, /* the hello is sent */
        PHASE_DONE,    /* held */
};

struct tunnel {
        int fd;
        enum phase phase;
        uint64_t started_us;
        uint64_t received;
};

struct load {
        struct sockaddr_in to;
        struct sockaddr_in from; /* sin_family 0: whichever the kernel takes */
        const char *name;
        bool connect;
        enum mode mode;
        size_t concurrent;
        size_t total;
        uint64_t seconds;
        int epoll_fd;
        size_t begun;
        size_t open;
        size_t done;
        size_t failed;
        uint64_t bytes;
        uint32_t *latencies_us; /* of those that are done */
        uint8_t hello[TUNNELS_HELLO_BYTES];
        char ask[2 * TUNNELS_NAME_MAX_LENGTH + 64];
        uint8_t block[BLOCK_BYTES];
};

static void begin_tunnel(struct load *load)
{
        struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
        int on = 1;

        if (tunnel == NULL)
                tunnels_die("calloc");
        tunnel->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (tunnel->fd == -1)
                tunnels_die("socket");
        (void)setsockopt(tunnel->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* Only costs latency. */
        if (load->from.sin_family == AF_INET &&
            bind(tunnel->fd, (struct sockaddr *)&load->from, sizeof(load->from)) == -1)
                tunnels_die("bind");
        tunnel->started_us = tunnels_now_us();
        load->begun++;
        load->open++;
        if (connect(tunnel->fd, (struct sockaddr *)&load->to, sizeof(load->to)) == -1 && errno != EINPROGRESS)
                tunnels_die("connect");
        tunnels_watch(load->epoll_fd, EPOLL_CTL_ADD, tunnel->fd, EPOLLOUT, tunnel);
}

static void end_tunnel(struct load *load, struct tunnel *tunnel, bool well)
{
        if (well)
                load->latencies_us[load->done++] = (uint32_t)(tunnels_now_us() - tunnel->started_us);
        else
                load->failed++;
        load->open--;
        close(tunnel->fd);
        free(tunnel);
}

/* The tunnel stands and has done its work; held ones stay. */
static void fulfil(struct load *load, struct tunnel *tunnel)
{
        if (load->mode == MODE_SHORT) {
                end_tunnel(load, tunnel, true);
        } else if (load->mode == MODE_HOLD) {
                load->latencies_us[load->done++] = (uint32_t)(tunnels_now_us() - tunnel->started_us);
                load->open--;
                tunnel->phase = PHASE_DONE;
        }
}

static void say(struct load *load, struct tunnel *tunnel, const void *bytes, size_t length, enum phase next)
{
        if (send(tunnel->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) {
                end_tunnel(load, tunnel, false);
                return;
        }
        tunnel->phase = next;
}

static void on_writable(struct load *load, struct tunnel *tunnel)
{
        tunnels_watch(load->epoll_fd, EPOLL_CTL_MOD, tunnel->fd, EPOLLIN, tunnel);
        if (load->connect)
                say(load, tunnel, load->ask, strlen(load->ask), PHASE_ASKING);
        else
                say(load, tunnel, load->hello, sizeof(load->hello), PHASE_READING);
}

/* The proxy's answer to CONNECT is small and comes at once. */
static void on_answer_to_connect(struct load *load, struct tunnel *tunnel, size_t length)
{
        bool opened = length > 12 && memcmp(load->block + 8, " 200", 4) == 0 &&
                      memcmp(load->block + length - 4, "\r\n\r\n", 4) == 0;

        if (opened)
                say(load, tunnel, load->hello, sizeof(load->hello), PHASE_READING);
        else
                end_tunnel(load, tunnel, load->mode == MODE_REFUSED);
}

static void on_readable(struct load *load, struct tunnel *tunnel)
{
        bool discard = load->mode == MODE_BULK && tunnel->phase == PHASE_READING;
        ssize_t got = recv(tunnel->fd, load->block, sizeof(load->block), discard ? MSG_TRUNC : 0);

        if (got == -1 && errno == EAGAIN)
                return;
        if (got <= 0 || (load->mode == MODE_REFUSED && tunnel->phase == PHASE_READING)) {
                end_tunnel(load, tunnel, load->mode == MODE_REFUSED && tunnel->received == 0);
                return;
        }
        if (tunnel->phase == PHASE_ASKING) {
                on_answer_to_connect(load, tunnel, (size_t)got);
                return;
        }
        load->bytes += (size_t)got;
        tunnel->received += (size_t)got;
        if (tunnel->received >= TUNNELS_ANSWER_BYTES)
                fulfil(load, tunnel);
}

static void on_event(struct load *load, const struct epoll_event *event)
{
        struct tunnel *tunnel = event->data.ptr;

        if (tunnel->phase == PHASE_DONE) {
                load->failed++;
                load->done--;
                tunnels_watch(load->epoll_fd, EPOLL_CTL_DEL, tunnel->fd, 0, NULL);
        } else if (tunnel->phase == PHASE_CONNECTING && (event->events & (EPOLLERR | EPOLLHUP)) == 0) {
                on_writable(load, tunnel);
        } else {
                on_readable(load, tunnel);
        }
}

static void run(struct load *load)
{
        uint64_t until_us = tunnels_now_us() + load->seconds * 1000000;
        struct epoll_event events[EVENTS_MAX];

        for (;;) {
                while (load->open < load->concurrent && load->begun < load->total)
                        begin_tunnel(load);
                uint64_t now_us = tunnels_now_us();
                if (load->open == 0 || now_us >= until_us)
                        return;
                int count = epoll_wait(load->epoll_fd, events, EVENTS_MAX, (int)((until_us - now_us) / 1000) + 1);
                for (int i = 0; i < count; i++)
                        on_event(load, &events[i]);
        }
}

static int by_size(const void *a, const void *b)
{
        const uint32_t *left = a;
        const uint32_t *right = b;

        return (*left > *right) - (*left < *right);
}

static uint32_t latency(const struct load *load, size_t percent)
{
        return load->done == 0 ? 0 : load->latencies_us[(load->done - 1) * percent / 100];
}

static void report(struct load *load, double seconds)
{
        qsort(load->latencies_us, load->done, sizeof(load->latencies_us[0]), by_size);
        printf("{\"done\": %zu, \"failed\": %zu, \"open\": %zu, \"seconds\": %.3f, \"per_second\": %.1f, "
               "\"p50_us\": %u, \"p99_us\": %u, \"bytes_per_second\": %.0f}\n",
               load->done, load->failed, load->open, seconds, (double)load->done / seconds, latency(load, 50),
               latency(load, 99), (double)load->bytes / seconds);
        fflush(stdout);
}

static size_t number(const char *text)
{
        char *end;
        unsigned long value = strtoul(text, &end, 10);

        if (end == text || *end != '\0' || value == 0 || value > TOTAL_MAX) {
                fprintf(stderr, "'%s' is not a number from 1 to %d\n", text, TOTAL_MAX);
                exit(2);
        }
        return value;
}

static void read_options(struct load *load, int argc, char **argv)
{
        static const struct option options[] = {
                { "to", required_argument, NULL, 't' },
                { "name", required_argument, NULL, 'n' },
                { "from", required_argument, NULL, 'f' },
                { "connect", no_argument, NULL, 'c' },
                { "hold", no_argument, NULL, 'h' },
                { "bulk", no_argument, NULL, 'b' },
                { "refused", no_argument, NULL, 'r' },
                { "concurrent", required_argument, NULL, 'p' },
                { "total", required_argument, NULL, 'a' },
                { "seconds", required_argument, NULL, 's' },
                { 0 },
        };
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
                if (option == 't')
                        load->to = tunnels_endpoint(optarg);
                else if (option == 'n')
                        load->name = optarg;
                else if (option == 'f' && inet_pton(AF_INET, optarg, &load->from.sin_addr) == 1)
                        load->from.sin_family = AF_INET;
                else if (option == 'c')
                        load->connect = true;
                else if (option == 'h')
                        load->mode = MODE_HOLD;
                else if (option == 'b')
                        load->mode = MODE_BULK;
                else if (option == 'r')
                        load->mode = MODE_REFUSED;
                else if (option == 'p')
                        load->concurrent = number(optarg);
                else if (option == 'a')
                        load->total = number(optarg);
                else if (option == 's')
                        load->seconds = number(optarg);
                else
                        exit(2);
        }
        if (load->to.sin_port == 0 || load->name == NULL || strlen(load->name) > TUNNELS_NAME_MAX_LENGTH) {
                fprintf(stderr, "--to and --name are needed; the head of load_tunnels.c says more\n");
                exit(2);
        }
}

static void allow_many_descriptors(void)
{
        struct rlimit limit;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
        static struct load load = { .concurrent = 50, .total = 1000, .seconds = 20 };

        read_options(&load, argc, argv);
        allow_many_descriptors();
        load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        load.latencies_us = calloc(load.total, sizeof(load.latencies_us[0]));
        if (load.epoll_fd == -1 || load.latencies_us == NULL)
                tunnels_die("start");
        tunnels_hello(load.name, load.hello);
        snprintf(load.ask, sizeof(load.ask), "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n\r\n", load.name, load.name);
        uint64_t started_us = tunnels_now_us();
        run(&load);
        report(&load, (double)(tunnels_now_us() - started_us) / 1e6);
        if (load.mode == MODE_HOLD)
                while (getchar() != EOF)
                        ;
        return 0;
}
