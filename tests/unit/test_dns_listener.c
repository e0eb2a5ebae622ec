/* The DNS listener over UDP, with a real server side and real sockets: who is told what, and what is recorded. */
#include <errno.h>

#include "dns_listener_lab.h"
#include "traffic/dns_request.h"

static int enter_network(void **state)
{
        (void)state;
        own_network_enter();
        return 0;
}

static void an_allowed_name_is_answered_and_a_refused_one_asks_nobody(void **state)
{
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();

        (void)state;
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_NO_ERROR);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_true(dns_reply_has_text(&reply, "\xc0\x0c")); /* The owner is the question. */
        assert_int_equal(lab->responder.seen_count, 1);
        dns_lab_ask(lab, LAB_CLIENT, "a.refused.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_REFUSED);
        assert_true(dns_reply_has_text(&reply, "aksegressd: no-rule"));
        dns_lab_ask(lab, LAB_STRANGER, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_REFUSED);
        assert_true(dns_reply_has_text(&reply, "unknown-source; 127.0.2.10"));
        assert_int_equal(lab->responder.seen_count, 1);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, NULL), 3);
        assert_int_equal(dns_lab_count_records(lab, "\"completed\"", "\"a.allowed.example\"", "\"prod\"", NULL), 1);
        assert_int_equal(dns_lab_count_records(lab, "\"no-rule\"", "\"deny\"", "\"REFUSED\"", "\"prod\"", NULL), 1);
        assert_int_equal(dns_lab_count_records(lab, "\"unknown-source\"", "\"deny\"", NULL), 1);
        dns_lab_close(lab);
}

/* Each row is a query of its own kind of wrong. */
static void what_is_no_question_for_us_is_told_so_and_recorded_as_a_bad_query(void **state)
{
        static const struct {
                const char *name;
                unsigned flags;
                unsigned type;
                unsigned class;
                unsigned rcode;
        } rows[] = {
                { "a.allowed.example", 0, DNS_TYPE_A, 3, DNS_RCODE_REFUSED },
                { "a.allowed.example", 0, DNS_TYPE_ANY, DNS_CLASS_IN, DNS_RCODE_NOT_IMPLEMENTED },
                { "a.allowed.example", 0, DNS_TYPE_AXFR, DNS_CLASS_IN, DNS_RCODE_NOT_IMPLEMENTED },
                { "a.allowed.example", 0, DNS_TYPE_IXFR, DNS_CLASS_IN, DNS_RCODE_NOT_IMPLEMENTED },
                { "a.allowed.example", 0, 250, DNS_CLASS_IN, DNS_RCODE_NOT_IMPLEMENTED },
                { "a.allowed.example", 4 << DNS_OPCODE_SHIFT, DNS_TYPE_A, DNS_CLASS_IN, DNS_RCODE_NOT_IMPLEMENTED },
                { "a b.allowed.example", 0, DNS_TYPE_A, DNS_CLASS_IN, DNS_RCODE_REFUSED },
                { "", 0, DNS_TYPE_A, DNS_CLASS_IN, DNS_RCODE_REFUSED },
        };
        static struct dns_bytes query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                dns_start(&query, rows[i].flags, rows[i].name, rows[i].type);
                dns_set_u16(&query, query.length - 2, rows[i].class);
                dns_lab_send(fd, &query);
                dns_lab_receive(lab, fd, &reply);
                assert_int_equal(dns_reply_rcode(&reply), rows[i].rcode);
        }
        dns_lab_make_query(&query, 1, "a.allowed.example", DNS_TYPE_A);
        dns_put_u8(&query, 0); /* a byte behind the message */
        dns_lab_send(fd, &query);
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_FORMAT_ERROR);
        assert_int_equal(lab->responder.seen_count, 0);
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"bad-query\"", "\"deny\"", NULL), ARRAY_SIZE(rows) + 1);
        dns_lab_close(lab);
}

/* A response, or bytes that are nothing, get no answer: two servers would answer each other for ever. */
static void what_is_no_query_is_recorded_and_not_answered(void **state)
{
        static struct dns_bytes response;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);

        (void)state;
        dns_start(&response, DNS_FLAG_RESPONSE, "a.allowed.example", DNS_TYPE_A);
        dns_lab_send(fd, &response);
        assert_int_equal(send(fd, "x", 1, 0), 1);
        dns_lab_make_query(&response, 99, "a.allowed.example", DNS_TYPE_A);
        dns_lab_send(fd, &response);
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_id(&reply), 99); /* The first answer is the last query's. */
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"bad-query\"", NULL), 2);
        assert_int_equal(dns_lab_count_records(lab, "\"response_code\"", NULL), 1);
        dns_lab_close(lab);
}

