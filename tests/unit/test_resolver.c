#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/dns_client.h"
#include "net/resolver.h"
#include "own_network.h"

#define GUARD_S 20       /* a test that hangs fails after it */
#define TIMEOUT_MS 10000 /* of lookups that are not meant to time out */
#define SERVER "127.0.0.53"
#define SERVER_PORT 5300
#define MAX_SEEN 4096

/*
 * The clock of the program, replaced: real time plus what a test adds, to let answers expire. c-ares and libevent have
 * their own.
 */
static uint64_t clock_offset_ms;

static uint64_t real_ms(void)
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
};

/* A DNS server in the test's own event loop, for what real ones cannot be made to do. */
struct responder {
        struct event *event;
        int fd;
        enum behaviour ipv4;
        enum behaviour ipv6;
        uint8_t last_byte; /* of the address it answers */
        unsigned ipv4_count;
        unsigned ipv6_count;
        uint16_t ids[MAX_SEEN];
        uint16_t ports[MAX_SEEN];
        size_t seen_count;
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

static struct fqdn name_of(const char *text)
{
        struct fqdn name;

        assert_int_equal(fqdn_from_text(text, &name), 0);
        return name;
}

static struct net_endpoint endpoint_of(const char *text)
{
        struct net_endpoint endpoint;

        assert_int_equal(net_endpoint_parse(text, 53, &endpoint), 0);
        return endpoint;
}

static size_t open_descriptors(void)
{
        DIR *directory = opendir("/proc/self/fd");
        size_t count = 0;

        assert_non_null(directory);
        while (readdir(directory) != NULL)
                count++;
        assert_int_equal(closedir(directory), 0);
        return count;
}

/* server: NULL for that of the real one. */
static void open_fixture(struct fixture *fixture, const char *server)
{
        *fixture = (struct fixture){ .descriptors_before = open_descriptors() };
        clock_offset_ms = 0;
        fixture->servers[0] = endpoint_of(server != NULL ? server : SERVER ":5300");
        fixture->config.dns_servers = fixture->servers;
        fixture->config.dns_server_count = 1;
        fixture->config.forward_zones = fixture->zones;
        fixture->config.resolve_timeout_ms = TIMEOUT_MS;
        fixture->base = event_base_new();
        assert_non_null(fixture->base);
}

static void open_resolver(struct fixture *fixture)
{
        assert_int_equal(resolver_new(fixture->base, &fixture->config, &fixture->resolver), 0);
}

static void close_fixture(struct fixture *fixture)
{
        resolver_free(fixture->resolver);
        event_base_free(fixture->base);
        assert_int_equal(open_descriptors(), fixture->descriptors_before);
}

static void on_answer(const struct resolver_answer *answer, void *context)
{
        struct outcome *outcome = context;

        outcome->count++;
        outcome->status = answer->status;
        outcome->address_count = answer->address_count;
        memcpy(outcome->addresses, answer->addresses, answer->address_count * sizeof(*answer->addresses));
}

static struct resolver_query *start(struct fixture *fixture, const char *name_text, bool with_ipv4, bool with_ipv6,
                                    struct outcome *outcome)
{
        struct fqdn name = name_of(name_text);
        struct resolver_query *query;

        *outcome = (struct outcome){ 0 };
        assert_int_equal(resolver_lookup(fixture->resolver, &name, with_ipv4, with_ipv6, on_answer, outcome, &query),
                         0);
        assert_int_equal(outcome->count, 0);
        return query;
}

static void wait_for(struct fixture *fixture, const struct outcome *outcome)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;

        while (outcome->count == 0) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
        }
        assert_int_equal(outcome->count, 1);
}

static struct outcome look_up(struct fixture *fixture, const char *name_text, bool with_ipv4, bool with_ipv6)
{
        struct outcome outcome;

        (void)start(fixture, name_text, with_ipv4, with_ipv6, &outcome);
        wait_for(fixture, &outcome);
        return outcome;
}

static void assert_addresses(const struct outcome *outcome, const char *texts)
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

static size_t queries_sent(const struct fixture *fixture)
{
        struct resolver_statistics statistics;

        resolver_statistics(fixture->resolver, &statistics);
        return statistics.queries_sent;
}

