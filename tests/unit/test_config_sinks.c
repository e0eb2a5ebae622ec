#include "config_lab.h"

#include "base/compiler.h"

/* The first sink of a good configuration. */
static struct config_sink sink_of(struct reading *reading, const char *logging)
{
        static char text[1024];

        snprintf(text, sizeof(text), REST "logging: [%s]\n", logging);
        *reading = read_text(text);
        if (reading->config == NULL) {
                diagnostics_print(reading->diagnostics, stdout);
                fail_msg("%s", text);
        }
        return reading->config->sinks[0];
}

static void what_a_sink_is_not_told_follows_from_its_kind(void **state)
{
        static const struct {
                const char *logging;
                enum config_format format;
                enum config_transport transport;
                uint16_t port;
        } cases[] = {
                { "{ sink: journal }", CONFIG_FORMAT_JOURNAL, CONFIG_TRANSPORT_TLS, 0 },
                { "{ sink: file, path: /a }", CONFIG_FORMAT_JSON, CONFIG_TRANSPORT_TLS, 0 },
                { "{ sink: syslog, address: siem.contoso.com }", CONFIG_FORMAT_SYSLOG, CONFIG_TRANSPORT_TLS, 6514 },
                { "{ sink: syslog, address: 10.0.0.9, transport: tcp }", CONFIG_FORMAT_SYSLOG, CONFIG_TRANSPORT_TCP,
                  601 },
                { "{ sink: syslog, address: '[fd00::9]', transport: udp }", CONFIG_FORMAT_SYSLOG, CONFIG_TRANSPORT_UDP,
                  514 },
                { "{ sink: syslog, address: '10.0.0.9:1514', transport: udp, format: cef }", CONFIG_FORMAT_CEF,
                  CONFIG_TRANSPORT_UDP, 1514 },
                { "{ sink: syslog, address: /dev/log }", CONFIG_FORMAT_SYSLOG, CONFIG_TRANSPORT_UNIX, 0 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct reading reading;
                struct config_sink sink = sink_of(&reading, cases[i].logging);

                assert_int_equal(sink.format, cases[i].format);
                assert_int_equal(sink.transport, cases[i].transport);
                assert_int_equal(sink.server.endpoint.port, cases[i].port);
                assert_int_equal(sink.summarize_ms, 10000);
                assert_int_equal(sink.facility, 16);
                assert_int_equal(sink.spool_max, 1 << 30);
                assert_true(sink.takes_deny && !sink.takes_allow && sink.allow_at_end && !sink.allow_at_start);
                finish(&reading);
        }
}

static void a_syslog_sink_wants_a_server_that_fits_its_transport(void **state)
{
        (void)state;
        assert_error(REST "logging: [{ sink: syslog }]\n",
                     "c.yaml:4:11: logging.address is missing: a syslog sink needs the server to send to");
        assert_error(REST "logging: [{ sink: syslog, address: /dev/log, transport: tcp }]\n",
                     "c.yaml:4:36: logging.address: '/dev/log' is a path: write transport: unix, or a server");
        assert_error(REST "logging: [{ sink: syslog, address: siem.contoso.com, transport: unix }]\n",
                     "c.yaml:4:36: logging.address: 'siem.contoso.com' is not a path: transport unix wants a socket of "
                     "this machine, like /dev/log");
}

static void a_certificate_wants_its_key(void **state)
{
        (void)state;
        assert_error(REST "logging: [{ sink: syslog, address: siem.contoso.com, cert_file: /c }]\n",
                     "c.yaml:4:11: logging.key_file is missing: cert_file and key_file belong together");
        assert_error(REST "logging: [{ sink: syslog, address: siem.contoso.com, key_file: /k }]\n",
                     "c.yaml:4:11: logging.cert_file is missing: cert_file and key_file belong together");
}

static void two_sinks_do_not_share_what_they_write_to(void **state)
{
        (void)state;
        assert_error(REST "logging:\n- { sink: file, path: /a }\n- { sink: file, path: /a }\n",
                     "c.yaml:6:23: logging.path: '/a' is written by the sink on line 5 already: give it another file");
        assert_error(
                REST "logging:\n- { sink: syslog, address: a.example, spool: /s }\n"
                     "- { sink: syslog, address: b.example, spool: /s }\n",
                "c.yaml:6:46: logging.spool: '/s' is kept by the sink on line 5 already: give it another directory");
}

static void moments_are_for_sinks_that_take_what_is_allowed(void **state)
{
        (void)state;
        assert_warning(REST "logging: [{ sink: journal, allow_at: [start] }]\n",
                       "c.yaml:4:28: warning: logging.allow_at has no effect: this sink takes nothing that is allowed");
}

static void keys_of_another_sink_are_errors(void **state)
{
        (void)state;
        assert_error(REST "logging: [{ sink: journal, path: /a }]\n",
                     "c.yaml:4:28: logging.path: a key of file sinks: leave it out");
        assert_error(REST "logging: [{ sink: file, path: /a, spool: /b }]\n",
                     "c.yaml:4:35: logging.spool: a key of syslog over tcp and tls: leave it out");
        assert_error(REST "logging: [{ sink: syslog, address: a.example, transport: udp, spool: /b }]\n",
                     "c.yaml:4:63: logging.spool: a key of syslog over tcp and tls: leave it out");
        assert_error(REST "logging: [{ sink: syslog, address: a.example, transport: tcp, ca_file: /b }]\n",
                     "c.yaml:4:63: logging.ca_file: a key of syslog over tls: leave it out");
        assert_error(REST "logging: [{ sink: file, path: /a, facility: local1 }]\n",
                     "c.yaml:4:35: logging.facility: a key of syslog messages: leave it out");
        assert_error(REST "logging: [{ sink: file, path: /a, resource_id: /b }]\n",
                     "c.yaml:4:35: logging.resource_id: a key of format azure: leave it out");
        assert_error(REST "logging: [{ sink: file, path: /a, address: a.example }]\n",
                     "c.yaml:4:35: logging.address: a key of syslog sinks: leave it out");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_a_sink_is_not_told_follows_from_its_kind),
                cmocka_unit_test(a_syslog_sink_wants_a_server_that_fits_its_transport),
                cmocka_unit_test(a_certificate_wants_its_key),
                cmocka_unit_test(two_sinks_do_not_share_what_they_write_to),
                cmocka_unit_test(moments_are_for_sinks_that_take_what_is_allowed),
                cmocka_unit_test(keys_of_another_sink_are_errors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
