/* The DNS listener over TCP: streams cut anywhere, many queries at once, clients that do not read, idle ones. */
#include <errno.h>

#include "dns_listener_lab.h"
#include "traffic/dns_request.h"

#define MAX_QUERIES 64 /* under way on one connection */

static int enter_network(void **state)
{
        (void)state;
        own_network_enter();
        return 0;
}

/* Appends a query behind its length. */
static void put_query(struct dns_bytes *stream, unsigned id, const char *name, unsigned type)
{
        static struct dns_bytes query;

        dns_lab_make_query(&query, id, name, type);
        dns_put_u16(stream, (unsigned)query.length);
        dns_put(stream, query.bytes, query.length);
}

static int connect_stream(struct dns_lab *lab)
{
        return dns_lab_connect(lab, SOCK_STREAM, LAB_CLIENT, LAB_LISTENER);
}

/* Sends all of it, running the loop where the socket is full. */
static void send_all(struct dns_lab *lab, int fd, const void *bytes, size_t length)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        const uint8_t *next = bytes;

        while (length > 0) {
                ssize_t sent = send(fd, next, length, MSG_NOSIGNAL);
                assert_true(real_ms() < guard_ms);
                if (sent > 0) {
                        next += sent;
                        length -= (size_t)sent;
                } else {
                        assert_int_equal(errno, EAGAIN);
                }
                dns_lab_run(lab);
        }
}

/* Reads length bytes, or to the end of the stream. Returns how many. */
static size_t read_bytes(struct dns_lab *lab, int fd, uint8_t *bytes, size_t length)
{
        size_t done = 0;

        while (done < length) {
                dns_lab_await(lab, fd);
                ssize_t count = recv(fd, bytes + done, length - done, 0);
                if (count <= 0)
                        return done;
                done += (size_t)count;
        }
        return done;
}

static void read_reply(struct dns_lab *lab, int fd, struct dns_reply *ret)
{
        uint8_t prefix[2];

        assert_int_equal(read_bytes(lab, fd, prefix, sizeof(prefix)), sizeof(prefix));
        ret->length = dns_get_u16(prefix);
        assert_int_equal(read_bytes(lab, fd, ret->bytes, ret->length), ret->length);
}

static void assert_end(struct dns_lab *lab, int fd)
{
        uint8_t byte;

        assert_int_equal(read_bytes(lab, fd, &byte, 1), 0);
        assert_int_equal(close(fd), 0);
}

/* Runs the loop for that long: longer than what is being waited for, which must not happen. */
static void run_for(struct dns_lab *lab, unsigned time_ms)
{
        struct timeval time = { .tv_sec = time_ms / 1000, .tv_usec = (suseconds_t)(time_ms % 1000) * 1000 };

        assert_int_equal(event_base_loopexit(lab->fixture.base, &time), 0);
        assert_int_equal(event_base_dispatch(lab->fixture.base), 0);
}

static void queries_may_be_cut_anywhere_and_come_together(void **state)
{
        static struct dns_bytes stream;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = connect_stream(lab);

        (void)state;
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_A);
        put_query(&stream, 2, "a.refused.example", DNS_TYPE_A);
        for (size_t i = 0; i < stream.length; i++)
                send_all(lab, fd, stream.bytes + i, 1);
        read_reply(lab, fd, &reply);
        read_reply(lab, fd, &reply);
        stream.length = 0;
        for (unsigned id = 10; id < 14; id++)
                put_query(&stream, id, "a.allowed.example", DNS_TYPE_A);
        for (size_t cut = 0; cut <= stream.length; cut++) {
                send_all(lab, fd, stream.bytes, cut);
                send_all(lab, fd, stream.bytes + cut, stream.length - cut);
                for (unsigned id = 10; id < 14; id++) {
                        read_reply(lab, fd, &reply);
                        assert_int_equal(dns_reply_id(&reply), id);
                        assert_int_equal(dns_reply_answers(&reply), 1);
                }
        }
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"completed\"", NULL), 1 + 4 * (stream.length + 1));
        dns_lab_close(lab);
}

/* RFC 7766 6.2.1.1: who is waited for does not hold up the others. */
static void answers_come_in_the_order_in_which_they_are_known(void **state)
{
        static struct dns_bytes stream;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = connect_stream(lab);

        (void)state;
        lab->responder.ipv6 = SILENT;
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_AAAA);
        put_query(&stream, 2, "a.allowed.example", DNS_TYPE_A);
        put_query(&stream, 3, "a.refused.example", DNS_TYPE_A);
        send_all(lab, fd, stream.bytes, stream.length);
        read_reply(lab, fd, &reply);
        assert_int_equal(dns_reply_id(&reply), 3);
        read_reply(lab, fd, &reply);
        assert_int_equal(dns_reply_id(&reply), 2);
        read_reply(lab, fd, &reply);
        assert_int_equal(dns_reply_id(&reply), 1);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_SERVER_FAILURE);
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        dns_lab_close(lab);
}

