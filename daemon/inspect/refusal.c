#include "inspect/refusal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "base/fqdn.h"

#define MAX_ID 64
#define MAX_BODY 1024
#define RETRY_AFTER_S 5

/* One row for each http_status of the reason table; error is a proxy error type of RFC 9209 2.3. */
struct status_row {
        unsigned status;
        const char *phrase;
        const char *error;
        bool retry_after;
};

static const struct status_row status_rows[] = {
        { 400, "Bad Request", "http_request_error", false },
        { 403, "Forbidden", "http_request_denied", false },
        { 408, "Request Timeout", "http_request_error", false },
        { 429, "Too Many Requests", "connection_limit_reached", true },
        { 431, "Request Header Fields Too Large", "http_request_error", false },
        { 502, "Bad Gateway", "destination_unavailable", false },
        { 503, "Service Unavailable", "connection_limit_reached", true },
        { 504, "Gateway Timeout", "connection_timeout", false },
};

static const struct status_row *find_status(unsigned status)
{
        for (size_t i = 0; i < ARRAY_SIZE(status_rows); i++)
                if (status_rows[i].status == status)
                        return &status_rows[i];
        return NULL;
}

/* Text that ends in NUL and is cut rather than overrun. */
struct text {
        char *buffer;
        size_t size;
        size_t length;
};

PRINTF_LIKE(2, 3)
static void append(struct text *text, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        int length = vsnprintf(text->buffer + text->length, text->size - text->length, format, arguments);
        va_end(arguments);
        if (length > 0)
                text->length += (size_t)length;
        if (text->length >= text->size)
                text->length = text->size - 1;
}

/* "label: value" as a line of its own, without control bytes, or nothing for "". */
static void append_line(struct text *text, const char *label, const char *value, int maximum)
{
        size_t start;

        if (value[0] == '\0')
                return;
        append(text, "%s: ", label);
        start = text->length;
        append(text, "%.*s", maximum, value);
        for (size_t i = start; i < text->length; i++)
                if (iscntrl((unsigned char)text->buffer[i]) != 0)
                        text->buffer[i] = '?';
        append(text, "\n");
}

size_t refusal_format_http(enum reason reason, const char *name, const char *hint, const char *connection_id,
                           char buffer[REFUSAL_MAX_BYTES])
{
        const struct reason_row *row = reason_row(reason);
        const struct status_row *status = find_status(row->http_status);
        char body_buffer[MAX_BODY];
        struct text body = { .buffer = body_buffer, .size = sizeof(body_buffer) };
        struct text answer = { .buffer = buffer, .size = REFUSAL_MAX_BYTES };

        if (status == NULL)
                return 0;
        append(&body, "aksegressd %s this request: %s\n",
               row->outcome == REASON_OUTCOME_REFUSED ? "refused" : "could not complete", row->text);
        append(&body, "meaning: %s\n", row->meaning);
        append_line(&body, "name", name, FQDN_MAX_LENGTH);
        append_line(&body, "hint", hint, REFUSAL_MAX_HINT);
        append_line(&body, "id", connection_id, MAX_ID);
        append(&answer, "HTTP/1.1 %u %s\r\n", status->status, status->phrase);
        append(&answer, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n", body.length);
        append(&answer, "Cache-Control: no-store\r\nConnection: close\r\n");
        append(&answer, "Proxy-Status: aksegressd; error=%s; details=\"%s\"\r\n", status->error, row->text);
        if (status->retry_after)
                append(&answer, "Retry-After: %d\r\n", RETRY_AFTER_S);
        append(&answer, "\r\n%s", body_buffer);
        return answer.length;
}

size_t refusal_format_tls(enum reason reason, uint8_t buffer[REFUSAL_MAX_BYTES])
{
        /* type alert, legacy version, length 2; level fatal, description (RFC 8446 5.1 and 6) */
        const uint8_t record[] = { 21, 3, 3, 0, 2, 2, reason_row(reason)->tls_alert };

        if (reason_row(reason)->tls_alert == 0)
                return 0;
        memcpy(buffer, record, sizeof(record));
        return sizeof(record);
}
