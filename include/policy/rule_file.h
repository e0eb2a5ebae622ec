/* Reads files of rules and walks texts of rules line by line: feature files, plain lists, one entry of a configuration. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/diagnostic.h"
#include "policy/rule.h"

#define RULE_FILE_MAX_SIZE ((size_t)512 << 20) /* bytes; 1,000,000 names take about 25 MiB */

/* A file's text in memory. */
struct rule_file {
        char *path;
        char *text; /* not NUL-terminated */
        size_t length;
};

/*
 * Reads a regular file of at most max_size bytes whole. What goes wrong is an error at place, where the file was asked for.
 *
 * Returns 0; -EINVAL: an error was added; -ENOMEM.
 */
MUST_CHECK int rule_file_read(const char *path, size_t max_size, const struct diagnostic_place *place,
                              struct diagnostics *diagnostics, struct rule_file **ret);

/* Takes NULL. */
void rule_file_free(struct rule_file *file);

/* Whether rules of the text can differ from cluster to cluster: parameters, conditions, cloud lines. Errs on yes. */
bool rule_file_depends_on_cluster(const struct rule_file *file);

/* A walk over the lines of a text. Start with rule_reader_from. */
struct rule_reader {
        struct rule_span rest;
        enum rule_style style;
        enum rule_cloud cloud;
        unsigned line;
};

/* One rule, or one line that is none. */
struct rule_reader_line {
        struct rule_span text;
        unsigned number;
        enum rule_cloud cloud; /* what the last `cloud` line said */
        bool bad;              /* error says why; rule is not set */
        struct rule rule;
        struct rule_error error;
};

struct rule_reader rule_reader_from(const char *text, size_t length, enum rule_style style);

/* The next rule or bad line; comments, blank and cloud lines are taken in. Returns false at the end. */
bool rule_reader_next(struct rule_reader *reader, struct rule_reader_line *ret);