/* Runs the loop until the responder has seen that many questions. */
static void wait_for_questions(struct fixture *fixture, const struct responder *responder, size_t count)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;

        while (responder->seen_count < count) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
        }
}

static int udp_socket(const char *endpoint_text)
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
static size_t append_record(uint8_t *message, size_t length, bool is_ipv6, uint8_t last_byte)
{
        const uint8_t head[] = { 0xc0, 12, 0, is_ipv6 ? 28 : 1, 0, 1, 0, 0, 0, 60, 0, is_ipv6 ? 16 : 4 };
        const uint8_t ipv4[] = { 192, 0, 2, last_byte };
        const uint8_t ipv6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = last_byte };

        memcpy(message + length, head, sizeof(head));
        length += sizeof(head);
        memcpy(message + length, is_ipv6 ? ipv6 : ipv4, is_ipv6 ? 16 : 4);
        return length + (is_ipv6 ? 16 : 4);
}

/* Turns the question into its answer; returns the length, 0 for none. */
static size_t respond(uint8_t *message, size_t question_length, bool is_ipv6, enum behaviour behaviour,
                      uint8_t last_byte)
{
        message[2] = 0x81; /* an answer, recursion was desired */
        message[3] = 0x80;
        message[11] = 0; /* no EDNS record */
        switch (behaviour) {
        case ANSWER:
                message[7] = 1;
                return append_record(message, question_length, is_ipv6, last_byte);
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
                return append_record(message, question_length + 2, is_ipv6, last_byte);
        }
        return 0;
}

static void responder_on_question(evutil_socket_t fd, short what, void *context)
{
        struct responder *responder = context;
        struct sockaddr_storage peer;
        socklen_t peer_length = sizeof(peer);
        uint8_t message[1500];
        ssize_t received = recvfrom(fd, message, 512, 0, (struct sockaddr *)&peer, &peer_length);

        (void)what;
        assert_true(received > 12);
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
        length = respond(message, length, is_ipv6, is_ipv6 ? responder->ipv6 : responder->ipv4, responder->last_byte);
        if (length > 0)
                assert_int_equal(sendto(fd, message, length, 0, (const struct sockaddr *)&peer, peer_length), length);
}

static void open_responder(struct fixture *fixture, const char *endpoint, uint8_t last_byte,
                           struct responder *responder)
{
        *responder = (struct responder){ .fd = udp_socket(endpoint), .last_byte = last_byte };
        responder->event =
                event_new(fixture->base, responder->fd, EV_READ | EV_PERSIST, responder_on_question, responder);
        assert_non_null(responder->event);
        assert_int_equal(event_add(responder->event, NULL), 0);
}

static void close_responder(struct responder *responder)
{
        event_free(responder->event);
        assert_int_equal(close(responder->fd), 0);
}

/* The real server: nsd with one zone. */
struct real_server {
        char directory[64];
        pid_t process;
};

static struct real_server server;

static const char zone_text[] = "$ORIGIN example.\n"
                                "$TTL 60\n"
                                "@ IN SOA ns admin 1 3600 600 86400 7\n"
                                "@ IN NS ns\n"
                                "ns IN A 127.0.0.53\n"
                                "both IN A 192.0.2.1\n"
                                "both IN A 192.0.2.2\n"
                                "both IN AAAA 2001:db8::1\n"
                                "only4 IN A 192.0.2.4\n"
                                "only6 IN AAAA 2001:db8::6\n"
                                "text IN TXT \"no address\"\n"
                                "alias IN CNAME alias2\n"
                                "alias2 IN CNAME only4\n"
                                "dangling IN CNAME nowhere\n"
                                "away IN CNAME host.elsewhere.invalid.\n"
                                "short 1 IN A 192.0.2.9\n";

static void write_file(const char *directory, const char *name, const char *text)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

/* "many" has more addresses than fit in a UDP answer. */
static void write_zone(const char *directory)
{
        char path[128];

        write_file(directory, "example.zone", zone_text);
        snprintf(path, sizeof(path), "%s/example.zone", directory);
        FILE *file = fopen(path, "ae");
        assert_non_null(file);
        for (int i = 0; i < 100; i++)
                fprintf(file, "many IN A 198.51.100.%d\n", i);
        assert_int_equal(fclose(file), 0);
}

