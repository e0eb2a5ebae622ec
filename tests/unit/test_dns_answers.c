/* The cache of whole DNS answers: lifetimes, bounds, and that what comes out is what was put in. */
#include "net/dns_answers.h"

#include <stdio.h>
#include <stdlib.h>

#include "values.h"

#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define START_MS 1000 /* soon after boot: nothing may depend on a large clock */
#define PLENTY (1024 * 1024)

static struct dns_answers *new_answers(size_t max_entries, size_t max_bytes)
{
        struct dns_answers *answers;

        assert_int_equal(dns_answers_new(max_entries, max_bytes, &answers), 0);
        return answers;
}

static struct dns_question question_of(const char *name, uint16_t type)
{
        return (struct dns_question){ .name = name_of(name), .type = type };
}

static struct dns_question numbered_question(unsigned number)
{
        char text[32];

        snprintf(text, sizeof(text), "host%u.example", number);
        return question_of(text, DNS_TYPE_A);
}

/* An answer whose every byte tells which one it is. */
static void make_answer(struct dns_answer *answer, unsigned number, size_t body_length, uint32_t ttl_s)
{
        *answer = (struct dns_answer){
                .rcode = DNS_RCODE_NO_ERROR,
                .authentic = number % 2 == 1,
                .ttl_s = ttl_s,
                .answer_count = 1,
                .authority_count = (uint16_t)(number % 7),
                .address_count = number % 5,
                .body_length = body_length,
        };
        for (size_t i = 0; i < answer->address_count; i++)
                answer->addresses[i] =
                        (struct net_address){ AF_INET, { 192, (uint8_t)i, (uint8_t)(number >> 8), (uint8_t)number } };
        memset(answer->body, (int)(number % 251), body_length);
}

static void assert_same_answer(const struct dns_answer *a, const struct dns_answer *b)
{
        assert_int_equal(a->rcode, b->rcode);
        assert_int_equal(a->authentic, b->authentic);
        assert_int_equal(a->ttl_s, b->ttl_s);
        assert_int_equal(a->answer_count, b->answer_count);
        assert_int_equal(a->authority_count, b->authority_count);
        assert_int_equal(a->address_count, b->address_count);
        for (size_t i = 0; i < a->address_count; i++)
                assert_true(net_address_equal(&a->addresses[i], &b->addresses[i]));
        assert_int_equal(a->body_length, b->body_length);
        assert_memory_equal(a->body, b->body, a->body_length);
}

static void put(struct dns_answers *answers, const struct dns_question *question, unsigned number, uint32_t ttl_s,
                uint64_t now_ms)
{
        static struct dns_answer answer;

        make_answer(&answer, number, 100, ttl_s);
        dns_answers_put(answers, question, &answer, true, now_ms);
}

static bool has(struct dns_answers *answers, const struct dns_question *question, uint64_t now_ms,
                struct dns_answers_entry *ret)
{
        static struct dns_answer answer;

        return dns_answers_get(answers, question, now_ms, &answer, ret);
}

static void an_answer_is_found_under_its_whole_question_only(void **state)
{
        static struct dns_answer in, out;
        struct dns_answers *answers = new_answers(8, PLENTY);
        struct dns_question question = question_of("a.example", DNS_TYPE_HTTPS);
        struct dns_question others[] = { question, question, question, question, question };
        struct dns_answers_entry entry;

        (void)state;
        others[0].name = name_of("b.example");
        others[1].name = name_of("a.exampl");
        others[2].type = DNS_TYPE_HTTPS | 0x100;
        others[3].dnssec_ok = true;
        others[4].checking_disabled = true;
        make_answer(&in, 3, 1000, 60);
        dns_answers_put(answers, &question, &in, false, START_MS);
        assert_true(dns_answers_get(answers, &question, START_MS + 2500, &out, &entry));
        assert_same_answer(&in, &out);
        assert_int_equal(entry.kind, DNS_ANSWERS_ANSWERED);
        assert_int_equal(entry.age_s, 2);
        assert_false(entry.plain || entry.is_stale || entry.refresh);
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                assert_false(dns_question_equal(&question, &others[i]));
                assert_false(has(answers, &others[i], START_MS, &entry));
        }
        dns_answers_put(answers, &question, &in, true, START_MS);
        assert_true(has(answers, &question, START_MS, &entry));
        assert_true(entry.plain);
        dns_answers_free(answers);
}

