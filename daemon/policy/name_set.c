#include "policy/name_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/text_table.h"

/*
 * Patterns are keys of one table, `*.example.com` as ".example.com". A look-up probes for the name itself, for each
 * suffix whose number of labels occurs among the patterns that begin with `*.`, and, for each shape of patterns with an
 * inner `*`, for the name with `*` written into those places.
 */
struct shape {
        uint8_t labels; /* without the `*` at the front */
        bool open;      /* `*` at the front: more labels may stand to the left */
        uint64_t stars; /* bit i: the label i places from the right is `*` */
};

struct name_set {
        struct text_table *table;
        uint64_t suffix_labels[2]; /* bit n: some "*.suffix" has a suffix of n labels */
        struct shape shapes[NAME_SET_MAX_SHAPES];
        size_t shape_count;
};

/* Where the labels of a name begin, counted from the right; starts[count] is one before the text. */
struct labels {
        const char *starts[FQDN_MAX_LABELS + 1];
        const char *end;
        size_t count;
};

struct name_set *name_set_new(void)
{
        struct name_set *set = calloc(1, sizeof(*set));

        if (set == NULL)
                return NULL;
        set->table = text_table_new();
        if (set->table == NULL) {
                free(set);
                return NULL;
        }
        return set;
}

void name_set_free(struct name_set *set)
{
        if (set == NULL)
                return;
        text_table_free(set->table);
        free(set);
}

static void split_labels(const char *text, size_t length, struct labels *ret)
{
        ret->count = 0;
        ret->end = text + length;
        if (length == 0)
                return;
        for (size_t i = length; i-- > 0;)
                if (text[i] == '.')
                        ret->starts[ret->count++] = text + i + 1;
        ret->starts[ret->count++] = text;
}

/* The length of label i with the dot behind it, if there is one. */
static size_t label_length(const struct labels *labels, size_t i)
{
        const char *end = i == 0 ? labels->end : labels->starts[i - 1] - 1;

        return (size_t)(end - labels->starts[i]);
}

static bool label_is_star(const struct labels *labels, size_t i)
{
        return label_length(labels, i) == 1 && labels->starts[i][0] == '*';
}

/* Returns -E2BIG when a `*` is too far from the right to be noted. */
static int shape_of(const struct labels *labels, struct shape *ret)
{
        struct shape shape = { .labels = (uint8_t)labels->count };

        if (label_is_star(labels, labels->count - 1)) {
                shape.open = true;
                shape.labels--;
        }
        for (size_t i = 0; i < shape.labels; i++) {
                if (!label_is_star(labels, i))
                        continue;
                if (i >= 64)
                        return -E2BIG;
                shape.stars |= UINT64_C(1) << i;
        }
        *ret = shape;
        return 0;
}

static bool shape_is_known(const struct name_set *set, const struct shape *shape)
{
        for (size_t i = 0; i < set->shape_count; i++)
                if (set->shapes[i].labels == shape->labels && set->shapes[i].open == shape->open &&
                    set->shapes[i].stars == shape->stars)
                        return true;
        return false;
}

static unsigned star_count(uint64_t stars)
{
        return (unsigned)__builtin_popcountll(stars);
}

static unsigned shape_specificity(const struct shape *shape)
{
        return 2 * (shape->labels - star_count(shape->stars)) + (shape->open ? 0 : 1);
}

/* Kept with the most specific first. */
static void insert_shape(struct name_set *set, const struct shape *shape)
{
        size_t i = set->shape_count++;

        for (; i > 0 && shape_specificity(&set->shapes[i - 1]) < shape_specificity(shape); i--)
                set->shapes[i] = set->shapes[i - 1];
        set->shapes[i] = *shape;
}

static void note_shape(struct name_set *set, const struct shape *shape)
{
        if (shape->stars != 0 && !shape_is_known(set, shape))
                insert_shape(set, shape);
        else if (shape->stars == 0 && shape->open)
                set->suffix_labels[shape->labels / 64] |= UINT64_C(1) << shape->labels % 64;
}

int name_set_add(struct name_set *set, const char *pattern, size_t length, uint32_t *ret_entry)
{
        struct labels labels;
        struct shape shape;
        int r;

        if (length == 0 || length > FQDN_MAX_LENGTH)
                return -EINVAL;
        split_labels(pattern, length, &labels);
        r = shape_of(&labels, &shape);
        if (r < 0)
                return r;
        if (shape.stars != 0 && set->shape_count == NAME_SET_MAX_SHAPES && !shape_is_known(set, &shape))
                return -E2BIG;
        size_t skip = shape.open ? 1 : 0;
        r = text_table_add(set->table, pattern + skip, length - skip, ret_entry);
        if (r < 0)
                return r;
        note_shape(set, &shape);
        return 0;
}

uint32_t name_set_number(const struct name_set *set, uint32_t entry)
{
        return text_table_number(set->table, entry);
}

void name_set_set_number(struct name_set *set, uint32_t entry, uint32_t number)
{
        text_table_set_number(set->table, entry, number);
}

