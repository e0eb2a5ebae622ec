#include "policy/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "policy/config_check.h"
#include "policy/config_reader.h"

static void free_texts(struct config_text *texts, size_t count)
{
        for (size_t i = 0; i < count; i++)
                free(texts[i].text);
        free(texts);
}

static void free_pool(struct config_snat_pool *pool)
{
        free(pool->name.text);
        free(pool->ranges);
}

static void free_cluster(struct config_cluster *cluster)
{
        for (size_t i = 0; i < cluster->parameter_count; i++) {
                free(cluster->parameters[i].name.text);
                free_texts(cluster->parameters[i].values, cluster->parameters[i].value_count);
        }
        free(cluster->parameters);
        free(cluster->name.text);
        free(cluster->sources);
        free(cluster->cloud.text);
        free(cluster->location.text);
        free_texts(cluster->features, cluster->feature_count);
        free(cluster->api_server.text);
        free(cluster->snat_pool_name.text);
        free_texts(cluster->allow, cluster->allow_count);
        free_texts(cluster->deny, cluster->deny_count);
        free(cluster->private_destinations);
}

static void free_sink(struct config_sink *sink)
{
        free(sink->path.text);
        free_texts(sink->clusters, sink->cluster_count);
        free(sink->resource_id.text);
        free(sink->server.text);
        free(sink->ca_file.text);
        free(sink->cert_file.text);
        free(sink->key_file.text);
        free(sink->server_name.text);
        free(sink->spool.text);
}

void config_free(struct config *config)
{
        if (config == NULL)
                return;
        for (size_t i = 0; i < config->sink_count; i++)
                free_sink(&config->sinks[i]);
        free(config->sinks);
        for (size_t i = 0; i < config->forward_zone_count; i++)
                free(config->forward_zones[i].servers);
        free(config->forward_zones);
        free(config->dns_servers);
        for (size_t i = 0; i < config->cluster_count; i++)
                free_cluster(&config->clusters[i]);
        free(config->clusters);
        for (size_t i = 0; i < config->snat_pool_count; i++)
                free_pool(&config->snat_pools[i]);
        free(config->snat_pools);
        for (size_t i = 0; i < config->allowlist_dir_count; i++)
                free(config->allowlist_dirs[i]);
        free(config->allowlist_dirs);
        free(config->service_tags.text);
        free(config->control_group.text);
        free(config->control_socket.text);
        free(config->path);
        free(config);
}

/* The tree into config. Errors are in the reader's diagnostics. */
static void fill(struct config_reader *reader, const struct config_yaml_node *root, struct config *config)
{
        if (root->kind != CONFIG_YAML_MAPPING) {
                config_reader_error(reader, root->place,
                                    "%s where a mapping is expected: a configuration is lines of 'key: value'",
                                    config_yaml_kind_name(root->kind));
                return;
        }
        config_reader_section(reader, config_keys_root(), root, config);
        config_check_whole(reader, root, config);
}

/* Takes out the elements that could not be read, whose errors are told already; so do the next three. */
static void drop_missing_texts(struct config_text *texts, size_t *count)
{
        size_t kept = 0;

        for (size_t i = 0; i < *count; i++)
                if (texts[i].text != NULL)
                        texts[kept++] = texts[i];
        *count = kept;
}

static void drop_incomplete_parameters(struct config_cluster *cluster)
{
        size_t kept = 0;

        for (size_t i = 0; i < cluster->parameter_count; i++) {
                struct config_parameter *parameter = &cluster->parameters[i];
                drop_missing_texts(parameter->values, &parameter->value_count);
                if (parameter->name.text != NULL)
                        cluster->parameters[kept++] = *parameter;
                else
                        free_texts(parameter->values, parameter->value_count);
        }
        cluster->parameter_count = kept;
}

static void drop_incomplete_clusters(struct config *config)
{
        size_t kept = 0;

        for (size_t i = 0; i < config->cluster_count; i++) {
                struct config_cluster *cluster = &config->clusters[i];
                if (cluster->name.text == NULL || cluster->cloud.text == NULL || cluster->location.text == NULL) {
                        free_cluster(cluster);
                        continue;
                }
                drop_missing_texts(cluster->features, &cluster->feature_count);
                drop_missing_texts(cluster->allow, &cluster->allow_count);
                drop_missing_texts(cluster->deny, &cluster->deny_count);
                drop_incomplete_parameters(cluster);
                config->clusters[kept++] = *cluster;
        }
        config->cluster_count = kept;
}

