/* The main thread: starts everything in an order one can read, reloads, drains, and takes it down in reverse. */
#pragma once

#include "base/compiler.h"
#include "base/diagnostic.h"
#include "policy/policy.h"

/* Reads configuration and rule files. Errors and warnings go to diagnostics. 0, -EINVAL or -ENOMEM. */
MUST_CHECK int daemon_load(const char *config_path, struct diagnostics *diagnostics, struct policy **ret);

/*
 * Runs until SIGTERM or SIGINT has been obeyed. Takes over the reference to policy, which came from config_path (read
 * again on SIGHUP). Returns the process's exit status.
 */
int daemon_run(const char *config_path, struct policy *policy);
