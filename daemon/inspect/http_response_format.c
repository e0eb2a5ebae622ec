#include "inspect/http_response_format.h"

#include <string.h>

#include "inspect/http_fields.h"

#define END_KEEP "\r\n"
#define END_CLOSE "Connection: close\r\n\r\n"

static bool is_hop_by_hop(struct http_text name)
{
        return http_text_is(name, "connection") || http_text_is(name, "keep-alive") ||
               http_text_is(name, "proxy-connection") || http_text_is(name, "upgrade");
}

/* The caller has made sure that there is room. */
static size_t put(char *buffer, const char *bytes, size_t length)
{
        memcpy(buffer, bytes, length);
        return length;
}

size_t http_response_format_client(const void *bytes, const struct http_response *response, bool close, char *buffer,
                                   size_t size)
{
        const char *end = close ? END_CLOSE : END_KEEP;
        struct http_options options;
        struct http_head head;
        struct http_field field;
        size_t needed, length;

        if (size < response->length + HTTP_RESPONSE_FORMAT_ROOM ||
            http_head_split(bytes, response->length, HTTP_RESPONSE_MAX_BYTES, &head, &needed) != HTTP_HEAD_OK)
                return 0;
        http_options_collect(head.fields, &options);
        length = put(buffer, head.line.start, head.line.length + 2);
        while (head.fields.length > 0 && http_field_next(&head.fields, &field) == 0)
                if (!is_hop_by_hop(field.name) && !http_options_contain(&options, field.name))
                        length += put(buffer + length, field.line.start, field.line.length);
        return length + put(buffer + length, end, strlen(end));
}
