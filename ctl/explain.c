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
        return ret->batch ? argc == optind && ret->source == NULL : argc == optind + 2 && ret->source != NULL;
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
