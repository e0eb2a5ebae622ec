#include "process/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_SIZE 21 /* 2^64 - 1 and NUL */

static void put_bytes(struct metrics_text *text, const char *bytes, size_t length)
{
        if (evbuffer_add(text->out, bytes, length) == -1)
                text->failed = true;
}

static void put(struct metrics_text *text, const char *words)
{
        put_bytes(text, words, strlen(words));
}

static const char *type_name(enum metrics_type type)
{
        switch (type) {
        case METRICS_COUNTER:
                return "counter";
        case METRICS_GAUGE:
                break;
        }
        return "gauge";
}

void metrics_text_family(struct metrics_text *text, const char *name, enum metrics_type type, const char *help)
{
        put(text, "# HELP ");
        put(text, name);
        put(text, " ");
        put(text, help);
        put(text, "\n# TYPE ");
        put(text, name);
        put(text, " ");
        put(text, type_name(type));
        put(text, "\n");
}

/* The format knows three escapes in a label's value, and takes every other character as it is. */
static void put_escaped(struct metrics_text *text, const char *value)
{
        for (;;) {
                size_t plain = strcspn(value, "\\\"\n");
                put_bytes(text, value, plain);
                value += plain;
                if (*value == '\0')
                        return;
                put(text, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\");
                value++;
        }
}

static void put_labels(struct metrics_text *text, const struct metrics_label *labels, size_t label_count)
{
        if (label_count == 0)
                return;
        for (size_t i = 0; i < label_count; i++) {
                put(text, i == 0 ? "{" : ",");
                put(text, labels[i].name);
                put(text, "=\"");
                put_escaped(text, labels[i].value);
                put(text, "\"");
        }
        put(text, "}");
}

void metrics_text_sample(struct metrics_text *text, const char *name, const struct metrics_label *labels,
                         size_t label_count, uint64_t value)
{
        char number[NUMBER_SIZE];

        snprintf(number, sizeof(number), "%" PRIu64, value);
        put(text, name);
        put_labels(text, labels, label_count);
        put(text, " ");
        put(text, number);
        put(text, "\n");
}
