#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "dns_builder.h"
#include "guarded.h"
#include "inspect/dns_response.h"
#include "values.h"

#define NAME "wWw.eXample.com"
#define QUESTION_SIZE (sizeof(NAME) + 1 + 4)
#define OPT_SIZE 11

static struct dns_bytes query_message, message, output;
static struct dns_answer answer;

static struct dns_query make_query(unsigned flags, unsigned type, bool has_edns, uint32_t opt_ttl)
{
        struct dns_query query;

        dns_start(&query_message, flags, NAME, type);
        if (has_edns)
                dns_put_opt(&query_message, 1232, opt_ttl, "", 0);
        assert_int_equal(dns_query_parse(query_message.bytes, query_message.length, &query), DNS_QUERY_OK);
        return query;
}

/* What message says becomes the answer. */
static void make_answer(unsigned type)
{
        struct fqdn name = name_of(NAME);

        assert_int_equal(dns_answer_parse(message.bytes, message.length, &name, (uint16_t)type, NULL, NULL, &answer),
                         DNS_ANSWER_OK);
}

static void write_response(const struct dns_query *query, const struct dns_response *response)
{
        output.length = dns_response_write(query, response, output.bytes, sizeof(output.bytes));
        assert_true(output.length > 0);
}

static void assert_output(const struct dns_bytes *expected)
{
        assert_int_equal(output.length, expected->length);
        assert_memory_equal(output.bytes, expected->bytes, expected->length);
}

static void put_answer_with_signatures(void)
{
        dns_start(&message, 0x81a0, NAME, DNS_TYPE_A);
        dns_put_a(&message, "@", 300, 1);
        dns_put_a(&message, "@", 300, 2);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_A, 300);
        dns_put_record(&message, DNS_SECTION_AUTHORITY, "@", DNS_TYPE_NSEC, 300, "\001y\000", 3);
}

static void an_answer_repeats_question_and_flags(void **state)
{
        struct dns_query query =
                make_query(DNS_FLAG_RECURSION_DESIRED | DNS_FLAG_CHECKING_DISABLED, DNS_TYPE_A, false, 0);
        struct dns_response response = { .answer = &answer, .max_size = 512 };

        (void)state;
        put_answer_with_signatures();
        make_answer(DNS_TYPE_A);
        write_response(&query, &response);
        dns_start(&message, 0x8190, NAME, DNS_TYPE_A);
        dns_put_a(&message, "@", 300, 1);
        dns_put_a(&message, "@", 300, 2);
        assert_output(&message);
}

/* RFC 4035 3.2.1, 6840 5.8. */
static void signatures_and_ad_go_to_those_who_ask(void **state)
{
        struct dns_query query = make_query(DNS_FLAG_AUTHENTIC_DATA, DNS_TYPE_A, false, 0);
        struct dns_response response = { .answer = &answer, .max_size = 512 };

        (void)state;
        put_answer_with_signatures();
        make_answer(DNS_TYPE_A);
        write_response(&query, &response);
        assert_int_equal(dns_get_u16(output.bytes + 2), 0x80a0);
        assert_int_equal(dns_get_u16(output.bytes + 6), 2);
        query = make_query(0, DNS_TYPE_A, true, 0x8000);
        write_response(&query, &response);
        put_answer_with_signatures();
        dns_set_u16(&message, 2, 0x80a0);
        dns_put_opt(&message, DNS_MESSAGE_OUR_UDP_SIZE, 0x8000, "", 0);
        assert_output(&message);
        query = make_query(0, DNS_TYPE_A, true, 0);
        write_response(&query, &response);
        assert_int_equal(dns_get_u16(output.bytes + 2), 0x8080);
        assert_int_equal(dns_get_u16(output.bytes + 6), 2);
        assert_int_equal(dns_get_u16(output.bytes + 8), 0);
}

static void ttls_age_down_to_the_least(void **state)
{
        static const struct {
                uint32_t ttl, age, least, expected;
        } cases[] = { { 300, 0, 0, 300 },   { 300, 100, 0, 200 }, { 300, 300, 0, 0 },
                      { 300, 900, 30, 30 }, { 300, 280, 30, 30 }, { 0x7fffffff, UINT32_MAX, 1, 1 } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct dns_query query = make_query(0, DNS_TYPE_A, false, 0);
                struct dns_response response = {
                        .answer = &answer, .age_s = cases[i].age, .min_ttl_s = cases[i].least, .max_size = 512
                };
                dns_start(&message, 0x8180, NAME, DNS_TYPE_A);
                dns_put_a(&message, "@", cases[i].ttl, 1);
                make_answer(DNS_TYPE_A);
                write_response(&query, &response);
                dns_start(&message, 0x8080, NAME, DNS_TYPE_A);
                dns_put_a(&message, "@", cases[i].expected, 1);
                assert_output(&message);
        }
}

