#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/rule_set.h"

#define ALL_PROTOCOLS ~0u

static int make_set(void **state)
{
        struct rule_origin origin = { .feature = "core", .file = "core.allow" };
        uint16_t index;

        *state = rule_set_new();
        return *state == NULL ? -1 : rule_set_add_origin(*state, &origin, &index);
}

static int drop_set(void **state)
{
        rule_set_free(*state);
        return 0;
}

static int try_add(struct rule_set *set, const char *text, unsigned line_number)
{
        struct rule_span span = { text, strlen(text) };
        struct rule_filled filled;
        struct rule_error error;
        struct rule_line line;

        assert_int_equal(rule_line_parse(span, RULE_STYLE_FEATURE, &line, &error), RULE_LINE_RULE);
        assert_int_equal(rule_resolve(&line.rule, span, &filled, &error), 0);
        return rule_set_add(set, &filled, 0, line_number);
}

static void add(struct rule_set *set, const char *text, unsigned line_number)
{
        assert_int_equal(try_add(set, text, line_number), 0);
}

/* The rule that is found, as "LINE TEXT"; "": none. */
static const char *find(const struct rule_set *set, unsigned protocols, const char *host, uint16_t port)
{
        static char found[RULE_TEXT_SIZE + 16];
        struct rule_match match = { 0 };
        struct net_address address = { 0 };
        struct fqdn name = { 0 };
        char text[RULE_TEXT_SIZE];

        if (net_address_parse(host, strlen(host), &address) < 0)
                assert_int_equal(fqdn_from_text(host, &name), 0);
        struct rule_query query = { .protocols = protocols, .port = port, .name = &name, .address = &address };
        if (!rule_set_match(set, &query, &match))
                return "";
        rule_match_format(&match, text, sizeof(text));
        snprintf(found, sizeof(found), "%u %s", rule_match_line(&match), text);
        return found;
}

static unsigned bit(enum policy_protocol protocol)
{
        return 1u << protocol;
}

static void rules_of_one_name_are_told_apart_by_protocol_and_port(void **state)
{
        add(*state, "https a.com:443,8443", 1);
        add(*state, "http a.com:80", 2);
        add(*state, "https a.com:9000-9010", 3);
        assert_string_equal(find(*state, bit(POLICY_PROTOCOL_HTTPS), "a.com", 8443), "1 https a.com:443,8443");
        assert_string_equal(find(*state, bit(POLICY_PROTOCOL_HTTP), "a.com", 80), "2 http a.com:80");
        assert_string_equal(find(*state, bit(POLICY_PROTOCOL_HTTPS), "a.com", 9005), "3 https a.com:9000-9010");
        assert_string_equal(find(*state, bit(POLICY_PROTOCOL_HTTP), "a.com", 443), "");
        assert_string_equal(find(*state, bit(POLICY_PROTOCOL_TCP), "a.com", 443), "");
}

static void a_less_specific_rule_is_found_where_the_specific_one_does_not_fit(void **state)
{
        add(*state, "https *.a.com:1-65535", 1);
        add(*state, "https b.a.com:443", 2);
        assert_string_equal(find(*state, ALL_PROTOCOLS, "b.a.com", 443), "2 https b.a.com:443");
        assert_string_equal(find(*state, ALL_PROTOCOLS, "b.a.com", 444), "1 https *.a.com:1-65535");
}

static void a_repeated_rule_keeps_its_first_place_and_costs_nothing(void **state)
{
        add(*state, "https a.com:443,80", 1);
        add(*state, "https A.com:80,443", 2);
        assert_int_equal(rule_set_count(*state), 1);
        assert_string_equal(find(*state, ALL_PROTOCOLS, "a.com", 443), "1 https a.com:80,443");
        rule_set_keep_duplicates(*state);
        add(*state, "https a.com:80,443", 3);
        assert_int_equal(rule_set_count(*state), 2);
}

static void the_longest_prefix_that_fits_is_found(void **state)
{
        add(*state, "tcp [10.0.0.0/8]:1-65535", 1);
        add(*state, "tcp [10.1.0.0/16,2001:db8::/32]:22", 2);
        assert_string_equal(find(*state, ALL_PROTOCOLS, "10.1.2.3", 22), "2 tcp [10.1.0.0/16]:22");
        assert_string_equal(find(*state, ALL_PROTOCOLS, "10.1.2.3", 23), "1 tcp [10.0.0.0/8]:1-65535");
        assert_string_equal(find(*state, ALL_PROTOCOLS, "2001:db8::1", 22), "2 tcp [2001:db8::/32]:22");
        assert_string_equal(find(*state, bit(POLICY_PROTOCOL_UDP), "10.1.2.3", 22), "");
}

