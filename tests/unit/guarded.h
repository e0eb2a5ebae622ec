/* Input for parsers that ends where its page ends, before one that may not be touched: one byte too far faults. */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
        uint8_t *map;
        size_t map_size;
        uint8_t *end; /* of what may be touched */
};

static inline void guarded_open(struct guarded *guarded, size_t maximum)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t usable = (maximum + page - 1) / page * page;

        guarded->map_size = usable + page;
        guarded->map = mmap(NULL, guarded->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert(guarded->map != MAP_FAILED);
        guarded->end = guarded->map + usable;
        int r = mprotect(guarded->end, page, PROT_NONE);
        assert(r == 0);
}

/* A copy that ends at the guard page; good until the next one. */
static inline uint8_t *guarded_copy(struct guarded *guarded, const void *bytes, size_t length)
{
        assert(length <= (size_t)(guarded->end - guarded->map));
        if (length > 0)
                memcpy(guarded->end - length, bytes, length);
        return guarded->end - length;
}

static inline void guarded_close(struct guarded *guarded)
{
        munmap(guarded->map, guarded->map_size);
        guarded->map = NULL;
}
