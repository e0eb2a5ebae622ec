#include "records/sink_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)
#define LINE_MAX_LENGTH 16384
#define FILE_MODE 0640

struct sink_file {
        char *path;
        char *buffer;
        size_t used; /* bytes in the buffer */
        size_t sent; /* of these, in the file */
        int fd;      /* never -1 in an open sink_file */
        bool cut;    /* the file ends in the middle of a line that will not be finished */
        bool regular;
        uint64_t size; /* of a regular file after a write that stopped in the middle of a line */
};

/* Non-blocking for the sake of pipes; regular files do not care. */
static int open_path(const char *path)
{
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, FILE_MODE);

        return fd == -1 ? -errno : fd;
}

/* Whether the last byte is there and not a newline. A file that cannot be read is taken to be whole. */
static bool ends_in_cut_line(const char *path, const struct stat *status)
{
        char last = '\n';

        if (!S_ISREG(status->st_mode) || status->st_size == 0)
                return false;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd == -1)
                return false;
        if (pread(fd, &last, 1, status->st_size - 1) != 1)
                last = '\n';
        close(fd);
        return last != '\n';
}

static void adopt(struct sink_file *file, int fd, const struct stat *status)
{
        file->fd = fd;
        file->regular = S_ISREG(status->st_mode);
        file->cut = ends_in_cut_line(file->path, status);
}

int sink_file_open(const char *path, struct sink_file **ret)
{
        struct stat status = { 0 };
        struct sink_file *file = calloc(1, sizeof(*file));

        if (file == NULL)
                return -ENOMEM;
        file->fd = -1;
        file->path = strdup(path);
        file->buffer = malloc(BUFFER_SIZE);
        if (file->path == NULL || file->buffer == NULL) {
                sink_file_close(file);
                return -ENOMEM;
        }
        int fd = open_path(path);
        if (fd < 0 || fstat(fd, &status) == -1) {
                int error = fd < 0 ? fd : -errno;
                if (fd >= 0)
                        close(fd);
                sink_file_close(file);
                return error;
        }
        adopt(file, fd, &status);
        *ret = file;
        return 0;
}

void sink_file_close(struct sink_file *file)
{
        if (file == NULL)
                return;
        if (file->fd != -1)
                close(file->fd);
        free(file->buffer);
        free(file->path);
        free(file);
}

bool sink_file_append(struct sink_file *file, const char *line, size_t length)
{
        assert(length <= LINE_MAX_LENGTH);
        if (length + 1 > BUFFER_SIZE - file->used)
                return false;
        memcpy(file->buffer + file->used, line, length);
        file->buffer[file->used + length] = '\n';
        file->used += length + 1;
        return true;
}

/* Whether the file holds the beginning of a line whose rest is in the buffer. */
static bool is_mid_line(const struct sink_file *file)
{
        return file->sent > 0 && file->sent < file->used && file->buffer[file->sent - 1] != '\n';
}

static void rewind_to_line_start(struct sink_file *file)
{
        while (is_mid_line(file))
                file->sent--;
}

/* Someone made room by truncating the file: the beginning of our line is gone with the rest. */
static void notice_truncation(struct sink_file *file)
{
        struct stat status;

        if (!file->regular || !is_mid_line(file) || fstat(file->fd, &status) == -1)
                return;
        if ((uint64_t)status.st_size < file->size)
                rewind_to_line_start(file);
}

static void remember_size(struct sink_file *file)
{
        struct stat status;

        if (file->regular && is_mid_line(file) && fstat(file->fd, &status) == 0)
                file->size = (uint64_t)status.st_size;
}

/* Writes bytes of the buffer up to end. Returns 0 or -errno; sent says how far it came. */
static int write_up_to(struct sink_file *file, size_t end)
{
        while (file->sent < end) {
                ssize_t written = write(file->fd, file->buffer + file->sent, end - file->sent);
                if (written == -1 && errno == EINTR)
                        continue;
                if (written == -1)
                        return -errno;
                /* Cannot be for a length above 0, but must not become an endless loop. */
                if (written == 0)
                        return -EIO;
                file->sent += (size_t)written;
        }
        return 0;
}

static int end_cut_line(struct sink_file *file)
{
        if (!file->cut)
                return 0;
        ssize_t written = write(file->fd, "\n", 1);
        if (written != 1)
                return written == -1 ? -errno : -EIO;
        file->cut = false;
        return 0;
}

int sink_file_flush(struct sink_file *file)
{
        if (file->sent == file->used)
                return 0;
        notice_truncation(file);
        int r = end_cut_line(file);
        if (r < 0)
                return r;
        r = write_up_to(file, file->used);
        if (r < 0) {
                remember_size(file);
                return r;
        }
        file->used = 0;
        file->sent = 0;
        return 0;
}

size_t sink_file_pending(const struct sink_file *file)
{
        size_t lines = 0;

        for (size_t i = file->sent; i < file->used; i++)
                if (file->buffer[i] == '\n')
                        lines++;
        return lines;
}

/* The old file gets the rest of its last line; where that cannot be, the new file gets the whole line. */
static void leave_old_file(struct sink_file *file)
{
        if (!is_mid_line(file))
                return;
        const char *end = memchr(file->buffer + file->sent, '\n', file->used - file->sent);
        if (write_up_to(file, (size_t)(end + 1 - file->buffer)) < 0)
                rewind_to_line_start(file);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int sink_file_reopen(struct sink_file *file)
{
        struct stat old_status;
        struct stat status;
        int fd = open_path(file->path);

        if (fd < 0)
                return fd;
        if (fstat(fd, &status) == -1) {
                int error = errno;
                close(fd);
                return -error;
        }
        if (fstat(file->fd, &old_status) == 0 && is_same_file(&status, &old_status)) {
                close(fd);
                return 0;
        }
        leave_old_file(file);
        close(file->fd);
        adopt(file, fd, &status);
        return 0;
}

int sink_file_descriptor(const struct sink_file *file)
{
        return file->fd;
}

/* As output of a sink. */

static int output_put(void *output, const char *record, size_t length)
{
        while (!sink_file_append(output, record, length)) {
                int r = sink_file_flush(output);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int output_flush(void *output)
{
        return sink_file_flush(output);
}

static size_t output_pending(const void *output)
{
        return sink_file_pending(output);
}

static int output_reopen(void *output)
{
        return sink_file_reopen(output);
}

static int output_descriptor(const void *output)
{
        return sink_file_descriptor(output);
}

static void output_close(void *output)
{
        sink_file_close(output);
}

const struct sink_output_type sink_file_output = {
        .put = output_put,
        .flush = output_flush,
        .pending = output_pending,
        .reopen = output_reopen,
        .descriptor = output_descriptor,
        .close = output_close,
};
