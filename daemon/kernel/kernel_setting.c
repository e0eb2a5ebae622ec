#include "kernel/kernel_setting.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/descriptor.h"

char kernel_setting_read(const char *path)
{
        int descriptor = open(path, O_RDONLY | O_CLOEXEC);
        char value = '0';
        size_t length;

        if (descriptor == -1)
                return value;
        if (descriptor_read(descriptor, &value, 1, &length) < 0 || length == 0)
                value = '0';
        close(descriptor);
        return value;
}

int kernel_setting_switch_off(const char *path)
{
        int descriptor = open(path, O_WRONLY | O_CLOEXEC);
        int r = 0;

        if (descriptor == -1)
                return errno == ENOENT ? 0 : -errno;
        if (write(descriptor, "0\n", 2) == -1)
                r = -errno;
        close(descriptor);
        return r;
}