static void identical_questions_in_flight_are_one_for_the_server(void **state)
{
        enum { CLIENTS = 20 };
        static struct dns_bytes query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fds[CLIENTS];

        (void)state;
        for (unsigned i = 0; i < CLIENTS; i++) {
                fds[i] = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);
                dns_lab_make_query(&query, 1000 + i, i % 2 == 0 ? "a.allowed.example" : "A.aLLowed.Example",
                                   DNS_TYPE_A);
                dns_lab_send(fds[i], &query);
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
                dns_lab_receive(lab, fds[i], &reply);
                assert_int_equal(dns_reply_id(&reply), 1000 + i);
                assert_int_equal(dns_reply_answers(&reply), 1);
                /* Each gets its own mix of capitals back (DNS 0x20). */
                assert_true(dns_reply_has_text(&reply, i % 2 == 0 ? "\7allowed\7example" : "\7aLLowed\7Example"));
                assert_int_equal(close(fds[i]), 0);
        }
        assert_int_equal(lab->responder.seen_count, 1);
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply); /* from the cache */
        assert_int_equal(lab->responder.seen_count, 1);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"completed\"", NULL), CLIENTS + 1);
        dns_lab_close(lab);
}

static void a_silent_server_ends_in_servfail_in_time_and_a_failing_one_at_once(void **state)
{
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();

        (void)state;
        lab->responder.ipv4 = SILENT;
        uint64_t begun_ms = real_ms();
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_in_range(real_ms() - begun_ms, LAB_TIMEOUT_MS / 2, LAB_TIMEOUT_MS + 1000);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_SERVER_FAILURE);
        assert_true(dns_reply_has_text(&reply, "resolve-timeout"));
        lab->responder.ipv6 = SERVER_FAILURE;
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_AAAA, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_SERVER_FAILURE);
        assert_true(dns_reply_has_text(&reply, "resolve-failed"));
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"resolve-timeout\"", "\"allow\"", "\"SERVFAIL\"", NULL), 1);
        assert_int_equal(dns_lab_count_records(lab, "\"resolve-failed\"", "\"allow\"", "\"SERVFAIL\"", NULL), 1);
        dns_lab_close(lab);
}

/* One answer in the shared cache, and each cluster is told its own part of it. */
static void clusters_share_the_cache_and_not_what_they_may_be_told(void **state)
{
        static const uint8_t address[] = { 192, 168, 7, 7 };
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();

        (void)state;
        memcpy(lab->responder.ipv4_network, address, 3);
        lab->responder.last_byte = 7;
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_REFUSED);
        assert_true(dns_reply_has_text(&reply, "forbidden-address; 192.168.7.7"));
        dns_lab_ask(lab, LAB_OTHER_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_NO_ERROR);
        assert_memory_equal(reply.bytes + reply.length - 11 - sizeof(address), address,
                            sizeof(address)); /* before OPT */
        assert_int_equal(lab->responder.seen_count, 1);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"forbidden-address\"", "\"deny\"", "\"prod\"", NULL), 1);
        assert_int_equal(dns_lab_count_records(lab, "\"no-rule\"", "\"audit\"", "\"other\"", NULL), 1);
        dns_lab_close(lab);
}

static void the_resolver_knows_what_clients_were_told(void **state)
{
        struct fqdn name = name_of("a.allowed.example");
        struct net_address told = address_of("192.0.2.1"), other = address_of("192.0.2.2");
        static struct dns_bytes query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);

        (void)state;
        dns_lab_make_query(&query, 1, "a.allowed.example", DNS_TYPE_A);
        query.bytes[3] |= DNS_FLAG_CHECKING_DISABLED;
        dns_lab_send(fd, &query);
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_false(
                resolver_recently_answered(lab->traffic.resolver, &name, &told)); /* Unchecked answers are not ours. */
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_true(resolver_recently_answered(lab->traffic.resolver, &name, &told));
        assert_false(resolver_recently_answered(lab->traffic.resolver, &name, &other));
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        dns_lab_close(lab);
}

