#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "guarded.h"
#include "inspect/http_fields.h"
#include "inspect/http_response.h"

static struct guarded guarded;

static int open_guard(void **state)
{
        (void)state;
        guarded_open(&guarded, 2 * HTTP_RESPONSE_MAX_BYTES);
        return 0;
}

static int close_guard(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

static enum http_response_status parse(const char *bytes, size_t length, bool to_head, struct http_response *ret)
{
        return http_response_parse(guarded_copy(&guarded, bytes, length), length, to_head, ret);
}

static void assert_verdict(const char *text, enum http_response_status expected)
{
        struct http_response response;
        enum http_response_status status = parse(text, strlen(text), false, &response);

        if (status != expected)
                print_error("%s", text);
        assert_int_equal(status, expected);
}

struct framing {
        const char *head;
        bool to_head;
        enum http_body body;
        uint64_t body_length;
        bool keep_alive;
};

static const struct framing framings[] = {
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_LENGTH, 5, true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", false, HTTP_BODY_LENGTH, 5, false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, HTTP_BODY_CHUNKED, 0, true },
        { "HTTP/1.1 200 OK\r\n\r\n", false, HTTP_BODY_UNTIL_CLOSE, 0, false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_LENGTH, 5, false },
        { "HTTP/1.0 200 OK\r\n\r\n", false, HTTP_BODY_UNTIL_CLOSE, 0, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 100 Continue\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", false, HTTP_BODY_NONE, 0, true },
        { "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", false, HTTP_BODY_LENGTH, 1, true },
        { "HTTP/1.1 599 \r\nContent-Length: 1\r\n\r\n", false, HTTP_BODY_LENGTH, 1, true },
};

static void the_end_of_a_response_is_known(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(framings); i++) {
                const struct framing *framing = &framings[i];
                struct http_response response;

                assert_int_equal(parse(framing->head, strlen(framing->head), framing->to_head, &response),
                                 HTTP_RESPONSE_OK);
                assert_int_equal(response.status, atoi(framing->head + 9));
                assert_int_equal(response.body, framing->body);
                if (framing->body == HTTP_BODY_LENGTH)
                        assert_int_equal(response.body_length, framing->body_length);
                assert_int_equal(response.keep_alive, framing->keep_alive);
                assert_int_equal(response.length, strlen(framing->head));
        }
}

static void every_prefix_of_a_valid_head_needs_more(void **state)
{
        struct http_response response;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(framings); i++)
                for (size_t length = 0; length < strlen(framings[i].head); length++)
                        assert_int_equal(parse(framings[i].head, length, false, &response), HTTP_RESPONSE_NEED_MORE);
}

