/* Lessons on their way, with both event loops in the test's own thread: how many there may be, and whom they return to. */
#include "traffic/learned_teacher.h"

#include "learned_lab.h"

#define RULES POLICY_LAB_CLUSTER "    allow: ['udp *.a.com:123']\n"

struct classroom {
        struct learned_addresses *learned;
        struct event_base *base;
        struct learned_school *school;
        struct learned_teacher *teacher;
};

static void open_classroom(struct classroom *classroom, struct policy_lab *lab)
{
        policy_lab_load(lab, RULES);
        classroom->learned = learned_lab_new(lab->policy);
        learned_lab_apply(classroom->learned, lab->policy);
        classroom->base = event_base_new();
        assert_non_null(classroom->base);
        assert_int_equal(learned_school_new(classroom->learned, classroom->base, &classroom->school), 0);
        assert_int_equal(learned_teacher_new(classroom->school, classroom->base, &classroom->teacher), 0);
}

static void close_classroom(struct classroom *classroom)
{
        learned_teacher_free(classroom->teacher);
        learned_school_free(classroom->school);
        learned_addresses_free(classroom->learned);
        event_base_free(classroom->base);
}

static void on_known(bool known, void *context)
{
        unsigned *count = context;

        assert_true(known);
        (*count)++;
}

static int teach(struct classroom *classroom, const struct policy_lab *lab, const char *address_text, unsigned *count,
                 struct learned_lesson **ret)
{
        const struct net_address address = address_of(address_text);
        const struct fqdn name = name_of("x.a.com");

        return learned_teacher_teach(classroom->teacher, lab->policy, policy_cluster_at(lab->policy, 0), &name,
                                     &address, 1, 600, on_known, count, ret);
}

/* Until all have come back. */
static void run(struct classroom *classroom, const unsigned *count, unsigned wanted)
{
        for (unsigned turns = 0; *count < wanted && turns < 4; turns++)
                assert_int_equal(event_base_loop(classroom->base, EVLOOP_ONCE), 0);
        assert_int_equal(*count, wanted);
}

static void lessons_on_their_way_have_a_maximum_and_cancelled_ones_count(void **state)
{
        struct policy_lab *lab = *state;
        struct classroom classroom;
        struct learned_lesson *lesson;
        unsigned count = 0;

        own_network_or_skip();
        open_classroom(&classroom, lab);
        for (unsigned i = 0; i < LEARNED_TEACHER_MAX_LESSONS; i++) {
                assert_int_equal(teach(&classroom, lab, "203.0.113.1", &count, &lesson), 0);
                assert_non_null(lesson);
                if (i % 2 == 0)
                        learned_lesson_cancel(lesson);
        }
        assert_int_equal(teach(&classroom, lab, "203.0.113.1", &count, &lesson), -ENOBUFS);
        assert_null(lesson);
        run(&classroom, &count, LEARNED_TEACHER_MAX_LESSONS / 2);
        count = 0;
        assert_int_equal(teach(&classroom, lab, "203.0.113.2", &count, &lesson), 0);
        assert_non_null(lesson);
        run(&classroom, &count, 1);
        close_classroom(&classroom);
}

static void a_lesson_that_was_handed_over_returns_to_whom_it_was_handed_to(void **state)
{
        struct policy_lab *lab = *state;
        struct classroom classroom;
        struct learned_lesson *lesson;
        unsigned first = 0, second = 0;

        own_network_or_skip();
        open_classroom(&classroom, lab);
        assert_int_equal(teach(&classroom, lab, "203.0.113.1", &first, &lesson), 0);
        assert_non_null(lesson);
        learned_lesson_hand_to(lesson, &second);
        run(&classroom, &second, 1);
        assert_int_equal(first, 0);
        close_classroom(&classroom);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(lessons_on_their_way_have_a_maximum_and_cancelled_ones_count),
                LAB_TEST(a_lesson_that_was_handed_over_returns_to_whom_it_was_handed_to),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
