#include "kernel/packet_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "own_network.h"
#include "values.h"

#define GROUP 42
#define DEADLINE_S 5
#define RULES                                                                                                          \
        "nft 'flush ruleset; table inet t {"                                                                           \
        " counter dropped { };"                                                                                        \
        " chain in { type filter hook input priority 0;"                                                               \
        " udp dport 9 counter name dropped log prefix \"udp prod-weu\" snaplen 48 group 42 drop;"                      \
        " tcp dport 9 log prefix \"tcp\" group 42 drop;"                                                               \
        " icmpv6 type echo-request log group 42 drop; };"                                                              \
        "}' 2>&1"

/* What came. */
struct log {
        struct event_base *base;
        struct packet_log *packets;
        unsigned count;
        unsigned wanted; /* the loop ends with so many */
        uint64_t lost;
        struct packet_log_record last;
        char prefix[128];
        uint8_t bytes[PACKET_LOG_SNAP_BYTES];
};

static void on_packet(const struct packet_log_record *record, void *context)
{
        struct log *log = context;

        log->last = *record;
        snprintf(log->prefix, sizeof(log->prefix), "%s", record->prefix);
        assert_true(record->length <= sizeof(log->bytes));
        memcpy(log->bytes, record->bytes, record->length);
        log->count++;
        if (log->count >= log->wanted)
                event_base_loopbreak(log->base);
}

static void on_lost(uint64_t count, void *context)
{
        struct log *log = context;

        log->lost += count;
}

static const struct packet_log_handlers handlers = { .on_packet = on_packet, .on_lost = on_lost };

static void start(struct log *log, size_t buffer_bytes)
{
        own_network_run(RULES);
        *log = (struct log){ .base = event_base_new() };
        assert_non_null(log->base);
        assert_int_equal(packet_log_new(log->base, GROUP, buffer_bytes, &handlers, log, &log->packets), 0);
}

static void stop(struct log *log)
{
        packet_log_free(log->packets);
        event_base_free(log->base);
}

static void wait_for(struct log *log, unsigned wanted)
{
        struct timeval deadline = { .tv_sec = DEADLINE_S };

        log->wanted = wanted;
        if (log->count < wanted) {
                event_base_loopexit(log->base, &deadline);
                event_base_dispatch(log->base);
        }
        assert_int_equal(log->count, wanted);
}

static void send_udp(const char *address, unsigned size, unsigned times)
{
        struct net_endpoint endpoint = { .address = address_of(address), .port = 9 };
        static const char bytes[2048] = "payload";
        struct sockaddr_storage destination;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &destination);
        int descriptor = socket(endpoint.address.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        for (unsigned i = 0; i < times; i++)
                assert_int_equal(sendto(descriptor, bytes, size, 0, (const struct sockaddr *)&destination, length),
                                 size);
        assert_int_equal(close(descriptor), 0);
}

static void a_dropped_packet_is_told_soon_with_prefix_and_addresses(void **state)
{
        struct net_address loopback = address_of("127.0.0.1");
        struct log log;

        (void)state;
        own_network_or_skip();
        start(&log, PACKET_LOG_BUFFER_BYTES);
        uint64_t started_ms = clock_monotonic_ms(), started_us = clock_wall_us();
        send_udp("127.0.0.1", 1000, 1);
        wait_for(&log, 1);
        assert_true(clock_monotonic_ms() - started_ms < 700); /* the kernel's own delay is a second */
        assert_string_equal(log.prefix, "udp prod-weu");
        assert_true(net_address_equal(&log.last.packet.source, &loopback));
        assert_true(net_address_equal(&log.last.packet.destination, &loopback));
        assert_int_equal(log.last.packet.protocol, IPPROTO_UDP);
        assert_int_equal(log.last.packet.destination_port, 9);
        assert_int_equal(log.last.packet.length, 1028);
        assert_int_equal(log.last.length, 48); /* the rule's snaplen */
        assert_int_equal(log.last.packet.payload_start, 28);
        assert_memory_equal(log.bytes + 28, "payload", 7);
        assert_true(log.last.time_us >= started_us && log.last.time_us <= clock_wall_us());
        assert_int_equal(log.lost, 0);
        stop(&log);
}

static void tcp_and_icmpv6_are_told_as_what_they_are(void **state)
{
        struct net_address loopback = address_of("::1");
        struct log log;

        (void)state;
        own_network_or_skip();
        start(&log, PACKET_LOG_BUFFER_BYTES);
        struct sockaddr_in destination = { .sin_family = AF_INET,
                                           .sin_port = htons(9),
                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(descriptor, (const struct sockaddr *)&destination, sizeof(destination)), -1);
        assert_int_equal(errno, EINPROGRESS);
        wait_for(&log, 1);
        assert_int_equal(close(descriptor), 0);
        assert_string_equal(log.prefix, "tcp");
        assert_int_equal(log.last.packet.protocol, IPPROTO_TCP);
        assert_int_equal(log.last.packet.destination_port, 9);
        descriptor = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
        struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        assert_int_equal(sendto(descriptor, "\x80\0\0\0\0\0\0\0", 8, 0, (const struct sockaddr *)&six, sizeof(six)), 8);
        wait_for(&log, 2);
        assert_int_equal(close(descriptor), 0);
        assert_string_equal(log.prefix, "");
        assert_true(net_address_equal(&log.last.packet.source, &loopback));
        assert_int_equal(log.last.packet.protocol, IPPROTO_ICMPV6);
        assert_memory_equal(log.bytes, "\x60", 1);
        stop(&log);
}

