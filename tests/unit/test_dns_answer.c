#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "dns_builder.h"
#include "guarded.h"
#include "inspect/dns_answer.h"
#include "inspect/dns_response.h"
#include "values.h"

#define NAME "www.example.com"
#define RESPONSE_FLAGS 0x8180

static struct dns_bytes message, response;
static struct dns_answer answer, second;

static bool no_odd_address(const struct net_address *address, void *context)
{
        unsigned *asked = context;

        if (asked != NULL)
                (*asked)++;
        return address->bytes[address->family == AF_INET ? 3 : 15] % 2 == 0;
}

static bool nothing(const struct net_address *address, void *context)
{
        (void)address;
        (void)context;
        return false;
}

static enum dns_answer_result parse(unsigned type, dns_address_fn permits)
{
        struct fqdn name = name_of(NAME);

        return dns_answer_parse(message.bytes, message.length, &name, (uint16_t)type, permits, NULL, &answer);
}

/* The body is the bytes of these records, which are put behind a message's question. */
static void assert_body(const struct dns_bytes *expected)
{
        size_t body = DNS_MESSAGE_HEADER_SIZE + sizeof(NAME) + 1 + 4;

        assert_int_equal(answer.answer_count, dns_get_u16(expected->bytes + 6));
        assert_int_equal(answer.authority_count, dns_get_u16(expected->bytes + 8));
        assert_int_equal(answer.body_length, expected->length - body);
        assert_memory_equal(answer.body, expected->bytes + body, answer.body_length);
}

static void addresses_of_the_name_are_kept_and_all_else_goes(void **state)
{
        struct dns_bytes *expected = &response;

        (void)state;
        dns_start(&message, RESPONSE_FLAGS, "wWw.eXample.COM", DNS_TYPE_A);
        dns_put_a(&message, "other.example", 1, 1);
        dns_put_a(&message, "www.EXAMPLE.com", 300, 2);
        dns_put_record(&message, DNS_SECTION_ANSWER, "@", 16, 1, "\003txt", 4);
        dns_put_a(&message, "@", 200, 4);
        dns_put_soa(&message, "@+4", 1, 1);
        dns_put_record(&message, DNS_SECTION_ADDITIONAL, "@", DNS_TYPE_A, 1, "\001\002\003\004", 4);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        dns_start(expected, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_a(expected, "@", 300, 2);
        dns_put_a(expected, "@", 200, 4);
        assert_body(expected);
        assert_int_equal(answer.ttl_s, 200);
        assert_int_equal(answer.rcode, DNS_RCODE_NO_ERROR);
        assert_int_equal(answer.address_count, 2);
        assert_int_equal(answer.addresses[1].bytes[3], 4);
}

static void addresses_that_are_refused_are_left_out_with_their_signature(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS | DNS_FLAG_AUTHENTIC_DATA, NAME, DNS_TYPE_A);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_A, 60);
        dns_put_a(&message, "@", 60, 1);
        dns_put_a(&message, "@", 60, 2);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, 3);
        assert_true(answer.authentic);
        assert_int_equal(parse(DNS_TYPE_A, no_odd_address), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, 1);
        assert_int_equal(answer.address_count, 1);
        assert_false(answer.authentic);
        assert_int_equal(parse(DNS_TYPE_A, nothing), DNS_ANSWER_FORBIDDEN);
}

/* What is left of a whole answer is what had been left of the server's, had it been judged at once. */
static void an_answer_filtered_later_is_the_one_filtered_at_once(void **state)
{
        static const dns_address_fn judges[] = { NULL, no_odd_address, nothing };
        struct fqdn name = name_of(NAME);

        (void)state;
        dns_start(&message, RESPONSE_FLAGS | DNS_FLAG_AUTHENTIC_DATA, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "edge.example.net");
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "edge.example.net", DNS_TYPE_A, 60);
        for (unsigned i = 1; i <= 5; i++)
                dns_put_a(&message, "edge.example.net", 60 + i, i);
        for (size_t i = 0; i < ARRAY_SIZE(judges); i++) {
                assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
                enum dns_answer_result later = dns_answer_filter(&answer, &name, DNS_TYPE_A, judges[i], NULL, &second);
                assert_int_equal(parse(DNS_TYPE_A, judges[i]), later);
                assert_int_equal(later, judges[i] == nothing ? DNS_ANSWER_FORBIDDEN : DNS_ANSWER_OK);
                if (later != DNS_ANSWER_OK)
                        continue;
                assert_int_equal(second.answer_count, judges[i] == NULL ? 7 : 3);
                assert_int_equal(second.answer_count, answer.answer_count);
                assert_int_equal(second.address_count, answer.address_count);
                assert_int_equal(second.authentic, judges[i] == NULL);
                assert_int_equal(second.ttl_s, answer.ttl_s);
                assert_int_equal(second.body_length, answer.body_length);
                assert_memory_equal(second.body, answer.body, answer.body_length);
        }
}

