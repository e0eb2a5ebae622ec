#include "process/admin_request.h"

#include <string.h>

/* Methods and versions are case-sensitive (RFC 9110 9.1, RFC 9112 2.3), unlike what http_text_is is for. */
static bool is_exactly(struct http_text text, const char *literal)
{
        return text.length == strlen(literal) && memcmp(text.start, literal, text.length) == 0;
}

/* The request line (RFC 9112 3): method SP target SP HTTP/1.x. */
static enum admin_request_status parse_line(struct http_text line, struct admin_request *request)
{
        struct http_text method, target, version = line;

        if (!http_text_cut(&version, ' ', &method) || !http_text_cut(&version, ' ', &target) || method.length == 0 ||
            http_text_token_length(method) != method.length || target.length == 0 ||
            http_text_target_length(target) != target.length)
                return ADMIN_REQUEST_MALFORMED;
        request->keep_alive = is_exactly(version, "HTTP/1.1");
        if (!request->keep_alive && !is_exactly(version, "HTTP/1.0"))
                return ADMIN_REQUEST_MALFORMED;
        request->head_method = is_exactly(method, "HEAD");
        if (!request->head_method && !is_exactly(method, "GET"))
                return ADMIN_REQUEST_BAD_METHOD;
        if (!http_text_cut(&target, '?', &request->path))
                request->path = target;
        return ADMIN_REQUEST_OK;
}

static enum admin_request_status parse_head(const struct http_head *head, struct admin_request *ret)
{
        struct admin_request request = { .length = head->length };
        struct http_fields fields;
        enum admin_request_status status = parse_line(head->line, &request);

        if (status != ADMIN_REQUEST_OK)
                return status;
        int r = http_fields_parse(head->fields, &fields);
        if (r < 0)
                return ADMIN_REQUEST_MALFORMED;
        if (fields.chunked || (fields.has_content_length && fields.content_length > 0))
                return ADMIN_REQUEST_HAS_BODY;
        request.keep_alive = request.keep_alive && !fields.connection_close;
        *ret = request;
        return ADMIN_REQUEST_OK;
}

enum admin_request_status admin_request_parse(const void *bytes, size_t length, struct admin_request *ret)
{
        struct http_head head;
        size_t needed;

        switch (http_head_split(bytes, length, ADMIN_REQUEST_MAX_BYTES, &head, &needed)) {
        case HTTP_HEAD_OK:
                return parse_head(&head, ret);
        case HTTP_HEAD_NEED_MORE:
                return ADMIN_REQUEST_NEED_MORE;
        case HTTP_HEAD_TOO_LARGE:
                return ADMIN_REQUEST_TOO_LARGE;
        case HTTP_HEAD_MALFORMED:
                break;
        }
        return ADMIN_REQUEST_MALFORMED;
}
