/* The section logging: what its keys mean together. One key at a time is test_config_values.c's business. */
#include "config_lab.h"

#include "base/compiler.h"

#define SYSLOG "sink: syslog, address: siem.contoso.com"

/* A configuration with these sinks; they stand on line 4, the first one's brace in column 11. */
static const char *with_sinks(const char *sinks)
{
        static char text[2048];

        snprintf(text, sizeof(text), REST "logging: [%s]\n", sinks);
        return text;
}

/* The first sink of a good configuration. */
static struct config_sink sink_of(struct reading *reading, const char *sinks)
{
        *reading = read_good(with_sinks(sinks));
        return reading->config->sinks[0];
}

static void what_a_sink_is_not_told_follows_from_its_kind(void **state)
{
        static const struct {
                const char *sinks;
                enum config_format format;
        } cases[] = {
                { "{ sink: journal }", CONFIG_FORMAT_JOURNAL },
                { "{ sink: file, path: /a }", CONFIG_FORMAT_JSON },
                { "{ sink: syslog, address: 10.0.0.9 }", CONFIG_FORMAT_SYSLOG },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reading reading;
                struct config_sink sink = sink_of(&reading, cases[i].sinks);

                assert_int_equal(sink.format, cases[i].format);
                assert_int_equal(sink.transport, CONFIG_TRANSPORT_TLS);
                assert_int_equal(sink.summarize_ms, 10000);
                assert_int_equal(sink.queue, 65536);
                assert_int_equal(sink.facility, 16);
                assert_int_equal(sink.spool_max, 1 << 30);
                assert_true(sink.takes_deny && !sink.takes_allow && sink.allow_at_end && !sink.allow_at_start);
                assert_int_equal(sink.cluster_count, 0);
                assert_null(sink.ca_file.text);
                assert_null(sink.cert_file.text);
                assert_null(sink.key_file.text);
                assert_null(sink.server_name.text);
                assert_null(sink.spool.text);
                assert_null(sink.resource_id.text);
                finish(&reading);
        }
}

static void every_key_of_a_syslog_sink_is_read(void **state)
{
        struct reading reading;
        struct config_sink sink =
                sink_of(&reading, "{ sink: syslog, address: \"SIEM.contoso.com.:7000\", transport: tls, format: azure, "
                                  "events: [allow], allow_at: [start], clusters: [prod], summarize: 1m, queue: 100, "
                                  "facility: local3, resource_id: /subscriptions/0, ca_file: /ca, cert_file: /c, "
                                  "key_file: /k, server_name: Collector.contoso.com, spool: /s, spool_max: 16MiB }");

        (void)state;
        assert_int_equal(sink.kind, CONFIG_SINK_SYSLOG);
        assert_int_equal(sink.transport, CONFIG_TRANSPORT_TLS);
        assert_int_equal(sink.format, CONFIG_FORMAT_AZURE);
        assert_string_equal(sink.server.text, "SIEM.contoso.com.:7000");
        assert_string_equal(sink.server.name.text, "siem.contoso.com");
        assert_int_equal(sink.server.endpoint.port, 7000);
        assert_true(!sink.takes_deny && sink.takes_allow && sink.allow_at_start && !sink.allow_at_end);
        assert_string_equal(sink.clusters[0].text, "prod");
        assert_int_equal(sink.summarize_ms, 60000);
        assert_int_equal(sink.queue, 100);
        assert_int_equal(sink.facility, 19);
        assert_string_equal(sink.resource_id.text, "/subscriptions/0");
        assert_string_equal(sink.ca_file.text, "/ca");
        assert_string_equal(sink.cert_file.text, "/c");
        assert_string_equal(sink.key_file.text, "/k");
        assert_string_equal(sink.server_name.text, "collector.contoso.com");
        assert_string_equal(sink.spool.text, "/s");
        assert_int_equal(sink.spool_max, 16 << 20);
        finish(&reading);
}

static void summaries_can_be_off(void **state)
{
        struct reading reading;

        (void)state;
        assert_int_equal(sink_of(&reading, "{ sink: journal, summarize: off }").summarize_ms, 0);
        finish(&reading);
}

