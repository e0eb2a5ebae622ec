/* The resolver against a real server, nsd, in a network of the test's own. */
#include "net/resolver.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "dns_testing.h"

#define SERVER "127.0.0.53"
#define SERVER_PORT 5300

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
        open_fixture(&fixture, SERVER ":5300");
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
        open_fixture(&fixture, SERVER ":5300");
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
        open_fixture(&fixture, SERVER ":5300");
        open_resolver(&fixture);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                assert_int_equal(look_up(&fixture, names[i], true, true).status, RESOLVER_NOT_FOUND);
        close_fixture(&fixture);
}

static void a_name_outside_the_servers_zones_fails(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER ":5300"); /* nsd answers REFUSED */
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
        open_fixture(&fixture, SERVER ":5300");
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
        open_fixture(&fixture, SERVER ":5300");
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
        open_fixture(&fixture, SERVER ":5300");
        open_resolver(&fixture);
        (void)look_up(&fixture, "both.example", true, true);
        assert_int_equal(resolver_asked_count(fixture.resolver), 2);
        (void)start(&fixture, "both.example", true, true, &outcome);         /* asserts that no callback ran */
        assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 1); /* 1: no event is pending any more */
        assert_int_equal(outcome.count, 1);
        assert_int_equal(outcome.address_count, 3);
        assert_int_equal(resolver_asked_count(fixture.resolver), 2);
        close_fixture(&fixture);
}

static void a_negative_answer_lasts_as_long_as_the_soa_says(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER ":5300"); /* The zone says 7 s. */
        open_resolver(&fixture);
        (void)look_up(&fixture, "nowhere.example", true, false);
        clock_offset_ms += 6000;
        assert_int_equal(look_up(&fixture, "nowhere.example", true, false).status, RESOLVER_NOT_FOUND);
        assert_int_equal(resolver_asked_count(fixture.resolver), 1);
        clock_offset_ms += 1500;
        assert_int_equal(look_up(&fixture, "nowhere.example", true, false).status, RESOLVER_NOT_FOUND);
        assert_int_equal(resolver_asked_count(fixture.resolver), 2);
        close_fixture(&fixture);
}

static void with_the_server_gone_the_old_answer_is_served_for_15_minutes(void **state)
{
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, SERVER ":5300");
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
                cmocka_unit_test(with_the_server_gone_the_old_answer_is_served_for_15_minutes),
        };

        return cmocka_run_group_tests_name("resolver", tests, set_up, tear_down);
}