static void write_configuration(const char *directory)
{
        char text[1024];

        snprintf(text, sizeof(text),
                 "server:\n  ip-address: %s@%d\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  database: \"\"\n"
                 "  zonesdir: \"%s\"\n  pidfile: \"%s/nsd.pid\"\n  xfrdfile: \"%s/xfrd.state\"\n  xfrdir: \"%s\"\n"
                 "  zonelistfile: \"%s/zone.list\"\n  logfile: \"%s/nsd.log\"\nremote-control:\n  control-enable: no\n"
                 "zone:\n  name: example.\n  zonefile: example.zone\n",
                 SERVER, SERVER_PORT, directory, directory, directory, directory, directory, directory);
        write_file(directory, "nsd.conf", text);
}

/* Asks until there is an answer: the server is ready. */
static void await_server(void)
{
        static const uint8_t question[] = "\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x02ns\x07"
                                          "example\0\0\x01\0\x01";
        struct net_endpoint endpoint = endpoint_of(SERVER ":5300");
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &address);
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        uint8_t answer[512];
        ssize_t received = -1;

        while (received < 12) {
                int fd = udp_socket("127.0.0.1:5399");
                struct pollfd readable = { .fd = fd, .events = POLLIN };
                assert_true(real_ms() < guard_ms);
                assert_int_equal(waitpid(server.process, NULL, WNOHANG), 0); /* nsd has not ended: is it installed? */
                assert_int_equal(connect(fd, (const struct sockaddr *)&address, length), 0);
                if (send(fd, question, sizeof(question) - 1, 0) > 0 && poll(&readable, 1, 50) == 1)
                        received = recv(fd, answer, sizeof(answer), 0);
                assert_int_equal(close(fd), 0);
        }
}

static void start_server(void)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/nsd.conf", server.directory);
        server.process = fork();
        assert_true(server.process != -1);
        if (server.process == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* A test that crashes leaves no server behind. */
                (void)execlp("nsd", "nsd", "-d", "-c", path, (char *)NULL);
                (void)execl("/usr/sbin/nsd", "nsd", "-d", "-c", path, (char *)NULL);
                _exit(127);
        }
        await_server();
}

static void stop_server(void)
{
        assert_int_equal(kill(server.process, SIGTERM), 0);
        assert_int_equal(waitpid(server.process, NULL, 0), server.process);
        server.process = 0;
}

static int set_up(void **state)
{
        (void)state;
        own_network_enter();
        strcpy(server.directory, "/tmp/test_resolver.XXXXXX");
        assert_non_null(mkdtemp(server.directory));
        write_zone(server.directory);
        write_configuration(server.directory);
        start_server();
        return 0;
}

static int tear_down(void **state)
{
        DIR *directory;
        const struct dirent *entry;

        (void)state;
        if (server.process > 0)
                stop_server();
        directory = opendir(server.directory);
        assert_non_null(directory);
        while ((entry = readdir(directory)) != NULL)
                (void)unlinkat(dirfd(directory), entry->d_name, 0); /* "." and ".." stay. */
        assert_int_equal(closedir(directory), 0);
        assert_int_equal(rmdir(server.directory), 0);
        return 0;
}

static void both_families_come_interleaved_ipv6_first(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        open_resolver(&fixture);
        struct outcome outcome = look_up(&fixture, "both.example", true, true);
        assert_int_equal(outcome.address_count, 3);
        assert_int_equal(outcome.addresses[0].family, AF_INET6);
        assert_int_equal(outcome.addresses[1].family, AF_INET);
        assert_int_equal(outcome.addresses[2].family, AF_INET);
        outcome = look_up(&fixture, "both.example", false, true);
        assert_addresses(&outcome, "2001:db8::1");
        outcome = look_up(&fixture, "both.example", true, false);
        assert_int_equal(outcome.address_count, 2);
        close_fixture(&fixture);
}

