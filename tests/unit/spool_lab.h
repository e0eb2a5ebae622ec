/* A spool in a directory of its own, and records that say their number. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "records/spool.h"

#define MIB (1u << 20)

static char parent[64];
static char directory[96];

static inline int make_directory(void **state)
{
        (void)state;
        snprintf(parent, sizeof(parent), "/tmp/aksegress-test-XXXXXX");
        assert_non_null(mkdtemp(parent));
        snprintf(directory, sizeof(directory), "%s/spool", parent);
        return 0;
}

/* Calls back for each file; returns how many there were. */
static inline size_t each_file(void (*on_file)(const char *path))
{
        DIR *listing = opendir(directory);
        const struct dirent *entry;
        size_t files = 0;

        while (listing != NULL && (entry = readdir(listing)) != NULL) {
                char path[512];
                if (entry->d_name[0] == '.')
                        continue;
                snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
                if (strstr(path, ".records") != NULL)
                        files++;
                if (on_file != NULL)
                        on_file(path);
        }
        if (listing != NULL)
                closedir(listing);
        return files;
}

static inline void remove_file(const char *path)
{
        unlink(path);
}

static inline int remove_directory(void **state)
{
        (void)state;
        each_file(remove_file);
        rmdir(directory);
        rmdir(parent);
        return 0;
}

static inline struct spool *open_spool(const char *path, uint64_t max_bytes)
{
        struct spool *spool = NULL;
        char error[256] = "";

        if (spool_open(path, max_bytes, error, sizeof(error), &spool) < 0)
                fail_msg("%s", error);
        return spool;
}

/* A record that says its number and is length bytes long. */
static inline int append(struct spool *spool, unsigned number, size_t length)
{
        static char record[SPOOL_RECORD_MAX_LENGTH];

        memset(record, 'x', sizeof(record));
        memcpy(record, &number, sizeof(number));
        return spool_append(spool, record, length);
}

static inline void append_row(struct spool *spool, unsigned first, unsigned count, size_t length)
{
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(append(spool, first + i, length), 0);
        assert_int_equal(spool_flush(spool), 0);
}

/* The number of the next record, or -1. */
static inline int64_t next_number(struct spool *spool)
{
        struct spool_record record;
        unsigned number;
        int error;

        if (!spool_next(spool, &record, &error)) {
                assert_int_equal(error, 0);
                return -1;
        }
        memcpy(&number, record.bytes, sizeof(number));
        return number;
}

static inline void assert_row(struct spool *spool, unsigned first, unsigned count)
{
        for (unsigned i = 0; i < count; i++)
                assert_int_equal(next_number(spool), first + i);
        assert_int_equal(next_number(spool), -1);
        assert_true(spool_is_read(spool));
}

static char segment_path[512];

static inline void note_segment(const char *path)
{
        if (strstr(path, ".records") != NULL && (segment_path[0] == '\0' || strcmp(path, segment_path) < 0))
                snprintf(segment_path, sizeof(segment_path), "%s", path);
}

static inline void overwrite(off_t at, const char *bytes, size_t length)
{
        segment_path[0] = '\0';
        each_file(note_segment);
        int fd = open(segment_path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, bytes, length, at), length);
        close(fd);
}

#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
