#include "policy/large_block.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE_SIZE ((size_t)2 << 20)      /* x86-64 and arm64 with 4 KiB pages */
#define LARGE_BLOCK_SIZE (4 * HUGE_PAGE_SIZE) /* below this, rounding up costs more than it gives */

void *large_block_new(size_t size)
{
        size_t whole = (size + HUGE_PAGE_SIZE - 1) / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE;

        if (size < LARGE_BLOCK_SIZE)
                return malloc(size);
        void *block = aligned_alloc(HUGE_PAGE_SIZE, whole);
        if (block != NULL)
                (void)madvise(block, whole, MADV_HUGEPAGE); /* Only a wish: without it everything works, slower. */
        return block;
}
