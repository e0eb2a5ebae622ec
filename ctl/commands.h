/* The commands of aksegressctl: each gets its words with its own name first and returns an exit status. */
#pragma once

enum exit_status {
        EXIT_DONE = 0, /* or allowed */
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_DENIED = 3,
};

enum exit_status command_explain(int argc, char **argv);
enum exit_status command_features(int argc, char **argv);
enum exit_status command_flush(int argc, char **argv);
