/* aksegressctl explain --batch: one question a line on standard input, one answer a line on standard output, in order. */
#pragma once

#include <stdbool.h>

#include "base/compiler.h"
#include "policy/policy.h"

/*
 * Reads to the end of input. Answers are written whenever no further input is at hand, so that a script can ask and wait.
 *
 * Returns 0 or -errno of reading or writing.
 */
MUST_CHECK int batch_run(const struct policy *policy, int input, int output, bool json);
