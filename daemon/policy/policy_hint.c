#include "policy/policy_hint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy_layout.h"
#include "policy/rule_set.h"

#define MAX_HINT_RULES 100000 /* of all feature files; what is past it gives no hints */
#define MAX_CONSIDERED 64     /* rules looked at for one hint */

/* One rule of a feature file; records in the set have its index as their line. */
struct hint_rule {
        const struct feature *feature; /* borrowed from the catalog, like text */
        struct rule_span text;
};

struct policy_hints {
        struct rule_set *set;
        struct hint_rule *rules;
        size_t count;
        size_t size;
};

/* What stands between a rule and the request, the most useful to be told first. */
enum obstacle {
        OBSTACLE_PARAMETER = 0, /* feature on, parameter without a value */
        OBSTACLE_VALUE,         /* feature on, parameter with other values */
        OBSTACLE_LOCATION,
        OBSTACLE_FEATURE,           /* feature off */
        OBSTACLE_FEATURE_PARAMETER, /* feature off, parameter missing or other */
        OBSTACLE_PORT,              /* feature off, and for another protocol or port */
        OBSTACLE_NONE,              /* must be last: nothing found */
};

/* The best obstacle so far, and the rule it belongs to. */
struct search {
        const struct policy *policy;
        const struct policy_cluster *cluster;
        const struct policy_request *request;
        unsigned considered;
        bool any_port;
        enum obstacle best;
        const struct feature *feature;
        struct rule_span parameter;
        struct rule_span value;
        struct rule_match match;
};

/* What the parameters of one rule stand for in the requested name. */
struct captures {
        const struct policy_cluster *cluster;
        struct rule_span missing; /* parameter without a value; length 0: none */
        struct rule_span other;   /* parameter with other values */
        struct rule_span other_value;
        struct rule_span location; /* the location asked for, when it is another one */
};

/* Writes the destination with every label that holds a parameter as `*`; 0: longer than a name can be. */
static size_t write_pattern(struct rule_span destination, char pattern[FQDN_MAX_LENGTH + 1])
{
        size_t length = 0;

        for (size_t i = 0; i < destination.length;) {
                size_t end = i;
                while (end < destination.length && destination.text[end] != '.')
                        end++;
                bool filled = memchr(destination.text + i, '{', end - i) != NULL;
                size_t size = filled ? 1 : end - i;
                if (length + size + 1 > FQDN_MAX_LENGTH)
                        return 0;
                memcpy(pattern + length, filled ? "*" : destination.text + i, size);
                length += size;
                if (end < destination.length)
                        pattern[length++] = '.';
                i = end + 1;
        }
        return length;
}

/* Rules without a name in them (prefixes, tags, `{git_host}` alone) give no hints. */
static bool make_searchable(const struct rule *rule, struct rule_filled *ret)
{
        char pattern[FQDN_MAX_LENGTH + 1];
        struct rule_error ignored;
        struct rule_span ports = rule->ports;

        if (destination_kind_of(rule->destination.text, rule->destination.length) != DESTINATION_NAME)
                return false;
        size_t length = write_pattern(rule->destination, pattern);
        ret->protocol = rule->protocol;
        return length > 0 && destination_parse(pattern, length, &ret->destination, &ignored) == 0 &&
               port_set_parse(ports.text, ports.length, &ret->ports, &ignored) == 0;
}

static int append_rule(struct policy_hints *hints, const struct feature *feature, struct rule_span text)
{
        size_t size = hints->size == 0 ? 256 : hints->size * 2;

        if (hints->count == hints->size) {
                struct hint_rule *rules = reallocarray(hints->rules, size, sizeof(*rules));
                if (rules == NULL)
                        return -ENOMEM;
                hints->rules = rules;
                hints->size = size;
        }
        hints->rules[hints->count++] = (struct hint_rule){ .feature = feature, .text = text };
        return 0;
}

