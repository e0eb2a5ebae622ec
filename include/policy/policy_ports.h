/* The ports that are steered to the transparent listener: collected from every rule that decides by name. */
#pragma once

#include "base/compiler.h"
#include "base/diagnostic.h"

struct policy;

/*
 * Fills the policy's steered ports, when all its rules are in place. The transparent listener's own port among them is an
 * error in diagnostics. Returns 0 or -ENOMEM.
 */
MUST_CHECK int policy_ports_make(struct policy *policy, struct diagnostics *diagnostics);