/* Backwards, with a record of another name at each link; the deepest chain that is followed. */
static void a_chain_is_followed_in_any_order_up_to_its_limit(void **state)
{
        char owner[32], target[32];

        (void)state;
        for (unsigned links = 1; links <= DNS_ANSWER_MAX_CHAIN + 1; links++) {
                dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
                (void)snprintf(target, sizeof(target), "c%u.example", links);
                dns_put_a(&message, target, 500, 7);
                for (unsigned i = links; i > 0; i--) {
                        (void)snprintf(owner, sizeof(owner), "c%u.EXAMPLE", i - 1);
                        (void)snprintf(target, sizeof(target), "c%u.example", i);
                        dns_put_alias(&message, i == 1 ? "@" : owner, DNS_TYPE_CNAME, 100 + i, target);
                }
                bool follows = links <= DNS_ANSWER_MAX_CHAIN;
                assert_int_equal(parse(DNS_TYPE_A, NULL), follows ? DNS_ANSWER_OK : DNS_ANSWER_BAD);
                if (!follows)
                        continue;
                assert_int_equal(answer.answer_count, links + 1);
                assert_int_equal(answer.address_count, 1);
                assert_int_equal(answer.ttl_s, 101);
        }
}

static void owners_in_a_chain_point_to_the_target_before(void **state)
{
        struct dns_bytes *expected = &response;

        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_a(&message, "edge.example.net", 30, 8);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "edge.example.net");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        dns_start(expected, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(expected, "@", DNS_TYPE_CNAME, 60, "edge.example.net");
        char target[16];
        (void)snprintf(target, sizeof(target), "@%zu", expected->length - 18 - DNS_MESSAGE_HEADER_SIZE);
        dns_put_a(expected, target, 30, 8);
        assert_body(expected);
}

static void a_loop_and_two_aliases_of_one_name_are_bad(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "b.example");
        dns_put_alias(&message, "b.example", DNS_TYPE_CNAME, 60, "@");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "b.example");
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 50, "B.example");
        dns_put_a(&message, "b.example", 55, 2);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, 2);
        assert_int_equal(answer.ttl_s, 50);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "c.example");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
}

static void the_alias_itself_can_be_asked_for(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_CNAME);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "b.example");
        dns_put_alias(&message, "b.example", DNS_TYPE_CNAME, 60, "c.example");
        assert_int_equal(parse(DNS_TYPE_CNAME, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, 1);
}

/* RFC 6672: with its CNAME, without it, and with one that says something else. */
static void a_dname_leads_on_with_and_without_its_cname(void **state)
{
        (void)state;
        for (unsigned with_cname = 0; with_cname < 2; with_cname++) {
                dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
                dns_put_a(&message, "www.example.net", 30, 2);
                if (with_cname)
                        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "www.example.net");
                dns_put_alias(&message, "@+4", DNS_TYPE_DNAME, 60, "example.net");
                dns_put_rrsig(&message, DNS_SECTION_ANSWER, "example.com", DNS_TYPE_DNAME, 60);
                assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
                struct dns_bytes *expected = &response;
                dns_start(expected, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
                dns_put_alias(expected, "@+4", DNS_TYPE_DNAME, 60, "example.net");
                dns_put_alias(expected, "@", DNS_TYPE_CNAME, 60, "www.example.net");
                char target[16];
                (void)snprintf(target, sizeof(target), "@%zu", expected->length - 17 - DNS_MESSAGE_HEADER_SIZE);
                dns_put_a(expected, target, 30, 2);
                dns_put_rrsig(expected, DNS_SECTION_ANSWER, "@+4", DNS_TYPE_DNAME, 60);
                assert_body(expected);
        }
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "www.example.org");
        dns_put_alias(&message, "@+4", DNS_TYPE_DNAME, 60, "example.net");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
}

/* example.com -> a.example.com for ever: the name grows until the limit of steps. */
static void a_dname_that_leads_below_itself_ends(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@+4", DNS_TYPE_DNAME, 60, "a.example.com");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
}

