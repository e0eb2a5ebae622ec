#include "records/spool_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "records/spool_segment.h"

#define DIRECTORY_MODE 0700
#define FILE_MODE 0600

void spool_directory_init(struct spool_directory *directory)
{
        *directory = (struct spool_directory){ -1, -1, -1 };
}

bool spool_directory_is_memory(const struct spool_directory *directory)
{
        return directory->fd == -1;
}

static int open_file(const struct spool_directory *directory, const char *name, int *ret_fd)
{
        int fd = openat(directory->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);

        if (fd == -1)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int spool_directory_open(struct spool_directory *directory, const char *path)
{
        if (mkdir(path, DIRECTORY_MODE) == -1 && errno != EEXIST)
                return -errno;
        directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory->fd == -1)
                return -errno;
        int r = open_file(directory, "lock", &directory->lock_fd);
        if (r == 0 && flock(directory->lock_fd, LOCK_EX | LOCK_NB) == -1)
                r = -errno;
        return r < 0 ? r : open_file(directory, "position", &directory->position_fd);
}

void spool_directory_close(struct spool_directory *directory)
{
        descriptor_close(&directory->position_fd);
        descriptor_close(&directory->lock_fd);
        descriptor_close(&directory->fd);
}

uint64_t spool_directory_free_bytes(const struct spool_directory *directory)
{
        struct statvfs status;

        if (spool_directory_is_memory(directory) || fstatvfs(directory->fd, &status) == -1)
                return UINT64_MAX;
        return (uint64_t)status.f_bavail * status.f_frsize;
}

static int tell_of(const struct spool_directory *directory, const char *name, spool_directory_fn on_segment,
                   void *context)
{
        struct spool_segment segment = { .fd = -1 };
        struct stat status;

        if (spool_segment_parse_name(name, &segment.start) < 0)
                return 0;
        if (fstatat(directory->fd, name, &status, AT_SYMLINK_NOFOLLOW) == -1)
                return -errno;
        /* Its name is that of the next segment to be begun. */
        if (status.st_size == 0)
                return unlinkat(directory->fd, name, 0) == -1 ? -errno : 0;
        segment.size = (uint64_t)status.st_size;
        return on_segment(&segment, context);
}

int spool_directory_each(const struct spool_directory *directory, spool_directory_fn on_segment, void *context)
{
        int fd = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *listing = fd != -1 ? fdopendir(fd) : NULL;
        const struct dirent *entry;
        int r = 0;

        if (listing == NULL) {
                r = -errno;
                descriptor_close(&fd);
                return r;
        }
        while (r == 0 && (entry = readdir(listing)) != NULL)
                r = tell_of(directory, entry->d_name, on_segment, context);
        closedir(listing);
        return r;
}

int spool_directory_cut(const struct spool_directory *directory, const struct spool_segment *segment,
                        uint64_t *ret_size)
{
        char name[SPOOL_SEGMENT_NAME_SIZE];
        uint64_t whole;

        spool_segment_name(segment->start, name);
        int fd = openat(directory->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd == -1)
                return -errno;
        int r = spool_segment_scan(fd, &whole);
        if (r == 0 && whole < segment->size && ftruncate(fd, (off_t)whole) == -1)
                r = -errno;
        close(fd);
        if (r == 0 && whole == 0 && unlinkat(directory->fd, name, 0) == -1)
                r = -errno;
        if (r == 0)
                *ret_size = whole;
        return r;
}

static int create_in_memory(struct spool_segment *segment, int *ret_fd)
{
        int fd = memfd_create("aksegressd-spool", MFD_CLOEXEC);

        if (fd == -1)
                return -errno;
        *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (*ret_fd == -1) {
                int error = errno;
                close(fd);
                return -error;
        }
        segment->fd = fd;
        return 0;
}

int spool_directory_create(const struct spool_directory *directory, struct spool_segment *segment, int *ret_fd)
{
        char name[SPOOL_SEGMENT_NAME_SIZE];

        if (spool_directory_is_memory(directory))
                return create_in_memory(segment, ret_fd);
        spool_segment_name(segment->start, name);
        return open_file(directory, name, ret_fd);
}

int spool_directory_open_segment(const struct spool_directory *directory, const struct spool_segment *segment)
{
        char name[SPOOL_SEGMENT_NAME_SIZE];
        int fd;

        spool_segment_name(segment->start, name);
        if (segment->fd != -1)
                fd = fcntl(segment->fd, F_DUPFD_CLOEXEC, 0);
        else
                fd = openat(directory->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return fd == -1 ? -errno : fd;
}

void spool_directory_remove(const struct spool_directory *directory, const struct spool_segment *segment)
{
        char name[SPOOL_SEGMENT_NAME_SIZE];

        spool_segment_name(segment->start, name);
        if (segment->fd != -1)
                close(segment->fd);
        else
                (void)unlinkat(directory->fd, name, 0);
}

bool spool_directory_read_position(const struct spool_directory *directory, struct spool_position *ret)
{
        struct spool_position position;

        if (pread(directory->position_fd, &position, sizeof(position), 0) != sizeof(position) ||
            position.confirmed > position.committed)
                return false;
        *ret = position;
        return true;
}

void spool_directory_keep_position(const struct spool_directory *directory, const struct spool_position *position)
{
        const struct spool_position copy = *position;

        if (directory->position_fd != -1)
                (void)!pwrite(directory->position_fd, &copy, sizeof(copy), 0);
}
