#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "guarded.h"
#include "net/negative_ttl.h"

/* NXDOMAIN for nowhere.example: one question, one SOA of example, TTL 60, minimum 7, with compressed names. */
static const uint8_t name_error[] = {
        0x12, 0x34, 0x81, 0x83, 0,   1,   0,   0,   0,   1,   0,   0, /* header */
        7,    'n',  'o',  'w',  'h', 'e', 'r', 'e', 7,   'e', 'x', 'a',  'm', 'p', 'l', 'e', 0, 0,
        1,    0,    1,                                                                /* question */
        0xc0, 20,   0,    6,    0,   1,   0,   0,   0,   60,  0,   33,                /* SOA */
        2,    'n',  's',  0xc0, 20,  5,   'a', 'd', 'm', 'i', 'n', 0xc0, 20,  0,   0, /* names, serial, … */
        0,    1,    0,    0,    14,  16,  0,   0,   2,   88,  0,   1,    81,  128, 0,   0,   0, 7,
};

/* The same after a CNAME in the answer, TTL 3, minimum 900, and an NS record before the SOA. */
static const uint8_t no_data[] = {
        0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0,  2,  0,  0,                /* header */
        1,    'a',  0,    0,    1, 0, 1,                                  /* question */
        0xc0, 12,   0,    5,    0, 1, 0, 0, 0,  60, 0,  3,    1,  'b', 0, /* CNAME */
        0,    0,    2,    0,    1, 0, 0, 0, 60, 0,  2,  0xc0, 12,         /* NS */
        0,    0,    6,    0,    1, 0, 0, 0, 3,  0,  22, 0,    0,  0,   0, 0,   1,
        0,    0,    0,    1,    0, 0, 0, 1, 0,  0,  0,  1,    0,  0,   3, 132, /* SOA */
};

static const struct {
        const uint8_t *message;
        size_t length;
        uint32_t ttl_s;
} messages[] = { { name_error, sizeof(name_error), 7 }, { no_data, sizeof(no_data), 3 } };

static void the_lesser_of_ttl_and_minimum_counts(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
                uint32_t ttl_s = UINT32_MAX;
                assert_int_equal(negative_ttl_parse(messages[i].message, messages[i].length, &ttl_s), NEGATIVE_TTL_OK);
                assert_int_equal(ttl_s, messages[i].ttl_s);
        }
}

static void every_prefix_is_malformed_and_nothing_past_it_is_read(void **state)
{
        struct guarded guarded;
        uint32_t ttl_s = 12345;

        (void)state;
        guarded_open(&guarded, 4096);
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
                for (size_t length = 0; length < messages[i].length; length++) {
                        const uint8_t *cut = guarded_copy(&guarded, messages[i].message, length);
                        assert_int_equal(negative_ttl_parse(cut, length, &ttl_s), NEGATIVE_TTL_MALFORMED);
                        assert_int_equal(ttl_s, 12345);
                }
        guarded_close(&guarded);
}

static void no_changed_byte_leads_past_the_end(void **state)
{
        uint8_t changed[sizeof(name_error)];
        struct guarded guarded;
        uint32_t ttl_s;
        unsigned outcomes[3] = { 0 };

        (void)state;
        guarded_open(&guarded, 4096);
        for (size_t i = 0; i < sizeof(name_error); i++)
                for (unsigned value = 0; value < 256; value++) {
                        memcpy(changed, name_error, sizeof(changed));
                        changed[i] = (uint8_t)value;
                        const uint8_t *copy = guarded_copy(&guarded, changed, sizeof(changed));
                        outcomes[negative_ttl_parse(copy, sizeof(changed), &ttl_s)]++;
                }
        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
                assert_true(outcomes[i] > 0);
        guarded_close(&guarded);
}

static void without_soa_it_is_absent(void **state)
{
        uint8_t message[sizeof(name_error)];
        uint32_t ttl_s;

        (void)state;
        memcpy(message, name_error, sizeof(message));
        message[9] = 0; /* no authority records */
        assert_int_equal(negative_ttl_parse(message, sizeof(message), &ttl_s), NEGATIVE_TTL_ABSENT);
        message[9] = 1;
        message[36] = 2; /* an NS record */
        assert_int_equal(negative_ttl_parse(message, sizeof(message), &ttl_s), NEGATIVE_TTL_ABSENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_lesser_of_ttl_and_minimum_counts),
                cmocka_unit_test(every_prefix_is_malformed_and_nothing_past_it_is_read),
                cmocka_unit_test(no_changed_byte_leads_past_the_end),
                cmocka_unit_test(without_soa_it_is_absent),
        };

        return cmocka_run_group_tests_name("negative_ttl", tests, NULL, NULL);
}
