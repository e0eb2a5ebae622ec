/* What a decision costs with 100 and with 1,000,000 names, and what a list of 1,000,000 names costs to load and to keep. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/name_set.h"
#include "policy/rule_file.h"
#include "policy/rule_set.h"

#define LARGE 1000000
#define SMALL 100
#define QUESTIONS 4096
#define LOOKUPS 4000000

static double seconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Names like those of real lists: 8 to 40 bytes, two to five labels, one in eight a wildcard. */
static int format_name(char *buffer, size_t size, unsigned number)
{
        static const char *const services[] = { "api", "login", "cdn", "static.assets", "eu-west.storage",
                                                "www", "mail",  "x" };
        static const char *const ends[] = { "com", "net", "azure.com", "example.org" };
        unsigned mixed = number * 2654435761u;

        return snprintf(buffer, size, "%s%s.customer-%x.%s", number % 8 == 0 ? "*." : "", services[mixed >> 29], mixed,
                        ends[number % 4]);
}

static char *make_list(unsigned count, size_t *ret_length)
{
        char *text = malloc((size_t)count * 64);
        size_t length = 0;

        if (text == NULL)
                exit(1);
        for (unsigned i = 0; i < count; i++) {
                length += (size_t)format_name(text + length, 63, i);
                text[length++] = '\n';
        }
        *ret_length = length;
        return text;
}

static struct rule_set *load(const char *text, size_t length)
{
        struct rule_reader reader = rule_reader_from(text, length, RULE_STYLE_PLAIN_LIST);
        struct rule_set *set = rule_set_new();
        struct rule_origin origin = { .file = "bench" };
        struct rule_reader_line line;
        struct rule_filled filled;
        uint16_t index;

        if (set == NULL || rule_set_add_origin(set, &origin, &index) < 0)
                exit(1);
        while (rule_reader_next(&reader, &line))
                if (line.bad || rule_resolve(&line.rule, line.text, &filled, &line.error) < 0 ||
                    rule_set_add(set, &filled, index, line.number) < 0)
                        exit(1);
        rule_set_trim(set);
        return set;
}

/* Names that are in the list (below it for wildcards), spread over all of it; or none of which is. */
static struct fqdn *make_questions(unsigned count, bool known)
{
        struct fqdn *names = calloc(QUESTIONS, sizeof(*names));
        char text[80];

        if (names == NULL)
                exit(1);
        for (unsigned i = 0; i < QUESTIONS; i++) {
                unsigned number = (unsigned)((size_t)i * 2654435761u % count);
                format_name(text, sizeof(text), known ? number : number + LARGE);
                if (text[0] == '*')
                        text[0] = 'a';
                if (fqdn_from_text(text, &names[i]) < 0)
                        exit(1);
        }
        return names;
}

static void measure(const char *what, const struct rule_set *set, unsigned count, bool known)
{
        struct fqdn *names = make_questions(count, known);
        double started = seconds();
        size_t found = 0;

        for (unsigned i = 0; i < LOOKUPS; i++) {
                struct rule_query query = { .protocols = 1u << POLICY_PROTOCOL_HTTPS,
                                            .port = 443,
                                            .name = &names[i % QUESTIONS] };
                struct rule_match match = { 0 };
                found += rule_set_match(set, &query, &match);
        }
        double took = seconds() - started;
        printf("%8u names, %-18s %6.0f ns a lookup (%zu %% found)\n", count, what, took / LOOKUPS * 1e9,
               found * 100 / LOOKUPS);
        free(names);
}

static void run(unsigned count)
{
        size_t length;
        char *text = make_list(count, &length);
        size_t heap_before = mallinfo2().uordblks + mallinfo2().hblkhd;
        double started = seconds();
        struct rule_set *set = load(text, length);
        double took = seconds() - started;
        size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd - heap_before;

        printf("%8u names, loaded in %.2f s, %.1f bytes a name (%.1f of them its text)\n", count, took,
               (double)heap / count, (double)(length - count) / count);
        measure("in the list:", set, count, true);
        measure("not in the list:", set, count, false);
        rule_set_free(set);
        free(text);
}

int main(void)
{
        run(SMALL);
        run(LARGE);
        return 0;
}
