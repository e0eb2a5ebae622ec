/* policy_load: from a configuration and the files it names to a policy. What a policy answers is in policy.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config_suggest.h"
#include "policy/policy.h"
#include "policy/policy_layout.h"
#include "policy/policy_ports.h"
#include "policy/policy_tags.h"
#include "policy/rule_compiler.h"

#define FILE_ENTRY "file:"
#define FILE_ENTRY_LENGTH 5
#define CORE_FEATURE "core"

struct loader {
        struct rule_compiler compiler;
        struct diagnostics *diagnostics;
        const struct config *config;
        struct policy *policy;
};

static struct diagnostic_place place_in_config(const struct loader *loader, struct config_place place)
{
        return (struct diagnostic_place){ loader->config->path, place.line, place.column };
}

/* Sources of rules. */

static struct rule_source feature_source(const struct feature *feature)
{
        return (struct rule_source){
                .text = feature->file->text,
                .length = feature->file->length,
                .style = RULE_STYLE_FEATURE,
                .file = feature->file->path,
                .first_line = 1,
                .first_column = 1,
                .origin = { .feature = feature->name, .file = feature->file->path },
                .surveyed = true,
        };
}

static struct rule_source entry_source(const struct loader *loader, const struct config_text *entry,
                                       const char *feature)
{
        return (struct rule_source){
                .text = entry->text,
                .length = strlen(entry->text),
                .style = RULE_STYLE_FEATURE,
                .file = loader->config->path,
                .first_line = entry->place.line,
                .first_column = entry->place.column,
                .origin = { .feature = feature, .file = loader->config->path },
                .surveyed = true,
        };
}

static struct rule_source list_source(const struct rule_file *file, const char *path)
{
        return (struct rule_source){
                .text = file->text,
                .length = file->length,
                .style = RULE_STYLE_PLAIN_LIST,
                .file = path,
                .first_line = 1,
                .first_column = 1,
                .origin = { .file = path },
        };
}

/* Lists. */

static bool is_file_entry(const struct config_text *entry)
{
        return strncmp(entry->text, FILE_ENTRY, FILE_ENTRY_LENGTH) == 0;
}

/* An absolute path as it is, a relative one from the directory of the configuration file. */
static char *list_path(const struct loader *loader, const char *path)
{
        const char *slash = strrchr(loader->config->path, '/');
        char *joined;

        if (path[0] == '/' || slash == NULL)
                return strdup(path);
        if (asprintf(&joined, "%.*s/%s", (int)(slash - loader->config->path), loader->config->path, path) < 0)
                return NULL;
        return joined;
}

static struct policy_list *find_list(const struct policy *policy, const char *path)
{
        for (size_t i = 0; i < policy->list_count; i++)
                if (strcmp(policy->lists[i].path, path) == 0)
                        return &policy->lists[i];
        return NULL;
}

/* Takes over path, also on failure. */
static int append_list(struct policy *policy, char *path, struct policy_list **ret)
{
        struct policy_list *lists = reallocarray(policy->lists, policy->list_count + 1, sizeof(*lists));

        if (lists == NULL || path == NULL) {
                if (lists != NULL)
                        policy->lists = lists;
                free(path);
                return -ENOMEM;
        }
        policy->lists = lists;
        lists[policy->list_count] = (struct policy_list){ .path = path };
        *ret = &lists[policy->list_count++];
        return 0;
}

/* Compiles a list once for all clusters if its rules are the same for all; otherwise keeps its text until they are loaded. */
static int compile_or_keep(struct loader *loader, struct policy_list *list, struct rule_file *file)
{
        struct rule_source source = list_source(file, list->path);
        size_t rules;
        int r;

        if (rule_file_depends_on_cluster(file)) {
                list->file = file;
                return rule_compiler_survey(&loader->compiler, &source, &rules);
        }
        list->set = rule_set_new();
        r = list->set == NULL ? -ENOMEM : rule_compiler_add(&loader->compiler, NULL, &source, list->set, NULL);
        if (r == 0)
                rule_set_trim(list->set);
        rule_file_free(file);
        return r;
}

