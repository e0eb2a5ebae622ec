#include "policy/config_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config_sinks.h"
#include "policy/config_suggest.h"

void config_check_listener(struct config_reader *reader, const struct config_yaml_node *node, void *listener)
{
        struct config_listener *self = listener;

        (void)reader;
        self->enabled = true;
        self->place = node->place;
}

/* Number of addresses, counted no further than past what a pool may have. */
static size_t range_size(const struct config_address_range *range)
{
        struct net_address address = range->first;
        size_t size = 1;

        while (size <= CONFIG_MAX_POOL_ADDRESSES && !net_address_equal(&address, &range->last) &&
               net_address_increment(&address))
                size++;
        return size;
}

void config_check_pool(struct config_reader *reader, const struct config_yaml_node *node, void *pool)
{
        struct config_snat_pool *self = pool;
        size_t total = 0;

        for (size_t i = 0; i < self->range_count; i++)
                total += range_size(&self->ranges[i]);
        if (total > CONFIG_MAX_POOL_ADDRESSES)
                config_reader_error(reader, node->place,
                                    "snat_pools.addresses: %zu addresses in one pool: at most %d are allowed", total,
                                    CONFIG_MAX_POOL_ADDRESSES);
}

/* The element before index with the same text, or NULL. */
static const struct config_text *same_text_before(const struct config_text *texts, size_t index)
{
        for (size_t i = 0; i < index; i++)
                if (strcmp(texts[i].text, texts[index].text) == 0)
                        return &texts[i];
        return NULL;
}

static void report_repeated_features(struct config_reader *reader, const struct config_cluster *cluster)
{
        for (size_t i = 0; i < cluster->feature_count; i++)
                if (same_text_before(cluster->features, i) != NULL)
                        config_reader_error(reader, cluster->features[i].place,
                                            "clusters.features: '%s' is in the list already: keep it once",
                                            cluster->features[i].text);
}

/* core is always on: naming it is fine and means nothing. */
static void remove_core(struct config_cluster *cluster)
{
        size_t kept = 0;

        for (size_t i = 0; i < cluster->feature_count; i++) {
                if (strcmp(cluster->features[i].text, "core") == 0)
                        free(cluster->features[i].text);
                else
                        cluster->features[kept++] = cluster->features[i];
        }
        cluster->feature_count = kept;
}

void config_check_cluster(struct config_reader *reader, const struct config_yaml_node *node, void *cluster)
{
        struct config_cluster *self = cluster;

        self->place = node->place;
        report_repeated_features(reader, self);
        remove_core(self);
}

struct named_listener {
        const char *name;
        const struct config_listener *listener;
        bool any_address; /* takes its port at every address */
};

static bool listeners_collide(const struct named_listener *a, const struct named_listener *b)
{
        const struct net_endpoint *first = &a->listener->endpoint, *second = &b->listener->endpoint;

        if (!a->listener->enabled || !b->listener->enabled || first->port != second->port)
                return false;
        return a->any_address || b->any_address || net_address_equal(&first->address, &second->address);
}

static bool is_any_address(const struct config_listener *listener)
{
        static const struct net_address any = { 0 };

        return memcmp(listener->endpoint.address.bytes, any.bytes, sizeof(any.bytes)) == 0;
}

/* Whether the file has a listener, though perhaps an unreadable one: that is reported already. */
static bool listener_is_meant(const struct config_yaml_node *root)
{
        const struct config_yaml_node *listen = config_yaml_child(root, "listen");

        if (listen == NULL || listen->kind != CONFIG_YAML_MAPPING)
                return listen != NULL;
        return config_yaml_child(listen, "transparent") != NULL || config_yaml_child(listen, "proxy") != NULL ||
               config_yaml_child(listen, "dns") != NULL;
}

