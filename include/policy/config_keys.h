/*
 * The keys of the configuration as tables: one row a key, with its place in struct config, type, bounds, default and
 * one line of help. The reader walks them, the manual and conf/aksegressd.yaml are compared with them by tests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/config.h"

#define CONFIG_NOWHERE SIZE_MAX /* offset of a key whose value is checked but kept nowhere */
#define CONFIG_COMPLAINT_SIZE 512

struct config_key;
struct config_reader;
struct config_section;
struct config_yaml_node;

/* A text of the file to be turned into a value. */
struct config_input {
        const struct config_key *key;
        const char *text;
        struct config_place place;
        const char *path; /* of the configuration file */
};

/*
 * Turns a text into a value in *field (NULL: only check). One such function a type, see config_value.h.
 *
 * Returns 0; -EINVAL with what is wrong, and what would be right, in complaint; -ENOMEM.
 */
typedef int (*config_value_fn)(const struct config_input *input, void *field, char complaint[CONFIG_COMPLAINT_SIZE]);

enum config_shape {
        CONFIG_SHAPE_VALUE = 0, /* one text, read by .read */
        CONFIG_SHAPE_LIST,      /* a list of them: pointer at .offset, number at .count_offset */
        CONFIG_SHAPE_FLAGS,     /* a list of .choices: the n-th sets the n-th bool from .offset on */
        CONFIG_SHAPE_SECTION,   /* a mapping with the keys of .section, relative to .offset */
        CONFIG_SHAPE_SECTIONS,  /* a list of such mappings: like CONFIG_SHAPE_LIST */
        CONFIG_SHAPE_MAP,       /* a mapping whose keys are names of the operator's; each entry read by .read_entry */
};

/* One word of a value that is one of several. */
struct config_choice {
        const char *name; /* NULL ends the list */
};

typedef void (*config_entry_fn)(struct config_reader *reader, const struct config_key *key,
                                const struct config_yaml_node *node, void *entry);

struct config_key {
        const char *name;
        enum config_shape shape;
        config_value_fn read;
        config_entry_fn read_entry;
        const struct config_section *section;
        const struct config_choice *choices;
        size_t offset;
        size_t count_offset;
        size_t element_size;
        uint64_t minimum; /* of a number; milliseconds of a duration, bytes of a size */
        uint64_t maximum;
        size_t max_count; /* of a list */
        bool required;
        bool may_be_empty;        /* a list without elements is fine */
        const char *default_text; /* as one would write it; NULL: none, or absent is a state of its own */
        const char *not_served;   /* accepted with the warning "… is not served by this version and has no effect" */
        const char *help;
};

struct config_section {
        const char *name; /* "", "listen", "listen.proxy", "clusters": stands before the keys in messages */
        const struct config_key *keys;
        size_t key_count;
        /* Called when the mapping is read: what concerns several keys. NULL: nothing. */
        void (*check)(struct config_reader *reader, const struct config_yaml_node *node, void *object);
};

/* The keys of the file's top level; others hang below. */
const struct config_section *config_keys_root(void);

/* Calls back for each key with its full name ("timeouts.inspect", "clusters.features"), a section before its keys. */
typedef void (*config_keys_fn)(const char *name, const struct config_key *key, void *context);
void config_keys_each(config_keys_fn on_key, void *context);