/* 64 are taken; the others wait unread and are answered when there is room, none is dropped. */
static void more_queries_than_may_be_under_way_wait_their_turn(void **state)
{
        enum { QUERIES = 3 * MAX_QUERIES };
        static struct dns_bytes stream;
        static struct dns_reply reply;
        static bool seen[QUERIES];
        struct dns_lab *lab = dns_lab_open();
        int fd = connect_stream(lab);
        char name[64];

        (void)state;
        lab->responder.ipv4 = SILENT;
        stream.length = 0;
        for (unsigned id = 0; id < QUERIES; id++) {
                snprintf(name, sizeof(name), "n%u.allowed.example", id);
                put_query(&stream, id, name, DNS_TYPE_A);
        }
        send_all(lab, fd, stream.bytes, stream.length);
        wait_for_questions(&lab->fixture, &lab->responder, MAX_QUERIES);
        run_for(lab, 50);
        assert_int_equal(lab->responder.seen_count, MAX_QUERIES);
        for (unsigned i = 0; i < QUERIES; i++) {
                read_reply(lab, fd, &reply);
                lab->responder.ipv4 = ANSWER; /* the ones that were taken are lost, those to come are answered */
                assert_false(seen[dns_reply_id(&reply)]);
                seen[dns_reply_id(&reply)] = true;
        }
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"query\"", NULL), QUERIES);
        dns_lab_close(lab);
}

/* What the client does not read fills its socket and 64 KiB here; then the listener stops reading, and at last gives up. */
static void a_client_that_does_not_read_is_not_read_from_and_then_let_go(void **state)
{
        static struct dns_bytes stream;
        struct dns_lab *lab = dns_lab_open();
        int fd = connect_stream(lab);
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        uint64_t blocked_ms = 0;
        size_t sent_count = 0;

        (void)state;
        stream.length = 0;
        for (unsigned id = 0; id < 500; id++)
                put_query(&stream, id, "a.refused.example", DNS_TYPE_A);
        while (dns_listener_is_idle(lab->listener)) /* not accepted yet */
                dns_lab_run(lab);
        while (!dns_listener_is_idle(lab->listener)) {
                assert_true(real_ms() < guard_ms);
                ssize_t sent = send(fd, stream.bytes, stream.length, MSG_NOSIGNAL);
                if (sent > 0)
                        sent_count += (size_t)sent;
                else if (blocked_ms == 0)
                        blocked_ms = real_ms();
                (void)event_base_loop(lab->fixture.base, sent > 0 ? EVLOOP_NONBLOCK : EVLOOP_ONCE);
        }
        assert_true(blocked_ms != 0); /* It was stopped, and only then let go: */
        assert_in_range(real_ms() - blocked_ms, LAB_TIMEOUT_MS / 2, LAB_TIMEOUT_MS + 2000);
        assert_in_range(sent_count, 65536, 64 << 20);
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        dns_lab_close(lab);
}

static void a_half_closed_connection_gets_its_answers_and_then_the_end(void **state)
{
        static struct dns_bytes stream;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = connect_stream(lab);

        (void)state;
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_A);
        send_all(lab, fd, stream.bytes, stream.length);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        read_reply(lab, fd, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_end(lab, fd);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, NULL), 1);
        dns_lab_close(lab);
}

static void an_idle_connection_stays_and_a_begun_query_does_not(void **state)
{
        static struct dns_bytes stream;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int idle = connect_stream(lab), begun = connect_stream(lab);

        (void)state;
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_A);
        send_all(lab, begun, stream.bytes, stream.length - 1);
        assert_end(lab, begun); /* after timeouts.inspect, which the idle one outlives */
        send_all(lab, idle, stream.bytes, stream.length);
        read_reply(lab, idle, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_int_equal(close(idle), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"inspect-timeout\"", "\"prod\"", NULL), 1);
        assert_int_equal(dns_lab_count_records(lab, NULL), 2);
        dns_lab_close(lab);
}

static void a_client_that_leaves_is_recorded_with_what_it_asked(void **state)
{
        static struct dns_bytes stream;
        struct dns_lab *lab = dns_lab_open();
        struct linger now = { .l_onoff = 1 };
        int waiting = connect_stream(lab), cut = connect_stream(lab);

        (void)state;
        lab->responder.ipv4 = SILENT;
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_A);
        send_all(lab, waiting, stream.bytes, stream.length);
        wait_for_questions(&lab->fixture, &lab->responder, 1);
        send_all(lab, cut, stream.bytes, 7);
        assert_int_equal(setsockopt(waiting, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
        assert_int_equal(close(waiting), 0);
        assert_int_equal(close(cut), 0);
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        while (!dns_listener_is_idle(lab->listener)) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(lab->fixture.base, EVLOOP_ONCE), 0);
        }
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"client-aborted\"", "\"a.allowed.example\"", NULL), 1);
        assert_int_equal(dns_lab_count_records(lab, "\"client-gone\"", "\"request_size\":7", NULL) +
                                 dns_lab_count_records(lab, "\"client-gone\"", "\"request_size\": 7", NULL),
                         1);
        assert_int_equal(dns_lab_count_records(lab, NULL), 2);
        dns_lab_close(lab);
}

