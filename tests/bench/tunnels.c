#include "tunnels.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

/* A message under construction; the caller's buffer is large enough. */
struct message {
        uint8_t *bytes;
        size_t length;
};

static void put8(struct message *message, unsigned value)
{
        message->bytes[message->length++] = (uint8_t)value;
}

static void put16(struct message *message, size_t value)
{
        put8(message, (unsigned)(value >> 8));
        put8(message, (unsigned)(value & 0xff));
}

static void put_many(struct message *message, unsigned value, size_t count)
{
        memset(message->bytes + message->length, (int)value, count);
        message->length += count;
}

static void put_bytes(struct message *message, const void *bytes, size_t length)
{
        memcpy(message->bytes + message->length, bytes, length);
        message->length += length;
}

/* Record and handshake header of a message that fills total bytes, with version and random. */
static void put_start(struct message *message, unsigned type, size_t total)
{
        put8(message, 22);
        put16(message, 0x0301);
        put16(message, total - 5);
        put8(message, type);
        put8(message, 0);
        put16(message, total - 9);
        put16(message, 0x0303);
        put_many(message, 0x5a, 32);
}

static void put_server_name(struct message *message, const char *name)
{
        size_t length = strlen(name);

        put16(message, 0);
        put16(message, length + 5);
        put16(message, length + 3);
        put8(message, 0);
        put16(message, length);
        put_bytes(message, name, length);
}

void tunnels_hello(const char *name, uint8_t hello[TUNNELS_HELLO_BYTES])
{
        static const uint8_t ciphers[] = { 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f };
        static const uint8_t usual[] = {
                0,   10,  0,   4,   0,   2,  0,  29,          /* supported_groups: x25519 */
                0,   13,  0,   6,   0,   4,  4,  3,   8,   4, /* signature_algorithms */
                0,   16,  0,   14,  0,   12, 2,  'h', '2', 8,  'h', 't', 't',
                'p', '/', '1', '.', '1', 0,  43, 0,   3,   2,  3,   4, /* supported_versions: TLS 1.3 */
                0,   51,  0,   38,  0,   36, 0,  29,  0,   32,         /* key_share: x25519, 32 bytes follow */
        };
        struct message message = { .bytes = hello };

        assert(strlen(name) <= TUNNELS_NAME_MAX_LENGTH);
        put_start(&message, 1, TUNNELS_HELLO_BYTES);
        put8(&message, 32);
        put_many(&message, 0x11, 32); /* session id */
        put16(&message, sizeof(ciphers));
        put_bytes(&message, ciphers, sizeof(ciphers));
        put8(&message, 1); /* one compression method: none */
        put8(&message, 0);
        put16(&message, TUNNELS_HELLO_BYTES - message.length - 2);
        put_server_name(&message, name);
        put_bytes(&message, usual, sizeof(usual));
        put_many(&message, 0x22, 32);
        size_t padding = TUNNELS_HELLO_BYTES - message.length - 4;
        put16(&message, 21);
        put16(&message, padding);
        put_many(&message, 0, padding);
        assert(message.length == TUNNELS_HELLO_BYTES);
}

void tunnels_answer(uint8_t answer[TUNNELS_ANSWER_BYTES])
{
        struct message message = { .bytes = answer };

        put_start(&message, 2, TUNNELS_ANSWER_BYTES);
        put_many(&message, 0x33, TUNNELS_ANSWER_BYTES - message.length);
}

uint64_t tunnels_now_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void tunnels_die(const char *what)
{
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

struct sockaddr_in tunnels_endpoint(const char *text)
{
        struct sockaddr_in endpoint = { .sin_family = AF_INET };
        char address[INET_ADDRSTRLEN];
        unsigned port;

        if (sscanf(text, "%15[0-9.]:%u", address, &port) != 2 || port > 65535 ||
            inet_pton(AF_INET, address, &endpoint.sin_addr) != 1) {
                fprintf(stderr, "'%s' is not address:port\n", text);
                exit(2);
        }
        endpoint.sin_port = htons((uint16_t)port);
        return endpoint;
}

void tunnels_watch(int epoll_fd, int operation, int fd, uint32_t events, void *data)
{
        struct epoll_event event = { .events = events, .data.ptr = data };

        if (epoll_ctl(epoll_fd, operation, fd, &event) == -1)
                tunnels_die("epoll_ctl");
}
