#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "commands.h"
#include "kernel/nftables.h"
#include "kernel/policy_routing.h"

#define ERROR_SIZE 512

static bool parse_options(int argc, char **argv, bool *ret_json)
{
        static const struct option options[] = {
                { "json", no_argument, NULL, 'j' },
                { NULL, 0, NULL, 0 },
        };

        for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                if (option != 'j')
                        return false;
                *ret_json = true;
        }
        return argc == optind;
}

/* The table first: while it marks packets, the rule that delivers them must stay. */
enum exit_status command_flush(int argc, char **argv)
{
        char error[ERROR_SIZE] = "";
        bool json = false, failed = false;

        if (!parse_options(argc, argv, &json))
                return EXIT_USAGE;
        if (nftables_flush(error, sizeof(error)) < 0) {
                fprintf(stderr, "aksegressctl: the table inet aksegressd stays: %s\n", error);
                failed = true;
        }
        if (!failed && policy_routing_remove(RULESET_STEERING_MARK, error, sizeof(error)) < 0) {
                fprintf(stderr, "aksegressctl: the routing rule stays: %s\n", error);
                failed = true;
        }
        if (json)
                printf("{\"flushed\":%s}\n", failed ? "false" : "true");
        else if (!failed)
                puts("flushed: table inet aksegressd and its routing rule are gone");
        return failed || fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
}
