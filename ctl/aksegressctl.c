/* aksegressctl: asks what a policy allows and why. The manual is aksegressctl(1). */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "commands.h"

static const struct {
        const char *name;
        enum exit_status (*run)(int argc, char **argv);
} commands[] = {
        { "explain", command_explain },
        { "features", command_features },
        { "flush", command_flush },
};

static void print_usage(FILE *stream)
{
        fputs("usage: aksegressctl explain [--config FILE] [--json] --source IP PROTOCOL NAME[:PORT]\n"
              "       aksegressctl explain [--config FILE] [--json] --batch <QUESTIONS\n"
              "       aksegressctl features [--config FILE] [--json]\n"
              "       aksegressctl flush [--json]\n"
              "       aksegressctl --version | --help\n"
              "PROTOCOL is https, http, tcp or udp. QUESTIONS are lines of source, protocol, host and port,\n"
              "separated by tabs. Exit status: 0 done or allowed, 3 denied, 1 failed, 2 usage.\n",
              stream);
}

int main(int argc, char **argv)
{
        const char *word = argc > 1 ? argv[1] : "";
        enum exit_status status = EXIT_USAGE;

        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                if (strcmp(word, commands[i].name) == 0) {
                        status = commands[i].run(argc - 1, argv + 1);
                        if (status == EXIT_USAGE)
                                print_usage(stderr);
                        return status;
                }
        if (strcmp(word, "--version") == 0) {
                printf("aksegressctl %s\n", AKSEGRESSD_VERSION);
                return EXIT_DONE;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
                print_usage(stdout);
                return EXIT_DONE;
        }
        if (word[0] != '\0')
                fprintf(stderr, "aksegressctl: no command '%s'\n", word);
        print_usage(stderr);
        return status;
}
