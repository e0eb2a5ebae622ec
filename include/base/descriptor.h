/* What is done with descriptors in more than one place. */
#pragma once

#include <stddef.h>

#include "base/compiler.h"

/* Reads until the end or until size bytes are there. Returns 0 with their number in *ret_length, or -errno. */
MUST_CHECK int descriptor_read(int descriptor, char *buffer, size_t size, size_t *ret_length);

/* Closes it and makes it -1, which is none and stays so. */
void descriptor_close(int *descriptor);