/* Of the record behind a question of a name of 19 bytes. */
static unsigned first_ttl(const struct dns_reply *reply)
{
        return dns_get_u16(reply->bytes + DNS_MESSAGE_HEADER_SIZE + 19 + 4 + 8);
}

static void a_stale_answer_is_told_with_a_short_ttl_while_it_is_refreshed(void **state)
{
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();

        (void)state;
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        clock_offset_ms += 50000;
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(first_ttl(&reply), 10); /* 60 s less 50 */
        clock_offset_ms += 15000;
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_int_equal(first_ttl(&reply), 30); /* RFC 8767 5.2 */
        assert_int_equal(reply.bytes[reply.length - 1], DNS_EDE_STALE_ANSWER);
        wait_for_questions(&lab->fixture, &lab->responder, 2);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"completed\"", NULL), 3);
        dns_lab_close(lab);
}

/* The kernel here has no table that could learn: the client must not be told of an address that it could not reach. */
static void what_the_kernel_cannot_learn_is_not_told(void **state)
{
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open_at(LAB_LISTENER, true);

        (void)state;
        for (unsigned i = 0; i < 2; i++) { /* fresh, and from the cache */
                dns_lab_ask(lab, LAB_CLIENT, "a.learned.example", DNS_TYPE_A, &reply);
                assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_SERVER_FAILURE);
                assert_int_equal(dns_reply_answers(&reply), 0);
        }
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_NO_ERROR);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"no-resources\"", "\"a.learned.example\"", NULL), 2);
        dns_lab_close(lab);
}

static void a_wildcard_listener_answers_from_the_address_that_was_asked(void **state)
{
        static struct dns_bytes query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open_at("0.0.0.0", false);
        /* Connected: takes no answer from another address. */
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, "127.0.0.77");

        (void)state;
        dns_lab_make_query(&query, 5, "refused.example", DNS_TYPE_A);
        dns_lab_send(fd, &query);
        dns_lab_receive(lab, fd, &reply);
        dns_lab_make_query(&query, 6, "a.allowed.example", DNS_TYPE_A);
        dns_lab_send(fd, &query);
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_id(&reply), 6);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        dns_lab_close(lab);
}

/* The same for IPv6, where the kernel would answer from whatever address it likes best. */
static void an_ipv6_wildcard_listener_answers_from_the_address_that_was_asked(void **state)
{
        const struct in6_addr asked = { { { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x53 } } };
        const struct in6_addr client = { { { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x10 } } };
        static struct dns_bytes query;
        static struct dns_reply reply;

        (void)state;
        own_network_add_ipv6(&asked);
        own_network_add_ipv6(&client);
        struct dns_lab *lab = dns_lab_open_at("::", false);
        int fd = dns_lab_connect(lab, SOCK_DGRAM, "2001:db8::10", "[2001:db8::53]:53");
        dns_lab_make_query(&query, 6, "a.allowed.example", DNS_TYPE_AAAA);
        dns_lab_send(fd, &query);
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"completed\"", "\"2001:db8::10\"", NULL), 1);
        dns_lab_close(lab);
}

static void too_many_queries_under_way_are_told_so(void **state)
{
        enum { EXTRA = 50 };
        static struct dns_bytes query;
        static struct dns_reply reply;
        unsigned refused = 0;

        (void)state;
        dns_lab_resolve_ms = 60000; /* however slow the machine: none of the first ends before the last has come */
        struct dns_lab *lab = dns_lab_open();
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);
        dns_lab_resolve_ms = LAB_TIMEOUT_MS;
        lab->responder.ipv4 = SILENT;
        for (unsigned i = 0; i < DNS_REQUEST_MAX_PENDING + EXTRA; i++) {
                dns_lab_make_query(&query, i, "a.allowed.example", DNS_TYPE_A);
                dns_lab_send(fd, &query);
                if (i % 16 == 15)
                        dns_lab_run(lab);
        }
        dns_lab_receive(lab, fd, &reply);
        do {
                assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_SERVER_FAILURE);
                assert_true(dns_reply_has_text(&reply, "no-resources"));
                assert_in_range(dns_reply_id(&reply), DNS_REQUEST_MAX_PENDING, DNS_REQUEST_MAX_PENDING + EXTRA - 1);
                refused++;
        } while (refused < EXTRA && (dns_lab_receive(lab, fd, &reply), true));
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"no-resources\"", "\"deny\"", NULL), EXTRA);
        /* More at once than the ring of records holds: the rest is counted there. */
        assert_in_range(dns_lab_count_records(lab, "\"shutdown\"", "\"allow\"", NULL), 1, DNS_REQUEST_MAX_PENDING);
        dns_lab_close(lab);
}

