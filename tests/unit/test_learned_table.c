#include "traffic/learned_table.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "values.h"

#define CLUSTERS 3
#define NAMES 5
#define ADDRESSES 7
#define STEPS 20000
#define LIMIT 60 /* of 105 facts that there could be */
#define READER_STEPS 20000

static const char *const clusters[CLUSTERS] = { "prod", "prod-2", "test" };
static const char *const names[NAMES] = { "a.com", "b.a.com", "c.com", "d.com", "prod" };
static const char *const addresses[ADDRESSES] = { "192.0.2.1",     "192.0.2.2",  "198.51.100.1", "2001:db8::1",
                                                  "2001:db8::102", "c000:201::", "0.0.0.0" };

/* Until when each fact is known; 0: it is not in the table. */
struct model {
        uint64_t until_ms[CLUSTERS][NAMES][ADDRESSES];
        size_t count;
};

static struct learned_fact fact(size_t cluster, size_t name, size_t address, uint64_t until_ms)
{
        return (struct learned_fact){ clusters[cluster], names[name], address_of(addresses[address]), until_ms };
}

static struct learned_table *new_table(size_t max_count)
{
        struct learned_table *table;

        assert_int_equal(learned_table_new(max_count, &table), 0);
        return table;
}

static void put(struct learned_table *table, size_t cluster, size_t name, size_t address, uint64_t until_ms)
{
        const struct learned_fact learned = fact(cluster, name, address, until_ms);

        assert_int_equal(learned_table_put(table, &learned), 0);
}

static uint64_t until(struct learned_table *table, size_t cluster, size_t name, size_t address)
{
        const struct learned_fact learned = fact(cluster, name, address, 0);

        return learned_table_until(table, learned.cluster, learned.name, &learned.address);
}

static void put_at_random(struct learned_table *table, struct model *model, uint64_t now_ms)
{
        size_t cluster = (size_t)random() % CLUSTERS, name = (size_t)random() % NAMES,
               address = (size_t)random() % ADDRESSES;
        uint64_t *known = &model->until_ms[cluster][name][address];
        const struct learned_fact learned = fact(cluster, name, address, now_ms + 1 + (uint64_t)(random() % 500));
        bool is_full = *known == 0 && model->count == LIMIT;

        assert_int_equal(learned_table_put(table, &learned), is_full ? -ENOSPC : 0);
        if (is_full)
                return;
        model->count += *known == 0 ? 1 : 0;
        if (learned.until_ms > *known)
                *known = learned.until_ms;
}

static void sweep_model(struct model *model, uint64_t now_ms)
{
        uint64_t *all = &model->until_ms[0][0][0];

        for (size_t i = 0; i < (size_t)CLUSTERS * NAMES * ADDRESSES; i++)
                if (all[i] != 0 && all[i] <= now_ms) {
                        all[i] = 0;
                        model->count--;
                }
}

/* Notes what was called back, and that it was called back once. */
struct told {
        uint64_t until_ms[CLUSTERS][NAMES][ADDRESSES];
};

static size_t index_of(const char *const *texts, size_t count, const char *text)
{
        for (size_t i = 0; i < count; i++)
                if (strcmp(texts[i], text) == 0)
                        return i;
        fail_msg("'%s' was never put there", text);
        return 0;
}

static bool on_fact(const struct learned_fact *learned, void *context)
{
        struct told *told = context;
        char text[NET_ADDRESS_TEXT_SIZE];
        uint64_t *slot =
                &told->until_ms[index_of(clusters, CLUSTERS, learned->cluster)][index_of(names, NAMES, learned->name)]
                               [index_of(addresses, ADDRESSES, net_address_format(&learned->address, text))];

        assert_int_equal(*slot, 0);
        *slot = learned->until_ms;
        return true;
}

