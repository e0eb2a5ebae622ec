#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/nftables.h"
#include "process/daemon.h"

#define EXIT_USAGE 2

enum main_task {
        TASK_RUN = 0,
        TASK_CHECK_CONFIG,
        TASK_PRINT_NFT,
};

static const char usage[] = "usage: aksegressd [--config FILE] [--check-config | --print-nft | --version | --help]\n"
                            "\n"
                            "  --config FILE   the configuration; default " AKSEGRESSD_SYSCONFDIR "/aksegressd.yaml\n"
                            "  --check-config  read it and the rule files, print every error, start nothing\n"
                            "  --print-nft     print the kernel rules that would be applied\n"
                            "\n"
                            "signals: HUP reload, TERM drain and stop, USR1 reopen record files\n";

static int print_ruleset(const struct policy *policy)
{
        char *ruleset = nftables_ruleset_format(policy, NULL);

        if (ruleset == NULL)
                return EXIT_FAILURE;
        fputs(ruleset, stdout);
        free(ruleset);
        return EXIT_SUCCESS;
}

/* Loads the configuration, printing what is wrong with it; NULL: nothing to go on with. */
static struct policy *load(const char *config_path)
{
        struct diagnostics *diagnostics = diagnostics_new();
        struct policy *policy;

        if (diagnostics == NULL)
                return NULL;
        int r = policy_read(config_path, diagnostics, &policy);
        diagnostics_print(diagnostics, stderr);
        if (r < 0 && diagnostics_error_count(diagnostics) == 0)
                fprintf(stderr, "%s: %s\n", config_path, strerror(-r));
        diagnostics_free(diagnostics);
        return r < 0 ? NULL : policy;
}

static int run_task(enum main_task task, const char *config_path)
{
        struct policy *policy = load(config_path);
        int status = EXIT_SUCCESS;

        if (policy == NULL)
                return EXIT_FAILURE;
        switch (task) {
        case TASK_RUN:
                return daemon_run(config_path, policy);
        case TASK_CHECK_CONFIG:
                puts("configuration OK");
                break;
        case TASK_PRINT_NFT:
                status = print_ruleset(policy);
                break;
        }
        policy_unref(policy);
        return status;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'k' },
                { "print-nft", no_argument, NULL, 'n' },    { "version", no_argument, NULL, 'v' },
                { "help", no_argument, NULL, 'h' },         { NULL, 0, NULL, 0 },
        };
        const char *config_path = AKSEGRESSD_SYSCONFDIR "/aksegressd.yaml";
        enum main_task task = TASK_RUN;
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
                switch (option) {
                case 'c':
                        config_path = optarg;
                        break;
                case 'k':
                        task = TASK_CHECK_CONFIG;
                        break;
                case 'n':
                        task = TASK_PRINT_NFT;
                        break;
                case 'v':
                        puts("aksegressd " AKSEGRESSD_VERSION);
                        return EXIT_SUCCESS;
                case 'h':
                        fputs(usage, stdout);
                        return EXIT_SUCCESS;
                default:
                        fputs(usage, stderr);
                        return EXIT_USAGE;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "aksegressd: unexpected argument '%s'\n%s", argv[optind], usage);
                return EXIT_USAGE;
        }
        return run_task(task, config_path);
}
