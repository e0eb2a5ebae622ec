#include "format_lab.h"

#include "records/sentence.h"

static struct syslog_message message;

static void a_denial_reads_as_rfc_5424_has_it(void **state)
{
        struct decision decision = sample_packet();

        (void)state;
        assert_string_equal(
                format(CONFIG_FORMAT_SYSLOG, &decision),
                "<133>1 2024-07-01T10:34:56.000123Z nva1 aksegressd - packet [aksegress@32473 seq=\"7\" "
                "instance=\"0123456789abcdef0123456789abcdef\" lost=\"3\" time=\"2024-07-01T10:34:56.000123Z\" "
                "event=\"packet\" action=\"deny\" reason=\"quic\" cluster=\"prod-weu\" protocol=\"quic\" "
                "listener=\"forward\" client_ip=\"10.1.0.4\" client_port=\"40222\" fqdn=\"www.example.com\" "
                "original_ip=\"203.0.113.9\" destination_ip=\"203.0.113.9\" destination_port=\"443\"] denied quic "
                "203.0.113.9:443 (www.example.com) from 10.1.0.4 (prod-weu): quic");
}

/* Every field of every event is a parameter of its name; the text is no more than the sentence. */
static void structured_data_has_every_field(void **state)
{
        (void)state;
        for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;
                struct decision_fields fields;
                char sentence[SENTENCE_SIZE];

                sample_largest(&decision, i, 'x');
                parse_syslog(format(CONFIG_FORMAT_SYSLOG, &decision), &message);
                decision_fields(&decision, &fields);
                assert_int_equal(message.parameters.count, fields.count + 3);
                assert_in_range(sentence_format(&decision, sentence), 1, SENTENCE_SIZE - 1);
                assert_string_equal(message.message, sentence);
                for (size_t j = 0; j < fields.count; j++)
                        if (fields.items[j].kind == DECISION_FIELD_NUMBER)
                                assert_int_equal(strtoull(find(&message.parameters, fields.items[j].name), NULL, 10),
                                                 fields.items[j].number);
                        else
                                assert_non_null(find(&message.parameters, fields.items[j].name));
        }
}

static void priority_is_facility_and_severity(void **state)
{
        static const struct {
                enum decision_event event;
                enum policy_action action;
                uint8_t facility;
                int expected;
        } cases[] = {
                { DECISION_EVENT_CONNECTION, POLICY_DENY, 16, 133 },
                { DECISION_EVENT_CONNECTION, POLICY_AUDIT, 16, 133 },
                { DECISION_EVENT_CONNECTION, POLICY_ALLOW, 16, 134 },
                { DECISION_EVENT_START, POLICY_ALLOW, 16, 134 },
                { DECISION_EVENT_ALARM, POLICY_ALLOW, 16, 132 },
                { DECISION_EVENT_QUERY, POLICY_DENY, 0, 5 },
                { DECISION_EVENT_QUERY, POLICY_DENY, 23, 189 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct decision decision = { .event = cases[i].event, .action = cases[i].action, .alarm = "x" };
                struct formatter_style style = style_of(CONFIG_FORMAT_SYSLOG, false);
                style.facility = cases[i].facility;
                parse_syslog(format_with(&style, &decision, &sample_stamp), &message);
                assert_int_equal(message.priority, cases[i].expected);
        }
}

static void what_is_unknown_is_nil(void **state)
{
        struct decision decision = sample_alarm();
        struct formatter_style style = style_of(CONFIG_FORMAT_SYSLOG, false);

        (void)state;
        style.host_name = "";
        decision.time_us = UINT64_MAX;
        parse_syslog(format_with(&style, &decision, &(struct formatter_stamp){ .seq = 1, .instance = "x" }), &message);
        assert_string_equal(message.header[0], "-");
        assert_string_equal(message.header[1], "-");
        assert_string_equal(message.header[2], "aksegressd");
        assert_string_equal(message.header[4], "alarm");
        assert_string_equal(message.id, "aksegress@32473");
        assert_null(find(&message.parameters, "lost"));
        assert_null(find(&message.parameters, "time"));
}

/* RFC 5424 6.2.4: printable ASCII. */
static void a_host_name_that_no_header_can_hold_is_nil(void **state)
{
        static const char *const names[] = { "a b", "a\nb", "\x1b[31m", "b\xc3\xbc", "a\x7f" };
        struct decision decision = sample_packet();

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(names) * 2; i++) {
                struct formatter_style style = style_of(i % 2 == 0 ? CONFIG_FORMAT_SYSLOG : CONFIG_FORMAT_CEF, true);
                style.host_name = names[i / 2];
                const char *record = format_with(&style, &decision, &sample_stamp);
                assert_harmless(record);
                parse_syslog(record, &message);
                assert_string_equal(message.header[1], "-");
        }
}

static void other_formats_travel_as_the_text_of_a_message(void **state)
{
        static const enum config_format formats[] = { CONFIG_FORMAT_JSON, CONFIG_FORMAT_CEF, CONFIG_FORMAT_AZURE };
        struct decision decision = sample_query();
        char alone[FORMATTER_RECORD_SIZE];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
                struct formatter_style style = style_of(formats[i], true);
                strcpy(alone, format(formats[i], &decision));
                parse_syslog(format_with(&style, &decision, &sample_stamp), &message);
                assert_string_equal(message.id, "");
                assert_string_equal(message.header[4], "query");
                assert_string_equal(message.message, alone);
        }
}

/* Every byte value in every text: nothing leaves its parameter, and what can be kept comes back as it was. */
static void every_byte_value_stays_inside_its_parameter(void **state)
{
        char expected[FORMATTER_RECORD_SIZE];

        (void)state;
        for (unsigned byte = 1; byte < 256; byte++) {
                struct decision decision;

                sample_largest(&decision, 0, (int)byte);
                const char *record = format(CONFIG_FORMAT_SYSLOG, &decision);
                assert_harmless(record);
                parse_syslog(record, &message);
                cleaned(decision.rule, sizeof(decision.rule), "", expected);
                assert_value(&message.parameters, "rule", expected);
                cleaned(decision.hint, sizeof(decision.hint), "", expected);
                assert_value(&message.parameters, "hint", expected);
                cleaned(decision.cluster, sizeof(decision.cluster), "", expected);
                assert_value(&message.parameters, "cluster", expected);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_denial_reads_as_rfc_5424_has_it),
                cmocka_unit_test(structured_data_has_every_field),
                cmocka_unit_test(priority_is_facility_and_severity),
                cmocka_unit_test(what_is_unknown_is_nil),
                cmocka_unit_test(a_host_name_that_no_header_can_hold_is_nil),
                cmocka_unit_test(other_formats_travel_as_the_text_of_a_message),
                cmocka_unit_test(every_byte_value_stays_inside_its_parameter),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