static void assert_is_like(struct learned_table *table, const struct model *model, uint64_t now_ms)
{
        struct told all = { 0 }, each = { 0 };

        assert_int_equal(learned_table_count(table), model->count);
        learned_table_each(table, now_ms, on_fact, &all);
        for (size_t i = 0; i < CLUSTERS; i++)
                for (size_t k = 0; k < ADDRESSES; k++) {
                        struct net_address address = address_of(addresses[k]);
                        learned_table_each_of(table, clusters[i], &address, now_ms, on_fact, &each);
                        for (size_t j = 0; j < NAMES; j++) {
                                uint64_t known = model->until_ms[i][j][k];
                                assert_int_equal(until(table, i, j, k), known);
                                assert_int_equal(all.until_ms[i][j][k], known > now_ms ? known : 0);
                                assert_int_equal(each.until_ms[i][j][k], known > now_ms ? known : 0);
                        }
                }
}

static void the_table_does_what_a_plain_list_would(void **state)
{
        struct learned_table *table = new_table(LIMIT);
        uint64_t seed = hash_random(), now_ms = 1000;
        struct model model = { 0 };

        (void)state;
        print_message("seed %llu\n", (unsigned long long)seed);
        srandom((unsigned)seed);
        for (unsigned step = 0; step < STEPS; step++) {
                put_at_random(table, &model, now_ms);
                now_ms += (uint64_t)(random() % 20);
                if (random() % 50 == 0) {
                        learned_table_sweep(table, now_ms);
                        sweep_model(&model, now_ms);
                }
                if (random() % 20 == 0)
                        assert_is_like(table, &model, now_ms);
        }
        learned_table_free(table);
}

static void a_fact_is_never_shortened(void **state)
{
        struct learned_table *table = new_table(10);

        (void)state;
        put(table, 0, 0, 0, 500);
        put(table, 0, 0, 0, 400);
        assert_int_equal(until(table, 0, 0, 0), 500);
        put(table, 0, 0, 0, 600);
        assert_int_equal(until(table, 0, 0, 0), 600);
        assert_int_equal(learned_table_count(table), 1);
        learned_table_free(table);
}

static void a_full_table_renews_what_it_has_and_takes_more_after_a_sweep(void **state)
{
        struct learned_table *table = new_table(1);
        const struct learned_fact another = fact(0, 1, 0, 900);

        (void)state;
        put(table, 0, 0, 0, 500);
        assert_int_equal(learned_table_put(table, &another), -ENOSPC);
        put(table, 0, 0, 0, 600);
        learned_table_sweep(table, 599);
        assert_int_equal(learned_table_put(table, &another), -ENOSPC);
        learned_table_sweep(table, 600);
        assert_int_equal(learned_table_put(table, &another), 0);
        assert_int_equal(until(table, 0, 0, 0), 0);
        assert_int_equal(until(table, 0, 1, 0), 900);
        learned_table_free(table);
}

static bool stop_at_once(const struct learned_fact *learned, void *context)
{
        unsigned *count = context;

        (void)learned;
        ++*count;
        return false;
}

static void a_callback_that_has_seen_enough_ends_the_walk(void **state)
{
        struct learned_table *table = new_table(100);
        struct net_address address = address_of(addresses[0]);
        unsigned count = 0;

        (void)state;
        for (size_t name = 0; name < NAMES; name++)
                put(table, 0, name, 0, 500);
        put(table, 1, 0, 0, 500);
        learned_table_each_of(table, clusters[0], &address, 0, stop_at_once, &count);
        assert_int_equal(count, 1);
        learned_table_each(table, 0, stop_at_once, &count);
        assert_int_equal(count, 2);
        learned_table_free(table);
}

static void freeing_nothing_is_fine(void **state)
{
        (void)state;
        learned_table_free(NULL);
}

/* Threads. */

struct sharing {
        struct learned_table *table;
        atomic_bool done;
};

static bool count_fact(const struct learned_fact *learned, void *context)
{
        size_t *length = context;

        *length += strlen(learned->cluster) + strlen(learned->name);
        return true;
}