static int add_feature(struct policy_hints *hints, const struct feature *feature, enum rule_cloud cloud)
{
        struct rule_reader reader = rule_reader_from(feature->file->text, feature->file->length, RULE_STYLE_FEATURE);
        struct rule_origin origin = { .feature = feature->name, .file = feature->file->path };
        struct rule_reader_line line;
        struct rule_filled filled;
        uint16_t origin_index;
        int r = rule_set_add_origin(hints->set, &origin, &origin_index);

        while (r == 0 && hints->count < MAX_HINT_RULES && rule_reader_next(&reader, &line)) {
                if (line.bad || (line.cloud & cloud) == 0 || !make_searchable(&line.rule, &filled))
                        continue;
                r = append_rule(hints, feature, line.text);
                if (r == 0)
                        r = rule_set_add(hints->set, &filled, origin_index, (unsigned)hints->count - 1);
                if (r == -E2BIG) /* One more shape than a set takes: no hint from this rule. */
                        r = 0;
        }
        return r;
}

int policy_hints_new(const struct feature_catalog *catalog, enum rule_cloud cloud, struct policy_hints **ret)
{
        struct policy_hints *hints = calloc(1, sizeof(*hints));
        int r = 0;

        if (hints == NULL)
                return -ENOMEM;
        hints->set = rule_set_new();
        if (hints->set == NULL)
                r = -ENOMEM;
        else
                rule_set_keep_duplicates(
                        hints->set); /* Several features may allow a name, one of them a small step away. */
        for (size_t i = 0; i < catalog->count && r == 0; i++)
                r = add_feature(hints, &catalog->features[i], cloud);
        if (r < 0) {
                policy_hints_free(hints);
                return r;
        }
        *ret = hints;
        return 0;
}

void policy_hints_free(struct policy_hints *hints)
{
        if (hints == NULL)
                return;
        rule_set_free(hints->set);
        free(hints->rules);
        free(hints);
}

static bool has_value(const struct config_text *values, size_t count, struct rule_span value)
{
        for (size_t i = 0; i < count; i++)
                if (rule_span_equals(value, values[i].text))
                        return true;
        return false;
}

static bool on_capture(struct rule_span name, struct rule_span value, void *context)
{
        struct captures *captures = context;
        size_t count;
        const struct config_text *values = policy_cluster_values(captures->cluster, name, &count);

        if (count == 0) {
                captures->missing = name;
        } else if (!has_value(values, count, value)) {
                if (rule_span_equals(name, "location")) {
                        captures->location = value;
                } else {
                        captures->other = name;
                        captures->other_value = value;
                }
        }
        return true;
}

/* Cuts the last label off; *rest keeps what is before its dot, with a NULL text once nothing is left. */
static struct rule_span take_last_label(struct rule_span *rest)
{
        const char *dot = memrchr(rest->text, '.', rest->length);
        struct rule_span label = *rest;

        if (dot == NULL) {
                rest->text = NULL;
                return label;
        }
        size_t before = (size_t)(dot - rest->text);
        label = (struct rule_span){ dot + 1, rest->length - before - 1 };
        rest->length = before;
        return label;
}

/* Label by label from the right, because a first `*` stands for any number of labels. */
static bool match_labels(struct rule_span destination, struct rule_span name, struct captures *captures)
{
        while (destination.text != NULL) {
                if (name.text == NULL)
                        return false;
                struct rule_span wanted = take_last_label(&destination);
                struct rule_span label = take_last_label(&name);
                bool star = rule_span_equals(wanted, "*");
                if (star && destination.text == NULL)
                        return true;
                if (!star && !rule_template_match(wanted, label, on_capture, captures))
                        return false;
        }
        return name.text == NULL;
}

static bool feature_is_enabled(const struct search *search, const struct feature *feature)
{
        size_t index = (size_t)(feature - search->policy->catalog->features);

        return search->cluster->uses[index].enabled;
}

static enum obstacle obstacle_of(const struct captures *captures, bool enabled)
{
        bool parameter = captures->missing.length > 0 || captures->other.length > 0;

        if (captures->location.length > 0 && (parameter || !enabled))
                return OBSTACLE_NONE; /* Two changes away: misleads more than it helps. */
        if (!enabled && parameter)
                return OBSTACLE_FEATURE_PARAMETER;
        if (!enabled)
                return OBSTACLE_FEATURE;
        if (captures->missing.length > 0)
                return OBSTACLE_PARAMETER;
        if (captures->other.length > 0)
                return OBSTACLE_VALUE;
        return captures->location.length > 0 ? OBSTACLE_LOCATION : OBSTACLE_NONE;
}

