/*
 * The names of network rules, asked for at a DNS server in the test's own event loop. No test waits for a refresh: the delay
 * is noted when the timer is set, and the timer made to run.
 */
#include "traffic/name_refresher.h"

#include <dlfcn.h>

#include "dns_testing.h"
#include "policy_lab.h"

#define SERVER "127.0.0.1:5353"
#define OTHER_SERVER "127.0.0.2:5353"

#define RULES                                                                                                          \
        POLICY_LAB_CLUSTER "    allow: ['udp a.com:123', 'tcp b.com:22', 'udp *.c.com:123']\n"                         \
                           "    private_destinations: [192.0.2.0/24, '2001:db8::/32']\n"

/* The refresh that is waited for, of the name that was answered last. */
static struct event *refresh;
static time_t refresh_delay_s;
static unsigned refresh_count; /* how often one was set */

typedef int (*event_add_fn)(struct event *event, const struct timeval *timeout);

/* The library's, replaced: sees every timer that is set. */
int event_add(struct event *event, const struct timeval *timeout)
{
        void *symbol = dlsym(RTLD_NEXT, "event_add");
        event_add_fn next;

        memcpy(&next, &symbol, sizeof(next));
        if (timeout != NULL && timeout->tv_sec >= NAME_REFRESHER_MIN_S) {
                refresh = event;
                refresh_delay_s = timeout->tv_sec;
                refresh_count++;
        }
        return next(event, timeout);
}

/* A refresher, and what it learns: mostly without a table in the kernel. */
struct refreshing {
        struct fixture dns;
        struct learned_addresses *learned;
        struct name_refresher *refresher;
};

static void open_with(struct refreshing *refreshing, struct policy_lab *lab, bool kernel)
{
        refresh = NULL;
        refresh_count = 0;
        open_fixture(&refreshing->dns, SERVER);
        policy_lab_load(lab, RULES);
        assert_int_equal(learned_addresses_new(kernel, &refreshing->learned), 0);
        learned_addresses_use_policy(refreshing->learned, lab->policy);
        assert_int_equal(name_refresher_new(refreshing->dns.base, &refreshing->dns.config, refreshing->learned,
                                            &refreshing->refresher),
                         0);
}

static void open_refreshing(struct refreshing *refreshing, struct policy_lab *lab)
{
        open_with(refreshing, lab, false);
}

static void close_refreshing(struct refreshing *refreshing)
{
        name_refresher_free(refreshing->refresher);
        learned_addresses_free(refreshing->learned);
        close_fixture(&refreshing->dns);
}

/* Sorted names; NULL: none. */
static void set_names(struct refreshing *refreshing, const char *first, const char *second)
{
        const char *const texts[] = { first, second };
        struct fqdn names[ARRAY_SIZE(texts)];
        size_t count = 0;

        for (size_t i = 0; i < ARRAY_SIZE(texts) && texts[i] != NULL; i++)
                names[count++] = name_of(texts[i]);
        assert_int_equal(name_refresher_set(refreshing->refresher, &refreshing->dns.config, names, count), 0);
}

/* Runs the loop until so many rounds of questions have ended, and what they brought is committed. */
static void wait_for_rounds(struct refreshing *refreshing, unsigned count)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;

        while (refresh_count < count) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(refreshing->dns.base, EVLOOP_ONCE), 0);
        }
        assert_int_equal(event_base_loop(refreshing->dns.base, EVLOOP_NONBLOCK), 0);
        assert_int_equal(refresh_count, count);
}

static void refresh_now(struct refreshing *refreshing)
{
        unsigned before = refresh_count;

        assert_non_null(refresh);
        event_active(refresh, EV_TIMEOUT, 0);
        wait_for_rounds(refreshing, before + 1);
}

struct recalled {
        char text[512];
};

static void on_known(const char *name, const struct net_address *address, void *context)
{
        struct recalled *recalled = context;
        char text[NET_ADDRESS_TEXT_SIZE];
        size_t used = strlen(recalled->text);

        snprintf(recalled->text + used, sizeof(recalled->text) - used, "%s %s;", name,
                 net_address_format(address, text));
}

/* known: "a.com 192.0.2.1;" for each fact, in any order. */
static void assert_known(const struct refreshing *refreshing, const char *const *known, size_t count)
{
        struct recalled recalled = { "" };
        size_t length = 0;

        learned_addresses_recall(refreshing->learned, on_known, &recalled);
        for (size_t i = 0; i < count; i++) {
                if (strstr(recalled.text, known[i]) == NULL)
                        fail_msg("'%s' is not in '%s'", known[i], recalled.text);
                length += strlen(known[i]);
        }
        assert_int_equal(strlen(recalled.text), length);
}

