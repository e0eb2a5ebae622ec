/* How many descriptors the test process has open: what a test ends with must be what it began with. */
#pragma once

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The directory's own entries are counted too: only the difference means something. */
static inline size_t count_descriptors(void)
{
        DIR *directory = opendir("/proc/self/fd");
        size_t count = 0;

        assert_non_null(directory);
        while (readdir(directory) != NULL)
                count++;
        assert_int_equal(closedir(directory), 0);
        return count;
}
