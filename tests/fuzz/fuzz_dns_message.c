/*
 * DNS messages, read and written. The first byte says what the rest is: a client's query, or a server's answer to a
 * question of one of a few types. What is accepted and written anew must read as the same; what a client may not have
 * is nowhere in it.
 */
#include "fuzz.h"

#define CARES_NO_DEPRECATED
#include <ares.h>
#include <string.h>

#include "base/byte_cursor.h"
#include "inspect/dns_answer.h"
#include "inspect/dns_query.h"
#include "inspect/dns_record.h"
#include "inspect/dns_response.h"

#define QUERY_SELECTOR 0

static const uint16_t types[] = { DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_HTTPS, DNS_TYPE_ANY, DNS_TYPE_CNAME, DNS_TYPE_SOA,
                                  33 };

static uint8_t output[DNS_MESSAGE_MAX_SIZE];

/* Half of all addresses, whatever their family. */
static bool last_byte_is_even(const struct net_address *address, void *context)
{
        CHECK(context == output);
        return address->bytes[address->family == AF_INET ? 3 : 15] % 2 == 0;
}

static void check_hint(struct byte_cursor value, size_t size)
{
        struct byte_cursor address;

        CHECK(value.left > 0);
        while (byte_cursor_take(&value, size, &address))
                CHECK(address.next[size - 1] % 2 == 0);
        CHECK(value.left == 0);
}

/* Read here anew, without the parser. */
static void check_service(struct byte_cursor data)
{
        struct byte_cursor value;
        uint16_t key, length;

        CHECK(byte_cursor_skip(&data, 2) && dns_name_skip(&data));
        while (data.left > 0) {
                CHECK(byte_cursor_u16(&data, &key) && byte_cursor_u16(&data, &length) &&
                      byte_cursor_take(&data, length, &value));
                CHECK(key != 5);
                if (key == 4 || key == 6)
                        check_hint(value, key == 4 ? 4 : 16);
        }
}

static void check_records(const uint8_t *message, size_t length)
{
        struct byte_cursor cursor = byte_cursor_from(message, length);
        uint16_t questions, answers, authorities, additional;
        struct dns_record record;

        CHECK(byte_cursor_skip(&cursor, 4) && byte_cursor_u16(&cursor, &questions) &&
              byte_cursor_u16(&cursor, &answers) && byte_cursor_u16(&cursor, &authorities) &&
              byte_cursor_u16(&cursor, &additional));
        CHECK(questions == 1 && dns_name_skip(&cursor) && byte_cursor_skip(&cursor, 4));
        for (unsigned i = 0; i < (unsigned)answers + authorities + additional; i++) {
                struct dns_name owner;
                CHECK(dns_record_read(&cursor, &record));
                CHECK(dns_name_read(message, &record.owner, &owner));
                if (record.type == DNS_TYPE_A)
                        CHECK(record.data.left == 4 && record.data.next[3] % 2 == 0);
                if (record.type == DNS_TYPE_AAAA)
                        CHECK(record.data.left == 16 && record.data.next[15] % 2 == 0);
                if (record.type == DNS_TYPE_HTTPS || record.type == DNS_TYPE_SVCB)
                        check_service(record.data);
        }
        CHECK(cursor.left == 0);
}

static void check_same(const struct dns_answer *a, const struct dns_answer *b)
{
        CHECK(a->rcode == b->rcode && a->authentic == b->authentic);
        CHECK(a->answer_count == b->answer_count && a->authority_count == b->authority_count);
        CHECK(a->address_count == b->address_count && a->body_length == b->body_length);
        CHECK(memcmp(a->body, b->body, a->body_length) == 0);
        for (size_t i = 0; i < a->address_count; i++)
                CHECK(net_address_equal(&a->addresses[i], &b->addresses[i]));
        /* Records that were left out count in the first one. */
        CHECK(a->ttl_s <= b->ttl_s || b->ttl_s == 0);
}

/* c-ares finds the same addresses at the end of the same chain in what was written. */
static void check_with_cares(const struct dns_answer *answer, size_t length)
{
        static struct ares_addrttl records[DNS_ANSWER_MAX_ADDRESSES + 1];
        int count = DNS_ANSWER_MAX_ADDRESSES + 1;

        int status = ares_parse_a_reply(output, (int)length, NULL, records, &count);
        if (answer->address_count == 0) {
                CHECK(status != ARES_SUCCESS || count == 0);
                return;
        }
        CHECK(status == ARES_SUCCESS && (size_t)count == answer->address_count);
        for (size_t i = 0; i < answer->address_count; i++)
                CHECK(memcmp(&records[i].ipaddr, answer->addresses[i].bytes, 4) == 0);
}

