#include "policy/config_reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config_suggest.h"

#define NAME_SIZE 128
#define SENTENCE_SIZE 900

void config_reader_error(struct config_reader *reader, struct config_place place, const char *format, ...)
{
        struct diagnostic_place where = { .file = reader->path, .line = place.line, .column = place.column };
        char sentence[SENTENCE_SIZE];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);
        diagnostics_error(reader->diagnostics, &where, "%s", sentence);
}

void config_reader_warning(struct config_reader *reader, struct config_place place, const char *format, ...)
{
        struct diagnostic_place where = { .file = reader->path, .line = place.line, .column = place.column };
        char sentence[SENTENCE_SIZE];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);
        diagnostics_warning(reader->diagnostics, &where, "%s", sentence);
}

/* The address of a member. Bytes, because the tables name members by offset. */
static void *member(void *object, size_t offset)
{
        unsigned char *bytes = object;

        return offset == CONFIG_NOWHERE ? NULL : bytes + offset;
}

static const char *full_name(const struct config_section *section, const char *key, char buffer[NAME_SIZE])
{
        snprintf(buffer, NAME_SIZE, "%s%s%.64s", section->name, section->name[0] == '\0' ? "" : ".", key);
        return buffer;
}

static const char *kind_advice(enum config_yaml_kind given, enum config_yaml_kind wanted)
{
        if (wanted == CONFIG_YAML_TEXT)
                return " (a text with [ ], { } or ': ' wants quotes)";
        if (wanted == CONFIG_YAML_MAPPING)
                return ": write it like { key: value }";
        return given == CONFIG_YAML_TEXT ? ": write it between [ and ]" : ": write it behind '- ', or between [ and ]";
}

/* Whether the node is of the kind that is wanted; if not, that is reported. */
static bool expect(struct config_reader *reader, const char *name, const struct config_yaml_node *node,
                   enum config_yaml_kind kind)
{
        if (node->kind == kind)
                return true;
        if (node->kind == CONFIG_YAML_EMPTY)
                config_reader_error(reader, node->place, "%s: nothing is written here: write %s, or leave the key out",
                                    name, config_yaml_kind_name(kind));
        else
                config_reader_error(reader, node->place, "%s: %s where %s is expected%s", name,
                                    config_yaml_kind_name(node->kind), config_yaml_kind_name(kind),
                                    kind_advice(node->kind, kind));
        return false;
}

/* text may be a default, which stands nowhere. */
static bool read_text(struct config_reader *reader, const char *name, const struct config_key *key, const char *text,
                      struct config_place place, void *field)
{
        struct config_input input = { .key = key, .text = text, .place = place, .path = reader->path };
        char complaint[CONFIG_COMPLAINT_SIZE];
        int r = key->read(&input, field, complaint);

        if (r == -ENOMEM)
                reader->out_of_memory = true;
        else if (r < 0)
                config_reader_error(reader, place, "%s: %s", name, complaint);
        return r == 0;
}

bool config_reader_value(struct config_reader *reader, const char *name, const struct config_key *key,
                         const struct config_yaml_node *node, void *field)
{
        if (!expect(reader, name, node, CONFIG_YAML_TEXT))
                return false;
        return read_text(reader, name, key, node->text, node->place, field);
}

void *config_reader_append(struct config_reader *reader, void *array_field, size_t *count, size_t element_size)
{
        unsigned char *array;

        memcpy(&array, array_field, sizeof(array));
        if ((*count & (*count - 1)) == 0) { /* Capacity doubles at 0, 1, 2, 4, 8, … */
                size_t capacity = *count == 0 ? 1 : *count * 2;
                unsigned char *grown = reallocarray(array, capacity, element_size);
                if (grown == NULL) {
                        reader->out_of_memory = true;
                        return NULL;
                }
                array = grown;
                memcpy(array_field, &array, sizeof(array));
        }
        memset(array + *count * element_size, 0, element_size);
        return array + (*count)++ * element_size;
}