static void keep_if_better(struct search *search, enum obstacle obstacle, const struct rule_match *match,
                           const struct feature *feature, const struct captures *captures)
{
        if (search->any_port && obstacle != OBSTACLE_NONE)
                obstacle = obstacle == OBSTACLE_FEATURE ? OBSTACLE_PORT : OBSTACLE_NONE;
        if (obstacle >= search->best)
                return;
        search->best = obstacle;
        search->match = *match;
        search->feature = feature;
        search->parameter = captures->missing.length > 0 ? captures->missing : captures->other;
        search->value = captures->missing.length > 0 ? (struct rule_span){ NULL, 0 } : captures->other_value;
        if (obstacle == OBSTACLE_LOCATION)
                search->value = captures->location;
}

/* The feature file's line is parsed again: to keep every rule parsed would cost more than the rare hint. */
static bool consider_rule(const struct rule_match *match, void *context)
{
        struct search *search = context;
        const struct policy_hints *hints = search->policy->hints[policy_cloud_index(search->cluster->cloud)];
        const struct hint_rule *hint_rule = &hints->rules[rule_match_line(match)];
        struct captures captures = { .cluster = search->cluster };
        struct rule_span name = { search->request->name.text, search->request->name.length };
        struct rule_line line;
        struct rule_error ignored;

        if (rule_line_parse(hint_rule->text, RULE_STYLE_FEATURE, &line, &ignored) == RULE_LINE_RULE &&
            match_labels(line.rule.destination, name, &captures)) {
                struct rule_span when = line.rule.when;
                if (when.length > 0 && !policy_cluster_has_switch(search->cluster, when))
                        captures.missing = when;
                keep_if_better(search, obstacle_of(&captures, feature_is_enabled(search, hint_rule->feature)), match,
                               hint_rule->feature, &captures);
        }
        return ++search->considered < MAX_CONSIDERED;
}

static unsigned network_bits(enum policy_protocol protocol)
{
        return protocol == POLICY_PROTOCOL_UDP ? 0 : 1u << POLICY_PROTOCOL_TCP;
}

static void search_features(struct search *search, bool any_port)
{
        const struct policy_hints *hints = search->policy->hints[policy_cloud_index(search->cluster->cloud)];
        struct rule_query query = { .name = &search->request->name };

        search->any_port = any_port;
        search->considered = 0;
        query.protocols = any_port ? ~0u : 1u << search->request->protocol | network_bits(search->request->protocol);
        query.port = any_port ? 0 : search->request->port;
        rule_set_each_match(hints->set, &query, consider_rule, search);
}

static void write_feature_hint(const struct search *search, char hint[POLICY_HINT_SIZE])
{
        const char *feature = search->feature != NULL ? search->feature->name : "";
        const char *cluster = policy_cluster_name(search->cluster);
        int parameter_length = (int)search->parameter.length, value_length = (int)search->value.length;
        char ports[PORT_SET_TEXT_SIZE];

        switch (search->best) {
        case OBSTACLE_PARAMETER:
                snprintf(hint, POLICY_HINT_SIZE, "feature '%s' would allow it with parameter '%.*s'", feature,
                         parameter_length, search->parameter.text);
                break;
        case OBSTACLE_VALUE:
                snprintf(hint, POLICY_HINT_SIZE, "feature '%s' would allow it with parameter '%.*s' listing '%.*s'",
                         feature, parameter_length, search->parameter.text, value_length, search->value.text);
                break;
        case OBSTACLE_LOCATION:
                snprintf(hint, POLICY_HINT_SIZE, "allowed for location '%.*s'; cluster '%s' is in '%s'", value_length,
                         search->value.text, cluster, search->cluster->config->location.text);
                break;
        case OBSTACLE_FEATURE:
                snprintf(hint, POLICY_HINT_SIZE, "allowed by feature '%s', not enabled for cluster '%s'", feature,
                         cluster);
                break;
        case OBSTACLE_FEATURE_PARAMETER:
                snprintf(hint, POLICY_HINT_SIZE,
                         "allowed by feature '%s' with parameter '%.*s', not enabled for cluster '%s'", feature,
                         parameter_length, search->parameter.text, cluster);
                break;
        case OBSTACLE_PORT:
                (void)port_set_format(rule_match_ports(&search->match), ports);
                snprintf(hint, POLICY_HINT_SIZE,
                         "feature '%s', not enabled for cluster '%s', allows it as %s port %.60s", feature, cluster,
                         policy_protocol_name(rule_match_protocol(&search->match)), ports);
                break;
        case OBSTACLE_NONE:
                break;
        }
}

