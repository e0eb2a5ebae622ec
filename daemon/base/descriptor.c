#include "base/descriptor.h"

#include <errno.h>
#include <unistd.h>

int descriptor_read(int descriptor, char *buffer, size_t size, size_t *ret_length)
{
        size_t length = 0;

        while (length < size) {
                ssize_t got = read(descriptor, buffer + length, size - length);
                if (got == -1 && errno == EINTR)
                        continue;
                if (got == -1)
                        return -errno;
                if (got == 0)
                        break;
                length += (size_t)got;
        }
        *ret_length = length;
        return 0;
}

void descriptor_close(int *descriptor)
{
        if (*descriptor != -1)
                close(*descriptor);
        *descriptor = -1;
}
