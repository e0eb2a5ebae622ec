#include "process/file_watch.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define READS_PER_TURN 16 /* before other events get their turn */
#define RETRY_MS 1000     /* until a directory that is gone is looked for again */
#define CONTENT_EVENTS (IN_MODIFY | IN_CLOSE_WRITE)
#define ENTRY_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define DIRECTORY_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF)

/* What tells one file, and one content of it, from another. All zero: there is none. */
struct identity {
        dev_t device;
        ino_t inode;
        long long size; /* bytes */
        struct timespec modified;
};

struct file_watch {
        int descriptor;
        int directory_watch; /* -1: the directory is gone */
        struct event *readable;
        struct event *settled;
        struct event *retry;
        char *path;
        char *directory;
        const char *name; /* in path */
        unsigned settle_ms;
        file_watch_fn on_change;
        void *context;
        struct identity identity;
};

static struct identity identify(const char *path)
{
        struct stat status;

        if (stat(path, &status) == -1)
                return (struct identity){ 0 };
        return (struct identity){
                .device = status.st_dev, .inode = status.st_ino, .size = status.st_size, .modified = status.st_mtim
        };
}

static bool is_same(const struct identity *a, const struct identity *b)
{
        return a->device == b->device && a->inode == b->inode && a->size == b->size &&
               a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* Whatever in the directory changed, perhaps a link on the way: the path may lead to another file now. */
static bool leads_elsewhere(struct file_watch *watch)
{
        struct identity now = identify(watch->path);

        if (is_same(&now, &watch->identity))
                return false;
        watch->identity = now;
        return true;
}

static void start_timer(struct event *timer, unsigned interval_ms)
{
        struct timeval delay = clock_timeval(interval_ms);

        event_add(timer, &delay);
}

static int watch_directory(struct file_watch *watch)
{
        watch->directory_watch = inotify_add_watch(watch->descriptor, watch->directory,
                                                   CONTENT_EVENTS | ENTRY_EVENTS | DIRECTORY_EVENTS | IN_ONLYDIR);
        return watch->directory_watch == -1 ? -errno : 0;
}

/* Another directory may have taken the place of the one that was watched. */
static void watch_directory_again(struct file_watch *watch)
{
        if (watch->directory_watch != -1)
                (void)inotify_rm_watch(watch->descriptor, watch->directory_watch); /* The kernel may have done it. */
        if (watch_directory(watch) < 0)
                start_timer(watch->retry, RETRY_MS);
}

struct turn {
        bool changed;        /* the file itself, or what happened is not known */
        bool directory_gone; /* or is elsewhere */
};

static void read_event(const struct file_watch *watch, const struct inotify_event *event, struct turn *turn)
{
        if ((event->mask & IN_Q_OVERFLOW) != 0)
                turn->changed = true;
        if (event->wd != watch->directory_watch)
                return; /* of a watch that was given up */
        if ((event->mask & (DIRECTORY_EVENTS | IN_IGNORED | IN_UNMOUNT)) != 0)
                turn->directory_gone = true;
        if (event->len > 0 && strcmp(event->name, watch->name) == 0)
                turn->changed = true;
}

/* Returns false when nothing more is there. */
static bool read_events(const struct file_watch *watch, struct turn *turn)
{
        char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        ssize_t length = read(watch->descriptor, buffer, sizeof(buffer));

        for (ssize_t at = 0; at < length;) {
                const struct inotify_event *event = (const struct inotify_event *)(buffer + at);
                read_event(watch, event, turn);
                at += (ssize_t)(sizeof(*event) + event->len);
        }
        return length > 0;
}

static void on_readable(evutil_socket_t descriptor, short events, void *context)
{
        struct file_watch *watch = context;
        struct turn turn = { 0 };

        (void)descriptor;
        (void)events;
        for (unsigned i = 0; i < READS_PER_TURN && read_events(watch, &turn); i++)
                ;
        if (turn.directory_gone)
                watch_directory_again(watch);
        if (leads_elsewhere(watch) || turn.changed)
                start_timer(watch->settled, watch->settle_ms);
}

static void on_settled(evutil_socket_t descriptor, short events, void *context)
{
        struct file_watch *watch = context;

        (void)descriptor;
        (void)events;
        watch->on_change(watch->context); /* may free the watch */
}

static void on_retry(evutil_socket_t descriptor, short events, void *context)
{
        struct file_watch *watch = context;

        (void)descriptor;
        (void)events;
        watch_directory_again(watch);
        if (leads_elsewhere(watch))
                start_timer(watch->settled, watch->settle_ms);
}

static int split_path(struct file_watch *watch, const char *path)
{
        const char *slash;

        watch->path = strdup(path);
        if (watch->path == NULL)
                return -ENOMEM;
        slash = strrchr(watch->path, '/');
        watch->name = slash == NULL ? watch->path : slash + 1;
        if (slash == NULL)
                watch->directory = strdup(".");
        else
                watch->directory = strndup(watch->path, slash == watch->path ? 1 : (size_t)(slash - watch->path));
        return watch->directory == NULL ? -ENOMEM : 0;
}

static int start(struct file_watch *watch, struct event_base *base, const char *path)
{
        int r = split_path(watch, path);

        if (r < 0)
                return r;
        watch->descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (watch->descriptor == -1)
                return -errno;
        r = watch_directory(watch);
        if (r < 0)
                return r;
        watch->identity = identify(watch->path);
        watch->readable = event_new(base, watch->descriptor, EV_READ | EV_PERSIST, on_readable, watch);
        watch->settled = event_new(base, -1, 0, on_settled, watch);
        watch->retry = event_new(base, -1, 0, on_retry, watch);
        if (watch->readable == NULL || watch->settled == NULL || watch->retry == NULL ||
            event_add(watch->readable, NULL) == -1)
                return -ENOMEM;
        return 0;
}

int file_watch_new(struct event_base *base, const char *path, unsigned settle_ms, file_watch_fn on_change,
                   void *context, struct file_watch **ret)
{
        struct file_watch *watch = calloc(1, sizeof(*watch));
        int r;

        if (watch == NULL)
                return -ENOMEM;
        watch->descriptor = watch->directory_watch = -1;
        watch->settle_ms = settle_ms;
        watch->on_change = on_change;
        watch->context = context;
        r = start(watch, base, path);
        if (r < 0) {
                file_watch_free(watch);
                return r;
        }
        *ret = watch;
        return 0;
}

bool file_watch_is_of(const struct file_watch *watch, const char *path)
{
        return strcmp(watch->path, path) == 0;
}

void file_watch_free(struct file_watch *watch)
{
        if (watch == NULL)
                return;
        if (watch->retry != NULL)
                event_free(watch->retry);
        if (watch->settled != NULL)
                event_free(watch->settled);
        if (watch->readable != NULL)
                event_free(watch->readable);
        if (watch->descriptor != -1)
                close(watch->descriptor);
        free(watch->directory);
        free(watch->path);
        free(watch);
}