/* In less room: what is there is the beginning of all, and says that it is cut. */
static void check_cut(const struct dns_query *query, const struct dns_response *response, size_t whole, size_t size)
{
        static uint8_t cut[DNS_MESSAGE_MAX_SIZE];
        struct dns_response smaller = *response;

        smaller.max_size = size;
        size_t length = dns_response_write(query, &smaller, cut, sizeof(cut));
        CHECK(length > 0 && length <= size);
        bool truncated = (cut[2] & DNS_FLAG_TRUNCATED >> 8) != 0;
        CHECK(truncated == (whole > size));
        check_records(cut, length);
        CHECK(memcmp(cut + DNS_MESSAGE_HEADER_SIZE, output + DNS_MESSAGE_HEADER_SIZE, query->question_length) == 0);
        CHECK(cut[length - 11] == 0 && cut[length - 9] == DNS_TYPE_OPT);
}

static void check_answer(const uint8_t *data, size_t size, uint16_t type)
{
        static struct dns_answer answer, again;
        struct dns_query query = { .type = type, .has_edns = true, .dnssec_ok = true };
        struct byte_cursor question = byte_cursor_from(data, size);
        struct dns_name name;

        /* The question that it answers is its own, where it has one. */
        if (!byte_cursor_skip(&question, DNS_MESSAGE_HEADER_SIZE) || !dns_name_read_plain(&question, &name) ||
            dns_name_to_fqdn(&name, &query.name) < 0)
                return;
        enum dns_answer_result result =
                dns_answer_parse(data, size, &query.name, type, last_byte_is_even, output, &answer);
        if (result != DNS_ANSWER_OK)
                return;
        query.question_length = (size_t)name.length + 4;
        memcpy(query.question, data + DNS_MESSAGE_HEADER_SIZE, query.question_length);
        struct dns_response response = { .rcode = answer.rcode, .answer = &answer, .max_size = sizeof(output) };
        size_t length = dns_response_write(&query, &response, output, sizeof(output));
        CHECK(length > 0);
        check_records(output, length);
        result = dns_answer_parse(output, length, &query.name, type, last_byte_is_even, output, &again);
        CHECK(result == DNS_ANSWER_OK);
        check_same(&answer, &again);
        if (type == DNS_TYPE_A)
                check_with_cares(&answer, length);
        check_cut(&query, &response, length, 512 + size % 1024);
}

/* What a query is told repeats its question, which as a query of its own asks the same. */
static void check_echo(const struct dns_query *query, size_t length)
{
        struct dns_query echo;

        CHECK(dns_query_parse(output, length, &echo) == DNS_QUERY_NOT_A_QUERY);
        output[2] &= DNS_FLAG_RECURSION_DESIRED >> 8;
        CHECK(dns_query_parse(output, length, &echo) == DNS_QUERY_OK);
        CHECK(fqdn_equal(&echo.name, &query->name) && echo.type == query->type && echo.class == query->class);
        CHECK(echo.id == query->id && echo.recursion_desired == query->recursion_desired);
        CHECK(echo.checking_disabled == query->checking_disabled && echo.dnssec_ok == query->dnssec_ok);
        CHECK(echo.has_edns == query->has_edns && echo.question_length == query->question_length);
        CHECK(memcmp(echo.question, query->question, query->question_length) == 0);
}

static void check_query(const uint8_t *data, size_t size)
{
        struct dns_query query;
        struct dns_response response = { .has_ede = true, .ede_text = "a text of some length", .max_size = 512 };

        enum dns_query_result result = dns_query_parse(data, size, &query);
        if (result == DNS_QUERY_NOT_A_QUERY)
                return;
        CHECK((result == DNS_QUERY_OK) == (query.name.length > 0));
        CHECK(result != DNS_QUERY_OK || query.question_length == (size_t)query.name.length + 6);
        response.rcode = result == DNS_QUERY_BAD_VERSION ? DNS_RCODE_BAD_VERSION : DNS_RCODE_REFUSED;
        size_t length = dns_response_write(&query, &response, output, sizeof(output));
        CHECK(length >= DNS_MESSAGE_HEADER_SIZE + query.question_length && length <= 512);
        CHECK(memcmp(output, data, 2) == 0 && output[11] == query.has_edns);
        if (result == DNS_QUERY_OK)
                check_echo(&query, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0 || size > DNS_MESSAGE_MAX_SIZE)
                return 0;
        /* An exact copy, so that the sanitizer sees a byte read too far. */
        uint8_t *exact = malloc(size);
        CHECK(exact != NULL);
        memcpy(exact, data, size);
        if (data[0] == QUERY_SELECTOR)
                check_query(exact + 1, size - 1);
        else
                check_answer(exact + 1, size - 1, types[data[0] % (sizeof(types) / sizeof(types[0]))]);
        free(exact);
        return 0;
}
