#include "format_lab.h"

static struct cef_event event;

/* Keys that Microsoft Sentinel takes into columns of CommonSecurityLog, of those that fit an egress firewall. */
static const char *const columns[] = {
        "act",
        "app",
        "proto",
        "src",
        "spt",
        "dst",
        "dpt",
        "dhost",
        "sourceTranslatedAddress",
        "sourceTranslatedPort",
        "deviceDirection",
        "in",
        "out",
        "cnt",
        "rt",
        "externalId",
        "msg",
        "outcome",
        "reason",
        "dvchost",
        "start",
        "end",
        "cs1",
        "cs1Label",
        "cs2",
        "cs2Label",
        "cs3",
        "cs3Label",
        "cs4",
        "cs4Label",
        "cs5",
        "cs5Label",
        "cs6",
        "cs6Label",
        "cn1",
        "cn1Label",
        "cn2",
        "cn2Label",
        "flexString1",
        "flexString1Label",
        "c6a2",
        "c6a2Label",
        "c6a3",
        "c6a3Label",
};

static bool is_column(const char *key)
{
        for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
                if (strcmp(columns[i], key) == 0)
                        return true;
        return false;
}

static void a_denial_reads_as_common_event_format_has_it(void **state)
{
        struct decision decision;

        (void)state;
        sample_full(&decision);
        assert_string_equal(
                format(CONFIG_FORMAT_CEF, &decision),
                "CEF:0|aksegressd|aksegressd|" AKSEGRESSD_VERSION "|no-rule|connection denied|5|externalId=7 "
                "cs6=0123456789abcdef0123456789abcdef cs6Label=instance cn2=3 cn2Label=lost rt=1719830096000 "
                "dvchost=nva1 "
                "act=Deny outcome=failure deviceDirection=1 reason=no-rule app=HTTPS proto=TCP src=10.1.0.4 spt=40222 "
                "c6a3=2001:db8::5 c6a3Label=Destination IPv6 Address dpt=443 dhost=example.com "
                "sourceTranslatedAddress=10.0.1.10 sourceTranslatedPort=1024 aksegressOriginalIp=93.184.216.34 "
                "cs1=prod-weu cs1Label=cluster cs2=monitor cs2Label=feature cs3=monitor.allow:12 cs3Label=rule "
                "cs4=allowed by feature 'monitor', not enabled for cluster 'prod-weu' cs4Label=hint cs5=transparent "
                "cs5Label=listener flexString1=c0ffee0123456789 flexString1Label=connection_id "
                "aksegressEvent=connection out=517 in=18446744073 "
                "cn1=1002 cn1Label=duration_ms aksegressAlpn=h2,http/1.1 aksegressEch=true start=1719830094998 "
                "end=1719830096000 msg=denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule; hint: allowed "
                "by "
                "feature 'monitor', not enabled for cluster 'prod-weu'");
}

