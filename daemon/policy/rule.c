#include "policy/rule.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "policy/config_suggest.h"

static const struct rule_span default_ports = { "443", 3 };

static bool is_blank(char byte)
{
        return byte == ' ' || byte == '\t';
}

/* Cuts the next word off the front of *rest; an empty one at the end of the line. */
static struct rule_span take_word(struct rule_span *rest)
{
        size_t start = 0;

        while (start < rest->length && is_blank(rest->text[start]))
                start++;
        size_t end = start;
        while (end < rest->length && !is_blank(rest->text[end]))
                end++;
        struct rule_span word = { rest->text + start, end - start };
        *rest = (struct rule_span){ rest->text + end, rest->length - end };
        return word;
}

static struct rule_span trim(struct rule_span span)
{
        while (span.length > 0 && is_blank(span.text[0]))
                span = (struct rule_span){ span.text + 1, span.length - 1 };
        while (span.length > 0 && is_blank(span.text[span.length - 1]))
                span.length--;
        return span;
}

/* A '#' begins a comment at the start of the line or after a blank. */
static struct rule_span without_comment(struct rule_span line)
{
        for (const char *hash = line.text; hash != NULL;) {
                hash = memchr(hash, '#', line.length - (size_t)(hash - line.text));
                if (hash == NULL)
                        break;
                if (hash == line.text || is_blank(hash[-1])) {
                        line.length = (size_t)(hash - line.text);
                        break;
                }
                hash++;
        }
        return trim(line);
}

static size_t offset_in(struct rule_span line, const char *position)
{
        return (size_t)(position - line.text);
}

enum rule_cloud rule_cloud_from_name(struct rule_span name)
{
        if (rule_span_equals(name, "AzurePublicCloud"))
                return RULE_CLOUD_PUBLIC;
        if (rule_span_equals(name, "AzureChinaCloud"))
                return RULE_CLOUD_CHINA;
        if (rule_span_equals(name, "AzureUSGovernment"))
                return RULE_CLOUD_US_GOVERNMENT;
        if (rule_span_equals(name, "*"))
                return RULE_CLOUD_ALL;
        return 0;
}

bool rule_protocol_from_name(struct rule_span name, enum policy_protocol *ret)
{
        static const enum policy_protocol protocols[] = { POLICY_PROTOCOL_HTTPS, POLICY_PROTOCOL_HTTP,
                                                          POLICY_PROTOCOL_TCP, POLICY_PROTOCOL_UDP };

        for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
                if (!rule_span_equals(name, policy_protocol_name(protocols[i])))
                        continue;
                *ret = protocols[i];
                return true;
        }
        return false;
}

static int parse_cloud(struct rule_span line, struct rule_span rest, struct rule_line *ret, struct rule_error *reterr)
{
        struct rule_span name = take_word(&rest);

        ret->cloud = rule_cloud_from_name(name);
        if (ret->cloud == 0)
                return rule_error_set(
                        reterr, offset_in(line, name.text),
                        "'%.*s' is not a cloud: write AzurePublicCloud, AzureChinaCloud, AzureUSGovernment or *",
                        rule_error_quote_length(name.length), name.text);
        if (trim(rest).length > 0)
                return rule_error_set(reterr, offset_in(line, trim(rest).text),
                                      "text after the cloud's name: write `cloud NAME` on a line of its own");
        return 0;
}

/* The nearest of some words, or NULL. */
static const char *suggest(struct rule_span word, const char *const *candidates, size_t count)
{
        char text[CONFIG_SUGGEST_MAX_LENGTH + 1] = "";
        struct config_suggest near = { .word = text };

        if (word.length >= sizeof(text))
                return NULL;
        for (size_t i = 0; i < word.length; i++)
                text[i] = (char)tolower((unsigned char)word.text[i]);
        for (size_t i = 0; i < count; i++)
                config_suggest_offer(&near, candidates[i]);
        return near.best;
}

static int unknown_protocol(struct rule_span line, struct rule_span word, struct rule_error *reterr)
{
        static const char *const words[] = { "https", "http", "tcp", "udp", "cloud" };
        const char *near = suggest(word, words, ARRAY_SIZE(words));
        size_t offset = offset_in(line, word.text);
        int quoted = rule_error_quote_length(word.length);

        if (memmem(word.text, word.length, "://", 3) != NULL)
                return rule_error_set(reterr, offset,
                                      "'%.*s' is a URL: write PROTOCOL NAME:PORT, for example https example.com:443",
                                      quoted, word.text);
        if (near != NULL)
                return rule_error_set(reterr, offset, "'%.*s' is not a protocol: did you mean '%s'?", quoted, word.text,
                                      near);
        return rule_error_set(reterr, offset, "'%.*s' is not a protocol: a rule begins with https, http, tcp or udp",
                              quoted, word.text);
}