static void drop_missing_directories(struct config *config)
{
        size_t kept = 0;

        for (size_t i = 0; i < config->allowlist_dir_count; i++)
                if (config->allowlist_dirs[i] != NULL)
                        config->allowlist_dirs[kept++] = config->allowlist_dirs[i];
        config->allowlist_dir_count = kept;
}

/* The tree into a config, whole or without its bad parts. Returns 0 or -ENOMEM; errors are in diagnostics. */
static int read_tree(const char *path, const struct config_yaml_node *root, struct diagnostics *diagnostics,
                     struct config **ret)
{
        struct config_reader reader = { .path = path, .diagnostics = diagnostics };
        struct config *config = calloc(1, sizeof(*config));

        if (config == NULL)
                return -ENOMEM;
        config->path = strdup(path);
        fill(&reader, root, config);
        if (config->path == NULL || reader.out_of_memory) {
                config_free(config);
                return -ENOMEM;
        }
        *ret = config;
        return 0;
}

/* *ret_partial is set with -EINVAL, too, unless the text is no YAML. */
static int read_text(const char *path, const char *text, size_t length, struct diagnostics *diagnostics,
                     struct config **ret_partial)
{
        size_t errors_before = diagnostics_error_count(diagnostics);
        struct config_yaml_node *root = NULL;
        int r = config_yaml_parse(path, text, length, diagnostics, &root);

        if (r < 0)
                return r;
        r = read_tree(path, root, diagnostics, ret_partial);
        config_yaml_free(root);
        if (r < 0 || diagnostics_error_count(diagnostics) == errors_before)
                return r;
        drop_incomplete_clusters(*ret_partial);
        drop_missing_directories(*ret_partial);
        return -EINVAL;
}

/* Only a whole config goes out. */
static int keep_whole(int r, struct config *partial, struct config **ret)
{
        if (r == 0)
                *ret = partial;
        else
                config_free(partial);
        return r;
}

int config_read_text(const char *path, const char *text, size_t length, struct diagnostics *diagnostics,
                     struct config **ret)
{
        struct config *partial = NULL;
        int r = read_text(path, text, length, diagnostics, &partial);

        return keep_whole(r, partial, ret);
}

/* The whole file in memory of our own. -EFBIG: larger than a configuration may be. */
static int load_file(const char *path, char **ret, size_t *ret_length)
{
        int descriptor = open(path, O_RDONLY | O_CLOEXEC);
        char *buffer;
        int r;

        if (descriptor == -1)
                return -errno;
        buffer = malloc(CONFIG_MAX_FILE_BYTES + 1);
        r = buffer == NULL ? -ENOMEM : descriptor_read(descriptor, buffer, CONFIG_MAX_FILE_BYTES + 1, ret_length);
        close(descriptor);
        if (r == 0 && *ret_length > CONFIG_MAX_FILE_BYTES)
                r = -EFBIG;
        if (r < 0) {
                free(buffer);
                return r;
        }
        *ret = buffer;
        return 0;
}

int config_read_partial(const char *path, struct diagnostics *diagnostics, struct config **ret)
{
        struct diagnostic_place place = { .file = path };
        char *text = NULL;
        size_t length = 0;

        *ret = NULL;
        int r = load_file(path, &text, &length);

        if (r == -ENOMEM)
                return r;
        if (r == -EFBIG)
                diagnostics_error(diagnostics, &place,
                                  "larger than %u MiB, which no configuration needs: keep long lists of rules in files "
                                  "of their own",
                                  CONFIG_MAX_FILE_BYTES / 1024 / 1024);
        else if (r < 0)
                diagnostics_error(diagnostics, &place, "cannot be read: %s", strerror(-r));
        if (r < 0)
                return -EINVAL;
        r = read_text(path, text, length, diagnostics, ret);
        free(text);
        return r;
}

int config_read(const char *path, struct diagnostics *diagnostics, struct config **ret)
{
        struct config *partial;
        int r = config_read_partial(path, diagnostics, &partial);

        return keep_whole(r, partial, ret);
}
