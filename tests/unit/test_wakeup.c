#include "record_samples.h"

#include <pthread.h>

#include "records/wakeup.h"

static void a_wake_before_the_wait_is_not_missed(void **state)
{
        struct wakeup wakeup;

        (void)state;
        assert_int_equal(wakeup_open(&wakeup), 0);
        wakeup_prepare(&wakeup);
        wakeup_wake(&wakeup);
        wakeup_wait(&wakeup, -1, 0, -1);
        wakeup_close(&wakeup);
}

static void a_thread_that_is_awake_costs_no_system_call(void **state)
{
        struct wakeup wakeup;

        (void)state;
        assert_int_equal(wakeup_open(&wakeup), 0);
        wakeup_wake(&wakeup);
        assert_false(wakeup_poll(&wakeup, 0));
        wakeup_prepare(&wakeup);
        wakeup_cancel(&wakeup);
        wakeup_wake(&wakeup);
        assert_false(wakeup_poll(&wakeup, 0));
        wakeup_prepare(&wakeup);
        wakeup_wake(&wakeup);
        assert_true(wakeup_poll(&wakeup, 0));
        wakeup_close(&wakeup);
}

static void force_wakes_without_preparation(void **state)
{
        struct wakeup wakeup;

        (void)state;
        assert_int_equal(wakeup_open(&wakeup), 0);
        wakeup_force(&wakeup);
        assert_true(wakeup_poll(&wakeup, 0));
        wakeup_wait(&wakeup, -1, 0, -1);
        assert_false(wakeup_poll(&wakeup, 0));
        wakeup_close(&wakeup);
}

#define ROUNDS 50000

struct table {
        struct wakeup wakeups[2];
        atomic_uint ball; /* hits so far; odd: the second player's turn */
};

static void play(struct table *table, unsigned self)
{
        while (atomic_load(&table->ball) < ROUNDS) {
                if (atomic_load(&table->ball) % 2 == self) {
                        atomic_fetch_add(&table->ball, 1);
                        wakeup_wake(&table->wakeups[1 - self]);
                        continue;
                }
                wakeup_prepare(&table->wakeups[self]);
                if (atomic_load(&table->ball) % 2 != self && atomic_load(&table->ball) < ROUNDS)
                        wakeup_wait(&table->wakeups[self], -1, 0, -1);
                else
                        wakeup_cancel(&table->wakeups[self]);
        }
}

static void *second_player(void *argument)
{
        play(argument, 1);
        return NULL;
}

/* One missed wake-up, and both would wait for ever. */
static void two_threads_never_miss_each_other(void **state)
{
        static struct table table;
        pthread_t thread;

        (void)state;
        assert_int_equal(wakeup_open(&table.wakeups[0]), 0);
        assert_int_equal(wakeup_open(&table.wakeups[1]), 0);
        assert_int_equal(pthread_create(&thread, NULL, second_player, &table), 0);
        play(&table, 0);
        pthread_join(thread, NULL);
        assert_in_range(atomic_load(&table.ball), ROUNDS, ROUNDS + 1);
        wakeup_close(&table.wakeups[0]);
        wakeup_close(&table.wakeups[1]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_wake_before_the_wait_is_not_missed),
                cmocka_unit_test(a_thread_that_is_awake_costs_no_system_call),
                cmocka_unit_test(force_wakes_without_preparation),
                cmocka_unit_test(two_threads_never_miss_each_other),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
