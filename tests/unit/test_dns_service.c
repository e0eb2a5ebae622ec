#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "guarded.h"
#include "inspect/dns_service.h"

/* A parameter, and whether it may be alone in a record. Priority 1 and target "." go before. */
struct parameter {
        const char *what;
        uint8_t bytes[64];
        size_t length;
        enum dns_service_result result;
};

#define PARAMETER(what, text, result)                                                                                  \
        {                                                                                                              \
                what, text, sizeof(text) - 1, result                                                                   \
        }
#define ALPN "\000\001\000\003\002h2"
#define HINTS "\000\004\000\010\012\000\000\001\012\000\000\002"
#define ECH "\000\005\000\002xy"
#define HINT6_ODD "\000\006\000\020\377\000\000\000\000\000\000\000\000\000\000\000\000\000\000\001"
#define OWN "\377\000\000\001z"

static uint8_t input[256], output[256];
static size_t input_length;

static bool even(const struct net_address *address, void *context)
{
        (void)context;
        return address->bytes[address->family == AF_INET ? 3 : 15] % 2 == 0;
}

static void put(const char *bytes, size_t length)
{
        memcpy(input + input_length, bytes, length);
        input_length += length;
}

static void start(void)
{
        input_length = 0;
        put("\000\001\000", 3);
}

static enum dns_service_result filter(dns_address_fn permits, size_t *ret_length)
{
        struct byte_builder builder = byte_builder_on(output, sizeof(output));
        enum dns_service_result result =
                dns_service_write(byte_cursor_from(input, input_length), permits, NULL, &builder);

        *ret_length = builder.length;
        return result;
}

static void assert_filtered(enum dns_service_result expected_result, const char *expected, size_t expected_length)
{
        size_t length;

        assert_int_equal(filter(even, &length), expected_result);
        assert_int_equal(length, 3 + expected_length);
        assert_memory_equal(output + 3, expected, expected_length);
}

#define PUT(text) put(text, sizeof(text) - 1)
#define ASSERT_FILTERED(result, text) assert_filtered(result, text, sizeof(text) - 1)

static void values_are_checked(void **state)
{
        static const struct parameter parameters[] = {
                PARAMETER("mandatory, empty", "\000\000\000\000", DNS_SERVICE_BAD),
                PARAMETER("mandatory, half a key", "\000\000\000\001\000", DNS_SERVICE_BAD),
                PARAMETER("mandatory, itself", "\000\000\000\002\000\000", DNS_SERVICE_BAD),
                PARAMETER("mandatory, not there", "\000\000\000\002\000\003", DNS_SERVICE_BAD),
                PARAMETER("mandatory, twice", "\000\000\000\004\000\003\000\003\000\003\000\002\001\273",
                          DNS_SERVICE_BAD),
                PARAMETER("mandatory", "\000\000\000\002\000\003\000\003\000\002\001\273", DNS_SERVICE_OK),
                PARAMETER("alpn", ALPN, DNS_SERVICE_OK),
                PARAMETER("alpn, none", "\000\001\000\000", DNS_SERVICE_BAD),
                PARAMETER("alpn, empty", "\000\001\000\001\000", DNS_SERVICE_BAD),
                PARAMETER("alpn, cut", "\000\001\000\002\002h", DNS_SERVICE_BAD),
                PARAMETER("no-default-alpn alone", "\000\002\000\000", DNS_SERVICE_BAD),
                PARAMETER("no-default-alpn", ALPN "\000\002\000\000", DNS_SERVICE_OK),
                PARAMETER("no-default-alpn with a value", ALPN "\000\002\000\001x", DNS_SERVICE_BAD),
                PARAMETER("port", "\000\003\000\002\001\273", DNS_SERVICE_OK),
                PARAMETER("port of one byte", "\000\003\000\001\001", DNS_SERVICE_BAD),
                PARAMETER("ipv4hint, none", "\000\004\000\000", DNS_SERVICE_BAD),
                PARAMETER("ipv4hint, cut", "\000\004\000\005\012\000\000\002\012", DNS_SERVICE_BAD),
                PARAMETER("ipv6hint, cut", "\000\006\000\004\012\000\000\002", DNS_SERVICE_BAD),
                PARAMETER("of its own kind", OWN, DNS_SERVICE_OK),
                PARAMETER("falling keys", "\000\003\000\002\001\273" ALPN, DNS_SERVICE_BAD),
                PARAMETER("the same key twice", ALPN ALPN, DNS_SERVICE_BAD),
        };
        size_t length;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
                start();
                memcpy(input + input_length, parameters[i].bytes, parameters[i].length);
                input_length += parameters[i].length;
                enum dns_service_result result = filter(even, &length);
                if (result != parameters[i].result)
                        fail_msg("%s: %d", parameters[i].what, result);
                if (result == DNS_SERVICE_OK)
                        assert_filtered(result, (const char *)parameters[i].bytes, parameters[i].length);
        }
}

