#include "traffic/learned_teacher.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#define CLUSTER_NAME_SIZE 64 /* config_value_name takes 63 bytes */

struct learned_lesson {
        TAILQ_ENTRY(learned_lesson) link; /* in school.lessons, then a batch's, then teacher.returned */
        struct learned_teacher *teacher;
        learned_lesson_fn on_known; /* NULL: cancelled; the teacher's thread alone reads and writes it, and context */
        void *context;
        char cluster[CLUSTER_NAME_SIZE];
        struct fqdn name;
        uint32_t ttl_s;
        bool known;
        size_t count;
        struct net_address addresses[];
};

TAILQ_HEAD(lesson_list, learned_lesson);

/* A list that one thread fills and an event loop of another empties. */
struct inbox {
        pthread_mutex_t lock;
        struct lesson_list lessons;
        int fd; /* eventfd; -1: not open */
        struct event *arrived;
};

struct learned_school {
        struct learned_addresses *learned; /* borrowed */
        pthread_mutex_t busy;              /* held while a batch is learned and given back */
        struct inbox inbox;
};

struct learned_teacher {
        struct learned_school *school; /* borrowed */
        struct inbox inbox;
        size_t lesson_count; /* on their way, cancelled ones too; its thread alone reads and writes it */
};

static int inbox_open(struct inbox *inbox, struct event_base *base, event_callback_fn on_arrived, void *context)
{
        TAILQ_INIT(&inbox->lessons);
        pthread_mutex_init(&inbox->lock, NULL);
        inbox->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (inbox->fd == -1)
                return -errno;
        inbox->arrived = event_new(base, inbox->fd, EV_READ | EV_PERSIST, on_arrived, context);
        return inbox->arrived != NULL && event_add(inbox->arrived, NULL) == 0 ? 0 : -ENOMEM;
}

static void inbox_close(struct inbox *inbox)
{
        if (inbox->arrived != NULL)
                event_free(inbox->arrived);
        if (inbox->fd != -1)
                close(inbox->fd);
        while (!TAILQ_EMPTY(&inbox->lessons)) {
                struct learned_lesson *lesson = TAILQ_FIRST(&inbox->lessons);
                TAILQ_REMOVE(&inbox->lessons, lesson, link);
                free(lesson);
        }
        pthread_mutex_destroy(&inbox->lock);
}

static void inbox_post(struct inbox *inbox, struct learned_lesson *lesson)
{
        uint64_t one = 1;

        pthread_mutex_lock(&inbox->lock);
        TAILQ_INSERT_TAIL(&inbox->lessons, lesson, link);
        pthread_mutex_unlock(&inbox->lock);
        ssize_t written = write(inbox->fd, &one, sizeof(one));
        (void)written; /* Fails only when the counter is at its maximum, and then the reader is awake anyway. */
}

/* Moves everything that has arrived to *batch. */
static void inbox_take(struct inbox *inbox, struct lesson_list *batch)
{
        uint64_t count;
        ssize_t length = read(inbox->fd, &count, sizeof(count));

        (void)length; /* Only resets the counter. */
        TAILQ_INIT(batch);
        pthread_mutex_lock(&inbox->lock);
        TAILQ_CONCAT(batch, &inbox->lessons, link);
        pthread_mutex_unlock(&inbox->lock);
}

/* The school. */

static void learn_batch(struct learned_addresses *learned, const struct lesson_list *batch)
{
        struct learned_lesson *lesson;
        int r;

        TAILQ_FOREACH(lesson, batch, link)
        lesson->known = learned_addresses_add(learned, lesson->cluster, &lesson->name, lesson->addresses, lesson->count,
                                              lesson->ttl_s) == 0;
        r = learned_addresses_commit(learned);
        TAILQ_FOREACH(lesson, batch, link)
        lesson->known = lesson->known && r == 0;
}

static void on_lessons(evutil_socket_t fd, short what, void *context)
{
        struct learned_school *school = context;
        struct lesson_list batch;

        (void)fd;
        (void)what;
        pthread_mutex_lock(&school->busy);
        inbox_take(&school->inbox, &batch);
        learn_batch(school->learned, &batch);
        while (!TAILQ_EMPTY(&batch)) {
                struct learned_lesson *lesson = TAILQ_FIRST(&batch);
                TAILQ_REMOVE(&batch, lesson, link);
                inbox_post(&lesson->teacher->inbox, lesson);
        }
        pthread_mutex_unlock(&school->busy);
}