static void a_denial_lasts_as_long_as_its_soa_says(void **state)
{
        static const struct {
                uint32_t ttl, minimum, expected;
        } cases[] = { { 60, 7, 7 }, { 3, 900, 3 }, { 0x80000000, 900, 0 }, { 60, UINT32_MAX, 60 } };

        (void)state;
        for (unsigned rcode = 0; rcode <= DNS_RCODE_NAME_ERROR; rcode += DNS_RCODE_NAME_ERROR)
                for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                        dns_start(&message, RESPONSE_FLAGS | rcode, NAME, DNS_TYPE_A);
                        dns_put_soa(&message, "@+4", cases[i].ttl, cases[i].minimum);
                        dns_put_record(&message, DNS_SECTION_AUTHORITY, "@", DNS_TYPE_NS, 1, "\001n", 3);
                        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
                        assert_int_equal(answer.rcode, rcode);
                        assert_int_equal(answer.ttl_s, cases[i].expected);
                        assert_int_equal(answer.answer_count, 0);
                        assert_int_equal(answer.authority_count, 1);
                }
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "b.example");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.ttl_s, 0);
}

static void a_ttl_is_a_day_at_most_and_zero_with_the_upper_bit(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_a(&message, "@", 0x7fffffff, 2);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.ttl_s, DNS_MESSAGE_MAX_TTL_S);
        dns_put_a(&message, "@", DNS_MESSAGE_MAX_TTL_S - 1, 6);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.ttl_s, DNS_MESSAGE_MAX_TTL_S - 1);
        dns_put_a(&message, "@", 0x80000000, 4);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.ttl_s, 0);
}

static void duplicates_are_one_record_with_the_lesser_ttl(void **state)
{
        struct dns_bytes *expected = &response;

        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_a(&message, "@", 300, 2);
        dns_put_a(&message, "@", 200, 4);
        dns_put_a(&message, NAME, 100, 2);
        dns_put_a(&message, "@", 900, 4);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        dns_start(expected, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_a(expected, "@", 100, 2);
        dns_put_a(expected, "@", 200, 4);
        assert_body(expected);
        assert_int_equal(answer.address_count, 2);
        assert_int_equal(answer.ttl_s, 100);
}

static void addresses_past_the_limit_are_left_out(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_A, 60);
        for (unsigned i = 0; i <= DNS_ANSWER_MAX_ADDRESSES; i++)
                dns_put_a(&message, "@", 60, i);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.address_count, DNS_ANSWER_MAX_ADDRESSES);
        assert_int_equal(answer.answer_count, DNS_ANSWER_MAX_ADDRESSES);
}

static void too_many_records_and_too_much_data_are_bad(void **state)
{
        static uint8_t data[9000];

        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, 16);
        for (unsigned i = 0; i < DNS_ANSWER_MAX_RECORDS; i++)
                dns_put_record(&message, DNS_SECTION_ANSWER, "@", 16, 60, &i, sizeof(i));
        assert_int_equal(parse(16, NULL), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, DNS_ANSWER_MAX_RECORDS);
        dns_put_record(&message, DNS_SECTION_AUTHORITY, "@", 16, 60, "", 0);
        assert_int_equal(parse(16, NULL), DNS_ANSWER_BAD);
        for (uint8_t count = 1; count <= 2; count++) {
                dns_start(&message, RESPONSE_FLAGS, NAME, 65280);
                for (uint8_t i = 0; i < count; i++) {
                        data[0] = i;
                        dns_put_record(&message, DNS_SECTION_ANSWER, "@", 65280, 60, data, sizeof(data));
                }
                assert_int_equal(parse(65280, NULL), count == 1 ? DNS_ANSWER_OK : DNS_ANSWER_BAD);
        }
}

static void another_question_is_no_answer(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, "www.example.org", DNS_TYPE_A);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_AAAA);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
        dns_start(&message, 0x0100, NAME, DNS_TYPE_A);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_set_u16(&message, message.length - 2, 3);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
}

static void failures_and_truncation_are_told_apart(void **state)
{
        (void)state;
        for (unsigned rcode = 1; rcode < 16; rcode++) {
                dns_start(&message, RESPONSE_FLAGS | rcode, NAME, DNS_TYPE_A);
                assert_int_equal(parse(DNS_TYPE_A, NULL),
                                 rcode == DNS_RCODE_NAME_ERROR ? DNS_ANSWER_OK : DNS_ANSWER_FAILED);
        }
        dns_start(&message, RESPONSE_FLAGS | DNS_RCODE_FORMAT_ERROR, NAME, DNS_TYPE_A);
        message.length = DNS_MESSAGE_HEADER_SIZE;
        message.bytes[5] = 0;
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_FAILED);
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_a(&message, "@", 60, 2);
        dns_put_opt(&message, 1232, 0x01000000, "", 0); /* BADVERS */
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_FAILED);
        dns_start(&message, RESPONSE_FLAGS | DNS_FLAG_TRUNCATED, NAME, DNS_TYPE_A);
        message.bytes[7] = 9; /* answers that are not there */
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_TRUNCATED);
}

