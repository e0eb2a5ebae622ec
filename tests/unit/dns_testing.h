/*
 * What the resolver's tests share: a clock that they set, a resolver with its configuration, lookups that are waited for
 * with a deadline, and a DNS server in the test's own event loop for what real ones cannot be made to do.
 *
 * Include it once in a program: it replaces the program's clock.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/resolver.h"
#include "descriptors.h"
#include "own_network.h"
#include "values.h"

#define GUARD_S 20       /* a test that hangs fails after it */
#define TIMEOUT_MS 10000 /* of lookups that are not meant to time out */
#define MAX_SEEN 4096

/*
 * The clock of the program, replaced: real time plus what a test adds, to let answers expire. c-ares and libevent have
 * their own.
 */
static atomic_uint_fast64_t clock_offset_ms; /* other threads read the clock, too */

static inline uint64_t real_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_monotonic_ms(void)
{
        return real_ms() + clock_offset_ms;
}

uint64_t clock_wall_us(void)
{
        return clock_monotonic_ms() * 1000;
}

/* What the responder does with a question. */
enum behaviour {
        ANSWER = 0,
        SILENT,
        SERVER_FAILURE,
        NAME_ERROR,
        GARBAGE,
        LOOP, /* a compression pointer to itself */
        OTHER_ID,
        OTHER_NAME,
        TRUNCATED,
};

/* A DNS server in the test's own event loop, for what real ones cannot be made to do. */
struct responder {
        struct event *event;
        int fd;
        enum behaviour ipv4;
        enum behaviour ipv6;
        uint8_t last_byte;       /* of the address it answers, */
        unsigned more_addresses; /* and of so many more after that */
        uint8_t ipv4_network[3]; /* the bytes before it */
        unsigned ipv4_count;
        unsigned ipv6_count;
        uint16_t ids[MAX_SEEN];
        uint16_t ports[MAX_SEEN];
        size_t seen_count;
        uint8_t last_question[512];
        size_t last_question_length;
};

struct fixture {
        struct event_base *base;
        struct net_endpoint servers[3];
        struct config_forward_zone zones[3];
        struct net_endpoint zone_servers[3];
        struct config config;
        struct resolver *resolver;
        size_t descriptors_before;
};

struct outcome {
        unsigned count; /* of callbacks */
        enum resolver_status status;
        size_t address_count;
        struct net_address addresses[RESOLVER_MAX_ADDRESSES];
};

static inline struct net_endpoint endpoint_of(const char *text)
{
        struct net_endpoint endpoint;

        assert_int_equal(net_endpoint_parse(text, 53, &endpoint), 0);
        return endpoint;
}

/* server: "address:port" of the only one. */
static inline void open_fixture(struct fixture *fixture, const char *server)
{
        *fixture = (struct fixture){ .descriptors_before = count_descriptors() };
        clock_offset_ms = 0;
        fixture->servers[0] = endpoint_of(server);
        fixture->config.dns_servers = fixture->servers;
        fixture->config.dns_server_count = 1;
        fixture->config.forward_zones = fixture->zones;
        fixture->config.resolve_timeout_ms = TIMEOUT_MS;
        fixture->base = event_base_new();
        assert_non_null(fixture->base);
}

static inline void open_resolver(struct fixture *fixture)
{
        assert_int_equal(resolver_new(fixture->base, &fixture->config, &fixture->resolver), 0);
}

static inline void close_fixture(struct fixture *fixture)
{
        resolver_free(fixture->resolver);
        event_base_free(fixture->base);
        assert_int_equal(count_descriptors(), fixture->descriptors_before);
}

static inline void on_answer(const struct resolver_answer *answer, void *context)
{
        struct outcome *outcome = context;

        outcome->count++;
        outcome->status = answer->status;
        outcome->address_count = answer->address_count;
        memcpy(outcome->addresses, answer->addresses, answer->address_count * sizeof(*answer->addresses));
}

static inline struct resolver_query *start(struct fixture *fixture, const char *name_text, bool with_ipv4,
                                           bool with_ipv6, struct outcome *outcome)
{
        struct fqdn name = name_of(name_text);
        struct resolver_query *query;

        *outcome = (struct outcome){ 0 };
        assert_int_equal(resolver_lookup(fixture->resolver, &name, with_ipv4, with_ipv6, on_answer, outcome, &query),
                         0);
        assert_int_equal(outcome->count, 0);
        return query;
}

static inline void wait_for(struct fixture *fixture, const struct outcome *outcome)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;

        while (outcome->count == 0) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
        }
        assert_int_equal(outcome->count, 1);
}

static inline struct outcome look_up(struct fixture *fixture, const char *name_text, bool with_ipv4, bool with_ipv6)
{
        struct outcome outcome;

        (void)start(fixture, name_text, with_ipv4, with_ipv6, &outcome);
        wait_for(fixture, &outcome);
        return outcome;
}

