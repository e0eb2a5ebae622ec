/* Text with {parameters} in it: what a rule's destination and ports are until a cluster's values are filled in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "policy/rule_error.h"

#define RULE_TEMPLATE_MAX_PARAMETERS 8   /* different ones in a rule */
#define RULE_TEMPLATE_MAX_NAME_LENGTH 64 /* of a parameter */
#define RULE_TEMPLATE_MAX_FILLED 4096    /* bytes of a filled text */

/* A piece of text borrowed from somewhere; not NUL-terminated. */
struct rule_span {
        const char *text;
        size_t length;
};

bool rule_span_equals(struct rule_span span, const char *text);

/* Parameter names are [a-z][a-z0-9_]*. */
bool rule_template_name_is_valid(struct rule_span name);

/* Checks the braces and the names in them. Returns 0; -EINVAL with *reterr. */
MUST_CHECK int rule_template_check(struct rule_span text, struct rule_error *reterr);

/*
 * Finds the first parameter at or after *offset and moves *offset behind it; false: there is none. Only for texts that
 * rule_template_check accepts.
 */
bool rule_template_next(struct rule_span text, size_t *offset, struct rule_span *ret_name);

/* The value for a parameter's name; NULL text: none. */
typedef struct rule_span (*rule_template_value_fn)(struct rule_span name, void *context);

/*
 * Writes the text with every parameter replaced by its value.
 *
 * Returns 0; -ENOENT: a parameter has no value; -EOVERFLOW: longer than RULE_TEMPLATE_MAX_FILLED.
 */
MUST_CHECK int rule_template_fill(struct rule_span text, rule_template_value_fn value_of, void *context,
                                  char buffer[RULE_TEMPLATE_MAX_FILLED], size_t *ret_length);

/*
 * Matches a text against a template in which each parameter stands for one or more bytes without a dot, as few as
 * possible, and calls back with what each stood for; the callback returns false to refuse.
 */
typedef bool (*rule_template_capture_fn)(struct rule_span name, struct rule_span value, void *context);
bool rule_template_match(struct rule_span template_text, struct rule_span text, rule_template_capture_fn on_capture,
                         void *context);
