#include "policy/explanation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text_builder.h"
#include "policy/rule.h"

#define WORD_COUNT 4 /* in a line: source, protocol, host, port */

/* Questions. */

static int complain(char complaint[EXPLANATION_COMPLAINT_SIZE], const char *format, ...) PRINTF_LIKE(2, 3);

static int complain(char complaint[EXPLANATION_COMPLAINT_SIZE], const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(complaint, EXPLANATION_COMPLAINT_SIZE, format, arguments); /* Cut short when too long. */
        va_end(arguments);
        return -EINVAL;
}

/* Returns 0 when the text is not a port. */
static uint16_t parse_port(const char *text)
{
        struct port_set ports;
        struct rule_error ignored;

        if (port_set_parse(text, strlen(text), &ports, &ignored) < 0 || ports.count != 1 ||
            ports.ranges[0].first != ports.ranges[0].last)
                return 0;
        return ports.ranges[0].first;
}

/* Cuts :PORT off the host, which may be [v6]:PORT or a bare IPv6 address without one; NULL: none is there. */
static const char *split_port(char *host)
{
        char *colon = strrchr(host, ':');
        char *bracket = strchr(host, ']');

        if (bracket != NULL)
                return bracket[1] == ':' ? bracket + 2 : NULL;
        if (colon == NULL || strchr(host, ':') != colon)
                return NULL;
        *colon = '\0';
        return colon + 1;
}

static uint16_t usual_port(enum policy_protocol protocol)
{
        return protocol == POLICY_PROTOCOL_HTTPS ? 443 : protocol == POLICY_PROTOCOL_HTTP ? 80 : 0;
}

static void parse_host(const char *host, struct explanation_question *ret)
{
        size_t length = strlen(host);
        const char *bracket = strchr(host, ']');

        if (host[0] == '[' && bracket != NULL) {
                length = (size_t)(bracket - host) - 1;
                host++;
        }
        if (net_address_parse(host, length, &ret->request.address) < 0)
                ret->bad_name = fqdn_from_bytes(host, length, &ret->request.name) < 0;
}

int explanation_question_parse(const struct explanation_words *words, struct explanation_question *ret,
                               char complaint[EXPLANATION_COMPLAINT_SIZE])
{
        struct explanation_question question = { 0 };
        struct rule_span protocol = { words->protocol, strlen(words->protocol) };
        const char *port = words->port;
        char host[EXPLANATION_MAX_LINE_LENGTH + 1];

        if (net_address_parse(words->source, strlen(words->source), &question.source) < 0)
                return complain(complaint, "'%.60s' is not an address: the source is a client's IPv4 or IPv6 address",
                                words->source);
        if (!rule_protocol_from_name(protocol, &question.request.protocol))
                return complain(complaint, "'%.60s' is not a protocol: https, http, tcp or udp", words->protocol);
        if (words->host[0] == '\0' || strlen(words->host) >= sizeof(host))
                return complain(complaint, "the destination is empty or too long: give a name or an address");
        memcpy(host, words->host, strlen(words->host) + 1);
        if (port == NULL)
                port = split_port(host);
        question.request.port = port != NULL ? parse_port(port) : usual_port(question.request.protocol);
        if (question.request.port == 0)
                return complain(complaint, "'%.60s' needs a port from 1 to 65535: write NAME:PORT", words->host);
        question.request.source = question.source;
        parse_host(host, &question);
        *ret = question;
        return 0;
}

/* Printable ASCII only: anything else in a line is a broken file and not a strange name. */
static bool is_printable(const char *text, size_t length)
{
        for (size_t i = 0; i < length; i++)
                if (text[i] < ' ' || text[i] > '~')
                        return false;
        return true;
}

int explanation_question_from_line(const char *line, size_t length, struct explanation_question *ret)
{
        char copy[EXPLANATION_MAX_LINE_LENGTH + 1], complaint[EXPLANATION_COMPLAINT_SIZE];
        const char *words[WORD_COUNT] = { copy };
        size_t count = 1;

        if (length > 0 && line[length - 1] == '\r')
                length--;
        if (length > EXPLANATION_MAX_LINE_LENGTH)
                return -EINVAL;
        memcpy(copy, line, length);
        copy[length] = '\0';
        for (size_t i = 0; i < length; i++) {
                if (copy[i] != '\t')
                        continue;
                if (count == WORD_COUNT)
                        return -EINVAL;
                copy[i] = '\0';
                words[count++] = copy + i + 1;
        }
        for (size_t i = 0; i < count; i++) {
                const char *end = i + 1 < count ? words[i + 1] - 1 : copy + length;
                if (!is_printable(words[i], (size_t)(end - words[i])))
                        return -EINVAL;
        }
        if (count != WORD_COUNT)
                return -EINVAL;
        struct explanation_words question = { words[0], words[1], words[2], words[3] };
        return explanation_question_parse(&question, ret, complaint);
}

