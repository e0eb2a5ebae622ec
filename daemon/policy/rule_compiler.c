#include "policy/rule_compiler.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ERRORS_WITH_NAMES 100 /* past it, looking for similar names would take long */

/* A parameter of the rule at hand and the value that is being filled in. */
struct binding {
        struct rule_span name;
        const struct config_text *values;
        size_t count;
        size_t chosen;
};

/* One rule on its way into a set. */
struct job {
        struct rule_compiler *compiler;
        const struct policy_cluster *cluster;
        const struct rule_source *source;
        struct rule_set *set;
        struct policy_feature_use *use;
        uint16_t origin;
        const struct rule_reader_line *line;
        struct binding bindings[RULE_TEMPLATE_MAX_PARAMETERS];
        size_t binding_count;
};

static struct diagnostic_place place_at(const struct job *job, size_t offset)
{
        unsigned number = job->line->number;
        unsigned column = number == 1 ? job->source->first_column : 1;

        return (struct diagnostic_place){
                .file = job->source->file,
                .line = job->source->first_line + number - 1,
                .column = column + (unsigned)offset,
        };
}

static void report(const struct job *job, const struct rule_error *error)
{
        struct diagnostic_place place = place_at(job, error->offset);

        if (!job->source->surveyed)
                diagnostics_error(job->compiler->diagnostics, &place, "%s", error->text);
}

/* Adds a reason why rules are inactive, each once. */
static int note_inactive(const struct job *job, const char *before, struct rule_span name, const char *behind)
{
        struct policy_feature_use *use = job->use;
        char *reason, *joined;

        if (use == NULL)
                return 0;
        use->inactive_rules++;
        if (asprintf(&reason, "%s%.*s%s", before, (int)name.length, name.text, behind) < 0)
                return -ENOMEM;
        if (use->inactive_because == NULL) {
                use->inactive_because = reason;
                return 0;
        }
        if (strstr(use->inactive_because, reason) != NULL) {
                free(reason);
                return 0;
        }
        int length = asprintf(&joined, "%s; %s", use->inactive_because, reason);
        free(reason);
        if (length < 0)
                return -ENOMEM;
        free(use->inactive_because);
        use->inactive_because = joined;
        return 0;
}

static struct binding *find_binding(struct job *job, struct rule_span name)
{
        for (size_t i = 0; i < job->binding_count; i++)
                if (job->bindings[i].name.length == name.length &&
                    memcmp(job->bindings[i].name.text, name.text, name.length) == 0)
                        return &job->bindings[i];
        return NULL;
}

static int bind_parameters_of(struct job *job, struct rule_span text)
{
        struct rule_span name;
        size_t offset = 0;

        while (rule_template_next(text, &offset, &name)) {
                if (find_binding(job, name) != NULL)
                        continue;
                if (job->binding_count == RULE_TEMPLATE_MAX_PARAMETERS)
                        return -E2BIG;
                struct binding *binding = &job->bindings[job->binding_count++];
                *binding = (struct binding){ .name = name };
                binding->values = policy_cluster_values(job->cluster, name, &binding->count);
        }
        return 0;
}

static int bind_parameters(struct job *job)
{
        job->binding_count = 0;
        int r = bind_parameters_of(job, job->line->rule.destination);
        return r < 0 ? r : bind_parameters_of(job, job->line->rule.ports);
}

static struct rule_span value_of(struct rule_span name, void *context)
{
        struct job *job = context;
        const struct binding *binding = find_binding(job, name);

        if (binding == NULL)
                return (struct rule_span){ NULL, 0 };
        const char *text = binding->values[binding->chosen].text;
        return (struct rule_span){ text, strlen(text) };
}

/* Turns to the next combination of values; false: that was the last. */
static bool next_values(struct job *job)
{
        for (size_t i = 0; i < job->binding_count; i++) {
                if (++job->bindings[i].chosen < job->bindings[i].count)
                        return true;
                job->bindings[i].chosen = 0;
        }
        return false;
}

/* Whether this rule was not reported for this tag before, for another cluster. */
static int note_missing_tag(const struct job *job, const struct destination *tag, bool *ret_new)
{
        struct text_table *known = job->compiler->missing_tags;
        char key[TEXT_TABLE_MAX_KEY_LENGTH];
        const char *place = job->line->text.text; /* Sources outlive the compiler, so this tells rules apart. */
        uint32_t entry;

        memcpy(key, &place, sizeof(place));
        memcpy(key + sizeof(place), tag->text, tag->length);
        int r = text_table_add(known, key, sizeof(place) + tag->length, &entry);
        if (r < 0)
                return r;
        *ret_new = text_table_number(known, entry) == TEXT_TABLE_NONE;
        text_table_set_number(known, entry, 1);
        return 0;
}