static void both_families_of_each_name_are_learned(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.1;", "a.com 2001:db8::1;", "b.com 192.0.2.1;",
                                             "b.com 2001:db8::1;" };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        set_names(&refreshing, "a.com", "b.com");
        wait_for_rounds(&refreshing, 2);
        assert_known(&refreshing, known, ARRAY_SIZE(known));
        assert_int_equal(responder.seen_count, 4);
        close_responder(&responder);
        close_refreshing(&refreshing);
}

static void a_name_is_asked_for_again_when_its_answer_runs_out(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.1;", "a.com 2001:db8::1;", "a.com 192.0.2.2;",
                                             "a.com 2001:db8::2;" };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        assert_int_equal(refresh_delay_s, 60);
        responder.last_byte = 2;
        refresh_now(&refreshing);
        assert_int_equal(refresh_delay_s, 60);
        assert_known(&refreshing, known, ARRAY_SIZE(known)); /* What left the answer stays a while. */
        clock_offset_ms = 2 * LEARNED_ADDRESSES_KEEP_MS + 61000;
        assert_known(&refreshing, NULL, 0);
        close_responder(&responder);
        close_refreshing(&refreshing);
}

/* A name of one family only has no answer in the other: its negative TTL, here none, does not count below the floor. */
static void questions_are_at_least_fifteen_seconds_apart(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.1;" };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        responder.ipv6 = NAME_ERROR;
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        assert_true(refresh_delay_s >= NAME_REFRESHER_MIN_S && refresh_delay_s <= 60);
        assert_known(&refreshing, known, ARRAY_SIZE(known));
        close_responder(&responder);
        close_refreshing(&refreshing);
}

/* For hours: longer than an answer is kept. */
static void trouble_keeps_what_is_known(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.1;", "a.com 2001:db8::1;" };
        static const enum behaviour troubles[] = { SERVER_FAILURE, GARBAGE };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        for (unsigned i = 0; i < 12; i++) {
                responder.ipv4 = responder.ipv6 = troubles[i % ARRAY_SIZE(troubles)];
                clock_offset_ms += LEARNED_ADDRESSES_KEEP_MS;
                refresh_now(&refreshing);
                assert_int_equal(refresh_delay_s, NAME_REFRESHER_MIN_S);
                learned_addresses_sweep(refreshing.learned);
                assert_known(&refreshing, known, ARRAY_SIZE(known));
        }
        responder.ipv4 = responder.ipv6 = ANSWER;
        refresh_now(&refreshing);
        assert_int_equal(refresh_delay_s, 60);
        close_responder(&responder);
        close_refreshing(&refreshing);
}

/* NXDOMAIN is an answer: what was known runs out. */
static void a_name_that_is_gone_is_forgotten(void **state)
{
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        responder.ipv4 = responder.ipv6 = NAME_ERROR;
        refresh_now(&refreshing);
        clock_offset_ms = 2 * LEARNED_ADDRESSES_KEEP_MS + 61000;
        responder.ipv4 = responder.ipv6 = SERVER_FAILURE;
        refresh_now(&refreshing);
        assert_known(&refreshing, NULL, 0);
        close_responder(&responder);
        close_refreshing(&refreshing);
}

/* Nobody listens at the server's address. */
static void dns_may_come_up_later(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.1;", "a.com 2001:db8::1;" };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        assert_int_equal(refresh_delay_s, NAME_REFRESHER_MIN_S);
        assert_known(&refreshing, NULL, 0);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        refresh_now(&refreshing);
        assert_known(&refreshing, known, ARRAY_SIZE(known));
        close_responder(&responder);
        close_refreshing(&refreshing);
}

/* What an earlier daemon left counts as the last answer while there is none. */
static void what_was_taken_over_is_kept_through_trouble(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.77;" };
        const struct net_address address = address_of("192.0.2.77");
        const struct fqdn name = name_of("a.com");
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        responder.ipv4 = responder.ipv6 = SERVER_FAILURE;
        assert_int_equal(learned_addresses_add(refreshing.learned, NULL, &name, &address, 1, 60), 0);
        assert_int_equal(learned_addresses_commit(refreshing.learned), 0);
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        for (unsigned i = 0; i < 4; i++) {
                clock_offset_ms += LEARNED_ADDRESSES_KEEP_MS;
                refresh_now(&refreshing);
                assert_known(&refreshing, known, ARRAY_SIZE(known));
        }
        close_responder(&responder);
        close_refreshing(&refreshing);
}