/* RFC 5424 6.2.1 numbers them. */
static void facilities_have_their_numbers(void **state)
{
        static const struct {
                const char *name;
                unsigned number;
        } cases[] = { { "kern", 0 },      { "daemon", 3 },   { "syslog", 5 },        { "authpriv", 10 },
                      { "security", 13 }, { "console", 14 }, { "solaris-cron", 15 }, { "local7", 23 } };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reading reading;
                char sink[128];

                snprintf(sink, sizeof(sink), "{ " SYSLOG ", facility: %s }", cases[i].name);
                assert_int_equal(sink_of(&reading, sink).facility, cases[i].number);
                finish(&reading);
        }
}

static void a_server_has_a_transport_and_a_port(void **state)
{
        static const struct {
                const char *keys;
                enum config_transport transport;
                const char *server;
        } cases[] = {
                { "address: siem.contoso.com", CONFIG_TRANSPORT_TLS, "siem.contoso.com:6514" },
                { "address: siem.contoso.com, transport: tcp", CONFIG_TRANSPORT_TCP, "siem.contoso.com:601" },
                { "address: siem.contoso.com, transport: udp", CONFIG_TRANSPORT_UDP, "siem.contoso.com:514" },
                { "address: 'siem.contoso.com:1', transport: udp", CONFIG_TRANSPORT_UDP, "siem.contoso.com:1" },
                { "address: localhost, transport: udp", CONFIG_TRANSPORT_UDP, "localhost:514" },
                { "address: 10.0.0.9", CONFIG_TRANSPORT_TLS, "10.0.0.9:6514" },
                { "address: 10.0.0.9, transport: tcp", CONFIG_TRANSPORT_TCP, "10.0.0.9:601" },
                { "address: '10.0.0.9:65535', transport: tcp", CONFIG_TRANSPORT_TCP, "10.0.0.9:65535" },
                { "address: 'fd00::9', transport: udp", CONFIG_TRANSPORT_UDP, "[fd00::9]:514" },
                { "address: '[fd00::9]'", CONFIG_TRANSPORT_TLS, "[fd00::9]:6514" },
                { "address: '[fd00::9]:7000'", CONFIG_TRANSPORT_TLS, "[fd00::9]:7000" },
        };
        char text[FQDN_MAX_LENGTH + NET_ENDPOINT_TEXT_SIZE];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reading reading;
                char keys[256];

                snprintf(keys, sizeof(keys), "{ sink: syslog, %s }", cases[i].keys);
                struct config_sink sink = sink_of(&reading, keys);
                if (sink.server.name.length > 0)
                        snprintf(text, sizeof(text), "%s:%u", sink.server.name.text, sink.server.endpoint.port);
                else
                        net_endpoint_format(&sink.server.endpoint, text);
                assert_string_equal(text, cases[i].server);
                assert_int_equal(sink.transport, cases[i].transport);
                finish(&reading);
        }
}

static void an_address_that_is_a_path_means_unix(void **state)
{
        static const char *const cases[] = { "{ sink: syslog, address: /dev/log }",
                                             "{ sink: syslog, address: /dev/log, transport: unix }" };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reading reading;
                struct config_sink sink = sink_of(&reading, cases[i]);

                assert_int_equal(sink.transport, CONFIG_TRANSPORT_UNIX);
                assert_string_equal(sink.server.text, "/dev/log");
                assert_int_equal(sink.server.endpoint.port, 0);
                assert_int_equal(sink.server.name.length, 0);
                finish(&reading);
        }
}

