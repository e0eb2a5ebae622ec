#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "commands.h"
#include "offline.h"

static void print_text(const struct policy_feature_line *line, void *context)
{
        (void)context;
        printf("%s\t%s\t%s\t", line->cluster, line->feature, line->enabled ? "on" : "off");
        if (line->enabled)
                printf("%zu active", line->active_rules);
        if (line->inactive_rules > 0)
                printf(", %zu inactive: %s", line->inactive_rules, line->inactive_because);
        putchar('\n');
}

/* Names and reasons hold letters, digits and plain punctuation only: nothing to escape. */
static void print_json(const struct policy_feature_line *line, void *context)
{
        bool *first = context;

        printf("%s{\"cluster\":\"%s\",\"feature\":\"%s\",\"enabled\":%s,\"active_rules\":%zu,\"inactive_rules\":%zu,"
               "\"inactive_because\":\"%s\"}",
               *first ? "[" : ",\n ", line->cluster, line->feature, line->enabled ? "true" : "false",
               line->active_rules, line->inactive_rules, line->inactive_because);
        *first = false;
}

static bool parse_options(int argc, char **argv, const char **ret_config, bool *ret_json)
{
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "json", no_argument, NULL, 'j' },
                { NULL, 0, NULL, 0 },
        };

        for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                if (option == 'c')
                        *ret_config = optarg;
                else if (option == 'j')
                        *ret_json = true;
                else
                        return false;
        }
        return argc == optind;
}

enum exit_status command_features(int argc, char **argv)
{
        const char *config = NULL;
        struct policy *policy;
        bool json = false, first = true;

        if (!parse_options(argc, argv, &config, &json))
                return EXIT_USAGE;
        if (offline_load(config, &policy) < 0)
                return EXIT_FAILED;
        policy_features(policy, json ? print_json : print_text, &first);
        if (json)
                puts(first ? "[]" : "]");
        policy_unref(policy);
        return fflush(stdout) == EOF || ferror(stdout) != 0 ? EXIT_FAILED : EXIT_DONE;
}
