#include "policy/config_yaml.h"

#include <errno.h>
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

struct builder {
        const char *path;
        struct diagnostics *diagnostics;
        struct config_yaml_node *root;
        struct config_yaml_node *open; /* the innermost list or mapping that has not ended */
        char *key;                     /* of the value that comes next in a mapping, owned */
        struct config_place key_place;
        struct config_place last_place;
        bool key_is_duplicate;
        unsigned depth;
        unsigned documents;
        size_t node_count;
};

static struct diagnostic_place file_place(const char *path, struct config_place place)
{
        return (struct diagnostic_place){ .file = path, .line = place.line, .column = place.column };
}

#define BUILDER_ERROR(builder, where, ...)                                                                             \
        do {                                                                                                           \
                struct diagnostic_place error_place = file_place((builder)->path, where);                              \
                diagnostics_error((builder)->diagnostics, &error_place, __VA_ARGS__);                                  \
        } while (0)

/* libfyaml counts from 0. What is empty has no mark: it stands where the last thing did, which is its key if it has one. */
static struct config_place event_place(struct builder *builder, struct fy_event *event)
{
        const struct fy_mark *mark = fy_event_start_mark(event);

        if (mark != NULL)
                builder->last_place =
                        (struct config_place){ .line = (unsigned)mark->line + 1, .column = (unsigned)mark->column + 1 };
        return builder->last_place;
}

static struct config_yaml_node *node_new(enum config_yaml_kind kind, struct config_place place)
{
        struct config_yaml_node *node = calloc(1, sizeof(*node));

        if (node != NULL) {
                node->kind = kind;
                node->place = place;
        }
        return node;
}

/* Hangs the node into the tree under the pending key, which it takes over. */
static int attach(struct builder *builder, struct config_yaml_node *node)
{
        struct config_yaml_node *parent = builder->open;

        if (++builder->node_count > CONFIG_YAML_MAX_NODES) {
                BUILDER_ERROR(builder, node->place,
                              "more than %u values: keep long lists of rules in files of their own (file:PATH)",
                              CONFIG_YAML_MAX_NODES);
                config_yaml_free(node);
                return -EINVAL;
        }
        node->key = builder->key;
        node->key_place = builder->key_place;
        node->is_duplicate = builder->key_is_duplicate;
        builder->key = NULL;
        builder->key_is_duplicate = false;
        node->parent = parent;
        if (parent == NULL) {
                builder->root = node;
                return 0;
        }
        if (parent->last == NULL)
                parent->first = node;
        else
                parent->last->next = node;
        parent->last = node;
        parent->child_count++;
        return 0;
}

static bool text_is_printable(const char *text, size_t length)
{
        for (size_t i = 0; i < length; i++)
                if ((text[i] >= 0 && text[i] < ' ') || text[i] == 0x7f)
                        return false;
        return true;
}

/* The text of a key or value as a string of our own. */
static int copy_text(struct builder *builder, struct fy_token *token, struct config_place place, char **ret)
{
        size_t length = 0;
        const char *text = fy_token_get_text(token, &length);

        if (text == NULL) { /* an empty key or value has none */
                text = "";
                length = 0;
        }
        if (length > CONFIG_YAML_MAX_TEXT_LENGTH) {
                BUILDER_ERROR(builder, place, "a text of %zu bytes: at most %d are allowed", length,
                              CONFIG_YAML_MAX_TEXT_LENGTH);
                return -EINVAL;
        }
        if (!text_is_printable(text, length)) {
                BUILDER_ERROR(builder, place, "a text with a line break or control character: write it on one line");
                return -EINVAL;
        }
        *ret = strndup(text, length);
        return *ret == NULL ? -ENOMEM : 0;
}

static int take_key(struct builder *builder, struct fy_event *event)
{
        struct config_place place = event_place(builder, event);

        if (builder->open->child_count >= CONFIG_YAML_MAX_KEYS) {
                BUILDER_ERROR(builder, place, "more than %d keys in one mapping", CONFIG_YAML_MAX_KEYS);
                return -EINVAL;
        }
        builder->key_place = place;
        int r = copy_text(builder, event->scalar.value, place, &builder->key);
        if (r < 0)
                return r;
        const struct config_yaml_node *first = config_yaml_child(builder->open, builder->key);
        builder->key_is_duplicate = first != NULL;
        if (first != NULL)
                BUILDER_ERROR(builder, place, "duplicate key '%s': it is already set on line %u; keep one of them",
                              builder->key, first->key_place.line);
        return 0;
}

