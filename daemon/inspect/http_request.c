#include "inspect/http_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "inspect/http_fields.h"

#define HTTP_PORT 80 /* RFC 9110 4.2.1 */

/* The request line (RFC 9112 3): method SP target SP HTTP/1.x, and the target taken apart. */
struct request_line {
        struct http_text method;
        struct http_text authority; /* of absolute-form and CONNECT; else length 0 */
        struct http_text path;      /* what stands in origin-form, perhaps "" or "?query"; not for CONNECT */
        enum http_request_form form;
        bool version_1_1;
};

struct authority {
        struct fqdn name;
        struct net_address address;
        uint16_t port;
        bool has_port;
};

static struct http_text text_from(struct http_text text, size_t offset)
{
        return (struct http_text){ text.start + offset, text.length - offset };
}

/* One to five digits, no leading zero, not 0. */
static bool parse_port(struct http_text text, uint16_t *ret)
{
        uint64_t number;

        if (text.length == 0 || text.start[0] == '0' || http_text_to_number(text, &number) < 0 || number > UINT16_MAX)
                return false;
        *ret = (uint16_t)number;
        return true;
}

/* "[v6]" with what follows left in *rest. */
static bool parse_bracketed(struct http_text *rest, struct net_address *ret)
{
        struct http_text literal = { 0 };

        *rest = text_from(*rest, 1);
        return http_text_cut(rest, ']', &literal) && literal.length > 0 &&
               net_address_parse(literal.start, literal.length, ret) == 0 && ret->family == AF_INET6;
}

static bool parse_host(struct http_text *rest, struct authority *ret)
{
        struct http_text host;

        if (rest->length > 0 && rest->start[0] == '[')
                return parse_bracketed(rest, &ret->address);
        const char *colon = rest->length > 0 ? memchr(rest->start, ':', rest->length) : NULL;
        host = (struct http_text){ rest->start, colon != NULL ? (size_t)(colon - rest->start) : rest->length };
        *rest = text_from(*rest, host.length);
        /* Never both: a name does not end in a number. */
        return fqdn_from_bytes(host.start, host.length, &ret->name) == 0 ||
               net_address_parse(host.start, host.length, &ret->address) == 0;
}

/* host [ ":" port ], where host is a name, a dotted quad or an IPv6 address in brackets (RFC 3986 3.2.2). */
static enum http_request_status parse_authority(struct http_text text, struct authority *ret)
{
        struct authority authority = { .port = HTTP_PORT };

        if (text.length > 0 && memchr(text.start, '@', text.length) != NULL)
                return HTTP_REQUEST_MALFORMED;
        if (!parse_host(&text, &authority))
                return HTTP_REQUEST_BAD_HOST;
        if (text.length > 0) {
                authority.has_port = true;
                if (text.start[0] != ':' || !parse_port(text_from(text, 1), &authority.port))
                        return HTTP_REQUEST_BAD_HOST;
        }
        *ret = authority;
        return HTTP_REQUEST_OK;
}

static bool same_host(const struct authority *a, const struct authority *b)
{
        return fqdn_equal(&a->name, &b->name) && net_address_equal(&a->address, &b->address);
}

static bool split_absolute(struct http_text target, struct request_line *ret)
{
        static const char scheme[] = "http://";
        size_t length = 0;

        if (!http_text_starts_with(target, scheme))
                return false;
        target = text_from(target, sizeof(scheme) - 1);
        while (length < target.length && target.start[length] != '/' && target.start[length] != '?')
                length++;
        ret->form = HTTP_REQUEST_ABSOLUTE;
        ret->authority = (struct http_text){ target.start, length };
        ret->path = text_from(target, length);
        return true;
}

static bool split_target(struct http_text target, struct request_line *ret)
{
        if (target.length == 0 || http_text_target_length(target) != target.length)
                return false;
        if (http_text_is(ret->method, "CONNECT")) {
                ret->form = HTTP_REQUEST_CONNECT;
                ret->authority = target;
                return true;
        }
        ret->form = HTTP_REQUEST_ORIGIN;
        ret->path = target;
        if (target.start[0] == '/' || (http_text_is(ret->method, "OPTIONS") && http_text_is(target, "*")))
                return true;
        return split_absolute(target, ret);
}