static void a_later_set_replaces_a_match_only_when_it_is_more_specific(void **state)
{
        void *second;
        struct rule_match match = { 0 };
        struct fqdn name;
        struct rule_query query = { .protocols = ALL_PROTOCOLS, .port = 443, .name = &name };

        assert_int_equal(make_set(&second), 0);
        assert_int_equal(fqdn_from_text("b.a.com", &name), 0);
        add(*state, "https *.a.com:443", 1);
        add(second, "https *.a.com:443", 2);
        assert_true(rule_set_match(*state, &query, &match));
        assert_false(rule_set_match(second, &query, &match));
        add(second, "https b.a.com:443", 3);
        assert_true(rule_set_match(second, &query, &match));
        assert_int_equal(rule_match_line(&match), 3);
        assert_string_equal(rule_match_origin(&match).feature, "core");
        (void)drop_set(&second);
}

static void a_format_is_cut_at_its_size(void **state)
{
        struct rule_match match = { 0 };
        struct fqdn name;
        struct rule_query query = { .protocols = ALL_PROTOCOLS, .port = 443, .name = &name };
        char text[RULE_TEXT_SIZE];

        add(*state, "https example.com:443", 1);
        assert_int_equal(fqdn_from_text("example.com", &name), 0);
        assert_true(rule_set_match(*state, &query, &match));
        for (size_t size = 1; size <= sizeof("https example.com:443"); size++) {
                memset(text, 'x', sizeof(text));
                rule_match_format(&match, text, size);
                assert_int_equal(strlen(text), size - 1);
                assert_memory_equal(text, "https example.com:443", size - 1);
                assert_int_equal(text[size], 'x');
        }
}

static void different_port_lists_are_bounded(void **state)
{
        char text[64];
        int r = 0;
        unsigned taken = 0;

        for (unsigned port = 1; port <= UINT16_MAX && r == 0; port++, taken += r == 0) {
                snprintf(text, sizeof(text), "https a%u.com:%u", port, port);
                r = try_add(*state, text, port);
        }
        assert_int_equal(r, 0);
        assert_int_equal(taken, RULE_SET_MAX_SERVICES);
        assert_int_equal(try_add(*state, "http b.com:1", 1), -E2BIG);
        assert_string_equal(find(*state, ALL_PROTOCOLS, "a65535.com", 65535), "65535 https a65535.com:65535");
        assert_string_equal(find(*state, ALL_PROTOCOLS, "b.com", 1), "");
}

static void application_ports_are_those_of_https_and_http(void **state)
{
        uint8_t ports[8192] = { 0 };

        add(*state, "https a.com:443,8000-8002", 1);
        add(*state, "http a.com:80", 2);
        add(*state, "tcp a.com:22", 3);
        rule_set_note_application_ports(*state, ports);
        for (unsigned port = 0; port <= UINT16_MAX; port++)
                assert_int_equal(ports[port / 8] >> port % 8 & 1,
                                 port == 443 || port == 80 || (port >= 8000 && port <= 8002));
}

static void trimming_changes_no_answer(void **state)
{
        add(*state, "https a.com:443", 1);
        add(*state, "tcp [10.0.0.0/8]:22", 2);
        rule_set_trim(*state);
        assert_string_equal(find(*state, ALL_PROTOCOLS, "a.com", 443), "1 https a.com:443");
        add(*state, "https b.com:443", 3);
        assert_string_equal(find(*state, ALL_PROTOCOLS, "b.com", 443), "3 https b.com:443");
        assert_string_equal(find(*state, ALL_PROTOCOLS, "10.0.0.1", 22), "2 tcp [10.0.0.0/8]:22");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_set, drop_set)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(rules_of_one_name_are_told_apart_by_protocol_and_port),
                TEST(a_less_specific_rule_is_found_where_the_specific_one_does_not_fit),
                TEST(a_repeated_rule_keeps_its_first_place_and_costs_nothing),
                TEST(the_longest_prefix_that_fits_is_found),
                TEST(a_later_set_replaces_a_match_only_when_it_is_more_specific),
                TEST(a_format_is_cut_at_its_size),
                TEST(different_port_lists_are_bounded),
                TEST(application_ports_are_those_of_https_and_http),
                TEST(trimming_changes_no_answer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