static void what_can_be_read_in_two_ways_is_malformed(void **state)
{
        static const char *const wrong[] = {
                "\r\nHTTP/1.1 200 OK\r\n\r\n",
                "HTTP/2.0 200 OK\r\n\r\n",
                "HTTP/1.2 200 OK\r\n\r\n",
                "HTTP/1.1  200 OK\r\n\r\n",
                "HTTP/1.1 099 OK\r\n\r\n",
                "HTTP/1.1 600 OK\r\n\r\n",
                "HTTP/1.1 20 OK\r\n\r\n",
                "HTTP/1.1 2000 OK\r\n\r\n",
                "HTTP/1.1 +20 OK\r\n\r\n",
                "HTTP/1.1 200\tOK\r\n\r\n",
                "HTTP/1.1 200 O\001K\r\n\r\n",
                "HTTP/1.1 200 OK\rX\r\n\r\n",
                "HTTP/1.1 200 OK\n",
                "HTTP/1.1 20\r\n\r\n",
                "SSH-2.0-x\r\n\r\n",
                "HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
                "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
                "HTTP/1.1 200 OK\r\nX: y\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n",
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                assert_verdict(wrong[i], HTTP_RESPONSE_MALFORMED);
}

static void a_head_over_64_kib_is_malformed(void **state)
{
        static char text[HTTP_RESPONSE_MAX_BYTES + 2];

        (void)state;
        memset(text, 'a', HTTP_RESPONSE_MAX_BYTES);
        memcpy(text, "HTTP/1.1 200 ", 13);
        assert_verdict(text, HTTP_RESPONSE_MALFORMED);
        text[HTTP_RESPONSE_MAX_BYTES - 1] = '\0';
        assert_verdict(text, HTTP_RESPONSE_NEED_MORE);
}

static void random_damage_never_crashes(void **state)
{
        struct http_response response;
        unsigned seed = 20260703;
        char text[256];

        (void)state;
        for (unsigned round = 0; round < 100000; round++) {
                const char *whole = framings[round % ARRAY_SIZE(framings)].head;
                size_t length = strlen(whole);
                memcpy(text, whole, length);
                for (unsigned i = 0; i < 3; i++)
                        text[(size_t)rand_r(&seed) % length] = (char)(rand_r(&seed) % 256);
                (void)parse(text, length, false, &response);
        }
}

/* Feeds text in pieces of at most size bytes. Returns how many were taken when the body ended, or -EBADMSG, or -EAGAIN. */
static int feed(enum http_body kind, uint64_t body_length, const char *text, size_t length, size_t size)
{
        struct http_body_reader reader;
        size_t total = 0, taken;

        http_body_start(&reader, kind, body_length);
        while (!reader.done && total < length) {
                size_t count = length - total < size ? length - total : size;
                if (http_body_feed(&reader, guarded_copy(&guarded, text + total, count), count, &taken) < 0)
                        return -EBADMSG;
                assert_true(taken == count || reader.done);
                total += taken;
        }
        return reader.done ? (int)total : -EAGAIN;
}

static int feed_chunks(const char *text)
{
        return feed(HTTP_BODY_CHUNKED, 0, text, strlen(text), SIZE_MAX);
}

static const char *const valid_chunks[] = {
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "F\r\n0123456789abcde\r\n00\r\n\r\n",
        "0005;a=b;c=\"d\"\r\nhello\r\n000;x\r\n\r\n",
        "A\r\n"
        "0\r\n\r\n0\r\n\r\n"
        "\r\n"
        "0b\r\n"
        "\r\n\r\n\r\n\r\n\r\n\r"
        "\r\n"
        "0\r\nDigest: abc\r\nX-Empty:\r\n\r\n",
};

static void a_chunked_body_ends_where_it_says_however_it_is_cut(void **state)
{
        char text[256];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(valid_chunks); i++) {
                size_t length = strlen(valid_chunks[i]);
                snprintf(text, sizeof(text), "%sHTTP/1.1 200 OK\r\n", valid_chunks[i]);
                for (size_t size = 1; size <= strlen(text); size++)
                        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, strlen(text), size), length);
                for (size_t cut = 0; cut < length; cut++)
                        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, cut, SIZE_MAX), -EAGAIN);
        }
}

static void a_malformed_chunk_is_refused(void **state)
{
        static const char *const wrong[] = {
                "\r\n",
                ";a\r\n",
                "g\r\n",
                "0x5\r\nhello",
                "-1\r\n",
                "+5\r\nhello",
                " 5\r\nhello",
                "5 \r\nhello",
                "5\nhello",
                "5\r\r\nhello",
                "5\rhello",
                "5\r\nhello0\r\n",
                "5\r\nhello\n",
                "5\r\nhello\r0",
                "5;a\n",
                "5;a\x01\r\n",
                "0\r\n\n",
                "0\r\nX\r\n",
                "0\r\n: y\r\n",
                "0\r\nX : y\r\n",
                "0\r\n X: y\r\n",
                "0\r\nX: y\n",
                "0\r\nX: y\r\n folded\r\n",
                "0\r\nX: a\rb\r\n",
                "8000000000000000\r\n",
                "10000000000000005\r\n",
                "5\r\nhello\r\n\r\n",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                if (feed_chunks(wrong[i]) != -EBADMSG)
                        print_error("%s", wrong[i]);
                assert_int_equal(feed_chunks(wrong[i]), -EBADMSG);
        }
        assert_int_equal(feed_chunks("7fffffffffffffff\r\nabc"), -EAGAIN);
}