static void severity_class_and_name_follow_the_event(void **state)
{
        static const struct {
                enum decision_event event;
                enum policy_action action;
                const char *class;
                const char *name;
                const char *severity;
        } cases[] = {
                { DECISION_EVENT_CONNECTION, POLICY_ALLOW, "completed", "connection allowed", "1" },
                { DECISION_EVENT_CONNECTION, POLICY_AUDIT, "completed", "connection audited", "3" },
                { DECISION_EVENT_QUERY, POLICY_DENY, "completed", "query denied", "5" },
                { DECISION_EVENT_PACKET, POLICY_AUDIT, "completed", "packet audited", "3" },
                { DECISION_EVENT_FLOW, POLICY_ALLOW, "completed", "flow allowed", "1" },
                { DECISION_EVENT_SUMMARY, POLICY_DENY, "completed", "summary of denied connections", "5" },
                { DECISION_EVENT_START, POLICY_ALLOW, "started", "connection started", "1" },
                { DECISION_EVENT_ALARM, POLICY_ALLOW, "too|many\\", "alarm", "8" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct decision decision = { .event = cases[i].event,
                                                   .action = cases[i].action,
                                                   .alarm = "too|many\\" };
                parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
                assert_value(&event.header, "0", "0");
                assert_value(&event.header, "1", "aksegressd");
                assert_value(&event.header, "3", AKSEGRESSD_VERSION);
                assert_value(&event.header, "4", cases[i].class);
                assert_value(&event.header, "5", cases[i].name);
                assert_value(&event.header, "6", cases[i].severity);
        }
}

static void what_starts_or_is_summed_up_has_its_own_name(void **state)
{
        static const struct {
                enum decision_event event;
                enum decision_listener listener;
                const char *name;
        } cases[] = {
                { DECISION_EVENT_START, DECISION_LISTENER_PROXY, "connection started" },
                { DECISION_EVENT_START, DECISION_LISTENER_FORWARD, "flow started" },
                { DECISION_EVENT_SUMMARY, DECISION_LISTENER_TRANSPARENT, "summary of audited connections" },
                { DECISION_EVENT_SUMMARY, DECISION_LISTENER_DNS, "summary of audited queries" },
                { DECISION_EVENT_SUMMARY, DECISION_LISTENER_FORWARD, "summary of audited packets" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                const struct decision decision = { .event = cases[i].event,
                                                   .listener = cases[i].listener,
                                                   .action = POLICY_AUDIT };
                parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
                assert_value(&event.header, "5", cases[i].name);
        }
}

static void proto_is_what_carried_it(void **state)
{
        static const struct {
                enum decision_listener listener;
                enum decision_protocol protocol;
                bool is_tcp;
                const char *proto;
        } cases[] = {
                { DECISION_LISTENER_TRANSPARENT, DECISION_PROTOCOL_UNKNOWN, false, "TCP" },
                { DECISION_LISTENER_PROXY, DECISION_PROTOCOL_HTTP, false, "TCP" },
                { DECISION_LISTENER_DNS, DECISION_PROTOCOL_DNS, false, "UDP" },
                { DECISION_LISTENER_DNS, DECISION_PROTOCOL_DNS, true, "TCP" },
                { DECISION_LISTENER_FORWARD, DECISION_PROTOCOL_QUIC, false, "UDP" },
                { DECISION_LISTENER_FORWARD, DECISION_PROTOCOL_ICMP, false, "ICMP" },
                { DECISION_LISTENER_FORWARD, DECISION_PROTOCOL_IP, false, "IP" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct decision decision = { .listener = cases[i].listener, .protocol = cases[i].protocol };
                decision.dns.is_tcp = cases[i].is_tcp;
                parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
                assert_value(&event.extension, "proto", cases[i].proto);
        }
}

static void the_destination_is_what_was_asked_for_where_nothing_was_dialled(void **state)
{
        struct decision decision;

        (void)state;
        sample_full(&decision);
        decision.destination.address = (struct net_address){ .family = AF_UNSPEC };
        parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
        assert_value(&event.extension, "dst", "93.184.216.34");
        assert_value(&event.extension, "aksegressOriginalIp", "93.184.216.34");
        assert_null(find(&event.extension, "c6a3"));
}

/* Sentinel's columns, or names of our own that it keeps beside them; no key twice. */
static void keys_are_those_of_commonsecuritylog_or_ours(void **state)
{
        (void)state;
        for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;

                sample_largest(&decision, i, 'x');
                parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
                for (size_t j = 0; j < event.extension.count; j++) {
                        const char *key = event.extension.items[j].name;
                        assert_non_null(find(&event.extension, key));
                        if (!is_column(key) && strncmp(key, "aksegress", strlen("aksegress")) != 0)
                                fail_msg("%s", key);
                }
        }
}

/* The key of each field of a record. A field without one is an error here. */
static const char *key_of(const char *field, const struct decision *decision)
{
        static const char *const keys[][2] = {
                { "time", "rt" },
                { "event", "aksegressEvent" },
                { "action", "act" },
                { "reason", "reason" },
                { "hint", "cs4" },
                { "cluster", "cs1" },
                { "feature", "cs2" },
                { "rule", "cs3" },
                { "protocol", "app" },
                { "listener", "cs5" },
                { "client_port", "spt" },
                { "fqdn", "dhost" },
                { "original_ip", "aksegressOriginalIp" },
                { "destination_port", "dpt" },
                { "snat_ip", "sourceTranslatedAddress" },
                { "snat_port", "sourceTranslatedPort" },
                { "bytes_out", "out" },
                { "bytes_in", "in" },
                { "duration_ms", "cn1" },
                { "connection_id", "flexString1" },
                { "alpn", "aksegressAlpn" },
                { "ech", "aksegressEch" },
                { "query_id", "aksegressQueryId" },
                { "query_type", "aksegressQueryType" },
                { "query_class", "aksegressQueryClass" },
                { "request_size", "aksegressRequestSize" },
                { "response_code", "aksegressResponseCode" },
                { "response_flags", "aksegressResponseFlags" },
                { "response_size", "aksegressResponseSize" },
                { "edns_size", "aksegressEdnsSize" },
                { "dnssec_ok", "aksegressDnssecOk" },
                { "count", "cnt" },
                { "first_time", "start" },
                { "last_time", "end" },
        };

        if (strcmp(field, "client_ip") == 0)
                return decision->client.address.family == AF_INET ? "src" : "c6a2";
        if (strcmp(field, "destination_ip") == 0)
                return decision->destination.address.family == AF_INET ? "dst" : "c6a3";
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                if (strcmp(keys[i][0], field) == 0)
                        return keys[i][1];
        fail_msg("the field %s has no key", field);
        return NULL;
}

static void every_field_has_a_key(void **state)
{
        (void)state;
        for (unsigned i = 0; i < 2 * SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;
                struct decision_fields fields;

                sample_largest(&decision, i % SAMPLE_LARGEST_COUNT, 'x');
                decision.time_us = decision.first_time_us = decision.last_time_us = 1719830096000123;
                if (i >= SAMPLE_LARGEST_COUNT)
                        decision.client = decision.destination = sample_endpoint("10.1.0.4", 40222);
                parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
                decision_fields(&decision, &fields);
                for (size_t j = 0; j < fields.count; j++) {
                        const char *key = key_of(fields.items[j].name, &decision);
                        if (find(&event.extension, key) == NULL)
                                fail_msg("%s of %s is not there", key, fields.items[j].name);
                }
        }
}

static void a_summary_has_its_count_and_its_span(void **state)
{
        struct decision packet = sample_packet();
        struct decision decision = sample_summary(&packet);

        (void)state;
        parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
        assert_value(&event.extension, "cnt", "12");
        assert_value(&event.extension, "start", "1719830086000");
        assert_value(&event.extension, "end", "1719830095999");
        assert_value(&event.extension, "app", "QUIC");
        assert_value(&event.extension, "proto", "UDP");
        assert_null(find(&event.extension, "spt"));
}

static void every_byte_value_stays_inside_its_value(void **state)
{
        char expected[FORMATTER_RECORD_SIZE];

        (void)state;
        for (unsigned byte = 1; byte < 256; byte++) {
                struct decision decision;

                if (byte == ' ')
                        continue; /* A value of nothing but spaces is cut by every parser. */
                sample_largest(&decision, 0, (int)byte);
                const char *record = format(CONFIG_FORMAT_CEF, &decision);
                assert_harmless(record);
                parse_cef(record, &event);
                cleaned(decision.rule, sizeof(decision.rule), "\n\r", expected);
                assert_value(&event.extension, "cs3", expected);
                cleaned(decision.hint, sizeof(decision.hint), "\n\r", expected);
                assert_value(&event.extension, "cs4", expected);
                cleaned(decision.fqdn.text, decision.fqdn.length, "\n\r", expected);
                assert_value(&event.extension, "dhost", expected);
        }
}

/* What a client would have to say to add a key of its own. */
static void a_value_cannot_begin_another_key(void **state)
{
        struct decision decision;

        (void)state;
        sample_full(&decision);
        snprintf(decision.alpn, sizeof(decision.alpn), "h2 act=Allow|src=1.2.3.4\\");
        parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
        assert_value(&event.extension, "aksegressAlpn", "h2 act=Allow|src=1.2.3.4\\");
        assert_value(&event.extension, "act", "Deny");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_denial_reads_as_common_event_format_has_it),
                cmocka_unit_test(severity_class_and_name_follow_the_event),
                cmocka_unit_test(what_starts_or_is_summed_up_has_its_own_name),
                cmocka_unit_test(proto_is_what_carried_it),
                cmocka_unit_test(the_destination_is_what_was_asked_for_where_nothing_was_dialled),
                cmocka_unit_test(keys_are_those_of_commonsecuritylog_or_ours),
                cmocka_unit_test(every_field_has_a_key),
                cmocka_unit_test(a_summary_has_its_count_and_its_span),
                cmocka_unit_test(every_byte_value_stays_inside_its_value),
                cmocka_unit_test(a_value_cannot_begin_another_key),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
