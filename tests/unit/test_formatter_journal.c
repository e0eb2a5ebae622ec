#include "journal_receiver.h"

#include "base/compiler.h"
#include "records/formatter_journal.h"
#include "records/sentence.h"

static const struct formatter_stamp sample_stamp = { .seq = 7,
                                                     .lost = 3,
                                                     .instance = "0123456789abcdef0123456789abcdef" };

static struct receiver_record record;

static const struct formatter_style style = { .format = CONFIG_FORMAT_JOURNAL, .host_name = "nva1", .resource_id = "" };

static void format_and_parse(const struct decision *decision, const struct formatter_stamp *stamp)
{
        static struct formatter_body body;

        formatter_write_body(&style, decision, &body);
        memset(record.fields, 0, sizeof(record.fields));
        receiver_parse(&record, formatter_complete(style.format, stamp, body.bytes, body.length, body.stamp_at,
                                                   record.datagram));
}

static void assert_message(const struct decision *decision, const char *expected)
{
        char message[SENTENCE_SIZE];

        assert_int_equal(sentence_format(decision, message), strlen(expected));
        assert_string_equal(message, expected);
}

static void every_field_of_a_full_decision_is_there_and_right(void **state)
{
        static const char *const expected[][2] = {
                { "AKSEGRESS_SEQ", "7" },
                { "AKSEGRESS_INSTANCE", "0123456789abcdef0123456789abcdef" },
                { "AKSEGRESS_LOST", "3" },
                { "MESSAGE", "denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule; hint: allowed by feature "
                             "'monitor', not enabled for cluster 'prod-weu'" },
                { "MESSAGE_ID", "a254a7c35b9c43a1aa7a5711426403d0" },
                { "PRIORITY", "5" },
                { "SYSLOG_IDENTIFIER", "aksegressd" },
                { "AKSEGRESS_TIME", "2024-07-01T10:34:56.000123Z" },
                { "AKSEGRESS_EVENT", "connection" },
                { "AKSEGRESS_ACTION", "deny" },
                { "AKSEGRESS_REASON", "no-rule" },
                { "AKSEGRESS_HINT", "allowed by feature 'monitor', not enabled for cluster 'prod-weu'" },
                { "AKSEGRESS_CLUSTER", "prod-weu" },
                { "AKSEGRESS_FEATURE", "monitor" },
                { "AKSEGRESS_RULE", "monitor.allow:12" },
                { "AKSEGRESS_PROTOCOL", "https" },
                { "AKSEGRESS_LISTENER", "transparent" },
                { "AKSEGRESS_CLIENT_IP", "10.1.0.4" },
                { "AKSEGRESS_CLIENT_PORT", "40222" },
                { "AKSEGRESS_FQDN", "example.com" },
                { "AKSEGRESS_ORIGINAL_IP", "93.184.216.34" },
                { "AKSEGRESS_DESTINATION_IP", "2001:db8::5" },
                { "AKSEGRESS_DESTINATION_PORT", "443" },
                { "AKSEGRESS_SNAT_IP", "10.0.1.10" },
                { "AKSEGRESS_SNAT_PORT", "1024" },
                { "AKSEGRESS_BYTES_OUT", "517" },
                { "AKSEGRESS_BYTES_IN", "18446744073" },
                { "AKSEGRESS_DURATION_MS", "1002" },
                { "AKSEGRESS_CONNECTION_ID", "c0ffee0123456789" },
                { "AKSEGRESS_ALPN", "h2,http/1.1" },
                { "AKSEGRESS_ECH", "true" },
        };
        struct decision decision;

        (void)state;
        sample_full(&decision);
        format_and_parse(&decision, &sample_stamp);
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
                receiver_assert(&record, expected[i][0], expected[i][1]);
        assert_int_equal(record.count, ARRAY_SIZE(expected));
}

static void the_message_says_what_happened_in_one_sentence(void **state)
{
        struct decision decision;
        struct decision nothing_known = { .reason = REASON_CLIENT_GONE, .action = POLICY_DENY };
        struct decision alarm = { .event = DECISION_EVENT_ALARM,
                                  .alarm = "snat-nearly-exhausted",
                                  .hint = "52000 of 64512 ports in use" };

        (void)state;
        sample_full(&decision);
        decision.hint[0] = '\0';
        assert_message(&decision, "denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule");
        decision.action = POLICY_AUDIT;
        assert_message(&decision, "let through for audit https example.com:443 from 10.1.0.4 (prod-weu): no-rule, as "
                                  "10.0.1.10, 517 bytes out, 18446744073 in, 1002 ms");
        decision.action = POLICY_ALLOW;
        decision.reason = REASON_COMPLETED;
        decision.fqdn.length = 0;
        assert_message(&decision, "allowed https [2001:db8::5]:443 from 10.1.0.4 (prod-weu): completed, as 10.0.1.10, "
                                  "517 bytes out, 18446744073 in, 1002 ms");
        assert_message(&nothing_known, "denied: client-gone");
        assert_message(&alarm, "alarm snat-nearly-exhausted: 52000 of 64512 ports in use");
        alarm.snat = sample_endpoint("10.0.1.10", 0);
        alarm.destination = sample_endpoint("2001:db8::5", 443);
        assert_message(&alarm,
                       "alarm snat-nearly-exhausted, 10.0.1.10, to [2001:db8::5]:443: 52000 of 64512 ports in use");
}