/* What the kernel had taken in is answered, what waits is answered, and then nothing listens to the client. */
static void draining_answers_what_was_asked(void **state)
{
        static struct dns_bytes query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);

        (void)state;
        dns_lab_make_query(&query, 1, "a.allowed.example", DNS_TYPE_A);
        dns_lab_send(fd, &query);
        dns_listener_drain(lab->listener);
        assert_false(dns_listener_is_idle(lab->listener));
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        assert_true(dns_listener_is_idle(lab->listener));
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        assert_int_equal(dns_lab_count_records(lab, "\"completed\"", NULL), 1);
        dns_lab_close(lab);
}

static void another_generation_judges_queries_to_come(void **state)
{
        static struct dns_bytes query;
        static struct dns_reply reply;
        struct dns_lab *lab = dns_lab_open();
        struct generation *old = lab->traffic.generation;
        int fd = dns_lab_connect(lab, SOCK_DGRAM, LAB_CLIENT, LAB_LISTENER);

        (void)state;
        dns_lab_make_query(&query, 1, "a.allowed.example", DNS_TYPE_A);
        dns_lab_send(fd, &query);
        while (lab->responder.seen_count == 0) /* under way, as it was allowed */
                assert_int_equal(event_base_loop(lab->fixture.base, EVLOOP_ONCE), 0);
        lab->traffic.generation =
                dns_lab_generation(lab, 2,
                                   "  - { name: prod, sources: [127.0.0.0/24], cloud: AzurePublicCloud, location: "
                                   "westeurope, snat_pool: main }\n");
        assert_int_equal(dns_listener_reconfigure(lab->listener, generation_config(lab->traffic.generation)), 0);
        generation_unref(old);
        dns_lab_receive(lab, fd, &reply);
        assert_int_equal(dns_reply_answers(&reply), 1);
        dns_lab_ask(lab, LAB_CLIENT, "a.allowed.example", DNS_TYPE_A, &reply);
        assert_int_equal(dns_reply_rcode(&reply), DNS_RCODE_REFUSED);
        assert_int_equal(close(fd), 0);
        dns_lab_end(lab);
        dns_lab_close(lab);
}

static void a_port_in_use_is_an_error_that_names_it(void **state)
{
        struct dns_lab *lab = dns_lab_open();
        struct dns_listener *second;
        char error[256] = "";

        (void)state;
        assert_int_equal(dns_listener_new(&lab->traffic, lab->school, generation_config(lab->traffic.generation), error,
                                          sizeof(error), &second),
                         -EADDRINUSE);
        assert_string_equal(error, "listen.dns: cannot listen on UDP 127.0.0.1:53: Address already in use");
        dns_lab_end(lab);
        dns_lab_close(lab);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_allowed_name_is_answered_and_a_refused_one_asks_nobody),
                cmocka_unit_test(what_is_no_question_for_us_is_told_so_and_recorded_as_a_bad_query),
                cmocka_unit_test(what_is_no_query_is_recorded_and_not_answered),
                cmocka_unit_test(identical_questions_in_flight_are_one_for_the_server),
                cmocka_unit_test(a_silent_server_ends_in_servfail_in_time_and_a_failing_one_at_once),
                cmocka_unit_test(clusters_share_the_cache_and_not_what_they_may_be_told),
                cmocka_unit_test(the_resolver_knows_what_clients_were_told),
                cmocka_unit_test(a_stale_answer_is_told_with_a_short_ttl_while_it_is_refreshed),
                cmocka_unit_test(what_the_kernel_cannot_learn_is_not_told),
                cmocka_unit_test(a_wildcard_listener_answers_from_the_address_that_was_asked),
                cmocka_unit_test(an_ipv6_wildcard_listener_answers_from_the_address_that_was_asked),
                cmocka_unit_test(too_many_queries_under_way_are_told_so),
                cmocka_unit_test(draining_answers_what_was_asked),
                cmocka_unit_test(another_generation_judges_queries_to_come),
                cmocka_unit_test(a_port_in_use_is_an_error_that_names_it),
        };

        return cmocka_run_group_tests_name("dns_listener", tests, enter_network, NULL);
}
