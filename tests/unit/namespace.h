/* A network namespace for the rest of a test program, so that nothing outside is touched. */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/compiler.h"

/* False: not permitted (not root), the tests that need it are skipped. lo is up afterwards. */
static inline bool namespace_enter(void)
{
        return unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0;
}

/* Runs a command and returns what it wrote, at most size - 1 bytes; its exit status goes to *ret_status. */
static inline void namespace_output(const char *command, char *buffer, size_t size, int *ret_status)
{
        FILE *stream = popen(command, "re");
        size_t length = 0;

        *ret_status = -1;
        buffer[0] = '\0';
        if (stream == NULL)
                return;
        length = fread(buffer, 1, size - 1, stream);
        buffer[length] = '\0';
        *ret_status = pclose(stream);
}