/* Whether the list is one and has as many elements as it may. */
static bool list_is_fine(struct config_reader *reader, const char *name, const struct config_key *key,
                         const struct config_yaml_node *node)
{
        if (!expect(reader, name, node, CONFIG_YAML_SEQUENCE))
                return false;
        if (node->child_count == 0 && !key->may_be_empty) {
                config_reader_error(reader, node->place, "%s: the list is empty: write at least one element%s", name,
                                    key->required ? "" : ", or leave the key out");
                return false;
        }
        if (node->child_count > key->max_count) {
                config_reader_error(reader, node->place, "%s: %zu elements: at most %zu are allowed", name,
                                    node->child_count, key->max_count);
                return false;
        }
        return true;
}

void config_reader_list(struct config_reader *reader, const char *name, const struct config_key *key,
                        const struct config_yaml_node *node, void *array_field, size_t *ret_count)
{
        if (!list_is_fine(reader, name, key, node))
                return;
        for (const struct config_yaml_node *child = node->first; child != NULL; child = child->next) {
                void *element = config_reader_append(reader, array_field, ret_count, key->element_size);
                if (element == NULL)
                        return;
                if (!config_reader_value(reader, name, key, child, element))
                        (*ret_count)--;
        }
}

static void read_sections(struct config_reader *reader, const char *name, const struct config_key *key,
                          const struct config_yaml_node *node, void *array_field, size_t *count)
{
        if (!list_is_fine(reader, name, key, node))
                return;
        for (const struct config_yaml_node *child = node->first; child != NULL; child = child->next) {
                void *element;
                if (!expect(reader, name, child, CONFIG_YAML_MAPPING))
                        continue;
                element = config_reader_append(reader, array_field, count, key->element_size);
                if (element == NULL)
                        return;
                config_reader_section(reader, key->section, child, element);
        }
}

static void read_flags(struct config_reader *reader, const char *name, const struct config_key *key,
                       const struct config_yaml_node *node, bool *flags)
{
        if (!list_is_fine(reader, name, key, node))
                return;
        for (const struct config_yaml_node *child = node->first; child != NULL; child = child->next) {
                unsigned index;
                if (!config_reader_value(reader, name, key, child, &index))
                        continue;
                if (flags[index])
                        config_reader_error(reader, child->place, "%s: '%s' is in the list already: keep it once", name,
                                            child->text);
                flags[index] = true;
        }
}

/* Every entry becomes an element of an array, its key being read by read_entry. */
static void read_map(struct config_reader *reader, const char *name, const struct config_key *key,
                     const struct config_yaml_node *node, void *array_field, size_t *count)
{
        if (!expect(reader, name, node, CONFIG_YAML_MAPPING))
                return;
        for (const struct config_yaml_node *child = node->first; child != NULL; child = child->next) {
                void *entry;
                if (child->is_duplicate)
                        continue;
                entry = config_reader_append(reader, array_field, count, key->element_size);
                if (entry == NULL)
                        return;
                key->read_entry(reader, key, child, entry);
        }
}

static size_t *count_member(void *object, const struct config_key *key)
{
        return member(object, key->count_offset);
}

static void read_key(struct config_reader *reader, const char *name, const struct config_key *key,
                     const struct config_yaml_node *node, void *object)
{
        void *field = member(object, key->offset);

        switch (key->shape) {
        case CONFIG_SHAPE_VALUE:
                (void)config_reader_value(reader, name, key, node,
                                          field); /* Wrong ones are counted in the diagnostics. */
                break;
        case CONFIG_SHAPE_LIST:
                config_reader_list(reader, name, key, node, field, count_member(object, key));
                break;
        case CONFIG_SHAPE_FLAGS:
                read_flags(reader, name, key, node, field);
                break;
        case CONFIG_SHAPE_SECTION:
                if (expect(reader, name, node, CONFIG_YAML_MAPPING))
                        config_reader_section(reader, key->section, node, field);
                break;
        case CONFIG_SHAPE_SECTIONS:
                read_sections(reader, name, key, node, field, count_member(object, key));
                break;
        case CONFIG_SHAPE_MAP:
                read_map(reader, name, key, node, field, count_member(object, key));
                break;
        }
        if (key->not_served != NULL)
                config_reader_warning(reader, node->key_place, "%s %s", name, key->not_served);
}

