/* The examples of docs/decision-log.md are what the formatters write, and its tables name every field, key and column. */
#include "format_lab.h"

#include <jansson.h>

#define MANUAL "docs/decision-log.md"

static char manual[128 * 1024];

static int read_manual(void **state)
{
        FILE *file = fopen(MANUAL, "re");

        (void)state;
        if (file == NULL)
                return -1;
        size_t length = fread(manual, 1, sizeof(manual) - 1, file);
        fclose(file);
        manual[length] = '\0';
        return length < sizeof(manual) - 1 ? 0 : -1;
}

/* What the examples are about. */
static struct decision documented_denial(void)
{
        struct decision decision = { .event = DECISION_EVENT_CONNECTION,
                                     .action = POLICY_DENY,
                                     .reason = REASON_NO_RULE,
                                     .listener = DECISION_LISTENER_TRANSPARENT,
                                     .protocol = DECISION_PROTOCOL_HTTPS,
                                     .time_us = 1782988496000123,
                                     .duration_ms = 3,
                                     .cluster = "prod-weu",
                                     .hint = "allowed by feature 'monitor', not enabled for cluster 'prod-weu'",
                                     .connection_id = "65f1c2a90b3d7e18",
                                     .alpn = "h2,http/1.1",
                                     .has_tls = true };

        decision.client = sample_endpoint("10.1.0.4", 40222);
        decision.original = sample_endpoint("20.38.1.9", 443);
        decision.destination.port = 443;
        assert_int_equal(fqdn_from_text("westeurope.handler.control.monitor.azure.com", &decision.fqdn), 0);
        return decision;
}

static struct decision documented_query(void)
{
        struct decision decision = sample_query();

        decision.time_us = 1782988496000123;
        return decision;
}

static const char *format_documented(enum config_format kind, bool has_syslog_header, uint64_t seq,
                                     const struct decision *decision)
{
        const struct formatter_stamp stamp = { .seq = seq, .instance = "8f14e45fceea167a5a36dedd4bea2543" };
        struct formatter_style style = style_of(kind, has_syslog_header);

        style.resource_id = "/subscriptions/0/resourceGroups/hub";
        return format_with(&style, decision, &stamp);
}

/* As a line, or as lines, of its own. */
static void assert_documented(const char *record)
{
        char line[FORMATTER_RECORD_SIZE + 3];

        snprintf(line, sizeof(line), "\n%s%s", record, record[strlen(record) - 1] == '\n' ? "" : "\n");
        if (strstr(manual, line) == NULL)
                fail_msg("not in " MANUAL ":\n%s", record);
}

static void the_examples_are_what_is_written(void **state)
{
        struct decision denial = documented_denial();
        struct decision query = documented_query();

        (void)state;
        assert_documented(format_documented(CONFIG_FORMAT_JSON, false, 4711, &denial));
        assert_documented(format_documented(CONFIG_FORMAT_JSON, false, 4712, &query));
        assert_documented(format_documented(CONFIG_FORMAT_SYSLOG, true, 4711, &denial));
        assert_documented(format_documented(CONFIG_FORMAT_CEF, false, 4711, &denial));
        assert_documented(format_documented(CONFIG_FORMAT_AZURE, false, 4711, &denial));
        assert_documented(format_documented(CONFIG_FORMAT_AZURE, false, 4712, &query));
}

/* The stamp is at another place in the journal's example, so each of its lines is looked for. */
static void every_line_of_the_journal_is_documented(void **state)
{
        struct decision denial = documented_denial();
        char record[FORMATTER_RECORD_SIZE];
        char *rest = record;
        const char *line;

        (void)state;
        strcpy(record, format_documented(CONFIG_FORMAT_JOURNAL, false, 4711, &denial));
        while ((line = strsep(&rest, "\n")) != NULL)
                if (line[0] != '\0')
                        assert_documented(line);
}

/* In a row of a table behind this heading: "| `name` | …" or "| … | `name` …". */
static void assert_in_tables(const char *heading, const char *name)
{
        const char *section = strstr(manual, heading);
        char word[80];

        assert_non_null(section);
        snprintf(word, sizeof(word), "`%s`", name);
        const char *found = strstr(section, word);
        const char *end = strstr(section + strlen(heading), "\n### ");
        if (found == NULL || (end != NULL && found > end))
                fail_msg(MANUAL ": no `%s` under%s", name, heading);
}

static void every_key_of_cef_is_documented(void **state)
{
        static struct cef_event event;

        (void)state;
        for (unsigned i = 0; i < 2 * SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;
                sample_largest(&decision, i / 2, 'x');
                if (i % 2 == 0)
                        decision.client = decision.destination = sample_endpoint("10.1.0.4", 40222);
                parse_cef(format(CONFIG_FORMAT_CEF, &decision), &event);
                for (size_t j = 0; j < event.extension.count; j++) {
                        const char *key = event.extension.items[j].name;
                        if (strstr(key, "Label") == NULL)
                                assert_in_tables("\n### CEF", key);
                }
        }
}

static void every_field_has_a_row_for_cef(void **state)
{
        (void)state;
        for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT; i++) {
                struct decision decision;
                struct decision_fields fields;
                sample_largest(&decision, i, 'x');
                decision.time_us = decision.first_time_us = decision.last_time_us = 1719830096000123;
                decision_fields(&decision, &fields);
                for (size_t j = 0; j < fields.count; j++)
                        assert_in_tables("\n### CEF", fields.items[j].name);
        }
}

static void every_column_of_azure_is_documented(void **state)
{
        (void)state;
        for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT * 9; i++) {
                struct decision decision;
                const char *column;
                json_t *value;
                sample_largest(&decision, i % SAMPLE_LARGEST_COUNT, 'x');
                decision.protocol = (enum decision_protocol)(i / SAMPLE_LARGEST_COUNT);
                json_t *record = json_loads(format(CONFIG_FORMAT_AZURE, &decision), JSON_REJECT_DUPLICATES, NULL);
                assert_in_tables("\n### Azure", json_string_value(json_object_get(record, "category")));
                json_object_foreach(json_object_get(record, "properties"), column, value)
                {
                        assert_in_tables("\n### Azure", column);
                }
                json_decref(record);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_examples_are_what_is_written),
                cmocka_unit_test(every_line_of_the_journal_is_documented),
                cmocka_unit_test(every_key_of_cef_is_documented),
                cmocka_unit_test(every_field_has_a_row_for_cef),
                cmocka_unit_test(every_column_of_azure_is_documented),
        };

        return cmocka_run_group_tests(tests, read_manual, NULL);
}
