/* Questions of any type and their raw answers, against a server of the test's own. */
#include "net/dns_client.h"

#include <netinet/tcp.h>
#include <stdlib.h>

#include "dns_testing.h"

#define SERVER "127.0.0.54"
#define TYPE_HTTPS 65
#define LARGE_SIZE 65535

struct received {
        unsigned count; /* of callbacks */
        enum dns_client_status status;
        size_t length;
        uint8_t bytes[LARGE_SIZE];
};

/* A server's TCP side that answers one question with as many bytes as a message can have. */
struct large_answer {
        struct event *event;
        int fd;
        unsigned count;
};

static struct received received;

static int enter_network(void **state)
{
        (void)state;
        own_network_enter();
        return 0;
}

static void on_message(const struct dns_client_message *message, void *context)
{
        struct received *into = context;

        into->count++;
        into->status = message->status;
        into->length = message->length;
        assert_true(message->length <= sizeof(into->bytes));
        if (message->length > 0)
                memcpy(into->bytes, message->bytes, message->length);
}

static void wait_for_message(struct fixture *fixture)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;

        while (received.count == 0) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
        }
        assert_int_equal(received.count, 1);
}

static void ask(struct fixture *fixture, struct dns_client *client, const char *name_text, uint16_t type,
                unsigned flags)
{
        struct fqdn name = name_of(name_text);

        received.count = 0;
        assert_int_equal(dns_client_ask_message(client, &name, type, flags, on_message, &received), 0);
        assert_int_equal(received.count, 0);
        wait_for_message(fixture);
}

static struct dns_client *open_client(struct fixture *fixture)
{
        struct dns_client *client;

        assert_int_equal(dns_client_new(fixture->base, &fixture->config, &client), 0);
        return client;
}

static void the_bytes_arrive_as_the_server_sent_them(void **state)
{
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER);
        open_responder(&fixture, SERVER, 7, &responder);
        struct dns_client *client = open_client(&fixture);
        ask(&fixture, client, "a.example", 1, 0);
        assert_int_equal(received.status, DNS_CLIENT_OK);
        assert_int_equal(received.length, 12 + 11 + 4 + 16);
        assert_int_equal(received.bytes[received.length - 1], 7);
        responder.ipv4 = NAME_ERROR;
        ask(&fixture, client, "a.example", 1, 0);
        assert_int_equal(received.status, DNS_CLIENT_OK); /* what an rcode means is the caller's question */
        assert_int_equal(received.bytes[3] & 15, 3);
        dns_client_free(client);
        close_responder(&responder);
        close_fixture(&fixture);
}

/* Type, flags and EDNS as asked for: CD in the header, DO in the record at the end. */
static void the_question_says_what_was_asked(void **state)
{
        static const uint8_t question_end[] = { 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, TYPE_HTTPS, 0, 1 };
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER);
        open_responder(&fixture, SERVER, 1, &responder);
        struct dns_client *client = open_client(&fixture);
        for (unsigned flags = 0; flags < 4; flags++) {
                bool dnssec_ok = (flags & DNS_CLIENT_DNSSEC_OK) != 0;
                bool checking_disabled = (flags & DNS_CLIENT_CHECKING_DISABLED) != 0;
                ask(&fixture, client, "a.example", TYPE_HTTPS, flags);
                const uint8_t *end = responder.last_question + responder.last_question_length;
                assert_int_equal(responder.last_question[3] & 0x10, checking_disabled ? 0x10 : 0);
                assert_int_equal(end[-9], 41); /* OPT */
                assert_int_equal(end[-8] << 8 | end[-7], 1232);
                assert_int_equal(end[-4] & 0x80, dnssec_ok ? 0x80 : 0);
                assert_memory_equal(end - 11 - sizeof(question_end), question_end, sizeof(question_end));
        }
        dns_client_free(client);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void an_answer_to_another_question_is_not_taken(void **state)
{
        static const enum behaviour lies[] = { OTHER_ID, OTHER_NAME, SILENT };
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER);
        open_responder(&fixture, SERVER, 1, &responder);
        fixture.config.resolve_timeout_ms = 300;
        struct dns_client *client = open_client(&fixture);
        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                responder.ipv4 = lies[i];
                ask(&fixture, client, "a.example", 1, 0);
                assert_int_equal(received.status, DNS_CLIENT_TIMED_OUT);
                assert_int_equal(received.length, 0);
        }
        dns_client_free(client);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void a_failing_server_and_a_name_that_is_not_for_dns_give_no_bytes(void **state)
{
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER);
        open_responder(&fixture, SERVER, 1, &responder);
        responder.ipv4 = SERVER_FAILURE;
        struct dns_client *client = open_client(&fixture);
        ask(&fixture, client, "a.example", 1, 0);
        assert_int_equal(received.status, DNS_CLIENT_FAILED);
        assert_int_equal(received.length, 0);
        size_t seen_count = responder.seen_count;
        ask(&fixture, client, "hidden.onion", 1, 0);
        assert_int_equal(received.status, DNS_CLIENT_NOT_FOUND);
        assert_int_equal(responder.seen_count, seen_count);
        dns_client_free(client);
        close_responder(&responder);
        close_fixture(&fixture);
}

