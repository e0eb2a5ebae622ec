#include "kernel/flow_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "flow_lab.h"

#define DEADLINE_S 10
#define MANY 1000
#define FIRST_PORT 20000

struct log {
        struct event_base *base;
        struct flow_log *flows;
        unsigned count;
        unsigned wanted; /* the loop ends with so many */
        struct flow last;
        bool ports[1 << 16]; /* of clients */
};

static void on_end(const struct flow *flow, void *context)
{
        struct log *log = context;

        assert_false(log->ports[flow->client.port]); /* each once */
        log->ports[flow->client.port] = true;
        log->last = *flow;
        log->count++;
        if (log->count >= log->wanted)
                event_base_loopbreak(log->base);
}

static struct log *start(size_t buffer_bytes)
{
        struct log *log = calloc(1, sizeof(*log));

        flow_lab_start();
        log->base = event_base_new();
        assert_non_null(log->base);
        assert_int_equal(flow_log_new(log->base, FLOW_LAB_MARK, FLOW_LAB_MASK, buffer_bytes, on_end, log, &log->flows),
                         0);
        return log;
}

static void stop(struct log *log)
{
        flow_log_free(log->flows);
        event_base_free(log->base);
        free(log);
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

static void check_endpoint(const struct net_endpoint *endpoint, const char *address, unsigned port)
{
        struct net_address expected = address_of(address);

        assert_true(net_address_equal(&endpoint->address, &expected));
        assert_int_equal(endpoint->port, port);
}

static void an_ended_flow_is_told_with_its_addresses_and_what_it_carried(void **state)
{
        static const struct {
                const char *client, *server, *snat;
                unsigned header;
        } rows[] = {
                { "127.0.0.1", "127.0.0.2", "127.0.0.9", 28 },
                { "::1", "::1", "2001:db8::9", 48 },
        };
        const struct in6_addr snat = { .s6_addr = { 0x20, 0x01, 0x0d, 0xb8, [15] = 9 } };

        (void)state;
        own_network_or_skip();
        own_network_add_ipv6(&snat);
        struct log *log = start(FLOW_LOG_BUFFER_BYTES);
        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
                uint64_t started_us = clock_wall_us();
                unsigned port = flow_lab_exchange_udp(rows[i].client, rows[i].server, FLOW_LAB_PORT);
                own_network_run(i == 0 ? "conntrack -D -p udp >/dev/null 2>&1"
                                       : "conntrack -D -f ipv6 -p udp >/dev/null 2>&1");
                wait_for(log, i + 1);
                assert_int_equal(log->last.protocol, IPPROTO_UDP);
                check_endpoint(&log->last.client, rows[i].client, port);
                check_endpoint(&log->last.destination, rows[i].server, FLOW_LAB_PORT);
                check_endpoint(&log->last.snat, rows[i].snat, port);
                assert_int_equal(log->last.mark, 0x4101);
                assert_true(log->last.has_bytes && log->last.has_duration);
                assert_int_equal(log->last.bytes_out, rows[i].header + 10);
                assert_int_equal(log->last.bytes_in, rows[i].header + 20);
                assert_true(log->last.duration_ms <= (clock_wall_us() - started_us) / 1000);
        }
        stop(log);
}

static void flows_of_other_marks_are_not_told(void **state)
{
        (void)state;
        own_network_or_skip();
        struct log *log = start(FLOW_LOG_BUFFER_BYTES);
        (void)flow_lab_exchange_udp("127.0.0.1", "127.0.0.2", FLOW_LAB_OTHER_PORT);
        (void)flow_lab_exchange_udp("127.0.0.1", "127.0.0.2", 7779);
        own_network_run("conntrack -D -p udp >/dev/null 2>&1");
        unsigned port = flow_lab_exchange_udp("127.0.0.1", "127.0.0.2", FLOW_LAB_PORT);
        own_network_run("conntrack -D -p udp >/dev/null 2>&1");
        wait_for(log, 1);
        assert_int_equal(log->last.client.port, port);
        assert_int_equal(event_base_loop(log->base, EVLOOP_NONBLOCK), 0);
        assert_int_equal(log->count, 1);
        stop(log);
}

