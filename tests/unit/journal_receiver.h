/* Plays journald: a datagram socket and a parser of its native protocol that fails the test on anything malformed. */
#pragma once

#include "record_samples.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECEIVER_MAX_FIELDS 64
#define RECEIVER_DEADLINE_MS 10000

struct receiver_record {
        char datagram[65536];
        size_t count;
        struct receiver_field {
                const char *name; /* not NUL-terminated */
                size_t name_length;
                const char *value;
                size_t value_length;
        } fields[RECEIVER_MAX_FIELDS];
};

static inline int receiver_bind(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_int_not_equal(fd, -1);
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

/* Waits for a datagram; fails the test when none comes. */
static inline size_t receiver_read(int fd, char *buffer, size_t size)
{
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&poll_fd, 1, RECEIVER_DEADLINE_MS), 1);
        ssize_t length = recv(fd, buffer, size, MSG_TRUNC);
        assert_in_range(length, 1, size);
        return (size_t)length;
}

/* journald drops fields whose names have other characters, or begin with an underscore or a digit. */
static inline void receiver_check_name(const char *name, size_t length)
{
        assert_in_range(length, 1, 64);
        assert_in_range(name[0], 'A', 'Z');
        for (size_t i = 0; i < length; i++)
                assert_true((name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '_');
}

static inline void receiver_parse(struct receiver_record *record, size_t length)
{
        const char *next = record->datagram;
        const char *end = record->datagram + length;

        record->count = 0;
        while (next < end) {
                assert_in_range(record->count, 0, RECEIVER_MAX_FIELDS - 1);
                struct receiver_field *field = &record->fields[record->count++];
                const char *newline = memchr(next, '\n', (size_t)(end - next));
                assert_non_null(newline);
                const char *equals = memchr(next, '=', (size_t)(newline - next));
                field->name = next;
                if (equals != NULL) {
                        field->name_length = (size_t)(equals - next);
                        field->value = equals + 1;
                        field->value_length = (size_t)(newline - equals - 1);
                } else {
                        field->name_length = (size_t)(newline - next);
                        assert_true(end - newline > 8);
                        for (int i = 8; i >= 1; i--)
                                field->value_length = field->value_length << 8 | (uint8_t)newline[i];
                        field->value = newline + 9;
                        assert_true(field->value_length < (size_t)(end - field->value));
                        assert_int_equal(field->value[field->value_length], '\n');
                }
                receiver_check_name(field->name, field->name_length);
                next = field->value + field->value_length + 1;
        }
}

/* NULL: not there. Fails when it is there twice. */
static inline const struct receiver_field *receiver_find(const struct receiver_record *record, const char *name)
{
        const struct receiver_field *found = NULL;

        for (size_t i = 0; i < record->count; i++) {
                const struct receiver_field *field = &record->fields[i];
                if (field->name_length != strlen(name) || memcmp(field->name, name, field->name_length) != 0)
                        continue;
                assert_null(found);
                found = field;
        }
        return found;
}

static inline void receiver_assert(const struct receiver_record *record, const char *name, const char *value)
{
        const struct receiver_field *field = receiver_find(record, name);

        if (field == NULL)
                fail_msg("%s is missing", name);
        else if (field->value_length != strlen(value) || memcmp(field->value, value, field->value_length) != 0)
                fail_msg("%s is '%.*s', not '%s'", name, (int)field->value_length, field->value, value);
}

static inline void receiver_assert_number(const struct receiver_record *record, const char *name, uint64_t number)
{
        char text[32];

        snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
        receiver_assert(record, name, text);
}

static inline void receiver_assert_absent(const struct receiver_record *record, const char *name)
{
        assert_null(receiver_find(record, name));
}
