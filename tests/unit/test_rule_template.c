#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/rule_template.h"

static struct rule_span span(const char *text)
{
        return (struct rule_span){ text, strlen(text) };
}

static void names_are_lower_case_words(void **state)
{
        (void)state;
        assert_true(rule_template_name_is_valid(span("vault_name2")));
        assert_false(rule_template_name_is_valid(span("")));
        assert_false(rule_template_name_is_valid(span("Vault")));
        assert_false(rule_template_name_is_valid(span("2vault")));
        assert_false(rule_template_name_is_valid(span("vault-name")));
        assert_false(rule_template_name_is_valid(span("_v")));
}

static void broken_braces_are_errors_where_they_stand(void **state)
{
        const struct {
                const char *text;
                size_t offset;
        } cases[] = { { "a.{b.com", 2 },   { "a}.com", 1 },  { "{}.com", 1 },
                      { "{a{b}}.com", 1 }, { "{B}.com", 1 }, { "{a}}", 3 } };
        struct rule_error error;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(rule_template_check(span(cases[i].text), &error), -EINVAL);
                assert_int_equal(error.offset, cases[i].offset);
        }
        assert_int_equal(rule_template_check(span("{a}.{b_1}.com"), &error), 0);
        assert_int_equal(rule_template_check(span("plain"), &error), 0);
}

static struct rule_span value_of(struct rule_span name, void *context)
{
        (void)context;
        if (rule_span_equals(name, "location"))
                return span("westeurope");
        if (rule_span_equals(name, "registry"))
                return span("contoso");
        return (struct rule_span){ NULL, 0 };
}

static const char *filled(const char *text)
{
        static char buffer[RULE_TEMPLATE_MAX_FILLED];
        size_t length;

        assert_int_equal(rule_template_fill(span(text), value_of, NULL, buffer, &length), 0);
        assert_true(length < sizeof(buffer));
        buffer[length] = '\0';
        return buffer;
}

static void values_are_filled_in(void **state)
{
        (void)state;
        assert_string_equal(filled("{registry}.{location}.data.azurecr.io"), "contoso.westeurope.data.azurecr.io");
        assert_string_equal(filled("x-{location}-{location}"), "x-westeurope-westeurope");
        assert_string_equal(filled("plain.com"), "plain.com");
        assert_string_equal(filled(""), "");
}

static void a_parameter_without_a_value_is_told(void **state)
{
        char buffer[RULE_TEMPLATE_MAX_FILLED];
        size_t length;

        (void)state;
        assert_int_equal(rule_template_fill(span("{vault_name}.net"), value_of, NULL, buffer, &length), -ENOENT);
}

static void a_filled_text_is_bounded(void **state)
{
        static char text[RULE_TEMPLATE_MAX_FILLED + 1];
        char buffer[RULE_TEMPLATE_MAX_FILLED];
        size_t length;

        (void)state;
        memset(text, 'a', sizeof(text));
        memcpy(text, "{registry}", 10);
        struct rule_span whole = { text, sizeof(text) }, fits = { text, sizeof(text) + 2 - 1 };
        fits.length = RULE_TEMPLATE_MAX_FILLED; /* ten bytes become seven */
        assert_int_equal(rule_template_fill(fits, value_of, NULL, buffer, &length), 0);
        assert_int_equal(length, RULE_TEMPLATE_MAX_FILLED - 3);
        whole.length = RULE_TEMPLATE_MAX_FILLED + 1;
        assert_int_equal(rule_template_fill(whole, value_of, NULL, buffer, &length), 0);
        memset(text, 'a', 10);
        assert_int_equal(rule_template_fill(whole, value_of, NULL, buffer, &length), -EOVERFLOW);
}

static bool note_capture(struct rule_span name, struct rule_span value, void *context)
{
        char *notes = context;

        sprintf(notes + strlen(notes), "%.*s=%.*s;", (int)name.length, name.text, (int)value.length, value.text);
        return true;
}

static const char *captured(const char *pattern, const char *text)
{
        static char notes[256];

        notes[0] = '\0';
        return rule_template_match(span(pattern), span(text), note_capture, notes) ? notes : NULL;
}

static void parameters_stand_for_what_is_there(void **state)
{
        (void)state;
        assert_string_equal(captured("{a}", "west"), "a=west;");
        assert_string_equal(captured("{a}-{b}", "west-2"), "a=west;b=2;");
        assert_string_equal(captured("x{a}y", "xabyy"), "a=aby;");
        assert_string_equal(captured("same", "same"), "");
        assert_null(captured("same", "sam"));
        assert_null(captured("same", "same2"));
        assert_null(captured("x{a}", "x"));
        assert_null(captured("{a}", "a.b"));
        assert_null(captured("{a}x", "ab"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_are_lower_case_words),
                cmocka_unit_test(broken_braces_are_errors_where_they_stand),
                cmocka_unit_test(values_are_filled_in),
                cmocka_unit_test(a_parameter_without_a_value_is_told),
                cmocka_unit_test(a_filled_text_is_bounded),
                cmocka_unit_test(parameters_stand_for_what_is_there),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