/* Reads a list unless an earlier entry named it. */
static int add_list(struct loader *loader, const struct config_text *entry)
{
        struct diagnostic_place place = place_in_config(loader, entry->place);
        char *path = list_path(loader, entry->text + FILE_ENTRY_LENGTH);
        struct rule_file *file;
        struct policy_list *list;

        if (path != NULL && find_list(loader->policy, path) != NULL) {
                free(path);
                return 0;
        }
        int r = append_list(loader->policy, path, &list);
        if (r < 0)
                return r;
        r = rule_file_read(list->path, RULE_FILE_MAX_SIZE, &place, loader->diagnostics, &file);
        if (r < 0)
                return r == -EINVAL ? 0 : r; /* reported; the list stays empty */
        return compile_or_keep(loader, list, file);
}

static int add_lists_of(struct loader *loader, const struct config_text *entries, size_t count)
{
        int r = 0;

        for (size_t i = 0; i < count && r == 0; i++)
                if (is_file_entry(&entries[i]))
                        r = add_list(loader, &entries[i]);
        return r;
}

static int load_lists(struct loader *loader)
{
        int r = 0;

        for (size_t i = 0; i < loader->config->cluster_count && r == 0; i++) {
                const struct config_cluster *cluster = &loader->config->clusters[i];
                r = add_lists_of(loader, cluster->allow, cluster->allow_count);
                if (r == 0)
                        r = add_lists_of(loader, cluster->deny, cluster->deny_count);
        }
        return r;
}

/* One cluster. */

static int share_set(struct policy_rules *rules, const struct rule_set *set)
{
        const struct rule_set **sets = reallocarray(rules->sets, rules->count + 1, sizeof(const struct rule_set *));

        if (sets == NULL)
                return -ENOMEM;
        rules->sets = sets;
        for (size_t i = 0; i < rules->count; i++)
                if (sets[i] == set)
                        return 0;
        sets[rules->count++] = set;
        return 0;
}

static int use_list(struct loader *loader, const struct policy_cluster *cluster, const struct config_text *entry,
                    const char *feature, struct policy_rules *rules)
{
        char *path = list_path(loader, entry->text + FILE_ENTRY_LENGTH);
        const struct policy_list *list = path != NULL ? find_list(loader->policy, path) : NULL;

        free(path);
        if (list == NULL)
                return -ENOMEM; /* load_lists has added every path. */
        if (list->set != NULL)
                return share_set(rules, list->set);
        if (list->file == NULL)
                return 0;
        struct rule_source source = list_source(list->file, list->path);
        source.origin.feature = feature;
        source.surveyed = true;
        return rule_compiler_add(&loader->compiler, cluster, &source, rules->own, NULL);
}

static int add_entries(struct loader *loader, const struct policy_cluster *cluster, const struct config_text *entries,
                       size_t count, const char *feature, struct policy_rules *rules)
{
        int r = 0;

        for (size_t i = 0; i < count && r == 0; i++) {
                struct rule_source source = entry_source(loader, &entries[i], feature);
                if (is_file_entry(&entries[i]))
                        r = use_list(loader, cluster, &entries[i], feature, rules);
                else
                        r = rule_compiler_add(&loader->compiler, cluster, &source, rules->own, NULL);
        }
        return r;
}

static int add_api_server_rule(struct rule_set *set, const struct rule_origin *origin, const struct rule_filled *rule,
                               unsigned line)
{
        uint16_t index;
        int r = rule_set_add_origin(set, origin, &index);

        return r < 0 ? r : rule_set_add(set, rule, index, line);
}

/*
 * The implicit rules for the API server, reported as feature "api_server": its name for TLS, and for clients that dial it by
 * address, with no or a foreign name in the hello, the addresses that it resolves to.
 */
static int add_api_server(struct loader *loader, const struct policy_cluster *cluster)
{
        const struct config_text *name = &cluster->config->api_server;
        struct rule_origin origin = { .feature = "api_server", .file = loader->config->path };
        struct diagnostic_place place = place_in_config(loader, name->place);
        struct rule_filled rule = { .protocol = POLICY_PROTOCOL_HTTPS };
        struct rule_error error;
        struct fqdn fqdn;

        if (name->text == NULL)
                return 0;
        if (fqdn_from_text(name->text, &fqdn) < 0) {
                diagnostics_error(loader->diagnostics, &place, "api_server: '%s' is not a domain name", name->text);
                return 0;
        }
        int r = destination_parse(fqdn.text, fqdn.length, &rule.destination, &error);
        if (r == 0)
                r = port_set_parse("443", 3, &rule.ports, &error);
        if (r == 0)
                r = add_api_server_rule(cluster->allow.own, &origin, &rule, name->place.line);
        rule.protocol = POLICY_PROTOCOL_TCP;
        if (r == 0)
                r = add_api_server_rule(cluster->api_server, &origin, &rule, name->place.line);
        return r;
}

