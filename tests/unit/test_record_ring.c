#include "record_samples.h"

#include <pthread.h>
#include <sched.h>

#include "records/record_ring.h"

static const struct decision *peek_without_loss(struct record_ring *ring)
{
        struct record_ring_lost lost;
        const struct decision *decision = record_ring_peek(ring, &lost);

        for (size_t i = 0; i < DECISION_CLASS_COUNT; i++)
                assert_int_equal(lost.of_class[i], 0);
        return decision;
}

static bool push(struct record_ring *ring, uint64_t n, enum policy_action action)
{
        struct decision decision = sample_numbered(n, action);

        return record_ring_push(ring, &decision);
}

static void a_new_ring_is_empty(void **state)
{
        struct record_ring *ring = record_ring_new(8);

        (void)state;
        assert_non_null(ring);
        assert_true(record_ring_empty(ring));
        assert_null(peek_without_loss(ring));
        record_ring_free(ring);
}

static void a_decision_comes_out_as_it_went_in(void **state)
{
        struct record_ring *ring = record_ring_new(1);
        struct decision decision;

        (void)state;
        sample_full(&decision);
        assert_true(record_ring_push(ring, &decision));
        assert_false(record_ring_empty(ring));
        assert_memory_equal(peek_without_loss(ring), &decision, sizeof(decision));
        record_ring_drop(ring);
        assert_null(peek_without_loss(ring));
        record_ring_free(ring);
}

static void order_survives_many_wrap_arounds_at_every_fill(void **state)
{
        (void)state;
        for (unsigned fill = 1; fill <= 8; fill++) {
                struct record_ring *ring = record_ring_new(8);
                uint64_t pushed = 0;
                uint64_t taken = 0;
                while (pushed < 1000) {
                        for (unsigned i = 0; i < fill; i++)
                                assert_true(push(ring, pushed++, POLICY_DENY));
                        for (unsigned i = 0; i < fill; i++) {
                                assert_int_equal(peek_without_loss(ring)->bytes_out, taken++);
                                record_ring_drop(ring);
                        }
                }
                record_ring_free(ring);
        }
}

static void a_full_ring_takes_nothing_until_one_is_dropped(void **state)
{
        struct record_ring *ring = record_ring_new(4);

        (void)state;
        for (uint64_t i = 0; i < 4; i++)
                assert_true(push(ring, i, POLICY_DENY));
        assert_false(push(ring, 4, POLICY_DENY));
        assert_int_equal(peek_without_loss(ring)->bytes_out, 0);
        assert_false(push(ring, 4, POLICY_DENY));
        record_ring_drop(ring);
        assert_true(push(ring, 5, POLICY_DENY));
        record_ring_free(ring);
}

static void losses_are_told_by_class_with_the_next_decision_that_fits(void **state)
{
        struct record_ring *ring = record_ring_new(2);
        struct decision alarm = { .event = DECISION_EVENT_ALARM };
        struct record_ring_lost lost;

        (void)state;
        assert_true(push(ring, 0, POLICY_ALLOW));
        assert_true(push(ring, 1, POLICY_ALLOW));
        assert_false(push(ring, 2, POLICY_DENY));
        assert_false(push(ring, 3, POLICY_AUDIT));
        assert_false(push(ring, 4, POLICY_ALLOW));
        assert_false(record_ring_push(ring, &alarm));
        assert_int_equal(peek_without_loss(ring)->bytes_out, 0);
        record_ring_drop(ring);
        assert_true(push(ring, 5, POLICY_ALLOW));
        assert_int_equal(peek_without_loss(ring)->bytes_out, 1);
        record_ring_drop(ring);
        assert_int_equal(record_ring_peek(ring, &lost)->bytes_out, 5);
        assert_int_equal(lost.of_class[DECISION_CLASS_DENY], 2);
        assert_int_equal(lost.of_class[DECISION_CLASS_ALLOW], 1);
        assert_int_equal(lost.of_class[DECISION_CLASS_ALARM], 1);
        assert_int_equal(peek_without_loss(ring)->bytes_out, 5);
        record_ring_free(ring);
}

static void losses_after_the_last_decision_are_told_by_an_empty_ring(void **state)
{
        struct record_ring *ring = record_ring_new(1);
        struct record_ring_lost lost;

        (void)state;
        assert_true(push(ring, 0, POLICY_DENY));
        assert_false(push(ring, 1, POLICY_DENY));
        assert_non_null(peek_without_loss(ring));
        record_ring_drop(ring);
        assert_null(record_ring_peek(ring, &lost));
        assert_int_equal(lost.of_class[DECISION_CLASS_DENY], 1);
        assert_null(peek_without_loss(ring));
        record_ring_free(ring);
}

#define STRESS_PUSHES 300000

static void *stress_producer(void *argument)
{
        struct record_ring *ring = argument;
        struct decision decision;

        sample_full(&decision);
        for (uint64_t n = 1; n <= STRESS_PUSHES; n++) {
                decision.bytes_out = n;
                decision.bytes_in = ~n;
                if (!record_ring_push(ring, &decision))
                        sched_yield();
        }
        /* The end must arrive: it is offered until it fits. Numbers past the last one are all the same end. */
        decision.bytes_out = UINT64_MAX;
        while (!record_ring_push(ring, &decision))
                sched_yield();
        return NULL;
}

/* Each number comes once and whole, or is counted as lost exactly before the next one that came. */
static void two_threads_agree_on_every_decision_and_every_loss(void **state)
{
        struct record_ring *ring = record_ring_new(64);
        uint64_t last = 0;
        pthread_t thread;

        (void)state;
        assert_int_equal(pthread_create(&thread, NULL, stress_producer, ring), 0);
        for (;;) {
                struct record_ring_lost lost;
                const struct decision *decision = record_ring_peek(ring, &lost);
                last += lost.of_class[DECISION_CLASS_DENY];
                if (decision == NULL) {
                        sched_yield();
                        continue;
                }
                if (decision->bytes_out == UINT64_MAX)
                        break;
                assert_int_equal(decision->bytes_out, last + 1);
                assert_int_equal(decision->bytes_in, ~decision->bytes_out);
                last = decision->bytes_out;
                record_ring_drop(ring);
        }
        assert_in_range(last, STRESS_PUSHES, UINT64_MAX - 1);
        pthread_join(thread, NULL);
        record_ring_free(ring);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_new_ring_is_empty),
                cmocka_unit_test(a_decision_comes_out_as_it_went_in),
                cmocka_unit_test(order_survives_many_wrap_arounds_at_every_fill),
                cmocka_unit_test(a_full_ring_takes_nothing_until_one_is_dropped),
                cmocka_unit_test(losses_are_told_by_class_with_the_next_decision_that_fits),
                cmocka_unit_test(losses_after_the_last_decision_are_told_by_an_empty_ring),
                cmocka_unit_test(two_threads_agree_on_every_decision_and_every_loss),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
