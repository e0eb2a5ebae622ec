/* The main thread: starts everything in an order one can read, reloads, drains, and takes it down in reverse. */
#pragma once

#include "policy/policy.h"

/*
 * Runs until SIGTERM or SIGINT has been obeyed. Takes over the reference to policy, which came from config_path (read
 * again on SIGHUP). Returns the process's exit status.
 */
int daemon_run(const char *config_path, struct policy *policy);
