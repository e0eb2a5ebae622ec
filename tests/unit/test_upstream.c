#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/upstream.h"
#include "descriptors.h"
#include "own_network.h"
#include "values.h"

#define GUARD_S 20       /* a test that hangs fails after it */
#define TIMEOUT_MS 10000 /* of connects that are not meant to time out */
#define MANY_PORTS 20000, 59999

/* Listeners take ports one after the other below the range of local ports: never the same twice, no TIME_WAIT in the way. */
static uint16_t next_port = 2000;

struct fixture {
        struct event_base *base;
        struct config_address_range ranges[4];
        char name[8];
        struct config_snat_pool pool_config;
        struct config config;
        struct snat_registry *registry;
        struct snat_pools *pools;
        struct upstream_request request;
        struct net_address origins[8];
        size_t descriptors_before;
};

struct outcome {
        bool done;
        struct upstream_answer answer;
};

/* sources: ranges "first" or "first last", NULL at the end. */
static void open_fixture(struct fixture *fixture, enum config_selection selection, const char *const *sources)
{
        *fixture = (struct fixture){ .name = "main", .descriptors_before = count_descriptors() };
        fixture->pool_config = (struct config_snat_pool){ .name = { .text = fixture->name },
                                                          .ranges = fixture->ranges,
                                                          .selection = selection };
        for (size_t i = 0; sources[i] != NULL; i++) {
                const char *space = strchr(sources[i], ' ');
                size_t first_length = space != NULL ? (size_t)(space - sources[i]) : strlen(sources[i]);
                assert_int_equal(net_address_parse(sources[i], first_length, &fixture->ranges[i].first), 0);
                fixture->ranges[i].last = space != NULL ? address_of(space + 1) : fixture->ranges[i].first;
                fixture->pool_config.range_count++;
        }
        fixture->config.snat_pools = &fixture->pool_config;
        fixture->config.snat_pool_count = 1;
        assert_int_equal(snat_registry_new(NULL, NULL, &fixture->registry), 0);
        assert_int_equal(snat_pools_new(fixture->registry, &fixture->config, &fixture->pools), 0);
        fixture->base = event_base_new();
        assert_non_null(fixture->base);
        fixture->request = (struct upstream_request){
                .addresses = fixture->origins,
                .client = address_of("10.1.2.3"),
                .pool = snat_pools_get(fixture->pools, 0),
                .registry = fixture->registry,
                .timeout_ms = TIMEOUT_MS,
        };
}

static void add_use(const struct snat_address_use *use, void *context)
{
        unsigned *sum = context;

        *sum += use->in_use;
}

static unsigned total_use(const struct fixture *fixture)
{
        unsigned sum = 0;

        snat_pools_each_address(fixture->pools, add_use, &sum);
        return sum;
}

/* Every test ends here: nothing is leased any more and no descriptor more is open than before. */
static void close_fixture(struct fixture *fixture)
{
        assert_int_equal(total_use(fixture), 0);
        event_base_free(fixture->base);
        snat_pools_free(fixture->pools);
        snat_registry_free(fixture->registry);
        assert_int_equal(count_descriptors(), fixture->descriptors_before);
}

static int listen_on(const char *address_text, uint16_t port, int backlog)
{
        struct net_endpoint endpoint = { address_of(address_text), port };
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &address);
        int fd = socket(endpoint.address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd != -1);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
        assert_int_equal(listen(fd, backlog), 0);
        return fd;
}

/* A listener that answers no SYN: its queue of one is full. Close all three descriptors. */
struct blackhole {
        int listener;
        int fillers[2];
};

static struct blackhole open_blackhole(const char *address_text, uint16_t port)
{
        struct blackhole blackhole = { .listener = listen_on(address_text, port, 0) };
        struct net_endpoint endpoint = { address_of(address_text), port };
        struct sockaddr_storage address;
        socklen_t length = net_endpoint_to_sockaddr(&endpoint, &address);

