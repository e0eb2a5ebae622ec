/* Sockets, loops and counts for tests of what moves bytes. Everything waits for an event, with a deadline. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "descriptors.h"

#define NET_TESTING_DEADLINE_MS 20000

static inline void make_nonblocking(int fd)
{
        assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

/*
 * A connected, non-blocking TCP pair over loopback. buffer_size 0: the kernel's default. A receive buffer below one
 * segment (64 KiB on loopback) makes TCP wait for its timers.
 */
#define LEAST_RECEIVE_BUFFER 131072
static inline void tcp_pair(int ends[2], int buffer_size)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
        ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(ends[0], (struct sockaddr *)&address, size), 0);
        ends[1] = accept(listener, NULL, NULL);
        assert_true(ends[1] >= 0);
        close(listener);
        int receive_size = buffer_size < LEAST_RECEIVE_BUFFER ? LEAST_RECEIVE_BUFFER : buffer_size;
        for (int i = 0; i < 2; i++) {
                make_nonblocking(ends[i]);
                if (buffer_size == 0)
                        continue;
                assert_int_equal(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof(buffer_size)), 0);
                assert_int_equal(setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &receive_size, sizeof(receive_size)), 0);
        }
}

/* A connected, non-blocking pair of Unix sockets. */
static inline void unix_pair(int ends[2], int buffer_size)
{
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        for (int i = 0; i < 2 && buffer_size > 0; i++)
                assert_int_equal(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof(buffer_size)), 0);
}

static inline void close_and_forget(int *fd)
{
        if (*fd != -1)
                close(*fd);
        *fd = -1;
}

static inline void send_text(int fd, const char *text)
{
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Closes with a reset instead of an orderly end. */
static inline void close_with_reset(int fd)
{
        struct linger now = { .l_onoff = 1, .l_linger = 0 };

        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        close(fd);
}

static inline void loop_testing_on_timer(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        *(bool *)context = true;
}

/* Runs the loop for a while and returns how often it woke up, the end of the time not counted. */
static inline size_t loop_passes_in(struct event_base *base, unsigned ms)
{
        struct timeval time = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
        struct event timer;
        bool over = false;
        size_t passes = 0;

        event_assign(&timer, base, -1, 0, loop_testing_on_timer, &over);
        assert_int_equal(event_add(&timer, &time), 0);
        while (!over) {
                event_base_loop(base, EVLOOP_ONCE);
                passes++;
        }
        return passes - 1;
}

/* Runs the loop until condition(context) holds; fails the test at the deadline. */
static inline void loop_until(struct event_base *base, bool (*condition)(void *), void *context)
{
        struct timeval deadline = { .tv_sec = NET_TESTING_DEADLINE_MS / 1000 };
        struct event timer;
        bool over = false;

        event_assign(&timer, base, -1, 0, loop_testing_on_timer, &over);
        assert_int_equal(event_add(&timer, &deadline), 0);
        while (!over && !condition(context))
                event_base_loop(base, EVLOOP_ONCE);
        event_del(&timer);
        assert_false(over);
}

/* Runs the loop as long as there is something to do at once. */
static inline void loop_until_quiet(struct event_base *base)
{
        while (loop_passes_in(base, 5) > 0)
                ;
}

/* xorshift64*: the same bytes for the same seed. */
static inline uint64_t random_next(uint64_t *state)
{
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        return *state * 0x2545f4914f6cdd1d;
}

static inline void fill_random(uint8_t *bytes, size_t length, uint64_t seed)
{
        for (size_t i = 0; i < length; i++)
                bytes[i] = (uint8_t)(random_next(&seed) >> 56);
}
