#include "format_lab.h"

#include <jansson.h>

/* Columns of Azure Firewall's resource-specific tables and their types; those that Log Analytics adds by itself are not there. */
struct column {
        const char *name;
        json_type type; /* JSON_TRUE: boolean */
};

static const struct column application_rule[] = {
        { "Protocol", JSON_STRING },         { "SourceIp", JSON_STRING },    { "SourcePort", JSON_INTEGER },
        { "DestinationPort", JSON_INTEGER }, { "Fqdn", JSON_STRING },        { "TargetUrl", JSON_STRING },
        { "Action", JSON_STRING },           { "Policy", JSON_STRING },      { "RuleCollectionGroup", JSON_STRING },
        { "RuleCollection", JSON_STRING },   { "Rule", JSON_STRING },        { "ActionReason", JSON_STRING },
        { "IsTlsInspected", JSON_TRUE },     { "WebCategory", JSON_STRING }, { "IsExplicitProxyRequest", JSON_TRUE },
};
static const struct column network_rule[] = {
        { "Protocol", JSON_STRING },         { "SourceIp", JSON_STRING },
        { "SourcePort", JSON_INTEGER },      { "DestinationIp", JSON_STRING },
        { "DestinationPort", JSON_INTEGER }, { "Action", JSON_STRING },
        { "Policy", JSON_STRING },           { "RuleCollectionGroup", JSON_STRING },
        { "RuleCollection", JSON_STRING },   { "Rule", JSON_STRING },
        { "ActionReason", JSON_STRING },
};
static const struct column dns_query[] = {
        { "SourceIp", JSON_STRING },         { "SourcePort", JSON_INTEGER },       { "QueryId", JSON_INTEGER },
        { "QueryType", JSON_STRING },        { "QueryClass", JSON_STRING },        { "QueryName", JSON_STRING },
        { "Protocol", JSON_STRING },         { "RequestSize", JSON_INTEGER },      { "DnssecOkBit", JSON_TRUE },
        { "EDNS0BufferSize", JSON_INTEGER }, { "ResponseCode", JSON_STRING },      { "ResponseFlags", JSON_STRING },
        { "ResponseSize", JSON_INTEGER },    { "RequestDurationSecs", JSON_REAL }, { "ErrorNumber", JSON_INTEGER },
        { "ErrorMessage", JSON_STRING },
};
static const struct column alarm_columns[] = { { "Reason", JSON_STRING }, { "Message", JSON_STRING } };

static const struct {
        const char *category;
        const struct column *columns;
        size_t count;
} tables[] = {
        { "AZFWApplicationRule", application_rule, ARRAY_SIZE(application_rule) },
        { "AZFWNetworkRule", network_rule, ARRAY_SIZE(network_rule) },
        { "AZFWDnsQuery", dns_query, ARRAY_SIZE(dns_query) },
        { "AksEgressAlarm", alarm_columns, ARRAY_SIZE(alarm_columns) },
};

static json_t *parse(const char *record)
{
        json_error_t error;
        json_t *object = json_loads(record, JSON_REJECT_DUPLICATES, &error);

        assert_harmless(record);
        if (object == NULL)
                fail_msg("%s in: %s", error.text, record);
        return object;
}

/* Exactly the columns of its table, each of its type. */
static void check_columns(const json_t *record)
{
        const char *category = json_string_value(json_object_get(record, "category"));
        const json_t *properties = json_object_get(record, "properties");

        for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
                if (strcmp(tables[i].category, category) != 0)
                        continue;
                assert_int_equal(json_object_size(properties), tables[i].count);
                for (size_t j = 0; j < tables[i].count; j++) {
                        const json_t *value = json_object_get(properties, tables[i].columns[j].name);
                        json_type type = json_is_boolean(value) ? JSON_TRUE : json_typeof(value);
                        if (value == NULL || type != tables[i].columns[j].type)
                                fail_msg("%s.%s", category, tables[i].columns[j].name);
                }
                return;
        }
        fail_msg("%s is no table", category);
}

static void every_event_has_the_columns_of_its_table(void **state)
{
        (void)state;
        for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT * 9; i++) {
                struct decision decision;

                sample_largest(&decision, i % SAMPLE_LARGEST_COUNT, 'x');
                decision.protocol = (enum decision_protocol)(i / SAMPLE_LARGEST_COUNT);
                json_t *record = parse(format(CONFIG_FORMAT_AZURE, &decision));
                assert_string_equal(json_string_value(json_object_get(record, "resourceId")),
                                    "/SUBSCRIPTIONS/0/RESOURCEGROUPS/HUB");
                check_columns(record);
                assert_null(json_object_get(json_object_get(record, "properties"), "msg"));
                json_decref(record);
        }
}

/* What has no column is kept beside them: the whole record. */
static void no_field_is_missing(void **state)
{
        (void)state;
        for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;
                char json[FORMATTER_RECORD_SIZE];

                sample_largest(&decision, i, 'x');
                strcpy(json, format(CONFIG_FORMAT_JSON, &decision));
                json_t *expected = parse(json);
                json_t *record = parse(format(CONFIG_FORMAT_AZURE, &decision));
                assert_true(json_equal(json_object_get(record, "aksegress"), expected));
                json_decref(record);
                json_decref(expected);
        }
}

