#include "policy/service_tags.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config_suggest.h"
#include "policy/destination.h"
#include "policy/prefix_set.h"
#include "policy/rule_file.h"
#include "policy/tag_names.h"

#define NO_POSTING UINT32_MAX
#define NOT_USED UINT32_MAX
#define NEAR_COUNT 3

/* Of a document with the most tags and prefixes: a tag has two objects, two lists and a dozen other values. */
#define MAX_OPENED (4 * SERVICE_TAGS_MAX_TAGS + 2)
#define MAX_COMMAS (SERVICE_TAGS_MAX_PREFIXES + 16 * SERVICE_TAGS_MAX_TAGS)

struct tag {
        char *name;
        size_t first; /* of its prefixes */
        size_t count;
        uint32_t use; /* its number among those that rules use, or NOT_USED */
};

/* One used tag with a prefix; those with the same prefix are a chain. */
struct posting {
        uint32_t tag;
        uint32_t next;
};

struct service_tags {
        char *cloud_name;
        enum rule_cloud cloud;
        struct tag *tags; /* all of the file; once finished, only the used ones, by their numbers */
        size_t tag_count;
        struct net_prefix *prefixes; /* of tags, one after the other */
        size_t prefix_count;
        size_t prefix_size;
        struct text_table *by_name; /* names and region keys to indexes of tags; NULL once finished */
        uint32_t *used;             /* indexes of tags, by use; NULL once finished */
        size_t used_count;
        size_t used_size;
        struct prefix_set *index; /* numbers are first postings; NULL until finished */
        struct posting *postings;
};

/* A file on its way in. */
struct reader {
        const char *path;
        const char *text;
        size_t length;
        struct diagnostics *diagnostics;
        struct service_tags *tags;
};

static struct service_tags *new_tags(void)
{
        struct service_tags *tags = calloc(1, sizeof(*tags));

        if (tags == NULL)
                return NULL;
        tags->by_name = text_table_new();
        if (tags->by_name == NULL) {
                free(tags);
                return NULL;
        }
        return tags;
}

static void free_names(struct tag *tags, size_t count)
{
        for (size_t i = 0; i < count; i++)
                free(tags[i].name);
        free(tags);
}

void service_tags_free(struct service_tags *tags)
{
        if (tags == NULL)
                return;
        free(tags->cloud_name);
        free_names(tags->tags, tags->tag_count);
        free(tags->prefixes);
        text_table_free(tags->by_name);
        free(tags->used);
        prefix_set_free(tags->index);
        free(tags->postings);
        free(tags);
}

/* Errors and their places. */

/* The library tells no places of values, so the first occurrence of a text of the value's is shown. */
static struct diagnostic_place place_of(const struct reader *reader, const char *value)
{
        struct diagnostic_place place = { .file = reader->path };
        char quoted[DESTINATION_MAX_TAG_LENGTH + 3];
        int length = snprintf(quoted, sizeof(quoted), "\"%s\"", value);
        const char *line = reader->text, *found = NULL;

        if (length > 0 && (size_t)length < sizeof(quoted))
                found = memmem(reader->text, reader->length, quoted, (size_t)length);
        if (found == NULL)
                return place;
        place.line = 1;
        for (const char *p = reader->text; p < found; p++) {
                if (*p != '\n')
                        continue;
                place.line++;
                line = p + 1;
        }
        place.column = (unsigned)(found - line) + 1;
        return place;
}