static bool scalar_is_empty(struct fy_event *event)
{
        size_t length = 0;
        const char *text;

        if (event->scalar.value == NULL)
                return true;
        if (fy_token_scalar_style(event->scalar.value) != FYSS_PLAIN)
                return false;
        text = fy_token_get_text(event->scalar.value, &length);
        return text == NULL || length == 0 || (length == 1 && text[0] == '~') ||
               (length == 4 && memcmp(text, "null", 4) == 0);
}

static int take_scalar(struct builder *builder, struct fy_event *event)
{
        struct config_yaml_node *node;
        int r;

        if (builder->open != NULL && builder->open->kind == CONFIG_YAML_MAPPING && builder->key == NULL)
                return take_key(builder, event);
        node = node_new(CONFIG_YAML_EMPTY, event_place(builder, event));
        if (node == NULL)
                return -ENOMEM;
        if (!scalar_is_empty(event)) {
                node->kind = CONFIG_YAML_TEXT;
                r = copy_text(builder, event->scalar.value, node->place, &node->text);
                if (r < 0) {
                        config_yaml_free(node);
                        return r;
                }
        }
        return attach(builder, node);
}

static int open_collection(struct builder *builder, struct fy_event *event, enum config_yaml_kind kind)
{
        struct config_place place = event_place(builder, event);
        struct config_yaml_node *node;
        int r;

        if (builder->open != NULL && builder->open->kind == CONFIG_YAML_MAPPING && builder->key == NULL) {
                BUILDER_ERROR(builder, place, "%s where a key is expected: keys are plain words",
                              config_yaml_kind_name(kind));
                return -EINVAL;
        }
        if (builder->depth >= CONFIG_YAML_MAX_DEPTH) {
                BUILDER_ERROR(builder, place, "nested deeper than %d levels, which no key needs",
                              CONFIG_YAML_MAX_DEPTH);
                return -EINVAL;
        }
        node = node_new(kind, place);
        if (node == NULL)
                return -ENOMEM;
        r = attach(builder, node);
        if (r < 0)
                return r;
        builder->open = node;
        builder->depth++;
        return 0;
}

static void close_collection(struct builder *builder)
{
        builder->open = builder->open->parent;
        builder->depth--;
}

static int refuse_event(struct builder *builder, struct fy_event *event, const char *what)
{
        BUILDER_ERROR(builder, event_place(builder, event), "%s", what);
        return -EINVAL;
}

#define NO_TAGS                                                                                                           \
        "a YAML tag or anchor ('!…', '&…') is not understood here: write plain values, and quote a text that begins " \
        "so"
#define NO_ALIASES                                                                                                     \
        "a YAML alias ('*…') is not understood here: write the value out, and quote a text that begins with '*'"
#define NO_DOCUMENTS "a second YAML document ('---') begins here: a configuration is one document"

static int start_document(struct builder *builder, struct fy_event *event)
{
        if (++builder->documents > 1)
                return refuse_event(builder, event, NO_DOCUMENTS);
        return 0;
}

static int take_event(struct builder *builder, struct fy_event *event)
{
        switch (event->type) {
        case FYET_NONE:
        case FYET_STREAM_START:
        case FYET_STREAM_END:
        case FYET_DOCUMENT_END:
                return 0;
        case FYET_DOCUMENT_START:
                return start_document(builder, event);
        case FYET_MAPPING_START:
                if (event->mapping_start.anchor != NULL || event->mapping_start.tag != NULL)
                        return refuse_event(builder, event, NO_TAGS);
                return open_collection(builder, event, CONFIG_YAML_MAPPING);
        case FYET_SEQUENCE_START:
                if (event->sequence_start.anchor != NULL || event->sequence_start.tag != NULL)
                        return refuse_event(builder, event, NO_TAGS);
                return open_collection(builder, event, CONFIG_YAML_SEQUENCE);
        case FYET_MAPPING_END:
        case FYET_SEQUENCE_END:
                close_collection(builder);
                return 0;
        case FYET_SCALAR:
                if (event->scalar.anchor != NULL || event->scalar.tag != NULL)
                        return refuse_event(builder, event, NO_TAGS);
                return take_scalar(builder, event);
        case FYET_ALIAS:
                return refuse_event(builder, event, NO_ALIASES);
        }
        return 0;
}

