/*
 * No text of a decision can begin a record, a field or an escape sequence, in any format: whatever stands in it, the record
 * has the fields of a harmless one with the same values, but for the text itself, which comes back as its format has it.
 */
#include "format_lab.h"

#include <jansson.h>

#include "journal_receiver.h"

#define MARK "zQz" /* what the harmless record has; in no name, word or other value of the samples */

struct way {
        enum config_format format;
        bool has_syslog_header;
};

static const struct way ways[] = {
        { CONFIG_FORMAT_JSON, false },  { CONFIG_FORMAT_JSON, true },  { CONFIG_FORMAT_JOURNAL, false },
        { CONFIG_FORMAT_CEF, false },   { CONFIG_FORMAT_CEF, true },   { CONFIG_FORMAT_SYSLOG, true },
        { CONFIG_FORMAT_AZURE, false }, { CONFIG_FORMAT_AZURE, true },
};

static void add(struct fields *fields, const char *name, const char *value, size_t length)
{
        struct field *field = &fields->items[fields->count++];

        assert_in_range(fields->count, 1, FIELDS_MAX);
        snprintf(field->name, sizeof(field->name), "%s", name);
        assert_in_range(length, 0, sizeof(field->value) - 1);
        memcpy(field->value, value, length);
        field->value[length] = '\0';
}

static void add_json(struct fields *fields, const char *prefix, json_t *object)
{
        const char *key;
        json_t *value;

        json_object_foreach(object, key, value)
        {
                char name[128];
                char *text = json_dumps(value, JSON_ENCODE_ANY);
                snprintf(name, sizeof(name), "%s%s.", prefix, key);
                if (json_is_object(value))
                        add_json(fields, name, value);
                else if (json_is_string(value))
                        add(fields, name, json_string_value(value), json_string_length(value));
                else
                        add(fields, name, text, strlen(text));
                free(text);
        }
}

static void take_json(struct fields *fields, const char *record)
{
        json_error_t error;
        json_t *object = json_loads(record, JSON_REJECT_DUPLICATES, &error);

        if (object == NULL)
                fail_msg("%s in: %s", error.text, record);
        add_json(fields, "", object);
        json_decref(object);
}

static void take_journal(struct fields *fields, const char *record)
{
        static struct receiver_record received;

        strcpy(received.datagram, record);
        receiver_parse(&received, strlen(record));
        for (size_t i = 0; i < received.count; i++) {
                char name[64];
                snprintf(name, sizeof(name), "%.*s", (int)received.fields[i].name_length, received.fields[i].name);
                add(fields, name, received.fields[i].value, received.fields[i].value_length);
        }
}

static void take_all(struct fields *fields, const struct fields *from)
{
        for (size_t i = 0; i < from->count; i++)
                add(fields, from->items[i].name, from->items[i].value, strlen(from->items[i].value));
}

static void take_cef(struct fields *fields, const char *record)
{
        static struct cef_event event;

        parse_cef(record, &event);
        take_all(fields, &event.header);
        take_all(fields, &event.extension);
}

/* Header, parameters and text; in it the record where the format is another. */
static void take_record(struct fields *fields, const struct way *way, const char *record)
{
        static struct syslog_message message;

        if (way->has_syslog_header) {
                parse_syslog(record, &message);
                for (size_t i = 0; i < ARRAY_SIZE(message.header); i++)
                        add(fields, "header", message.header[i], strlen(message.header[i]));
                take_all(fields, &message.parameters);
                record = message.message;
        }
        if (way->format == CONFIG_FORMAT_JOURNAL)
                take_journal(fields, record);
        else if (way->format == CONFIG_FORMAT_CEF)
                take_cef(fields, record);
        else if (way->format == CONFIG_FORMAT_SYSLOG)
                add(fields, "message", record, strlen(record));
        else
                take_json(fields, record);
}

