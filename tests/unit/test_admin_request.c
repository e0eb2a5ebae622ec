#include "process/admin_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guarded.h"

static enum admin_request_status parse(const char *text, struct admin_request *ret)
{
        return admin_request_parse(text, strlen(text), ret);
}

static void each_kind_of_request_has_its_answer(void **state)
{
        static const struct {
                const char *text;
                enum admin_request_status status;
        } rows[] = {
                { "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", ADMIN_REQUEST_OK },
                { "HEAD /metrics HTTP/1.0\r\n\r\n", ADMIN_REQUEST_OK },
                { "GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", ADMIN_REQUEST_OK },
                { "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", ADMIN_REQUEST_HAS_BODY },
                { "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", ADMIN_REQUEST_HAS_BODY },
                { "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\n", ADMIN_REQUEST_BAD_METHOD },
                { "get /metrics HTTP/1.1\r\n\r\n", ADMIN_REQUEST_BAD_METHOD },
                { "HEADX /metrics HTTP/1.1\r\n\r\n", ADMIN_REQUEST_BAD_METHOD },
                { "CONNECT a:443 HTTP/1.1\r\n\r\n", ADMIN_REQUEST_BAD_METHOD },
                { "GET /metrics\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET  /metrics HTTP/1.1\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET /metrics HTTP/1.1 \r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET /metrics HTTP/2.0\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET /metrics http/1.1\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { " /metrics HTTP/1.1\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "G\tT / HTTP/1.1\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET /\x01 HTTP/1.1\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET / HTTP/1.1\nHost: a\n\n", ADMIN_REQUEST_MALFORMED },
                { "GET / HTTP/1.1\r\n folded: a\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "GET / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
                  ADMIN_REQUEST_MALFORMED },
                { "\r\n\r\n", ADMIN_REQUEST_MALFORMED },
                { "\x16\x03\x01\x02\n", ADMIN_REQUEST_MALFORMED },
                { "", ADMIN_REQUEST_NEED_MORE },
        };
        struct admin_request request;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                enum admin_request_status found = parse(rows[i].text, &request);
                if (found != rows[i].status)
                        fail_msg("%d, not %d: %s", (int)found, (int)rows[i].status, rows[i].text);
        }
}

static void a_request_says_path_method_and_whether_more_may_come(void **state)
{
        static const struct {
                const char *text;
                const char *path;
                bool head_method;
                bool keep_alive;
        } rows[] = {
                { "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\nGET", "/metrics", false, true },
                { "GET /metrics?a=/b HTTP/1.1\r\nConnection: close\r\n\r\n", "/metrics", false, false },
                { "GET ? HTTP/1.1\r\n\r\n", "", false, true },
                { "HEAD http://a/readyz HTTP/1.1\r\nHost: a\r\n\r\n", "http://a/readyz", true, true },
                { "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/healthz", false, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct admin_request request;
                const char *end = strstr(rows[i].text, "\r\n\r\n") + 4;
                assert_int_equal(admin_request_parse(rows[i].text, strlen(rows[i].text), &request), ADMIN_REQUEST_OK);
                assert_int_equal(request.path.length, strlen(rows[i].path));
                assert_memory_equal(request.path.start, rows[i].path, request.path.length);
                assert_int_equal(request.head_method, rows[i].head_method);
                assert_int_equal(request.keep_alive, rows[i].keep_alive);
                assert_int_equal(request.length, end - rows[i].text);
        }
}

static void every_prefix_of_a_request_needs_more(void **state)
{
        static const char text[] =
                "GET /metrics HTTP/1.1\r\nHost: 10.0.0.4:9180\r\nUser-Agent: Prometheus/2.42\r\n\r\n";
        struct admin_request request;
        struct guarded guarded;

        (void)state;
        guarded_open(&guarded, sizeof(text));
        for (size_t length = 0; length < sizeof(text) - 1; length++)
                assert_int_equal(admin_request_parse(guarded_copy(&guarded, text, length), length, &request),
                                 ADMIN_REQUEST_NEED_MORE);
        guarded_close(&guarded);
        assert_int_equal(parse(text, &request), ADMIN_REQUEST_OK);
}

/* So that input in hand is never all that may be in hand, and waited with. */
static void a_head_of_the_largest_size_is_the_last_that_is_waited_for(void **state)
{
        char *text = malloc(ADMIN_REQUEST_MAX_BYTES + 1);
        struct admin_request request;
        int begin = snprintf(text, ADMIN_REQUEST_MAX_BYTES, "GET / HTTP/1.1\r\na: ");

        (void)state;
        memset(text + begin, 'x', (size_t)(ADMIN_REQUEST_MAX_BYTES + 1 - begin));
        assert_int_equal(admin_request_parse(text, ADMIN_REQUEST_MAX_BYTES - 1, &request), ADMIN_REQUEST_NEED_MORE);
        assert_int_equal(admin_request_parse(text, ADMIN_REQUEST_MAX_BYTES, &request), ADMIN_REQUEST_TOO_LARGE);
        memcpy(text + ADMIN_REQUEST_MAX_BYTES - 4, "\r\n\r\n", 4);
        assert_int_equal(admin_request_parse(text, ADMIN_REQUEST_MAX_BYTES, &request), ADMIN_REQUEST_OK);
        assert_int_equal(request.length, ADMIN_REQUEST_MAX_BYTES);
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_kind_of_request_has_its_answer),
                cmocka_unit_test(a_request_says_path_method_and_whether_more_may_come),
                cmocka_unit_test(every_prefix_of_a_request_needs_more),
                cmocka_unit_test(a_head_of_the_largest_size_is_the_last_that_is_waited_for),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
