#include "base/diagnostic.h"

#include <stdarg.h>
#include <stdlib.h>

#define DIAGNOSTIC_LINE_SIZE 1024

struct diagnostics {
        char *lines[DIAGNOSTIC_MAX];
        size_t line_count;
        size_t error_count;
        size_t dropped_count;
};

struct diagnostics *diagnostics_new(void)
{
        return calloc(1, sizeof(struct diagnostics));
}

void diagnostics_free(struct diagnostics *diagnostics)
{
        if (diagnostics == NULL)
                return;
        for (size_t i = 0; i < diagnostics->line_count; i++)
                free(diagnostics->lines[i]);
        free(diagnostics);
}

static size_t format_place(const struct diagnostic_place *place, char *buffer, size_t size)
{
        int length;

        if (place->line == 0)
                length = snprintf(buffer, size, "%s: ", place->file);
        else if (place->column == 0)
                length = snprintf(buffer, size, "%s:%u: ", place->file, place->line);
        else
                length = snprintf(buffer, size, "%s:%u:%u: ", place->file, place->line, place->column);
        return (size_t)length < size ? (size_t)length : size - 1;
}

static void add_line(struct diagnostics *diagnostics, const struct diagnostic_place *place, const char *kind,
                     const char *format, va_list arguments) __attribute__((format(printf, 4, 0)));

static void add_line(struct diagnostics *diagnostics, const struct diagnostic_place *place, const char *kind,
                     const char *format, va_list arguments)
{
        char text[DIAGNOSTIC_LINE_SIZE];
        char *line = NULL;
        size_t used = format_place(place, text, sizeof(text));

        vsnprintf(text + used, sizeof(text) - used, format, arguments);
        if (diagnostics->line_count < DIAGNOSTIC_MAX) {
                if (asprintf(&line, "%.*s%s%s", (int)used, text, kind, text + used) >= 0) {
                        diagnostics->lines[diagnostics->line_count++] = line;
                        return;
                }
        }
        diagnostics->dropped_count++;
}

void diagnostics_error(struct diagnostics *diagnostics, const struct diagnostic_place *place, const char *format, ...)
{
        va_list arguments;

        diagnostics->error_count++;
        va_start(arguments, format);
        add_line(diagnostics, place, "", format, arguments);
        va_end(arguments);
}

void diagnostics_warning(struct diagnostics *diagnostics, const struct diagnostic_place *place, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        add_line(diagnostics, place, "warning: ", format, arguments);
        va_end(arguments);
}

size_t diagnostics_error_count(const struct diagnostics *diagnostics)
{
        return diagnostics->error_count;
}

size_t diagnostics_line_count(const struct diagnostics *diagnostics)
{
        return diagnostics->line_count;
}

const char *diagnostics_line(const struct diagnostics *diagnostics, size_t index)
{
        return diagnostics->lines[index];
}

void diagnostics_print(const struct diagnostics *diagnostics, FILE *stream)
{
        for (size_t i = 0; i < diagnostics->line_count; i++)
                fprintf(stream, "%s\n", diagnostics->lines[i]);
        if (diagnostics->dropped_count > 0)
                fprintf(stream, "and %zu more\n", diagnostics->dropped_count);
}