static void put_example(void)
{
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "edge.@");
        dns_put_a(&message, "edge.@", 30, 2);
        dns_put_a(&message, "edge.@", 30, 4);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "edge.@", DNS_TYPE_A, 30);
        dns_put_record(&message, DNS_SECTION_AUTHORITY, "x.@+4", DNS_TYPE_NSEC, 20, "\001y\000\000\001\002", 6);
        dns_put_opt(&message, 1232, 0x8000, "", 0);
}

static void put_service(const void *parameters, size_t length)
{
        size_t data = dns_begin_record(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_HTTPS, 60);

        dns_put(&message, "\000\001\000", 3);
        dns_put(&message, parameters, length);
        dns_end_record(&message, data);
}

/* The unusable record's TTL counts: with it, there was something to say. */
static void service_records_lose_ech_hints_and_signature(void **state)
{
        static const char parameters[] = "\000\004\000\010\012\000\000\001\012\000\000\002\000\005\000\002xy";
        static const char demands_ech[] = "\000\000\000\002\000\005\000\005\000\002xy";
        struct dns_bytes *expected = &response;

        (void)state;
        dns_start(&message, RESPONSE_FLAGS | DNS_FLAG_AUTHENTIC_DATA, NAME, DNS_TYPE_HTTPS);
        put_service(parameters, sizeof(parameters) - 1);
        put_service(demands_ech, sizeof(demands_ech) - 1);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_HTTPS, 60);
        assert_int_equal(parse(DNS_TYPE_HTTPS, no_odd_address), DNS_ANSWER_OK);
        assert_false(answer.authentic);
        dns_start(expected, RESPONSE_FLAGS, NAME, DNS_TYPE_HTTPS);
        dns_put_record(expected, DNS_SECTION_ANSWER, "@", DNS_TYPE_HTTPS, 60,
                       "\000\001\000\000\004\000\004\012\000\000\002", 11);
        assert_body(expected);
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_HTTPS);
        put_service(demands_ech, sizeof(demands_ech) - 1);
        assert_int_equal(parse(DNS_TYPE_HTTPS, no_odd_address), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, 0);
        assert_int_equal(answer.ttl_s, 60);
        dns_put_record(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_HTTPS, 60, "\000\001", 2);
        assert_int_equal(parse(DNS_TYPE_HTTPS, no_odd_address), DNS_ANSWER_BAD);
}

/* Also what was not asked for by its own type is filtered. */
static void any_means_the_name_itself_filtered(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS, NAME, DNS_TYPE_ANY);
        dns_put_a(&message, "@", 60, 1);
        dns_put_a(&message, "@", 60, 2);
        dns_put_a(&message, "other.example", 60, 2);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "@", DNS_TYPE_A, 60);
        dns_put_record(&message, DNS_SECTION_ANSWER, "@", 16, 60, "\001x", 2);
        dns_put_rrsig(&message, DNS_SECTION_ANSWER, "@", 16, 60);
        assert_int_equal(parse(DNS_TYPE_ANY, no_odd_address), DNS_ANSWER_OK);
        assert_int_equal(answer.answer_count, 3);
        assert_int_equal(answer.address_count, 1);
}

static void a_name_that_does_not_exist_has_no_records(void **state)
{
        (void)state;
        dns_start(&message, RESPONSE_FLAGS | DNS_RCODE_NAME_ERROR, NAME, DNS_TYPE_A);
        dns_put_alias(&message, "@", DNS_TYPE_CNAME, 60, "b.example");
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        dns_put_a(&message, "b.example", 60, 2);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
}

static void every_prefix_is_bad_and_nothing_past_it_is_read(void **state)
{
        struct fqdn name = name_of(NAME);
        struct guarded guarded;

        (void)state;
        put_example();
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_OK);
        guarded_open(&guarded, 4096);
        for (size_t length = 0; length < message.length; length++) {
                const uint8_t *cut = guarded_copy(&guarded, message.bytes, length);
                assert_int_equal(dns_answer_parse(cut, length, &name, DNS_TYPE_A, NULL, NULL, &answer), DNS_ANSWER_BAD);
        }
        guarded_close(&guarded);
        dns_put_u8(&message, 0);
        assert_int_equal(parse(DNS_TYPE_A, NULL), DNS_ANSWER_BAD);
}