/* Writes the rightmost labels of a name with `*` where the shape has it; returns the length. */
static size_t write_shaped(const struct labels *labels, const struct shape *shape, char buffer[FQDN_MAX_LENGTH + 2])
{
        size_t length = 0;

        if (shape->open)
                buffer[length++] = '.';
        for (size_t i = shape->labels; i-- > 0;) {
                bool star = i < 64 && (shape->stars >> i & 1) != 0;
                size_t size = star ? 1 : label_length(labels, i);
                memcpy(buffer + length, star ? "*" : labels->starts[i], size);
                length += size;
                if (i > 0)
                        buffer[length++] = '.';
        }
        return length;
}

static uint32_t find_shaped(const struct name_set *set, const struct labels *labels, const struct shape *shape)
{
        char buffer[FQDN_MAX_LENGTH + 2];

        if (shape->open ? labels->count <= shape->labels : labels->count != shape->labels)
                return TEXT_TABLE_NONE;
        return text_table_find(set->table, buffer, write_shaped(labels, shape, buffer));
}

static bool suffix_labels_occur(const struct name_set *set, size_t count)
{
        return (set->suffix_labels[count / 64] >> count % 64 & 1) != 0;
}

static void add_hit(struct name_set_hit hits[NAME_SET_MAX_HITS], size_t *count, uint32_t entry, unsigned specificity)
{
        if (entry != TEXT_TABLE_NONE)
                hits[(*count)++] = (struct name_set_hit){ .entry = entry, .specificity = specificity };
}

/* A part of the name that is looked for as it stands: the whole name, or a suffix with the dot before it. */
struct probe {
        const char *text;
        uint64_t prepared;
        unsigned specificity;
};

static void add_probe(const struct name_set *set, const struct labels *labels, const char *text, unsigned specificity,
                      struct probe probes[FQDN_MAX_LABELS], size_t *count)
{
        probes[(*count)++] = (struct probe){
                .text = text,
                .prepared = text_table_prepare(set->table, text, (size_t)(labels->end - text)),
                .specificity = specificity,
        };
}

/* The most specific first. */
static size_t make_probes(const struct name_set *set, const struct labels *labels, struct probe probes[FQDN_MAX_LABELS])
{
        size_t count = 0;

        add_probe(set, labels, labels->starts[labels->count - 1], 2 * (unsigned)labels->count + 1, probes, &count);
        for (size_t left = labels->count; left-- > 1;)
                if (suffix_labels_occur(set, left))
                        add_probe(set, labels, labels->starts[left - 1] - 1, 2 * (unsigned)left, probes, &count);
        return count;
}

size_t name_set_find(const struct name_set *set, const struct fqdn *name, struct name_set_hit hits[NAME_SET_MAX_HITS])
{
        struct probe probes[FQDN_MAX_LABELS];
        struct labels labels;
        size_t count = 0, shape = 0;

        if (name->length == 0 || text_table_count(set->table) == 0)
                return 0;
        split_labels(name->text, name->length, &labels);
        size_t probe_count = make_probes(set, &labels, probes);
        for (size_t i = 0; i < probe_count; i++) {
                const struct probe *probe = &probes[i];
                for (; shape < set->shape_count && shape_specificity(&set->shapes[shape]) > probe->specificity; shape++)
                        add_hit(hits, &count, find_shaped(set, &labels, &set->shapes[shape]),
                                shape_specificity(&set->shapes[shape]));
                add_hit(hits, &count,
                        text_table_find_prepared(set->table, probe->prepared, probe->text,
                                                 (size_t)(labels.end - probe->text)),
                        probe->specificity);
        }
        for (; shape < set->shape_count; shape++)
                add_hit(hits, &count, find_shaped(set, &labels, &set->shapes[shape]),
                        shape_specificity(&set->shapes[shape]));
        return count;
}

uint32_t name_set_find_below(const struct name_set *set, const struct fqdn *name)
{
        char key[FQDN_MAX_LENGTH + 1];

        if (name->length == 0)
                return NAME_SET_NONE;
        key[0] = '.';
        memcpy(key + 1, name->text, name->length);
        return text_table_find(set->table, key, name->length + 1u);
}

size_t name_set_pattern(const struct name_set *set, uint32_t entry, char pattern[FQDN_MAX_LENGTH + 1])
{
        struct text_table_key key = text_table_key(set->table, entry);
        size_t length = 0;

        if (key.bytes[0] == '.')
                pattern[length++] = '*';
        memcpy(pattern + length, key.bytes, key.length);
        length += key.length;
        pattern[length] = '\0';
        return length;
}

size_t name_set_count(const struct name_set *set)
{
        return text_table_count(set->table);
}

uint32_t name_set_first(const struct name_set *set)
{
        return text_table_first(set->table);
}

uint32_t name_set_next(const struct name_set *set, uint32_t entry)
{
        return text_table_next(set->table, entry);
}

void name_set_trim(struct name_set *set)
{
        text_table_trim(set->table);
}
