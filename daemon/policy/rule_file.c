#include "policy/rule_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"

static int complain(const char *path, const struct diagnostic_place *place, struct diagnostics *diagnostics, int error)
{
        diagnostics_error(diagnostics, place, "cannot read '%s': %s", path, strerror(error));
        return -EINVAL;
}

/* O_NONBLOCK: opening a FIFO by mistake must not wait for its writer. */
static int open_regular(const char *path, size_t max_size, const struct diagnostic_place *place,
                        struct diagnostics *diagnostics, size_t *ret_size)
{
        struct stat status;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

        if (fd == -1)
                return complain(path, place, diagnostics, errno);
        if (fstat(fd, &status) == -1) {
                int error = errno;
                close(fd);
                return complain(path, place, diagnostics, error);
        }
        if (!S_ISREG(status.st_mode) || (size_t)status.st_size > max_size) {
                diagnostics_error(diagnostics, place, "cannot read '%s': it must be a file of at most %zu MiB", path,
                                  max_size >> 20);
                close(fd);
                return -EINVAL;
        }
        *ret_size = (size_t)status.st_size;
        return fd;
}

static struct rule_file *new_file(const char *path, size_t size)
{
        struct rule_file *file = calloc(1, sizeof(*file));

        if (file == NULL)
                return NULL;
        file->path = strdup(path);
        file->text = malloc(size + 1); /* never zero bytes */
        if (file->path == NULL || file->text == NULL) {
                rule_file_free(file);
                return NULL;
        }
        return file;
}

int rule_file_read(const char *path, size_t max_size, const struct diagnostic_place *place,
                   struct diagnostics *diagnostics, struct rule_file **ret)
{
        size_t size;
        int fd = open_regular(path, max_size, place, diagnostics, &size);
        int r = -ENOMEM;

        if (fd < 0)
                return fd;
        struct rule_file *file = new_file(path, size);
        if (file != NULL) /* A file that grows meanwhile is cut there, one that shrinks ends early. */
                r = descriptor_read(fd, file->text, size, &file->length);
        close(fd);
        if (r < 0) {
                rule_file_free(file);
                return r == -ENOMEM ? r : complain(path, place, diagnostics, -r);
        }
        *ret = file;
        return 0;
}

void rule_file_free(struct rule_file *file)
{
        if (file == NULL)
                return;
        free(file->path);
        free(file->text);
        free(file);
}

/* Cuts the first line off, without its end (LF or CR LF). */
static struct rule_span take_line(struct rule_span *rest)
{
        const char *newline = memchr(rest->text, '\n', rest->length);
        struct rule_span line = { rest->text, newline != NULL ? (size_t)(newline - rest->text) : rest->length };
        size_t taken = line.length + (newline != NULL ? 1 : 0);

        *rest = (struct rule_span){ rest->text + taken, rest->length - taken };
        if (line.length > 0 && line.text[line.length - 1] == '\r')
                line.length--;
        return line;
}

static bool occurs(struct rule_span line, const char *word)
{
        return memmem(line.text, line.length, word, strlen(word)) != NULL;
}

bool rule_file_depends_on_cluster(const struct rule_file *file)
{
        struct rule_span rest = { file->text, file->length };

        while (rest.length > 0) {
                struct rule_span line = take_line(&rest);
                if (line.length == 0 || line.text[0] == '#')
                        continue;
                if (occurs(line, "{") || occurs(line, "when=") || occurs(line, "cloud ") || occurs(line, "cloud\t"))
                        return true;
        }
        return false;
}

struct rule_reader rule_reader_from(const char *text, size_t length, enum rule_style style)
{
        static const char byte_order_mark[] = "\xef\xbb\xbf";
        size_t skip = length >= 3 && memcmp(text, byte_order_mark, 3) == 0 ? 3 : 0;

        return (struct rule_reader){
                .rest = { text + skip, length - skip },
                .style = style,
                .cloud = RULE_CLOUD_ALL,
        };
}

bool rule_reader_next(struct rule_reader *reader, struct rule_reader_line *ret)
{
        struct rule_line parsed;

        while (reader->rest.length > 0) {
                struct rule_span text = take_line(&reader->rest);
                reader->line++;
                switch (rule_line_parse(text, reader->style, &parsed, &ret->error)) {
                case RULE_LINE_EMPTY:
                        continue;
                case RULE_LINE_CLOUD:
                        reader->cloud = parsed.cloud;
                        continue;
                case RULE_LINE_RULE:
                case RULE_LINE_BAD:
                        break;
                }
                ret->text = text;
                ret->number = reader->line;
                ret->cloud = reader->cloud;
                ret->bad = parsed.kind == RULE_LINE_BAD;
                ret->rule = parsed.rule;
                return true;
        }
        return false;
}