/* The longest one has 107 bytes, with which NUL fits sun_path. */
static void the_path_of_a_socket_has_a_greatest_length(void **state)
{
        char path[110], text[256], expected[512];
        struct reading reading;

        (void)state;
        memset(path, 'x', sizeof(path));
        path[0] = '/';
        snprintf(text, sizeof(text), "{ sink: syslog, address: %.107s }", path);
        assert_int_equal(sink_of(&reading, text).transport, CONFIG_TRANSPORT_UNIX);
        finish(&reading);
        snprintf(text, sizeof(text), "{ sink: syslog, address: %.108s }", path);
        snprintf(expected, sizeof(expected),
                 "c.yaml:4:36: logging.address: '%.80s…' is longer than 107 bytes, which no socket's path can be",
                 path);
        assert_error(with_sinks(text), expected);
}

static void a_syslog_sink_wants_a_server(void **state)
{
        (void)state;
        assert_error(with_sinks("{ sink: syslog }"),
                     "c.yaml:4:11: logging.address is missing: a syslog sink needs the server to send to");
}

static void a_server_fits_its_transport(void **state)
{
        (void)state;
        assert_error(with_sinks("{ sink: syslog, address: /dev/log, transport: tcp }"),
                     "c.yaml:4:36: logging.address: '/dev/log' is a path: write transport: unix, or a server");
        assert_error(with_sinks("{ " SYSLOG ", transport: unix }"),
                     "c.yaml:4:36: logging.address: 'siem.contoso.com' is not a path: transport unix wants a socket of "
                     "this machine, like /dev/log");
}

static void an_address_that_ends_like_a_port_may_lack_brackets(void **state)
{
        (void)state;
        assert_warning(with_sinks("{ sink: syslog, address: 'fd00::9:6514' }"),
                       "c.yaml:4:37: warning: logging.address: 'fd00::9:6514' is an address without a port: write "
                       "[fd00::9]:6514 if that is the port, or [fd00::9:6514]");
}

static void an_address_in_brackets_is_whole(void **state)
{
        struct reading reading = read_good(with_sinks("{ sink: syslog, address: '[fd00::9:6514]' }, "
                                                      "{ sink: syslog, address: '[fd00::9]:6514' }, "
                                                      "{ sink: syslog, address: 'fd00::514' }"));

        (void)state;
        finish(&reading);
}

static void a_file_sink_wants_a_path(void **state)
{
        (void)state;
        assert_error(with_sinks("{ sink: file }"),
                     "c.yaml:4:11: logging.path is missing: a file sink needs the file to write to");
}

static void the_journal_and_nothing_else_has_format_journal(void **state)
{
        (void)state;
        assert_error(with_sinks("{ sink: journal, format: cef }"),
                     "c.yaml:4:36: logging.format: a journal sink writes fields, not cef: leave format out");
        assert_error(with_sinks("{ " SYSLOG ", format: journal }"),
                     "c.yaml:4:62: logging.format: only the journal has journal fields: write json, syslog, cef or "
                     "azure");
}

static void a_certificate_wants_its_key(void **state)
{
        (void)state;
        assert_error(with_sinks("{ " SYSLOG ", cert_file: /c }"),
                     "c.yaml:4:54: logging.key_file is missing: cert_file and key_file belong together");
        assert_error(with_sinks("{ " SYSLOG ", key_file: /k }"),
                     "c.yaml:4:54: logging.cert_file is missing: cert_file and key_file belong together");
}