/* Fresh for as long as the row says, then stale for 15 minutes or gone. */
static void assert_lifetime(struct dns_answers *answers, const struct dns_question *question, uint64_t fresh_ms,
                            uint64_t stale_ms)
{
        struct dns_answers_entry entry;

        assert_true(has(answers, question, START_MS + fresh_ms - 1, &entry));
        assert_false(entry.is_stale || entry.refresh);
        if (stale_ms > 0) {
                assert_true(has(answers, question, START_MS + fresh_ms, &entry));
                assert_true(entry.is_stale && entry.refresh);
                assert_true(has(answers, question, START_MS + fresh_ms + stale_ms - 1, &entry));
        }
        assert_false(has(answers, question, START_MS + fresh_ms + stale_ms, &entry));
}

static void times_to_live_are_clamped_and_only_positive_answers_are_served_stale(void **state)
{
        static const struct {
                uint32_t ttl_s;
                uint64_t positive_s;
                uint64_t negative_s;
        } rows[] = { { 0, 5, 5 }, { 6, 6, 6 }, { 301, 301, 300 }, { 3601, 3600, 300 }, { UINT32_MAX, 3600, 300 } };
        static struct dns_answer answer;
        struct dns_answers *answers = new_answers(8, PLENTY);
        struct dns_question question = question_of("a.example", DNS_TYPE_A);

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                put(answers, &question, 1, rows[i].ttl_s, START_MS);
                assert_lifetime(answers, &question, rows[i].positive_s * SECOND_MS, 15 * MINUTE_MS);
                make_answer(&answer, 1, 10, rows[i].ttl_s);
                answer.rcode = DNS_RCODE_NAME_ERROR;
                dns_answers_put(answers, &question, &answer, true, START_MS);
                assert_lifetime(answers, &question, rows[i].negative_s * SECOND_MS, 0);
                make_answer(&answer, 1, 10, rows[i].ttl_s);
                answer.answer_count = 0;
                dns_answers_put(answers, &question, &answer, true, START_MS);
                assert_lifetime(answers, &question, rows[i].negative_s * SECOND_MS, 0);
        }
        dns_answers_free(answers);
}

static void a_failure_is_remembered_for_a_second_and_leaves_a_stale_answer(void **state)
{
        struct dns_answers *answers = new_answers(8, PLENTY);
        struct dns_question question = question_of("a.example", DNS_TYPE_A);
        struct dns_answers_entry entry;
        uint64_t later = START_MS + 2 * MINUTE_MS;

        (void)state;
        dns_answers_put_failure(answers, &question, DNS_ANSWERS_TIMED_OUT, START_MS);
        assert_true(has(answers, &question, START_MS + 999, &entry));
        assert_int_equal(entry.kind, DNS_ANSWERS_TIMED_OUT);
        assert_false(has(answers, &question, START_MS + 1000, &entry));
        put(answers, &question, 1, 60, START_MS);
        dns_answers_put_failure(answers, &question, DNS_ANSWERS_FAILED, later);
        assert_true(has(answers, &question, later + 4999, &entry));
        assert_int_equal(entry.kind, DNS_ANSWERS_ANSWERED);
        assert_true(entry.is_stale);
        assert_false(entry.refresh);
        assert_true(has(answers, &question, later + 5000, &entry));
        assert_true(entry.refresh);
        /* Too old to be served: now the failure is the answer, and its bytes are gone. */
        dns_answers_put_failure(answers, &question, DNS_ANSWERS_FAILED, START_MS + 16 * MINUTE_MS);
        assert_true(has(answers, &question, START_MS + 16 * MINUTE_MS, &entry));
        assert_int_equal(entry.kind, DNS_ANSWERS_FAILED);
        assert_int_equal(dns_answers_bytes(answers), 0);
        dns_answers_free(answers);
}

