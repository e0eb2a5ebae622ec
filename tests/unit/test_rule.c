#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/rule.h"

/* Lives as long as the test program: spans of parsed rules point into it. */
static char line_buffer[RULE_MAX_LINE_LENGTH + 16];

static struct rule_span line_of(const char *text)
{
        assert_true(strlen(text) < sizeof(line_buffer));
        strcpy(line_buffer, text);
        return (struct rule_span){ line_buffer, strlen(text) };
}

static struct rule parse(const char *text)
{
        struct rule_line line;
        struct rule_error error = { 0 };

        if (rule_line_parse(line_of(text), RULE_STYLE_FEATURE, &line, &error) != RULE_LINE_RULE)
                fail_msg("'%s': %s", text, error.text);
        return line.rule;
}

static void assert_span(struct rule_span span, const char *text)
{
        if (!rule_span_equals(span, text))
                fail_msg("'%.*s' is not '%s'", (int)span.length, span.text, text);
}

/* Wrong at parsing or at checking, at that column (from 0), with those words in the sentence. */
static void assert_bad_in(enum rule_style style, const char *text, size_t offset, const char *words)
{
        struct rule_span span = line_of(text);
        struct rule_error error = { 0 };
        struct rule_line line;

        if (rule_line_parse(span, style, &line, &error) != RULE_LINE_BAD) {
                assert_int_equal(line.kind, RULE_LINE_RULE);
                assert_int_equal(rule_check(&line.rule, span, &error), -EINVAL);
        }
        if (strstr(error.text, words) == NULL)
                fail_msg("'%s': '%s' does not say '%s'", text, error.text, words);
        assert_int_equal(error.offset, offset);
}

static void assert_bad(const char *text, size_t offset, const char *words)
{
        assert_bad_in(RULE_STYLE_FEATURE, text, offset, words);
}

static void a_full_line_is_taken_apart(void **state)
{
        struct rule rule =
                parse("  https\t*.Example.com:443,8443  conditional since=2024-02-03 retires=2025-03-31 when=wide  "
                      "some words = here   # and a comment");

        (void)state;
        assert_int_equal(rule.protocol, POLICY_PROTOCOL_HTTPS);
        assert_span(rule.destination, "*.Example.com");
        assert_span(rule.ports, "443,8443");
        assert_int_equal(rule.requirement, RULE_CONDITIONAL);
        assert_span(rule.since, "2024-02-03");
        assert_span(rule.retires, "2025-03-31");
        assert_span(rule.when, "wide");
        assert_span(rule.description, "some words = here");
        assert_false(rule.has_parameters);
}

static void a_short_line_is_required_and_says_nothing_more(void **state)
{
        struct rule rule = parse("udp ntp.ubuntu.com:123");

        (void)state;
        assert_int_equal(rule.protocol, POLICY_PROTOCOL_UDP);
        assert_int_equal(rule.requirement, RULE_REQUIRED);
        assert_int_equal(rule.since.length + rule.retires.length + rule.when.length + rule.description.length, 0);
}

static void the_requirement_may_follow_attributes_but_not_the_description(void **state)
{
        (void)state;
        assert_int_equal(parse("tcp a.com:1 when=x optional words").requirement, RULE_OPTIONAL);
        assert_int_equal(parse("tcp a.com:1 words optional").requirement, RULE_REQUIRED);
        assert_span(parse("tcp a.com:1 optional required later").description, "required later");
}

static void a_hash_inside_a_word_is_no_comment(void **state)
{
        (void)state;
        assert_span(parse("tcp a.com:1 required issue#4792 x").description, "issue#4792 x");
        assert_span(parse("tcp a.com:1 required see #4792").description, "see");
}

static void blank_and_comment_lines_are_empty(void **state)
{
        const char *const lines[] = { "", "   ", "\t", "# x", "  # https a.com:443" };
        struct rule_error error;
        struct rule_line line;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                assert_int_equal(rule_line_parse(line_of(lines[i]), RULE_STYLE_FEATURE, &line, &error),
                                 RULE_LINE_EMPTY);
}

static void cloud_lines_name_a_cloud_or_all(void **state)
{
        const struct {
                const char *text;
                enum rule_cloud cloud;
        } cases[] = { { "cloud AzurePublicCloud", RULE_CLOUD_PUBLIC },
                      { " cloud  AzureChinaCloud # x", RULE_CLOUD_CHINA },
                      { "cloud AzureUSGovernment", RULE_CLOUD_US_GOVERNMENT },
                      { "cloud *", RULE_CLOUD_ALL } };
        struct rule_error error;
        struct rule_line line;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(rule_line_parse(line_of(cases[i].text), RULE_STYLE_FEATURE, &line, &error),
                                 RULE_LINE_CLOUD);
                assert_int_equal(line.cloud, cases[i].cloud);
        }
        assert_bad("cloud azurepubliccloud", 6, "not a cloud");
        assert_bad("cloud", 5, "not a cloud");
        assert_bad("cloud AzurePublicCloud AzureChinaCloud", 23, "line of its own");
}

