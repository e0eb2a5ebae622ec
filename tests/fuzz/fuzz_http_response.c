/* Input: a byte (bit 0: the request was HEAD), then what an origin sends. */
#include "fuzz.h"

#include <string.h>

#include "inspect/http_response.h"
#include "inspect/http_response_format.h"

static enum http_response_status parse(const uint8_t *data, size_t size, bool to_head, struct http_response *ret)
{
        uint8_t *exact = malloc(size + 1);

        CHECK(exact != NULL);
        memcpy(exact + 1, data, size);
        enum http_response_status status = http_response_parse(exact + 1, size, to_head, ret);
        free(exact);
        return status;
}

/* As the client gets it, it ends where it ended before. */
static void check_client_side(const uint8_t *data, bool to_head, const struct http_response *response, bool close)
{
        static char buffer[HTTP_RESPONSE_MAX_BYTES + HTTP_RESPONSE_FORMAT_ROOM];
        size_t room = response->length + HTTP_RESPONSE_FORMAT_ROOM;
        size_t length = http_response_format_client(data, response, close, buffer, room);
        struct http_response parsed;

        CHECK(length > 0 && length <= room);
        if (http_response_parse(buffer, length, to_head, &parsed) != HTTP_RESPONSE_OK) {
                /* "Connection: close" may have taken it over a limit. */
                CHECK(close);
                return;
        }
        CHECK(parsed.length == length && parsed.status == response->status);
        CHECK(parsed.body == response->body && parsed.body_length == response->body_length);
        CHECK(!(close && parsed.keep_alive));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct http_response response, other;

        if (size == 0)
                return 0;
        bool to_head = (data[0] & 1) != 0;
        data++;
        size--;
        if (parse(data, size, to_head, &response) != HTTP_RESPONSE_OK)
                return 0;
        CHECK(response.length <= size && response.status >= 100 && response.status <= 599);
        CHECK(response.body != HTTP_BODY_LENGTH || response.body_length > 0);
        CHECK(response.body != HTTP_BODY_UNTIL_CLOSE || !response.keep_alive);
        CHECK(!(to_head || response.status < 200 || response.status == 204 || response.status == 304) ||
              response.body == HTTP_BODY_NONE);
        CHECK(parse(data, response.length, to_head, &other) == HTTP_RESPONSE_OK);
        CHECK(other.status == response.status && other.body == response.body &&
              other.keep_alive == response.keep_alive);
        CHECK(parse(data, response.length - 1, to_head, &other) == HTTP_RESPONSE_NEED_MORE);
        if (response.status >= 200) {
                check_client_side(data, to_head, &response, true);
                check_client_side(data, to_head, &response, false);
        }
        return 0;
}
