/* What sets of learned addresses are to hold: against a model in which each rule lists the names that it is about. */
#include "traffic/learned_sets.h"

#include <time.h>

#include "policy_lab.h"

#define CLUSTERS 2
#define RULES 7
#define NAMES 6
#define SERVICES 3
#define ADDRESSES 6
#define PRIVATE_ADDRESS 4  /* open to those clusters that say so */
#define PLATFORM_ADDRESS 5 /* open to none */
#define ROUNDS 100
#define MAX_FACTS 60
#define NOW_MS UINT64_C(1000000)
#define TIMES 20 /* so few that facts often end together */

static const char *const clusters[CLUSTERS] = { "prod", "test" };
static const char *const names[NAMES] = { "a.com", "x.a.com", "y.x.a.com", "b.com", "c.com", "a.org" };
static const char *const services[SERVICES] = { "udp.123", "tcp.22", "udp.1000-2000" };
static const char *const addresses[ADDRESSES] = { "203.0.113.1",  "203.0.113.2", "2001:4860::1",
                                                  "2001:4860::2", "10.7.0.1",    "169.254.169.254" };

static const struct {
        const char *text;
        size_t service;    /* SERVICES: the rule is the proxy's */
        const char *about; /* digits: numbers of names */
} rules[RULES] = {
        { "udp a.com:123", 0, "0" },          { "udp *.a.com:123", 0, "12" }, { "udp b.com:123", 0, "3" },
        { "tcp a.com:22", 1, "0" },           { "tcp *.com:22", 1, "01234" }, { "udp b.com:1000-2000", 2, "3" },
        { "https c.com:443", SERVICES, "4" },
};

/* What a policy is made of. */
struct model {
        bool has_cluster[CLUSTERS];
        bool has_rule[CLUSTERS][RULES];
        bool opens_private[CLUSTERS];
};

/* Until when each fact is known, and what each set is to hold; 0: not. */
struct facts {
        uint64_t until_ms[CLUSTERS][NAMES][ADDRESSES];
};

struct wanted {
        uint64_t until_ms[CLUSTERS][SERVICES][ADDRESSES];
};

static struct model model_at_random(void)
{
        struct model model = { 0 };

        for (size_t i = 0; i < CLUSTERS; i++) {
                model.has_cluster[i] = i == 0 || random() % 4 > 0;
                model.opens_private[i] = random() % 2 == 0;
                for (size_t j = 0; j < RULES; j++)
                        model.has_rule[i][j] = random() % 2 == 0;
        }
        return model;
}

static void print_cluster(FILE *stream, const struct model *model, size_t cluster)
{
        const char *separator = "";

        fprintf(stream,
                "  - name: %s\n    sources: [10.%zu.0.0/16]\n    cloud: AzurePublicCloud\n    location: westeurope\n"
                "    snat_pool: main\n    allow: [",
                clusters[cluster], cluster + 1);
        for (size_t i = 0; i < RULES; i++)
                if (model->has_rule[cluster][i]) {
                        fprintf(stream, "%s'%s'", separator, rules[i].text);
                        separator = ", ";
                }
        fputs(model->opens_private[cluster] ? "]\n    private_destinations: [10.7.0.0/16]\n" : "]\n", stream);
}

/* To be given back with policy_unref. */
static struct policy *load(struct policy_lab *lab, const struct model *model)
{
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        assert_non_null(stream);
        for (size_t i = 0; i < CLUSTERS; i++)
                if (model->has_cluster[i])
                        print_cluster(stream, model, i);
        assert_int_equal(fclose(stream), 0);
        policy_lab_load(lab, text);
        free(text);
        return policy_ref(lab->policy);
}

static bool rule_is_about(size_t rule, size_t name)
{
        return strchr(rules[rule].about, '0' + (int)name) != NULL;
}

static void want(const struct model *model, const struct facts *facts, struct wanted *wanted, size_t cluster,
                 size_t rule)
{
        for (size_t name = 0; name < NAMES; name++)
                for (size_t address = 0; address < ADDRESSES; address++) {
                        uint64_t *slot = &wanted->until_ms[cluster][rules[rule].service][address];
                        uint64_t until_ms = facts->until_ms[cluster][name][address];
                        if (!rule_is_about(rule, name) || until_ms <= NOW_MS || address == PLATFORM_ADDRESS ||
                            (address == PRIVATE_ADDRESS && !model->opens_private[cluster]))
                                continue;
                        *slot = *slot > until_ms ? *slot : until_ms;
                }
}

