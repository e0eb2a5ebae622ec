/*
 * One line of the rule grammar, which feature files, a cluster's allow and deny entries and plain lists share:
 *
 *   cloud NAME
 *   PROTOCOL DESTINATION:PORTS [required|recommended|conditional|optional] [since=DATE] [retires=DATE] [when=PARAMETER]
 *           [description]
 *   # comment
 *
 * allowlists/README.md describes it for those who write lists. Pure; everything parsed borrows the line's text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "policy/destination.h"
#include "policy/policy_protocol.h"
#include "policy/port_set.h"
#include "policy/rule_error.h"
#include "policy/rule_template.h"

#define RULE_MAX_LINE_LENGTH 4096
#define RULE_TEXT_SIZE 512 /* longest canonical text: protocol, pattern, ports */

enum rule_requirement {
        RULE_REQUIRED = 0,
        RULE_RECOMMENDED,
        RULE_CONDITIONAL,
        RULE_OPTIONAL,
};

/* Clouds as bits, since a `cloud` line may also say all. */
enum rule_cloud {
        RULE_CLOUD_PUBLIC = 1,
        RULE_CLOUD_CHINA = 2,
        RULE_CLOUD_US_GOVERNMENT = 4,
        RULE_CLOUD_ALL = 7,
};

struct rule {
        enum policy_protocol protocol;
        struct rule_span destination; /* may hold {parameters}, as may ports */
        struct rule_span ports;
        enum rule_requirement requirement;
        struct rule_span since; /* length 0: not given; likewise the next three */
        struct rule_span retires;
        struct rule_span when;
        struct rule_span description;
        bool has_parameters;
};

enum rule_line_kind {
        RULE_LINE_EMPTY = 0, /* blank or comment */
        RULE_LINE_CLOUD,
        RULE_LINE_RULE,
        RULE_LINE_BAD,
};

struct rule_line {
        enum rule_line_kind kind;
        enum rule_cloud cloud;
        struct rule rule;
};

/* A rule whose parameters are filled in. */
struct rule_filled {
        enum policy_protocol protocol;
        struct destination destination;
        struct port_set ports;
};

enum rule_style {
        RULE_STYLE_FEATURE = 0,
        RULE_STYLE_PLAIN_LIST, /* a line that is only a name means `https NAME:443` */
};

/* Parses one line without its end. Returns the kind, with *reterr set where it is RULE_LINE_BAD. */
enum rule_line_kind rule_line_parse(struct rule_span line, enum rule_style style, struct rule_line *ret,
                                    struct rule_error *reterr);

/*
 * Checks what can be checked without values: the whole rule where it has no parameters, otherwise the parts around
 * them. Offsets of errors count from line. Returns 0; -EINVAL with *reterr.
 */
MUST_CHECK int rule_check(const struct rule *rule, struct rule_span line, struct rule_error *reterr);

/* Fills in a rule without parameters, checking it. Returns 0; -EINVAL with *reterr, offsets from line. */
MUST_CHECK int rule_resolve(const struct rule *rule, struct rule_span line, struct rule_filled *ret,
                            struct rule_error *reterr);

/*
 * The same with values. Returns 0; -ENOENT: a parameter has no value (nothing in *reterr); -EINVAL with *reterr, whose
 * offset is that of the part that became wrong.
 */
MUST_CHECK int rule_fill(const struct rule *rule, struct rule_span line, rule_template_value_fn value_of, void *context,
                         struct rule_filled *ret, struct rule_error *reterr);

/* Returns 0 for an unknown name. */
enum rule_cloud rule_cloud_from_name(struct rule_span name);

/* Returns false for an unknown name. */
bool rule_protocol_from_name(struct rule_span name, enum policy_protocol *ret);
