/* A whole text of rules: read, put into a set, and each rule found again by what it is about. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "policy/rule_file.h"
#include "policy/rule_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A name that the pattern matches: "a" for every `*`. */
static struct fqdn name_for(const char *pattern)
{
        struct fqdn name;
        char text[FQDN_MAX_LENGTH + 1];

        strcpy(text, pattern);
        for (char *star = strchr(text, '*'); star != NULL; star = strchr(star, '*'))
                *star = 'a';
        assert(fqdn_from_text(text, &name) == 0);
        return name;
}

static void assert_found(const struct rule_set *set, const struct rule_filled *rule)
{
        struct rule_query query = { .protocols = 1u << rule->protocol, .port = rule->ports.ranges[0].first };
        struct rule_match match = { 0 };
        struct fqdn name;
        char text[RULE_TEXT_SIZE];

        if (rule->destination.kind == DESTINATION_NAME) {
                name = name_for(rule->destination.text);
                query.name = &name;
        } else {
                query.address = &rule->destination.prefixes[0].address;
        }
        assert(rule_set_match(set, &query, &match));
        rule_match_format(&match, text, sizeof(text));
        assert(port_set_contains(rule_match_ports(&match), query.port));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const void *bytes = data;
        struct rule_reader reader = rule_reader_from(bytes, size, RULE_STYLE_PLAIN_LIST);
        struct rule_origin origin = { .file = "fuzz" };
        struct rule_set *set = rule_set_new();
        struct rule_reader_line line;
        struct rule_filled filled;
        struct rule_error error;
        uint16_t index;

        if (set == NULL || rule_set_add_origin(set, &origin, &index) < 0)
                return 0;
        while (rule_reader_next(&reader, &line)) {
                if (line.bad || line.rule.has_parameters || rule_resolve(&line.rule, line.text, &filled, &error) < 0 ||
                    filled.destination.kind == DESTINATION_TAG)
                        continue;
                if (rule_set_add(set, &filled, index, line.number) == 0)
                        assert_found(set, &filled);
        }
        rule_set_free(set);
        return 0;
}
