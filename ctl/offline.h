/* A policy from a configuration file, for commands that need no running daemon. */
#pragma once

#include "base/compiler.h"
#include "policy/policy.h"

#define OFFLINE_DEFAULT_CONFIG AKSEGRESSD_SYSCONFDIR "/aksegressd.yaml"

/*
 * Loads the file, or the default one when path is NULL. Errors are printed to standard error.
 *
 * Returns 0 with a policy to be released with policy_unref; -EINVAL; -ENOMEM.
 */
MUST_CHECK int offline_load(const char *path, struct policy **ret);