static void report_unknown_feature(struct loader *loader, const struct policy_cluster *cluster,
                                   const struct config_text *name)
{
        const struct feature_catalog *catalog = loader->policy->catalog;
        struct diagnostic_place place = place_in_config(loader, name->place);
        struct config_suggest near = { .word = name->text };

        for (size_t i = 0; i < catalog->count; i++)
                config_suggest_offer(&near, catalog->features[i].name);
        if (near.best != NULL)
                diagnostics_error(loader->diagnostics, &place, "cluster '%s': no feature '%s': did you mean '%s'?",
                                  policy_cluster_name(cluster), name->text, near.best);
        else
                diagnostics_error(loader->diagnostics, &place,
                                  "cluster '%s': no feature '%s': no directory of allowlist_dirs has %s.allow",
                                  policy_cluster_name(cluster), name->text, name->text);
}

static int add_feature(struct loader *loader, struct policy_cluster *cluster, const struct config_text *name)
{
        const struct feature *feature = feature_catalog_find(loader->policy->catalog, name->text);

        if (feature == NULL) {
                report_unknown_feature(loader, cluster, name);
                return 0;
        }
        struct policy_feature_use *use = &cluster->uses[feature - loader->policy->catalog->features];
        use->enabled = true;
        struct rule_source source = feature_source(feature);
        return rule_compiler_add(&loader->compiler, cluster, &source, cluster->allow.own, use);
}

static int add_features(struct loader *loader, struct policy_cluster *cluster)
{
        static char core_name[] = CORE_FEATURE;
        const struct config_text core = { .text = core_name, .place = cluster->config->place };
        int r = add_feature(loader, cluster, &core);

        for (size_t i = 0; i < cluster->config->feature_count && r == 0; i++)
                r = add_feature(loader, cluster, &cluster->config->features[i]);
        return r;
}

static int add_prefixes(const struct config_prefix *prefixes, size_t count, uint32_t number, struct prefix_set *set)
{
        uint32_t entry;

        for (size_t i = 0; i < count; i++) {
                int r = prefix_set_add(set, &prefixes[i].prefix, &entry);
                if (r < 0)
                        return r;
                prefix_set_set_number(set, entry, number);
        }
        return 0;
}

static int make_cluster(struct loader *loader, struct policy_cluster *cluster, size_t index)
{
        cluster->config = &loader->config->clusters[index];
        cluster->cloud = rule_cloud_from_name(
                (struct rule_span){ cluster->config->cloud.text, strlen(cluster->config->cloud.text) });
        cluster->allow.own = rule_set_new();
        cluster->deny.own = rule_set_new();
        cluster->api_server = rule_set_new();
        cluster->private_destinations = prefix_set_new();
        cluster->uses = calloc(loader->policy->catalog->count + 1, sizeof(*cluster->uses)); /* never zero bytes */
        if (cluster->allow.own == NULL || cluster->deny.own == NULL || cluster->api_server == NULL ||
            cluster->private_destinations == NULL || cluster->uses == NULL)
                return -ENOMEM;
        int r = share_set(&cluster->allow, cluster->allow.own);
        return r < 0 ? r : share_set(&cluster->deny, cluster->deny.own);
}

static int load_cluster(struct loader *loader, size_t index)
{
        struct policy_cluster *cluster = &loader->policy->clusters[index];
        const struct config_cluster *config = &loader->config->clusters[index];
        int r = make_cluster(loader, cluster, index);

        if (r == 0)
                r = add_api_server(loader, cluster);
        if (r == 0)
                r = add_features(loader, cluster);
        if (r == 0)
                r = add_entries(loader, cluster, config->allow, config->allow_count, "allow", &cluster->allow);
        if (r == 0)
                r = add_entries(loader, cluster, config->deny, config->deny_count, "deny", &cluster->deny);
        if (r == 0)
                r = add_prefixes(config->sources, config->source_count, (uint32_t)index, loader->policy->sources);
        if (r == 0)
                r = add_prefixes(config->private_destinations, config->private_destination_count, 0,
                                 cluster->private_destinations);
        if (r < 0)
                return r;
        rule_set_trim(cluster->allow.own);
        rule_set_trim(cluster->deny.own);
        return 0;
}

