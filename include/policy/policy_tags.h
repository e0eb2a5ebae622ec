/* The file of service tags as a configuration asks for it. */
#pragma once

#include "base/compiler.h"
#include "base/diagnostic.h"
#include "policy/config.h"
#include "policy/service_tags.h"

/*
 * Reads it and checks that it is of the clusters' cloud. *ret stays NULL, which it must be, where none is configured.
 *
 * Returns 0; -EINVAL: an error was added and *ret is NULL; -ENOMEM.
 */
MUST_CHECK int policy_tags_read(const struct config *config, struct diagnostics *diagnostics,
                                struct service_tags **ret);