static int no_port(struct rule_span line, struct rule_span word, enum policy_protocol protocol,
                   struct rule_error *reterr)
{
        const char *example = protocol == POLICY_PROTOCOL_HTTP ? "80" : protocol == POLICY_PROTOCOL_UDP ? "123" : "443";
        int quoted = rule_error_quote_length(word.length);

        return rule_error_set(reterr, offset_in(line, word.text), "'%.*s' has no port: write for example '%s %.*s:%s'",
                              quoted, word.text, policy_protocol_name(protocol), quoted, word.text, example);
}

/* Splits DESTINATION:PORTS at the colon behind the bracket, or at the last one. */
static int split_ports(struct rule_span line, struct rule_span word, struct rule *rule, struct rule_error *reterr)
{
        const char *colon;

        if (destination_kind_of(word.text, word.length) == DESTINATION_PREFIXES) {
                const char *bracket = memchr(word.text, ']', word.length);
                if (bracket == NULL)
                        return rule_error_set(
                                reterr, offset_in(line, word.text),
                                "'[' without ']': write [203.0.113.0/24,198.51.100.7]:443, without blanks");
                size_t behind = offset_in(word, bracket) + 1;
                if (behind == word.length)
                        return no_port(line, word, rule->protocol, reterr);
                if (bracket[1] != ':')
                        return rule_error_set(reterr, offset_in(line, bracket + 1),
                                              "the port follows ']:', for example [203.0.113.0/24]:443");
                colon = bracket + 1;
        } else {
                colon = memrchr(word.text, ':', word.length);
                if (colon == NULL ||
                    (destination_kind_of(word.text, word.length) == DESTINATION_TAG && colon == word.text + 3))
                        return no_port(line, word, rule->protocol, reterr);
        }
        rule->destination = (struct rule_span){ word.text, offset_in(word, colon) };
        rule->ports = (struct rule_span){ colon + 1, word.length - rule->destination.length - 1 };
        return 0;
}

static bool protocol_is_decided_by_name(enum policy_protocol protocol)
{
        return protocol == POLICY_PROTOCOL_HTTPS || protocol == POLICY_PROTOCOL_HTTP;
}

static int check_kind(const struct rule *rule, struct rule_span line, struct rule_error *reterr)
{
        const char *what = "an address";

        switch (destination_kind_of(rule->destination.text, rule->destination.length)) {
        case DESTINATION_NAME:
                return 0;
        case DESTINATION_TAG:
                what = "a service tag";
                break;
        case DESTINATION_PREFIXES:
                break;
        }
        if (!protocol_is_decided_by_name(rule->protocol))
                return 0;
        return rule_error_set(
                reterr, offset_in(line, rule->destination.text),
                "%s is decided by the name in the TLS hello or Host header and cannot take %s: write tcp instead of %s",
                policy_protocol_name(rule->protocol), what, policy_protocol_name(rule->protocol));
}

static bool requirement_from_word(struct rule_span word, enum rule_requirement *ret)
{
        static const char *const words[] = {
                [RULE_REQUIRED] = "required",
                [RULE_RECOMMENDED] = "recommended",
                [RULE_CONDITIONAL] = "conditional",
                [RULE_OPTIONAL] = "optional",
        };
        static const enum rule_requirement requirements[] = { RULE_REQUIRED, RULE_RECOMMENDED, RULE_CONDITIONAL,
                                                              RULE_OPTIONAL };

        for (size_t i = 0; i < ARRAY_SIZE(requirements); i++) {
                if (!rule_span_equals(word, words[requirements[i]]))
                        continue;
                *ret = requirements[i];
                return true;
        }
        return false;
}

static unsigned two_digits(const char *text)
{
        if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
                return 100;
        return (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
}

static bool is_date(struct rule_span text)
{
        if (text.length != 10 || text.text[4] != '-' || text.text[7] != '-')
                return false;
        unsigned month = two_digits(text.text + 5);
        unsigned day = two_digits(text.text + 8);
        return two_digits(text.text) < 100 && two_digits(text.text + 2) < 100 && month >= 1 && month <= 12 &&
               day >= 1 && day <= 31;
}

/* An attribute is KEY=VALUE with one of three keys; any other word begins the description. */
static struct rule_span *attribute_of(struct rule *rule, struct rule_span word, struct rule_span *ret_value)
{
        struct {
                const char *key;
                struct rule_span *value;
        } attributes[] = {
                { "since=", &rule->since },
                { "retires=", &rule->retires },
                { "when=", &rule->when },
        };

        for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
                size_t length = strlen(attributes[i].key);
                if (word.length < length || memcmp(word.text, attributes[i].key, length) != 0)
                        continue;
                *ret_value = (struct rule_span){ word.text + length, word.length - length };
                return attributes[i].value;
        }
        return NULL;
}

