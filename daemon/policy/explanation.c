#include "policy/explanation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

/* Writing: by hand, since --batch answers millions of lines. */

struct writer {
        char *buffer;
        size_t used;
};

static void put_byte(struct writer *writer, char byte)
{
        if (writer->used < EXPLANATION_TEXT_SIZE - 1)
                writer->buffer[writer->used++] = byte;
}

static void put(struct writer *writer, const char *text)
{
        size_t length = strlen(text);

        if (length > EXPLANATION_TEXT_SIZE - 1 - writer->used)
                length = EXPLANATION_TEXT_SIZE - 1 - writer->used;
        memcpy(writer->buffer + writer->used, text, length);
        writer->used += length;
}

static void put_number(struct writer *writer, unsigned number)
{
        char digits[16];
        size_t i = sizeof(digits) - 1;

        digits[i] = '\0';
        do {
                digits[--i] = (char)('0' + number % 10);
                number /= 10;
        } while (number > 0);
        put(writer, digits + i);
}

/* In double quotes, escaped as JSON wants it (RFC 8259 7). */
static void put_quoted(struct writer *writer, const char *text)
{
        static const char digits[] = "0123456789abcdef";

        put_byte(writer, '"');
        for (; *text != '\0'; text++) {
                unsigned char byte = (unsigned char)*text;
                if (byte == '"' || byte == '\\') {
                        put_byte(writer, '\\');
                        put_byte(writer, *text);
                } else if (byte < ' ' || byte == 0x7f) {
                        put(writer, "\\u00");
                        put_byte(writer, digits[byte >> 4]);
                        put_byte(writer, digits[byte & 15]);
                } else {
                        put_byte(writer, *text);
                }
        }
        put_byte(writer, '"');
}

static void put_rule(struct writer *writer, const struct explanation *explanation)
{
        const struct policy_verdict *verdict = &explanation->verdict;

        if (explanation->cluster != NULL) {
                put(writer, " cluster=");
                put(writer, explanation->cluster);
        }
        if (verdict->rule_file == NULL)
                return;
        put(writer, " feature=");
        put(writer, verdict->feature);
        put(writer, " rule=");
        put(writer, verdict->rule_file);
        put_byte(writer, ':');
        put_number(writer, verdict->rule_line);
        put_byte(writer, ' ');
        put_quoted(writer, verdict->rule_text);
}

static void put_reason(struct writer *writer, const struct policy_verdict *verdict)
{
        put(writer, " reason=");
        put(writer, reason_row(verdict->reason)->text);
        put(writer, " hint=");
        put_quoted(writer, verdict->hint);
}

size_t explanation_format_text(const struct explanation *explanation, char buffer[EXPLANATION_TEXT_SIZE])
{
        struct writer writer = { .buffer = buffer };

        switch (explanation->verdict.action) {
        case POLICY_ALLOW:
                put(&writer, "ALLOW");
                put_rule(&writer, explanation);
                break;
        case POLICY_AUDIT:
                put(&writer, "ALLOW");
                put_rule(&writer, explanation);
                put(&writer, " audit=would-be-denied");
                put_reason(&writer, &explanation->verdict);
                break;
        case POLICY_DENY:
                put(&writer, "DENY");
                put_reason(&writer, &explanation->verdict);
                put_rule(&writer, explanation);
                break;
        }
        buffer[writer.used] = '\0';
        return writer.used;
}

/* "FILE:LINE" */
static void put_place(struct writer *writer, const char *file, unsigned line)
{
        put_quoted(writer, file);
        writer->used--; /* the closing quote */
        put_byte(writer, ':');
        put_number(writer, line);
        put_byte(writer, '"');
}

static void put_field(struct writer *writer, const char *before, const char *value)
{
        put(writer, before);
        put_quoted(writer, value);
}

size_t explanation_format_json(const struct explanation *explanation, char buffer[EXPLANATION_TEXT_SIZE])
{
        const struct policy_verdict *verdict = &explanation->verdict;
        struct writer writer = { .buffer = buffer };

        put_field(&writer, "{\"action\":", policy_action_name(verdict->action));
        if (verdict->action != POLICY_ALLOW) {
                put_field(&writer, ",\"reason\":", reason_row(verdict->reason)->text);
                put_field(&writer, ",\"hint\":", verdict->hint);
        }
        if (explanation->cluster != NULL)
                put_field(&writer, ",\"cluster\":", explanation->cluster);
        if (verdict->rule_file != NULL) {
                put_field(&writer, ",\"feature\":", verdict->feature);
                put(&writer, ",\"rule\":");
                put_place(&writer, verdict->rule_file, verdict->rule_line);
                put_field(&writer, ",\"rule_text\":", verdict->rule_text);
        }
        put(&writer, "}");
        buffer[writer.used] = '\0';
        return writer.used;
}
