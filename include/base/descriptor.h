/* Reading a descriptor to its end, whatever signals and short reads come between. */
#pragma once

#include <stddef.h>

#include "base/compiler.h"

/* Reads until the end or until size bytes are there. Returns 0 with their number in *ret_length, or -errno. */
MUST_CHECK int descriptor_read(int descriptor, char *buffer, size_t size, size_t *ret_length);