static int check_attribute(const struct rule *rule, const struct rule_span *attribute, struct rule_span line,
                           struct rule_span word, struct rule_span value, struct rule_error *reterr)
{
        int quoted = rule_error_quote_length(word.length);

        if (attribute->length > 0)
                return rule_error_set(reterr, offset_in(line, word.text), "'%.*s': given twice in one rule", quoted,
                                      word.text);
        if (attribute == &rule->when && !rule_template_name_is_valid(value))
                return rule_error_set(
                        reterr, offset_in(line, value.text),
                        "'%.*s' names no parameter: write when=NAME in lower-case letters, digits and underscores",
                        quoted, word.text);
        if (attribute != &rule->when && !is_date(value))
                return rule_error_set(reterr, offset_in(line, value.text),
                                      "'%.*s' is not a date: write for example since=2025-03-31", quoted, word.text);
        return 0;
}

/* "wehn=x" and the like: a misspelt condition read as a description would switch the rule on. */
static int check_description(struct rule_span line, struct rule_span word, struct rule_error *reterr)
{
        static const char *const keys[] = { "since", "retires", "when" };
        const char *equals = memchr(word.text, '=', word.length);

        if (equals == NULL)
                return 0;
        const char *near = suggest((struct rule_span){ word.text, offset_in(word, equals) }, keys, ARRAY_SIZE(keys));
        if (near == NULL)
                return 0;
        return rule_error_set(reterr, offset_in(line, word.text), "'%.*s' is not known: did you mean '%s='?",
                              rule_error_quote_length(word.length), word.text, near);
}

/* What follows the destination: a requirement and attributes, then free text. */
static int parse_tail(struct rule_span line, struct rule_span rest, struct rule *rule, struct rule_error *reterr)
{
        bool has_requirement = false;

        for (;;) {
                struct rule_span before = trim(rest), value = { NULL, 0 };
                struct rule_span word = take_word(&rest);
                struct rule_span *attribute = attribute_of(rule, word, &value);
                if (attribute != NULL) {
                        int r = check_attribute(rule, attribute, line, word, value, reterr);
                        if (r < 0)
                                return r;
                        *attribute = value;
                } else if (!has_requirement && requirement_from_word(word, &rule->requirement)) {
                        has_requirement = true;
                } else {
                        rule->description = before;
                        return check_description(line, word, reterr);
                }
        }
}

static bool has_brace(struct rule_span span)
{
        return memchr(span.text, '{', span.length) != NULL || memchr(span.text, '}', span.length) != NULL;
}

static int check_templates(const struct rule *rule, struct rule_span line, struct rule_error *reterr)
{
        int r = rule_template_check(rule->destination, reterr);

        if (r < 0) {
                reterr->offset += offset_in(line, rule->destination.text);
                return r;
        }
        r = rule_template_check(rule->ports, reterr);
        if (r < 0)
                reterr->offset += offset_in(line, rule->ports.text);
        return r;
}

static int parse_rule(struct rule_span line, struct rule_span first, struct rule_span rest, enum rule_style style,
                      struct rule *rule, struct rule_error *reterr)
{
        struct rule_span destination;
        int r = 0;

        if (rule_protocol_from_name(first, &rule->protocol)) {
                destination = take_word(&rest);
                if (destination.length == 0)
                        return rule_error_set(reterr, offset_in(line, destination.text),
                                              "no destination after '%.*s': write for example '%.*s example.com:443'",
                                              (int)first.length, first.text, (int)first.length, first.text);
                r = split_ports(line, destination, rule, reterr);
        } else if (style == RULE_STYLE_PLAIN_LIST && trim(rest).length == 0 &&
                   memchr(first.text, ':', first.length) == NULL) {
                rule->protocol = POLICY_PROTOCOL_HTTPS;
                rule->destination = first;
                rule->ports = default_ports;
        } else {
                return unknown_protocol(line, first, reterr);
        }
        if (r == 0)
                r = check_kind(rule, line, reterr);
        if (r == 0)
                r = parse_tail(line, rest, rule, reterr);
        if (r < 0)
                return r;
        rule->has_parameters = has_brace(rule->destination) || has_brace(rule->ports);
        return rule->has_parameters ? check_templates(rule, line, reterr) : 0;
}

