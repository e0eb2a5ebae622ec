/*
 * A byte of style and five of what was decided, then texts: whatever they hold, a record is harmless UTF-8, JSON parses,
 * and its fields are those of the same decision with harmless texts of the same lengths.
 */
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "records/formatter.h"

#define SETTINGS 6
#define TEXTS 8

struct record {
        size_t length;
        char bytes[FORMATTER_RECORD_SIZE];
};

/* The names of the fields in their order, each with a newline. */
struct names {
        size_t length;
        char bytes[FORMATTER_RECORD_SIZE];
};

static void add_name(struct names *names, const char *name, size_t length)
{
        CHECK(names->length + length + 1 <= sizeof(names->bytes));
        memcpy(names->bytes + names->length, name, length);
        names->length += length;
        names->bytes[names->length++] = '\n';
}

static bool follows(const char *at, const char *end, const char *bytes)
{
        return (size_t)(end - at) >= strlen(bytes) && memcmp(at, bytes, strlen(bytes)) == 0;
}

/* Past an escaped character, or a plain one. */
static const char *step(const char *at, const char *end)
{
        if (*at == '\\' && at + 1 < end)
                return at + 2;
        return at + 1;
}

/* RFC 5424 6.3: name="value", with backslashes, until the bracket. Returns what is behind it. */
static const char *take_parameters(struct names *names, const char *at, const char *end)
{
        while (*at == ' ') {
                const char *equals = memchr(at, '=', (size_t)(end - at));
                CHECK(equals != NULL && equals[1] == '"');
                add_name(names, at + 1, (size_t)(equals - at - 1));
                for (at = equals + 2; at < end && *at != '"';)
                        at = step(at, end);
                CHECK(at + 1 < end);
                at++;
        }
        CHECK(at + 1 < end && at[0] == ']' && at[1] == ' ');
        return at + 2;
}

/* Six words and the structured data. Returns where the text begins. */
static const char *take_syslog(struct names *names, const char *at, const char *end)
{
        CHECK(follows(at, end, "<"));
        for (unsigned word = 0; word < 6; word++) {
                const char *space = memchr(at, ' ', (size_t)(end - at));
                CHECK(space != NULL && space > at);
                add_name(names, at, (size_t)(space - at));
                at = space + 1;
        }
        if (follows(at, end, "- "))
                return at + 2;
        CHECK(follows(at, end, "[aksegress@32473 "));
        return take_parameters(names, at + strlen("[aksegress@32473"), end);
}

/* Seven bars, then keys: the word in front of each "=" that has no backslash. */
static void take_cef(struct names *names, const char *at, const char *end)
{
        CHECK(follows(at, end, "CEF:0|"));
        for (unsigned bars = 0; bars < 7; at = step(at, end)) {
                CHECK(at < end);
                bars += *at == '|';
        }
        for (const char *word = at; at < end; at = step(at, end)) {
                if (*at == ' ')
                        word = at + 1;
                if (*at == '=')
                        add_name(names, word, (size_t)(at - word));
        }
}

static void take_journal(struct names *names, const char *at, const char *end)
{
        while (at < end) {
                const char *newline = memchr(at, '\n', (size_t)(end - at));
                CHECK(newline != NULL);
                const char *equals = memchr(at, '=', (size_t)(newline - at));
                CHECK(equals != NULL);
                add_name(names, at, (size_t)(equals - at));
                at = newline + 1;
        }
}

static void take_members(struct names *names, json_t *object)
{
        const char *key;
        json_t *value;

        json_object_foreach(object, key, value)
        {
                add_name(names, key, strlen(key));
                if (json_is_object(value))
                        take_members(names, value);
        }
}

static void take_json(struct names *names, const char *at, const char *end)
{
        json_t *object = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);

        CHECK(json_is_object(object));
        take_members(names, object);
        json_decref(object);
}

static void take_names(struct names *names, const struct formatter_style *style, const struct record *record)
{
        const char *end = record->bytes + record->length;
        const char *at = record->bytes;

        names->length = 0;
        if (style->has_syslog_header || style->format == CONFIG_FORMAT_SYSLOG)
                at = take_syslog(names, at, end);
        if (style->format == CONFIG_FORMAT_CEF)
                take_cef(names, at, end);
        else if (style->format == CONFIG_FORMAT_JOURNAL)
                take_journal(names, at, end);
        else if (style->format != CONFIG_FORMAT_SYSLOG)
                take_json(names, at, end);
}