/* A client with DNSSEC and all the room there is. */
static void write_response(const struct dns_answer *from, unsigned type)
{
        struct dns_query query = { .id = 0x1234, .type = (uint16_t)type, .has_edns = true, .dnssec_ok = true };
        struct dns_response what = { .rcode = from->rcode, .answer = from, .max_size = DNS_MESSAGE_MAX_SIZE };
        struct dns_bytes question;

        dns_start(&question, 0, NAME, type);
        query.question_length = question.length - DNS_MESSAGE_HEADER_SIZE;
        memcpy(query.question, question.bytes + DNS_MESSAGE_HEADER_SIZE, query.question_length);
        response.length = dns_response_write(&query, &what, response.bytes, sizeof(response.bytes));
        assert_true(response.length > 0);
}

/* Whatever is changed: what is accepted is written in a form that reads as the same. */
static void what_is_written_reads_as_the_same(void **state)
{
        struct fqdn name = name_of(NAME);
        struct guarded guarded;
        unsigned outcomes[DNS_ANSWER_FORBIDDEN + 1] = { 0 };

        (void)state;
        put_example();
        guarded_open(&guarded, 4096);
        for (size_t i = 0; i < message.length; i++)
                for (unsigned value = 0; value < 256; value++) {
                        uint8_t *changed = guarded_copy(&guarded, message.bytes, message.length);
                        changed[i] = (uint8_t)value;
                        enum dns_answer_result result = dns_answer_parse(changed, message.length, &name, DNS_TYPE_A,
                                                                         no_odd_address, NULL, &answer);
                        outcomes[result]++;
                        if (result != DNS_ANSWER_OK)
                                continue;
                        write_response(&answer, DNS_TYPE_A);
                        assert_int_equal(dns_answer_parse(response.bytes, response.length, &name, DNS_TYPE_A,
                                                          no_odd_address, NULL, &second),
                                         DNS_ANSWER_OK);
                        assert_int_equal(second.ttl_s, answer.ttl_s);
                        assert_int_equal(second.rcode, answer.rcode);
                        assert_int_equal(second.authentic, answer.authentic);
                        assert_int_equal(second.answer_count, answer.answer_count);
                        assert_int_equal(second.authority_count, answer.authority_count);
                        assert_int_equal(second.address_count, answer.address_count);
                        assert_int_equal(second.body_length, answer.body_length);
                        assert_memory_equal(second.body, answer.body, answer.body_length);
                }
        for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
                if (i != DNS_ANSWER_FORBIDDEN)
                        assert_true(outcomes[i] > 0);
        guarded_close(&guarded);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(addresses_of_the_name_are_kept_and_all_else_goes),
                cmocka_unit_test(addresses_that_are_refused_are_left_out_with_their_signature),
                cmocka_unit_test(an_answer_filtered_later_is_the_one_filtered_at_once),
                cmocka_unit_test(a_chain_is_followed_in_any_order_up_to_its_limit),
                cmocka_unit_test(owners_in_a_chain_point_to_the_target_before),
                cmocka_unit_test(a_loop_and_two_aliases_of_one_name_are_bad),
                cmocka_unit_test(the_alias_itself_can_be_asked_for),
                cmocka_unit_test(a_dname_leads_on_with_and_without_its_cname),
                cmocka_unit_test(a_dname_that_leads_below_itself_ends),
                cmocka_unit_test(a_denial_lasts_as_long_as_its_soa_says),
                cmocka_unit_test(a_ttl_is_a_day_at_most_and_zero_with_the_upper_bit),
                cmocka_unit_test(duplicates_are_one_record_with_the_lesser_ttl),
                cmocka_unit_test(addresses_past_the_limit_are_left_out),
                cmocka_unit_test(too_many_records_and_too_much_data_are_bad),
                cmocka_unit_test(another_question_is_no_answer),
                cmocka_unit_test(failures_and_truncation_are_told_apart),
                cmocka_unit_test(service_records_lose_ech_hints_and_signature),
                cmocka_unit_test(any_means_the_name_itself_filtered),
                cmocka_unit_test(a_name_that_does_not_exist_has_no_records),
                cmocka_unit_test(every_prefix_is_bad_and_nothing_past_it_is_read),
                cmocka_unit_test(what_is_written_reads_as_the_same),
        };

        return cmocka_run_group_tests_name("dns_answer", tests, NULL, NULL);
}
