#include "policy/rule_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int rule_error_set(struct rule_error *error, size_t offset, const char *format, ...)
{
        va_list arguments;

        error->offset = offset;
        va_start(arguments, format);
        (void)vsnprintf(error->text, sizeof(error->text), format, arguments); /* Cut short when too long. */
        va_end(arguments);
        return -EINVAL;
}

int rule_error_quote_length(size_t length)
{
        return length < RULE_ERROR_QUOTE_MAX ? (int)length : RULE_ERROR_QUOTE_MAX;
}
