#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "policy/name_set.h"
#include "values.h"

#define RANDOM_SETS 30
#define RANDOM_PATTERNS 60
#define RANDOM_NAMES 400

static int make_set(void **state)
{
        *state = name_set_new();
        return *state == NULL ? -1 : 0;
}

static int drop_set(void **state)
{
        name_set_free(*state);
        return 0;
}

static uint32_t add(struct name_set *set, const char *pattern)
{
        uint32_t entry = NAME_SET_NONE;

        assert_int_equal(name_set_add(set, pattern, strlen(pattern), &entry), 0);
        return entry;
}

/* The patterns that match, in order, one blank between them. */
static const char *matches(const struct name_set *set, const char *text)
{
        static char joined[4096];
        struct name_set_hit hits[NAME_SET_MAX_HITS];
        struct fqdn name = name_of(text);
        size_t count = name_set_find(set, &name, hits);

        joined[0] = '\0';
        for (size_t i = 0; i < count; i++) {
                char pattern[FQDN_MAX_LENGTH + 1];
                size_t length = name_set_pattern(set, hits[i].entry, pattern);
                assert_int_equal(length, strlen(pattern));
                if (i > 0)
                        strcat(joined, " ");
                strcat(joined, pattern);
        }
        return joined;
}

static void suffix_matches_one_label_and_several(void **state)
{
        add(*state, "*.example.com");
        assert_string_equal(matches(*state, "a.example.com"), "*.example.com");
        assert_string_equal(matches(*state, "a.b.c.example.com"), "*.example.com");
}

static void suffix_does_not_match_the_name_itself(void **state)
{
        add(*state, "*.example.com");
        assert_string_equal(matches(*state, "example.com"), "");
}

static void suffix_does_not_match_a_name_that_only_ends_alike(void **state)
{
        add(*state, "*.example.com");
        assert_string_equal(matches(*state, "evilexample.com"), "");
        assert_string_equal(matches(*state, "a.evilexample.com"), "");
        assert_string_equal(matches(*state, "example.com.evil.net"), "");
}

static void an_inner_star_is_exactly_one_label(void **state)
{
        add(*state, "api.*.example.com");
        assert_string_equal(matches(*state, "api.west.example.com"), "api.*.example.com");
        assert_string_equal(matches(*state, "api.example.com"), "");
        assert_string_equal(matches(*state, "api.a.b.example.com"), "");
        assert_string_equal(matches(*state, "x.api.west.example.com"), "");
}

static void a_leading_and_an_inner_star_work_together(void **state)
{
        add(*state, "*.hcp.*.azmk8s.io");
        assert_string_equal(matches(*state, "c.hcp.west.azmk8s.io"), "*.hcp.*.azmk8s.io");
        assert_string_equal(matches(*state, "a.b.hcp.west.azmk8s.io"), "*.hcp.*.azmk8s.io");
        assert_string_equal(matches(*state, "hcp.west.azmk8s.io"), "");
        assert_string_equal(matches(*state, "c.hcp.azmk8s.io"), "");
}

static void the_most_specific_pattern_comes_first(void **state)
{
        add(*state, "*.com");
        add(*state, "*.b.example.com");
        add(*state, "*.example.com");
        add(*state, "a.*.example.com");
        add(*state, "*.*.example.com");
        add(*state, "a.b.example.com");
        assert_string_equal(matches(*state, "a.b.example.com"), "a.b.example.com a.*.example.com *.b.example.com "
                                                                "*.example.com *.*.example.com *.com");
}

static void the_same_pattern_is_one_entry(void **state)
{
        uint32_t entry = add(*state, "*.example.com");

        name_set_set_number(*state, entry, 5);
        assert_int_equal(name_set_number(*state, add(*state, "*.example.com")), 5);
        assert_int_equal(name_set_number(*state, add(*state, "example.com")), NAME_SET_NONE);
        assert_int_equal(name_set_count(*state), 2);
}

static void an_empty_name_matches_nothing(void **state)
{
        struct name_set_hit hits[NAME_SET_MAX_HITS];
        struct fqdn none = { 0 };

        add(*state, "*.com");
        assert_int_equal(name_set_find(*state, &none, hits), 0);
        assert_int_equal(name_set_find_below(*state, &none), NAME_SET_NONE);
}

static void what_is_below_a_name_is_found_by_that_name_only(void **state)
{
        struct fqdn apex = name_of("example.com"), below = name_of("a.example.com");
        uint32_t entry = add(*state, "*.example.com");

        assert_int_equal(name_set_find_below(*state, &apex), entry);
        assert_int_equal(name_set_find_below(*state, &below), NAME_SET_NONE);
}

static void names_of_127_labels_are_found(void **state)
{
        char text[FQDN_MAX_LENGTH + 1];

        for (size_t i = 0; i < FQDN_MAX_LENGTH; i++)
                text[i] = i % 2 == 0 ? 'a' : '.';
        text[FQDN_MAX_LENGTH] = '\0';
        add(*state, text);
        text[0] = '*';
        add(*state, text);
        text[0] = 'a';
        struct name_set_hit hits[NAME_SET_MAX_HITS];
        struct fqdn name = name_of(text);
        assert_int_equal(name_set_find(*state, &name, hits), 2);
}