static void the_message_says_what_the_kernel_did_not_forward(void **state)
{
        struct decision decision = sample_packet();

        (void)state;
        assert_message(&decision, "denied quic 203.0.113.9:443 (www.example.com) from 10.1.0.4 (prod-weu): quic");
        snprintf(decision.hint, sizeof(decision.hint), "allowed by 'udp 203.0.113.9:443'");
        decision.fqdn.length = 0;
        decision.protocol = DECISION_PROTOCOL_UDP;
        decision.reason = REASON_NO_NETWORK_RULE;
        assert_message(&decision, "denied udp 203.0.113.9:443 from 10.1.0.4 (prod-weu): no-network-rule; hint: allowed "
                                  "by 'udp 203.0.113.9:443'");
        decision.hint[0] = '\0';
        decision.destination = sample_endpoint("2001:db8::5", 0);
        decision.protocol = DECISION_PROTOCOL_ICMP;
        decision.reason = REASON_ICMP;
        assert_message(&decision, "denied icmp [2001:db8::5] from 10.1.0.4 (prod-weu): icmp");
        decision.action = POLICY_AUDIT;
        decision.protocol = DECISION_PROTOCOL_IP;
        decision.ip_protocol = 47;
        assert_message(&decision, "let through for audit ip-47 [2001:db8::5] from 10.1.0.4 (prod-weu): icmp");
}

static void the_message_says_how_a_flow_ended(void **state)
{
        struct decision decision = sample_flow();

        (void)state;
        assert_message(&decision, "udp ntp.ubuntu.com 203.0.113.4:123 from 10.1.0.4 (prod-weu) ended: completed, as "
                                  "10.0.1.10, 76 bytes out, 77 in, 30012 ms");
        decision.fqdn.length = 0;
        decision.reason = REASON_NO_NETWORK_RULE;
        decision.action = POLICY_AUDIT;
        decision.destination = sample_endpoint("2001:db8::5", 22);
        decision.protocol = DECISION_PROTOCOL_TCP;
        assert_message(&decision, "let through for audit tcp [2001:db8::5]:22 from 10.1.0.4 (prod-weu) ended: "
                                  "no-network-rule, as 10.0.1.10, 76 bytes out, 77 in, 30012 ms");
        decision = sample_flow();
        decision.lacks_bytes = true;
        assert_message(&decision, "udp ntp.ubuntu.com 203.0.113.4:123 from 10.1.0.4 (prod-weu) ended: completed, as "
                                  "10.0.1.10, 30012 ms");
        decision.lacks_duration = true;
        assert_message(&decision, "udp ntp.ubuntu.com 203.0.113.4:123 from 10.1.0.4 (prod-weu) ended: completed, as "
                                  "10.0.1.10");
}

static void the_message_says_what_was_asked_of_dns(void **state)
{
        struct decision decision = sample_query();

        (void)state;
        assert_message(&decision, "refused query AAAA example.com from 10.1.0.4 (prod-weu): no-rule");
        decision.action = POLICY_ALLOW;
        decision.reason = REASON_COMPLETED;
        decision.dns.rcode = 3;
        decision.dns.type = 65280;
        assert_message(&decision, "allowed query TYPE65280 example.com from 10.1.0.4 (prod-weu): completed, NXDOMAIN");
        decision.dns.has_response = false;
        decision.reason = REASON_RESOLVE_TIMEOUT;
        assert_message(&decision, "allowed query TYPE65280 example.com from 10.1.0.4 (prod-weu): resolve-timeout");
        decision.action = POLICY_DENY;
        decision.reason = REASON_BAD_QUERY;
        decision.fqdn.length = 0;
        decision.dns.type = decision.dns.class = 0;
        assert_message(&decision, "refused query from 10.1.0.4 (prod-weu): bad-query");
}

