/* The feature files NAME.allow that the allowlist directories hold: read once a load, whether a cluster uses them or not. */
#pragma once

#include <stddef.h>

#include "base/compiler.h"
#include "base/diagnostic.h"
#include "policy/rule_file.h"

#define FEATURE_CATALOG_MAX 4096
#define FEATURE_CATALOG_SUFFIX ".allow"

struct feature {
        char *name; /* the file's name without .allow: [a-z0-9-] */
        struct rule_file *file;
};

struct feature_catalog {
        struct feature *features; /* sorted by name */
        size_t count;
        size_t size;
};

/*
 * Reads every feature file; of two with the same name the one in the earlier directory counts. A directory that does not
 * exist is no error. What cannot be read goes to diagnostics, and the catalog is returned all the same, without it. The
 * files' lines are not looked at here.
 *
 * Returns 0 or -ENOMEM.
 */
MUST_CHECK int feature_catalog_read(char *const *directories, size_t directory_count, struct diagnostics *diagnostics,
                                    struct feature_catalog **ret);

/* Takes NULL. */
void feature_catalog_free(struct feature_catalog *catalog);

/* The feature of that name, or NULL. */
const struct feature *feature_catalog_find(const struct feature_catalog *catalog, const char *name);
