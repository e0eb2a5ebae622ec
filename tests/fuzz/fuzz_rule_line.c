/*
 * One line of the rule grammar: parsing, checking and filling in never read past the line, and what is accepted is
 * consistent.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/fqdn.h"
#include "policy/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rule_span value_of(struct rule_span name, void *context)
{
        (void)context;
        if (name.length % 3 == 0)
                return (struct rule_span){ NULL, 0 };
        return name.length % 3 == 1 ? (struct rule_span){ "westeurope", 10 }
                                    : (struct rule_span){ "203.0.113.0/24", 14 };
}

/* A canonical destination and port list parse to themselves. */
static void check_filled(const struct rule_filled *filled)
{
        struct destination again;
        struct port_set ports;
        struct rule_error error;
        char text[PORT_SET_TEXT_SIZE];
        size_t length = port_set_format(&filled->ports, text);

        assert(port_set_parse(text, length, &ports, &error) == 0);
        assert(ports.count == filled->ports.count);
        if (filled->destination.kind != DESTINATION_NAME)
                return;
        assert(destination_parse(filled->destination.text, filled->destination.length, &again, &error) == 0);
        assert(again.length == filled->destination.length);
        assert(memcmp(again.text, filled->destination.text, again.length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const void *bytes = data;
        struct rule_span text = { bytes, size };
        struct rule_filled filled;
        struct rule_error error;
        struct rule_line line;

        for (int style = RULE_STYLE_FEATURE; style <= RULE_STYLE_PLAIN_LIST; style++) {
                switch (rule_line_parse(text, style == 0 ? RULE_STYLE_FEATURE : RULE_STYLE_PLAIN_LIST, &line, &error)) {
                case RULE_LINE_BAD:
                        assert(error.offset <= size && strlen(error.text) > 0);
                        continue;
                case RULE_LINE_EMPTY:
                case RULE_LINE_CLOUD:
                        continue;
                case RULE_LINE_RULE:
                        break;
                }
                if (rule_check(&line.rule, text, &error) < 0) {
                        assert(error.offset <= size && strlen(error.text) > 0);
                        continue;
                }
                int r = line.rule.has_parameters ? rule_fill(&line.rule, text, value_of, NULL, &filled, &error)
                                                 : rule_resolve(&line.rule, text, &filled, &error);
                if (r == 0)
                        check_filled(&filled);
                else
                        assert(line.rule.has_parameters);
        }
        return 0;
}
