#include "inspect/inspect.h"

#include <string.h>

#define TLS_HANDSHAKE_RECORD 22 /* RFC 8446 5.1; no HTTP method starts with this byte */

static enum inspect_status refuse(struct inspect_result *result, enum reason reason)
{
        result->reason = reason;
        return INSPECT_REFUSE;
}

static enum inspect_status inspect_hello(const void *bytes, size_t length, struct inspect_result *ret)
{
        ret->protocol = INSPECT_PROTOCOL_TLS;
        switch (client_hello_parse(bytes, length, &ret->hello, &ret->needed)) {
        case CLIENT_HELLO_OK:
                return INSPECT_OK;
        case CLIENT_HELLO_NEED_MORE:
                return INSPECT_NEED_MORE;
        case CLIENT_HELLO_NOT_TLS:
                ret->protocol = INSPECT_PROTOCOL_UNKNOWN;
                return refuse(ret, REASON_UNKNOWN_PROTOCOL);
        case CLIENT_HELLO_MALFORMED:
                return refuse(ret, REASON_BAD_CLIENT_HELLO);
        case CLIENT_HELLO_BAD_NAME:
                return refuse(ret, REASON_BAD_SERVER_NAME);
        case CLIENT_HELLO_TOO_LARGE:
                return refuse(ret, REASON_CLIENT_HELLO_TOO_LARGE);
        }
        return refuse(ret, REASON_BAD_CLIENT_HELLO);
}

static enum inspect_status inspect_request(const void *bytes, size_t length, struct inspect_result *ret)
{
        ret->protocol = INSPECT_PROTOCOL_HTTP;
        switch (http_request_parse(bytes, length, &ret->request, &ret->needed)) {
        case HTTP_REQUEST_OK:
                return INSPECT_OK;
        case HTTP_REQUEST_NEED_MORE:
                return INSPECT_NEED_MORE;
        case HTTP_REQUEST_NOT_HTTP:
                ret->protocol = INSPECT_PROTOCOL_UNKNOWN;
                return refuse(ret, REASON_UNKNOWN_PROTOCOL);
        case HTTP_REQUEST_MALFORMED:
                return refuse(ret, REASON_BAD_REQUEST);
        case HTTP_REQUEST_BAD_HOST:
                return refuse(ret, REASON_BAD_SERVER_NAME);
        case HTTP_REQUEST_TOO_LARGE:
                return refuse(ret, REASON_REQUEST_TOO_LARGE);
        }
        return refuse(ret, REASON_BAD_REQUEST);
}

static enum inspect_status need_first_byte(struct inspect_result *ret)
{
        ret->protocol = INSPECT_PROTOCOL_UNKNOWN;
        ret->needed = 1;
        return INSPECT_NEED_MORE;
}

enum inspect_status inspect_bytes(const void *bytes, size_t length, struct inspect_result *ret)
{
        const unsigned char *first = bytes;

        if (length == 0)
                return need_first_byte(ret);
        if (first[0] == TLS_HANDSHAKE_RECORD)
                return inspect_hello(bytes, length, ret);
        return inspect_request(bytes, length, ret);
}

enum inspect_status inspect_tunnel_bytes(const void *bytes, size_t length, struct inspect_result *ret)
{
        if (length == 0)
                return need_first_byte(ret);
        return inspect_hello(bytes, length, ret);
}

bool inspect_looks_like_http(const void *bytes, size_t length)
{
        static const char *const starts[] = { "GET ",     "POST ",  "PUT ",     "HEAD ", "DELETE ",
                                              "OPTIONS ", "PATCH ", "CONNECT ", "TRACE " };

        for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
                size_t compared = strlen(starts[i]) < length ? strlen(starts[i]) : length;
                if (memcmp(bytes, starts[i], compared) == 0)
                        return true;
        }
        return false;
}