static inline void assert_addresses(const struct outcome *outcome, const char *texts)
{
        char all[RESOLVER_MAX_ADDRESSES * (NET_ADDRESS_TEXT_SIZE + 1) + 1] = "";
        char text[NET_ADDRESS_TEXT_SIZE];

        assert_int_equal(outcome->status, RESOLVER_OK);
        for (size_t i = 0; i < outcome->address_count; i++) {
                if (i > 0)
                        strcat(all, " ");
                strcat(all, net_address_format(&outcome->addresses[i], text));
        }
        assert_string_equal(all, texts);
}

/* Runs the loop until the responder has seen that many questions. */
static inline void wait_for_questions(struct fixture *fixture, const struct responder *responder, size_t count)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;

        while (responder->seen_count < count) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
        }
}

static inline int udp_socket(const char *endpoint_text)
{
        struct net_endpoint endpoint = endpoint_of(endpoint_text);
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &address);
        int fd = socket(endpoint.address.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        assert_true(fd != -1);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
        return fd;
}

/* Appends one A or AAAA record with a TTL of 60 s. */
static inline size_t append_record(uint8_t *message, size_t length, bool is_ipv6, const struct responder *responder,
                                   unsigned number)
{
        uint8_t last_byte = (uint8_t)(responder->last_byte + number);
        const uint8_t head[] = { 0xc0, 12, 0, is_ipv6 ? 28 : 1, 0, 1, 0, 0, 0, 60, 0, is_ipv6 ? 16 : 4 };
        const uint8_t *network = responder->ipv4_network;
        const uint8_t ipv4[] = { network[0], network[1], network[2], last_byte };
        const uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = last_byte };

        memcpy(message + length, head, sizeof(head));
        length += sizeof(head);
        memcpy(message + length, is_ipv6 ? ipv6 : ipv4, is_ipv6 ? 16 : 4);
        return length + (is_ipv6 ? 16 : 4);
}

/* Turns the question into its answer; returns the length, 0 for none. */
static inline size_t respond(uint8_t *message, size_t question_length, bool is_ipv6, enum behaviour behaviour,
                             const struct responder *responder)
{
        message[2] = 0x81; /* an answer, recursion was desired */
        message[3] = 0x80;
        message[11] = 0; /* no EDNS record */
        switch (behaviour) {
        case ANSWER:
                message[7] = (uint8_t)(1 + responder->more_addresses);
                for (unsigned i = 0; i <= responder->more_addresses; i++)
                        question_length = append_record(message, question_length, is_ipv6, responder, i);
                return question_length;
        case SILENT:
                return 0;
        case SERVER_FAILURE:
                message[3] |= 2;
                return question_length;
        case NAME_ERROR:
                message[3] |= 3;
                return question_length;
        case GARBAGE: /* says that it has an answer, and ends */
                message[7] = 1;
                return question_length;
        case LOOP:
                message[7] = 1;
                message[question_length] = 0xc0;
                message[question_length + 1] = (uint8_t)question_length;
                return append_record(message, question_length + 2, is_ipv6, responder, 0);
        case OTHER_ID:
                message[1] ^= 1;
                return respond(message, question_length, is_ipv6, ANSWER, responder);
        case OTHER_NAME:
                message[13] ^= 1;
                return respond(message, question_length, is_ipv6, ANSWER, responder);
        case TRUNCATED:
                message[2] |= 2;
                return question_length;
        }
        return 0;
}

static inline void responder_on_question(evutil_socket_t fd, short what, void *context)
{
        struct responder *responder = context;
        struct sockaddr_storage peer;
        socklen_t peer_length = sizeof(peer);
        uint8_t message[4096]; /* more than c-ares asks for, and what it takes */
        ssize_t received = recvfrom(fd, message, 512, 0, (struct sockaddr *)&peer, &peer_length);

        (void)what;
        assert_true(received > 12);
        memcpy(responder->last_question, message, (size_t)received);
        responder->last_question_length = (size_t)received;
        size_t length = 12;
        while (message[length] != 0)
                length += message[length] + 1u;
        length += 5;
        assert_true(length <= (size_t)received);
        bool is_ipv6 = message[length - 3] == 28;
        *(is_ipv6 ? &responder->ipv6_count : &responder->ipv4_count) += 1;
        if (responder->seen_count < MAX_SEEN) {
                responder->ids[responder->seen_count] = (uint16_t)(message[0] << 8 | message[1]);
                responder->ports[responder->seen_count] = net_endpoint_from_sockaddr(&peer).port;
        }
        responder->seen_count++;
        length = respond(message, length, is_ipv6, is_ipv6 ? responder->ipv6 : responder->ipv4, responder);
        if (length > 0)
                assert_int_equal(sendto(fd, message, length, 0, (const struct sockaddr *)&peer, peer_length), length);
}

static inline void open_responder(struct fixture *fixture, const char *endpoint, uint8_t last_byte,
                                  struct responder *responder)
{
        *responder =
                (struct responder){ .fd = udp_socket(endpoint), .last_byte = last_byte, .ipv4_network = { 192, 0, 2 } };
        responder->event =
                event_new(fixture->base, responder->fd, EV_READ | EV_PERSIST, responder_on_question, responder);
        assert_non_null(responder->event);
        assert_int_equal(event_add(responder->event, NULL), 0);
}

static inline void close_responder(struct responder *responder)
{
        event_free(responder->event);
        assert_int_equal(close(responder->fd), 0);
}