/* Answers. */

static void refuse(struct policy_verdict *verdict, enum reason reason, const char *hint)
{
        verdict->action = POLICY_DENY;
        verdict->reason = reason;
        (void)snprintf(verdict->hint, sizeof(verdict->hint), "%s", hint);
}

void explanation_answer(const struct policy *policy, const struct explanation_question *question,
                        struct explanation *ret)
{
        const struct policy_request *request = &question->request;
        const struct policy_cluster *cluster = policy_cluster_of(policy, &question->source);
        char hint[POLICY_HINT_SIZE];

        ret->cluster = cluster != NULL ? policy_cluster_name(cluster) : NULL;
        if (question->bad_name && cluster != NULL) {
                ret->verdict = (struct policy_verdict){ 0 };
                refuse(&ret->verdict, REASON_BAD_SERVER_NAME,
                       "the destination is neither a domain name nor an address");
                return;
        }
        policy_decide(policy, cluster, request, &ret->verdict);
        if (ret->verdict.action == POLICY_DENY || request->address.family == AF_UNSPEC)
                return;
        enum reason reason = policy_permits_address(policy, cluster, &request->address, request->port, hint);
        if (reason != REASON_COMPLETED)
                refuse(&ret->verdict, reason, hint);
}

bool explanation_is_permitted(const struct explanation *explanation)
{
        return explanation->verdict.action != POLICY_DENY;
}

/* Writing. */

static void put_quoted(struct text_builder *line, const char *text)
{
        text_builder_quoted(line, text, strlen(text));
}

static void put_rule(struct text_builder *line, const struct explanation *explanation)
{
        const struct policy_verdict *verdict = &explanation->verdict;

        if (explanation->cluster != NULL) {
                text_builder_text(line, " cluster=");
                text_builder_text(line, explanation->cluster);
        }
        if (verdict->rule_file == NULL)
                return;
        text_builder_text(line, " feature=");
        text_builder_text(line, verdict->feature);
        text_builder_text(line, " rule=");
        text_builder_text(line, verdict->rule_file);
        text_builder_byte(line, ':');
        text_builder_number(line, verdict->rule_line);
        text_builder_byte(line, ' ');
        put_quoted(line, verdict->rule_text);
}

static void put_reason(struct text_builder *line, const struct policy_verdict *verdict)
{
        text_builder_text(line, " reason=");
        text_builder_text(line, reason_row(verdict->reason)->text);
        text_builder_text(line, " hint=");
        put_quoted(line, verdict->hint);
}

size_t explanation_format_text(const struct explanation *explanation, char buffer[EXPLANATION_TEXT_SIZE])
{
        struct text_builder line = text_builder_cutting_on(buffer, EXPLANATION_TEXT_SIZE - 1);

        switch (explanation->verdict.action) {
        case POLICY_ALLOW:
                text_builder_text(&line, "ALLOW");
                put_rule(&line, explanation);
                break;
        case POLICY_AUDIT:
                text_builder_text(&line, "ALLOW");
                put_rule(&line, explanation);
                text_builder_text(&line, " audit=would-be-denied");
                put_reason(&line, &explanation->verdict);
                break;
        case POLICY_DENY:
                text_builder_text(&line, "DENY");
                put_reason(&line, &explanation->verdict);
                put_rule(&line, explanation);
                break;
        }
        *line.next = '\0';
        return text_builder_length(&line);
}

/* "FILE:LINE" */
static void put_place(struct text_builder *line, const char *file, unsigned line_number)
{
        put_quoted(line, file);
        line->next--; /* the closing quote */
        text_builder_byte(line, ':');
        text_builder_number(line, line_number);
        text_builder_byte(line, '"');
}

static void put_field(struct text_builder *line, const char *before, const char *value)
{
        text_builder_text(line, before);
        put_quoted(line, value);
}

size_t explanation_format_json(const struct explanation *explanation, char buffer[EXPLANATION_TEXT_SIZE])
{
        const struct policy_verdict *verdict = &explanation->verdict;
        struct text_builder line = text_builder_cutting_on(buffer, EXPLANATION_TEXT_SIZE - 1);

        put_field(&line, "{\"action\":", policy_action_name(verdict->action));
        if (verdict->action != POLICY_ALLOW) {
                put_field(&line, ",\"reason\":", reason_row(verdict->reason)->text);
                put_field(&line, ",\"hint\":", verdict->hint);
        }
        if (explanation->cluster != NULL)
                put_field(&line, ",\"cluster\":", explanation->cluster);
        if (verdict->rule_file != NULL) {
                put_field(&line, ",\"feature\":", verdict->feature);
                text_builder_text(&line, ",\"rule\":");
                put_place(&line, verdict->rule_file, verdict->rule_line);
                put_field(&line, ",\"rule_text\":", verdict->rule_text);
        }
        text_builder_text(&line, "}");
        *line.next = '\0';
        return text_builder_length(&line);
}
