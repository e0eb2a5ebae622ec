#include "record_samples.h"

#include <jansson.h>

#include "base/compiler.h"
#include "records/formatter_json.h"

static const struct formatter_stamp sample_stamp = { .seq = 7,
                                                     .lost = 3,
                                                     .instance = "0123456789abcdef0123456789abcdef" };

/* Formats, checks that it is one line, parses it back. The caller owns the result. */
static json_t *format_and_parse(const struct decision *decision, const struct formatter_stamp *stamp)
{
        static char line[FORMATTER_LINE_SIZE];
        json_error_t error;
        size_t length = formatter_json(decision, stamp, line);

        assert_in_range(length, 2, sizeof(line));
        assert_int_equal(line[length - 1], '\n');
        assert_null(memchr(line, '\n', length - 1));
        json_t *record = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
        if (record == NULL)
                fail_msg("%s in: %.*s", error.text, (int)length, line);
        return record;
}

static void every_field_of_a_full_decision_is_there_and_right(void **state)
{
        struct decision decision;
        json_error_t error;

        (void)state;
        sample_full(&decision);
        json_t *record = format_and_parse(&decision, &sample_stamp);
        json_t *expected = json_pack_ex(
                &error, 0,
                "{s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i,"
                " s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:I, s:i, s:s, s:s, s:b}",
                "seq", 7, "instance", "0123456789abcdef0123456789abcdef", "lost", 3, "time",
                "2024-07-01T10:34:56.000123Z", "event", "connection", "action", "deny", "reason", "no-rule", "hint",
                "allowed by feature 'monitor', not enabled for cluster 'prod-weu'", "cluster", "prod-weu", "feature",
                "monitor", "rule", "monitor.allow:12", "protocol", "https", "listener", "transparent", "client_ip",
                "10.1.0.4", "client_port", 40222, "fqdn", "example.com", "original_ip", "93.184.216.34",
                "destination_ip", "2001:db8::5", "destination_port", 443, "snat_ip", "10.0.1.10", "snat_port", 1024,
                "bytes_out", 517, "bytes_in", (json_int_t)18446744073, "duration_ms", 1002, "connection_id",
                "c0ffee0123456789", "alpn", "h2,http/1.1", "ech", 1);
        if (expected == NULL)
                fail_msg("%s", error.text);
        assert_true(json_equal(record, expected));
        json_decref(expected);
        json_decref(record);
}

static void what_is_not_known_is_left_out(void **state)
{
        const struct decision decision = { .event = DECISION_EVENT_CONNECTION, .action = POLICY_ALLOW };
        const struct formatter_stamp stamp = { .seq = 1, .instance = "x" };
        json_t *record = format_and_parse(&decision, &stamp);
        json_t *expected = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "seq", 1, "instance", "x", "time",
                                     "1970-01-01T00:00:00.000000Z", "event", "connection", "action", "allow", "reason",
                                     "completed", "bytes_out", 0, "bytes_in", 0, "duration_ms", 0);

        (void)state;
        assert_non_null(expected);
        assert_true(json_equal(record, expected));
        json_decref(expected);
        json_decref(record);
}

static void an_alarm_has_its_text_as_reason_and_no_action(void **state)
{
        struct decision decision = { .event = DECISION_EVENT_ALARM, .alarm = "snat-nearly-exhausted" };

        (void)state;
        decision.snat = sample_endpoint("10.0.1.10", 0);
        json_t *record = format_and_parse(&decision, &sample_stamp);
        assert_string_equal(json_string_value(json_object_get(record, "event")), "alarm");
        assert_string_equal(json_string_value(json_object_get(record, "reason")), "snat-nearly-exhausted");
        assert_string_equal(json_string_value(json_object_get(record, "snat_ip")), "10.0.1.10");
        assert_null(json_object_get(record, "snat_port"));
        assert_null(json_object_get(record, "action"));
        assert_null(json_object_get(record, "bytes_out"));
        assert_null(json_object_get(record, "duration_ms"));
        json_decref(record);
}

static void a_port_asked_for_is_there_without_an_address(void **state)
{
        struct decision decision = sample_numbered(0, POLICY_DENY);

        (void)state;
        decision.destination.port = 8443;
        json_t *record = format_and_parse(&decision, &sample_stamp);
        assert_int_equal(json_integer_value(json_object_get(record, "destination_port")), 8443);
        assert_null(json_object_get(record, "destination_ip"));
        json_decref(record);
}

static void every_reason_action_protocol_and_listener_has_a_name(void **state)
{
        struct decision decision = sample_numbered(0, POLICY_DENY);

        (void)state;
        for (unsigned i = 0; i < REASON_COUNT; i++) {
                decision.reason = (enum reason)i;
                decision.action = (enum policy_action)(i % 3);
                decision.protocol = (enum decision_protocol)(i % 4);
                decision.listener = (enum decision_listener)(i % 3);
                json_t *record = format_and_parse(&decision, &sample_stamp);
                assert_string_equal(json_string_value(json_object_get(record, "reason")),
                                    reason_row(decision.reason)->text);
                assert_string_equal(json_string_value(json_object_get(record, "action")),
                                    policy_action_name(decision.action));
                assert_true((json_object_get(record, "protocol") == NULL) == (i % 4 == 0));
                assert_true((json_object_get(record, "listener") == NULL) == (i % 3 == 0));
                json_decref(record);
        }
}