/* No control characters, of whatever length; jansson says whether it is UTF-8. */
static void check_harmless(const struct formatter_style *style, const struct record *record)
{
        const char *end = record->bytes + record->length;
        json_t *string = json_stringn(record->bytes, record->length);

        CHECK(string != NULL);
        json_decref(string);
        for (const char *at = record->bytes; at < end; at++) {
                unsigned char byte = (unsigned char)*at;
                CHECK((byte >= ' ' && byte != 0x7f) || (byte == '\n' && style->format == CONFIG_FORMAT_JOURNAL));
                CHECK(byte != 0xc2 || (unsigned char)at[1] > 0x9f);
                CHECK(!follows(at, end, "\xe2\x80\xa8") && !follows(at, end, "\xe2\x80\xa9"));
                CHECK(!follows(at, end, "\xe2\x80\xae") && !follows(at, end, "\xe2\x81\xa6"));
        }
}

static void format(const struct formatter_style *style, const struct decision *decision, struct record *ret)
{
        static struct formatter_body body;
        const struct formatter_stamp stamp = { .seq = 7, .lost = 3, .instance = "0123456789abcdef0123456789abcdef" };

        formatter_write_body(style, decision, &body);
        ret->length = formatter_complete(style->format, &stamp, body.bytes, body.length, body.stamp_at, ret->bytes);
}

struct text {
        char *array;
        size_t size;
};

static void list_texts(struct decision *decision, struct text texts[TEXTS])
{
        const struct text all[TEXTS] = {
                { decision->hint, sizeof(decision->hint) },
                { decision->cluster, sizeof(decision->cluster) },
                { decision->feature, sizeof(decision->feature) },
                { decision->rule, sizeof(decision->rule) },
                { decision->alpn, sizeof(decision->alpn) },
                { decision->connection_id, sizeof(decision->connection_id) },
                { decision->alarm, sizeof(decision->alarm) },
                { decision->fqdn.text, FQDN_MAX_LENGTH },
        };

        memcpy(texts, all, sizeof(all));
}

/* Texts end at NUL in the input, as they do in a decision. harmless: each byte is an x. */
static void fill_texts(struct decision *decision, const uint8_t *data, size_t size, bool harmless)
{
        struct text texts[TEXTS];
        size_t at = 0;

        list_texts(decision, texts);
        for (size_t i = 0; i < TEXTS; i++) {
                size_t length = 0;
                for (; length < texts[i].size && at < size && data[at] != '\0'; at++)
                        texts[i].array[length++] = harmless ? 'x' : (char)data[at];
                if (i == TEXTS - 1)
                        decision->fqdn.length = (uint8_t)length;
                at += at < size && data[at] == '\0';
        }
}

static void fill(struct decision *decision, const uint8_t settings[SETTINGS])
{
        const char *address = settings[4] / 32 % 2 != 0 ? "2001:db8::5" : "10.1.0.4";

        memset(decision, 0, sizeof(*decision));
        decision->event = settings[1] % (DECISION_EVENT_SUMMARY + 1);
        decision->listener = settings[1] / 16 % (DECISION_LISTENER_FORWARD + 1);
        decision->action = settings[2] % 3;
        decision->protocol = settings[2] / 16 % (DECISION_PROTOCOL_IP + 1);
        decision->reason = settings[3] % REASON_COUNT;
        decision->has_tls = settings[4] % 2 != 0;
        decision->lacks_bytes = settings[4] / 2 % 2 != 0;
        decision->lacks_duration = settings[4] / 4 % 2 != 0;
        decision->dns.has_response = settings[4] / 8 % 2 != 0;
        decision->dns.type = settings[5];
        decision->dns.flags = (uint16_t)(settings[5] << 4);
        decision->dns.edns_size = settings[4] / 16;
        decision->time_us = UINT64_C(1719830096000123) * (1 + settings[5] % 2);
        CHECK(net_address_parse(address, strlen(address), &decision->client.address) == 0);
        decision->original = decision->client;
        if (settings[4] / 64 % 2 != 0)
                decision->destination = decision->snat = decision->client;
        decision->destination.port = 443;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct record record, plain;
        static struct names names, expected;
        struct decision decision;

        if (size < SETTINGS)
                return 0;
        const struct formatter_style style = { .format = data[0] % (CONFIG_FORMAT_AZURE + 1),
                                               .has_syslog_header = data[0] / 16 % 2 != 0,
                                               .facility = 16,
                                               .host_name = "nva1",
                                               .resource_id = "/subscriptions/0" };
        if (style.format == CONFIG_FORMAT_JOURNAL && style.has_syslog_header)
                return 0; /* No sink has both. */
        fill(&decision, data);
        fill_texts(&decision, data + SETTINGS, size - SETTINGS, true);
        format(&style, &decision, &plain);
        take_names(&expected, &style, &plain);
        fill_texts(&decision, data + SETTINGS, size - SETTINGS, false);
        format(&style, &decision, &record);
        check_harmless(&style, &record);
        take_names(&names, &style, &record);
        CHECK(names.length == expected.length && memcmp(names.bytes, expected.bytes, names.length) == 0);
        return 0;
}