static void what_is_no_query_ends_the_connection(void **state)
{
        static const uint8_t empty[2] = { 0, 0 };
        static struct dns_bytes stream;
        struct dns_lab *lab = dns_lab_open();
        int first = connect_stream(lab), second = connect_stream(lab);

        (void)state;
        send_all(lab, first, empty, sizeof(empty));
        assert_end(lab, first);
        dns_start(&stream, DNS_FLAG_RESPONSE, "a.allowed.example", DNS_TYPE_A);
        const uint8_t prefix[] = { 0, (uint8_t)stream.length };
        send_all(lab, second, prefix, sizeof(prefix));
        send_all(lab, second, stream.bytes, stream.length);
        assert_end(lab, second);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"bad-query\"", NULL), 2);
        dns_lab_close(lab);
}

static void a_client_past_its_limit_is_turned_away_and_recorded(void **state)
{
        struct dns_lab *lab = dns_lab_open();
        int first, second;
        uint8_t byte;

        (void)state;
        connection_limits_set(lab->limits, 1000, 1);
        first = connect_stream(lab);
        second = connect_stream(lab);
        dns_lab_await(lab, second);
        assert_int_equal(recv(second, &byte, 1, 0), -1);
        assert_int_equal(errno, ECONNRESET);
        assert_int_equal(close(second), 0);
        assert_int_equal(close(first), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"too-many-client-connections\"", "\"deny\"", "\"dns\"", NULL), 1);
        dns_lab_close(lab);
}

static void draining_ends_idle_connections_and_answers_the_others(void **state)
{
        static struct dns_bytes stream;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int idle = connect_stream(lab), waiting = connect_stream(lab);

        (void)state;
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_A);
        send_all(lab, waiting, stream.bytes, stream.length);
        while (lab->responder.seen_count == 0)
                assert_int_equal(event_base_loop(lab->fixture.base, EVLOOP_ONCE), 0);
        dns_listener_drain(lab->listener);
        assert_end(lab, idle);
        read_reply(lab, waiting, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_end(lab, waiting);
        assert_true(dns_listener_is_idle(lab->listener));
        dns_lab_end(lab);
        dns_lab_close(lab);
}

/* As large as it must be for a client without EDNS. */
static void an_answer_too_large_for_udp_says_so_and_comes_whole_over_tcp(void **state)
{
        static struct dns_bytes stream, query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int datagrams = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);
        int fd = connect_stream(lab);

        (void)state;
        lab->responder.more_addresses = 59;
        dns_start(&query, DNS_FLAG_RECURSION_DESIRED, "a.allowed.example", DNS_TYPE_A);
        dns_lab_send(datagrams, &query);
        dns_lab_receive(lab, datagrams, &reply);
        assert_true((reply.bytes[2] & (DNS_FLAG_TRUNCATED >> 8)) != 0);
        assert_in_range(reply.length, DNS_MESSAGE_MIN_UDP_SIZE - 16, DNS_MESSAGE_MIN_UDP_SIZE);
        assert_in_range(dns_reply_answers(&reply), 29, 59);
        stream.length = 0;
        put_query(&stream, 1, "a.allowed.example", DNS_TYPE_A);
        send_all(lab, fd, stream.bytes, stream.length);
        read_reply(lab, fd, &reply);
        assert_int_equal(reply.bytes[2] & (DNS_FLAG_TRUNCATED >> 8), 0);
        assert_int_equal(dns_reply_answers(&reply), 60);
        assert_int_equal(close(fd), 0);
        assert_int_equal(close(datagrams), 0);
        dns_lab_end(lab);
        dns_lab_close(lab);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(queries_may_be_cut_anywhere_and_come_together),
                cmocka_unit_test(answers_come_in_the_order_in_which_they_are_known),
                cmocka_unit_test(more_queries_than_may_be_under_way_wait_their_turn),
                cmocka_unit_test(a_client_that_does_not_read_is_not_read_from_and_then_let_go),
                cmocka_unit_test(a_half_closed_connection_gets_its_answers_and_then_the_end),
                cmocka_unit_test(an_idle_connection_stays_and_a_begun_query_does_not),
                cmocka_unit_test(a_client_that_leaves_is_recorded_with_what_it_asked),
                cmocka_unit_test(what_is_no_query_ends_the_connection),
                cmocka_unit_test(a_client_past_its_limit_is_turned_away_and_recorded),
                cmocka_unit_test(draining_ends_idle_connections_and_answers_the_others),
                cmocka_unit_test(an_answer_too_large_for_udp_says_so_and_comes_whole_over_tcp),
        };

        return cmocka_run_group_tests_name("dns_stream", tests, enter_network, NULL);
}