static int report_missing_tag(const struct job *job, const struct destination *tag)
{
        const struct rule_compiler *compiler = job->compiler;
        struct diagnostic_place place =
                place_at(job, (size_t)(job->line->rule.destination.text - job->line->text.text));
        char near[SERVICE_TAGS_NEAR_SIZE] = "";
        bool is_new;
        int r = note_missing_tag(job, tag, &is_new);

        if (r < 0 || !is_new)
                return r;
        if (diagnostics_error_count(compiler->diagnostics) < MAX_ERRORS_WITH_NAMES)
                service_tags_near(compiler->tags, tag->text, tag->length, near);
        diagnostics_error(compiler->diagnostics, &place, "no service tag '%s' in '%s'%s%s%s", tag->text,
                          compiler->tags_path, near[0] != '\0' ? ": did you mean " : "", near,
                          near[0] != '\0' ? "?" : "");
        return 0;
}

static int add_filled(const struct job *job, const struct rule_filled *filled)
{
        int r = rule_set_add(job->set, filled, job->origin, job->source->first_line + job->line->number - 1);
        struct diagnostic_place place = place_at(job, 0);

        if (r == 0 || r == -ENOMEM)
                return r;
        if (r == -ENOENT)
                return report_missing_tag(job, &filled->destination);
        if (r == -E2BIG)
                diagnostics_error(job->compiler->diagnostics, &place,
                                  "too many different places of '*' in names, or too many different port lists, in one "
                                  "cluster's rules: write *.name instead of a '*' further in");
        else
                diagnostics_error(job->compiler->diagnostics, &place, "too many rules");
        return 0;
}

/* Where the value that made a rule wrong stands, and which rule. */
static void report_values(const struct job *job, const struct rule_error *error)
{
        const struct binding *binding = &job->bindings[0];
        const struct config_text *value = &binding->values[binding->chosen];
        struct diagnostic_place place = { job->compiler->config_path, value->place.line, value->place.column };

        diagnostics_error(job->compiler->diagnostics, &place,
                          "cluster '%s': with parameter '%.*s' filled in, the rule at %s:%u is wrong: %s",
                          policy_cluster_name(job->cluster), (int)binding->name.length, binding->name.text,
                          job->source->file, job->source->first_line + job->line->number - 1, error->text);
}

static int fill_and_add(struct job *job)
{
        struct rule_filled filled;
        struct rule_error error;
        size_t made = 0;

        do {
                if (++made > RULE_COMPILER_MAX_EXPANSIONS) {
                        struct diagnostic_place place = place_at(job, 0);
                        diagnostics_error(job->compiler->diagnostics, &place,
                                          "the parameters' values make more than %d rules of this one",
                                          RULE_COMPILER_MAX_EXPANSIONS);
                        return 0;
                }
                int r = rule_fill(&job->line->rule, job->line->text, value_of, job, &filled, &error);
                if (r < 0)
                        report_values(job, &error);
                else
                        r = add_filled(job, &filled);
                if (r == -ENOMEM)
                        return r;
        } while (next_values(job));
        return 0;
}

static const struct binding *find_missing(const struct job *job)
{
        for (size_t i = 0; i < job->binding_count; i++)
                if (job->bindings[i].count == 0)
                        return &job->bindings[i];
        return NULL;
}

static int on_missing(const struct job *job, const struct binding *missing)
{
        const struct rule *rule = &job->line->rule;
        struct config_place at = job->cluster->config->place;
        struct diagnostic_place place = { job->compiler->config_path, at.line, at.column };
        const char *feature = job->source->origin.feature;

        if (rule->requirement == RULE_REQUIRED)
                diagnostics_error(
                        job->compiler->diagnostics, &place,
                        "cluster '%s': parameter '%.*s' has no value, but feature '%s' requires it for '%s %.*s' "
                        "(%s:%u): add it under parameters:",
                        policy_cluster_name(job->cluster), (int)missing->name.length, missing->name.text,
                        feature != NULL ? feature : "", policy_protocol_name(rule->protocol),
                        rule_error_quote_length(rule->destination.length), rule->destination.text, job->source->file,
                        job->source->first_line + job->line->number - 1);
        return note_inactive(job, "parameter ", missing->name, " has no value");
}