static struct wanted wanted_by(const struct model *model, const struct facts *facts)
{
        struct wanted wanted = { 0 };

        for (size_t cluster = 0; cluster < CLUSTERS; cluster++)
                for (size_t rule = 0; rule < RULES; rule++)
                        if (model->has_cluster[cluster] && model->has_rule[cluster][rule] &&
                            rules[rule].service < SERVICES)
                                want(model, facts, &wanted, cluster, rule);
        return wanted;
}

/* Some have run out. */
static struct learned_table *facts_at_random(struct facts *facts)
{
        struct learned_table *table;
        size_t count = (size_t)random() % MAX_FACTS;

        *facts = (struct facts){ 0 };
        assert_int_equal(learned_table_new(MAX_FACTS, &table), 0);
        for (size_t i = 0; i < count; i++) {
                size_t cluster = (size_t)random() % CLUSTERS, name = (size_t)random() % NAMES,
                       address = (size_t)random() % ADDRESSES;
                uint64_t *slot = &facts->until_ms[cluster][name][address];
                const struct learned_fact fact = { .cluster = clusters[cluster],
                                                   .name = names[name],
                                                   .address = address_of(addresses[address]),
                                                   .until_ms = NOW_MS - 3 + (uint64_t)random() % TIMES };
                assert_int_equal(learned_table_put(table, &fact), 0);
                *slot = *slot > fact.until_ms ? *slot : fact.until_ms;
        }
        return table;
}

/* Notes what is told. */
struct telling {
        const struct facts *facts;
        struct wanted told;
};

static size_t index_of(const char *const *texts, size_t count, const char *text)
{
        for (size_t i = 0; i < count; i++)
                if (strcmp(texts[i], text) == 0)
                        return i;
        fail_msg("'%s' is nobody's", text);
        return 0;
}

static size_t service_of(const char *set, const struct learned_fact *fact)
{
        char expected[RULESET_SET_NAME_SIZE];

        for (size_t i = 0; i < SERVICES; i++) {
                snprintf(expected, sizeof(expected), "learned.%s.%s.%s", services[i], fact->cluster,
                         fact->address.family == AF_INET ? "v4" : "v6");
                if (strcmp(set, expected) == 0)
                        return i;
        }
        fail_msg("'%s' is no set", set);
        return 0;
}

static void on_element(const char *set, const struct learned_fact *fact, void *context)
{
        struct telling *telling = context;
        char text[NET_ADDRESS_TEXT_SIZE];
        size_t cluster = index_of(clusters, CLUSTERS, fact->cluster), name = index_of(names, NAMES, fact->name),
               address = index_of(addresses, ADDRESSES, net_address_format(&fact->address, text));
        uint64_t *slot = &telling->told.until_ms[cluster][service_of(set, fact)][address];

        assert_int_equal(fact->until_ms, telling->facts->until_ms[cluster][name][address]);
        assert_true(*slot == 0 || *slot == fact->until_ms);
        *slot = fact->until_ms;
}

static void assert_same(const struct wanted *told, const struct wanted *expected, const char *what)
{
        for (size_t i = 0; i < CLUSTERS; i++)
                for (size_t j = 0; j < SERVICES; j++)
                        for (size_t k = 0; k < ADDRESSES; k++)
                                if (told->until_ms[i][j][k] != expected->until_ms[i][j][k])
                                        fail_msg("%s of %s %s %s: %llu instead of %llu", what, clusters[i], services[j],
                                                 addresses[k], (unsigned long long)told->until_ms[i][j][k],
                                                 (unsigned long long)expected->until_ms[i][j][k]);
}

/* What is there in one and not in the other, or only if it ends at the same time. */
static struct wanted difference(const struct wanted *one, const struct wanted *other, bool also_for_another_time)
{
        struct wanted result = *one;
        uint64_t *until_ms = &result.until_ms[0][0][0];
        const uint64_t *other_ms = &other->until_ms[0][0][0];

        for (size_t i = 0; i < sizeof(result) / sizeof(uint64_t); i++)
                if (until_ms[i] == other_ms[i] || (other_ms[i] > 0 && !also_for_another_time))
                        until_ms[i] = 0;
        return result;
}

