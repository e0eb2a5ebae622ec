#include <errno.h>

#include "policy/explanation.h"
#include "policy_lab.h"

static const char *answer(const struct policy_lab *lab, const char *line, bool json)
{
        static char text[EXPLANATION_TEXT_SIZE];
        struct explanation_question question;
        struct explanation explanation;

        if (explanation_question_from_line(line, strlen(line), &question) < 0)
                return "bad";
        explanation_answer(lab->policy, &question, &explanation);
        size_t length =
                json ? explanation_format_json(&explanation, text) : explanation_format_text(&explanation, text);
        assert_int_equal(length, strlen(text));
        return text;
}

static void assert_answer(const struct policy_lab *lab, const char *line, const char *start, const char *end)
{
        const char *text = answer(lab, line, false);

        if (strncmp(text, start, strlen(start)) != 0 || strlen(text) < strlen(end) ||
            strcmp(text + strlen(text) - strlen(end), end) != 0)
                fail_msg("'%s' is not '%s…%s'", text, start, end);
}

static void answers_begin_with_allow_or_deny(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    deny: ['https gist.github.com:443']\n");
        assert_answer(lab, "10.1.0.1\thttps\tMCR.microsoft.com.\t443", "ALLOW cluster=prod feature=core rule=/tmp/",
                      "/core.allow:3 \"https mcr.microsoft.com:443\"");
        assert_answer(lab, "10.1.0.1\thttps\texample.com\t443\r", "DENY reason=no-rule hint=\"\"", " cluster=prod");
        assert_answer(lab, "10.1.0.1\thttps\tgist.github.com\t443", "DENY reason=deny-rule hint=\"",
                      ":11 \"https gist.github.com:443\"");
        assert_answer(lab, "192.0.2.1\thttps\texample.com\t443", "DENY reason=unknown-source hint=\"192.0.2.1 ", "\"");
        assert_answer(lab, "10.1.0.1\thttps\ta..b\t443", "DENY reason=bad-server-name hint=\"", "cluster=prod");
}

static void an_audit_lets_through_and_says_so(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    mode: audit\n");
        assert_answer(lab, "10.1.0.1\thttps\texample.com\t443",
                      "ALLOW cluster=prod audit=would-be-denied reason=no-rule hint=\"\"", "");
}

static void an_allowed_address_is_checked_as_before_dialling(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER "    allow: ['tcp [0.0.0.0/0]:1-65535']\n");
        assert_answer(lab, "10.1.0.1\ttcp\t203.0.113.1\t22", "ALLOW ", "\"tcp [0.0.0.0/0]:1-65535\"");
        assert_answer(lab, "10.1.0.1\ttcp\t10.2.0.1\t22", "DENY reason=forbidden-address ", "");
        assert_answer(lab, "10.1.0.1\ttcp\t169.254.169.254\t80", "DENY reason=platform-address ", "");
        assert_answer(lab, "10.1.0.1\ttcp\t10.0.0.4\t3128", "DENY reason=own-address ", "");
}

static void unreadable_lines_are_told_apart(void **state)
{
        struct policy_lab *lab = *state;
        const char *const lines[] = {
                "",
                "x",
                "10.1.0.1\thttps\texample.com",
                "10.1.0.1\thttps\texample.com\t443\tmore",
                "10.1.0.1\thttps\texample.com\t0",
                "10.1.0.1\thttps\texample.com\t443 ",
                "10.1.0.1\thttps\texample.com\t80,443",
                "10.1.0.1\thttps\texample.com\t1-2",
                "10.1.0.1\thttps\texample.com\t",
                "10.1.0.1\tquic\texample.com\t443",
                "10.1.0.256\thttps\texample.com\t443",
                "10.1.0.1\thttps\t\t443",
                "10.1.0.1\thttps\tex\x01mple.com\t443",
                "10.1.0.1\thttps\tex\xc3\xa4mple.com\t443",
        };
        char long_line[EXPLANATION_MAX_LINE_LENGTH + 32];

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (strcmp(answer(lab, lines[i], false), "bad") != 0)
                        fail_msg("'%s' was read", lines[i]);
        snprintf(long_line, sizeof(long_line), "10.1.0.1\thttps\t%*s\t443", EXPLANATION_MAX_LINE_LENGTH, "a");
        assert_string_equal(answer(lab, long_line, false), "bad");
        struct explanation_question question;
        assert_int_equal(explanation_question_from_line("10.1.0.1\thttps\ta\0b\t443", 23, &question), -EINVAL);
}

static void words_know_usual_ports(void **state)
{
        const struct {
                const char *protocol;
                const char *host;
                unsigned port; /* 0: refused */
        } cases[] = {
                { "https", "a.com", 443 },       { "http", "a.com", 80 },
                { "https", "a.com:8443", 8443 }, { "tcp", "a.com", 0 },
                { "tcp", "a.com:22", 22 },       { "tcp", "[2001:db8::1]:22", 22 },
                { "https", "2001:db8::1", 443 }, { "https", "[2001:db8::1]", 443 },
                { "udp", "1.2.3.4:53", 53 },     { "tcp", "a.com:0", 0 },
                { "tcp", "a.com:", 0 },
        };
        char complaint[EXPLANATION_COMPLAINT_SIZE];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct explanation_words words = { "10.1.0.1", cases[i].protocol, cases[i].host, NULL };
                struct explanation_question question;
                int r = explanation_question_parse(&words, &question, complaint);
                assert_int_equal(r, cases[i].port == 0 ? -EINVAL : 0);
                if (r < 0)
                        continue;
                assert_int_equal(question.request.port, cases[i].port);
                assert_false(question.bad_name);
                assert_true(question.request.name.length > 0 || question.request.address.family != AF_UNSPEC);
        }
}

static void json_has_the_same_in_fields(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_load(lab, POLICY_LAB_CLUSTER);
        const char *text = answer(lab, "10.1.0.1\thttps\tmcr.microsoft.com\t443", true);
        assert_non_null(
                strstr(text, "{\"action\":\"allow\",\"cluster\":\"prod\",\"feature\":\"core\",\"rule\":\"/tmp/"));
        assert_non_null(strstr(text, "core.allow:3\",\"rule_text\":\"https mcr.microsoft.com:443\"}"));
        assert_string_equal(answer(lab, "10.1.0.1\thttps\texample.com\t443", true),
                            "{\"action\":\"deny\",\"reason\":\"no-rule\",\"hint\":\"\",\"cluster\":\"prod\"}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, policy_lab_open, policy_lab_close)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(answers_begin_with_allow_or_deny),
                TEST(an_audit_lets_through_and_says_so),
                TEST(an_allowed_address_is_checked_as_before_dialling),
                TEST(unreadable_lines_are_told_apart),
                cmocka_unit_test(words_know_usual_ports),
                TEST(json_has_the_same_in_fields),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
