/*
 * YAML text as a tree of nodes that know where they stand. The only place that knows libfyaml. What a configuration has
 * no use for is refused: aliases, anchors, tags, a second document, keys that are not plain texts, control characters.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/diagnostic.h"
#include "policy/config.h"

#define CONFIG_YAML_MAX_DEPTH 16
#define CONFIG_YAML_MAX_NODES 500000
#define CONFIG_YAML_MAX_KEYS 1000         /* of one mapping */
#define CONFIG_YAML_MAX_INDICATORS 500000 /* brackets, commas and the like; libfyaml takes 350 bytes for each */
#define CONFIG_YAML_MAX_TEXT_LENGTH 4096  /* bytes of one key or value */

enum config_yaml_kind {
        CONFIG_YAML_EMPTY = 0, /* "key:" with nothing behind it, ~ or null */
        CONFIG_YAML_TEXT,
        CONFIG_YAML_SEQUENCE,
        CONFIG_YAML_MAPPING,
};

struct config_yaml_node {
        enum config_yaml_kind kind;
        struct config_place place;
        char *text;                     /* CONFIG_YAML_TEXT: one line, no control characters */
        char *key;                      /* child of a mapping */
        struct config_place key_place;  /* the same */
        bool is_duplicate;              /* its key stands in the mapping before: already reported, to be passed over */
        struct config_yaml_node *first; /* children in the order of the file, owned */
        struct config_yaml_node *last;
        struct config_yaml_node *next; /* sibling */
        struct config_yaml_node *parent;
        size_t child_count;
};

/*
 * Parses one document. Errors go to diagnostics; a duplicate key is an error that does not end the reading (the first
 * one counts).
 *
 * Returns 0 with a tree to be freed with config_yaml_free; -EINVAL: unreadable, errors were added; -ENOMEM.
 */
MUST_CHECK int config_yaml_parse(const char *path, const char *text, size_t length, struct diagnostics *diagnostics,
                                 struct config_yaml_node **ret);

/* Takes NULL. */
void config_yaml_free(struct config_yaml_node *node);

/* Sets every place of the tree to 0: the text was not from the file. */
void config_yaml_clear_places(struct config_yaml_node *node);

/* The child of a mapping with this key, or NULL. */
const struct config_yaml_node *config_yaml_child(const struct config_yaml_node *mapping, const char *key);

/* "a text", "a list", …: for messages. */
const char *config_yaml_kind_name(enum config_yaml_kind kind);