/* The question of length bytes as the largest answer there is: a record of type NULL (10) that fills it. */
static void make_large(uint8_t message[2 + LARGE_SIZE], const uint8_t *question, size_t length)
{
        size_t data = LARGE_SIZE - length - 12;
        const uint8_t record[] = { 0xc0, 12, 0, 10, 0, 1, 0, 0, 0, 60, (uint8_t)(data >> 8), (uint8_t)data };

        memset(message, 'x', 2 + LARGE_SIZE);
        message[0] = 0xff;
        message[1] = 0xff;
        memcpy(message + 2, question, length);
        memcpy(message + 4, "\x81\x80\0\x01\0\x01\0\0\0\0", 10);
        memcpy(message + 2 + length, record, sizeof(record));
}

static void large_answer_on_client(evutil_socket_t fd, short what, void *context)
{
        static uint8_t message[2 + LARGE_SIZE];
        struct large_answer *large = context;
        uint8_t question[512];
        int client = accept(fd, NULL, NULL);

        (void)what;
        assert_true(client != -1);
        ssize_t length = recv(client, question, sizeof(question), 0);
        assert_true(length > 2 + 12 + 11);
        large->count++;
        make_large(message, question + 2, (size_t)length - 2 - 11); /* without the OPT record */
        assert_int_equal(send(client, message, sizeof(message), MSG_NOSIGNAL), sizeof(message));
        assert_int_equal(close(client), 0);
}

static void open_large_answer(struct fixture *fixture, struct large_answer *large)
{
        struct net_endpoint endpoint = endpoint_of(SERVER);
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &address);
        int size = 4 * LARGE_SIZE;
        int seconds = GUARD_S; /* accepted when the question is there, which the loop that asks it could not wait for */

        *large = (struct large_answer){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
        assert_int_equal(setsockopt(large->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        assert_int_equal(setsockopt(large->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)), 0);
        assert_int_equal(bind(large->fd, (const struct sockaddr *)&address, length), 0);
        assert_int_equal(listen(large->fd, 4), 0);
        large->event = event_new(fixture->base, large->fd, EV_READ | EV_PERSIST, large_answer_on_client, large);
        assert_int_equal(event_add(large->event, NULL), 0);
}

static void a_truncated_answer_comes_whole_over_tcp_up_to_64_kib(void **state)
{
        struct responder responder;
        struct large_answer large;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER);
        open_responder(&fixture, SERVER, 1, &responder);
        open_large_answer(&fixture, &large);
        responder.ipv4 = TRUNCATED;
        struct dns_client *client = open_client(&fixture);
        ask(&fixture, client, "a.example", 10, 0);
        assert_int_equal(received.status, DNS_CLIENT_OK);
        assert_int_equal(received.length, LARGE_SIZE);
        assert_int_equal(received.bytes[LARGE_SIZE - 1], 'x');
        assert_int_equal(large.count, 1);
        dns_client_free(client);
        event_free(large.event);
        assert_int_equal(close(large.fd), 0);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void on_counted(const struct dns_client_message *message, void *context)
{
        unsigned *failed = context;

        *failed += message->status == DNS_CLIENT_FAILED;
}

/* Both kinds of questions count: one past the limit is answered at once, with a failure. */
static void questions_in_flight_are_bounded(void **state)
{
        struct responder responder;
        struct fixture fixture;
        struct fqdn name = name_of("a.example");
        unsigned failed = 0;

        (void)state;
        open_fixture(&fixture, SERVER);
        open_responder(&fixture, SERVER, 1, &responder);
        responder.ipv4 = SILENT;
        struct dns_client *client = open_client(&fixture);
        for (size_t i = 0; i < DNS_CLIENT_MAX_QUESTIONS + 1; i++)
                assert_int_equal(dns_client_ask_message(client, &name, 1, 0, on_counted, &failed), 0);
        assert_int_equal(dns_client_asked_count(client), DNS_CLIENT_MAX_QUESTIONS);
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        while (failed == 0) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture.base, EVLOOP_ONCE), 0);
        }
        assert_int_equal(failed, 1);
        dns_client_free(client);
        close_responder(&responder);
        close_fixture(&fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_bytes_arrive_as_the_server_sent_them),
                cmocka_unit_test(the_question_says_what_was_asked),
                cmocka_unit_test(an_answer_to_another_question_is_not_taken),
                cmocka_unit_test(a_failing_server_and_a_name_that_is_not_for_dns_give_no_bytes),
                cmocka_unit_test(a_truncated_answer_comes_whole_over_tcp_up_to_64_kib),
                cmocka_unit_test(questions_in_flight_are_bounded),
        };

        return cmocka_run_group_tests_name("dns_client", tests, enter_network, NULL);
}