        for (size_t i = 0; i < ARRAY_SIZE(blackhole.fillers); i++) {
                int fd = socket(endpoint.address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                assert_true(fd != -1);
                assert_true(connect(fd, (const struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS);
                blackhole.fillers[i] = fd;
        }
        return blackhole;
}

static void close_blackhole(const struct blackhole *blackhole)
{
        close(blackhole->fillers[0]);
        close(blackhole->fillers[1]);
        close(blackhole->listener);
}

static void on_done(const struct upstream_answer *answer, void *context)
{
        struct outcome *outcome = context;

        assert_false(outcome->done);
        outcome->done = true;
        outcome->answer = *answer;
}

static void wait_for(struct fixture *fixture, const struct outcome *outcome)
{
        uint64_t guard_ms = clock_monotonic_ms() + GUARD_S * 1000;

        while (!outcome->done) {
                assert_true(clock_monotonic_ms() < guard_ms);
                assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
        }
}

static void start(struct fixture *fixture, struct outcome *outcome, struct upstream_connect **ret)
{
        *outcome = (struct outcome){ 0 };
        assert_int_equal(upstream_connect_start(fixture->base, &fixture->request, on_done, outcome, ret), 0);
        assert_false(outcome->done);
}

/* Connects to the port at the addresses (NULL at the end) and returns the answer. */
static struct upstream_answer connect_to(struct fixture *fixture, const char *const *origins, uint16_t port)
{
        struct upstream_connect *connect;
        struct outcome outcome;

        fixture->request.address_count = 0;
        for (size_t i = 0; origins[i] != NULL; i++)
                fixture->origins[fixture->request.address_count++] = address_of(origins[i]);
        fixture->request.port = port;
        start(fixture, &outcome, &connect);
        wait_for(fixture, &outcome);
        if (outcome.answer.reason != REASON_COMPLETED) {
                assert_int_equal(outcome.answer.fd, -1);
                assert_null(outcome.answer.lease.source);
                assert_int_equal(outcome.answer.source.address.family, AF_UNSPEC);
        }
        return outcome.answer;
}

#define CONNECT_TO(fixture, port, ...) connect_to(fixture, (const char *const[]){ __VA_ARGS__, NULL }, port)

static void hang_up(struct fixture *fixture, struct upstream_answer *answer)
{
        assert_int_equal(answer->reason, REASON_COMPLETED);
        assert_int_equal(close(answer->fd), 0);
        snat_lease_release(fixture->registry, &answer->lease);
}

static void assert_address(const struct net_address *address, const char *text)
{
        char buffer[NET_ADDRESS_TEXT_SIZE];

        assert_string_equal(net_address_format(address, buffer), text);
}

static void connects_from_the_pool_address_and_says_so(void **state)
{
        static const struct {
                const char *source;
                const char *origin;
        } rows[] = { { "127.0.0.2", "127.0.0.1" }, { "fd00::2", "fd00::1" } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const char *sources[] = { rows[i].source, NULL };
                struct sockaddr_storage peer = { 0 };
                socklen_t length = sizeof(peer);
                int no_delay = 0;
                struct fixture fixture;
                open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
                uint16_t port = next_port++;
                int listener = listen_on(rows[i].origin, port, 8);
                struct upstream_answer answer = CONNECT_TO(&fixture, port, rows[i].origin);
                assert_int_equal(answer.reason, REASON_COMPLETED);
                assert_address(&answer.source.address, rows[i].source);
                assert_address(&answer.origin.address, rows[i].origin);
                assert_int_equal(answer.origin.port, port);
                int accepted = accept(listener, (struct sockaddr *)&peer, &length);
                struct net_endpoint seen = net_endpoint_from_sockaddr(&peer);
                assert_true(net_endpoint_equal(&seen, &answer.source));
                assert_true((fcntl(answer.fd, F_GETFL) & O_NONBLOCK) != 0);
                assert_true((fcntl(answer.fd, F_GETFD) & FD_CLOEXEC) != 0);
                length = sizeof(no_delay);
                assert_int_equal(getsockopt(answer.fd, SOL_TCP, TCP_NODELAY, &no_delay, &length), 0);
                assert_int_equal(no_delay, 1);
                assert_int_equal(total_use(&fixture), 1);
                hang_up(&fixture, &answer);
                close(accepted);
                close(listener);
                close_fixture(&fixture);
        }
}

static void a_refused_address_gives_way_to_the_next_at_once(void **state)
{
        const char *sources[] = { "127.0.0.2", NULL };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        uint16_t port = next_port++;
        int listener = listen_on("127.0.0.9", port, 8);
        uint64_t begun_ms = clock_monotonic_ms();
        struct upstream_answer answer = CONNECT_TO(&fixture, port, "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.9");
        assert_address(&answer.origin.address, "127.0.0.9");
        assert_true(clock_monotonic_ms() - begun_ms < 3 * 250); /* three waits would last that long */
        hang_up(&fixture, &answer);
        close(listener);
        close_fixture(&fixture);
}

static void a_silent_address_is_overtaken_by_the_next_after_250_ms(void **state)
{
        const char *sources[] = { "127.0.0.2", NULL };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        uint16_t port = next_port++;
        struct blackhole blackhole = open_blackhole("127.0.0.8", port);
        int listener = listen_on("127.0.0.9", port, 8);
        uint64_t begun_ms = clock_monotonic_ms();
        struct upstream_answer answer = CONNECT_TO(&fixture, port, "127.0.0.8", "127.0.0.9");
        assert_address(&answer.origin.address, "127.0.0.9");
        assert_in_range(clock_monotonic_ms() - begun_ms, 240, 5000);
        assert_int_equal(total_use(&fixture), 1); /* the silent attempt is over */
        hang_up(&fixture, &answer);
        close(listener);
        close_blackhole(&blackhole);
        close_fixture(&fixture);
}

static void silence_everywhere_ends_with_a_timeout_in_time(void **state)
{
        const char *sources[] = { "127.0.0.2", NULL };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        uint16_t port = next_port++;
        struct blackhole blackhole = open_blackhole("127.0.0.8", port);
        fixture.request.timeout_ms = 400;
        uint64_t begun_ms = clock_monotonic_ms();
        struct upstream_answer answer = CONNECT_TO(&fixture, port, "127.0.0.8", "127.0.0.9"); /* the second refuses */
        assert_int_equal(answer.reason, REASON_CONNECT_TIMEOUT);
        assert_in_range(clock_monotonic_ms() - begun_ms, 390, 5000);
        close_blackhole(&blackhole);
        close_fixture(&fixture);
}

static void the_most_telling_failure_is_reported(void **state)
{
        const char *sources[] = { "127.0.0.2", "fd00::2", NULL };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        uint16_t port = next_port++;
        assert_int_equal(CONNECT_TO(&fixture, port, "127.0.0.9").reason, REASON_CONNECT_REFUSED);
        assert_int_equal(CONNECT_TO(&fixture, port, "2001:db8::1").reason, REASON_CONNECT_UNREACHABLE);
        assert_int_equal(CONNECT_TO(&fixture, port, "2001:db8::1", "127.0.0.9").reason, REASON_CONNECT_REFUSED);
        assert_int_equal(CONNECT_TO(&fixture, port, "127.0.0.9", "2001:db8::1").reason, REASON_CONNECT_REFUSED);
        close_fixture(&fixture);
}

static void an_address_that_is_on_no_interface_gives_way_to_the_next(void **state)
{
        const char *sources[] = { "198.18.0.1 198.18.0.3", "127.0.0.2", NULL };
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_ROUND_ROBIN, sources);
        uint16_t port = next_port++;
        int listener = listen_on("127.0.0.1", port, 8);
        for (int i = 0; i < 4; i++) {
                struct upstream_answer answer = CONNECT_TO(&fixture, port, "127.0.0.1");
                assert_address(&answer.source.address, "127.0.0.2");
                hang_up(&fixture, &answer);
        }
        close(listener);
        close_fixture(&fixture);
}

static void without_any_present_address_of_the_family_it_is_snat_unavailable(void **state)
{
        const char *sources[] = { "198.18.0.1 198.18.0.3", NULL };
        struct net_address absent = address_of("198.18.0.2");
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        snat_registry_set_present(fixture.registry, &absent, false);
        assert_int_equal(CONNECT_TO(&fixture, 443, "127.0.0.1").reason, REASON_SNAT_UNAVAILABLE);
        assert_int_equal(CONNECT_TO(&fixture, 443, "fd00::1").reason, REASON_SNAT_UNAVAILABLE);
        close_fixture(&fixture);
}

/* Four local ports and two addresses: eight connections to one destination, then none, then one again. */
static void ports_run_out_address_by_address_and_then_it_is_snat_exhausted(void **state)
{
        const char *sources[] = { "127.0.0.2 127.0.0.3", NULL };
        struct upstream_answer answers[8];
        unsigned from_first = 0;
        struct fixture fixture;

        (void)state;
        own_network_set_ports(40000, 40003);
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        uint16_t port = next_port++;
        int listener = listen_on("127.0.0.1", port, 64);
        for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
                answers[i] = CONNECT_TO(&fixture, port, "127.0.0.1");
                assert_int_equal(answers[i].reason, REASON_COMPLETED);
                assert_in_range(answers[i].source.port, 40000, 40003);
                assert_int_equal(net_address_equal(&answers[i].source.address, &answers[0].source.address), i < 4);
                from_first += answers[i].source.address.bytes[3] == 2 ? 1 : 0;
        }
        assert_int_equal(from_first, 4);
        assert_int_equal(CONNECT_TO(&fixture, port, "127.0.0.1").reason, REASON_SNAT_EXHAUSTED);
        /* Another destination has all the ports of its own. */
        uint16_t other_port = next_port++;
        int other_listener = listen_on("127.0.0.1", other_port, 64);
        struct upstream_answer other = CONNECT_TO(&fixture, other_port, "127.0.0.1");
        hang_up(&fixture, &other);
        for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
                hang_up(&fixture, &answers[i]);
        close(listener);
        close(other_listener);
        close_fixture(&fixture);
        own_network_set_ports(MANY_PORTS);
}

static void two_destinations_share_one_port(void **state)
{
        static const struct {
                const char *source;
                const char *origins[2];
        } rows[] = { { "127.0.0.2", { "127.0.0.1", "127.0.0.9" } }, { "fd00::2", { "fd00::1", "fd00::9" } } };

        (void)state;
        own_network_set_ports(40010, 40010);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const char *sources[] = { rows[i].source, NULL };
                struct upstream_answer answers[2];
                int listeners[2];
                struct fixture fixture;
                open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
                uint16_t port = next_port++;
                for (size_t j = 0; j < 2; j++) {
                        listeners[j] = listen_on(rows[i].origins[j], port, 8);
                        answers[j] = CONNECT_TO(&fixture, port, rows[i].origins[j]);
                        assert_int_equal(answers[j].reason, REASON_COMPLETED);
                        assert_int_equal(answers[j].source.port, 40010);
                }
                for (size_t j = 0; j < 2; j++) {
                        hang_up(&fixture, &answers[j]);
                        close(listeners[j]);
                }
                close_fixture(&fixture);
        }
        own_network_set_ports(MANY_PORTS);
}

