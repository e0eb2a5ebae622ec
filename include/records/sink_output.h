/*
 * What a sink writes to: one type for each kind, behind the same few calls, for the sink's thread alone but for the last three:
 * set_target and set_spool_max are for the thread that made the sink, figures for any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct syslog_target;

struct sink_output_figures {
        uint64_t spooled_bytes;      /* waiting to be sent */
        uint64_t connections;        /* made so far */
        unsigned spool_used_percent; /* of a spool on disk, otherwise 0; at 100 records begin to wait in the queue */
};

struct sink_output_type {
        /*
         * Takes one record whole. Returns 0; -EAGAIN: no room, wait for the descriptor or for the sink to be woken and
         * offer it again; another -errno: it could not be written.
         */
        int (*put)(void *output, const char *record, size_t length);

        /* Writes out what was taken and is not written. Returns as put does. NULL: nothing is ever kept. */
        int (*flush)(void *output);

        /* How many records were taken and are not written. NULL: none. */
        size_t (*pending)(const void *output);

        /* Opens it anew under its name; on failure the old one is used on. Returns 0 or -errno. NULL: there is no such thing. */
        int (*reopen)(void *output);

        /* To poll() for writing after -EAGAIN; -1: none. */
        int (*descriptor)(const void *output);

        /*
         * Has until deadline_ms (clock_monotonic_ms) to bring out what was flushed. Returns how many of these records will
         * never arrive. NULL: what is flushed is out.
         */
        size_t (*finish)(void *output, uint64_t deadline_ms);

        void (*close)(void *output);

        /* Goes over to other settings of the same output; keeps a reference. NULL: it has none that can change. */
        void (*set_target)(void *output, struct syslog_target *target);

        /* Goes over to another bound of its spool on disk. NULL: it never has one. */
        void (*set_spool_max)(void *output, uint64_t max_bytes);

        /* NULL: all are 0. */
        struct sink_output_figures (*figures)(void *output);

        /* A record that could not be written is lost (nobody listens), and not tried again until it can be (full disk). */
        bool loses;
};

struct sink_output {
        const struct sink_output_type *type;
        void *self; /* owned; NULL: not open */
};