/* Methods are case-sensitive (RFC 9110 9.1): a "head" that only some server takes for HEAD has two lengths of answer. */
static bool method_is_ambiguous(struct http_text method)
{
        static const char *const special[] = { "CONNECT", "HEAD", "OPTIONS" };

        for (size_t i = 0; i < ARRAY_SIZE(special); i++)
                if (http_text_is(method, special[i]))
                        return memcmp(method.start, special[i], method.length) != 0;
        return false;
}

/* Exactly one space twice: further ones land in the target or the version and are refused there. */
static bool split_request_line(struct http_text line, struct request_line *ret)
{
        struct http_text target;
        struct http_text version = line;

        if (!http_text_cut(&version, ' ', &ret->method) || method_is_ambiguous(ret->method) ||
            !http_text_cut(&version, ' ', &target))
                return false;
        /* The version is case-sensitive (RFC 9112 2.3). */
        if (version.length != 8 || memcmp(version.start, "HTTP/1.", 7) != 0 ||
            (version.start[7] != '0' && version.start[7] != '1'))
                return false;
        ret->version_1_1 = version.start[7] == '1';
        return split_target(target, ret);
}

/* Which of target and Host says where to go, and do they agree (RFC 9112 3.2)? */
static enum http_request_status decide_authority(const struct request_line *line, const struct http_fields *fields,
                                                 struct authority *ret)
{
        bool origin = line->form == HTTP_REQUEST_ORIGIN, connect = line->form == HTTP_REQUEST_CONNECT;
        struct authority host = { 0 }, target = { 0 };
        enum http_request_status status = HTTP_REQUEST_OK;

        if (!fields->has_host && (origin || (line->version_1_1 && !connect)))
                return HTTP_REQUEST_BAD_HOST;
        if (fields->has_host)
                status = parse_authority(fields->host, &host);
        if (status == HTTP_REQUEST_OK && !origin)
                status = parse_authority(line->authority, &target);
        if (status != HTTP_REQUEST_OK)
                return status;
        if (connect && !target.has_port)
                return HTTP_REQUEST_BAD_HOST;
        if (!origin && fields->has_host) {
                bool port_agrees = host.port == target.port || (connect && !host.has_port);
                if (!port_agrees || !same_host(&host, &target))
                        return HTTP_REQUEST_MALFORMED;
        }
        *ret = origin ? host : target;
        return HTTP_REQUEST_OK;
}

static bool decide_body(const struct request_line *line, const struct http_fields *fields, struct http_request *ret)
{
        bool body = fields->chunked || (fields->has_content_length && fields->content_length > 0);

        /* HTTP/1.0 has no codings (RFC 9112 6.1); a CONNECT's content has no meaning (RFC 9110 9.3.6). */
        if ((fields->chunked && !line->version_1_1) || (body && line->form == HTTP_REQUEST_CONNECT))
                return false;
        if (body) {
                ret->body = fields->chunked ? HTTP_BODY_CHUNKED : HTTP_BODY_LENGTH;
                ret->body_length = fields->content_length;
        }
        return true;
}

static enum http_request_status parse_head(const struct http_head *head, struct http_request *ret)
{
        struct http_request request = { .length = head->length };
        struct request_line line = { 0 };
        struct http_fields fields;
        struct authority authority;

        if (!split_request_line(head->line, &line))
                return HTTP_REQUEST_MALFORMED;
        int r = http_fields_parse(head->fields, &fields);
        if (r < 0)
                return r == -E2BIG ? HTTP_REQUEST_TOO_LARGE : HTTP_REQUEST_MALFORMED;
        if (!decide_body(&line, &fields, &request))
                return HTTP_REQUEST_MALFORMED;
        enum http_request_status status = decide_authority(&line, &fields, &authority);
        if (status != HTTP_REQUEST_OK)
                return status;
        request.form = line.form;
        request.name = authority.name;
        request.address = authority.address;
        request.port = authority.port;
        request.head_method = http_text_is(line.method, "HEAD");
        request.keep_alive = line.version_1_1 && !fields.connection_close;
        request.upgrade = request.keep_alive && fields.connection_upgrade && fields.upgrade_websocket;
        request.expect_continue = fields.expect_continue;
        *ret = request;
        return HTTP_REQUEST_OK;
}

/* Whether the bytes can start a request line: a method, and a space if there is more. */
static bool starts_like_http(struct http_text text)
{
        size_t length;

        if (text.length > HTTP_REQUEST_MAX_METHOD + 1)
                text.length = HTTP_REQUEST_MAX_METHOD + 1;
        length = http_text_token_length(text);
        if (length == text.length)
                return length <= HTTP_REQUEST_MAX_METHOD;
        return length > 0 && text.start[length] == ' ';
}