static void the_message_of_a_summary_is_how_many_more_and_the_first_one(void **state)
{
        struct decision query = sample_query();
        struct decision packet = sample_packet();
        struct decision connection;

        (void)state;
        sample_full(&connection);
        connection.hint[0] = '\0';
        query = sample_summary(&query);
        packet = sample_summary(&packet);
        connection = sample_summary(&connection);
        assert_message(&query, "12 more like: refused query AAAA example.com from 10.1.0.4 (prod-weu): no-rule");
        assert_message(&packet,
                       "12 more like: denied quic 203.0.113.9:443 (www.example.com) from 10.1.0.4 (prod-weu): quic");
        assert_message(&connection, "12 more like: denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule");
        connection.action = POLICY_AUDIT; /* Bytes are of all together, and there is no duration. */
        connection.bytes_out = 1200;
        connection.bytes_in = 24000;
        assert_message(&connection, "12 more like: let through for audit https example.com:443 from 10.1.0.4 "
                                    "(prod-weu): no-rule, as 10.0.1.10, 1200 bytes out, 24000 in");
}

static void priority_and_message_id_follow_event_and_action(void **state)
{
        static const struct {
                enum decision_event event;
                enum policy_action action;
                const char *priority;
                const char *message_id;
        } cases[] = {
                { DECISION_EVENT_CONNECTION, POLICY_DENY, "5", FORMATTER_JOURNAL_ID_CONNECTION },
                { DECISION_EVENT_CONNECTION, POLICY_AUDIT, "5", FORMATTER_JOURNAL_ID_CONNECTION },
                { DECISION_EVENT_CONNECTION, POLICY_ALLOW, "6", FORMATTER_JOURNAL_ID_CONNECTION },
                { DECISION_EVENT_ALARM, POLICY_ALLOW, "4", FORMATTER_JOURNAL_ID_ALARM },
                { DECISION_EVENT_QUERY, POLICY_DENY, "5", FORMATTER_JOURNAL_ID_QUERY },
                { DECISION_EVENT_QUERY, POLICY_ALLOW, "6", FORMATTER_JOURNAL_ID_QUERY },
                { DECISION_EVENT_PACKET, POLICY_DENY, "5", FORMATTER_JOURNAL_ID_PACKET },
                { DECISION_EVENT_FLOW, POLICY_ALLOW, "6", FORMATTER_JOURNAL_ID_FLOW },
                { DECISION_EVENT_START, POLICY_ALLOW, "6", FORMATTER_JOURNAL_ID_START },
                { DECISION_EVENT_SUMMARY, POLICY_DENY, "5", FORMATTER_JOURNAL_ID_SUMMARY },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct decision decision = { .event = cases[i].event, .action = cases[i].action, .alarm = "x" };
                format_and_parse(&decision, &sample_stamp);
                receiver_assert(&record, "PRIORITY", cases[i].priority);
                receiver_assert(&record, "MESSAGE_ID", cases[i].message_id);
        }
}

static void what_is_not_known_is_left_out(void **state)
{
        const struct decision decision = { .event = DECISION_EVENT_CONNECTION };
        const struct formatter_stamp stamp = { .seq = 1, .instance = "x" };

        (void)state;
        format_and_parse(&decision, &stamp);
        receiver_assert_absent(&record, "AKSEGRESS_LOST");
        receiver_assert_absent(&record, "AKSEGRESS_FQDN");
        receiver_assert_absent(&record, "AKSEGRESS_ECH");
        receiver_assert_absent(&record, "AKSEGRESS_SNAT_IP");
        receiver_assert(&record, "AKSEGRESS_BYTES_OUT", "0");
}

/* Above all a newline cannot add a field, and what journalctl writes to a terminal cannot control it. */
static void every_byte_value_stays_inside_its_field(void **state)
{
        (void)state;
        for (unsigned byte = 1; byte < 256; byte++) {
                struct decision decision;
                const char text[] = { 'a', (char)byte, 'A', '=', '1', (char)byte, '\0' };
                bool is_kept = byte >= 0x20 && byte < 0x7f;
                const char *expected = is_kept ? text
                                               : "a\xef\xbf\xbd"
                                                 "A=1\xef\xbf\xbd";

                sample_full(&decision);
                snprintf(decision.hint, sizeof(decision.hint), "%s", text);
                snprintf(decision.alpn, sizeof(decision.alpn), "%s", text);
                memset(decision.rule, (int)byte, sizeof(decision.rule));
                format_and_parse(&decision, &sample_stamp);
                assert_int_equal(record.count, 31);
                receiver_assert(&record, "AKSEGRESS_HINT", expected);
                receiver_assert(&record, "AKSEGRESS_ALPN", expected);
                assert_int_equal(receiver_find(&record, "AKSEGRESS_RULE")->value_length,
                                 DECISION_RULE_SIZE * (is_kept ? 1 : 3));
        }
}

