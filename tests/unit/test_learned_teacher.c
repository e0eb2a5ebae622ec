/* Lessons between two event loops, each in a thread of its own. */
#include "traffic/learned_teacher.h"

#include <event2/thread.h>
#include <pthread.h>
#include <stdatomic.h>

#include "descriptors.h"
#include "learned_lab.h"

#define RULES POLICY_LAB_CLUSTER "    allow: ['udp *.a.com:123']\n"
#define GUARD_S 20 /* a test that hangs fails after it */
#define MANY_LESSONS 2000

/* The main thread's side, in a thread; the test itself is the worker. */
struct classroom {
        struct policy_lab *lab;
        struct learned_addresses *learned;
        struct event_base *school_base;
        struct event_base *base; /* the worker's */
        struct event *stop;      /* the school's loop; an event, as a loop that begins forgets that it was broken */
        struct learned_school *school;
        struct learned_teacher *teacher;
        pthread_t thread;
        size_t descriptors_before;
};

struct outcome {
        unsigned count; /* of callbacks */
        bool known;
};

static void on_stop(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        assert_int_equal(event_base_loopbreak(context), 0);
}

static void *run_school(void *context)
{
        struct classroom *classroom = context;

        assert_int_equal(event_base_loop(classroom->school_base, EVLOOP_NO_EXIT_ON_EMPTY), 0);
        return NULL;
}

static void start_school(struct classroom *classroom)
{
        assert_int_equal(pthread_create(&classroom->thread, NULL, run_school, classroom), 0);
}

/* The school does not run yet: start_school. */
static void open_classroom(struct classroom *classroom, struct policy_lab *lab)
{
        *classroom = (struct classroom){ .lab = lab, .descriptors_before = count_descriptors() };
        clock_offset_ms = 0;
        policy_lab_load(lab, RULES);
        classroom->learned = learned_lab_new(lab->policy);
        learned_lab_apply(classroom->learned, lab->policy);
        classroom->school_base = event_base_new();
        classroom->base = event_base_new();
        classroom->stop = event_new(classroom->school_base, -1, 0, on_stop, classroom->school_base);
        assert_non_null(classroom->stop);
        assert_int_equal(learned_school_new(classroom->learned, classroom->school_base, &classroom->school), 0);
        assert_int_equal(learned_teacher_new(classroom->school, classroom->base, &classroom->teacher), 0);
}

static void stop_school(struct classroom *classroom)
{
        event_active(classroom->stop, EV_TIMEOUT, 0);
        assert_int_equal(pthread_join(classroom->thread, NULL), 0);
}

static void close_classroom(struct classroom *classroom)
{
        learned_teacher_free(classroom->teacher);
        learned_school_free(classroom->school);
        learned_addresses_free(classroom->learned);
        event_free(classroom->stop);
        event_base_free(classroom->base);
        event_base_free(classroom->school_base);
        assert_int_equal(count_descriptors(), classroom->descriptors_before);
}

static void on_known(bool known, void *context)
{
        struct outcome *outcome = context;

        outcome->count++;
        outcome->known = known;
}

static struct learned_lesson *teach_many(struct classroom *classroom, const char *name_text,
                                         const struct net_address *addresses, size_t count, struct outcome *outcome)
{
        const struct fqdn name = name_of(name_text);
        struct learned_lesson *lesson;

        *outcome = (struct outcome){ 0 };
        assert_int_equal(learned_teacher_teach(classroom->teacher, classroom->lab->policy,
                                               policy_cluster_at(classroom->lab->policy, 0), &name, addresses, count,
                                               600, on_known, outcome, &lesson),
                         0);
        assert_int_equal(outcome->count, 0);
        return lesson;
}

static struct learned_lesson *teach(struct classroom *classroom, const char *name, const char *address_text,
                                    struct outcome *outcome)
{
        const struct net_address address = address_of(address_text);

        return teach_many(classroom, name, &address, 1, outcome);
}

static void wait_for(struct classroom *classroom, const struct outcome *outcome)
{
        struct timeval guard = { GUARD_S, 0 };

        assert_int_equal(event_base_loopexit(classroom->base, &guard), 0);
        while (outcome->count == 0 && !event_base_got_exit(classroom->base))
                assert_int_equal(event_base_loop(classroom->base, EVLOOP_ONCE), 0);
        assert_int_equal(outcome->count, 1);
}