static void one_family_without_addresses_is_no_failure(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        open_resolver(&fixture);
        struct outcome outcome = look_up(&fixture, "only4.example", true, true);
        assert_addresses(&outcome, "192.0.2.4");
        outcome = look_up(&fixture, "only6.example", true, true);
        assert_addresses(&outcome, "2001:db8::6");
        assert_int_equal(look_up(&fixture, "only4.example", false, true).status, RESOLVER_NOT_FOUND);
        close_fixture(&fixture);
}

static void a_name_that_is_not_or_has_no_address_is_not_found(void **state)
{
        static const char *const names[] = { "nowhere.example", "text.example", "dangling.example", "x.only4.example",
                                             "hidden.onion" };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        open_resolver(&fixture);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_int_equal(look_up(&fixture, names[i], true, true).status, RESOLVER_NOT_FOUND);
        close_fixture(&fixture);
}

static void a_name_outside_the_servers_zones_fails(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL); /* nsd answers REFUSED */
        open_resolver(&fixture);
        assert_int_equal(look_up(&fixture, "host.elsewhere.invalid", true, true).status, RESOLVER_FAILED);
        close_fixture(&fixture);
}

static void addresses_at_the_end_of_a_cname_chain_count_for_the_name_asked(void **state)
{
        struct fqdn asked = name_of("alias.example");
        struct fqdn target = name_of("only4.example");
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        open_resolver(&fixture);
        struct outcome outcome = look_up(&fixture, "alias.example", true, true);
        assert_addresses(&outcome, "192.0.2.4");
        assert_true(resolver_recently_answered(fixture.resolver, &asked, &outcome.addresses[0]));
        assert_false(resolver_recently_answered(fixture.resolver, &target, &outcome.addresses[0]));
        close_fixture(&fixture);
}

static void an_answer_too_long_for_udp_comes_over_tcp_and_is_cut_at_the_maximum(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        open_resolver(&fixture);
        struct outcome outcome = look_up(&fixture, "many.example", true, true);
        assert_int_equal(outcome.status, RESOLVER_OK);
        assert_int_equal(outcome.address_count, RESOLVER_MAX_ADDRESSES);
        close_fixture(&fixture);
}

static void a_cached_answer_is_delivered_later_and_asks_nobody(void **state)
{
        struct outcome outcome;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        open_resolver(&fixture);
        (void)look_up(&fixture, "both.example", true, true);
        assert_int_equal(queries_sent(&fixture), 2);
        (void)start(&fixture, "both.example", true, true, &outcome);         /* asserts that no callback ran */
        assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 1); /* 1: no event is pending any more */
        assert_int_equal(outcome.count, 1);
        assert_int_equal(outcome.address_count, 3);
        assert_int_equal(queries_sent(&fixture), 2);
        close_fixture(&fixture);
}

static void a_negative_answer_lasts_as_long_as_the_soa_says(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL); /* The zone says 7 s. */
        open_resolver(&fixture);
        (void)look_up(&fixture, "nowhere.example", true, false);
        clock_offset_ms += 6000;
        assert_int_equal(look_up(&fixture, "nowhere.example", true, false).status, RESOLVER_NOT_FOUND);
        assert_int_equal(queries_sent(&fixture), 1);
        clock_offset_ms += 1500;
        assert_int_equal(look_up(&fixture, "nowhere.example", true, false).status, RESOLVER_NOT_FOUND);
        assert_int_equal(queries_sent(&fixture), 2);
        close_fixture(&fixture);
}