static void a_connection_to_itself_is_a_refused_one(void **state)
{
        const char *sources[] = { "127.0.0.2", NULL };
        struct fixture fixture;

        (void)state;
        own_network_set_ports(40020, 40020);
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        assert_int_equal(CONNECT_TO(&fixture, 40020, "127.0.0.2").reason, REASON_CONNECT_REFUSED);
        close_fixture(&fixture);
        own_network_set_ports(MANY_PORTS);
}

static void without_descriptors_it_is_no_resources(void **state)
{
        const char *sources[] = { "127.0.0.2 127.0.0.3", NULL };
        struct rlimit before;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        int highest = dup(STDIN_FILENO);
        assert_true(highest != -1);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        struct rlimit none = { .rlim_cur = (rlim_t)highest, .rlim_max = before.rlim_max };
        close(highest);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        struct upstream_answer answer = CONNECT_TO(&fixture, 443, "127.0.0.1", "127.0.0.9");
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(answer.reason, REASON_NO_RESOURCES);
        close_fixture(&fixture);
}

static void cancelling_closes_everything_at_every_moment(void **state)
{
        const char *sources[] = { "127.0.0.2", NULL };
        struct upstream_connect *connect;
        struct outcome outcome;
        struct fixture fixture;

        (void)state;
        open_fixture(&fixture, CONFIG_SELECTION_STICKY, sources);
        uint16_t port = next_port++;
        int listener = listen_on("127.0.0.9", port, 64);
        struct blackhole blackhole = open_blackhole("127.0.0.8", port);
        fixture.origins[0] = address_of("127.0.0.8");
        fixture.origins[1] = address_of("127.0.0.9");
        fixture.request.address_count = 2;
        fixture.request.port = port;
        /* Before the loop ran; with the first attempt under way. */
        start(&fixture, &outcome, &connect);
        upstream_connect_cancel(connect);
        start(&fixture, &outcome, &connect);
        assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 0);
        assert_int_equal(total_use(&fixture), 1);
        upstream_connect_cancel(connect);
        /* With a failure that is not yet delivered. */
        fixture.request.port = next_port++;
        fixture.origins[0] = address_of("2001:db8::1");
        fixture.request.address_count = 1;
        start(&fixture, &outcome, &connect);
        upstream_connect_cancel(connect);
        assert_int_equal(event_base_loop(fixture.base, EVLOOP_NONBLOCK), 1); /* no event is left */
        assert_false(outcome.done);
        close(listener);
        close_blackhole(&blackhole);
        close_fixture(&fixture);
}