enum rule_line_kind rule_line_parse(struct rule_span line, enum rule_style style, struct rule_line *ret,
                                    struct rule_error *reterr)
{
        const char *nul = memchr(line.text, '\0', line.length);
        struct rule_span rest = line;
        struct rule_span first;
        int r;

        *ret = (struct rule_line){ .kind = RULE_LINE_BAD };
        if (line.length > RULE_MAX_LINE_LENGTH || nul != NULL) {
                (void)rule_error_set(reterr, 0,
                                     nul != NULL ? "a NUL byte: this is not a text file"
                                                 : "a line over 4096 bytes: split the rule");
                return ret->kind;
        }
        rest = without_comment(line);
        first = take_word(&rest);
        if (first.length == 0) {
                ret->kind = RULE_LINE_EMPTY;
                return ret->kind;
        }
        if (rule_span_equals(first, "cloud")) {
                ret->kind = RULE_LINE_CLOUD;
                r = parse_cloud(line, rest, ret, reterr);
        } else {
                ret->kind = RULE_LINE_RULE;
                r = parse_rule(line, first, rest, style, &ret->rule, reterr);
        }
        if (r < 0)
                ret->kind = RULE_LINE_BAD;
        return ret->kind;
}

/* default_ports is not part of the line. */
static size_t part_offset(struct rule_span line, struct rule_span part)
{
        return part.text == default_ports.text ? 0 : offset_in(line, part.text);
}

static int parse_parts(const struct rule *rule, struct rule_span line, struct rule_span destination,
                       struct rule_span ports, struct rule_filled *ret, struct rule_error *reterr)
{
        int r = destination_parse(destination.text, destination.length, &ret->destination, reterr);

        if (r < 0) {
                reterr->offset += part_offset(line, rule->destination);
                return r;
        }
        r = port_set_parse(ports.text, ports.length, &ret->ports, reterr);
        if (r < 0)
                reterr->offset += part_offset(line, rule->ports);
        ret->protocol = rule->protocol;
        return r;
}

int rule_resolve(const struct rule *rule, struct rule_span line, struct rule_filled *ret, struct rule_error *reterr)
{
        return parse_parts(rule, line, rule->destination, rule->ports, ret, reterr);
}

int rule_fill(const struct rule *rule, struct rule_span line, rule_template_value_fn value_of, void *context,
              struct rule_filled *ret, struct rule_error *reterr)
{
        char destination[RULE_TEMPLATE_MAX_FILLED], ports[RULE_TEMPLATE_MAX_FILLED];
        size_t destination_length, ports_length;
        int r = rule_template_fill(rule->destination, value_of, context, destination, &destination_length);

        if (r == 0)
                r = rule_template_fill(rule->ports, value_of, context, ports, &ports_length);
        if (r == -EOVERFLOW)
                return rule_error_set(reterr, part_offset(line, rule->destination),
                                      "longer than %d bytes with its parameters filled in", RULE_TEMPLATE_MAX_FILLED);
        if (r < 0)
                return r;
        r = parse_parts(rule, line, (struct rule_span){ destination, destination_length },
                        (struct rule_span){ ports, ports_length }, ret, reterr);
        if (r < 0) /* The place inside a filled part is none of the line. */
                reterr->offset = part_offset(line, rule->destination);
        return r;
}

static struct rule_span placeholder(struct rule_span name, void *context)
{
        (void)name;
        (void)context;
        return (struct rule_span){ "x", 1 };
}

/* With "x" for every parameter: a name keeps its dots and stars, so what is wrong around them shows. */
static int check_name_around_parameters(const struct rule *rule, struct rule_span line, struct rule_error *reterr)
{
        char name[RULE_TEMPLATE_MAX_FILLED];
        struct destination destination;
        size_t length;

        if (rule_template_fill(rule->destination, placeholder, NULL, name, &length) < 0)
                return rule_error_set(reterr, part_offset(line, rule->destination), "the destination is too long");
        int r = destination_parse(name, length, &destination, reterr);
        if (r < 0)
                reterr->offset = part_offset(line, rule->destination);
        return r;
}

int rule_check(const struct rule *rule, struct rule_span line, struct rule_error *reterr)
{
        struct rule_filled filled;
        int r = 0;

        if (!rule->has_parameters)
                return rule_resolve(rule, line, &filled, reterr);
        if (destination_kind_of(rule->destination.text, rule->destination.length) == DESTINATION_NAME)
                r = check_name_around_parameters(rule, line, reterr);
        if (r == 0 && !has_brace(rule->ports)) {
                r = port_set_parse(rule->ports.text, rule->ports.length, &filled.ports, reterr);
                if (r < 0)
                        reterr->offset += part_offset(line, rule->ports);
        }
        return r;
}