static void an_expired_answer_is_served_while_it_is_refreshed(void **state)
{
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        open_resolver(&fixture);
        struct outcome outcome = look_up(&fixture, "a.example", true, false);
        assert_addresses(&outcome, "192.0.2.1");
        responder.last_byte = 2;
        clock_offset_ms += 59000;
        outcome = look_up(&fixture, "a.example", true, false);
        assert_int_equal(responder.ipv4_count, 1);
        clock_offset_ms += 2000;
        outcome = look_up(&fixture, "a.example", true, false);
        assert_addresses(&outcome, "192.0.2.1");
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        do { /* The refresh arrives; until then the old answer is served. */
                assert_true(real_ms() < guard_ms);
                outcome = look_up(&fixture, "a.example", true, false);
                assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 0);
        } while (outcome.addresses[0].bytes[3] != 2);
        assert_int_equal(responder.ipv4_count, 2);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void with_the_server_gone_the_old_answer_is_served_for_15_minutes(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, NULL);
        fixture.config.resolve_timeout_ms = 400;
        open_resolver(&fixture);
        (void)look_up(&fixture, "short.example", true, false);
        stop_server();
        for (clock_offset_ms = 6000; clock_offset_ms < 15 * 60 * 1000; clock_offset_ms += 120000) {
                struct outcome outcome = look_up(&fixture, "short.example", true, false);
                assert_addresses(&outcome, "192.0.2.9");
        }
        clock_offset_ms = (15 * 60 + 6) * 1000;
        /* c-ares 1.27 says timeout, 1.18 failure. */
        assert_in_range(look_up(&fixture, "short.example", true, false).status, RESOLVER_FAILED, RESOLVER_TIMEOUT);
        assert_in_range(look_up(&fixture, "both.example", true, false).status, RESOLVER_FAILED, RESOLVER_TIMEOUT);
        start_server();
        clock_offset_ms += 1100; /* A failure is remembered for a second. */
        struct outcome outcome = look_up(&fixture, "short.example", true, false);
        assert_addresses(&outcome, "192.0.2.9");
        close_fixture(&fixture);
}

static void silence_ends_in_a_timeout_in_time(void **state)
{
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        responder.ipv4 = SILENT;
        responder.ipv6 = SILENT;
        fixture.config.resolve_timeout_ms = 600;
        open_resolver(&fixture);
        uint64_t begun_ms = real_ms();
        assert_int_equal(look_up(&fixture, "a.example", true, true).status, RESOLVER_TIMEOUT);
        assert_in_range(real_ms() - begun_ms, 300, 3000); /* c-ares 1.27 takes off a random part. */
        assert_int_equal(responder.ipv4_count, 2);        /* asked twice */
        close_responder(&responder);
        close_fixture(&fixture);
}

static void a_server_that_is_silent_broken_or_absent_gives_way_to_the_next(void **state)
{
        static const enum behaviour behaviours[] = { SILENT, SERVER_FAILURE };
        struct responder broken;
        struct responder working;
        struct fixture fixture;

        (void)state;
        for (size_t i = 0; i <= ARRAY_SIZE(behaviours); i++) {
                open_fixture(&fixture, "127.0.0.54");
                if (i < ARRAY_SIZE(behaviours)) { /* else nobody is there */
                        open_responder(&fixture, "127.0.0.54", 1, &broken);
                        broken.ipv4 = behaviours[i];
                }
                open_responder(&fixture, "127.0.0.55", 2, &working);
                fixture.servers[1] = endpoint_of("127.0.0.55");
                fixture.config.dns_server_count = 2;
                fixture.config.resolve_timeout_ms = 3000;
                open_resolver(&fixture);
                struct outcome outcome = look_up(&fixture, "a.example", true, false);
                assert_addresses(&outcome, "192.0.2.2");
                if (i < ARRAY_SIZE(behaviours)) {
                        assert_int_equal(broken.ipv4_count, 1);
                        close_responder(&broken);
                }
                close_responder(&working);
                close_fixture(&fixture);
        }
}

static void an_unusable_answer_is_a_failure(void **state)
{
        static const enum behaviour behaviours[] = { SERVER_FAILURE, GARBAGE, LOOP };
        struct responder responder;
        struct fixture fixture;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++) {
                open_fixture(&fixture, "127.0.0.54");
                open_responder(&fixture, "127.0.0.54", 1, &responder);
                responder.ipv4 = behaviours[i];
                responder.ipv6 = NAME_ERROR;
                fixture.config.resolve_timeout_ms = 1000;
                open_resolver(&fixture);
                /* c-ares 1.27 throws a malformed answer away and goes on waiting. */
                assert_in_range(look_up(&fixture, "a.example", true, true).status, RESOLVER_FAILED, RESOLVER_TIMEOUT);
                close_responder(&responder);
                close_fixture(&fixture);
        }
}

