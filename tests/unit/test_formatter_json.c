#include "record_samples.h"

#include <jansson.h>

#include "base/compiler.h"
#include "records/formatter.h"

static const struct formatter_stamp sample_stamp = { .seq = 7,
                                                     .lost = 3,
                                                     .instance = "0123456789abcdef0123456789abcdef" };

static const struct formatter_style style = { .format = CONFIG_FORMAT_JSON, .host_name = "nva1", .resource_id = "" };

/* Formats, checks that it is one line, parses it back. The caller owns the result. */
static json_t *format_and_parse(const struct decision *decision, const struct formatter_stamp *stamp)
{
        static struct formatter_body body;
        static char line[FORMATTER_RECORD_SIZE];
        json_error_t error;

        formatter_write_body(&style, decision, &body);
        size_t length = formatter_complete(style.format, stamp, body.bytes, body.length, body.stamp_at, line);
        assert_in_range(length, 2, sizeof(line));
        assert_null(memchr(line, '\n', length));
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

/* The record is this object and nothing else; the stamp's fields are added here. The caller has packed it for us. */
static void assert_record(const struct decision *decision, json_t *expected)
{
        json_t *record = format_and_parse(decision, &(struct formatter_stamp){ .seq = 1, .instance = "x" });

        assert_non_null(expected);
        assert_int_equal(json_object_set_new(expected, "seq", json_integer(1)), 0);
        assert_int_equal(json_object_set_new(expected, "instance", json_string("x")), 0);
        if (!json_equal(record, expected))
                fail_msg("%s", json_dumps(record, JSON_INDENT(1)));
        json_decref(expected);
        json_decref(record);
}

static void a_packet_carries_the_address_it_asked_for_twice_and_no_bytes(void **state)
{
        struct decision decision = sample_packet();

        (void)state;
        assert_record(&decision,
                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:i}", "time",
                                "2024-07-01T10:34:56.000123Z", "event", "packet", "action", "deny", "reason", "quic",
                                "cluster", "prod-weu", "protocol", "quic", "listener", "forward", "client_ip",
                                "10.1.0.4", "client_port", 40222, "fqdn", "www.example.com", "original_ip",
                                "203.0.113.9", "destination_ip", "203.0.113.9", "destination_port", 443));
}

static void a_flow_has_the_fields_of_a_connection(void **state)
{
        struct decision decision = sample_flow();

        (void)state;
        assert_record(&decision,
                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:i,"
                                " s:s, s:i, s:i, s:i, s:i}",
                                "time", "2024-07-01T10:34:56.000123Z", "event", "flow", "action", "allow", "reason",
                                "completed", "cluster", "prod-weu", "feature", "allow", "rule", "aksegressd.yaml:7",
                                "protocol", "udp", "listener", "forward", "client_ip", "10.1.0.4", "client_port", 40222,
                                "fqdn", "ntp.ubuntu.com", "original_ip", "203.0.113.4", "destination_ip", "203.0.113.4",
                                "destination_port", 123, "snat_ip", "10.0.1.10", "snat_port", 40222, "bytes_out", 76,
                                "bytes_in", 77, "duration_ms", 30012));
}

static void a_flow_that_was_not_counted_has_no_numbers(void **state)
{
        struct decision decision = sample_flow();

        (void)state;
        decision.lacks_bytes = true;
        json_t *record = format_and_parse(&decision, &sample_stamp);
        assert_true(json_object_get(record, "bytes_out") == NULL && json_object_get(record, "bytes_in") == NULL);
        assert_int_equal(json_integer_value(json_object_get(record, "duration_ms")), 30012);
        json_decref(record);
        decision.lacks_bytes = false;
        decision.lacks_duration = true;
        record = format_and_parse(&decision, &sample_stamp);
        assert_int_equal(json_integer_value(json_object_get(record, "bytes_in")), 77);
        assert_null(json_object_get(record, "duration_ms"));
        json_decref(record);
}

/* What each query of the tests below has, with what the test adds. */
static json_t *expected_query(const char *event, json_t *added)
{
        json_t *expected =
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "time", "2024-07-01T10:34:56.000123Z",
                          "event", event, "action", "deny", "reason", "no-rule", "cluster", "prod-weu", "protocol",
                          "dns", "listener", "dns", "client_ip", "10.1.0.4", "fqdn", "example.com");

        assert_non_null(added);
        assert_int_equal(json_object_update_new(expected, added), 0);
        return expected;
}

static void a_query_says_what_was_asked_and_answered(void **state)
{
        struct decision decision = sample_query();

        (void)state;
        assert_record(&decision,
                      expected_query("query", json_pack("{s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:b}",
                                                        "client_port", 40222, "duration_ms", 2, "query_id", 4660,
                                                        "query_type", "AAAA", "query_class", "IN", "response_code",
                                                        "REFUSED", "response_flags", "qr,rd,ra", "request_size", 40,
                                                        "response_size", 97, "edns_size", 1232, "dnssec_ok", 1)));
}

static void a_query_that_was_not_answered_or_had_no_edns_does_not_say_how(void **state)
{
        struct decision decision = sample_query();

        (void)state;
        decision.dns.has_response = false;
        decision.dns.edns_size = 0;
        assert_record(&decision,
                      expected_query("query", json_pack("{s:i, s:i, s:i, s:s, s:s, s:i}", "client_port", 40222,
                                                        "duration_ms", 2, "query_id", 4660, "query_type", "AAAA",
                                                        "query_class", "IN", "request_size", 40)));
        decision.dns.type = decision.dns.class = 0; /* no question could be read */
        assert_record(&decision,
                      expected_query("query", json_pack("{s:i, s:i, s:i, s:i}", "client_port", 40222, "duration_ms", 2,
                                                        "query_id", 4660, "request_size", 40)));
}

