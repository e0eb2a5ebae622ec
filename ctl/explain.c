#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "commands.h"
#include "offline.h"
#include "policy/explanation.h"

struct options {
        const char *config;
        const char *source;
        bool json;
        bool batch;
};

static bool options_are_complete(const struct options *options, int words)
{
        if (options->batch)
                return words == 0 && options->source == NULL;
        if (options->source == NULL)
                fputs("aksegressctl: explain needs --source, the address of the client that asks\n", stderr);
        else if (words != 2)
                fprintf(stderr,
                        "aksegressctl: explain needs a protocol and a destination, like 'https example.com': %d %s "
                        "given\n",
                        words, words == 1 ? "word" : "words");
        return options->source != NULL && words == 2;
}

static bool parse_options(int argc, char **argv, struct options *ret)
{
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "source", required_argument, NULL, 's' },
                { "json", no_argument, NULL, 'j' },
                { "batch", no_argument, NULL, 'b' },
                { NULL, 0, NULL, 0 },
        };

        for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                if (option == 'c')
                        ret->config = optarg;
                else if (option == 's')
                        ret->source = optarg;
                else if (option == 'j')
                        ret->json = true;
                else if (option == 'b')
                        ret->batch = true;
                else
                        return false;
        }
        return options_are_complete(ret, argc - optind);
}

static enum exit_status explain_batch(const struct policy *policy, bool json)
{
        int r = batch_run(policy, STDIN_FILENO, STDOUT_FILENO, json);

        if (r == 0)
                return EXIT_DONE;
        fprintf(stderr, "aksegressctl: %s\n", strerror(-r));
        return EXIT_FAILED;
}

static enum exit_status explain_one(const struct policy *policy, const struct explanation_question *question, bool json)
{
        struct explanation explanation;
        char text[EXPLANATION_TEXT_SIZE];

        explanation_answer(policy, question, &explanation);
        if (json)
                (void)explanation_format_json(&explanation, text);
        else
                (void)explanation_format_text(&explanation, text);
        if (puts(text) == EOF || fflush(stdout) == EOF)
                return EXIT_FAILED;
        return explanation_is_permitted(&explanation) ? EXIT_DONE : EXIT_DENIED;
}

enum exit_status command_explain(int argc, char **argv)
{
        struct options options = { 0 };
        struct explanation_question question;
        char complaint[EXPLANATION_COMPLAINT_SIZE];
        struct policy *policy;

        if (!parse_options(argc, argv, &options))
                return EXIT_USAGE;
        if (!options.batch) {
                struct explanation_words words = { options.source, argv[optind], argv[optind + 1], NULL };
                if (explanation_question_parse(&words, &question, complaint) < 0) {
                        fprintf(stderr, "aksegressctl: %s\n", complaint);
                        return EXIT_USAGE;
                }
        }
        if (offline_load(options.config, &policy) < 0)
                return EXIT_FAILED;
        enum exit_status status =
                options.batch ? explain_batch(policy, options.json) : explain_one(policy, &question, options.json);
        policy_unref(policy);
        return status;
}