static const struct config_key *find_key(const struct config_section *section, const char *name)
{
        for (size_t i = 0; i < section->key_count; i++)
                if (strcmp(section->keys[i].name, name) == 0)
                        return &section->keys[i];
        return NULL;
}

static void list_keys(const struct config_section *section, char *buffer, size_t size)
{
        size_t used = 0;

        for (size_t i = 0; i < section->key_count && used < size; i++)
                used += (size_t)snprintf(buffer + used, size - used, "%s%s", i == 0 ? "" : ", ", section->keys[i].name);
}

static void report_unknown_key(struct config_reader *reader, const struct config_section *section,
                               const struct config_yaml_node *node)
{
        struct config_suggest suggest = { .word = node->key };
        char name[NAME_SIZE], known[512];

        full_name(section, node->key, name);
        for (size_t i = 0; i < section->key_count; i++)
                config_suggest_offer(&suggest, section->keys[i].name);
        if (suggest.best != NULL) {
                config_reader_error(reader, node->key_place, "%s: unknown key: did you mean '%s'?", name, suggest.best);
                return;
        }
        list_keys(section, known, sizeof(known));
        config_reader_error(reader, node->key_place, "%s: unknown key: known here are %s", name, known);
}

/* A default list is written as YAML in the table, and places in it mean nothing. */
static void read_default_list(struct config_reader *reader, const char *name, const struct config_key *key,
                              void *object)
{
        struct config_reader nowhere = { .path = reader->path, .diagnostics = reader->diagnostics };
        struct config_yaml_node *node = NULL;

        if (config_yaml_parse(reader->path, key->default_text, strlen(key->default_text), reader->diagnostics, &node) <
            0) {
                reader->out_of_memory = true; /* Tests read every default: nothing else can be wrong with it. */
                return;
        }
        config_yaml_clear_places(node);
        read_key(&nowhere, name, key, node, object);
        reader->out_of_memory = reader->out_of_memory || nowhere.out_of_memory;
        config_yaml_free(node);
}

static void read_default(struct config_reader *reader, const char *name, const struct config_key *key, void *object)
{
        void *field = member(object, key->offset);
        struct config_place nowhere = { 0 };

        if (key->shape == CONFIG_SHAPE_SECTION && key->default_text != NULL)
                config_reader_section(reader, key->section, NULL, field);
        else if (key->shape == CONFIG_SHAPE_VALUE && key->default_text != NULL)
                (void)read_text(reader, name, key, key->default_text, nowhere, field); /* The table's own text. */
        else if (key->default_text != NULL)
                read_default_list(reader, name, key, object);
}

static void read_absent_key(struct config_reader *reader, const struct config_section *section,
                            const struct config_key *key, const struct config_yaml_node *node, void *object)
{
        struct config_place place = { 0 };
        char name[NAME_SIZE];

        if (node != NULL)
                place = node->place;
        full_name(section, key->name, name);
        if (key->required)
                config_reader_error(reader, place, "%s is missing: %s", name, key->help);
        else
                read_default(reader, name, key, object);
}

/* node NULL: the section is not in the file and all of its keys get their defaults. */
void config_reader_section(struct config_reader *reader, const struct config_section *section,
                           const struct config_yaml_node *node, void *object)
{
        char name[NAME_SIZE];

        for (const struct config_yaml_node *child = node == NULL ? NULL : node->first; child != NULL;
             child = child->next) {
                const struct config_key *key = find_key(section, child->key);
                if (child->is_duplicate)
                        continue;
                if (key == NULL)
                        report_unknown_key(reader, section, child);
                else
                        read_key(reader, full_name(section, key->name, name), key, child, object);
        }
        for (size_t i = 0; i < section->key_count; i++)
                if (node == NULL || config_yaml_child(node, section->keys[i].name) == NULL)
                        read_absent_key(reader, section, &section->keys[i], node, object);
        if (section->check != NULL && node != NULL)
                section->check(reader, node, object);
}
