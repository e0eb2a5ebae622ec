/* What concerns several keys of the configuration: called by the reader for each section, and once for the whole. */
#pragma once

#include "policy/config_reader.h"

/* For sections, as config_section.check. */
void config_check_listener(struct config_reader *reader, const struct config_yaml_node *node, void *listener);
void config_check_pool(struct config_reader *reader, const struct config_yaml_node *node, void *pool);
void config_check_cluster(struct config_reader *reader, const struct config_yaml_node *node, void *cluster);

/* Names that must be unique or must exist, addresses in two pools, listeners in each other's way. Fills cluster.snat_pool. */
void config_check_whole(struct config_reader *reader, const struct config_yaml_node *root, struct config *config);