static void format_and_take(const struct way *way, const struct decision *decision, struct fields *ret)
{
        struct formatter_style style = style_of(way->format, way->has_syslog_header);
        const char *record = format_with(&style, decision, &sample_stamp);

        ret->count = 0;
        if (way->format != CONFIG_FORMAT_JOURNAL) /* Its newlines are looked at where it is taken apart. */
                assert_harmless(record);
        take_record(ret, way, record);
        for (size_t i = 0; i < ret->count && way->format == CONFIG_FORMAT_JOURNAL; i++)
                assert_harmless(ret->items[i].value);
}

/* A text that a decision has room for, of those that could hold foreign bytes. */
static char *text_of(struct decision *decision, unsigned which, size_t *ret_size)
{
        const struct {
                char *array;
                size_t size;
        } texts[] = {
                { decision->hint, sizeof(decision->hint) },
                { decision->cluster, sizeof(decision->cluster) },
                { decision->feature, sizeof(decision->feature) },
                { decision->rule, sizeof(decision->rule) },
                { decision->alpn, sizeof(decision->alpn) },
                { decision->connection_id, sizeof(decision->connection_id) },
                { decision->alarm, sizeof(decision->alarm) },
                { decision->fqdn.text, sizeof(decision->fqdn.text) },
        };

        if (which >= ARRAY_SIZE(texts))
                return NULL;
        *ret_size = texts[which].size;
        return texts[which].array;
}

/* false: there is no such text. */
static bool make(struct decision *decision, enum decision_event event, unsigned which, const char *text)
{
        size_t size;
        char *array;

        sample_full(decision);
        decision->event = event;
        if (event == DECISION_EVENT_QUERY)
                *decision = sample_query();
        snprintf(decision->alarm, sizeof(decision->alarm), "snat-nearly-exhausted");
        array = text_of(decision, which, &size);
        if (array == NULL)
                return false;
        snprintf(array, size, "%s", text);
        decision->fqdn.length = (uint8_t)strlen(decision->fqdn.text);
        return true;
}

/* value with each MARK in it replaced; ret has room. */
static void replace(const char *value, const char *replacement, char *ret)
{
        const char *mark;

        while ((mark = strstr(value, MARK)) != NULL) {
                ret = stpcpy(mempcpy(ret, value, (size_t)(mark - value)), replacement);
                value = mark + strlen(MARK);
        }
        strcpy(ret, value);
}

/*
 * What the record says in place of MARK: text as JSON can hold it, as CEF can, or as the others can. The sentence is in no
 * other form than all that is around it.
 */
struct expected {
        const char *json;
        const char *cef;
        const char *other;
};

static const char *expected_in(const struct expected *expected, const struct way *way, const char *name)
{
        if (way->format == CONFIG_FORMAT_CEF)
                return strlen(name) == 1 || strcmp(name, "header") == 0 ? expected->other : expected->cef;
        return way->format == CONFIG_FORMAT_JSON || way->format == CONFIG_FORMAT_AZURE ? expected->json
                                                                                       : expected->other;
}

static void check(const struct way *way, enum decision_event event, unsigned which, const char *text,
                  const struct expected *expected)
{
        static struct fields harmless, fields;
        static char value[FORMATTER_RECORD_SIZE * 2];
        struct decision decision;

        assert_true(make(&decision, event, which, MARK));
        format_and_take(way, &decision, &harmless);
        assert_true(make(&decision, event, which, text));
        format_and_take(way, &decision, &fields);
        assert_int_equal(fields.count, harmless.count);
        for (size_t i = 0; i < fields.count; i++) {
                const char *name = fields.items[i].name;
                assert_string_equal(name, harmless.items[i].name);
                replace(harmless.items[i].value, expected_in(expected, way, name), value);
                if (strcmp(name, "properties.RuleCollection.") == 0)
                        continue; /* The rule up to its last colon, wherever that is. */
                if (strcmp(fields.items[i].value, value) != 0)
                        fail_msg("format %d, text %u: %s is '%s', not '%s'", (int)way->format, which, name,
                                 fields.items[i].value, value);
        }
}

