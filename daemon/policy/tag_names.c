#include "policy/tag_names.h"

#include <string.h>

#include "policy/destination.h"

static char lower(char byte)
{
        return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

bool tag_names_is_name(const char *name)
{
        size_t length = strlen(name);

        if (length == 0 || length > DESTINATION_MAX_TAG_LENGTH)
                return false;
        for (size_t i = 0; i < length; i++) {
                char byte = lower(name[i]);
                if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && strchr(".-_", byte) == NULL)
                        return false;
        }
        return true;
}

/* Regions that the file calls otherwise than resource manager does. */
static const struct {
        const char *location;
        const char *region;
} aliases[] = {
        { "francecentral", "centralfrance" },
        { "francesouth", "southfrance" },
        { "germanywestcentral", "germanywc" },
        { "germanynorth", "germanyn" },
        { "norwayeast", "norwaye" },
        { "norwaywest", "norwayw" },
        { "switzerlandnorth", "switzerlandn" },
        { "switzerlandwest", "switzerlandw" },
        { "brazilsoutheast", "brazilse" },
        { "brazilnortheast", "brazilne" },
        { "chilecentral", "chilec" },
};

/* Writes "BASE." as it is and the region in lower case; returns the length, 0: too long for a key. */
static size_t write_region_key(const char *name, size_t base_length, const char *region, size_t region_length,
                               char key[TEXT_TABLE_MAX_KEY_LENGTH])
{
        if (base_length + region_length > TEXT_TABLE_MAX_KEY_LENGTH)
                return 0;
        memcpy(key, name, base_length);
        for (size_t i = 0; i < region_length; i++)
                key[base_length + i] = lower(region[i]);
        return base_length + region_length;
}

uint32_t tag_names_find_exact(const struct text_table *names, const char *name, size_t length)
{
        uint32_t entry = text_table_find(names, name, length);

        return entry == TEXT_TABLE_NONE ? TEXT_TABLE_NONE : text_table_number(names, entry);
}

static uint32_t find_region(const struct text_table *names, const char *name, size_t base_length, const char *region,
                            size_t region_length)
{
        char key[TEXT_TABLE_MAX_KEY_LENGTH];
        size_t length = write_region_key(name, base_length, region, region_length, key);

        return length == 0 ? TEXT_TABLE_NONE : tag_names_find_exact(names, key, length);
}

uint32_t tag_names_find(const struct text_table *names, const char *name, size_t length)
{
        const char *dot = memrchr(name, '.', length);
        uint32_t found = tag_names_find_exact(names, name, length);

        if (found != TEXT_TABLE_NONE || dot == NULL)
                return found;
        size_t base_length = (size_t)(dot + 1 - name), region_length = length - base_length;
        found = find_region(names, name, base_length, dot + 1, region_length);
        for (size_t i = 0; i < ARRAY_SIZE(aliases) && found == TEXT_TABLE_NONE; i++)
                if (strlen(aliases[i].location) == region_length &&
                    strncasecmp(aliases[i].location, dot + 1, region_length) == 0)
                        found = find_region(names, name, base_length, aliases[i].region, strlen(aliases[i].region));
        return found;
}

int tag_names_add(struct text_table *names, const char *name, size_t length, uint32_t tag)
{
        uint32_t entry;
        int r = text_table_add(names, name, length, &entry);

        if (r == 0 && text_table_number(names, entry) == TEXT_TABLE_NONE)
                text_table_set_number(names, entry, tag);
        return r;
}

int tag_names_add_region(struct text_table *names, const char *name, const char *region, uint32_t tag)
{
        const char *dot = strrchr(name, '.');
        char key[TEXT_TABLE_MAX_KEY_LENGTH];
        int r = 0;

        if (dot == NULL)
                return 0;
        size_t base_length = (size_t)(dot + 1 - name);
        size_t length = write_region_key(name, base_length, dot + 1, strlen(dot + 1), key);
        if (length > 0)
                r = tag_names_add(names, key, length, tag);
        length = write_region_key(name, base_length, region, strlen(region), key);
        if (r < 0 || region[0] == '\0' || length == 0)
                return r;
        return tag_names_add(names, key, length, tag);
}