/* From nothing to more than enough. */
static void every_size_holds_whole_records_and_opt(void **state)
{
        struct guarded guarded;

        (void)state;
        guarded_open(&guarded, 4096);
        for (unsigned has_edns = 0; has_edns < 2; has_edns++) {
                struct dns_query query = make_query(0, DNS_TYPE_A, has_edns != 0, 0);
                size_t head = DNS_MESSAGE_HEADER_SIZE + QUESTION_SIZE, opt = has_edns ? OPT_SIZE : 0;
                dns_start(&message, 0x8180, NAME, DNS_TYPE_A);
                for (unsigned i = 0; i < 10; i++)
                        dns_put_a(&message, "@", 60, i);
                make_answer(DNS_TYPE_A);
                for (size_t size = 0; size < 300; size++) {
                        struct dns_response response = { .answer = &answer, .max_size = size };
                        size_t fitting = size < head + opt ? 0 : (size - head - opt) / 16;
                        size_t count = fitting < 10 ? fitting : 10;
                        uint8_t *buffer = guarded.end - size;
                        size_t length = dns_response_write(&query, &response, buffer, size);
                        assert_int_equal(length, size < head + opt ? 0 : head + opt + 16 * count);
                        if (length == 0)
                                continue;
                        assert_int_equal(dns_get_u16(buffer + 6), count);
                        assert_int_equal((buffer[2] & 2) != 0, count < 10);
                        assert_int_equal(buffer[11], has_edns);
                }
        }
        guarded_close(&guarded);
}

static void an_extended_error_gives_way_to_records(void **state)
{
        static const char text[] = "blocked by rule \xe2\x82\xac"; /* ends in a euro sign */
        struct dns_query query = make_query(0, DNS_TYPE_A, true, 0);
        size_t records = DNS_MESSAGE_HEADER_SIZE + QUESTION_SIZE + OPT_SIZE + 16;

        (void)state;
        dns_start(&message, 0x8180, NAME, DNS_TYPE_A);
        dns_put_a(&message, "@", 60, 1);
        make_answer(DNS_TYPE_A);
        for (size_t size = records; size < records + 40; size++) {
                struct dns_response response = {
                        .answer = &answer, .has_ede = true, .ede = DNS_EDE_BLOCKED, .ede_text = text, .max_size = size
                };
                size_t room = size - records, kept = room < 6 ? 0 : room - 6;
                kept = kept >= sizeof(text) - 1 ? sizeof(text) - 1 : kept > sizeof(text) - 4 ? sizeof(text) - 4 : kept;
                write_response(&query, &response);
                assert_int_equal(output.bytes[2] & 2, 0);
                dns_start(&message, 0x8080, NAME, DNS_TYPE_A);
                dns_put_a(&message, "@", 60, 1);
                uint8_t option[64] = { 0, 15, 0, (uint8_t)(2 + kept), 0, DNS_EDE_BLOCKED };
                memcpy(option + 6, text, kept);
                dns_put_opt(&message, DNS_MESSAGE_OUR_UDP_SIZE, 0, option, room < 6 ? 0 : 6 + kept);
                assert_output(&message);
        }
}

static void errors_have_their_rcode_also_above_15(void **state)
{
        struct dns_query query = make_query(DNS_FLAG_RECURSION_DESIRED, DNS_TYPE_A, true, 0);
        struct dns_response response = { .rcode = DNS_RCODE_BAD_VERSION, .max_size = 512 };

        (void)state;
        write_response(&query, &response);
        dns_start(&message, 0x8180, NAME, DNS_TYPE_A);
        dns_put_opt(&message, DNS_MESSAGE_OUR_UDP_SIZE, 0x01000000, "", 0);
        assert_output(&message);
        response.rcode = DNS_RCODE_REFUSED;
        write_response(&query, &response);
        assert_int_equal(dns_get_u16(output.bytes + 2), 0x8185);
}

static void a_query_without_a_question_is_answered_without_one(void **state)
{
        struct dns_query query;
        struct dns_response response = { .rcode = DNS_RCODE_NOT_IMPLEMENTED, .has_ede = true, .max_size = 512 };

        (void)state;
        dns_start(&query_message, 0x2900, NAME, DNS_TYPE_SOA); /* UPDATE */
        assert_int_equal(dns_query_parse(query_message.bytes, query_message.length, &query), DNS_QUERY_NOT_IMPLEMENTED);
        write_response(&query, &response);
        assert_int_equal(output.length, DNS_MESSAGE_HEADER_SIZE);
        assert_int_equal(dns_get_u16(output.bytes + 2), 0xa984);
        assert_int_equal(dns_get_u16(output.bytes + 4), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_answer_repeats_question_and_flags),
                cmocka_unit_test(signatures_and_ad_go_to_those_who_ask),
                cmocka_unit_test(ttls_age_down_to_the_least),
                cmocka_unit_test(every_size_holds_whole_records_and_opt),
                cmocka_unit_test(an_extended_error_gives_way_to_records),
                cmocka_unit_test(errors_have_their_rcode_also_above_15),
                cmocka_unit_test(a_query_without_a_question_is_answered_without_one),
        };

        return cmocka_run_group_tests_name("dns_response", tests, NULL, NULL);
}
