#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/destination.h"

/* From a block of just the text's size: the address sanitizer sees one byte too far. */
static int parse(const char *text, struct destination *ret, struct rule_error *error)
{
        size_t length = strlen(text);
        char *bytes = malloc(length + (length == 0));

        assert_non_null(bytes);
        memcpy(bytes, text, length);
        memset(error, 0, sizeof(*error));
        int r = destination_parse(bytes, length, ret, error);
        free(bytes);
        return r;
}

static void assert_name(const char *text, const char *canonical)
{
        struct destination destination;
        struct rule_error error;

        assert_int_equal(parse(text, &destination, &error), 0);
        assert_int_equal(destination.kind, DESTINATION_NAME);
        assert_string_equal(destination.text, canonical);
        assert_int_equal(destination.length, strlen(canonical));
}

/* The sentence must hold the words. */
static void assert_bad(const char *text, size_t offset, const char *words)
{
        struct destination destination;
        struct rule_error error;

        assert_int_equal(parse(text, &destination, &error), -EINVAL);
        if (strstr(error.text, words) == NULL)
                fail_msg("'%s': '%s' does not say '%s'", text, error.text, words);
        assert_int_equal(error.offset, offset);
}

static void names_become_canonical(void **state)
{
        (void)state;
        assert_name("example.com", "example.com");
        assert_name("EXAMPLE.Com.", "example.com");
        assert_name("*.example.com", "*.example.com");
        assert_name("api.*.Example.com", "api.*.example.com");
        assert_name("*.*.example.com", "*.*.example.com");
        assert_name("*.com", "*.com");
        assert_name("localhost", "localhost");
}

static void a_star_inside_a_label_is_refused_with_the_reason(void **state)
{
        (void)state;
        assert_bad("*foo.com", 0, "evilfoo.com");
        assert_bad("md-*.blob.core.windows.net", 3, "inside a label");
        assert_bad("a.*b.com", 2, "inside a label");
        assert_bad("**.com", 0, "inside a label");
}

static void a_star_alone_or_at_the_end_is_refused(void **state)
{
        (void)state;
        assert_bad("*", 0, "every name");
        assert_bad("*.", 0, "every name");
        assert_bad("example.*.", 8, "last label");
        assert_bad("*..", 2, "empty label");
        assert_bad("example.*", 8, "last label");
        assert_bad("*.*", 2, "last label");
}

static void an_address_as_a_name_is_told_how_to_be_written(void **state)
{
        (void)state;
        assert_bad("1.2.3.4", 0, "tcp [1.2.3.4]:PORT");
        assert_bad("10.0.0.0/8", 0, "tcp [10.0.0.0/8]:PORT");
        assert_bad("10.0.0.1/8", 0, "is an address");
        assert_bad("2001:db8::1", 0, "tcp [2001:db8::1]:PORT");
        assert_bad("0x7f.1", 0, "not a domain name");
        assert_bad("2130706433", 0, "not a domain name");
}

static void what_is_no_name_is_refused(void **state)
{
        char long_name[300];

        (void)state;
        assert_bad("", 0, "no destination");
        assert_bad("a..b.com", 2, "empty label");
        assert_bad(".example.com", 0, "empty label");
        assert_bad("ex ample.com", 0, "not a domain name");
        assert_bad("ex\xc3\xa4mple.com", 0, "not a domain name");
        assert_bad("example.com/path", 0, "not a domain name");
        memset(long_name, 'a', sizeof(long_name));
        for (size_t i = 50; i < sizeof(long_name); i += 50)
                long_name[i] = '.';
        long_name[sizeof(long_name) - 1] = '\0';
        assert_bad(long_name, 0, "253");
}

static void prefixes_of_both_families_are_read(void **state)
{
        struct destination destination;
        struct rule_error error;

        (void)state;
        assert_int_equal(parse("[203.0.113.0/24,2001:db8::/32,198.51.100.7]", &destination, &error), 0);
        assert_int_equal(destination.kind, DESTINATION_PREFIXES);
        assert_int_equal(destination.prefix_count, 3);
        assert_int_equal(destination.prefixes[0].length, 24);
        assert_int_equal(destination.prefixes[1].address.family, AF_INET6);
        assert_int_equal(destination.prefixes[2].length, 32);
}

static void bad_prefixes_are_refused_where_they_stand(void **state)
{
        (void)state;
        assert_bad("[]", 1, "not a prefix");
        assert_bad("[1.2.3.4,]", 9, "not a prefix");
        assert_bad("[1.2.3.4,x]", 9, "not a prefix");
        assert_bad("[10.0.0.1/8]", 1, "bits set");
        assert_bad("[10.0.0.0/33]", 1, "not a prefix");
        assert_bad("[", 1, "]");
        assert_bad("[1.2.3.4", 8, "]");
}

static void the_number_of_prefixes_is_bounded(void **state)
{
        char text[DESTINATION_MAX_PREFIXES * 8 + 16] = "[1.1.1.1";
        struct destination destination;
        struct rule_error error;

        (void)state;
        for (size_t i = 1; i < DESTINATION_MAX_PREFIXES; i++)
                strcat(text, ",1.1.1.1");
        size_t length = strlen(text);
        strcpy(text + length, "]");
        assert_int_equal(parse(text, &destination, &error), 0);
        assert_int_equal(destination.prefix_count, DESTINATION_MAX_PREFIXES);
        strcpy(text + length, ",::]");
        assert_int_equal(parse(text, &destination, &error), -EINVAL);
        assert_non_null(strstr(error.text, "second rule"));
}

static void tags_are_read(void **state)
{
        struct destination destination;
        struct rule_error error;

        (void)state;
        assert_int_equal(parse("tag:AzureCloud.westeurope", &destination, &error), 0);
        assert_int_equal(destination.kind, DESTINATION_TAG);
        assert_string_equal(destination.text, "AzureCloud.westeurope");
        assert_bad("tag:", 4, "no service tag");
        assert_bad("tag:a b", 5, "not a service tag");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_become_canonical),
                cmocka_unit_test(a_star_inside_a_label_is_refused_with_the_reason),
                cmocka_unit_test(a_star_alone_or_at_the_end_is_refused),
                cmocka_unit_test(an_address_as_a_name_is_told_how_to_be_written),
                cmocka_unit_test(what_is_no_name_is_refused),
                cmocka_unit_test(prefixes_of_both_families_are_read),
                cmocka_unit_test(bad_prefixes_are_refused_where_they_stand),
                cmocka_unit_test(the_number_of_prefixes_is_bounded),
                cmocka_unit_test(tags_are_read),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
