#include "inspect/http_response_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static void assert_formatted(const char *head, bool close, const char *expected)
{
        struct http_response response;
        char buffer[2048];

        assert_int_equal(http_response_parse(head, strlen(head), false, &response), HTTP_RESPONSE_OK);
        size_t size = response.length + HTTP_RESPONSE_FORMAT_ROOM;
        assert_true(size < sizeof(buffer));
        size_t length = http_response_format_client(head, &response, close, buffer, size);
        assert_int_equal(length, strlen(expected));
        assert_memory_equal(buffer, expected, length);
        assert_int_equal(http_response_format_client(head, &response, close, buffer, size - 1), 0);
}

static void other_fields_keep_their_bytes_and_order(void **state)
{
        const char *head = "HTTP/1.1 200 Fine  by me\r\nx-B:1\r\nX-a:  two words \r\nx-B:\r\nContent-Length: 0\r\n\r\n";

        (void)state;
        assert_formatted(head, false, head);
}

static void what_speaks_of_the_origin_s_connection_is_left_out(void **state)
{
        (void)state;
        assert_formatted(
                "HTTP/1.1 200 OK\r\nCONNECTION: keep-alive, x-One\r\nkeep-alive: timeout=1\r\nA: 1\r\n"
                "X-ONE: gone\r\nconnection: X-Two\r\nx-two: gone\r\nX-Twofold: stays\r\nProxy-Connection: close\r\n"
                "Upgrade: h2c\r\n\r\n",
                false, "HTTP/1.1 200 OK\r\nA: 1\r\nX-Twofold: stays\r\n\r\n");
}

static void close_is_told_once(void **state)
{
        (void)state;
        assert_formatted("HTTP/1.1 200 OK\r\nConnection: close\r\nA: 1\r\n\r\n", true,
                         "HTTP/1.1 200 OK\r\nA: 1\r\nConnection: close\r\n\r\n");
        assert_formatted("HTTP/1.1 200\r\n\r\n", true, "HTTP/1.1 200\r\nConnection: close\r\n\r\n");
}

static void framing_stays_as_it_is(void **state)
{
        (void)state;
        assert_formatted("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n", false,
                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(other_fields_keep_their_bytes_and_order),
                cmocka_unit_test(what_speaks_of_the_origin_s_connection_is_left_out),
                cmocka_unit_test(close_is_told_once),
                cmocka_unit_test(framing_stays_as_it_is),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