/* An id that two events share would make them one to everybody who selects by it. */
static void each_event_has_an_id_of_its_own(void **state)
{
        static const char *const ids[] = { FORMATTER_JOURNAL_ID_CONNECTION, FORMATTER_JOURNAL_ID_ALARM,
                                           FORMATTER_JOURNAL_ID_QUERY,      FORMATTER_JOURNAL_ID_PACKET,
                                           FORMATTER_JOURNAL_ID_FLOW,       FORMATTER_JOURNAL_ID_SUMMARY,
                                           FORMATTER_JOURNAL_ID_START };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
                assert_int_equal(strlen(ids[i]), 32);
                assert_int_equal(strspn(ids[i], "0123456789abcdef"), 32);
                for (size_t other = 0; other < i; other++)
                        assert_string_not_equal(ids[i], ids[other]);
        }
}

static void every_field_of_a_query_is_there_in_upper_case(void **state)
{
        struct decision decision = sample_query();

        (void)state;
        format_and_parse(&decision, &sample_stamp);
        receiver_assert(&record, "AKSEGRESS_QUERY_ID", "4660");
        receiver_assert(&record, "AKSEGRESS_QUERY_TYPE", "AAAA");
        receiver_assert(&record, "AKSEGRESS_QUERY_CLASS", "IN");
        receiver_assert(&record, "AKSEGRESS_REQUEST_SIZE", "40");
        receiver_assert(&record, "AKSEGRESS_RESPONSE_CODE", "REFUSED");
        receiver_assert(&record, "AKSEGRESS_RESPONSE_FLAGS", "qr,rd,ra");
        receiver_assert(&record, "AKSEGRESS_RESPONSE_SIZE", "97");
        receiver_assert(&record, "AKSEGRESS_EDNS_SIZE", "1232");
        receiver_assert(&record, "AKSEGRESS_DNSSEC_OK", "true");
        receiver_assert_absent(&record, "AKSEGRESS_COUNT");
        decision = sample_summary(&decision);
        format_and_parse(&decision, &sample_stamp);
        receiver_assert(&record, "AKSEGRESS_COUNT", "12");
        receiver_assert(&record, "AKSEGRESS_FIRST_TIME", "2024-07-01T10:34:46.000124Z");
        receiver_assert(&record, "AKSEGRESS_LAST_TIME", "2024-07-01T10:34:55.999999Z");
        receiver_assert_absent(&record, "AKSEGRESS_QUERY_ID");
}

static void the_largest_records_of_all_events_fit_whatever_bytes_they_hold(void **state)
{
        (void)state;
        for (unsigned i = 0; i < 255 * SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;
                int byte = 1 + (int)(i / SAMPLE_LARGEST_COUNT);
                size_t length = byte >= 0x20 && byte < 0x7f ? 1 : 3; /* of what becomes of each byte */

                sample_largest(&decision, i % SAMPLE_LARGEST_COUNT, byte);
                format_and_parse(&decision, &sample_stamp);
                assert_in_range(record.count, 24, 40);
                assert_int_equal(receiver_find(&record, "AKSEGRESS_HINT")->value_length, POLICY_HINT_SIZE * length);
                assert_int_equal(receiver_find(&record, "AKSEGRESS_FQDN")->value_length, FQDN_MAX_LENGTH * length);
                if (decision.event == DECISION_EVENT_ALARM)
                        assert_int_equal(receiver_find(&record, "AKSEGRESS_REASON")->value_length,
                                         DECISION_ALARM_SIZE * length);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_field_of_a_full_decision_is_there_and_right),
                cmocka_unit_test(the_message_says_what_happened_in_one_sentence),
                cmocka_unit_test(the_message_says_what_the_kernel_did_not_forward),
                cmocka_unit_test(the_message_says_how_a_flow_ended),
                cmocka_unit_test(the_message_says_what_was_asked_of_dns),
                cmocka_unit_test(the_message_of_a_summary_is_how_many_more_and_the_first_one),
                cmocka_unit_test(priority_and_message_id_follow_event_and_action),
                cmocka_unit_test(what_is_not_known_is_left_out),
                cmocka_unit_test(every_byte_value_stays_inside_its_field),
                cmocka_unit_test(each_event_has_an_id_of_its_own),
                cmocka_unit_test(every_field_of_a_query_is_there_in_upper_case),
                cmocka_unit_test(the_largest_records_of_all_events_fit_whatever_bytes_they_hold),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
