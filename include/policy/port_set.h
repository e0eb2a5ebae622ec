/* The ports of a rule: "443", "443,8443", "1000-2000". A value. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "policy/rule_error.h"

#define PORT_SET_MAX_RANGES 20 /* keeps the text of any set under 255 bytes with a protocol before it */
#define PORT_SET_TEXT_SIZE (PORT_SET_MAX_RANGES * 12)

struct port_range {
        uint16_t first;
        uint16_t last; /* first <= last */
};

struct port_set {
        uint8_t count;
        struct port_range ranges[PORT_SET_MAX_RANGES]; /* sorted, neither overlapping nor adjacent */
};

/* Parses and normalises. Returns 0; -EINVAL with *reterr, *ret untouched. */
MUST_CHECK int port_set_parse(const char *text, size_t length, struct port_set *ret, struct rule_error *reterr);

bool port_set_contains(const struct port_set *set, uint16_t port);

/* Writes the canonical text; returns its length. */
size_t port_set_format(const struct port_set *set, char buffer[PORT_SET_TEXT_SIZE]);