static void a_group_has_one_listener_and_is_free_afterwards(void **state)
{
        struct packet_log *second;
        struct log log;

        (void)state;
        own_network_or_skip();
        start(&log, PACKET_LOG_BUFFER_BYTES);
        assert_int_equal(packet_log_new(log.base, GROUP, PACKET_LOG_BUFFER_BYTES, &handlers, &log, &second), -EPERM);
        assert_int_equal(packet_log_new(log.base, GROUP + 1, PACKET_LOG_BUFFER_BYTES, &handlers, &log, &second), 0);
        packet_log_free(second);
        packet_log_free(log.packets);
        assert_int_equal(packet_log_new(log.base, GROUP, PACKET_LOG_BUFFER_BYTES, &handlers, &log, &log.packets), 0);
        send_udp("127.0.0.1", 10, 3);
        wait_for(&log, 3);
        stop(&log);
}

static void one_turn_of_the_loop_is_bounded(void **state)
{
        struct log log;

        (void)state;
        own_network_or_skip();
        start(&log, PACKET_LOG_BUFFER_BYTES);
        log.wanted = 1u << 30;
        send_udp("127.0.0.1", 10, 3 * PACKET_LOG_PER_TURN);
        for (unsigned turn = 1; turn <= 3; turn++) {
                assert_int_equal(event_base_loop(log.base, EVLOOP_ONCE | EVLOOP_NONBLOCK), 0);
                assert_int_equal(log.count, turn * PACKET_LOG_PER_TURN);
        }
        assert_int_equal(log.lost, 0);
        stop(&log);
}

static unsigned dropped(void)
{
        char output[512];
        unsigned packets = 0;

        assert_int_equal(own_network_output("nft list counter inet t dropped 2>&1", output, sizeof(output)), 0);
        const char *text = strstr(output, "packets ");
        assert_non_null(text);
        assert_int_equal(sscanf(text, "packets %u", &packets), 1);
        return packets;
}

/* Until so many are told or told to be lost. */
static void wait_for_all(struct log *log, unsigned sum)
{
        struct timeval deadline = { .tv_sec = DEADLINE_S };

        event_base_loopexit(log->base, &deadline);
        while (log->count + log->lost < sum && event_base_got_exit(log->base) == 0)
                assert_int_equal(event_base_loop(log->base, EVLOOP_ONCE), 0);
        assert_int_equal(log->count + log->lost, sum);
}

static void what_is_lost_is_counted_exactly(void **state)
{
        struct log log;

        (void)state;
        own_network_or_skip();
        start(&log, 64 * 1024);
        log.wanted = 1u << 30;
        for (unsigned round = 1; round <= 3; round++) {
                send_udp("127.0.0.1", 10, 5000);
                assert_int_equal(event_base_loop(log.base, EVLOOP_NONBLOCK), 0);
                send_udp("127.0.0.1", 10, 1); /* comes through, the buffer being empty, and shows what is missing */
                wait_for_all(&log, dropped());
                assert_true(log.lost >= round * 1000);
        }
        stop(&log);
}

/* What the kernel puts into one datagram may not be more than we read at once, or all of it is lost. */
static void large_packets_that_come_together_are_all_told(void **state)
{
        struct log log;

        (void)state;
        own_network_or_skip();
        start(&log, PACKET_LOG_BUFFER_BYTES);
        own_network_run("nft 'insert rule inet t in udp dport 9 log prefix \"large\" snaplen 4096 group 42 drop' 2>&1");
        for (unsigned size = 1000; size <= 2000; size += 100)
                send_udp("127.0.0.1", size, 100);
        wait_for(&log, 1100);
        assert_int_equal(log.lost, 0);
        stop(&log);
}

/* Nobody turns the loop: also what the kernel holds back until a datagram is full, and what the buffer had no room for. */
static void at_the_end_all_that_was_logged_is_told(void **state)
{
        static const size_t buffers[] = { PACKET_LOG_BUFFER_BYTES, 64 * 1024 };

        (void)state;
        own_network_or_skip();
        for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
                struct log log;
                start(&log, buffers[i]);
                log.wanted = 1u << 30;
                send_udp("127.0.0.1", 10, 5000);
                packet_log_finish(log.packets);
                assert_int_equal(log.count + log.lost, dropped());
                assert_int_equal(log.lost > 0, i == 1);
                send_udp("127.0.0.1", 10, 100);
                packet_log_finish(log.packets);
                assert_int_equal(log.count + log.lost, 5000);
                stop(&log);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_dropped_packet_is_told_soon_with_prefix_and_addresses),
                cmocka_unit_test(tcp_and_icmpv6_are_told_as_what_they_are),
                cmocka_unit_test(a_group_has_one_listener_and_is_free_afterwards),
                cmocka_unit_test(one_turn_of_the_loop_is_bounded),
                cmocka_unit_test(what_is_lost_is_counted_exactly),
                cmocka_unit_test(large_packets_that_come_together_are_all_told),
                cmocka_unit_test(at_the_end_all_that_was_logged_is_told),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