enum http_request_status http_request_parse(const void *bytes, size_t length, struct http_request *ret,
                                            size_t *ret_needed)
{
        struct http_head head;

        if (!starts_like_http((struct http_text){ bytes, length }))
                return HTTP_REQUEST_NOT_HTTP;
        switch (http_head_split(bytes, length, HTTP_REQUEST_MAX_BYTES, &head, ret_needed)) {
        case HTTP_HEAD_OK:
                return parse_head(&head, ret);
        case HTTP_HEAD_NEED_MORE:
                return HTTP_REQUEST_NEED_MORE;
        case HTTP_HEAD_TOO_LARGE:
                return HTTP_REQUEST_TOO_LARGE;
        case HTTP_HEAD_MALFORMED:
                break;
        }
        return HTTP_REQUEST_MALFORMED;
}

/* A buffer being filled; once something did not fit, it stays full. */
struct output {
        char *buffer;
        size_t size;
        size_t length;
        bool overflow;
};

static void put(struct output *output, struct http_text text)
{
        if (output->overflow || text.length > output->size - output->length) {
                output->overflow = true;
                return;
        }
        memcpy(output->buffer + output->length, text.start, text.length);
        output->length += text.length;
}

static void put_literal(struct output *output, const char *literal)
{
        put(output, (struct http_text){ literal, strlen(literal) });
}

static void put_request_line(struct output *output, const struct request_line *line)
{
        bool bare = line->path.length == 0;

        put(output, line->method);
        put_literal(output, " ");
        /* RFC 9112 3.2.4: OPTIONS http://host asks about the server as a whole. */
        if (bare && http_text_is(line->method, "OPTIONS"))
                put_literal(output, "*");
        else if (bare || line->path.start[0] == '?')
                put_literal(output, "/");
        put(output, line->path);
        put_literal(output, line->version_1_1 ? " HTTP/1.1\r\n" : " HTTP/1.0\r\n");
}

static void put_host(struct output *output, const struct http_request *request)
{
        char text[sizeof("Host: []:65535\r\n") + FQDN_MAX_LENGTH], address[NET_ADDRESS_TEXT_SIZE],
                port[sizeof(":65535")];
        const char *host = request->name.text;
        bool brackets = request->address.family == AF_INET6;

        if (request->name.length == 0)
                host = net_address_format(&request->address, address);
        snprintf(port, sizeof(port), ":%u", (unsigned)request->port);
        snprintf(text, sizeof(text), "Host: %s%s%s%s\r\n", brackets ? "[" : "", host, brackets ? "]" : "",
                 request->port == HTTP_PORT ? "" : port);
        put_literal(output, text);
}

static bool is_hop_by_hop(struct http_text name)
{
        static const char *const names[] = {
                "connection",         "keep-alive", "proxy-connection", "proxy-authorization",
                "proxy-authenticate", "te",         "upgrade"
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (http_text_is(name, names[i]))
                        return true;
        return false;
}

static void put_fields(struct output *output, struct http_text fields)
{
        struct http_field field;
        struct http_options options;

        http_options_collect(fields, &options);
        while (fields.length > 0 && http_field_next(&fields, &field) == 0)
                if (!http_text_is(field.name, "host") && !is_hop_by_hop(field.name) &&
                    !http_options_contain(&options, field.name))
                        put(output, field.line);
}

size_t http_request_format_upstream(const void *bytes, const struct http_request *request, char *buffer, size_t size)
{
        struct output output = { .buffer = buffer, .size = size };
        struct request_line line = { 0 };
        struct http_head head;
        size_t needed;

        if (http_head_split(bytes, request->length, HTTP_REQUEST_MAX_BYTES, &head, &needed) != HTTP_HEAD_OK ||
            !split_request_line(head.line, &line) || line.form == HTTP_REQUEST_CONNECT)
                return 0;
        put_request_line(&output, &line);
        put_host(&output, request);
        put_fields(&output, head.fields);
        if (request->upgrade)
                put_literal(&output, "Connection: upgrade\r\nUpgrade: websocket\r\n");
        else if (line.version_1_1 && !request->keep_alive)
                put_literal(&output, "Connection: close\r\n");
        put_literal(&output, "\r\n");
        return output.overflow ? 0 : output.length;
}