static void every_flag_of_a_response_has_its_name(void **state)
{
        static const struct {
                uint16_t flags;
                const char *text;
        } cases[] = {
                { 0x8000, "qr" }, { 0x0400, "aa" }, { 0x0200, "tc" }, { 0x0100, "rd" },
                { 0x0080, "ra" }, { 0x0020, "ad" }, { 0x0010, "cd" }, { 0xffff, "qr,aa,tc,rd,ra,ad,cd" },
                { 0x784f, NULL }, /* opcode, the bit that must be zero, rcode */
        };
        struct decision decision = sample_query();

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                decision.dns.flags = cases[i].flags;
                json_t *record = format_and_parse(&decision, &sample_stamp);
                const json_t *flags = json_object_get(record, "response_flags");
                if (cases[i].text == NULL)
                        assert_null(flags);
                else
                        assert_string_equal(json_string_value(flags), cases[i].text);
                json_decref(record);
        }
}

static void a_summary_says_how_many_and_when(void **state)
{
        struct decision query = sample_query();
        struct decision packet = sample_packet();
        struct decision summary = sample_summary(&query);

        (void)state;
        assert_record(&summary,
                      expected_query("summary", json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:b, s:i, s:s, s:s}",
                                                          "query_type", "AAAA", "query_class", "IN", "response_code",
                                                          "REFUSED", "response_flags", "qr,rd,ra", "request_size", 40,
                                                          "response_size", 97, "edns_size", 1232, "dnssec_ok", 1,
                                                          "count", 12, "first_time", "2024-07-01T10:34:46.000124Z",
                                                          "last_time", "2024-07-01T10:34:55.999999Z")));
        summary = sample_summary(&packet);
        json_t *record = format_and_parse(&summary, &sample_stamp);
        assert_null(json_object_get(record, "bytes_out"));
        assert_null(json_object_get(record, "query_type"));
        json_decref(record);
        summary.listener = DECISION_LISTENER_PROXY;
        record = format_and_parse(&summary, &sample_stamp);
        assert_non_null(json_object_get(record, "bytes_out"));
        assert_null(json_object_get(record, "duration_ms"));
        json_decref(record);
}

static void a_protocol_without_a_name_is_written_by_its_number(void **state)
{
        struct decision decision = sample_packet();

        (void)state;
        decision.protocol = DECISION_PROTOCOL_IP;
        for (unsigned number = 0; number < 256; number++) {
                char expected[16];
                snprintf(expected, sizeof(expected), "ip-%u", number);
                decision.ip_protocol = (uint8_t)number;
                json_t *record = format_and_parse(&decision, &sample_stamp);
                assert_string_equal(json_string_value(json_object_get(record, "protocol")), expected);
                json_decref(record);
        }
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
                decision.protocol = (enum decision_protocol)(i % 9);
                decision.listener = (enum decision_listener)(i % 5);
                json_t *record = format_and_parse(&decision, &sample_stamp);
                assert_string_equal(json_string_value(json_object_get(record, "reason")),
                                    reason_row(decision.reason)->text);
                assert_string_equal(json_string_value(json_object_get(record, "action")),
                                    policy_action_name(decision.action));
                assert_true((json_object_get(record, "protocol") == NULL) == (i % 9 == 0));
                assert_true((json_object_get(record, "listener") == NULL) == (i % 5 == 0));
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

/* formatter_write_body ends the program when a record does not fit. */
static void the_largest_records_of_all_events_fit_whatever_bytes_they_hold(void **state)
{
        size_t longest = 0;

        (void)state;
        for (unsigned i = 0; i < 255 * SAMPLE_LARGEST_COUNT; i++) {
                unsigned byte = 1 + i / SAMPLE_LARGEST_COUNT;
                static struct formatter_body body;
                struct decision decision;

                sample_largest(&decision, i % SAMPLE_LARGEST_COUNT, (int)byte);
                formatter_write_body(&style, &decision, &body);
                if (body.length > longest)
                        longest = body.length;
                json_t *record = format_and_parse(&decision, &sample_stamp);
                if (byte < 0x80) {
                        assert_int_equal(json_string_length(json_object_get(record, "rule")), DECISION_RULE_SIZE);
                        assert_int_equal(json_string_length(json_object_get(record, "fqdn")), FQDN_MAX_LENGTH);
                }
                json_decref(record);
        }
        assert_in_range(longest, FORMATTER_BODY_SIZE / 3, FORMATTER_BODY_SIZE);
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
                { "\xf4\x8f\xbf\xbd", "\xf4\x8f\xbf\xbd" },
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
                cmocka_unit_test(a_packet_carries_the_address_it_asked_for_twice_and_no_bytes),
                cmocka_unit_test(a_flow_has_the_fields_of_a_connection),
                cmocka_unit_test(a_flow_that_was_not_counted_has_no_numbers),
                cmocka_unit_test(a_query_says_what_was_asked_and_answered),
                cmocka_unit_test(a_query_that_was_not_answered_or_had_no_edns_does_not_say_how),
                cmocka_unit_test(every_flag_of_a_response_has_its_name),
                cmocka_unit_test(a_summary_says_how_many_and_when),
                cmocka_unit_test(a_protocol_without_a_name_is_written_by_its_number),
                cmocka_unit_test(a_port_asked_for_is_there_without_an_address),
                cmocka_unit_test(every_reason_action_protocol_and_listener_has_a_name),
                cmocka_unit_test(every_byte_value_in_every_text_gives_one_line_that_parses),
                cmocka_unit_test(the_largest_records_of_all_events_fit_whatever_bytes_they_hold),
                cmocka_unit_test(valid_utf8_is_kept_and_everything_else_replaced),
                cmocka_unit_test(random_bytes_always_give_a_line_that_parses),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
