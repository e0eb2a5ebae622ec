#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "dns_builder.h"
#include "guarded.h"
#include "inspect/dns_query.h"

#define NAME "wWw.eXample.Com"
#define QUERY_FLAGS 0x0100

static struct dns_bytes message;
static struct dns_query query;

static enum dns_query_result parse(void)
{
        return dns_query_parse(message.bytes, message.length, &query);
}

static void a_plain_query_is_read_and_its_spelling_kept(void **state)
{
        (void)state;
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_AAAA);
        assert_int_equal(parse(), DNS_QUERY_OK);
        assert_string_equal(query.name.text, "www.example.com");
        assert_int_equal(query.id, 0x1234);
        assert_int_equal(query.type, DNS_TYPE_AAAA);
        assert_int_equal(query.class, DNS_CLASS_IN);
        assert_true(query.recursion_desired);
        assert_false(query.checking_disabled || query.authentic_data || query.has_edns || query.dnssec_ok);
        assert_int_equal(query.edns_size, 0);
        assert_int_equal(query.question_length, message.length - DNS_MESSAGE_HEADER_SIZE);
        assert_memory_equal(query.question, message.bytes + DNS_MESSAGE_HEADER_SIZE, query.question_length);
}

static void flags_and_edns_are_read(void **state)
{
        static const struct {
                unsigned size, expected;
        } sizes[] = { { 0, 512 }, { 511, 512 }, { 512, 512 }, { 1232, 1232 }, { 65535, 65535 } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                dns_start(&message, DNS_FLAG_CHECKING_DISABLED | DNS_FLAG_AUTHENTIC_DATA, NAME, DNS_TYPE_A);
                dns_put_opt(&message, sizes[i].size, i % 2 == 0 ? 0x8000 : 0x7fff, "\000\012\000\002ab", 6);
                assert_int_equal(parse(), DNS_QUERY_OK);
                assert_true(query.has_edns && query.checking_disabled && query.authentic_data);
                assert_false(query.recursion_desired);
                assert_int_equal(query.dnssec_ok, i % 2 == 0);
                assert_int_equal(query.edns_size, sizes[i].expected);
        }
}

static void an_edns_version_above_zero_is_told_apart(void **state)
{
        (void)state;
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
        dns_put_opt(&message, 1232, 0x00018000, "", 0);
        assert_int_equal(parse(), DNS_QUERY_BAD_VERSION);
        assert_true(query.has_edns && query.dnssec_ok);
        assert_int_equal(query.question_length, sizeof(NAME) + 1 + 4);
}

static void responses_and_scraps_get_no_answer(void **state)
{
        (void)state;
        dns_start(&message, QUERY_FLAGS | DNS_FLAG_RESPONSE, NAME, DNS_TYPE_A);
        assert_int_equal(parse(), DNS_QUERY_NOT_A_QUERY);
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
        for (message.length = 0; message.length < DNS_MESSAGE_HEADER_SIZE; message.length++)
                assert_int_equal(parse(), DNS_QUERY_NOT_A_QUERY);
}

static void other_opcodes_are_not_implemented_and_echoed(void **state)
{
        (void)state;
        for (unsigned opcode = 1; opcode < 16; opcode++) {
                dns_start(&message, opcode << 11, NAME, DNS_TYPE_A);
                assert_int_equal(parse(), DNS_QUERY_NOT_IMPLEMENTED);
                assert_int_equal(query.opcode, opcode);
                assert_int_equal(query.question_length, 0);
        }
}

static void records_other_than_one_opt_are_bad(void **state)
{
        (void)state;
        for (unsigned section = DNS_SECTION_ANSWER; section <= DNS_SECTION_ADDITIONAL; section += 2)
                for (unsigned type = 1; type < 300; type++) {
                        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
                        dns_put_record(&message, section, "", type, 0, "", 0);
                        bool good = section == DNS_SECTION_ADDITIONAL && type == DNS_TYPE_OPT;
                        assert_int_equal(parse(), good ? DNS_QUERY_OK : DNS_QUERY_BAD);
                }
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
        dns_put_opt(&message, 1232, 0, "", 0);
        dns_put_opt(&message, 1232, 0, "", 0);
        assert_int_equal(parse(), DNS_QUERY_BAD);
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
        dns_put_record(&message, DNS_SECTION_ADDITIONAL, "x", DNS_TYPE_OPT, 0, "", 0);
        assert_int_equal(parse(), DNS_QUERY_BAD);
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
        dns_put_opt(&message, 1232, 0, "\000\012\000\003ab", 6); /* an option longer than OPT */
        assert_int_equal(parse(), DNS_QUERY_BAD);
}

static void not_exactly_one_question_is_bad(void **state)
{
        (void)state;
        for (unsigned count = 0; count < 4; count++) {
                dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
                for (unsigned i = 1; i < count; i++)
                        dns_put(&message, message.bytes + DNS_MESSAGE_HEADER_SIZE, sizeof(NAME) + 1 + 4);
                dns_set_u16(&message, 4, count);
                assert_int_equal(parse(), count == 1 ? DNS_QUERY_OK : DNS_QUERY_BAD);
        }
        dns_start(&message, QUERY_FLAGS | DNS_FLAG_TRUNCATED, NAME, DNS_TYPE_A);
        assert_int_equal(parse(), DNS_QUERY_BAD);
}