static void a_missing_port_is_told_with_an_example(void **state)
{
        (void)state;
        assert_bad("https example.com", 6, "https example.com:443");
        assert_bad("http example.com required", 5, "http example.com:80");
        assert_bad("udp ntp.ubuntu.com", 4, "udp ntp.ubuntu.com:123");
        assert_bad("tcp [10.0.0.0/8]", 4, "tcp [10.0.0.0/8]:443");
        assert_bad("tcp tag:AzureMonitor", 4, "tcp tag:AzureMonitor:443");
        assert_bad("https example.com:", 18, "no port");
        assert_bad("https example.com:x", 18, "'x' is not a port");
        assert_bad("https", 5, "no destination");
}

static void addresses_and_tags_need_tcp_or_udp(void **state)
{
        (void)state;
        assert_bad("https [203.0.113.0/24]:443", 6, "write tcp instead of https");
        assert_bad("http tag:AzureMonitor:80", 5, "write tcp instead of http");
        assert_bad("https 203.0.113.7:443", 6, "tcp [203.0.113.7]:PORT");
        assert_bad("tcp 2001:db8::1:443", 4, "tcp [2001:db8::1]:PORT");
        (void)parse("tcp [203.0.113.0/24]:443");
        (void)parse("udp tag:AzureMonitor:443");
}

static void brackets_are_closed_before_the_ports(void **state)
{
        (void)state;
        assert_bad("tcp [10.0.0.0/8:443", 4, "without ']'");
        assert_bad("tcp [10.0.0.0/8, 11.0.0.0/8]:443", 4, "without ']'");
        assert_bad("tcp [10.0.0.0/8]443", 16, "follows");
        assert_bad("tcp [10.0.0.0/8,x]:443", 16, "not a prefix");
}

static void an_unknown_first_word_is_told_what_it_may_be(void **state)
{
        (void)state;
        assert_bad("htps example.com:443", 0, "did you mean 'http");
        assert_bad("gopher example.com:70", 0, "begins with https, http, tcp or udp");
        assert_bad("example.com:443", 0, "begins with https, http, tcp or udp");
        assert_bad("https://example.com/", 0, "URL");
        assert_bad("HTTPS example.com:443", 0, "did you mean 'https'");
}

static void attributes_are_checked(void **state)
{
        (void)state;
        assert_bad("tcp a.com:1 since=2024-13-01", 18, "not a date");
        assert_bad("tcp a.com:1 retires=soon", 20, "not a date");
        assert_bad("tcp a.com:1 when=", 17, "names no parameter");
        assert_bad("tcp a.com:1 when=A-B", 17, "names no parameter");
        assert_bad("tcp a.com:1 when=a when=b", 19, "twice");
        assert_bad("tcp a.com:1 optional wehn=a", 21, "did you mean 'when='");
        assert_bad("tcp a.com:1 retire=2024-01-01", 12, "did you mean 'retires='");
}

static void templates_are_checked_as_far_as_they_can_be(void **state)
{
        (void)state;
        assert_true(parse("https {vault_name}.vault.azure.net:443").has_parameters);
        assert_bad("https {vault.azure.net:443", 6, "without '}'");
        assert_bad("https a}.net:443", 7, "without '{'");
        assert_bad("https {Vault}.net:443", 7, "not a parameter");
        assert_bad("https *{a}.net:443", 6, "inside a label");
        assert_bad("https {a}..net:443", 6, "empty label");
        assert_bad("https {a}.net:4x", 14, "not a port");
        assert_bad("https {a}.net:{", 14, "without '}'");
}

static void a_line_over_the_maximum_or_with_nul_is_bad(void **state)
{
        char text[RULE_MAX_LINE_LENGTH + 2];
        struct rule_error error;
        struct rule_line line;

        (void)state;
        memset(text, 'a', sizeof(text));
        struct rule_span too_long = { text, sizeof(text) - 1 };
        assert_int_equal(rule_line_parse(too_long, RULE_STYLE_PLAIN_LIST, &line, &error), RULE_LINE_BAD);
        struct rule_span with_nul = { "# a\0b", 5 };
        assert_int_equal(rule_line_parse(with_nul, RULE_STYLE_FEATURE, &line, &error), RULE_LINE_BAD);
}

