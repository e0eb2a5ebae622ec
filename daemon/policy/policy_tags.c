#include "policy/policy_tags.h"

#include <errno.h>
#include <string.h>

/* The first cluster that is in another cloud is reported. */
static int check_cloud(const struct config *config, const struct service_tags *tags,
                       const struct diagnostic_place *place, struct diagnostics *diagnostics)
{
        for (size_t i = 0; i < config->cluster_count; i++) {
                const struct config_cluster *cluster = &config->clusters[i];
                struct rule_span cloud = { cluster->cloud.text, strlen(cluster->cloud.text) };
                if (rule_cloud_from_name(cloud) == service_tags_cloud(tags))
                        continue;
                diagnostics_error(diagnostics, place,
                                  "service_tags: '%s' is the file of cloud '%s', but cluster '%s' is in '%s'",
                                  config->service_tags.text, service_tags_cloud_name(tags), cluster->name.text,
                                  cluster->cloud.text);
                return -EINVAL;
        }
        return 0;
}

int policy_tags_read(const struct config *config, struct diagnostics *diagnostics, struct service_tags **ret)
{
        const struct config_text *path = &config->service_tags;
        struct diagnostic_place place = { config->path, path->place.line, path->place.column };
        struct service_tags *tags;

        if (path->text == NULL)
                return 0;
        int r = service_tags_read(path->text, &place, diagnostics, &tags);
        if (r < 0)
                return r;
        r = check_cloud(config, tags, &place, diagnostics);
        if (r < 0)
                service_tags_free(tags);
        else
                *ret = tags;
        return r;
}
