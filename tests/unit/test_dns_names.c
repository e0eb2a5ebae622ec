#include "inspect/dns_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Another answer in the buffer before each question shows who writes into it. */
static char buffer[DNS_NAME_TEXT_SIZE];

static void the_numbers_that_matter_have_their_names(void **state)
{
        (void)state;
        assert_string_equal(dns_type_name(1, buffer), "A");
        assert_string_equal(dns_type_name(28, buffer), "AAAA");
        assert_string_equal(dns_type_name(5, buffer), "CNAME");
        assert_string_equal(dns_type_name(6, buffer), "SOA");
        assert_string_equal(dns_type_name(12, buffer), "PTR");
        assert_string_equal(dns_type_name(41, buffer), "OPT");
        assert_string_equal(dns_type_name(64, buffer), "SVCB");
        assert_string_equal(dns_type_name(65, buffer), "HTTPS");
        assert_string_equal(dns_type_name(252, buffer), "AXFR");
        assert_string_equal(dns_type_name(255, buffer), "ANY");
        assert_string_equal(dns_class_name(1, buffer), "IN");
        assert_string_equal(dns_class_name(3, buffer), "CH");
        assert_string_equal(dns_rcode_name(0, buffer), "NOERROR");
        assert_string_equal(dns_rcode_name(1, buffer), "FORMERR");
        assert_string_equal(dns_rcode_name(2, buffer), "SERVFAIL");
        assert_string_equal(dns_rcode_name(3, buffer), "NXDOMAIN");
        assert_string_equal(dns_rcode_name(4, buffer), "NOTIMP");
        assert_string_equal(dns_rcode_name(5, buffer), "REFUSED");
        assert_string_equal(dns_rcode_name(16, buffer), "BADVERS");
}

static void numbers_without_a_name_are_written_as_numbers(void **state)
{
        (void)state;
        assert_string_equal(dns_type_name(0, buffer), "TYPE0");
        assert_string_equal(dns_type_name(65280, buffer), "TYPE65280");
        assert_string_equal(dns_class_name(65535, buffer), "CLASS65535");
        assert_string_equal(dns_rcode_name(11, buffer), "RCODE11");
        assert_string_equal(dns_rcode_name(4095, buffer), "RCODE4095");
}

/* A record must say which it was, so no two numbers share a text; and none is cut short. */
static void every_number_has_a_text_of_its_own(void **state)
{
        static char texts[65536][DNS_NAME_TEXT_SIZE];
        unsigned named = 0;

        (void)state;
        for (unsigned i = 0; i < 65536; i++) {
                unsigned number;
                char rest;
                const char *text = dns_type_name((uint16_t)i, buffer);
                assert_in_range(strlen(text), 1, DNS_NAME_TEXT_SIZE - 1);
                snprintf(texts[i], sizeof(texts[i]), "%s", text);
                if (text == buffer) {
                        assert_int_equal(sscanf(text, "TYPE%u%c", &number, &rest), 1);
                        assert_int_equal(number, i);
                        continue;
                }
                named++;
                for (unsigned other = 0; other < i; other++)
                        assert_string_not_equal(texts[other], text);
        }
        assert_in_range(named, 40, 100);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_numbers_that_matter_have_their_names),
                cmocka_unit_test(numbers_without_a_name_are_written_as_numbers),
                cmocka_unit_test(every_number_has_a_text_of_its_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