/* What all clusters share. */

static int survey_entries(struct loader *loader, const struct config_text *entries, size_t count)
{
        int r = 0;

        for (size_t i = 0; i < count && r == 0; i++) {
                struct diagnostic_place place = place_in_config(loader, entries[i].place);
                struct rule_source source = entry_source(loader, &entries[i], NULL);
                size_t rules;
                if (is_file_entry(&entries[i]))
                        continue;
                source.surveyed = false;
                r = rule_compiler_survey(&loader->compiler, &source, &rules);
                if (r == 0 && rules == 0)
                        diagnostics_error(loader->diagnostics, &place,
                                          "no rule: write for example 'https example.com:443' or file:PATH");
        }
        return r;
}

static int survey(struct loader *loader)
{
        const struct feature_catalog *catalog = loader->policy->catalog;
        size_t rules;
        int r = 0;

        for (size_t i = 0; i < catalog->count && r == 0; i++) {
                struct rule_source source = feature_source(&catalog->features[i]);
                source.surveyed = false;
                r = rule_compiler_survey(&loader->compiler, &source, &rules);
        }
        for (size_t i = 0; i < loader->config->cluster_count && r == 0; i++) {
                const struct config_cluster *cluster = &loader->config->clusters[i];
                r = survey_entries(loader, cluster->allow, cluster->allow_count);
                if (r == 0)
                        r = survey_entries(loader, cluster->deny, cluster->deny_count);
        }
        return r == 0 ? load_lists(loader) : r;
}

static void report_unknown_parameter(struct loader *loader, const struct config_cluster *cluster,
                                     const struct config_text *name)
{
        const struct text_table *known = loader->compiler.parameters;
        struct diagnostic_place place = place_in_config(loader, name->place);
        struct config_suggest near = { .word = name->text };
        char best[RULE_TEMPLATE_MAX_NAME_LENGTH + 1] = "";

        for (uint32_t entry = text_table_first(known); entry != TEXT_TABLE_NONE;
             entry = text_table_next(known, entry)) {
                struct text_table_key key = text_table_key(known, entry);
                char candidate[RULE_TEMPLATE_MAX_NAME_LENGTH + 1] = "";
                memcpy(candidate, key.bytes, key.length);
                near.best = best[0] != '\0' ? best : NULL;
                config_suggest_offer(&near, candidate);
                if (near.best == candidate)
                        memcpy(best, candidate, sizeof(best));
        }
        if (best[0] != '\0')
                diagnostics_error(loader->diagnostics, &place,
                                  "cluster '%s': no rule knows the parameter '%s': did you mean '%s'?",
                                  cluster->name.text, name->text, best);
        else
                diagnostics_error(loader->diagnostics, &place,
                                  "cluster '%s': no rule knows the parameter '%s': remove it", cluster->name.text,
                                  name->text);
}

static void check_parameters(struct loader *loader)
{
        const struct text_table *known = loader->compiler.parameters;

        for (size_t i = 0; i < loader->config->cluster_count; i++) {
                const struct config_cluster *cluster = &loader->config->clusters[i];
                for (size_t j = 0; j < cluster->parameter_count; j++) {
                        const struct config_text *name = &cluster->parameters[j].name;
                        struct diagnostic_place place = place_in_config(loader, name->place);
                        if (strcmp(name->text, "location") == 0)
                                diagnostics_error(
                                        loader->diagnostics, &place,
                                        "cluster '%s': {location} is the cluster's location: remove this parameter",
                                        cluster->name.text);
                        else if (text_table_find(known, name->text, strlen(name->text)) == TEXT_TABLE_NONE)
                                report_unknown_parameter(loader, cluster, name);
                }
        }
}