static void ech_and_refused_hints_are_left_out(void **state)
{
        (void)state;
        start();
        PUT(ALPN HINTS ECH HINT6_ODD OWN);
        ASSERT_FILTERED(DNS_SERVICE_CHANGED, ALPN "\000\004\000\004\012\000\000\002" OWN);
        start();
        PUT(ECH);
        ASSERT_FILTERED(DNS_SERVICE_CHANGED, "");
        start();
        PUT("\000\004\000\004\012\000\000\002");
        ASSERT_FILTERED(DNS_SERVICE_OK, "\000\004\000\004\012\000\000\002");
}

static void a_record_that_demands_what_is_left_out_is_unusable(void **state)
{
        size_t length;

        (void)state;
        start();
        PUT("\000\000\000\002\000\005" ECH);
        assert_int_equal(filter(NULL, &length), DNS_SERVICE_UNUSABLE);
        start();
        PUT("\000\000\000\002\000\006" ALPN HINT6_ODD);
        assert_int_equal(filter(even, &length), DNS_SERVICE_UNUSABLE);
        start();
        PUT("\000\000\000\004\000\001\000\004" ALPN HINTS ECH); /* one address of the hint stays */
        assert_int_equal(filter(even, &length), DNS_SERVICE_CHANGED);
}

/* RFC 9460 2.4.2. */
static void an_alias_has_no_parameters(void **state)
{
        size_t length;

        (void)state;
        input_length = 0;
        PUT("\000\000\001a\000");
        assert_int_equal(filter(even, &length), DNS_SERVICE_OK);
        PUT(ECH);
        assert_int_equal(filter(even, &length), DNS_SERVICE_CHANGED);
        assert_int_equal(length, 5);
}

/* RFC 9460 2.2: a target may not be compressed. */
static void a_compressed_target_is_bad(void **state)
{
        size_t length;

        (void)state;
        input_length = 0;
        PUT("\000\001\300\014");
        assert_int_equal(filter(even, &length), DNS_SERVICE_BAD);
}

/* Only where a parameter ends may a prefix pass, and with none that is mandatory missing. */
static void prefixes_are_bad_but_between_parameters(void **state)
{
        static const size_t ends[] = { 3 + 8 + 7, 3 + 8 + 7 + 12, 3 + 8 + 7 + 12 + 6, 3 + 8 + 7 + 12 + 6 + 20 };
        struct guarded guarded;

        (void)state;
        start();
        PUT("\000\000\000\004\000\001\000\004" ALPN HINTS ECH HINT6_ODD);
        guarded_open(&guarded, 4096);
        for (size_t length = 0; length <= input_length; length++) {
                const uint8_t *cut = guarded_copy(&guarded, input, length);
                struct byte_builder builder = byte_builder_on(output, sizeof(output));
                bool good = length == ends[1] || length == ends[2] || length == ends[3] || length == 3;
                enum dns_service_result result = dns_service_write(byte_cursor_from(cut, length), even, NULL, &builder);
                assert_int_equal(result != DNS_SERVICE_BAD, good);
        }
        guarded_close(&guarded);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(values_are_checked),
                cmocka_unit_test(ech_and_refused_hints_are_left_out),
                cmocka_unit_test(a_record_that_demands_what_is_left_out_is_unusable),
                cmocka_unit_test(an_alias_has_no_parameters),
                cmocka_unit_test(a_compressed_target_is_bad),
                cmocka_unit_test(prefixes_are_bad_but_between_parameters),
        };

        return cmocka_run_group_tests_name("dns_service", tests, NULL, NULL);
}