static void many_lookups_of_one_name_ask_once_for_each_family(void **state)
{
        struct outcome outcomes[100];
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        open_resolver(&fixture);
        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
                (void)start(&fixture, "a.example", i % 3 != 0, i % 3 != 1, &outcomes[i]);
        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++) {
                wait_for(&fixture, &outcomes[i]);
                assert_addresses(&outcomes[i], i % 3 == 0   ? "2001:db8::1"
                                               : i % 3 == 1 ? "192.0.2.1"
                                                            : "2001:db8::1 192.0.2.1");
        }
        assert_int_equal(responder.ipv4_count, 1);
        assert_int_equal(responder.ipv6_count, 1);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void the_second_family_is_waited_for_50_ms_and_still_fills_the_cache(void **state)
{
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        responder.ipv6 = SILENT;
        fixture.config.resolve_timeout_ms = 3000; /* The second try is sent after one second. */
        open_resolver(&fixture);
        uint64_t begun_ms = real_ms();
        struct outcome outcome = look_up(&fixture, "a.example", true, true);
        assert_addresses(&outcome, "192.0.2.1");
        assert_in_range(real_ms() - begun_ms, 45, 900);
        responder.ipv6 = ANSWER;
        wait_for_questions(&fixture, &responder, 3);
        size_t sent = queries_sent(&fixture);
        outcome = look_up(&fixture, "a.example", true, true);
        assert_addresses(&outcome, "2001:db8::1 192.0.2.1");
        assert_int_equal(queries_sent(&fixture), sent);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void after_cancel_no_callback_runs_but_the_cache_is_filled(void **state)
{
        struct outcome cancelled;
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        open_resolver(&fixture);
        resolver_query_cancel(start(&fixture, "a.example", true, true, &cancelled));
        struct outcome outcome = look_up(&fixture, "b.example", true, true); /* its answers come after those */
        assert_int_equal(outcome.status, RESOLVER_OK);
        assert_int_equal(queries_sent(&fixture), 4);
        outcome = look_up(&fixture, "a.example", true, true);
        assert_addresses(&outcome, "2001:db8::1 192.0.2.1");
        assert_int_equal(queries_sent(&fixture), 4);
        /* An answer that is at hand and not delivered yet. */
        resolver_query_cancel(start(&fixture, "a.example", true, true, &outcome));
        assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 0);
        assert_int_equal(outcome.count, 0);
        assert_int_equal(cancelled.count, 0);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void freeing_with_lookups_pending_runs_no_callback(void **state)
{
        struct outcome outcomes[4];
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        open_resolver(&fixture);
        outcomes[3] = look_up(&fixture, "cached.example", true, true);
        responder.ipv4 = SILENT;
        (void)start(&fixture, "a.example", true, true, &outcomes[0]);
        wait_for_questions(&fixture, &responder, 4);
        (void)start(&fixture, "b.example", true, false, &outcomes[1]);
        (void)start(&fixture, "cached.example", true, true, &outcomes[2]);
        resolver_query_cancel(start(&fixture, "c.example", true, true, &outcomes[3]));
        resolver_free(fixture.resolver);
        fixture.resolver = NULL;
        close_responder(&responder);
        assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 1); /* no event is left */
        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
                assert_int_equal(outcomes[i].count, 0);
        close_fixture(&fixture);
}

static void the_longest_forward_zone_answers(void **state)
{
        static const struct {
                const char *name;
                const char *address;
        } rows[] = {
                { "a.example", "192.0.2.1" },        { "corp.example", "192.0.2.2" },
                { "a.corp.example", "192.0.2.2" },   { "notcorp.example", "192.0.2.1" },
                { "db.corp.example", "192.0.2.3" },  { "x.y.db.corp.example", "192.0.2.3" },
                { "adb.corp.example", "192.0.2.2" }, { "example", "192.0.2.1" },
        };
        struct responder responders[3];
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responders[0]);
        open_responder(&fixture, "127.0.0.55", 2, &responders[1]);
        open_responder(&fixture, "127.0.0.56:5353", 3, &responders[2]);
        fixture.zone_servers[0] = endpoint_of("127.0.0.55");
        fixture.zone_servers[1] = endpoint_of("127.0.0.56:5353");
        fixture.zones[0] = (struct config_forward_zone){
                .zone = name_of("corp.example"), .servers = &fixture.zone_servers[0], .server_count = 1
        };
        fixture.zones[1] = (struct config_forward_zone){
                .zone = name_of("db.corp.example"), .servers = &fixture.zone_servers[1], .server_count = 1
        };
        fixture.config.forward_zone_count = 2;
        open_resolver(&fixture);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct outcome outcome = look_up(&fixture, rows[i].name, true, false);
                assert_addresses(&outcome, rows[i].address);
        }
        for (size_t i = 0; i < ARRAY_SIZE(responders); i++)
                close_responder(&responders[i]);
        close_fixture(&fixture);
}