static int enter_network(void **state)
{
        static const char *const addresses[] = { "fd00::1", "fd00::2", "fd00::9" };

        (void)state;
        own_network_enter();
        own_network_set_ports(MANY_PORTS);
        for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
                struct net_address address = address_of(addresses[i]);
                struct in6_addr in6;
                memcpy(&in6, address.bytes, sizeof(in6));
                own_network_add_ipv6(&in6);
        }
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(connects_from_the_pool_address_and_says_so),
                cmocka_unit_test(a_refused_address_gives_way_to_the_next_at_once),
                cmocka_unit_test(a_silent_address_is_overtaken_by_the_next_after_250_ms),
                cmocka_unit_test(silence_everywhere_ends_with_a_timeout_in_time),
                cmocka_unit_test(the_most_telling_failure_is_reported),
                cmocka_unit_test(an_address_that_is_on_no_interface_gives_way_to_the_next),
                cmocka_unit_test(without_any_present_address_of_the_family_it_is_snat_unavailable),
                cmocka_unit_test(ports_run_out_address_by_address_and_then_it_is_snat_exhausted),
                cmocka_unit_test(two_destinations_share_one_port),
                cmocka_unit_test(a_connection_to_itself_is_a_refused_one),
                cmocka_unit_test(without_descriptors_it_is_no_resources),
                cmocka_unit_test(cancelling_closes_everything_at_every_moment),
        };

        return cmocka_run_group_tests_name("upstream", tests, enter_network, NULL);
}