static void a_reader_stays_bad_after_a_malformed_chunk(void **state)
{
        struct http_body_reader reader;
        size_t taken;

        (void)state;
        http_body_start(&reader, HTTP_BODY_CHUNKED, 0);
        assert_int_equal(http_body_feed(&reader, "x", 1, &taken), -EBADMSG);
        assert_int_equal(http_body_feed(&reader, "0\r\n\r\n", 5, &taken), -EBADMSG);
        assert_false(reader.done);
}

static void lines_between_chunks_are_bounded(void **state)
{
        static char text[2 * HTTP_BODY_MAX_TRAILERS];
        size_t length = HTTP_BODY_MAX_SIZE_LINE;

        (void)state;
        memset(text, '0', sizeof(text));
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, length, 7), -EAGAIN);
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, length + 1, 7), -EBADMSG);
        memset(text, 'x', sizeof(text));
        memcpy(text, "5;", 2);
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, length, 7), -EAGAIN);
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, length + 1, 7), -EBADMSG);
        memcpy(text, "0\r\nX:", 5);
        /* The size line of the last chunk counts too. */
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, HTTP_BODY_MAX_TRAILERS, 7), -EAGAIN);
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, HTTP_BODY_MAX_TRAILERS + 1, 7), -EBADMSG);
}

static void many_trailers_are_bounded_together(void **state)
{
        static char text[2 * HTTP_BODY_MAX_TRAILERS];
        char *end = text + sprintf(text, "0\r\n");

        (void)state;
        while (end - text <= HTTP_BODY_MAX_TRAILERS)
                end += sprintf(end, "X: y\r\n");
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, (size_t)(end - text), 1000), -EBADMSG);
}

static void many_chunks_are_no_longer_than_each(void **state)
{
        static char text[200000];
        char *end = text;

        (void)state;
        while (end < text + sizeof(text) - 16)
                end += sprintf(end, "1\r\na\r\n");
        end += sprintf(end, "0\r\n\r\n");
        assert_int_equal(feed(HTTP_BODY_CHUNKED, 0, text, (size_t)(end - text), 1000), end - text);
}

static void bodies_with_a_length_end_there(void **state)
{
        (void)state;
        assert_int_equal(feed(HTTP_BODY_LENGTH, 5, "helloGET", 8, SIZE_MAX), 5);
        assert_int_equal(feed(HTTP_BODY_LENGTH, 5, "helloGET", 8, 1), 5);
        assert_int_equal(feed(HTTP_BODY_LENGTH, 5, "hell", 4, 1), -EAGAIN);
        assert_int_equal(feed(HTTP_BODY_LENGTH, 0, "GET", 3, 1), 0);
        assert_int_equal(feed(HTTP_BODY_NONE, 0, "GET", 3, 1), 0);
        assert_int_equal(feed(HTTP_BODY_UNTIL_CLOSE, 0, "GET", 3, 1), -EAGAIN);
        assert_int_equal(feed(HTTP_BODY_LENGTH, UINT64_MAX, "GET", 3, 1), -EAGAIN);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_end_of_a_response_is_known),
                cmocka_unit_test(every_prefix_of_a_valid_head_needs_more),
                cmocka_unit_test(what_can_be_read_in_two_ways_is_malformed),
                cmocka_unit_test(a_head_over_64_kib_is_malformed),
                cmocka_unit_test(random_damage_never_crashes),
                cmocka_unit_test(a_chunked_body_ends_where_it_says_however_it_is_cut),
                cmocka_unit_test(a_malformed_chunk_is_refused),
                cmocka_unit_test(a_reader_stays_bad_after_a_malformed_chunk),
                cmocka_unit_test(lines_between_chunks_are_bounded),
                cmocka_unit_test(many_trailers_are_bounded_together),
                cmocka_unit_test(many_chunks_are_no_longer_than_each),
                cmocka_unit_test(bodies_with_a_length_end_there),
        };

        return cmocka_run_group_tests(tests, open_guard, close_guard);
}