static int build(struct builder *builder, struct fy_parser *parser)
{
        struct fy_event *event;
        int r = 0;

        while (r == 0 && (event = fy_parser_parse(parser)) != NULL) {
                r = take_event(builder, event);
                fy_parser_event_free(parser, event);
        }
        return r;
}

/* libfyaml would print what it collects; its words are taken from fy_diag_errors_iterate instead. */
static void print_nothing(struct fy_diag *diag, void *user, const char *text, size_t length)
{
        (void)diag;
        (void)user;
        (void)text;
        (void)length;
}

static struct fy_diag *collecting_diag_new(void)
{
        struct fy_diag_cfg settings;
        struct fy_diag *diag;

        fy_diag_cfg_default(&settings);
        settings.fp = NULL;
        settings.output_fn = print_nothing;
        settings.level = FYET_ERROR;
        settings.colorize = false;
        diag = fy_diag_create(&settings);
        if (diag != NULL)
                fy_diag_set_collect_errors(diag, true);
        return diag;
}

/* Line of the first tab before the first other character of a line; 0: none. YAML allows none there. */
static unsigned tab_indented_line(const char *text, size_t length)
{
        unsigned line = 1;
        bool in_indentation = true;

        for (size_t i = 0; i < length; i++) {
                if (text[i] == '\t' && in_indentation)
                        return line;
                if (text[i] == '\n') {
                        line++;
                        in_indentation = true;
                } else if (text[i] != ' ') {
                        in_indentation = false;
                }
        }
        return 0;
}

/* Whether libfyaml found errors; they are added. */
static bool report_syntax_errors(struct builder *builder, struct fy_diag *diag, const char *text, size_t length)
{
        unsigned tab_line = tab_indented_line(text, length);
        struct fy_diag_error *error;
        void *iterator = NULL;
        bool found = false;

        if (!fy_diag_got_error(diag))
                return false;
        if (tab_line > 0)
                BUILDER_ERROR(builder, ((struct config_place){ .line = tab_line, .column = 1 }),
                              "a tab in the indentation: YAML wants spaces");
        while ((error = fy_diag_errors_iterate(diag, &iterator)) != NULL) {
                struct config_place place = { .line = (unsigned)error->line, .column = (unsigned)error->column };
                BUILDER_ERROR(builder, place, "not readable as YAML: %s", error->msg);
                found = true;
        }
        if (!found)
                BUILDER_ERROR(builder, (struct config_place){ 0 }, "not readable as YAML");
        return true;
}

static int parse_with(struct builder *builder, struct fy_diag *diag, const char *text, size_t length)
{
        struct fy_parse_cfg settings = { .flags = FYPCF_DEFAULT_PARSE, .diag = diag };
        struct fy_parser *parser = fy_parser_create(&settings);
        int r;

        if (parser == NULL)
                return -ENOMEM;
        r = fy_parser_set_string(parser, text, length) == 0 ? build(builder, parser) : -ENOMEM;
        if (report_syntax_errors(builder, diag, text, length) && r == 0)
                r = -EINVAL;
        fy_parser_destroy(parser);
        return r;
}