static void a_name_alone_is_https_443_in_a_plain_list_only(void **state)
{
        struct rule_span span = line_of("  Example.com  # shop");
        struct rule_filled filled;
        struct rule_error error;
        struct rule_line line;

        (void)state;
        assert_int_equal(rule_line_parse(span, RULE_STYLE_PLAIN_LIST, &line, &error), RULE_LINE_RULE);
        assert_int_equal(rule_resolve(&line.rule, span, &filled, &error), 0);
        assert_int_equal(filled.protocol, POLICY_PROTOCOL_HTTPS);
        assert_string_equal(filled.destination.text, "example.com");
        assert_true(port_set_contains(&filled.ports, 443));
        assert_bad("example.com", 0, "is not a protocol");
        assert_bad_in(RULE_STYLE_PLAIN_LIST, "example.com required", 0, "is not a protocol");
        assert_bad_in(RULE_STYLE_PLAIN_LIST, "example.com:443", 0, "is not a protocol");
        assert_bad_in(RULE_STYLE_PLAIN_LIST, "1.2.3.4", 0, "tcp [1.2.3.4]:PORT");
        assert_bad_in(RULE_STYLE_PLAIN_LIST, "  *foo.com", 2, "evilfoo.com");
}

static struct rule_span contoso(struct rule_span name, void *context)
{
        (void)context;
        return rule_span_equals(name, "name") ? (struct rule_span){ "contoso", 7 } : (struct rule_span){ NULL, 0 };
}

static void parameters_are_filled_in_and_checked(void **state)
{
        struct rule_filled filled;
        struct rule_error error;
        struct rule rule = parse("https {name}.vault.azure.net:443");
        struct rule_span span = { line_buffer, strlen(line_buffer) };

        (void)state;
        assert_int_equal(rule_fill(&rule, span, contoso, NULL, &filled, &error), 0);
        assert_string_equal(filled.destination.text, "contoso.vault.azure.net");
        rule = parse("https {other}.vault.azure.net:443");
        assert_int_equal(rule_fill(&rule, span, contoso, NULL, &filled, &error), -ENOENT);
        rule = parse("tcp [{name}]:443");
        assert_int_equal(rule_fill(&rule, span, contoso, NULL, &filled, &error), -EINVAL);
        assert_int_equal(error.offset, 4);
        assert_non_null(strstr(error.text, "not a prefix"));
}

/* Every beginning of a good line parses to something or is bad: nothing is read past its end. */
static void every_beginning_of_a_line_is_handled(void **state)
{
        static const char text[] =
                "https {a}.*.example.com:443,8000-9000 conditional since=2024-02-03 when=wide words # c";

        (void)state;
        for (size_t length = 0; length < sizeof(text); length++) {
                char *copy = malloc(length + 1);
                struct rule_error error;
                struct rule_line line;
                assert_non_null(copy);
                memcpy(copy + 1, text, length); /* ends where the block ends */
                struct rule_span span = { copy + 1, length };
                if (rule_line_parse(span, RULE_STYLE_FEATURE, &line, &error) == RULE_LINE_RULE &&
                    rule_check(&line.rule, span, &error) < 0)
                        assert_true(error.offset <= length);
                free(copy);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_full_line_is_taken_apart),
                cmocka_unit_test(a_short_line_is_required_and_says_nothing_more),
                cmocka_unit_test(the_requirement_may_follow_attributes_but_not_the_description),
                cmocka_unit_test(a_hash_inside_a_word_is_no_comment),
                cmocka_unit_test(blank_and_comment_lines_are_empty),
                cmocka_unit_test(cloud_lines_name_a_cloud_or_all),
                cmocka_unit_test(a_missing_port_is_told_with_an_example),
                cmocka_unit_test(addresses_and_tags_need_tcp_or_udp),
                cmocka_unit_test(brackets_are_closed_before_the_ports),
                cmocka_unit_test(an_unknown_first_word_is_told_what_it_may_be),
                cmocka_unit_test(attributes_are_checked),
                cmocka_unit_test(templates_are_checked_as_far_as_they_can_be),
                cmocka_unit_test(a_line_over_the_maximum_or_with_nul_is_bad),
                cmocka_unit_test(a_name_alone_is_https_443_in_a_plain_list_only),
                cmocka_unit_test(parameters_are_filled_in_and_checked),
                cmocka_unit_test(every_beginning_of_a_line_is_handled),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
