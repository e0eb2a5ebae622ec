#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LOG_LINE_SIZE 2048

/* One write() a line, so that lines of different threads do not mix. */
static void write_line(const char *priority, const char *format, va_list arguments)
        __attribute__((format(printf, 2, 0)));

static void write_line(const char *priority, const char *format, va_list arguments)
{
        char line[LOG_LINE_SIZE];
        int prefix = snprintf(line, sizeof(line), "%s", priority);
        int text = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 1, format, arguments);
        size_t length = (size_t)prefix + (size_t)(text < 0 ? 0 : text);

        if (length > sizeof(line) - 2)
                length = sizeof(line) - 2;
        line[length++] = '\n';
        ssize_t written = write(STDERR_FILENO, line, length);
        (void)written; /* Nowhere is left to say that the log cannot be written. */
}

void log_error(const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        write_line(SD_ERR, format, arguments);
        va_end(arguments);
}

void log_warning(const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        write_line(SD_WARNING, format, arguments);
        va_end(arguments);
}

void log_info(const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        write_line(SD_INFO, format, arguments);
        va_end(arguments);
}
