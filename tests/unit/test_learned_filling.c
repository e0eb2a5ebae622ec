/* The kernel's sets from one policy to another: what many elements do that libnftables is not asked to. */
#include "traffic/learned_filling.h"

#include "learned_lab.h"
#include "traffic/learned_table.h"

#define MANY (2 * SET_ELEMENTS_PER_TRANSACTION + 1)
#define TWO_NAMES POLICY_LAB_CLUSTER "    allow: ['udp goes.com:123', 'udp stays.com:123', 'tcp goes.com:22']\n"
#define ONE_NAME POLICY_LAB_CLUSTER "    allow: ['udp stays.com:123']\n"

struct filling_lab {
        struct policy_lab *policies;
        struct policy *former;
        struct learned_table *table;
        struct set_elements *kernel;
};

static void put(struct filling_lab *lab, const char *name, size_t number)
{
        char address[32];

        snprintf(address, sizeof(address), "198.51.%zu.%zu", 100 + number / 250, 1 + number % 250);
        const struct learned_fact fact = { .cluster = "prod",
                                           .name = name,
                                           .address = address_of(address),
                                           .until_ms = clock_monotonic_ms() + 3600000 };
        assert_int_equal(learned_table_put(lab->table, &fact), 0);
}

static void each_stale_later(ruleset_element_fn on_element, void *sink, void *context)
{
        (void)on_element;
        (void)sink;
        (void)context;
}

/* Applies the policy's table, whose learned sets keep what they have where there was one before. */
static void apply(struct filling_lab *lab)
{
        const struct ruleset_facts facts = { .each_stale = lab->former != NULL ? each_stale_later : NULL };
        char error[RULESET_LAB_ERROR_SIZE];

        assert_true(nftables_apply(lab->policies->policy, &facts, error, sizeof(error)) >= 0);
}

/* Of both names so many addresses, which both have; and one each of their own. */
static void open_lab(struct filling_lab *lab, struct policy_lab *policies, size_t shared)
{
        *lab = (struct filling_lab){ .policies = policies };
        assert_int_equal(learned_table_new(10 * MANY, &lab->table), 0);
        assert_int_equal(set_elements_new("aksegressd", &lab->kernel), 0);
        policy_lab_load(policies, TWO_NAMES);
        apply(lab);
        for (size_t i = 0; i < shared; i++) {
                put(lab, "goes.com", i);
                put(lab, "stays.com", i);
        }
        for (size_t i = 0; i < MANY; i++)
                put(lab, "goes.com", shared + i);
        put(lab, "stays.com", shared + MANY);
        assert_int_equal(learned_filling_put_new(lab->kernel, lab->table, NULL, policies->policy), 0);
}

static void change_policy(struct filling_lab *lab, const char *clusters)
{
        policy_unref(lab->former);
        lab->former = policy_ref(lab->policies->policy);
        policy_lab_load(lab->policies, clusters);
        apply(lab);
}

static void close_lab(struct filling_lab *lab)
{
        policy_unref(lab->former);
        set_elements_free(lab->kernel);
        learned_table_free(lab->table);
}

static size_t count_in(const char *set)
{
        size_t count = 0;

        for (const char *at = ruleset_lab_list("set", set); (at = strstr(at, "198.51.")) != NULL; at++)
                count++;
        return count;
}

static void what_only_the_former_policy_wanted_goes(void **state)
{
        struct filling_lab lab;

        own_network_or_skip();
        open_lab(&lab, *state, 3);
        assert_int_equal(count_in("learned.udp.123.prod.v4"), 3 + MANY + 1);
        assert_int_equal(count_in("learned.tcp.22.prod.v4"), 3 + MANY);
        change_policy(&lab, ONE_NAME);
        assert_int_equal(count_in("learned.udp.123.prod.v4"), 3 + MANY + 1);
        assert_int_equal(learned_filling_remove_stale(lab.kernel, lab.table, lab.former, lab.policies->policy), 0);
        assert_int_equal(count_in("learned.udp.123.prod.v4"), 3 + 1);
        close_lab(&lab);
}

static void what_is_back_is_put_again(void **state)
{
        struct filling_lab lab;

        own_network_or_skip();
        open_lab(&lab, *state, 0);
        change_policy(&lab, ONE_NAME);
        assert_int_equal(learned_filling_remove_stale(lab.kernel, lab.table, lab.former, lab.policies->policy), 0);
        change_policy(&lab, TWO_NAMES);
        assert_int_equal(learned_filling_remove_stale(lab.kernel, lab.table, lab.former, lab.policies->policy), 0);
        assert_int_equal(learned_filling_put_new(lab.kernel, lab.table, lab.former, lab.policies->policy), 0);
        assert_int_equal(count_in("learned.udp.123.prod.v4"), MANY + 1);
        assert_int_equal(count_in("learned.tcp.22.prod.v4"), MANY);
        close_lab(&lab);
}

static void a_set_that_is_missing_is_told(void **state)
{
        struct filling_lab lab;

        own_network_or_skip();
        open_lab(&lab, *state, 0);
        change_policy(&lab, ONE_NAME);
        ruleset_lab_nft("flush ruleset");
        assert_int_equal(learned_filling_remove_stale(lab.kernel, lab.table, lab.former, lab.policies->policy),
                         -ENOENT);
        assert_int_equal(learned_filling_put_new(lab.kernel, lab.table, NULL, lab.policies->policy), -ENOENT);
        close_lab(&lab);
}

static void a_name_too_long_for_a_comment_is_left_out(void **state)
{
        char name[SET_ELEMENTS_COMMENT_MAX + 2];

        (void)state;
        memset(name, 'a', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        assert_null(learned_filling_comment(name));
        assert_ptr_equal(learned_filling_comment(name + 1), name + 1);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, ruleset_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(what_only_the_former_policy_wanted_goes),
                LAB_TEST(what_is_back_is_put_again),
                LAB_TEST(a_set_that_is_missing_is_told),
                cmocka_unit_test(a_name_too_long_for_a_comment_is_left_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