/* The same destination under another protocol or port. */
static bool write_own_port_hint(const struct policy_cluster *cluster, const struct policy_request *request,
                                char hint[POLICY_HINT_SIZE])
{
        struct rule_query query = { .protocols = ~0u, .name = &request->name, .address = &request->address };
        struct rule_match match = { 0 };
        char ports[PORT_SET_TEXT_SIZE];

        for (size_t i = 0; i < cluster->allow.count; i++)
                (void)rule_set_match(cluster->allow.sets[i], &query, &match); /* match.set tells. */
        if (match.set == NULL)
                return false;
        (void)port_set_format(rule_match_ports(&match), ports);
        snprintf(hint, POLICY_HINT_SIZE, "this cluster allows it as %s port %.60s",
                 policy_protocol_name(rule_match_protocol(&match)), ports);
        return true;
}

/* "*.example.com" is there, and "example.com" was asked for. */
static bool write_below_hint(const struct policy_cluster *cluster, const struct policy_request *request,
                             char hint[POLICY_HINT_SIZE])
{
        struct rule_query query = { .protocols = 1u << request->protocol,
                                    .port = request->port,
                                    .name = &request->name };
        struct rule_match match = { 0 };

        for (size_t i = 0; i < cluster->allow.count; i++) {
                if (!rule_set_match_below(cluster->allow.sets[i], &query, &match))
                        continue;
                snprintf(hint, POLICY_HINT_SIZE, "'*.%.200s' is allowed, which does not cover the name itself",
                         request->name.text);
                return true;
        }
        return false;
}

static void write_address_hint(const struct policy *policy, const struct policy_cluster *cluster,
                               const struct policy_request *request, char hint[POLICY_HINT_SIZE])
{
        char text[NET_ADDRESS_TEXT_SIZE];

        if (request->address.family == AF_UNSPEC)
                return;
        enum reason reason = policy_permits_address(policy, cluster, &request->address, request->port, hint);
        if (reason == REASON_PLATFORM_ADDRESS || reason == REASON_OWN_ADDRESS)
                return; /* It has written the hint: no rule would help. */
        snprintf(hint, POLICY_HINT_SIZE, "an address is allowed by a network rule only: %s [%s]:%u",
                 request->protocol == POLICY_PROTOCOL_UDP ? "udp" : "tcp", net_address_format(&request->address, text),
                 (unsigned)request->port);
}

static void write_source_hint(const struct policy_request *request, char hint[POLICY_HINT_SIZE])
{
        char text[NET_ADDRESS_TEXT_SIZE];

        if (request->source.family == AF_UNSPEC)
                snprintf(hint, POLICY_HINT_SIZE, "the client's address is under no cluster's sources");
        else
                snprintf(hint, POLICY_HINT_SIZE, "%s is under no cluster's sources",
                         net_address_format(&request->source, text));
}

void policy_hint_write(const struct policy *policy, const struct policy_cluster *cluster,
                       const struct policy_request *request, char hint[POLICY_HINT_SIZE])
{
        struct search search = { .policy = policy, .cluster = cluster, .request = request, .best = OBSTACLE_NONE };

        hint[0] = '\0';
        if (cluster == NULL) {
                write_source_hint(request, hint);
                return;
        }
        if (request->name.length > 0)
                search_features(&search, false);
        if (search.best != OBSTACLE_NONE) {
                write_feature_hint(&search, hint);
                return;
        }
        if (write_own_port_hint(cluster, request, hint))
                return;
        if (request->name.length == 0) {
                write_address_hint(policy, cluster, request, hint);
                return;
        }
        if (write_below_hint(cluster, request, hint))
                return;
        search_features(&search, true);
        write_feature_hint(&search, hint);
}
