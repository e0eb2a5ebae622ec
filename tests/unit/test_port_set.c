#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/port_set.h"

static const char *canonical(const char *text)
{
        static char buffer[PORT_SET_TEXT_SIZE];
        struct port_set set;
        struct rule_error error;

        assert_int_equal(port_set_parse(text, strlen(text), &set, &error), 0);
        size_t length = port_set_format(&set, buffer);
        assert_int_equal(length, strlen(buffer));
        return buffer;
}

static size_t error_offset(const char *text)
{
        struct port_set set = { .count = 77 };
        struct rule_error error = { 0 };

        assert_int_equal(port_set_parse(text, strlen(text), &set, &error), -EINVAL);
        assert_int_equal(set.count, 77);
        assert_true(error.text[0] != '\0');
        return error.offset;
}

static void ports_and_ranges_are_sorted_and_joined(void **state)
{
        (void)state;
        assert_string_equal(canonical("443"), "443");
        assert_string_equal(canonical("8443,443"), "443,8443");
        assert_string_equal(canonical("1000-2000"), "1000-2000");
        assert_string_equal(canonical("5,3-4,4,1-2"), "1-5");
        assert_string_equal(canonical("1-65535,7"), "1-65535");
        assert_string_equal(canonical("443,443"), "443");
}

static void what_is_no_port_is_refused_where_it_stands(void **state)
{
        (void)state;
        assert_int_equal(error_offset(""), 0);
        assert_int_equal(error_offset("0"), 0);
        assert_int_equal(error_offset("443,"), 4);
        assert_int_equal(error_offset("443,x,80"), 4);
        assert_int_equal(error_offset("443,80/path"), 4);
        assert_int_equal(error_offset("65536"), 0);
        assert_int_equal(error_offset("4294967739"), 0);
        assert_int_equal(error_offset("0443"), 0);
        assert_int_equal(error_offset("-5"), 0);
        assert_int_equal(error_offset("5-"), 0);
        assert_int_equal(error_offset("1,2000-1000"), 2);
        assert_int_equal(error_offset("*"), 0);
}

static void a_set_contains_its_ports_and_no_neighbour(void **state)
{
        struct port_set set;
        struct rule_error error;

        (void)state;
        assert_int_equal(port_set_parse("80,1000-2000,65535", 18, &set, &error), 0);
        for (unsigned port = 0; port <= UINT16_MAX; port++)
                assert_int_equal(port_set_contains(&set, (uint16_t)port),
                                 port == 80 || (port >= 1000 && port <= 2000) || port == 65535);
}

static void the_longest_list_formats_into_its_buffer(void **state)
{
        char text[512] = "";

        (void)state;
        for (unsigned i = 0; i < PORT_SET_MAX_RANGES; i++)
                sprintf(text + strlen(text), "%s%u-%u", i > 0 ? "," : "", 10000 + i * 10, 10005 + i * 10);
        assert_string_equal(canonical(text), text);
        strcat(text, ",1");
        (void)error_offset(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(ports_and_ranges_are_sorted_and_joined),
                cmocka_unit_test(what_is_no_port_is_refused_where_it_stands),
                cmocka_unit_test(a_set_contains_its_ports_and_no_neighbour),
                cmocka_unit_test(the_longest_list_formats_into_its_buffer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