/* Copies what can be shown of a text from the file. */
static const char *shown(const char *text, char buffer[JSON_ERROR_TEXT_LENGTH])
{
        size_t i = 0;

        for (; i < JSON_ERROR_TEXT_LENGTH - 1 && text[i] != '\0'; i++)
                buffer[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
        buffer[i] = '\0';
        return buffer;
}

static int complain(const struct reader *reader, const char *value, const char *what)
{
        struct diagnostic_place place = place_of(reader, value);
        char buffer[JSON_ERROR_TEXT_LENGTH];

        diagnostics_error(reader->diagnostics, &place, "'%.80s' %s", shown(value, buffer), what);
        return -EINVAL;
}

static int complain_shape(const struct reader *reader, const char *what)
{
        struct diagnostic_place place = { .file = reader->path };

        diagnostics_error(reader->diagnostics, &place, "not a file of service tags: %s", what);
        return -EINVAL;
}

static int complain_syntax(const struct reader *reader, const json_error_t *error)
{
        struct diagnostic_place place = { .file = reader->path };
        char buffer[JSON_ERROR_TEXT_LENGTH];

        if (json_error_code(error) == json_error_out_of_memory)
                return -ENOMEM;
        if (error->line > 0)
                place.line = (unsigned)error->line;
        if (error->column > 0)
                place.column = (unsigned)error->column;
        diagnostics_error(reader->diagnostics, &place, "not JSON: %s", shown(error->text, buffer));
        return -EINVAL;
}

/* Reading. */

static int reserve_prefixes(struct service_tags *tags, size_t count)
{
        size_t needed = tags->prefix_count + count;
        size_t size = needed + needed / 2;

        if (needed <= tags->prefix_size)
                return 0;
        struct net_prefix *prefixes = reallocarray(tags->prefixes, size, sizeof(*prefixes));
        if (prefixes == NULL)
                return -ENOMEM;
        tags->prefixes = prefixes;
        tags->prefix_size = size;
        return 0;
}

static int read_prefixes(const struct reader *reader, const char *name, const json_t *list)
{
        struct service_tags *tags = reader->tags;
        size_t count = json_array_size(list);
        int r = 0;

        if (!json_is_array(list))
                return complain(reader, name, "has no list addressPrefixes");
        if (count > SERVICE_TAGS_MAX_PREFIXES - tags->prefix_count)
                return complain(reader, name, "has more prefixes than this daemon takes");
        if (reserve_prefixes(tags, count) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                const char *text = json_string_value(json_array_get(list, i));
                if (text == NULL)
                        r = complain(reader, name, "has an address prefix that is not a text");
                else if (net_prefix_parse(text, strlen(text), &tags->prefixes[tags->prefix_count]) < 0)
                        r = complain(reader, text, "is not an address prefix");
                else
                        tags->prefix_count++;
        }
        return r;
}

static int append_tag(struct service_tags *tags, const char *name, size_t first)
{
        struct tag tag = { .name = strdup(name), .first = first, .count = tags->prefix_count - first, .use = NOT_USED };

        if (tag.name == NULL)
                return -ENOMEM;
        tags->tags[tags->tag_count++] = tag;
        return 0;
}

static int read_tag(const struct reader *reader, const json_t *value)
{
        struct service_tags *tags = reader->tags;
        const char *name = json_string_value(json_object_get(value, "name"));
        size_t first = tags->prefix_count;

        if (name == NULL)
                return complain_shape(reader, "a value has no name");
        if (!tag_names_is_name(name))
                return 0;
        if (tag_names_find_exact(tags->by_name, name, strlen(name)) != TEXT_TABLE_NONE)
                return complain(reader, name, "is there twice");
        int r = read_prefixes(reader, name, json_object_get(json_object_get(value, "properties"), "addressPrefixes"));
        if (r == 0)
                r = append_tag(tags, name, first);
        return r < 0 ? r : tag_names_add(tags->by_name, name, strlen(name), (uint32_t)tags->tag_count - 1);
}

/* After all names, which come first. */
static int read_region(const struct reader *reader, const json_t *value)
{
        const char *name = json_string_value(json_object_get(value, "name"));
        const char *region = json_string_value(json_object_get(json_object_get(value, "properties"), "region"));
        uint32_t tag = name == NULL ? TEXT_TABLE_NONE : tag_names_find_exact(reader->tags->by_name, name, strlen(name));

        if (tag == TEXT_TABLE_NONE)
                return 0;
        return tag_names_add_region(reader->tags->by_name, name, region != NULL ? region : "", tag);
}

static int read_values(const struct reader *reader, const json_t *values)
{
        size_t count = json_array_size(values);
        int result = 0;

        if (!json_is_array(values))
                return complain_shape(reader, "it has no list values");
        if (count > SERVICE_TAGS_MAX_TAGS)
                return complain_shape(reader, "it has more tags than this daemon takes");
        reader->tags->tags = calloc(count + 1, sizeof(*reader->tags->tags)); /* never zero bytes */
        if (reader->tags->tags == NULL)
                return -ENOMEM;
        for (size_t i = 0; i < count && result != -ENOMEM; i++) {
                int r = read_tag(reader, json_array_get(values, i));
                if (r < 0)
                        result = r;
        }
        for (size_t i = 0; i < count && result == 0; i++)
                result = read_region(reader, json_array_get(values, i));
        return result;
}

static enum rule_cloud cloud_from_name(const char *name)
{
        static const struct {
                const char *name;
                enum rule_cloud cloud;
        } clouds[] = {
                { "Public", RULE_CLOUD_PUBLIC },
                { "AzureCloud", RULE_CLOUD_PUBLIC },
                { "AzurePublicCloud", RULE_CLOUD_PUBLIC },
                { "China", RULE_CLOUD_CHINA },
                { "AzureChina", RULE_CLOUD_CHINA },
                { "AzureChinaCloud", RULE_CLOUD_CHINA },
                { "AzureGovernment", RULE_CLOUD_US_GOVERNMENT },
                { "AzureUSGovernment", RULE_CLOUD_US_GOVERNMENT },
        };

        for (size_t i = 0; i < ARRAY_SIZE(clouds); i++)
                if (strcasecmp(clouds[i].name, name) == 0)
                        return clouds[i].cloud;
        return 0;
}

static int read_cloud(const struct reader *reader, const json_t *cloud)
{
        const char *name = json_string_value(cloud);

        if (name == NULL)
                return complain_shape(reader, "it has no cloud");
        reader->tags->cloud = cloud_from_name(name);
        if (reader->tags->cloud == 0)
                return complain(reader, name, "is no cloud that is known: Public, AzureGovernment or China");
        reader->tags->cloud_name = strdup(name);
        return reader->tags->cloud_name == NULL ? -ENOMEM : 0;
}

/*
 * Whether the text can have more values than any file of tags. "{}" takes a hundred times its bytes in memory, so this is
 * known before the text is parsed.
 */
static bool has_too_many_values(const char *text, size_t length)
{
        size_t opened = 0, commas = 0;

        for (size_t i = 0; i < length; i++) {
                opened += text[i] == '{' || text[i] == '[';
                commas += text[i] == ',';
        }
        return opened > MAX_OPENED || commas > MAX_COMMAS;
}

static int read_document(const struct reader *reader)
{
        json_error_t error;

        if (has_too_many_values(reader->text, reader->length))
                return complain_shape(reader, "it has more values than this daemon takes");
        json_t *document = json_loadb(reader->text, reader->length, 0, &error);

        if (document == NULL)
                return complain_syntax(reader, &error);
        int r = read_cloud(reader, json_object_get(document, "cloud"));
        if (r == 0)
                r = read_values(reader, json_object_get(document, "values"));
        json_decref(document);
        return r;
}

int service_tags_from_text(const char *path, const char *text, size_t length, struct diagnostics *diagnostics,
                           struct service_tags **ret)
{
        static const char byte_order_mark[] = "\xef\xbb\xbf";
        size_t skip = length >= 3 && memcmp(text, byte_order_mark, 3) == 0 ? 3 : 0;
        struct reader reader = { path, text + skip, length - skip, diagnostics, new_tags() };
        int r = reader.tags == NULL ? -ENOMEM : read_document(&reader);

        if (r < 0) {
                service_tags_free(reader.tags);
                return r == -EOVERFLOW ? -ENOMEM
                                       : r; /* A table of names cannot hold more: not with this size of file. */
        }
        *ret = reader.tags;
        return 0;
}

int service_tags_read(const char *path, const struct diagnostic_place *place, struct diagnostics *diagnostics,
                      struct service_tags **ret)
{
        struct rule_file *file;
        int r = rule_file_read(path, SERVICE_TAGS_MAX_FILE_SIZE, place, diagnostics, &file);

        if (r < 0)
                return r;
        r = service_tags_from_text(path, file->text, file->length, diagnostics, ret);
        rule_file_free(file);
        return r;
}

const char *service_tags_cloud_name(const struct service_tags *tags)
{
        return tags->cloud_name;
}

enum rule_cloud service_tags_cloud(const struct service_tags *tags)
{
        return tags->cloud;
}

/* Using. */

int service_tags_use(struct service_tags *tags, const char *name, size_t length, uint32_t *ret_tag)
{
        uint32_t found = tags->by_name == NULL ? TEXT_TABLE_NONE : tag_names_find(tags->by_name, name, length);

        if (found == TEXT_TABLE_NONE)
                return -ENOENT;
        if (tags->tags[found].use == NOT_USED) {
                if (tags->used_count == tags->used_size) {
                        size_t size = tags->used_size == 0 ? 16 : tags->used_size * 2;
                        uint32_t *used = reallocarray(tags->used, size, sizeof(*used));
                        if (used == NULL)
                                return -ENOMEM;
                        tags->used = used;
                        tags->used_size = size;
                }
                tags->tags[found].use = (uint32_t)tags->used_count;
                tags->used[tags->used_count++] = found;
        }
        *ret_tag = tags->tags[found].use;
        return 0;
}

void service_tags_near(const struct service_tags *tags, const char *name, size_t length,
                       char buffer[SERVICE_TAGS_NEAR_SIZE])
{
        static const char *const behind[NEAR_COUNT][NEAR_COUNT] = { { "" }, { " or ", "" }, { ", ", " or ", "" } };
        char word[DESTINATION_MAX_TAG_LENGTH + 1] = "";
        struct config_suggest near = { .word = word };
        const char *best[NEAR_COUNT] = { NULL };
        size_t count = 0, used = 0;

        memcpy(word, name, length < sizeof(word) ? length : sizeof(word) - 1);
        for (size_t i = 0; i < tags->tag_count; i++) {
                const char *before = near.best;
                config_suggest_offer(&near, tags->tags[i].name);
                if (near.best == before)
                        continue;
                memmove(best + 1, best, (NEAR_COUNT - 1) * sizeof(best[0]));
                best[0] = near.best;
        }
        while (count < NEAR_COUNT && best[count] != NULL)
                count++;
        buffer[0] = '\0';
        for (size_t i = 0; i < count && used < SERVICE_TAGS_NEAR_SIZE; i++)
                used += (size_t)snprintf(buffer + used, SERVICE_TAGS_NEAR_SIZE - used, "'%.60s'%s", best[i],
                                         behind[count - 1][i]);
}

/* Finishing. */

/* Puts a prefix of the tag into the index; *added false: the tag has it already. */
static int index_prefix(struct service_tags *tags, uint32_t tag, const struct net_prefix *prefix, uint32_t posting,
                        bool *added)
{
        uint32_t entry;
        int r = prefix_set_add(tags->index, prefix, &entry);

        if (r < 0)
                return r;
        uint32_t first = prefix_set_number(tags->index, entry);
        *added = first == PREFIX_SET_NONE || tags->postings[first].tag != tag;
        if (!*added)
                return 0;
        tags->postings[posting] = (struct posting){ tag, first == PREFIX_SET_NONE ? NO_POSTING : first };
        prefix_set_set_number(tags->index, entry, posting);
        return 0;
}

/* Moves a tag's prefixes to the end of those kept; both arrays count from *kept. */
static int keep_tag(struct service_tags *tags, struct tag *tag, struct net_prefix *kept, size_t *kept_count)
{
        size_t first = *kept_count;

        for (size_t i = 0; i < tag->count; i++) {
                bool added;
                const struct net_prefix *prefix = &tags->prefixes[tag->first + i];
                int r = index_prefix(tags, tag->use, prefix, (uint32_t)*kept_count, &added);
                if (r < 0)
                        return r;
                if (added)
                        kept[(*kept_count)++] = *prefix;
        }
        tag->count = *kept_count - first;
        tag->first = first;
        return 0;
}

static size_t count_used_prefixes(const struct service_tags *tags)
{
        size_t count = 0;

        for (size_t i = 0; i < tags->used_count; i++)
                count += tags->tags[tags->used[i]].count;
        return count;
}

/* Drops the tags that nothing uses; the used ones move to their numbers. */
static void drop_unused(struct service_tags *tags, struct tag *used)
{
        for (size_t i = 0; i < tags->used_count; i++) {
                used[i] = tags->tags[tags->used[i]];
                tags->tags[tags->used[i]].name = NULL;
        }
        free_names(tags->tags, tags->tag_count);
        tags->tags = used;
        tags->tag_count = tags->used_count;
        text_table_free(tags->by_name);
        tags->by_name = NULL;
        free(tags->used);
        tags->used = NULL;
}

int service_tags_finish(struct service_tags *tags)
{
        size_t count = count_used_prefixes(tags), kept_count = 0;
        struct net_prefix *kept = calloc(count + 1, sizeof(*kept)); /* never zero bytes; likewise below */
        struct tag *used = calloc(tags->used_count + 1, sizeof(*used));
        int r = 0;

        tags->index = prefix_set_new();
        tags->postings = calloc(count + 1, sizeof(*tags->postings));
        if (kept == NULL || used == NULL || tags->index == NULL || tags->postings == NULL)
                r = -ENOMEM;
        for (size_t i = 0; i < tags->used_count && r == 0; i++)
                r = keep_tag(tags, &tags->tags[tags->used[i]], kept, &kept_count);
        if (r < 0) {
                free(kept);
                free(used);
                return r;
        }
        free(tags->prefixes);
        tags->prefixes = kept;
        tags->prefix_count = kept_count;
        drop_unused(tags, used);
        prefix_set_trim(tags->index);
        return 0;
}

/* Asking. */

bool service_tags_each(const struct service_tags *tags, const struct net_address *address, service_tags_fn on_tag,
                       void *context)
{
        uint32_t entries[PREFIX_SET_MAX_HITS];
        size_t count = prefix_set_find(tags->index, address, entries);

        for (size_t i = 0; i < count; i++) {
                unsigned length = prefix_set_prefix(tags->index, entries[i]).length;
                uint32_t posting = prefix_set_number(tags->index, entries[i]);
                for (; posting != NO_POSTING; posting = tags->postings[posting].next)
                        if (!on_tag(tags->postings[posting].tag, length, context))
                                return false;
        }
        return true;
}

const char *service_tags_name(const struct service_tags *tags, uint32_t tag)
{
        return tags->tags[tag].name;
}

const struct net_prefix *service_tags_prefixes(const struct service_tags *tags, uint32_t tag, size_t *ret_count)
{
        *ret_count = tags->tags[tag].count;
        return tags->prefixes + tags->tags[tag].first;
}