static void tcp_is_told_whether_it_was_closed_or_not(void **state)
{
        (void)state;
        own_network_or_skip();
        struct log *log = start(FLOW_LOG_BUFFER_BYTES);
        int listening = flow_lab_bind(SOCK_STREAM, "127.0.0.2", FLOW_LAB_PORT);
        for (unsigned closed = 0; closed < 2; closed++) {
                struct sockaddr_storage destination;
                socklen_t length = flow_lab_address("127.0.0.2", FLOW_LAB_PORT, &destination);
                int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                assert_int_equal(connect(client, (const struct sockaddr *)&destination, length), 0);
                int server = accept(listening, NULL, NULL);
                assert_true(server != -1);
                if (closed)
                        assert_int_equal(close(client) | close(server), 0);
                own_network_run("conntrack -D -p tcp >/dev/null 2>&1");
                wait_for(log, closed + 1);
                assert_int_equal(log->last.protocol, IPPROTO_TCP);
                check_endpoint(&log->last.destination, "127.0.0.2", FLOW_LAB_PORT);
                if (!closed)
                        assert_int_equal(close(client) | close(server), 0);
        }
        assert_int_equal(close(listening), 0);
        stop(log);
}

static void without_accounting_nothing_is_made_up(void **state)
{
        (void)state;
        own_network_or_skip();
        struct log *log = start(FLOW_LOG_BUFFER_BYTES);
        flow_lab_set("acct", '0');
        flow_lab_set("timestamp", '0');
        (void)flow_lab_exchange_udp("127.0.0.1", "127.0.0.2", FLOW_LAB_PORT);
        own_network_run("conntrack -D -p udp >/dev/null 2>&1");
        wait_for(log, 1);
        assert_false(log->last.has_bytes || log->last.has_duration);
        assert_true(log->last.bytes_out == 0 && log->last.bytes_in == 0 && log->last.duration_ms == 0);
        stop(log);
}

static void the_kernels_settings_are_told(void **state)
{
        (void)state;
        own_network_or_skip();
        flow_lab_start();
        struct flow_log_settings settings = flow_log_settings();
        assert_true(settings.counts_bytes && settings.keeps_times && settings.tells_of_all);
        flow_lab_set("acct", '0');
        settings = flow_log_settings();
        assert_true(!settings.counts_bytes && settings.keeps_times && settings.tells_of_all);
        flow_lab_set("timestamp", '0');
        flow_lab_set("events", '0');
        settings = flow_log_settings();
        assert_false(settings.counts_bytes || settings.keeps_times || settings.tells_of_all);
}

static void begin_and_end(unsigned flows)
{
        flow_lab_send_many(FIRST_PORT, flows, FLOW_LAB_PORT);
        own_network_run("conntrack -D -p udp >/dev/null 2>&1");
}

/* Far more than the buffer holds, while nobody reads. */
static void no_flow_is_lost_however_many_end_at_once(void **state)
{
        (void)state;
        own_network_or_skip();
        struct log *log = start(16 * 1024);
        begin_and_end(MANY);
        wait_for(log, MANY);
        for (unsigned i = 0; i < MANY; i++)
                assert_true(log->ports[FIRST_PORT + i]);
        stop(log);
}

static void one_turn_of_the_loop_is_bounded(void **state)
{
        (void)state;
        own_network_or_skip();
        struct log *log = start(FLOW_LOG_BUFFER_BYTES);
        log->wanted = MANY;
        begin_and_end(2 * FLOW_LOG_PER_TURN + 10);
        assert_int_equal(event_base_loop(log->base, EVLOOP_ONCE | EVLOOP_NONBLOCK), 0);
        assert_int_equal(log->count, FLOW_LOG_PER_TURN);
        wait_for(log, 2 * FLOW_LOG_PER_TURN + 10);
        stop(log);
}

static void at_the_end_flows_that_have_ended_are_told(void **state)
{
        (void)state;
        own_network_or_skip();
        struct log *log = start(FLOW_LOG_BUFFER_BYTES);
        log->wanted = MANY;
        begin_and_end(2 * FLOW_LOG_PER_TURN + 10);
        flow_log_read_rest(log->flows);
        assert_int_equal(log->count, 2 * FLOW_LOG_PER_TURN + 10);
        stop(log);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_ended_flow_is_told_with_its_addresses_and_what_it_carried),
                cmocka_unit_test(flows_of_other_marks_are_not_told),
                cmocka_unit_test(tcp_is_told_whether_it_was_closed_or_not),
                cmocka_unit_test(without_accounting_nothing_is_made_up),
                cmocka_unit_test(the_kernels_settings_are_told),
                cmocka_unit_test(no_flow_is_lost_however_many_end_at_once),
                cmocka_unit_test(one_turn_of_the_loop_is_bounded),
                cmocka_unit_test(at_the_end_flows_that_have_ended_are_told),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
