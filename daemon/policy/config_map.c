#include "policy/config_map.h"

#include <errno.h>
#include <stdio.h>

#include "policy/config_network.h"
#include "policy/config_value.h"

#define NAME_SIZE 96
#define MAX_PARAMETER_VALUES 1000
#define MAX_ZONE_SERVERS 16

static const struct config_key parameter_values = {
        .name = "parameters",
        .shape = CONFIG_SHAPE_LIST,
        .read = config_value_parameter,
        .element_size = sizeof(struct config_text),
        .max_count = MAX_PARAMETER_VALUES,
};

static const struct config_key zone_servers = {
        .name = "forward_zones",
        .shape = CONFIG_SHAPE_LIST,
        .read = config_network_server,
        .element_size = sizeof(struct net_endpoint),
        .max_count = MAX_ZONE_SERVERS,
};

/* Reads the entry's key with a function that is for values. */
static void read_name(struct config_reader *reader, const char *section, config_value_fn read,
                      const struct config_yaml_node *node, void *field)
{
        struct config_input input = { .text = node->key, .place = node->key_place, .path = reader->path };
        char complaint[CONFIG_COMPLAINT_SIZE];
        int r = read(&input, field, complaint);

        if (r == -ENOMEM)
                reader->out_of_memory = true;
        else if (r < 0)
                config_reader_error(reader, node->key_place, "%s: %s", section, complaint);
}

static void read_single_parameter(struct config_reader *reader, const char *name, const struct config_yaml_node *node,
                                  struct config_parameter *parameter)
{
        void *value =
                config_reader_append(reader, &parameter->values, &parameter->value_count, sizeof(struct config_text));

        if (value != NULL && !config_reader_value(reader, name, &parameter_values, node, value))
                parameter->value_count--;
}

void config_map_parameter(struct config_reader *reader, const struct config_key *key,
                          const struct config_yaml_node *node, void *entry)
{
        struct config_parameter *parameter = entry;
        char name[NAME_SIZE];

        (void)key;
        snprintf(name, sizeof(name), "clusters.parameters.%.64s", node->key);
        read_name(reader, "clusters.parameters", config_value_parameter_name, node, &parameter->name);
        if (node->kind == CONFIG_YAML_SEQUENCE)
                config_reader_list(reader, name, &parameter_values, node, &parameter->values, &parameter->value_count);
        else
                read_single_parameter(reader, name, node, parameter);
}

void config_map_forward_zone(struct config_reader *reader, const struct config_key *key,
                             const struct config_yaml_node *node, void *entry)
{
        struct config_forward_zone *zone = entry;
        char name[NAME_SIZE];

        (void)key;
        snprintf(name, sizeof(name), "resolver.forward_zones.%.64s", node->key);
        zone->place = node->key_place;
        read_name(reader, "resolver.forward_zones", config_network_zone, node, &zone->zone);
        config_reader_list(reader, name, &zone_servers, node, &zone->servers, &zone->server_count);
}
