/* What the tests of http_request share: input before a guard page, and heads that must be read. Include after cmocka.h. */
#pragma once

#include "guarded.h"
#include "inspect/http_fields.h"
#include "inspect/http_request.h"

#define ORIGIN "GET / HTTP/1.1\r\nHost: example.com\r\n"

static struct guarded guarded;

static inline int open_guard(void **state)
{
        (void)state;
        guarded_open(&guarded, 2 * HTTP_REQUEST_MAX_BYTES);
        return 0;
}

static inline int close_guard(void **state)
{
        (void)state;
        guarded_close(&guarded);
        return 0;
}

static inline enum http_request_status parse(const char *bytes, size_t length, struct http_request *ret,
                                             size_t *ret_needed)
{
        return http_request_parse(guarded_copy(&guarded, bytes, length), length, ret, ret_needed);
}

static inline enum http_request_status verdict(const char *text)
{
        struct http_request request;
        size_t needed;

        return parse(text, strlen(text), &request, &needed);
}

static inline void assert_verdict(const char *text, enum http_request_status expected)
{
        enum http_request_status status = verdict(text);

        if (status != expected)
                print_error("%s", text);
        assert_int_equal(status, expected);
}

static inline struct http_request parse_ok(const char *text)
{
        struct http_request request;
        size_t needed;

        if (parse(text, strlen(text), &request, &needed) != HTTP_REQUEST_OK)
                print_error("%s", text);
        assert_int_equal(parse(text, strlen(text), &request, &needed), HTTP_REQUEST_OK);
        assert_int_equal(request.length, strlen(text));
        return request;
}

/* Request heads that must be read, of each kind. */
static const char *const valid[] = {
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhOST:Example.COM.:8080 \t\r\n\r\n",
        "GET /a/b?c=d&e=%20 HTTP/1.1\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nHost: example.com\r\n\r\n",
        "HEAD / HTTP/1.0\r\nHost: example.com\r\n\r\n",
        "POST /upload HTTP/1.1\r\nHost: example.com\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\r\n",
        "POST /upload HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET http://example.com/path HTTP/1.1\r\nHost: example.com:80\r\nProxy-Connection: keep-alive\r\n\r\n",
        "GET HTTP://EXAMPLE.com:8080?q HTTP/1.1\r\nHost: example.com:8080\r\n\r\n",
        "GET http://[2001:db8::1]:8080/ HTTP/1.0\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n",
        "GET /chat HTTP/1.1\r\nHost: 192.0.2.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com\r\nX: \xfc\xff tab\there\r\nY:\r\nConnection: close, , x\r\n\r\n",
};