static void what_is_taught_is_in_the_kernel_when_the_callback_runs(void **state)
{
        struct classroom classroom;
        struct outcome outcome;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        start_school(&classroom);
        assert_non_null(teach(&classroom, "x.a.com", "203.0.113.1", &outcome));
        wait_for(&classroom, &outcome);
        assert_true(outcome.known);
        assert_holds(ruleset_lab_list("set", "learned.udp.123.prod.v4"), "203.0.113.1 timeout 40m");
        assert_string_equal(
                learned_lab_cover(classroom.learned, classroom.lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 123),
                "x.a.com");
        stop_school(&classroom);
        close_classroom(&classroom);
}

static void what_is_known_or_nobody_s_is_not_taught(void **state)
{
        struct classroom classroom;
        struct outcome outcome, unused;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        start_school(&classroom);
        assert_null(teach(&classroom, "elsewhere.com", "203.0.113.1", &unused));
        assert_null(teach(&classroom, "x.a.com", "10.0.0.1", &unused));
        assert_non_null(teach(&classroom, "x.a.com", "203.0.113.1", &outcome));
        wait_for(&classroom, &outcome);
        assert_null(teach(&classroom, "x.a.com", "203.0.113.1", &unused));
        assert_int_equal(unused.count, 0);
        stop_school(&classroom);
        close_classroom(&classroom);
}

static void too_many_addresses_are_refused(void **state)
{
        struct net_address addresses[LEARNED_LESSON_MAX_ADDRESSES + 1];
        const struct fqdn name = name_of("x.a.com");
        struct classroom classroom;
        struct learned_lesson *lesson;
        struct outcome outcome;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        start_school(&classroom);
        for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
                addresses[i] = (struct net_address){ AF_INET, { 203, 0, 113, (uint8_t)i } };
        assert_int_equal(learned_teacher_teach(classroom.teacher, classroom.lab->policy,
                                               policy_cluster_at(classroom.lab->policy, 0), &name, addresses,
                                               ARRAY_SIZE(addresses), 600, on_known, &outcome, &lesson),
                         -E2BIG);
        assert_non_null(teach_many(&classroom, "x.a.com", addresses, LEARNED_LESSON_MAX_ADDRESSES, &outcome));
        wait_for(&classroom, &outcome);
        assert_true(outcome.known);
        assert_int_equal(learned_addresses_count(classroom.learned), LEARNED_LESSON_MAX_ADDRESSES);
        stop_school(&classroom);
        close_classroom(&classroom);
}

static void what_the_kernel_refuses_is_told_as_not_known(void **state)
{
        struct classroom classroom;
        struct outcome outcome;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        assert_string_equal(ruleset_lab_nft("flush ruleset"), "");
        start_school(&classroom);
        assert_non_null(teach(&classroom, "x.a.com", "203.0.113.1", &outcome));
        wait_for(&classroom, &outcome);
        assert_false(outcome.known);
        assert_int_equal(learned_addresses_count(classroom.learned), 0);
        stop_school(&classroom);
        close_classroom(&classroom);
}

/* Cancelled before the school saw it, and while it is there or on its way back. */
static void a_cancelled_lesson_is_learned_without_a_callback(void **state)
{
        struct classroom classroom;
        struct outcome cancelled, later, last;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        learned_lesson_cancel(teach(&classroom, "x.a.com", "203.0.113.1", &cancelled));
        start_school(&classroom);
        assert_non_null(teach(&classroom, "y.a.com", "203.0.113.2", &later));
        wait_for(&classroom, &later);
        assert_int_equal(cancelled.count, 0);
        assert_string_equal(
                learned_lab_cover(classroom.learned, classroom.lab->policy, POLICY_PROTOCOL_UDP, "203.0.113.1", 123),
                "x.a.com");
        for (unsigned i = 0; i < 100; i++) {
                char address[32];
                snprintf(address, sizeof(address), "203.0.113.%u", 100 + i);
                learned_lesson_cancel(teach(&classroom, "z.a.com", address, &cancelled));
        }
        assert_non_null(teach(&classroom, "z.a.com", "203.0.113.3", &last));
        wait_for(&classroom, &last);
        assert_int_equal(cancelled.count, 0);
        stop_school(&classroom);
        close_classroom(&classroom);
}

static void cancel_other(bool known, void *context)
{
        struct learned_lesson **other = context;

        assert_true(known);
        if (*other != NULL)
                learned_lesson_cancel(*other);
        *other = NULL;
}

