/*
 * Input: bytes that a client sends. A head that is accepted must not depend on what follows it, nor be found earlier; and
 * as sent to the origin it must mean the same server and the same body.
 */
#include "fuzz.h"

#include <string.h>

#include "inspect/http_request.h"

static enum http_request_status parse(const uint8_t *data, size_t size, struct http_request *ret)
{
        size_t needed = 0;
        uint8_t *exact = malloc(size + 1);

        CHECK(exact != NULL);
        memcpy(exact + 1, data, size);
        enum http_request_status status = http_request_parse(exact + 1, size, ret, &needed);
        if (status == HTTP_REQUEST_NEED_MORE)
                CHECK(needed > size && needed <= HTTP_REQUEST_MAX_BYTES + 4);
        free(exact);
        return status;
}

static void check_same(const struct http_request *a, const struct http_request *b)
{
        CHECK(fqdn_equal(&a->name, &b->name) && net_address_equal(&a->address, &b->address) && a->port == b->port);
        CHECK(a->body == b->body && a->body_length == b->body_length);
        CHECK(a->head_method == b->head_method && a->keep_alive == b->keep_alive && a->upgrade == b->upgrade);
        CHECK(a->expect_continue == b->expect_continue);
}

static void check_upstream(const uint8_t *data, const struct http_request *request)
{
        static char buffer[HTTP_REQUEST_MAX_BYTES + HTTP_REQUEST_FORMAT_ROOM];
        static char again[sizeof(buffer) + HTTP_REQUEST_FORMAT_ROOM];
        size_t length = http_request_format_upstream(data, request, buffer, request->length + HTTP_REQUEST_FORMAT_ROOM);
        struct http_request parsed;
        size_t needed;

        if (request->form == HTTP_REQUEST_CONNECT) {
                CHECK(length == 0);
                return;
        }
        CHECK(length > 0);
        /* What was added may take it over a limit; nothing else may be wrong with it. */
        enum http_request_status status = http_request_parse(buffer, length, &parsed, &needed);
        CHECK(status == HTTP_REQUEST_OK || status == HTTP_REQUEST_TOO_LARGE);
        if (status == HTTP_REQUEST_TOO_LARGE)
                return;
        CHECK(parsed.form == HTTP_REQUEST_ORIGIN && parsed.length == length);
        check_same(request, &parsed);
        /* What is clean stays as it is, but for the order of the fields written by us. */
        CHECK(http_request_format_upstream(buffer, &parsed, again, sizeof(again)) == length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct http_request request, other;

        if (size > HTTP_REQUEST_MAX_BYTES + 1000 || parse(data, size, &request) != HTTP_REQUEST_OK)
                return 0;
        CHECK(request.length <= size && request.length <= HTTP_REQUEST_MAX_BYTES);
        CHECK((request.name.length == 0) != (request.address.family == AF_UNSPEC));
        CHECK(request.port != 0);
        CHECK(parse(data, request.length, &other) == HTTP_REQUEST_OK);
        check_same(&request, &other);
        CHECK(parse(data, request.length - 1, &other) == HTTP_REQUEST_NEED_MORE);
        CHECK(parse(data, request.length / 2, &other) == HTTP_REQUEST_NEED_MORE);
        check_upstream(data, &request);
        return 0;
}