static void assert_properties(const struct decision *decision, const char *category, json_t *expected)
{
        json_t *record = parse(format(CONFIG_FORMAT_AZURE, decision));

        assert_non_null(expected);
        assert_string_equal(json_string_value(json_object_get(record, "category")), category);
        assert_string_equal(json_string_value(json_object_get(record, "time")), "2024-07-01T10:34:56.000123Z");
        if (!json_equal(json_object_get(record, "properties"), expected))
                fail_msg("%s", record_text);
        json_decref(expected);
        json_decref(record);
}

static void an_application_rule_reads_as_azure_firewall_has_it(void **state)
{
        struct decision decision;

        (void)state;
        sample_full(&decision);
        decision.action = POLICY_ALLOW;
        decision.reason = REASON_COMPLETED;
        decision.listener = DECISION_LISTENER_PROXY;
        assert_properties(&decision, "AZFWApplicationRule",
                          json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:b}",
                                    "Protocol", "HTTPS", "SourceIp", "10.1.0.4", "SourcePort", 40222, "DestinationPort",
                                    443, "Fqdn", "example.com", "TargetUrl", "", "Action", "Allow", "Policy",
                                    "prod-weu", "RuleCollectionGroup", "monitor", "RuleCollection", "monitor.allow",
                                    "Rule", "monitor.allow:12", "ActionReason", "", "IsTlsInspected", 0, "WebCategory",
                                    "", "IsExplicitProxyRequest", 1));
}

static void without_a_rule_it_is_the_default_action_and_nothing_else_is_said(void **state)
{
        struct decision decision = sample_packet();

        (void)state;
        decision.reason = REASON_NO_NETWORK_RULE;
        decision.protocol = DECISION_PROTOCOL_TCP;
        assert_properties(&decision, "AZFWNetworkRule",
                          json_pack("{s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s}", "Protocol", "TCP",
                                    "SourceIp", "10.1.0.4", "SourcePort", 40222, "DestinationIp", "203.0.113.9",
                                    "DestinationPort", 443, "Action", "Deny", "Policy", "", "RuleCollectionGroup", "",
                                    "RuleCollection", "", "Rule", "", "ActionReason", "Default Action"));
}

static void a_query_reads_as_azure_firewall_has_it(void **state)
{
        struct decision decision = sample_query();

        (void)state;
        assert_properties(&decision, "AZFWDnsQuery",
                          json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:i, s:b, s:i, s:s, s:s, s:i, s:f, s:i, s:s}",
                                    "SourceIp", "10.1.0.4", "SourcePort", 40222, "QueryId", 4660, "QueryType", "AAAA",
                                    "QueryClass", "IN", "QueryName", "example.com", "Protocol", "udp", "RequestSize",
                                    40, "DnssecOkBit", 1, "EDNS0BufferSize", 1232, "ResponseCode", "REFUSED",
                                    "ResponseFlags", "qr,rd,ra", "ResponseSize", 97, "RequestDurationSecs", 0.002,
                                    "ErrorNumber", 5, "ErrorMessage", "no-rule"));
}

static void other_reasons_are_named(void **state)
{
        static const struct {
                enum policy_action action;
                enum reason reason;
                const char *expected_action;
                const char *expected_reason;
        } cases[] = {
                { POLICY_DENY, REASON_NO_RULE, "Deny", "Default Action" },
                { POLICY_AUDIT, REASON_NO_RULE, "Allow", "would be refused: no-rule" },
                { POLICY_AUDIT, REASON_TOO_MANY_CLIENT_CONNECTIONS, "Allow",
                  "would be refused: too-many-client-connections" },
                { POLICY_DENY, REASON_NO_SERVER_NAME, "Deny", "SNI TLS extension was missing." },
                { POLICY_DENY, REASON_UNKNOWN_SOURCE, "Deny", "unknown-source" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct decision decision;
                sample_full(&decision);
                decision.action = cases[i].action;
                decision.reason = cases[i].reason;
                decision.rule[0] = '\0';
                json_t *record = parse(format(CONFIG_FORMAT_AZURE, &decision));
                const json_t *properties = json_object_get(record, "properties");
                assert_string_equal(json_string_value(json_object_get(properties, "Action")), cases[i].expected_action);
                assert_string_equal(json_string_value(json_object_get(properties, "ActionReason")),
                                    cases[i].expected_reason);
                assert_string_equal(json_string_value(json_object_get(properties, "Policy")), "");
                json_decref(record);
        }
}

static void every_byte_value_stays_inside_its_string(void **state)
{
        (void)state;
        for (unsigned byte = 1; byte < 256; byte++) {
                struct decision decision;

                sample_largest(&decision, 0, (int)byte);
                decision.protocol = DECISION_PROTOCOL_HTTPS;
                json_t *record = parse(format(CONFIG_FORMAT_AZURE, &decision));
                check_columns(record);
                assert_int_equal(json_object_size(record), 5);
                if (byte < 0x80)
                        assert_int_equal(
                                json_string_length(json_object_get(json_object_get(record, "properties"), "Fqdn")),
                                FQDN_MAX_LENGTH);
                json_decref(record);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_event_has_the_columns_of_its_table),
                cmocka_unit_test(no_field_is_missing),
                cmocka_unit_test(an_application_rule_reads_as_azure_firewall_has_it),
                cmocka_unit_test(without_a_rule_it_is_the_default_action_and_nothing_else_is_said),
                cmocka_unit_test(a_query_reads_as_azure_firewall_has_it),
                cmocka_unit_test(other_reasons_are_named),
                cmocka_unit_test(every_byte_value_stays_inside_its_string),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
