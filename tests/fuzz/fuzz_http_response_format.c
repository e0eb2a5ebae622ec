/* Input: a byte (bit 0: close), then what an origin sends. */
#include "fuzz.h"

#include <string.h>
#include <strings.h>

#include "inspect/http_fields.h"
#include "inspect/http_response_format.h"

/* Returns false where the field that was added is one too many to be read back. */
static bool check_fields(const char *bytes, size_t length, bool close)
{
        struct http_head head;
        struct http_field field;
        unsigned connections = 0;
        size_t needed;
        enum http_head_status status = http_head_split(bytes, length, SIZE_MAX, &head, &needed);

        if (close && status == HTTP_HEAD_TOO_LARGE)
                return false;
        CHECK(status == HTTP_HEAD_OK && head.length == length);
        while (head.fields.length > 0) {
                CHECK(http_field_next(&head.fields, &field) == 0);
                CHECK(!http_text_is(field.name, "keep-alive") && !http_text_is(field.name, "upgrade"));
                if (http_text_is(field.name, "connection")) {
                        CHECK(http_text_is(field.value, "close"));
                        connections++;
                }
        }
        CHECK(connections == (close ? 1 : 0));
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct http_response response, other;

        if (size == 0)
                return 0;
        bool close = (data[0] & 1) != 0;
        data++;
        size--;
        if (http_response_parse(data, size, false, &response) != HTTP_RESPONSE_OK || response.status < 200)
                return 0;
        size_t room = response.length + HTTP_RESPONSE_FORMAT_ROOM;
        char *buffer = malloc(room);
        CHECK(buffer != NULL);
        size_t length = http_response_format_client(data, &response, close, buffer, room);
        CHECK(length > 0 && length <= room);
        /* A client reads the same message, unless the head has only just become too long for this parser. */
        if (check_fields(buffer, length, close) && length < HTTP_RESPONSE_MAX_BYTES) {
                CHECK(http_response_parse(buffer, length, false, &other) == HTTP_RESPONSE_OK);
                CHECK(other.length == length && other.status == response.status && other.body == response.body &&
                      other.body_length == response.body_length);
                CHECK(!close || !other.keep_alive);
        }
        free(buffer);
        return 0;
}