static int make_hints(struct policy *policy)
{
        int r = 0;

        for (size_t i = 0; i < policy->cluster_count && r == 0; i++) {
                enum rule_cloud cloud = policy->clusters[i].cloud;
                struct policy_hints **hints = &policy->hints[policy_cloud_index(cloud)];
                if (*hints == NULL)
                        r = policy_hints_new(policy->catalog, cloud, hints);
        }
        return r;
}

static void count_rules(struct policy *policy)
{
        for (size_t i = 0; i < policy->cluster_count; i++) {
                const struct policy_cluster *cluster = &policy->clusters[i];
                for (size_t j = 0; j < cluster->allow.count; j++)
                        policy->rule_count += rule_set_count(cluster->allow.sets[j]);
                for (size_t j = 0; j < cluster->deny.count; j++)
                        policy->rule_count += rule_set_count(cluster->deny.sets[j]);
        }
}

static void drop_list_texts(struct policy *policy)
{
        for (size_t i = 0; i < policy->list_count; i++) {
                rule_file_free(policy->lists[i].file);
                policy->lists[i].file = NULL;
        }
}

static int load_tags(struct loader *loader)
{
        int r = policy_tags_read(loader->config, loader->diagnostics, &loader->policy->tags);

        loader->compiler.tags = loader->policy->tags;
        loader->compiler.tags_path = loader->config->service_tags.text;
        return r == -EINVAL ? 0 : r; /* reported; rules with tags stay inactive */
}

/* Goes on after errors, so that all are reported; only memory ends it. */
static int load(struct loader *loader)
{
        struct policy *policy = loader->policy;
        const struct config *config = loader->config;
        int r = feature_catalog_read(config->allowlist_dirs, config->allowlist_dir_count, loader->diagnostics,
                                     &policy->catalog);

        if (r == 0)
                r = load_tags(loader);
        if (r == 0)
                r = survey(loader);
        if (r < 0)
                return r;
        check_parameters(loader);
        for (size_t i = 0; i < config->cluster_count && r == 0; i++)
                r = load_cluster(loader, i);
        if (r == 0)
                r = make_hints(policy);
        if (r == 0 && policy->tags != NULL)
                r = service_tags_finish(policy->tags);
        if (r == 0)
                r = policy_ports_make(policy, loader->diagnostics);
        if (r == 0)
                r = network_plan_new(policy, &policy->networks);
        drop_list_texts(policy);
        count_rules(policy);
        return r;
}

static struct policy *new_policy(struct config *config)
{
        struct policy *policy = calloc(1, sizeof(*policy));

        if (policy == NULL)
                return NULL;
        atomic_init(&policy->reference_count, 1);
        policy->config = config;
        policy->sources = prefix_set_new();
        policy->clusters = calloc(config->cluster_count + 1, sizeof(*policy->clusters)); /* never zero bytes */
        if (policy->sources == NULL || policy->clusters == NULL) {
                policy_free_parts(policy);
                return NULL;
        }
        policy->cluster_count = config->cluster_count;
        return policy;
}

int policy_load(struct config *config, struct diagnostics *diagnostics, struct policy **ret)
{
        size_t errors_before = diagnostics_error_count(diagnostics);
        struct loader loader = {
                .compiler = { .diagnostics = diagnostics,
                              .config_path = config->path,
                              .parameters = text_table_new(),
                              .missing_tags = text_table_new() },
                .diagnostics = diagnostics,
                .config = config,
                .policy = new_policy(config),
        };
        int r = loader.policy == NULL || loader.compiler.parameters == NULL || loader.compiler.missing_tags == NULL
                        ? -ENOMEM
                        : load(&loader);

        if (r == 0 && diagnostics_error_count(diagnostics) > errors_before)
                r = -EINVAL;
        text_table_free(loader.compiler.parameters);
        text_table_free(loader.compiler.missing_tags);
        if (r < 0) {
                policy_free_parts(loader.policy);
                return r;
        }
        *ret = loader.policy;
        return 0;
}

int policy_read(const char *path, struct diagnostics *diagnostics, struct policy **ret)
{
        struct config *config;
        struct policy *policy;
        int config_result = config_read_partial(path, diagnostics, &config);

        if (config == NULL)
                return config_result;
        int r = policy_load(config, diagnostics, &policy);
        if (r < 0) {
                config_free(config);
                return r;
        }
        if (config_result < 0) {
                policy_unref(policy);
                return config_result;
        }
        *ret = policy;
        return 0;
}