static void shapes_are_bounded_and_a_known_shape_still_fits(void **state)
{
        char pattern[FQDN_MAX_LENGTH + 1];
        uint32_t entry;
        unsigned taken = 0;

        for (unsigned stars = 1; stars < 256; stars++) { /* eight inner labels, each `*` or not */
                strcpy(pattern, "a");
                for (unsigned i = 0; i < 8; i++)
                        strcat(pattern, (stars >> i & 1) != 0 ? ".*" : ".b");
                strcat(pattern, ".com");
                int r = name_set_add(*state, pattern, strlen(pattern), &entry);
                if (r == 0)
                        taken++;
                else
                        assert_int_equal(r, -E2BIG);
        }
        assert_int_equal(taken, NAME_SET_MAX_SHAPES);
        assert_int_equal(name_set_add(*state, "z.*.y.y.y.y.y.y.y.net", 21, &entry), 0);
}

static void a_star_too_far_from_the_right_is_refused(void **state)
{
        char pattern[2 * 70 + 1] = "a.*";
        uint32_t entry;

        for (unsigned i = 0; i < 65; i++)
                strcat(pattern, ".b");
        assert_int_equal(name_set_add(*state, pattern, strlen(pattern), &entry), -E2BIG);
        assert_int_equal(name_set_count(*state), 0);
}

/* What a pattern means, said plainly: from the right label by label. */
static bool naive_match(const char *pattern, const char *name)
{
        const char *star = strncmp(pattern, "*.", 2) == 0 ? pattern + 1 : NULL;
        size_t pattern_length = strlen(pattern), name_length = strlen(name);

        while (pattern_length > 0 && name_length > 0) {
                if (star != NULL && pattern_length == 1)
                        return true;
                size_t p = pattern_length, n = name_length;
                while (p > 0 && pattern[p - 1] != '.')
                        p--;
                while (n > 0 && name[n - 1] != '.')
                        n--;
                bool any = pattern_length - p == 1 && pattern[p] == '*';
                if (!any &&
                    (pattern_length - p != name_length - n || memcmp(pattern + p, name + n, name_length - n) != 0))
                        return false;
                pattern_length = p > 0 ? p - 1 : 0;
                name_length = n > 0 ? n - 1 : 0;
        }
        return pattern_length == 0 && name_length == 0;
}

/* Few different labels, so that many names match many patterns. */
static void random_name(char *ret, bool stars)
{
        static const char *const labels[] = { "a", "b", "aa", "ab" };
        size_t count = 1 + (size_t)random() % 5;

        ret[0] = '\0';
        for (size_t i = 0; i < count; i++) {
                bool last = i == count - 1;
                strcat(ret, stars && !last && random() % 3 == 0 ? "*" : labels[random() % 4]);
                if (!last)
                        strcat(ret, ".");
        }
}

static void check_hits(const struct name_set *set, const char *name)
{
        struct name_set_hit hits[NAME_SET_MAX_HITS];
        struct fqdn fqdn = name_of(name);
        char text[FQDN_MAX_LENGTH + 1];
        size_t count = name_set_find(set, &fqdn, hits);

        for (size_t i = 0; i < count; i++) {
                (void)name_set_pattern(set, hits[i].entry, text);
                assert_true(naive_match(text, name));
                assert_true(i == 0 || hits[i - 1].specificity >= hits[i].specificity);
        }
}

static void every_match_and_no_other_is_found(void **state)
{
        uint64_t seed = hash_random();

        (void)state;
        print_message("seed %llu\n", (unsigned long long)seed);
        srandom((unsigned)seed);
        for (unsigned round = 0; round < RANDOM_SETS; round++) {
                struct name_set *set = name_set_new();
                char patterns[RANDOM_PATTERNS][64], name[64];
                size_t kept = 0;
                for (size_t i = 0; i < RANDOM_PATTERNS; i++) {
                        uint32_t entry;
                        random_name(patterns[kept], true);
                        if (name_set_add(set, patterns[kept], strlen(patterns[kept]), &entry) < 0)
                                continue;
                        if (name_set_number(set, entry) == NAME_SET_NONE)
                                name_set_set_number(set, entry, (uint32_t)kept++);
                }
                for (size_t i = 0; i < RANDOM_NAMES; i++) {
                        struct name_set_hit hits[NAME_SET_MAX_HITS];
                        size_t expected = 0;
                        random_name(name, false);
                        struct fqdn fqdn = name_of(name);
                        for (size_t j = 0; j < kept; j++)
                                expected += naive_match(patterns[j], name);
                        assert_int_equal(name_set_find(set, &fqdn, hits), expected);
                        check_hits(set, name);
                }
                name_set_free(set);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_set, drop_set)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(suffix_matches_one_label_and_several),
                TEST(suffix_does_not_match_the_name_itself),
                TEST(suffix_does_not_match_a_name_that_only_ends_alike),
                TEST(an_inner_star_is_exactly_one_label),
                TEST(a_leading_and_an_inner_star_work_together),
                TEST(the_most_specific_pattern_comes_first),
                TEST(the_same_pattern_is_one_entry),
                TEST(an_empty_name_matches_nothing),
                TEST(what_is_below_a_name_is_found_by_that_name_only),
                TEST(names_of_127_labels_are_found),
                TEST(shapes_are_bounded_and_a_known_shape_still_fits),
                TEST(a_star_too_far_from_the_right_is_refused),
                cmocka_unit_test(every_match_and_no_other_is_found),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
