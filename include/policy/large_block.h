/*
 * Memory for tables that are read at random: large ones lie on huge pages where the kernel has them, because a look-up in
 * a table of many small pages spends most of its time finding the page.
 */
#pragma once

#include <stddef.h>

/* Like malloc(), freed with free(). A large block is rounded up to whole huge pages. */
void *large_block_new(size_t size);