static void check_everywhere(const char *text, const struct expected *expected)
{
        static const enum decision_event events[] = { DECISION_EVENT_CONNECTION, DECISION_EVENT_ALARM,
                                                      DECISION_EVENT_QUERY };
        struct decision decision;

        for (size_t i = 0; i < ARRAY_SIZE(ways) * ARRAY_SIZE(events); i++)
                for (unsigned which = 0; make(&decision, events[i % ARRAY_SIZE(events)], which, MARK); which++)
                        check(&ways[i / ARRAY_SIZE(events)], events[i % ARRAY_SIZE(events)], which, text, expected);
}

static void no_byte_begins_a_record_a_field_or_an_escape_sequence(void **state)
{
        (void)state;
        for (unsigned byte = 1; byte < 256; byte++) {
                const char text[] = { 'a', (char)byte, 'b', '=', (char)byte, '\0' };
                char json[32], cef[32], other[32];

                cleaned(text, strlen(text), "", other);
                cleaned(text, strlen(text), "\n\r", cef);
                snprintf(json, sizeof(json), "%s", byte < 0x80 ? text : other);
                check_everywhere(text, &(struct expected){ json, cef, other });
        }
}

static void no_sequence_of_bytes_does(void **state)
{
#define R REPLACEMENT
        static const struct {
                const char *text;
                struct expected expected;
        } cases[] = {
                { "\xc2\x9b[31m", { "\xc2\x9b[31m", R "[31m", R "[31m" } },     /* CSI of one character */
                { "\xc2\x85<0>1", { "\xc2\x85<0>1", R "<0>1", R "<0>1" } },     /* next line */
                { "\xe2\x80\xa8{", { "\xe2\x80\xa8{", R "{", R "{" } },         /* line separator */
                { "\xe2\x80\xa9{", { "\xe2\x80\xa9{", R "{", R "{" } },         /* paragraph separator */
                { "\xe2\x80\xaetxt", { "\xe2\x80\xaetxt", R "txt", R "txt" } }, /* right to left from here */
                { "\xe2\x81\xa7x", { "\xe2\x81\xa7x", R "x", R "x" } },
                { "\xc0\x8a"
                  "a",
                  { R R "a", R R "a", R R "a" } }, /* a newline, overlong */
                { "\xe0\x80\x8a", { R R R, R R R, R R R } },
                { "\xed\xa0\x80", { R R R, R R R, R R R } },           /* a surrogate */
                { "\xf4\x90\x80\x80", { R R R R, R R R R, R R R R } }, /* past U+10FFFF */
                { "a\xc2", { "a" R, "a" R, "a" R } },                  /* cut, and what follows is ours */
                { "a\xe2\x80", { "a" R R, "a" R R, "a" R R } },
                { "\xef\xbb\xbfx", { "\xef\xbb\xbfx", "\xef\xbb\xbfx", "\xef\xbb\xbfx" } },
                { "caf\xc3\xa9", { "caf\xc3\xa9", "caf\xc3\xa9", "caf\xc3\xa9" } },
                { "\r\nCEF:0|x|", { "\r\nCEF:0|x|", "\r\nCEF:0|x|", R R "CEF:0|x|" } },
                { "x act=Allow", { "x act=Allow", "x act=Allow", "x act=Allow" } },
                { "x\\", { "x\\", "x\\", "x\\" } }, /* before the separator */
                { "x\\\"]\\", { "x\\\"]\\", "x\\\"]\\", "x\\\"]\\" } },
                { "\"] <0>1 - x", { "\"] <0>1 - x", "\"] <0>1 - x", "\"] <0>1 - x" } },
                { "\nA=\n1", { "\nA=\n1", "\nA=\n1", R "A=" R "1" } },
                { "\",\"a\":\"", { "\",\"a\":\"", "\",\"a\":\"", "\",\"a\":\"" } },
        };
#undef R

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                check_everywhere(cases[i].text, &cases[i].expected);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(no_byte_begins_a_record_a_field_or_an_escape_sequence),
                cmocka_unit_test(no_sequence_of_bytes_does),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
