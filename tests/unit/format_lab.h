/* Records as a format writes them, and parsers of those formats that share nothing with the formatters. */
#pragma once

#include "record_samples.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "records/formatter.h"

#define FIELDS_MAX 80
#define REPLACEMENT "\xef\xbf\xbd"

static const struct formatter_stamp sample_stamp = { .seq = 7,
                                                     .lost = 3,
                                                     .instance = "0123456789abcdef0123456789abcdef" };

static inline struct formatter_style style_of(enum config_format format, bool has_syslog_header)
{
        return (struct formatter_style){ .format = format,
                                         .has_syslog_header = has_syslog_header,
                                         .facility = 16,
                                         .host_name = "nva1",
                                         .resource_id = "/SUBSCRIPTIONS/0/RESOURCEGROUPS/HUB" };
}

static char record_text[FORMATTER_RECORD_SIZE + 1];

/* The record, with NUL. */
static inline const char *format_with(const struct formatter_style *style, const struct decision *decision,
                                      const struct formatter_stamp *stamp)
{
        static struct formatter_body body;

        formatter_write_body(style, decision, &body);
        size_t length = formatter_complete(style->format, stamp, body.bytes, body.length, body.stamp_at, record_text);
        record_text[length] = '\0';
        assert_int_equal(strlen(record_text), length); /* There is no NUL in it. */
        return record_text;
}

static inline const char *format(enum config_format kind, const struct decision *decision)
{
        struct formatter_style style = style_of(kind, false);

        return format_with(&style, decision, &sample_stamp);
}

struct field {
        char name[64];
        char value[FORMATTER_RECORD_SIZE];
};

struct fields {
        size_t count;
        struct field items[FIELDS_MAX];
};

static inline const char *find(const struct fields *fields, const char *name)
{
        const char *found = NULL;

        for (size_t i = 0; i < fields->count; i++) {
                if (strcmp(fields->items[i].name, name) != 0)
                        continue;
                assert_null(found); /* Once. */
                found = fields->items[i].value;
        }
        return found;
}

static inline void assert_value(const struct fields *fields, const char *name, const char *expected)
{
        const char *value = find(fields, name);

        if (value == NULL || strcmp(value, expected) != 0)
                fail_msg("%s is '%s', not '%s'", name, value != NULL ? value : "(absent)", expected);
}

/* RFC 5424 6: <PRI>1 SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP STRUCTURED-DATA SP MSG. */
struct syslog_message {
        int priority;
        char header[5][256]; /* TIMESTAMP to MSGID */
        char id[64];         /* SD-ID; "" for nil */
        struct fields parameters;
        char message[FORMATTER_RECORD_SIZE];
};

static inline const char *take_word(const char *at, char *word, size_t size)
{
        size_t length = strcspn(at, " ");

        assert_in_range(length, 1, size - 1);
        for (size_t i = 0; i < length; i++)
                assert_in_range((unsigned char)at[i], 33, 126); /* PRINTUSASCII */
        memcpy(word, at, length);
        word[length] = '\0';
        assert_int_equal(at[length], ' ');
        return at + length + 1;
}

/* name="value" with its three escapes (RFC 5424 6.3.3). */
static inline const char *take_parameter(const char *at, struct fields *fields)
{
        struct field *field = &fields->items[fields->count++];
        size_t length = strcspn(at, "=");
        char *value = field->value;

        assert_in_range(fields->count, 1, FIELDS_MAX);
        assert_in_range(length, 1, 32); /* SD-NAME */
        memcpy(field->name, at, length);
        field->name[length] = '\0';
        assert_int_equal(strcspn(field->name, " ]\"="), length);
        assert_memory_equal(at + length, "=\"", 2);
        for (at += length + 2; *at != '"'; at++) {
                assert_int_not_equal(*at, '\0');
                assert_int_not_equal(*at, ']');
                if (*at == '\\' && strchr("\"\\]", at[1]) != NULL)
                        at++;
                *value++ = *at;
        }
        *value = '\0';
        return at + 1;
}

