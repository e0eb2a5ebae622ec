#include "records/sink_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sink_filter {
        bool takes[DECISION_CLASS_COUNT];
        char **clusters;
        size_t cluster_count;
};

int sink_filter_new(const struct config_sink *config, struct sink_filter **ret)
{
        struct sink_filter *filter = calloc(1, sizeof(*filter));

        if (filter == NULL)
                return -ENOMEM;
        filter->takes[DECISION_CLASS_DENY] = config->takes_deny;
        filter->takes[DECISION_CLASS_ALLOW] = config->takes_allow && config->allow_at_end;
        filter->takes[DECISION_CLASS_START] = config->takes_allow && config->allow_at_start;
        filter->takes[DECISION_CLASS_ALARM] = true;
        filter->clusters = calloc(config->cluster_count + 1, sizeof(*filter->clusters));
        if (filter->clusters == NULL)
                goto fail;
        for (; filter->cluster_count < config->cluster_count; filter->cluster_count++) {
                filter->clusters[filter->cluster_count] = strdup(config->clusters[filter->cluster_count].text);
                if (filter->clusters[filter->cluster_count] == NULL)
                        goto fail;
        }
        *ret = filter;
        return 0;
fail:
        sink_filter_free(filter);
        return -ENOMEM;
}

void sink_filter_free(struct sink_filter *filter)
{
        if (filter == NULL)
                return;
        for (size_t i = 0; i < filter->cluster_count; i++)
                free(filter->clusters[i]);
        free(filter->clusters);
        free(filter);
}

bool sink_filter_takes_class(const struct sink_filter *filter, enum decision_class class)
{
        return filter->takes[class];
}

bool sink_filter_takes(const struct sink_filter *filter, const struct decision *decision)
{
        enum decision_class class = decision_class(decision);

        /* What is audited ends among the denials: a start would be alone elsewhere. */
        if (decision->event == DECISION_EVENT_START && decision->action == POLICY_AUDIT &&
            !filter->takes[DECISION_CLASS_DENY])
                return false;
        if (class == DECISION_CLASS_ALARM || !filter->takes[class] || filter->cluster_count == 0)
                return filter->takes[class];
        for (size_t i = 0; i < filter->cluster_count; i++)
                /* A decision holds a longer name cut short. */
                if (strncmp(filter->clusters[i], decision->cluster, sizeof(decision->cluster) - 1) == 0)
                        return true;
        return false;
}
