#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "inspect/http_response.h"
#include "inspect/refusal.h"

#define ID "5f3a9c00-17"

/* The answer in a buffer that ends in NUL, with a mark behind what may be written. */
struct answer {
        char text[REFUSAL_MAX_BYTES + 1];
        size_t length;
};

static void refuse(struct answer *answer, enum reason reason, const char *name, const char *hint)
{
        memset(answer, 'Z', sizeof(*answer));
        answer->length = refusal_format_http(reason, name, hint, ID, answer->text);
        assert_true(answer->length < REFUSAL_MAX_BYTES);
        assert_int_equal(answer->text[REFUSAL_MAX_BYTES], 'Z');
        answer->text[answer->length] = '\0';
}

static void the_answer_says_reason_meaning_name_hint_and_id(void **state)
{
        struct answer answer;

        (void)state;
        refuse(&answer, REASON_NO_RULE, "example.com",
               "allowed by feature 'monitor', not enabled for cluster 'prod-weu'");
        assert_non_null(strstr(answer.text, "HTTP/1.1 403 Forbidden\r\n"));
        assert_non_null(strstr(answer.text, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(answer.text, "\r\nCache-Control: no-store\r\n"));
        assert_non_null(strstr(answer.text,
                               "\r\nProxy-Status: aksegressd; error=http_request_denied; details=\"no-rule\"\r\n"));
        assert_null(strstr(answer.text, "Retry-After"));
        assert_string_equal(strstr(answer.text, "\r\n\r\n") + 4,
                            "aksegressd refused this request: no-rule\n"
                            "meaning: no rule of the cluster allows this name, protocol and port\n"
                            "name: example.com\n"
                            "hint: allowed by feature 'monitor', not enabled for cluster 'prod-weu'\n"
                            "id: " ID "\n");
}

static void what_is_not_known_is_not_said(void **state)
{
        struct answer answer;

        (void)state;
        refuse(&answer, REASON_BAD_REQUEST, "", "");
        assert_null(strstr(answer.text, "name:"));
        assert_null(strstr(answer.text, "hint:"));
        assert_non_null(strstr(answer.text, "\nid: " ID "\n"));
}

static void every_status_of_the_reason_table_has_an_answer_that_parses(void **state)
{
        char name[FQDN_MAX_LENGTH + 1], hint[2000];
        struct answer answer;

        (void)state;
        memset(name, 'n', sizeof(name));
        name[sizeof(name) - 1] = '\0';
        memset(hint, 'h', sizeof(hint));
        hint[sizeof(hint) - 1] = '\0';
        for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
                const struct reason_row *row = reason_row(reason);
                struct http_response response;

                refuse(&answer, reason, name, hint);
                if (row->http_status == 0) {
                        assert_int_equal(answer.length, 0);
                        continue;
                }
                assert_int_equal(http_response_parse(answer.text, answer.length, false, &response), HTTP_RESPONSE_OK);
                assert_int_equal(response.status, row->http_status);
                assert_int_equal(response.body, HTTP_BODY_LENGTH);
                assert_int_equal(response.length + response.body_length, answer.length);
                assert_false(response.keep_alive);
                assert_int_equal(answer.text[answer.length - 1], '\n');
                assert_non_null(strstr(answer.text, row->meaning));
                bool later = row->http_status == 503 || row->http_status == 429;
                assert_int_equal(strstr(answer.text, "\r\nRetry-After: ") != NULL, later);
        }
}

static void a_hint_cannot_hold_a_line_break(void **state)
{
        struct answer answer;

        (void)state;
        refuse(&answer, REASON_NO_RULE, "example.com", "a\r\nid: forged\x1b[0m\x7f \xc3\xbc");
        assert_non_null(strstr(answer.text, "\nhint: a\?\?id: forged?[0m? \xc3\xbc\n"));
}

static void the_alert_is_fatal_and_says_the_reason(void **state)
{
        uint8_t buffer[REFUSAL_MAX_BYTES];

        (void)state;
        for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
                const struct reason_row *row = reason_row(reason);
                const uint8_t expected[] = { 21, 3, 3, 0, 2, 2, row->tls_alert };
                size_t length = refusal_format_tls(reason, buffer);

                assert_int_equal(length, row->tls_alert == 0 ? 0 : sizeof(expected));
                assert_memory_equal(buffer, expected, length);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_answer_says_reason_meaning_name_hint_and_id),
                cmocka_unit_test(what_is_not_known_is_not_said),
                cmocka_unit_test(every_status_of_the_reason_table_has_an_answer_that_parses),
                cmocka_unit_test(a_hint_cannot_hold_a_line_break),
                cmocka_unit_test(the_alert_is_fatal_and_says_the_reason),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
