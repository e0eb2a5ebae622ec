/* Walks a YAML tree along the tables of config_keys.h and fills a struct config; collects every error on the way. */
#pragma once

#include <stdbool.h>

#include "base/diagnostic.h"
#include "policy/config_keys.h"
#include "policy/config_yaml.h"

struct config_reader {
        const char *path;                /* of the configuration file, borrowed */
        struct diagnostics *diagnostics; /* borrowed */
        bool out_of_memory;
};

/*
 * Reads a mapping into object, zeroed memory of the section's struct. Absent keys get their defaults; node NULL: all are
 * absent.
 */
void config_reader_section(struct config_reader *reader, const struct config_section *section,
                           const struct config_yaml_node *node, void *object);

/* Reads one list of values: array and count as config_key says, here given directly. */
void config_reader_list(struct config_reader *reader, const char *name, const struct config_key *key,
                        const struct config_yaml_node *node, void *array_field, size_t *ret_count);

/* One value into field. False: it was wrong, and that is reported under name. */
bool config_reader_value(struct config_reader *reader, const char *name, const struct config_key *key,
                         const struct config_yaml_node *node, void *field);

/* Makes room for one more element at the end of an array that is a pointer at array_field. NULL: out of memory. */
void *config_reader_append(struct config_reader *reader, void *array_field, size_t *count, size_t element_size);

void config_reader_error(struct config_reader *reader, struct config_place place, const char *format, ...)
        PRINTF_LIKE(3, 4);
void config_reader_warning(struct config_reader *reader, struct config_place place, const char *format, ...)
        PRINTF_LIKE(3, 4);