static void another_configuration_takes_new_questions_and_leaves_running_ones(void **state)
{
        struct responder responders[2];
        struct outcome running;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responders[0]);
        open_responder(&fixture, "127.0.0.55", 2, &responders[1]);
        open_resolver(&fixture);
        (void)look_up(&fixture, "cached.example", true, false);
        (void)start(&fixture, "running.example", true, false, &running);
        fixture.servers[0] = endpoint_of("127.0.0.55");
        assert_int_equal(resolver_reconfigure(fixture.resolver, &fixture.config), 0);
        struct outcome outcome = look_up(&fixture, "new.example", true, false);
        assert_addresses(&outcome, "192.0.2.2");
        wait_for(&fixture, &running);
        assert_addresses(&running, "192.0.2.1");
        outcome = look_up(&fixture, "cached.example", true, false);
        assert_addresses(&outcome, "192.0.2.1");
        /* What cannot be used changes nothing. */
        fixture.config.dns_server_count = 0;
        assert_int_equal(resolver_reconfigure(fixture.resolver, &fixture.config), -EINVAL);
        outcome = look_up(&fixture, "newer.example", true, false);
        assert_addresses(&outcome, "192.0.2.2");
        close_responder(&responders[0]);
        close_responder(&responders[1]);
        close_fixture(&fixture);
}

static size_t count_distinct(const uint16_t *values, size_t count)
{
        static bool seen[UINT16_MAX + 1];
        size_t distinct = 0;

        memset(seen, 0, sizeof(seen));
        for (size_t i = 0; i < count; i++) {
                distinct += seen[values[i]] ? 0 : 1;
                seen[values[i]] = true;
        }
        return distinct;
}

/* One question is always in flight, so that c-ares alone would keep its socket. */
static void ids_and_source_ports_change_under_load_too(void **state)
{
        enum { QUESTIONS = 1000 };
        static struct responder responder;
        static struct outcome outcomes[QUESTIONS];
        struct fixture fixture;
        char name[32];

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        open_resolver(&fixture);
        for (size_t i = 0; i < QUESTIONS; i++) {
                snprintf(name, sizeof(name), "host%zu.example", i);
                (void)start(&fixture, name, true, false, &outcomes[i]);
                if (i > 0)
                        wait_for(&fixture, &outcomes[i - 1]);
        }
        wait_for(&fixture, &outcomes[QUESTIONS - 1]);
        assert_int_equal(responder.seen_count, QUESTIONS);
        assert_true(count_distinct(responder.ids, QUESTIONS) > 970); /* 992 expected */
        assert_true(count_distinct(responder.ports, QUESTIONS) >= QUESTIONS / 64);
        close_responder(&responder);
        close_fixture(&fixture);
}

static void questions_past_the_limit_fail_at_once_and_later_ones_work(void **state)
{
        static struct responder responder;
        struct outcome *outcomes = calloc(DNS_CLIENT_MAX_QUESTIONS, sizeof(*outcomes));
        struct outcome outcome;
        struct fixture fixture;
        char name[32];

        (void)state;
        assert_non_null(outcomes);
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        responder.ipv4 = SILENT;
        fixture.config.resolve_timeout_ms = 3000;
        open_resolver(&fixture);
        for (size_t i = 0; i < DNS_CLIENT_MAX_QUESTIONS; i++) {
                snprintf(name, sizeof(name), "host%zu.example", i);
                (void)start(&fixture, name, true, false, &outcomes[i]);
        }
        outcome = look_up(&fixture, "one-more.example", true, false);
        assert_int_equal(outcome.status, RESOLVER_FAILED);
        for (size_t i = 0; i < DNS_CLIENT_MAX_QUESTIONS; i++)
                assert_int_equal(outcomes[i].count, 0);
        for (size_t i = 0; i < DNS_CLIENT_MAX_QUESTIONS; i++)
                wait_for(&fixture, &outcomes[i]);
        close_responder(&responder);
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        outcome = look_up(&fixture, "later.example", true, false);
        assert_addresses(&outcome, "192.0.2.1");
        close_responder(&responder);
        close_fixture(&fixture);
        free(outcomes);
}