int learned_school_new(struct learned_addresses *learned, struct event_base *base, struct learned_school **ret)
{
        struct learned_school *school = calloc(1, sizeof(*school));

        if (school == NULL)
                return -ENOMEM;
        school->learned = learned;
        pthread_mutex_init(&school->busy, NULL);
        int r = inbox_open(&school->inbox, base, on_lessons, school);
        if (r < 0) {
                learned_school_free(school);
                return r;
        }
        *ret = school;
        return 0;
}

void learned_school_free(struct learned_school *school)
{
        if (school == NULL)
                return;
        inbox_close(&school->inbox);
        pthread_mutex_destroy(&school->busy);
        free(school);
}

/* Teachers. */

static void on_returned(evutil_socket_t fd, short what, void *context)
{
        struct learned_teacher *teacher = context;
        struct lesson_list batch;

        (void)fd;
        (void)what;
        inbox_take(&teacher->inbox, &batch);
        while (!TAILQ_EMPTY(&batch)) {
                struct learned_lesson *lesson = TAILQ_FIRST(&batch);
                TAILQ_REMOVE(&batch, lesson, link);
                teacher->lesson_count--;
                if (lesson->on_known != NULL)
                        lesson->on_known(lesson->known, lesson->context);
                free(lesson);
        }
}

int learned_teacher_new(struct learned_school *school, struct event_base *base, struct learned_teacher **ret)
{
        struct learned_teacher *teacher = calloc(1, sizeof(*teacher));

        if (teacher == NULL)
                return -ENOMEM;
        teacher->school = school;
        int r = inbox_open(&teacher->inbox, base, on_returned, teacher);
        if (r < 0) {
                inbox_close(&teacher->inbox);
                free(teacher);
                return r;
        }
        *ret = teacher;
        return 0;
}

static void take_back_lessons(struct learned_teacher *teacher)
{
        struct inbox *inbox = &teacher->school->inbox;
        struct learned_lesson *lesson, *next;

        pthread_mutex_lock(&inbox->lock);
        for (lesson = TAILQ_FIRST(&inbox->lessons); lesson != NULL; lesson = next) {
                next = TAILQ_NEXT(lesson, link);
                if (lesson->teacher != teacher)
                        continue;
                TAILQ_REMOVE(&inbox->lessons, lesson, link);
                free(lesson);
        }
        pthread_mutex_unlock(&inbox->lock);
}

void learned_teacher_free(struct learned_teacher *teacher)
{
        if (teacher == NULL)
                return;
        /* While nothing is learned, all its lessons are in one of the two inboxes. */
        pthread_mutex_lock(&teacher->school->busy);
        take_back_lessons(teacher);
        inbox_close(&teacher->inbox);
        pthread_mutex_unlock(&teacher->school->busy);
        free(teacher);
}

int learned_teacher_teach(struct learned_teacher *teacher, const struct policy *policy,
                          const struct policy_cluster *cluster, const struct fqdn *name,
                          const struct net_address *addresses, size_t count, uint32_t ttl_s, learned_lesson_fn on_known,
                          void *context, struct learned_lesson **ret)
{
        struct learned_lesson *lesson;

        *ret = NULL;
        if (learned_addresses_know(teacher->school->learned, policy, cluster, name, addresses, count, ttl_s))
                return 0;
        if (count > LEARNED_LESSON_MAX_ADDRESSES)
                return -E2BIG;
        if (teacher->lesson_count == LEARNED_TEACHER_MAX_LESSONS)
                return -ENOBUFS;
        lesson = calloc(1, sizeof(*lesson) + count * sizeof(*addresses));
        if (lesson == NULL)
                return -ENOMEM;
        lesson->teacher = teacher;
        lesson->on_known = on_known;
        lesson->context = context;
        memcpy(lesson->cluster, policy_cluster_name(cluster), strlen(policy_cluster_name(cluster)) + 1);
        lesson->name = *name;
        lesson->ttl_s = ttl_s;
        lesson->count = count;
        memcpy(lesson->addresses, addresses, count * sizeof(*addresses));
        *ret = lesson;
        teacher->lesson_count++;
        inbox_post(&teacher->school->inbox, lesson);
        return 0;
}

void learned_lesson_hand_to(struct learned_lesson *lesson, void *context)
{
        lesson->context = context;
}

void learned_lesson_cancel(struct learned_lesson *lesson)
{
        lesson->on_known = NULL;
}
