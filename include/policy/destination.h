/* The destination of a rule, parameters filled in: a name pattern, prefixes, or a service tag. A value. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "policy/rule_error.h"

#define DESTINATION_MAX_PREFIXES 64
#define DESTINATION_MAX_TAG_LENGTH 128

enum destination_kind {
        DESTINATION_NAME = 0, /* a name or pattern */
        DESTINATION_PREFIXES,
        DESTINATION_TAG,
};

struct destination {
        enum destination_kind kind;
        size_t length;                  /* of text */
        char text[FQDN_MAX_LENGTH + 1]; /* NAME: canonical, as name_set takes it; TAG: the tag's name */
        size_t prefix_count;
        struct net_prefix prefixes[DESTINATION_MAX_PREFIXES];
};

/* What kind a text is, judged by its first bytes: '[' or "tag:", otherwise a name. */
enum destination_kind destination_kind_of(const char *text, size_t length);

/*
 * Parses `name`, `*.name`, `[prefix,prefix]` or `tag:NAME`. A `*` is a whole label: the first (one or more labels) or a
 * later one (exactly one), never the last.
 *
 * Returns 0; -EINVAL with *reterr saying what would be right, *ret is undefined then.
 */
MUST_CHECK int destination_parse(const char *text, size_t length, struct destination *ret, struct rule_error *reterr);
