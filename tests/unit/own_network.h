/*
 * Moves the test process into a network namespace of its own, with loopback up: addresses, port ranges and packets there
 * concern nobody else, and it ends with the process.
 */
#pragma once

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* linux/ipv6.h, which cannot be included together with netinet/in.h */
struct own_network_ipv6_request {
        struct in6_addr address;
        uint32_t prefix_length;
        int interface_index;
};

static inline void own_network_raise_loopback(void)
{
        struct ifreq request = { .ifr_name = "lo" };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_true(fd != -1);
        assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
        request.ifr_flags |= IFF_UP;
        assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
        assert_int_equal(close(fd), 0);
}

/* Where there is no privilege for it, within a user namespace: enough for what the process does itself. */
static inline void own_network_enter(void)
{
        if (unshare(CLONE_NEWNET) == -1)
                assert_int_equal(unshare(CLONE_NEWUSER | CLONE_NEWNET), 0);
        own_network_raise_loopback();
}

/* For tests that run ip and nft, which only root's own namespace lets them: a group's setup, and its tests' first line. */
static bool own_network_is_entered;

static inline int own_network_setup(void **state)
{
        (void)state;
        own_network_is_entered = unshare(CLONE_NEWNET) == 0;
        if (own_network_is_entered)
                own_network_raise_loopback();
        return 0;
}

static inline void own_network_or_skip(void)
{
        if (!own_network_is_entered)
                skip();
}

/* Runs a command, keeps what fits of what it wrote, and returns its exit status. */
static inline int own_network_output(const char *command, char *buffer, size_t size)
{
        FILE *stream = popen(command, "re");

        assert_non_null(stream);
        buffer[fread(buffer, 1, size - 1, stream)] = '\0';
        return pclose(stream);
}

/* The same for a command that must succeed. */
static inline void own_network_run(const char *command)
{
        char output[1024];

        if (own_network_output(command, output, sizeof(output)) != 0)
                fail_msg("%s: %s", command, output);
}

/* The kernel finishes adding an address (duplicate address detection, even on loopback) a moment later. */
static inline void own_network_await_ipv6(const struct in6_addr *address)
{
        struct sockaddr_in6 endpoint = { .sin6_family = AF_INET6, .sin6_addr = *address };
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int tries = 0;

        while (bind(fd, (const struct sockaddr *)&endpoint, sizeof(endpoint)) == -1) {
                assert_true(tries++ < 5000);
                (void)poll(NULL, 0, 1);
        }
        assert_int_equal(close(fd), 0);
}

/* Adds an IPv6 address to loopback. */
static inline void own_network_add_ipv6(const struct in6_addr *address)
{
        struct own_network_ipv6_request request = { .address = *address, .prefix_length = 128 };
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_true(fd != -1);
        request.interface_index = (int)if_nametoindex("lo");
        assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
        assert_int_equal(close(fd), 0);
        own_network_await_ipv6(address);
}

/* Sets the local ports from which the kernel picks. */
static inline void own_network_set_ports(unsigned first, unsigned last)
{
        char text[32];
        int length = snprintf(text, sizeof(text), "%u %u\n", first, last);
        int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);

        assert_true(fd != -1);
        assert_int_equal(write(fd, text, (size_t)length), length);
        assert_int_equal(close(fd), 0);
}
