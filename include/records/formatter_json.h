/* A decision as one line of JSON with the field names of docs/decision-log.md. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "records/decision.h"

#define FORMATTER_LINE_SIZE 8192

/* What a sink adds to a decision. lost 0: the field is absent. */
struct formatter_stamp {
        uint64_t seq;
        uint64_t lost;
        const char *instance;
};

/* Writes the object and "\n", no NUL. Returns the length; every decision fits. */
size_t formatter_json(const struct decision *decision, const struct formatter_stamp *stamp, char buffer[FORMATTER_LINE_SIZE]);