/* A callback that looks up and cancels, as connections do. */
struct chain {
        struct fixture *fixture;
        struct resolver_query *other;
        struct outcome outcome;
        struct outcome other_outcome;
};

static void on_first_answer(const struct resolver_answer *answer, void *context)
{
        struct chain *chain = context;

        assert_int_equal(answer->status, RESOLVER_OK);
        resolver_query_cancel(chain->other);
        (void)start(chain->fixture, "a.example", true, true, &chain->outcome);
}

static void a_callback_may_look_up_and_cancel(void **state)
{
        struct fqdn name = name_of("a.example");
        struct chain chain = { 0 };
        struct resolver_query *query;
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        open_resolver(&fixture);
        chain.fixture = &fixture;
        assert_int_equal(resolver_lookup(fixture.resolver, &name, true, true, on_first_answer, &chain, &query), 0);
        chain.other = start(&fixture, "a.example", true, true, &chain.other_outcome);
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        while (chain.outcome.count == 0) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture.base, EVLOOP_ONCE), 0);
        }
        assert_int_equal(chain.other_outcome.count, 0);
        assert_addresses(&chain.outcome, "2001:db8::1 192.0.2.1");
        close_responder(&responder);
        close_fixture(&fixture);
}

static void servers_may_have_ipv6_addresses(void **state)
{
        struct responder responder;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, "[::1]:5301");
        open_responder(&fixture, "[::1]:5301", 1, &responder);
        open_resolver(&fixture);
        struct outcome outcome = look_up(&fixture, "a.example", true, true);
        assert_addresses(&outcome, "2001:db8::1 192.0.2.1");
        close_responder(&responder);
        close_fixture(&fixture);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(both_families_come_interleaved_ipv6_first),
                cmocka_unit_test(one_family_without_addresses_is_no_failure),
                cmocka_unit_test(a_name_that_is_not_or_has_no_address_is_not_found),
                cmocka_unit_test(a_name_outside_the_servers_zones_fails),
                cmocka_unit_test(addresses_at_the_end_of_a_cname_chain_count_for_the_name_asked),
                cmocka_unit_test(an_answer_too_long_for_udp_comes_over_tcp_and_is_cut_at_the_maximum),
                cmocka_unit_test(a_cached_answer_is_delivered_later_and_asks_nobody),
                cmocka_unit_test(a_negative_answer_lasts_as_long_as_the_soa_says),
                cmocka_unit_test(an_expired_answer_is_served_while_it_is_refreshed),
                cmocka_unit_test(with_the_server_gone_the_old_answer_is_served_for_15_minutes),
                cmocka_unit_test(silence_ends_in_a_timeout_in_time),
                cmocka_unit_test(a_server_that_is_silent_broken_or_absent_gives_way_to_the_next),
                cmocka_unit_test(an_unusable_answer_is_a_failure),
                cmocka_unit_test(many_lookups_of_one_name_ask_once_for_each_family),
                cmocka_unit_test(the_second_family_is_waited_for_50_ms_and_still_fills_the_cache),
                cmocka_unit_test(after_cancel_no_callback_runs_but_the_cache_is_filled),
                cmocka_unit_test(freeing_with_lookups_pending_runs_no_callback),
                cmocka_unit_test(the_longest_forward_zone_answers),
                cmocka_unit_test(another_configuration_takes_new_questions_and_leaves_running_ones),
                cmocka_unit_test(ids_and_source_ports_change_under_load_too),
                cmocka_unit_test(questions_past_the_limit_fail_at_once_and_later_ones_work),
                cmocka_unit_test(a_callback_may_look_up_and_cancel),
                cmocka_unit_test(servers_may_have_ipv6_addresses),
        };

        return cmocka_run_group_tests_name("resolver", tests, set_up, tear_down);
}