static void check_listeners(struct config_reader *reader, const struct config_yaml_node *root,
                            const struct config *config)
{
        struct named_listener listeners[] = {
                { "transparent", &config->transparent, true },
                { "proxy", &config->proxy, is_any_address(&config->proxy) },
                { "dns", &config->dns, is_any_address(&config->dns) },
                { "admin", &config->admin, is_any_address(&config->admin) },
                { "probe", &config->probe, is_any_address(&config->probe) },
        };

        if (!config->transparent.enabled && !config->proxy.enabled && !config->dns.enabled && !listener_is_meant(root))
                config_reader_error(reader, (struct config_place){ .line = 1, .column = 1 },
                                    "listen: nothing to do: give listen.transparent, listen.proxy or listen.dns");
        for (size_t i = 0; i < ARRAY_SIZE(listeners); i++)
                for (size_t j = 0; j < i; j++)
                        if (listeners_collide(&listeners[i], &listeners[j]))
                                config_reader_error(
                                        reader, listeners[i].listener->place,
                                        "listen.%s: port %u is taken by listen.%s on line %u: give it another one",
                                        listeners[i].name, listeners[i].listener->endpoint.port, listeners[j].name,
                                        listeners[j].listener->place.line);
}

/* By address, then by place, so that what comes second in the file is what gets reported. */
static int compare_ranges(const void *left, const void *right)
{
        const struct config_address_range *a = left, *b = right;
        int order = net_address_compare(&a->first, &b->first);

        if (order != 0)
                return order;
        if (a->place.line != b->place.line)
                return a->place.line < b->place.line ? -1 : 1;
        return a->place.column < b->place.column ? -1 : a->place.column > b->place.column;
}

static void report_overlaps(struct config_reader *reader, const struct config_address_range *ranges, size_t count)
{
        char text[NET_ADDRESS_TEXT_SIZE];
        const struct config_address_range *reach = NULL; /* the one that ends last so far */

        for (size_t i = 0; i < count; i++) {
                const struct config_address_range *range = &ranges[i];
                if (reach != NULL && reach->last.family == range->first.family &&
                    net_address_compare(&reach->last, &range->first) >= 0)
                        config_reader_error(
                                reader, range->place,
                                "snat_pools.addresses: %s is in the pools already, on line %u: keep it once",
                                net_address_format(&range->first, text), reach->place.line);
                if (reach == NULL || net_address_compare(&range->last, &reach->last) > 0)
                        reach = range;
        }
}

static void check_pool_addresses(struct config_reader *reader, const struct config *config)
{
        struct config_address_range *ranges = NULL;
        size_t count = 0;

        for (size_t i = 0; i < config->snat_pool_count; i++)
                for (size_t j = 0; j < config->snat_pools[i].range_count; j++) {
                        struct config_address_range *range =
                                config_reader_append(reader, &ranges, &count, sizeof(*ranges));
                        if (range != NULL)
                                *range = config->snat_pools[i].ranges[j];
                }
        if (count > 0)
                qsort(ranges, count, sizeof(*ranges), compare_ranges);
        report_overlaps(reader, ranges, count);
        free(ranges);
}

/* A name that could not be read has no text and is passed over. */
static bool same_name(const struct config_text *a, const struct config_text *b)
{
        return a->text != NULL && b->text != NULL && strcmp(a->text, b->text) == 0;
}

static void report_repeated_name(struct config_reader *reader, const char *what, const struct config_text *name,
                                 const struct config_text *first)
{
        config_reader_error(reader, name->place,
                            "%s.name: '%s' is the name of the one on line %u already: names are unique", what,
                            name->text, first->place.line);
}

static void check_names(struct config_reader *reader, const struct config *config)
{
        for (size_t i = 0; i < config->snat_pool_count; i++)
                for (size_t j = 0; j < i; j++)
                        if (same_name(&config->snat_pools[i].name, &config->snat_pools[j].name))
                                report_repeated_name(reader, "snat_pools", &config->snat_pools[i].name,
                                                     &config->snat_pools[j].name);
        for (size_t i = 0; i < config->cluster_count; i++)
                for (size_t j = 0; j < i; j++)
                        if (same_name(&config->clusters[i].name, &config->clusters[j].name))
                                report_repeated_name(reader, "clusters", &config->clusters[i].name,
                                                     &config->clusters[j].name);
        for (size_t i = 0; i < config->forward_zone_count; i++)
                for (size_t j = 0; j < i; j++)
                        if (config->forward_zones[i].zone.length > 0 &&
                            fqdn_equal(&config->forward_zones[i].zone, &config->forward_zones[j].zone))
                                config_reader_error(reader, config->forward_zones[i].place,
                                                    "resolver.forward_zones: '%s' is there twice: keep one of them",
                                                    config->forward_zones[i].zone.text);
}