/* The texts that could hold foreign bytes, as arrays. */
struct text_field {
        const char *name;
        char *array;
        size_t size;
};

static size_t list_text_fields(struct decision *decision, struct text_field fields[8])
{
        const struct text_field all[] = {
                { "hint", decision->hint, sizeof(decision->hint) },
                { "cluster", decision->cluster, sizeof(decision->cluster) },
                { "feature", decision->feature, sizeof(decision->feature) },
                { "rule", decision->rule, sizeof(decision->rule) },
                { "alpn", decision->alpn, sizeof(decision->alpn) },
                { "connection_id", decision->connection_id, sizeof(decision->connection_id) },
                { "fqdn", decision->fqdn.text, FQDN_MAX_LENGTH },
                { "reason", decision->alarm, sizeof(decision->alarm) },
        };

        memcpy(fields, all, sizeof(all));
        return ARRAY_SIZE(all);
}

static void every_byte_value_in_every_text_gives_one_line_that_parses(void **state)
{
        (void)state;
        for (size_t i = 0; i < 8; i++) {
                for (unsigned byte = 1; byte < 256; byte++) {
                        struct decision decision = { .event = DECISION_EVENT_ALARM };
                        struct text_field fields[8];
                        const char text[] = { 'a', (char)byte, 'b', '\0' };
                        const char *expected = byte < 0x80 ? text
                                                           : "a\xef\xbf\xbd"
                                                             "b";

                        list_text_fields(&decision, fields);
                        memcpy(fields[i].array, text, sizeof(text));
                        decision.fqdn.length = (uint8_t)strlen(decision.fqdn.text);
                        json_t *record = format_and_parse(&decision, &sample_stamp);
                        assert_string_equal(json_string_value(json_object_get(record, fields[i].name)), expected);
                        json_decref(record);
                }
        }
}

static void texts_that_fill_their_arrays_with_the_longest_escapes_fit(void **state)
{
        (void)state;
        for (unsigned byte = 1; byte < 256; byte++) {
                struct decision decision;
                struct text_field fields[8];

                sample_full(&decision);
                size_t count = list_text_fields(&decision, fields);
                for (size_t i = 0; i < count; i++)
                        memset(fields[i].array, (int)byte, fields[i].size);
                decision.fqdn.length = FQDN_MAX_LENGTH;
                decision.time_us = UINT64_MAX;
                decision.bytes_in = INT64_MAX;
                decision.bytes_out = INT64_MAX;
                decision.duration_ms = INT64_MAX;
                json_t *record = format_and_parse(&decision, &sample_stamp);
                if (byte < 0x80) {
                        assert_int_equal(json_string_length(json_object_get(record, "rule")), DECISION_RULE_SIZE);
                        assert_int_equal(json_string_length(json_object_get(record, "fqdn")), FQDN_MAX_LENGTH);
                }
                json_decref(record);
        }
}

static void valid_utf8_is_kept_and_everything_else_replaced(void **state)
{
        static const struct {
                const char *text;
                const char *expected;
        } cases[] = {
                { "caf\xc3\xa9", "caf\xc3\xa9" },
                { "\xe2\x82\xac\xf0\x9f\x94\xa5", "\xe2\x82\xac\xf0\x9f\x94\xa5" },
                { "\xed\x9f\xbf\xee\x80\x80", "\xed\x9f\xbf\xee\x80\x80" },
                { "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
                { "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },                                 /* overlong NUL */
                { "\xe0\x9f\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },                 /* overlong */
                { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },                 /* surrogate */
                { "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* past U+10FFFF */
                { "x\xe2\x82", "x\xef\xbf\xbd\xef\xbf\xbd" },                               /* cut short */
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct decision decision = sample_numbered(0, POLICY_DENY);
                snprintf(decision.hint, sizeof(decision.hint), "%s", cases[i].text);
                json_t *record = format_and_parse(&decision, &sample_stamp);
                assert_string_equal(json_string_value(json_object_get(record, "hint")), cases[i].expected);
                json_decref(record);
        }
}

/* Up to the last byte of the array, where a sequence may be cut short: the sanitizers see a read behind it. */
static void random_bytes_always_give_a_line_that_parses(void **state)
{
        uint32_t seed = 20240701;

        (void)state;
        for (unsigned round = 0; round < 20000; round++) {
                struct decision decision = sample_numbered(0, POLICY_DENY);
                for (size_t i = 0; i < sizeof(decision.connection_id); i++) {
                        seed = seed * 1664525 + 1013904223;
                        decision.connection_id[i] = (char)(seed >> 24);
                }
                json_t *record = format_and_parse(&decision, &sample_stamp);
                json_decref(record);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_field_of_a_full_decision_is_there_and_right),
                cmocka_unit_test(what_is_not_known_is_left_out),
                cmocka_unit_test(an_alarm_has_its_text_as_reason_and_no_action),
                cmocka_unit_test(a_port_asked_for_is_there_without_an_address),
                cmocka_unit_test(every_reason_action_protocol_and_listener_has_a_name),
                cmocka_unit_test(every_byte_value_in_every_text_gives_one_line_that_parses),
                cmocka_unit_test(texts_that_fill_their_arrays_with_the_longest_escapes_fit),
                cmocka_unit_test(valid_utf8_is_kept_and_everything_else_replaced),
                cmocka_unit_test(random_bytes_always_give_a_line_that_parses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
