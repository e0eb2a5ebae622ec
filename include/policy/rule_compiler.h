/*
 * Puts rules of texts into a cluster's rule sets: fills in parameters, leaves out what the cluster's cloud, conditions and
 * missing values make inactive, and reports what is wrong with its place. One compiler serves one load.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/diagnostic.h"
#include "policy/policy_layout.h"
#include "policy/rule_file.h"
#include "policy/text_table.h"

#define RULE_COMPILER_MAX_EXPANSIONS 10000 /* rules that the values of one rule's parameters may make */

struct rule_compiler {
        struct diagnostics *diagnostics; /* borrowed */
        const char *config_path;         /* borrowed */
        struct text_table *parameters;   /* names that some rule mentions */
        struct service_tags *tags;       /* borrowed; NULL: not configured */
        const char *tags_path;           /* borrowed, likewise */
        struct text_table *missing_tags; /* rules that were reported for their tag, by place and tag */
};

/* A text of rules and how its places are to be reported. */
struct rule_source {
        const char *text;
        size_t length;
        enum rule_style style;
        const char *file;
        unsigned first_line;   /* of the text in that file */
        unsigned first_column; /* of its first line */
        struct rule_origin origin;
        bool surveyed; /* rule_compiler_survey has reported what is wrong with it */
};

/*
 * Adds the rules to set, telling it of the service tags. cluster is NULL for a list that clusters share, which has no parameters, clouds or conditions.
 * use counts what is active and why not; NULL: nobody asks. Errors go to diagnostics.
 *
 * Returns 0 or -ENOMEM.
 */
MUST_CHECK int rule_compiler_add(struct rule_compiler *compiler, const struct policy_cluster *cluster,
                                 const struct rule_source *source, struct rule_set *set,
                                 struct policy_feature_use *use);

/*
 * Checks every line, reporting what is wrong, and notes each parameter that the rules mention. *ret_rules counts rules and
 * bad lines: 0 says that the text holds comments at most. Returns 0 or -ENOMEM.
 */
MUST_CHECK int rule_compiler_survey(struct rule_compiler *compiler, const struct rule_source *source,
                                    size_t *ret_rules);