static void keys_of_another_sink_are_errors(void **state)
{
        static const struct {
                const char *sink; /* complete but for the key and the brace */
                const char *key;
                const char *of_what;
        } cases[] = {
                { "sink: journal", "path: /b", "file sinks" },
                { SYSLOG, "path: /b", "file sinks" },
                { "sink: journal", "address: a.example", "syslog sinks" },
                { "sink: file, path: /a", "address: a.example", "syslog sinks" },
                { "sink: file, path: /a", "transport: tcp", "syslog sinks" },
                { "sink: journal", "facility: local1", "syslog sinks and format syslog" },
                { "sink: file, path: /a", "facility: local1", "syslog sinks and format syslog" },
                { "sink: file, path: /a, format: cef", "facility: local1", "syslog sinks and format syslog" },
                { "sink: file, path: /a", "resource_id: /b", "format azure" },
                { SYSLOG, "resource_id: /b", "format azure" },
                { "sink: file, path: /a", "spool: /b", "syslog over tcp and tls" },
                { SYSLOG ", transport: udp", "spool: /b", "syslog over tcp and tls" },
                { "sink: syslog, address: /dev/log", "spool: /b", "syslog over tcp and tls" },
                { SYSLOG ", transport: udp", "spool_max: 1GiB", "syslog over tcp and tls" },
                { "sink: journal", "ca_file: /b", "syslog over tls" },
                { SYSLOG ", transport: tcp", "ca_file: /b", "syslog over tls" },
                { SYSLOG ", transport: tcp", "cert_file: /b", "syslog over tls" },
                { SYSLOG ", transport: udp", "key_file: /b", "syslog over tls" },
                { SYSLOG ", transport: tcp", "server_name: a.example", "syslog over tls" },
                { "sink: syslog, address: /dev/log", "server_name: a.example", "syslog over tls" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char sink[256], expected[256];

                snprintf(sink, sizeof(sink), "{ %s, %s }", cases[i].sink, cases[i].key);
                snprintf(expected, sizeof(expected), "c.yaml:4:%zu: logging.%.*s: a key of %s: leave it out",
                         strlen("logging: [{ ") + strlen(cases[i].sink) + strlen(", ") + 1,
                         (int)strcspn(cases[i].key, ":"), cases[i].key, cases[i].of_what);
                assert_error(with_sinks(sink), expected);
        }
}

static void keys_of_this_sink_are_not(void **state)
{
        static const char *const sinks[] = {
                "{ sink: file, path: /a, format: syslog, facility: local1 }",
                "{ " SYSLOG ", format: cef, facility: local1 }",
                "{ " SYSLOG ", format: azure, resource_id: /b }",
                "{ sink: file, path: /a, format: azure, resource_id: /b }",
                "{ " SYSLOG ", transport: tcp, spool: /b, spool_max: 1GiB }",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(sinks); i++) {
                struct reading reading = read_good(with_sinks(sinks[i]));
                finish(&reading);
        }
}

static void keys_of_another_sink_are_reported_in_the_order_of_the_file(void **state)
{
        static const char *const expected[] = {
                "c.yaml:4:28: logging.spool: a key of syslog over tcp and tls: leave it out",
                "c.yaml:4:39: logging.ca_file: a key of syslog over tls: leave it out",
                "c.yaml:4:52: logging.path: a key of file sinks: leave it out",
        };
        struct reading reading = read_text(with_sinks("{ sink: journal, spool: /b, ca_file: /c, path: /d }"));

        (void)state;
        assert_int_equal(diagnostics_line_count(reading.diagnostics), ARRAY_SIZE(expected));
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
                assert_string_equal(diagnostics_line(reading.diagnostics, i), expected[i]);
        finish(&reading);
}

static void a_key_that_is_there_twice_is_judged_once(void **state)
{
        struct reading reading = read_text(with_sinks("{ sink: journal, spool: /b, spool: /c }"));

        (void)state;
        assert_int_equal(diagnostics_line_count(reading.diagnostics), 2);
        assert_string_equal(diagnostics_line(reading.diagnostics, 1),
                            "c.yaml:4:28: logging.spool: a key of syslog over tcp and tls: leave it out");
        finish(&reading);
}

/* Nothing is known then of what belongs to what. */
static void a_choice_that_cannot_be_read_is_the_only_error(void **state)
{
        (void)state;
        assert_error(with_sinks("{ sink: sylsog, address: a.example, spool: /b, format: cef }"),
                     "c.yaml:4:19: logging.sink: 'sylsog' is unknown: did you mean 'syslog'?");
        assert_error(with_sinks("{ sink: journal, format: jornal }"),
                     "c.yaml:4:36: logging.format: 'jornal' is unknown: did you mean 'journal'?");
        assert_error(with_sinks("{ sink: file, path: /a, format: azur, resource_id: /b }"),
                     "c.yaml:4:43: logging.format: 'azur' is unknown: did you mean 'azure'?");
        assert_error(with_sinks("{ sink: file, path: /a, format: [syslog], facility: local1 }"),
                     "c.yaml:4:43: logging.format: a list where a single value is expected (a text with [ ], { } or "
                     "': ' wants quotes)");
        assert_error(with_sinks("{ sink: syslog, address: /dev/log, transport: unxi }"),
                     "c.yaml:4:57: logging.transport: 'unxi' is unknown: did you mean 'unix'?");
        assert_error(with_sinks("{ sink: syslog, address: dev/log, transport: unix }"),
                     "c.yaml:4:36: logging.address: 'dev/log' is not a server: write it like siem.contoso.com:6514, "
                     "10.0.0.9:514, [fd00::9]:514, or /dev/log");
        assert_error(with_sinks("{ sink: journal, events: [alow], allow_at: [start] }"),
                     "c.yaml:4:37: logging.events: 'alow' is unknown: did you mean 'allow'?");
}

static void moments_are_for_sinks_that_take_what_is_allowed(void **state)
{
        (void)state;
        assert_warning(with_sinks("{ sink: journal, allow_at: [start] }"),
                       "c.yaml:4:28: warning: logging.allow_at has no effect: this sink takes nothing that is allowed: "
                       "add allow to its events, or leave allow_at out");
}

static void a_size_is_for_sinks_with_a_spool(void **state)
{
        (void)state;
        assert_warning(with_sinks("{ " SYSLOG ", spool_max: 2GiB }"),
                       "c.yaml:4:54: warning: logging.spool_max has no effect: this sink has no spool: give it one, or "
                       "leave spool_max out");
}

static void a_sink_names_clusters_that_are_there(void **state)
{
        (void)state;
        assert_error(with_sinks("{ sink: journal, clusters: [prod, production-in-asia] }"),
                     "c.yaml:4:45: logging.clusters: there is no cluster 'production-in-asia': write the name of one "
                     "of clusters");
        assert_error(with_sinks("{ sink: journal, clusters: [prdo] }"),
                     "c.yaml:4:39: logging.clusters: there is no cluster 'prdo': did you mean 'prod'?");
        assert_error(with_sinks("{ sink: journal, clusters: [prod, prod] }"),
                     "c.yaml:4:45: logging.clusters: 'prod' is in the list already: keep it once");
}

/* It may be the one that the sink means. */
static void a_cluster_whose_name_cannot_be_read_is_the_only_error(void **state)
{
        (void)state;
        assert_error(LISTEN POOLS "clusters: [{ name: Prod, sources: [10.1.0.0/16], cloud: AzurePublicCloud, location: "
                                  "westeurope, snat_pool: main }]\nlogging: [{ sink: journal, clusters: [prod] }]\n",
                     "c.yaml:3:20: clusters.name: 'Prod' is not a name: write 1 to 63 lower-case letters, digits and "
                     "hyphens");
}

static void two_sinks_do_not_share_a_file(void **state)
{
        (void)state;
        assert_error(REST "logging:\n- { sink: file, path: /a }\n- { sink: file, path: /a }\n",
                     "c.yaml:6:23: logging.path: '/a' is written by the sink on line 5 already: give it another file");
}

static void a_third_sink_of_one_file_is_reported_once(void **state)
{
        static const char *const expected[] = {
                "c.yaml:6:23: logging.path: '/a' is written by the sink on line 5 already: give it another file",
                "c.yaml:7:23: logging.path: '/a' is written by the sink on line 5 already: give it another file",
        };

        struct reading reading = read_text(
                REST "logging:\n- { sink: file, path: /a }\n- { sink: file, path: /a }\n- { sink: file, path: /a }\n");

        (void)state;
        assert_int_equal(diagnostics_line_count(reading.diagnostics), ARRAY_SIZE(expected));
        for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
                assert_string_equal(diagnostics_line(reading.diagnostics, i), expected[i]);
        finish(&reading);
}

static void two_sinks_do_not_share_a_spool(void **state)
{
        (void)state;
        assert_error(
                REST "logging:\n- { sink: syslog, address: a.example, spool: /s }\n"
                     "- { sink: syslog, address: b.example, spool: /s }\n",
                "c.yaml:6:46: logging.spool: '/s' is kept by the sink on line 5 already: give it another directory");
}

static void files_of_a_sink_are_taken_from_the_configuration_s_directory(void **state)
{
        const char *text = with_sinks("{ " SYSLOG ", ca_file: ca, cert_file: c, key_file: k, spool: s }");
        struct diagnostics *diagnostics = diagnostics_new();
        struct config *config = NULL;

        (void)state;
        assert_int_equal(config_read_text("/etc/a/c.yaml", text, strlen(text), diagnostics, &config), 0);
        assert_string_equal(config->sinks[0].ca_file.text, "/etc/a/ca");
        assert_string_equal(config->sinks[0].cert_file.text, "/etc/a/c");
        assert_string_equal(config->sinks[0].key_file.text, "/etc/a/k");
        assert_string_equal(config->sinks[0].spool.text, "/etc/a/s");
        config_free(config);
        diagnostics_free(diagnostics);
}

static void a_resource_id_has_a_greatest_length(void **state)
{
        char id[CONFIG_MAX_RESOURCE_ID + 2], sink[1024], expected[512];
        struct reading reading;

        (void)state;
        memset(id, 'x', sizeof(id));
        id[0] = '/';
        snprintf(sink, sizeof(sink), "{ sink: file, path: /a, format: azure, resource_id: %.512s }", id);
        assert_int_equal(strlen(sink_of(&reading, sink).resource_id.text), 512);
        finish(&reading);
        snprintf(sink, sizeof(sink), "{ sink: file, path: /a, format: azure, resource_id: %.513s }", id);
        snprintf(expected, sizeof(expected),
                 "c.yaml:4:63: logging.resource_id: '%.80s…' is longer than the 512 bytes that are allowed", id);
        assert_error(with_sinks(sink), expected);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_a_sink_is_not_told_follows_from_its_kind),
                cmocka_unit_test(every_key_of_a_syslog_sink_is_read),
                cmocka_unit_test(summaries_can_be_off),
                cmocka_unit_test(facilities_have_their_numbers),
                cmocka_unit_test(a_server_has_a_transport_and_a_port),
                cmocka_unit_test(an_address_that_is_a_path_means_unix),
                cmocka_unit_test(the_path_of_a_socket_has_a_greatest_length),
                cmocka_unit_test(a_syslog_sink_wants_a_server),
                cmocka_unit_test(a_server_fits_its_transport),
                cmocka_unit_test(an_address_that_ends_like_a_port_may_lack_brackets),
                cmocka_unit_test(an_address_in_brackets_is_whole),
                cmocka_unit_test(a_file_sink_wants_a_path),
                cmocka_unit_test(the_journal_and_nothing_else_has_format_journal),
                cmocka_unit_test(a_certificate_wants_its_key),
                cmocka_unit_test(keys_of_another_sink_are_errors),
                cmocka_unit_test(keys_of_this_sink_are_not),
                cmocka_unit_test(keys_of_another_sink_are_reported_in_the_order_of_the_file),
                cmocka_unit_test(a_key_that_is_there_twice_is_judged_once),
                cmocka_unit_test(a_choice_that_cannot_be_read_is_the_only_error),
                cmocka_unit_test(moments_are_for_sinks_that_take_what_is_allowed),
                cmocka_unit_test(a_size_is_for_sinks_with_a_spool),
                cmocka_unit_test(a_sink_names_clusters_that_are_there),
                cmocka_unit_test(a_cluster_whose_name_cannot_be_read_is_the_only_error),
                cmocka_unit_test(two_sinks_do_not_share_a_file),
                cmocka_unit_test(a_third_sink_of_one_file_is_reported_once),
                cmocka_unit_test(two_sinks_do_not_share_a_spool),
                cmocka_unit_test(files_of_a_sink_are_taken_from_the_configuration_s_directory),
                cmocka_unit_test(a_resource_id_has_a_greatest_length),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