static void *read_on(void *context)
{
        struct sharing *sharing = context;
        size_t length = 0;

        while (!atomic_load(&sharing->done)) {
                struct net_address address = address_of(addresses[length % ADDRESSES]);
                (void)learned_table_until(sharing->table, clusters[0], names[0], &address);
                learned_table_each_of(sharing->table, clusters[0], &address, 0, count_fact, &length);
                learned_table_each(sharing->table, 0, count_fact, &length);
                length += learned_table_count(sharing->table);
        }
        return NULL;
}

/* What is wrong here is the thread sanitizer's and the address sanitizer's to say. */
static void one_thread_changes_what_others_read(void **state)
{
        struct sharing sharing = { .table = new_table(LIMIT) };
        pthread_t readers[2];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
                assert_int_equal(pthread_create(&readers[i], NULL, read_on, &sharing), 0);
        for (uint64_t step = 1; step <= READER_STEPS; step++) {
                const struct learned_fact learned =
                        fact(step % CLUSTERS, step % NAMES, step % ADDRESSES, step + step % 13);
                assert_int_equal(learned_table_put(sharing.table, &learned), 0);
                learned_table_sweep(sharing.table, step);
        }
        atomic_store(&sharing.done, true);
        for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
                assert_int_equal(pthread_join(readers[i], NULL), 0);
        learned_table_sweep(sharing.table, READER_STEPS + 13);
        assert_int_equal(learned_table_count(sharing.table), 0);
        learned_table_free(sharing.table);
}

static void put_name(struct learned_table *table, const char *cluster, unsigned number, uint64_t until_ms)
{
        char name[32];
        const struct learned_fact learned = { cluster, name, address_of(addresses[0]), until_ms };

        snprintf(name, sizeof(name), "n%u.com", number);
        assert_int_equal(learned_table_put(table, &learned), 0);
}

static uint64_t until_of_name(struct learned_table *table, unsigned number)
{
        const struct net_address address = address_of(addresses[0]);
        char name[32];

        snprintf(name, sizeof(name), "n%u.com", number);
        return learned_table_until(table, clusters[0], name, &address);
}

/* Whoever answers for many names with one address must not make every operation on it slow. */
static void of_too_many_names_for_one_address_the_soonest_to_end_is_forgotten(void **state)
{
        struct learned_table *table = new_table(2 * LEARNED_TABLE_MAX_NAMES);

        (void)state;
        put(table, 0, 0, 1, 1); /* another address */
        put_name(table, clusters[1], 0, 1);
        for (unsigned i = 0; i < LEARNED_TABLE_MAX_NAMES; i++)
                put_name(table, clusters[0], i, 1000 + (i + 10) % LEARNED_TABLE_MAX_NAMES);
        assert_int_equal(learned_table_count(table), LEARNED_TABLE_MAX_NAMES + 2);
        put_name(table, clusters[0], 0, 5000); /* is there: nobody goes for it */
        assert_int_equal(until_of_name(table, LEARNED_TABLE_MAX_NAMES - 10), 1000);
        put_name(table, clusters[0], 1000, 4000);
        assert_int_equal(learned_table_count(table), LEARNED_TABLE_MAX_NAMES + 2);
        assert_int_equal(until_of_name(table, 1000), 4000);
        assert_int_equal(until_of_name(table, 0), 5000);
        assert_int_equal(until_of_name(table, LEARNED_TABLE_MAX_NAMES - 10), 0);
        assert_int_equal(until_of_name(table, LEARNED_TABLE_MAX_NAMES - 9), 1001);
        assert_int_equal(until(table, 0, 0, 1), 1);
        learned_table_free(table);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_table_does_what_a_plain_list_would),
                cmocka_unit_test(a_fact_is_never_shortened),
                cmocka_unit_test(a_full_table_renews_what_it_has_and_takes_more_after_a_sweep),
                cmocka_unit_test(of_too_many_names_for_one_address_the_soonest_to_end_is_forgotten),
                cmocka_unit_test(a_callback_that_has_seen_enough_ends_the_walk),
                cmocka_unit_test(freeing_nothing_is_fine),
                cmocka_unit_test(one_thread_changes_what_others_read),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