static inline void parse_syslog(const char *at, struct syslog_message *ret)
{
        char *end;

        ret->id[0] = '\0';
        ret->parameters.count = 0;
        assert_int_equal(*at, '<');
        ret->priority = (int)strtol(at + 1, &end, 10);
        assert_memory_equal(end, ">1 ", 3);
        at = end + 3;
        for (size_t i = 0; i < ARRAY_SIZE(ret->header); i++)
                at = take_word(at, ret->header[i], sizeof(ret->header[i]));
        if (*at == '-') {
                at++;
        } else {
                size_t length = strcspn(++at, " ]");
                assert_in_range(length, 1, sizeof(ret->id) - 1);
                memcpy(ret->id, at, length);
                ret->id[length] = '\0';
                for (at += length; *at == ' ';)
                        at = take_parameter(at + 1, &ret->parameters);
                assert_int_equal(*at++, ']');
        }
        assert_int_equal(*at, ' ');
        strcpy(ret->message, at + 1);
}

/* A value ends where a space and the next "key=" stand, and only "=" that is escaped belongs to it. */
static inline const char *take_pair(const char *at, struct fields *fields)
{
        struct field *field = &fields->items[fields->count++];
        size_t length = strcspn(at, "=");
        char *value = field->value;
        const char *space = NULL; /* the last one that was seen */
        char *value_at_space = NULL;

        assert_in_range(fields->count, 1, FIELDS_MAX);
        assert_in_range(length, 1, sizeof(field->name) - 1);
        memcpy(field->name, at, length);
        field->name[length] = '\0';
        for (size_t i = 0; i < length; i++)
                assert_true(isalnum((unsigned char)field->name[i]));
        for (at += length + 1; *at != '\0' && *at != '='; at++) {
                if (*at == ' ') {
                        space = at;
                        value_at_space = value;
                }
                if (*at == '\\') {
                        assert_non_null(strchr("\\=nr", at[1]));
                        at++;
                        *value++ = *at == 'n' ? '\n' : *at == 'r' ? '\r' : *at;
                        continue;
                }
                *value++ = *at;
        }
        if (*at == '\0') {
                *value = '\0';
                return at;
        }
        assert_non_null(space);
        *value_at_space = '\0';
        return space + 1;
}

struct cef_event {
        struct fields header; /* "0" to "6" */
        struct fields extension;
};

static inline void parse_cef(const char *at, struct cef_event *ret)
{
        ret->header.count = ret->extension.count = 0;
        assert_memory_equal(at, "CEF:", 4);
        for (at += 4; ret->header.count < 7; at++) {
                struct field *field = &ret->header.items[ret->header.count];
                char *value = field->value;
                snprintf(field->name, sizeof(field->name), "%zu", ret->header.count++);
                for (; *at != '|'; at++) {
                        assert_int_not_equal(*at, '\0');
                        if (*at == '\\')
                                assert_non_null(strchr("\\|", *++at));
                        *value++ = *at;
                }
                *value = '\0';
        }
        while (*at != '\0')
                at = take_pair(at, &ret->extension);
}

/* What a text becomes where control characters have no form: U+FFFD each. Bytes that are not UTF-8 as well. */
static inline void cleaned(const char *text, size_t length, const char *kept, char *ret)
{
        for (size_t i = 0; i < length; i++) {
                unsigned char byte = (unsigned char)text[i];
                if ((byte >= 0x20 && byte < 0x7f) || (byte != '\0' && strchr(kept, byte) != NULL))
                        *ret++ = text[i];
                else
                        ret = stpcpy(ret, REPLACEMENT);
        }
        *ret = '\0';
}

/* No byte of the record can end it, or mean something to a terminal. */
static inline void assert_harmless(const char *record)
{
        for (const unsigned char *at = (const unsigned char *)record; *at != '\0'; at++) {
                assert_false(*at < 0x20 || *at == 0x7f);
                assert_false(*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f); /* C1 control characters */
                /* Separators of lines and paragraphs, and what changes the order of display. */
                assert_false(*at == 0xe2 && at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae);
                assert_false(*at == 0xe2 && at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9);
        }
}
