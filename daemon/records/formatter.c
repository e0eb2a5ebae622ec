#include "records/formatter.h"

#include <assert.h>
#include <string.h>

#include "records/formatter_azure.h"
#include "records/formatter_cef.h"
#include "records/formatter_journal.h"
#include "records/formatter_json.h"
#include "records/formatter_syslog.h"

static const struct {
        size_t (*body)(const struct formatter_style *, const struct decision *, struct text_builder *);
        void (*stamp)(const struct formatter_stamp *, struct text_builder *);
} formats[] = {
        [CONFIG_FORMAT_JSON] = { formatter_json_body, formatter_json_stamp },
        [CONFIG_FORMAT_JOURNAL] = { formatter_journal_body, formatter_journal_stamp },
        [CONFIG_FORMAT_SYSLOG] = { formatter_syslog_body, formatter_syslog_stamp },
        [CONFIG_FORMAT_CEF] = { formatter_cef_body, formatter_cef_stamp },
        [CONFIG_FORMAT_AZURE] = { formatter_azure_body, formatter_azure_stamp },
};

bool formatter_style_equals(const struct formatter_style *a, const struct formatter_style *b)
{
        return a->format == b->format && a->has_syslog_header == b->has_syslog_header && a->facility == b->facility &&
               strcmp(a->host_name, b->host_name) == 0 && strcmp(a->resource_id, b->resource_id) == 0;
}

void formatter_write_body(const struct formatter_style *style, const struct decision *decision,
                          struct formatter_body *ret)
{
        struct text_builder body = text_builder_on(ret->bytes, sizeof(ret->bytes));

        if (style->has_syslog_header && style->format != CONFIG_FORMAT_SYSLOG)
                formatter_syslog_header(style, decision, &body);
        ret->stamp_at = formats[style->format].body(style, decision, &body);
        ret->length = text_builder_length(&body);
}

size_t formatter_complete(enum config_format format, const struct formatter_stamp *stamp, const char *body,
                          size_t body_length, size_t stamp_at, char record[FORMATTER_RECORD_SIZE])
{
        struct text_builder whole = text_builder_on(record, FORMATTER_RECORD_SIZE);

        assert(stamp_at <= body_length);
        text_builder_bytes(&whole, body, stamp_at);
        formats[format].stamp(stamp, &whole);
        text_builder_bytes(&whole, body + stamp_at, body_length - stamp_at);
        return text_builder_length(&whole);
}
