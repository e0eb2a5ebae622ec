/* What all formats promise. */
#include "format_lab.h"

static const enum config_format formats[] = { CONFIG_FORMAT_JSON, CONFIG_FORMAT_JOURNAL, CONFIG_FORMAT_SYSLOG,
                                              CONFIG_FORMAT_CEF, CONFIG_FORMAT_AZURE };

#define YEAR_9999_US 253402300799999999 /* its end: the last time that has a text */

/* formatter_write_body ends the program when a record does not fit. */
static void the_largest_records_fit_whatever_bytes_they_hold(void **state)
{
        char resource_id[CONFIG_MAX_RESOURCE_ID + 1] = "";
        char host_name[FORMATTER_HOST_NAME_SIZE] = "";
        size_t longest = 0;

        (void)state;
        /* Of what a configuration can hold, C1 control characters take the most room. */
        for (size_t i = 0; i < CONFIG_MAX_RESOURCE_ID; i += 2)
                memcpy(resource_id + i, "\xc2\x9b", 2);
        memset(host_name, 'h', sizeof(host_name) - 1);
        for (unsigned byte = 1; byte < 256; byte++) {
                for (unsigned i = 0; i < SAMPLE_LARGEST_COUNT * ARRAY_SIZE(formats) * 2; i++) {
                        static struct formatter_body body;
                        struct decision decision;
                        struct formatter_style style = style_of(formats[i % ARRAY_SIZE(formats)], i % 2 == 0);

                        style.facility = 23;
                        style.host_name = host_name;
                        style.resource_id = resource_id;
                        sample_largest(&decision, i / ARRAY_SIZE(formats) / 2, (int)byte);
                        if (byte % 2 == 1) {
                                decision.protocol = DECISION_PROTOCOL_HTTPS;
                                decision.time_us = decision.first_time_us = decision.last_time_us = YEAR_9999_US;
                        }
                        formatter_write_body(&style, &decision, &body);
                        if (body.length > longest)
                                longest = body.length;
                }
        }
        assert_in_range(longest, FORMATTER_BODY_SIZE * 9 / 10, FORMATTER_BODY_SIZE);
}

static void styles_are_equal_when_their_bodies_are(void **state)
{
        struct formatter_style style = style_of(CONFIG_FORMAT_CEF, true);
        struct formatter_style other = style;

        (void)state;
        assert_true(formatter_style_equals(&style, &other));
        other.facility = 3;
        assert_false(formatter_style_equals(&style, &other));
        other = style_of(CONFIG_FORMAT_CEF, false);
        assert_false(formatter_style_equals(&style, &other));
        other = style_of(CONFIG_FORMAT_JSON, true);
        assert_false(formatter_style_equals(&style, &other));
        other = style;
        other.resource_id = "";
        assert_false(formatter_style_equals(&style, &other));
}

/* Sequences that some decoder might take for something else. */
static void tricks_of_encodings_are_harmless(void **state)
{
        static const char *const texts[] = {
                "\xc0\x8a", /* a newline, overlong */
                "\xe0\x80\x8a",
                "\xc2\x9b[31m" /* CSI of one character */,
                "\xc2\x85" /* next line */,
                "\x1b]0;x\x07",
                "\xed\xa0\x80" /* a surrogate */,
                "\xf5\x80\x80\x80",
                "a\xc2",
                "\r\nCEF:0|x|",
                "\" act=\"Allow",
                "]\n<0>1 -",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(texts) * ARRAY_SIZE(formats) * 2; i++) {
                struct formatter_style style = style_of(formats[i % ARRAY_SIZE(formats)], i % 2 == 0);
                const char *text = texts[i / ARRAY_SIZE(formats) / 2];
                struct decision decision;

                if (style.format == CONFIG_FORMAT_JOURNAL)
                        continue; /* Framed by lengths: its own tests look at it. */
                sample_full(&decision);
                snprintf(decision.hint, sizeof(decision.hint), "%s", text);
                snprintf(decision.alpn, sizeof(decision.alpn), "%s", text);
                snprintf(decision.cluster, sizeof(decision.cluster), "%s", text);
                assert_harmless(format_with(&style, &decision, &sample_stamp));
        }
}

static void a_start_has_neither_reason_nor_bytes_nor_duration(void **state)
{
        struct decision decision = sample_start();

        (void)state;
        assert_string_equal(format(CONFIG_FORMAT_JSON, &decision),
                            "{\"seq\":7,\"instance\":\"0123456789abcdef0123456789abcdef\",\"lost\":3,"
                            "\"time\":\"2024-07-01T10:34:56.000123Z\",\"event\":\"start\",\"action\":\"allow\","
                            "\"cluster\":\"prod-weu\","
                            "\"feature\":\"monitor\",\"rule\":\"monitor.allow:12\",\"protocol\":\"https\",\"listener\":"
                            "\"transparent\","
                            "\"client_ip\":\"10.1.0.4\",\"client_port\":40222,\"fqdn\":\"example.com\",\"original_ip\":"
                            "\"93.184.216.34\","
                            "\"destination_ip\":\"2001:db8::5\",\"destination_port\":443,\"snat_ip\":\"10.0.1.10\","
                            "\"snat_port\":1024,"
                            "\"connection_id\":\"c0ffee0123456789\",\"alpn\":\"h2,http/1.1\",\"ech\":true}");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_largest_records_fit_whatever_bytes_they_hold),
                cmocka_unit_test(styles_are_equal_when_their_bodies_are),
                cmocka_unit_test(tricks_of_encodings_are_harmless),
                cmocka_unit_test(a_start_has_neither_reason_nor_bytes_nor_duration),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