/* There is no table, as in the moment after somebody flushed it: what was refused is asked for again soon. */
static void what_the_kernel_refuses_is_asked_for_again_soon(void **state)
{
        struct refreshing refreshing;
        struct responder responder;

        open_with(&refreshing, *state, true);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        set_names(&refreshing, "a.com", NULL);
        wait_for_questions(&refreshing.dns, &responder, 2);
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        while (refresh == NULL || refresh_delay_s != NAME_REFRESHER_MIN_S) {
                assert_true(real_ms() < guard_ms);
                assert_int_equal(event_base_loop(refreshing.dns.base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY), 0);
        }
        assert_known(&refreshing, NULL, 0);
        close_responder(&responder);
        close_refreshing(&refreshing);
}

static void a_name_may_be_dropped_while_it_is_asked_for(void **state)
{
        static const char *const known[] = { "b.com 192.0.2.1;", "b.com 2001:db8::1;" };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        responder.ipv4 = responder.ipv6 = SILENT;
        set_names(&refreshing, "a.com", NULL);
        wait_for_questions(&refreshing.dns, &responder, 2);
        responder.ipv4 = responder.ipv6 = ANSWER;
        set_names(&refreshing, "b.com", NULL);
        wait_for_rounds(&refreshing, 1);
        assert_known(&refreshing, known, ARRAY_SIZE(known));
        close_responder(&responder);
        close_refreshing(&refreshing); /* with the first questions still in flight */
}

/* Wanted again before the answer to the old question comes. */
static void a_dropped_name_may_come_back(void **state)
{
        static const char *const known[] = { "a.com 192.0.2.1;", "a.com 2001:db8::1;" };
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        responder.ipv4 = responder.ipv6 = SILENT;
        set_names(&refreshing, "a.com", NULL);
        wait_for_questions(&refreshing.dns, &responder, 2);
        set_names(&refreshing, NULL, NULL);
        responder.ipv4 = responder.ipv6 = ANSWER;
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        assert_known(&refreshing, known, ARRAY_SIZE(known));
        close_responder(&responder);
        close_refreshing(&refreshing);
}

static void a_name_that_stays_is_not_asked_for_sooner(void **state)
{
        struct refreshing refreshing;
        struct responder responder;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &responder);
        set_names(&refreshing, "b.com", NULL);
        wait_for_rounds(&refreshing, 1);
        set_names(&refreshing, "a.com", "b.com");
        wait_for_rounds(&refreshing, 2);
        assert_int_equal(responder.seen_count, 4);
        close_responder(&responder);
        close_refreshing(&refreshing);
}

static void other_servers_are_asked_from_the_next_question_on(void **state)
{
        struct refreshing refreshing;
        struct responder first, other;

        open_refreshing(&refreshing, *state);
        open_responder(&refreshing.dns, SERVER, 1, &first);
        open_responder(&refreshing.dns, OTHER_SERVER, 2, &other);
        set_names(&refreshing, "a.com", NULL);
        wait_for_rounds(&refreshing, 1);
        refreshing.dns.servers[0] = endpoint_of(OTHER_SERVER);
        set_names(&refreshing, "a.com", NULL);
        assert_int_equal(other.seen_count, 0);
        refresh_now(&refreshing);
        assert_int_equal(first.seen_count, 2);
        assert_int_equal(other.seen_count, 2);
        close_responder(&first);
        close_responder(&other);
        close_refreshing(&refreshing);
}

static int open_lab(void **state)
{
        own_network_enter();
        return policy_lab_open(state);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, open_lab, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(both_families_of_each_name_are_learned),
                LAB_TEST(a_name_is_asked_for_again_when_its_answer_runs_out),
                LAB_TEST(questions_are_at_least_fifteen_seconds_apart),
                LAB_TEST(trouble_keeps_what_is_known),
                LAB_TEST(a_name_that_is_gone_is_forgotten),
                LAB_TEST(dns_may_come_up_later),
                LAB_TEST(what_was_taken_over_is_kept_through_trouble),
                LAB_TEST(what_the_kernel_refuses_is_asked_for_again_soon),
                LAB_TEST(a_name_may_be_dropped_while_it_is_asked_for),
                LAB_TEST(a_dropped_name_may_come_back),
                LAB_TEST(a_name_that_stays_is_not_asked_for_sooner),
                LAB_TEST(other_servers_are_asked_from_the_next_question_on),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