/* Even one that leads to something: the header can hold a name. */
static void a_compressed_question_is_bad(void **state)
{
        (void)state;
        dns_start(&message, QUERY_FLAGS, "@", DNS_TYPE_A);
        assert_int_equal(parse(), DNS_QUERY_BAD);
        dns_start(&message, QUERY_FLAGS, "www.@", DNS_TYPE_A);
        message.bytes[17] = 11; /* the low byte of ARCOUNT, a root */
        assert_int_equal(parse(), DNS_QUERY_BAD);
        for (unsigned first = 64; first < 192; first++) { /* RFC 6891 5: extended label types are gone */
                dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
                message.bytes[DNS_MESSAGE_HEADER_SIZE] = (uint8_t)first;
                assert_int_equal(parse(), DNS_QUERY_BAD);
        }
}

static void bytes_that_no_host_name_has_are_a_bad_name(void **state)
{
        (void)state;
        for (unsigned byte = 0; byte < 256; byte++) {
                dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
                message.bytes[DNS_MESSAGE_HEADER_SIZE + 2] = (uint8_t)byte;
                bool good = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                            (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
                assert_int_equal(parse(), good ? DNS_QUERY_OK : DNS_QUERY_BAD_NAME);
                assert_int_equal(query.name.length, good ? sizeof(NAME) - 1 : 0);
                assert_int_equal(query.question_length, sizeof(NAME) + 1 + 4);
        }
        dns_start(&message, QUERY_FLAGS, "", DNS_TYPE_A);
        assert_int_equal(parse(), DNS_QUERY_BAD_NAME);
        assert_int_equal(query.question_length, 5);
}

/* Labels of 1 to 63 bytes until the name is too long. */
static void names_up_to_255_bytes_are_read(void **state)
{
        char text[300];

        (void)state;
        for (size_t label = 1; label <= 63; label++)
                for (size_t length = 1; length < 270; length++) {
                        memset(text, 'a', length);
                        text[length] = '\0';
                        for (size_t i = label; i < length; i += label + 1)
                                text[i] = '.';
                        if (text[length - 1] == '.')
                                continue;
                        dns_start(&message, QUERY_FLAGS, text, DNS_TYPE_A);
                        assert_int_equal(parse(), length <= FQDN_MAX_LENGTH ? DNS_QUERY_OK : DNS_QUERY_BAD);
                        if (length <= FQDN_MAX_LENGTH)
                                assert_string_equal(query.name.text, text);
                }
}

static void no_prefix_of_a_query_is_one_and_nothing_past_it_is_read(void **state)
{
        struct guarded guarded;

        (void)state;
        dns_start(&message, QUERY_FLAGS, NAME, DNS_TYPE_A);
        dns_put_opt(&message, 1232, 0x8000, "\000\012\000\002ab", 6);
        assert_int_equal(parse(), DNS_QUERY_OK);
        guarded_open(&guarded, 4096);
        for (size_t length = 0; length < message.length; length++) {
                const uint8_t *cut = guarded_copy(&guarded, message.bytes, length);
                assert_int_equal(dns_query_parse(cut, length, &query),
                                 length < DNS_MESSAGE_HEADER_SIZE ? DNS_QUERY_NOT_A_QUERY : DNS_QUERY_BAD);
        }
        unsigned outcomes[DNS_QUERY_BAD_NAME + 1] = { 0 };
        for (size_t i = 0; i < message.length; i++)
                for (unsigned value = 0; value < 256; value++) {
                        uint8_t *changed = guarded_copy(&guarded, message.bytes, message.length);
                        changed[i] = (uint8_t)value;
                        outcomes[dns_query_parse(changed, message.length, &query)]++;
                }
        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
                assert_true(outcomes[i] > 0);
        guarded_close(&guarded);
        dns_put_u8(&message, 0);
        assert_int_equal(parse(), DNS_QUERY_BAD);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_plain_query_is_read_and_its_spelling_kept),
                cmocka_unit_test(flags_and_edns_are_read),
                cmocka_unit_test(an_edns_version_above_zero_is_told_apart),
                cmocka_unit_test(responses_and_scraps_get_no_answer),
                cmocka_unit_test(other_opcodes_are_not_implemented_and_echoed),
                cmocka_unit_test(records_other_than_one_opt_are_bad),
                cmocka_unit_test(not_exactly_one_question_is_bad),
                cmocka_unit_test(a_compressed_question_is_bad),
                cmocka_unit_test(bytes_that_no_host_name_has_are_a_bad_name),
                cmocka_unit_test(names_up_to_255_bytes_are_read),
                cmocka_unit_test(no_prefix_of_a_query_is_one_and_nothing_past_it_is_read),
        };

        return cmocka_run_group_tests_name("dns_query", tests, NULL, NULL);
}
