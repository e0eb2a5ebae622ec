/* The resolver against a server that stays silent, fails, lies or counts, in a network of the test's own. */
#include "net/resolver.h"

#include <errno.h>
#include <stdlib.h>

#include "dns_testing.h"
#include "net/dns_client.h"

static int enter_network(void **state)
{
        (void)state;
        own_network_enter();
        return 0;
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

static void an_answer_to_another_question_is_no_answer(void **state)
{
        static const enum behaviour behaviours[] = { OTHER_ID, OTHER_NAME };
        struct responder responder;
        struct fixture fixture;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++) {
                open_fixture(&fixture, "127.0.0.54");
                open_responder(&fixture, "127.0.0.54", 1, &responder);
                responder.ipv4 = behaviours[i];
                fixture.config.resolve_timeout_ms = 400;
                open_resolver(&fixture);
                assert_int_equal(look_up(&fixture, "a.example", true, false).status, RESOLVER_TIMEOUT);
                assert_true(responder.ipv4_count > 0);
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
        size_t sent = resolver_asked_count(fixture.resolver);
        outcome = look_up(&fixture, "a.example", true, true);
        assert_addresses(&outcome, "2001:db8::1 192.0.2.1");
        assert_int_equal(resolver_asked_count(fixture.resolver), sent);
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
        assert_int_equal(resolver_asked_count(fixture.resolver), 4);
        outcome = look_up(&fixture, "a.example", true, true);
        assert_addresses(&outcome, "2001:db8::1 192.0.2.1");
        assert_int_equal(resolver_asked_count(fixture.resolver), 4);
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
        fixture.zones[0] = (struct config_forward_zone){ .zone = name_of("corp.example"),
                                                         .servers = &fixture.zone_servers[0],
                                                         .server_count = 1 };
        fixture.zones[1] = (struct config_forward_zone){ .zone = name_of("db.corp.example"),
                                                         .servers = &fixture.zone_servers[1],
                                                         .server_count = 1 };
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

/* One question stays in flight, so that c-ares by itself would keep its socket. */
static void ids_and_source_ports_change_under_load_too(void **state)
{
        enum { QUESTIONS = 1000 };
        static struct responder responder;
        static struct outcome outcomes[QUESTIONS];
        struct outcome unanswered;
        struct fixture fixture;
        char name[32];

        (void)state;
        open_fixture(&fixture, "127.0.0.54");
        open_responder(&fixture, "127.0.0.54", 1, &responder);
        responder.ipv6 = SILENT;
        open_resolver(&fixture);
        (void)start(&fixture, "unanswered.example", false, true, &unanswered);
        for (size_t i = 0; i < QUESTIONS; i++) {
                snprintf(name, sizeof(name), "host%zu.example", i);
                (void)start(&fixture, name, true, false, &outcomes[i]);
                wait_for(&fixture, &outcomes[i]);
        }
        assert_int_equal(responder.ipv4_count, QUESTIONS);
        assert_int_equal(unanswered.count, 0);
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
                cmocka_unit_test(an_expired_answer_is_served_while_it_is_refreshed),
                cmocka_unit_test(silence_ends_in_a_timeout_in_time),
                cmocka_unit_test(a_server_that_is_silent_broken_or_absent_gives_way_to_the_next),
                cmocka_unit_test(an_unusable_answer_is_a_failure),
                cmocka_unit_test(an_answer_to_another_question_is_no_answer),
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

        return cmocka_run_group_tests_name("resolver_trouble", tests, enter_network, NULL);
}