/* False: a pool has no readable name, which is reported already and may be the one that is looked for. */
static bool pool_names_are_known(const struct config *config)
{
        for (size_t i = 0; i < config->snat_pool_count; i++)
                if (config->snat_pools[i].name.text == NULL)
                        return false;
        return config->snat_pool_count > 0;
}

static void find_pool(struct config_reader *reader, const struct config *config, struct config_cluster *cluster)
{
        struct config_suggest suggest = { .word = cluster->snat_pool_name.text };

        if (cluster->snat_pool_name.text == NULL || !pool_names_are_known(config))
                return;
        for (size_t i = 0; i < config->snat_pool_count; i++) {
                const char *name = config->snat_pools[i].name.text;
                if (name == NULL)
                        continue;
                config_suggest_offer(&suggest, name);
                if (strcmp(name, cluster->snat_pool_name.text) == 0) {
                        cluster->snat_pool = i;
                        return;
                }
        }
        if (suggest.best != NULL)
                config_reader_error(reader, cluster->snat_pool_name.place,
                                    "clusters.snat_pool: there is no pool '%s' in snat_pools: did you mean '%s'?",
                                    cluster->snat_pool_name.text, suggest.best);
        else
                config_reader_error(
                        reader, cluster->snat_pool_name.place,
                        "clusters.snat_pool: there is no pool '%s' in snat_pools: write the name of one of them",
                        cluster->snat_pool_name.text);
}

static int compare_prefixes(const void *left, const void *right)
{
        const struct config_prefix *a = left, *b = right;
        int order = net_address_compare(&a->prefix.address, &b->prefix.address);

        if (order != 0)
                return order;
        if (a->prefix.length != b->prefix.length)
                return a->prefix.length < b->prefix.length ? -1 : 1;
        return a->place.line < b->place.line ? -1 : a->place.line > b->place.line;
}

static bool same_prefix(const struct config_prefix *a, const struct config_prefix *b)
{
        return a->prefix.length == b->prefix.length && net_address_equal(&a->prefix.address, &b->prefix.address);
}

/* Sources may lie within each other (the longest prefix decides), but none may be there twice. */
static void check_sources(struct config_reader *reader, const struct config *config)
{
        struct config_prefix *sources = NULL;
        char text[NET_PREFIX_TEXT_SIZE];
        size_t count = 0;

        for (size_t i = 0; i < config->cluster_count; i++)
                for (size_t j = 0; j < config->clusters[i].source_count; j++) {
                        struct config_prefix *source = config_reader_append(reader, &sources, &count, sizeof(*sources));
                        if (source != NULL)
                                *source = config->clusters[i].sources[j];
                }
        if (count > 0)
                qsort(sources, count, sizeof(*sources), compare_prefixes);
        for (size_t i = 1; i < count; i++)
                if (same_prefix(&sources[i], &sources[i - 1]))
                        config_reader_error(
                                reader, sources[i].place,
                                "clusters.sources: %s is given already, on line %u: one source belongs to one cluster",
                                net_prefix_format(&sources[i].prefix, text), sources[i - 1].place.line);
        free(sources);
}

void config_check_whole(struct config_reader *reader, const struct config_yaml_node *root, struct config *config)
{
        check_listeners(reader, root, config);
        check_names(reader, config);
        check_pool_addresses(reader, config);
        for (size_t i = 0; i < config->cluster_count; i++)
                find_pool(reader, config, &config->clusters[i]);
        check_sources(reader, config);
        config_sinks_check_all(reader, config);
}
