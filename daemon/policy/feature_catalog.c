#include "policy/feature_catalog.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void feature_catalog_free(struct feature_catalog *catalog)
{
        if (catalog == NULL)
                return;
        for (size_t i = 0; i < catalog->count; i++) {
                free(catalog->features[i].name);
                rule_file_free(catalog->features[i].file);
        }
        free(catalog->features);
        free(catalog);
}

const struct feature *feature_catalog_find(const struct feature_catalog *catalog, const char *name)
{
        for (size_t i = 0; i < catalog->count; i++)
                if (strcmp(catalog->features[i].name, name) == 0)
                        return &catalog->features[i];
        return NULL;
}

static bool name_is_valid(const char *name, size_t length)
{
        for (size_t i = 0; i < length; i++)
                if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') && name[i] != '-')
                        return false;
        return length > 0;
}

static int reserve(struct feature_catalog *catalog)
{
        size_t size = catalog->size == 0 ? 32 : catalog->size * 2;

        if (catalog->count < catalog->size)
                return 0;
        struct feature *features = reallocarray(catalog->features, size, sizeof(*features));
        if (features == NULL)
                return -ENOMEM;
        catalog->features = features;
        catalog->size = size;
        return 0;
}

static int add_file(struct feature_catalog *catalog, const char *path, char *name, struct diagnostics *diagnostics)
{
        struct diagnostic_place place = { .file = path };
        struct rule_file *file;
        int r = reserve(catalog);

        if (r == 0)
                r = rule_file_read(path, RULE_FILE_MAX_SIZE, &place, diagnostics, &file);
        if (r < 0) {
                free(name);
                return r == -EINVAL ? 0 : r;
        }
        catalog->features[catalog->count++] = (struct feature){ .name = name, .file = file };
        return 0;
}

static int consider_file(struct feature_catalog *catalog, const char *directory, const char *file_name,
                         struct diagnostics *diagnostics)
{
        size_t suffix = strlen(FEATURE_CATALOG_SUFFIX), length = strlen(file_name);
        char *path = NULL, *name;
        int r = 0;

        if (file_name[0] == '.' || length < suffix || strcmp(file_name + length - suffix, FEATURE_CATALOG_SUFFIX) != 0)
                return 0;
        if (asprintf(&path, "%s/%s", directory, file_name) < 0)
                return -ENOMEM;
        struct diagnostic_place place = { .file = path };
        name = strndup(file_name, length - suffix);
        if (name == NULL) {
                r = -ENOMEM;
        } else if (!name_is_valid(name, length - suffix)) {
                diagnostics_warning(diagnostics, &place,
                                    "not read: a feature's name is lower-case letters, digits and hyphens");
                free(name);
        } else if (feature_catalog_find(catalog, name) != NULL) {
                free(name); /* An earlier directory has it. */
        } else if (catalog->count == FEATURE_CATALOG_MAX) {
                diagnostics_error(diagnostics, &place, "more than %d feature files", FEATURE_CATALOG_MAX);
                free(name);
        } else {
                r = add_file(catalog, path, name, diagnostics);
        }
        free(path);
        return r;
}

static int read_directory(struct feature_catalog *catalog, const char *directory, struct diagnostics *diagnostics)
{
        DIR *stream = opendir(directory);
        const struct dirent *item;
        int r = 0;

        if (stream == NULL) {
                struct diagnostic_place place = { .file = directory };
                if (errno != ENOENT)
                        diagnostics_error(diagnostics, &place, "cannot read this directory of allowlist_dirs: %s",
                                          strerror(errno));
                return 0;
        }
        while (r == 0 && (item = readdir(stream)) != NULL)
                r = consider_file(catalog, directory, item->d_name, diagnostics);
        closedir(stream);
        return r;
}

static int compare_names(const void *a, const void *b)
{
        const struct feature *first = a, *second = b;

        return strcmp(first->name, second->name);
}

int feature_catalog_read(char *const *directories, size_t directory_count, struct diagnostics *diagnostics,
                         struct feature_catalog **ret)
{
        struct feature_catalog *catalog = calloc(1, sizeof(*catalog));
        int r = 0;

        if (catalog == NULL)
                return -ENOMEM;
        for (size_t i = 0; i < directory_count && r == 0; i++)
                r = read_directory(catalog, directories[i], diagnostics);
        if (r < 0) {
                feature_catalog_free(catalog);
                return r;
        }
        if (catalog->count > 0)
                qsort(catalog->features, catalog->count, sizeof(*catalog->features), compare_names);
        *ret = catalog;
        return 0;
}