static void what_is_larger_than_everything_may_be_is_not_kept_nor_what_it_replaces(void **state)
{
        static struct dns_answer answer;
        struct dns_answers *answers = new_answers(8, 1000);
        struct dns_question question = question_of("a.example", DNS_TYPE_A);
        struct dns_answers_entry entry;

        (void)state;
        put(answers, &question, 1, 60, START_MS);
        assert_true(has(answers, &question, START_MS, &entry));
        make_answer(&answer, 2, 1001, 60);
        dns_answers_put(answers, &question, &answer, true, START_MS);
        assert_false(has(answers, &question, START_MS, &entry));
        assert_int_equal(dns_answers_bytes(answers), 0);
        dns_answers_free(answers);
}

static void what_is_used_outlives_a_flood_of_names_used_once(void **state)
{
        struct dns_answers *answers = new_answers(100, PLENTY);
        struct dns_question used = question_of("used.example", DNS_TYPE_A);
        struct dns_answers_entry entry;

        (void)state;
        put(answers, &used, 1, 60, START_MS);
        for (unsigned i = 0; i < 10000; i++) {
                struct dns_question question = numbered_question(i);
                put(answers, &question, i, 60, START_MS);
                assert_int_equal(dns_answers_count(answers), i + 2 < 100 ? i + 2 : 100);
                assert_true(has(answers, &used, START_MS, &entry));
        }
        dns_answers_free(answers);
}

/* Answers of all sizes: what comes out is the last put for its question, and neither bound is ever passed. */
static void random_use_agrees_with_a_model(void **state)
{
        enum { QUESTIONS = 300, ENTRIES = 128, BYTES = 100000 };
        static struct dns_answer in, out;
        static unsigned numbers[QUESTIONS]; /* of the last answer; 0: none or a failure */
        struct dns_answers *answers = new_answers(ENTRIES, BYTES);
        struct dns_answers_entry entry;
        size_t hits = 0, fullest = 0;

        (void)state;
        srand(20261125); /* The seed: the same run each time. */
        for (unsigned step = 1; step < 50000; step++) {
                unsigned i = (unsigned)rand() % QUESTIONS;
                struct dns_question question = numbered_question(i);
                switch (rand() % 4) {
                case 0:
                        make_answer(&in, step, (size_t)rand() % (rand() % 50 == 0 ? DNS_ANSWER_MAX_BODY_SIZE : 2000),
                                    60);
                        dns_answers_put(answers, &question, &in, step % 3 == 0, START_MS + step);
                        numbers[i] = step;
                        break;
                case 1:
                        dns_answers_put_failure(answers, &question, DNS_ANSWERS_FAILED, START_MS + step);
                        break;
                default:
                        if (!dns_answers_get(answers, &question, START_MS + step, &out, &entry))
                                break;
                        if (entry.kind != DNS_ANSWERS_ANSWERED)
                                break;
                        hits++;
                        assert_int_not_equal(numbers[i], 0);
                        make_answer(&in, numbers[i], out.body_length, 60);
                        assert_same_answer(&in, &out);
                        assert_int_equal(entry.plain, numbers[i] % 3 == 0);
                }
                assert_true(dns_answers_count(answers) <= ENTRIES);
                assert_true(dns_answers_bytes(answers) <= BYTES);
                if (dns_answers_bytes(answers) > fullest)
                        fullest = dns_answers_bytes(answers);
        }
        assert_true(hits > 1000);
        assert_true(fullest > BYTES * 9 / 10);
        dns_answers_free(answers);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_answer_is_found_under_its_whole_question_only),
                cmocka_unit_test(times_to_live_are_clamped_and_only_positive_answers_are_served_stale),
                cmocka_unit_test(a_failure_is_remembered_for_a_second_and_leaves_a_stale_answer),
                cmocka_unit_test(what_is_larger_than_everything_may_be_is_not_kept_nor_what_it_replaces),
                cmocka_unit_test(what_is_used_outlives_a_flood_of_names_used_once),
                cmocka_unit_test(random_use_agrees_with_a_model),
        };

        return cmocka_run_group_tests_name("dns_answers", tests, NULL, NULL);
}