static int add_template(struct job *job)
{
        const struct binding *missing;
        struct rule_error error;
        int r = bind_parameters(job);

        if (r < 0) { /* Many of one rule: the survey counts none. */
                (void)rule_error_set(&error, 0, "more than %d different parameters in one rule",
                                     RULE_TEMPLATE_MAX_PARAMETERS);
                report(job, &error);
                return 0;
        }
        missing = find_missing(job);
        if (missing != NULL)
                return on_missing(job, missing);
        if (job->use != NULL)
                job->use->active_rules++;
        return fill_and_add(job);
}

static int add_plain(const struct job *job)
{
        struct rule_filled filled;
        struct rule_error error;

        if (rule_resolve(&job->line->rule, job->line->text, &filled, &error) < 0) {
                report(job, &error);
                return 0;
        }
        if (job->use != NULL)
                job->use->active_rules++;
        return add_filled(job, &filled);
}

/* Without a file of tags. */
static int leave_out_tag(const struct job *job)
{
        struct rule_error error;

        if (!job->source->surveyed && rule_check(&job->line->rule, job->line->text, &error) < 0)
                report(job, &error);
        return note_inactive(job, "service_tags is not configured", (struct rule_span){ "", 0 }, "");
}

static int add_rule(struct job *job)
{
        const struct rule *rule = &job->line->rule;

        if (job->cluster != NULL && (job->line->cloud & job->cluster->cloud) == 0)
                return 0;
        if (rule->when.length > 0 && !policy_cluster_has_switch(job->cluster, rule->when))
                return note_inactive(job, "parameter ", rule->when, " is not set");
        if (job->compiler->tags == NULL &&
            destination_kind_of(rule->destination.text, rule->destination.length) == DESTINATION_TAG)
                return leave_out_tag(job);
        return rule->has_parameters ? add_template(job) : add_plain(job);
}

int rule_compiler_add(struct rule_compiler *compiler, const struct policy_cluster *cluster,
                      const struct rule_source *source, struct rule_set *set, struct policy_feature_use *use)
{
        struct rule_reader reader = rule_reader_from(source->text, source->length, source->style);
        struct rule_reader_line line;
        struct job job = {
                .compiler = compiler, .cluster = cluster, .source = source, .set = set, .use = use, .line = &line
        };
        int r = rule_set_add_origin(set, &source->origin, &job.origin);

        rule_set_use_tags(set, compiler->tags);

        if (r == -E2BIG) {
                struct diagnostic_place place = { source->file, source->first_line, 0 };
                diagnostics_error(compiler->diagnostics, &place, "more than %d sources of rules in one cluster",
                                  RULE_SET_MAX_ORIGINS);
                return 0;
        }
        while (r == 0 && rule_reader_next(&reader, &line)) {
                if (line.bad)
                        report(&job, &line.error);
                else
                        r = add_rule(&job);
        }
        return r;
}

static int note_name(struct rule_compiler *compiler, struct rule_span name)
{
        uint32_t entry;

        return text_table_add(compiler->parameters, name.text, name.length, &entry);
}

static int note_names(struct rule_compiler *compiler, struct rule_span text)
{
        struct rule_span name;
        size_t offset = 0;
        int r = 0;

        while (r == 0 && rule_template_next(text, &offset, &name))
                r = note_name(compiler, name);
        return r;
}

static int note_rule(struct rule_compiler *compiler, const struct rule *rule)
{
        int r = note_names(compiler, rule->destination);

        if (r == 0)
                r = note_names(compiler, rule->ports);
        if (r == 0 && rule->when.length > 0)
                r = note_name(compiler, rule->when);
        return r;
}

int rule_compiler_survey(struct rule_compiler *compiler, const struct rule_source *source, size_t *ret_rules)
{
        struct rule_reader reader = rule_reader_from(source->text, source->length, source->style);
        struct rule_reader_line line;
        struct job job = { .compiler = compiler, .source = source, .line = &line };
        size_t rules = 0;
        int r = 0;

        for (; r == 0 && rule_reader_next(&reader, &line); rules++) {
                if (line.bad || rule_check(&line.rule, line.text, &line.error) < 0)
                        report(&job, &line.error);
                else
                        r = note_rule(compiler, &line.rule);
        }
        *ret_rules = rules;
        return r;
}