/* Two lessons come back in one batch; the first's callback cancels the second. */
static void a_callback_may_cancel_another_lesson(void **state)
{
        const struct fqdn name = name_of("x.a.com");
        const struct net_address address = address_of("203.0.113.1");
        struct classroom classroom;
        struct learned_lesson *first, *other;
        struct outcome outcome, last;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        assert_int_equal(learned_teacher_teach(classroom.teacher, classroom.lab->policy,
                                               policy_cluster_at(classroom.lab->policy, 0), &name, &address, 1, 600,
                                               cancel_other, &other, &first),
                         0);
        assert_non_null(first);
        other = teach(&classroom, "y.a.com", "203.0.113.2", &outcome);
        assert_non_null(teach(&classroom, "z.a.com", "203.0.113.3", &last));
        start_school(&classroom);
        wait_for(&classroom, &last);
        assert_null(other);
        assert_int_equal(outcome.count, 0);
        stop_school(&classroom);
        close_classroom(&classroom);
}

static void many_lessons_are_all_told_of(void **state)
{
        struct outcome *outcomes = calloc(MANY_LESSONS, sizeof(*outcomes));
        struct classroom classroom;

        own_network_or_skip();
        assert_non_null(outcomes);
        open_classroom(&classroom, *state);
        start_school(&classroom);
        for (unsigned i = 0; i < MANY_LESSONS; i++) {
                char address[32];
                snprintf(address, sizeof(address), "198.51.%u.%u", 100 + i / 256, i % 256);
                if (teach(&classroom, "x.a.com", address, &outcomes[i]) == NULL)
                        fail_msg("%s is known already", address);
        }
        for (unsigned i = 0; i < MANY_LESSONS; i++)
                if (outcomes[i].count == 0)
                        wait_for(&classroom, &outcomes[i]);
        for (unsigned i = 0; i < MANY_LESSONS; i++)
                assert_true(outcomes[i].count == 1 && outcomes[i].known);
        assert_int_equal(learned_addresses_count(classroom.learned), MANY_LESSONS);
        stop_school(&classroom);
        close_classroom(&classroom);
        free(outcomes);
}

/* Lessons are in the school's inbox, being learned, or in the teacher's when it goes. */
static void a_teacher_may_go_with_lessons_in_flight(void **state)
{
        struct classroom classroom;
        struct outcome outcome;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        start_school(&classroom);
        for (unsigned round = 0; round < 50; round++) {
                for (unsigned i = 0; i < 8; i++) {
                        char address[32];
                        snprintf(address, sizeof(address), "198.51.%u.%u", 100 + round, i);
                        assert_non_null(teach(&classroom, "x.a.com", address, &outcome));
                }
                learned_teacher_free(classroom.teacher);
                assert_int_equal(outcome.count, 0);
                assert_int_equal(learned_teacher_new(classroom.school, classroom.base, &classroom.teacher), 0);
        }
        stop_school(&classroom);
        close_classroom(&classroom);
}

/* No school runs at all: everything is still in its inbox, of two teachers, one of whom stays. */
static void one_teacher_s_lessons_do_not_go_with_another(void **state)
{
        struct classroom classroom;
        struct learned_teacher *other;
        struct outcome gone, kept;

        own_network_or_skip();
        open_classroom(&classroom, *state);
        assert_non_null(teach(&classroom, "x.a.com", "203.0.113.1", &gone));
        other = classroom.teacher;
        assert_int_equal(learned_teacher_new(classroom.school, classroom.base, &classroom.teacher), 0);
        assert_non_null(teach(&classroom, "y.a.com", "203.0.113.2", &kept));
        learned_teacher_free(other);
        start_school(&classroom);
        wait_for(&classroom, &kept);
        assert_int_equal(gone.count, 0);
        assert_int_equal(learned_addresses_count(classroom.learned), 1);
        stop_school(&classroom);
        close_classroom(&classroom);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(what_is_taught_is_in_the_kernel_when_the_callback_runs),
                LAB_TEST(what_is_known_or_nobody_s_is_not_taught),
                LAB_TEST(too_many_addresses_are_refused),
                LAB_TEST(what_the_kernel_refuses_is_told_as_not_known),
                LAB_TEST(a_cancelled_lesson_is_learned_without_a_callback),
                LAB_TEST(a_callback_may_cancel_another_lesson),
                LAB_TEST(many_lessons_are_all_told_of),
                LAB_TEST(a_teacher_may_go_with_lessons_in_flight),
                LAB_TEST(one_teacher_s_lessons_do_not_go_with_another),
        };

        if (evthread_use_pthreads() != 0)
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