static void assert_untils(struct learned_table *table, const struct policy *policy, const struct wanted *expected)
{
        struct wanted told = { 0 };

        for (size_t i = 0; i < CLUSTERS; i++)
                for (size_t j = 0; j < SERVICES; j++)
                        for (size_t k = 0; k < ADDRESSES; k++) {
                                const struct net_address address = address_of(addresses[k]);
                                struct network_service service = { 0 };
                                snprintf(service.label, sizeof(service.label), "%s", services[j]);
                                told.until_ms[i][j][k] =
                                        learned_sets_until(table, policy, clusters[i], &address, &service, NOW_MS);
                        }
        assert_same(&told, expected, "until");
}

static void assert_differences(struct learned_table *table, const struct facts *facts, const struct policy *former,
                               const struct wanted *before, const struct policy *policy, const struct wanted *after)
{
        static const struct wanted nothing;
        const struct wanted all = difference(after, &nothing, true), new = difference(after, before, true),
                            stale = difference(before, after, false);
        struct telling told_all = { .facts = facts }, told_new = { .facts = facts }, told_stale = { .facts = facts },
                       unchanged = { .facts = facts };

        learned_sets_each_new(table, NULL, policy, NOW_MS, on_element, &told_all);
        assert_same(&told_all.told, &all, "all");
        learned_sets_each_new(table, former, policy, NOW_MS, on_element, &told_new);
        assert_same(&told_new.told, &new, "new");
        learned_sets_each_stale(table, former, policy, NOW_MS, on_element, &told_stale);
        assert_same(&told_stale.told, &stale, "stale");
        learned_sets_each_new(table, policy, policy, NOW_MS, on_element, &unchanged);
        learned_sets_each_stale(table, policy, policy, NOW_MS, on_element, &unchanged);
        learned_sets_each_stale(table, NULL, policy, NOW_MS, on_element, &unchanged);
        assert_same(&unchanged.told, &nothing, "unchanged");
}

static void sets_are_like_the_model_under_any_two_policies(void **state)
{
        struct policy_lab *lab = *state;
        unsigned seed = (unsigned)time(NULL);

        print_message("seed %u\n", seed);
        srandom(seed);
        for (unsigned round = 0; round < ROUNDS; round++) {
                const struct model models[] = { model_at_random(), model_at_random() };
                struct policy *former = load(lab, &models[0]), *policy = load(lab, &models[1]);
                struct facts facts;
                struct learned_table *table = facts_at_random(&facts);
                const struct wanted before = wanted_by(&models[0], &facts), after = wanted_by(&models[1], &facts);

                assert_untils(table, former, &before);
                assert_untils(table, policy, &after);
                assert_differences(table, &facts, former, &before, policy, &after);
                assert_differences(table, &facts, policy, &after, former, &before);
                learned_table_free(table);
                policy_unref(former);
                policy_unref(policy);
        }
}

static void put(struct learned_table *table, const char *name, uint64_t until_ms)
{
        const struct learned_fact fact = { "prod", name, address_of("203.0.113.1"), until_ms };

        assert_int_equal(learned_table_put(table, &fact), 0);
}

static void note_name(const char *set, const struct learned_fact *fact, void *context)
{
        const char **name = context;

        assert_string_equal(set, "learned.udp.123.prod.v4");
        assert_null(*name);
        *name = fact->name;
}

static void the_longest_name_speaks_for_an_address(void **state)
{
        struct policy_lab *lab = *state;
        struct learned_table *table;
        const char *name = NULL;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['udp a.com:123', 'udp b.com:123', 'udp c.com:123']\n");
        assert_int_equal(learned_table_new(10, &table), 0);
        put(table, "a.com", NOW_MS + 1);
        put(table, "b.com", NOW_MS + 3);
        put(table, "c.com", NOW_MS + 2);
        put(table, "d.com", NOW_MS + 4); /* no rule is about it */
        learned_sets_each_new(table, NULL, lab->policy, NOW_MS, note_name, &name);
        assert_string_equal(name, "b.com");
        learned_table_free(table);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                LAB_TEST(sets_are_like_the_model_under_any_two_policies),
                LAB_TEST(the_longest_name_speaks_for_an_address),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
