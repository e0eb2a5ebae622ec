/* The two mappings of the configuration whose keys are the operator's own names. Both are config_entry_fn. */
#pragma once

#include "policy/config_reader.h"

/* "vault_name: contoso-kv" or "vault_name: [a, b]" into struct config_parameter. */
void config_map_parameter(struct config_reader *reader, const struct config_key *key,
                          const struct config_yaml_node *node, void *entry);

/* "internal.contoso.com: [10.0.0.53]" into struct config_forward_zone. */
void config_map_forward_zone(struct config_reader *reader, const struct config_key *key,
                             const struct config_yaml_node *node, void *entry);