/* Length of the UTF-8 sequence at bytes (RFC 3629), 0: it is none. */
static size_t utf8_length(const unsigned char *bytes, size_t left)
{
        static const struct {
                unsigned char first, last, second_first, second_last;
                size_t length;
        } forms[] = {
                { 0x00, 0x7f, 0x00, 0xff, 1 }, { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
                { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
                { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                if (bytes[0] < forms[i].first || bytes[0] > forms[i].last)
                        continue;
                if (forms[i].length == 1)
                        return 1;
                if (left < forms[i].length || bytes[1] < forms[i].second_first || bytes[1] > forms[i].second_last)
                        return 0;
                for (size_t j = 2; j < forms[i].length; j++)
                        if (bytes[j] < 0x80 || bytes[j] > 0xbf)
                                return 0;
                return forms[i].length;
        }
        return 0;
}

/* What is looked at before libfyaml is, and where the look has come to. */
struct scan {
        struct config_place place;
        size_t indicators;
};

/* Whether the character is one that a configuration may have here; if not, that is reported. */
static bool character_is_fine(struct builder *builder, struct scan *scan, unsigned char character)
{
        if ((character < ' ' && character != '\t' && character != '\n' && character != '\r') || character == 0x7f) {
                BUILDER_ERROR(builder, scan->place, "control character 0x%02x: only text is allowed here", character);
                return false;
        }
        if (character == '%' && scan->place.column == 1) {
                BUILDER_ERROR(builder, scan->place,
                              "a line that begins with '%%', a YAML directive: a configuration needs none");
                return false;
        }
        if (character != '\0' && strchr("[]{},&*?", character) != NULL &&
            ++scan->indicators > CONFIG_YAML_MAX_INDICATORS) {
                BUILDER_ERROR(
                        builder, scan->place,
                        "more than %d brackets and commas: keep long lists of rules in files of their own (file:PATH)",
                        CONFIG_YAML_MAX_INDICATORS);
                return false;
        }
        return true;
}

/*
 * libfyaml 0.7 takes a byte that is not UTF-8 for the end of the input, without an error: half a configuration would be
 * in force. NUL and other control characters end lines and texts in ways that nobody sees. Its time for
 * a line of '%' grows with the square of its length, and it reads ahead without bound behind a bracket, so that 8 MiB of
 * them cost it 3 GiB.
 */
static bool text_is_fine(struct builder *builder, const char *text, size_t length)
{
        struct scan scan = { .place = { .line = 1, .column = 1 } };

        for (size_t i = 0; i < length;) {
                unsigned char first = (unsigned char)text[i];
                const void *here = text + i;
                size_t size = utf8_length(here, length - i);
                if (size == 0) {
                        BUILDER_ERROR(builder, scan.place, "byte 0x%02x is not UTF-8: save the file in that encoding",
                                      first);
                        return false;
                }
                if (!character_is_fine(builder, &scan, first))
                        return false;
                if (i > 0 || size != 3 || memcmp(text, "\xef\xbb\xbf", 3) != 0) /* a byte order mark takes no column */
                        scan.place.column++;
                if (first == '\r')
                        scan.place.column = 1;
                if (first == '\n') {
                        scan.place.line++;
                        scan.place.column = 1;
                }
                i += size;
        }
        return true;
}

static int parse_text(struct builder *builder, const char *text, size_t length)
{
        struct fy_diag *diag;
        int r;

        if (!text_is_fine(builder, text, length))
                return -EINVAL;
        diag = collecting_diag_new();
        if (diag == NULL)
                return -ENOMEM;
        r = parse_with(builder, diag, text, length);
        fy_diag_destroy(diag);
        if (r == 0 && builder->root == NULL) {
                BUILDER_ERROR(builder, ((struct config_place){ .line = 1, .column = 1 }),
                              "the file holds nothing: at least snat_pools, clusters and one listener are needed");
                return -EINVAL;
        }
        return r;
}

int config_yaml_parse(const char *path, const char *text, size_t length, struct diagnostics *diagnostics,
                      struct config_yaml_node **ret)
{
        struct builder builder = { .path = path, .diagnostics = diagnostics };
        int r = parse_text(&builder, text, length);

        free(builder.key);
        if (r < 0) {
                config_yaml_free(builder.root);
                return r;
        }
        *ret = builder.root;
        return 0;
}

void config_yaml_free(struct config_yaml_node *node)
{
        struct config_yaml_node *child;

        if (node == NULL)
                return;
        while ((child = node->first) != NULL) { /* Bounded by CONFIG_YAML_MAX_DEPTH. */
                node->first = child->next;
                config_yaml_free(child);
        }
        free(node->text);
        free(node->key);
        free(node);
}

void config_yaml_clear_places(struct config_yaml_node *node)
{
        node->place = (struct config_place){ 0 };
        node->key_place = (struct config_place){ 0 };
        for (struct config_yaml_node *child = node->first; child != NULL; child = child->next)
                config_yaml_clear_places(child);
}

const struct config_yaml_node *config_yaml_child(const struct config_yaml_node *mapping, const char *key)
{
        const struct config_yaml_node *child = mapping->first;

        while (child != NULL && strcmp(child->key, key) != 0)
                child = child->next;
        return child;
}

const char *config_yaml_kind_name(enum config_yaml_kind kind)
{
        static const char *const names[] = {
                [CONFIG_YAML_EMPTY] = "nothing",
                [CONFIG_YAML_TEXT] = "a single value",
                [CONFIG_YAML_SEQUENCE] = "a list",
                [CONFIG_YAML_MAPPING] = "a mapping",
        };

        return names[kind];
}
