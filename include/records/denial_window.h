/*
 * Keeps repeated denials short: the first of a kind is written at once, those like it that follow are counted, and
 * once a window a summary says how many. Every denial is either told to be written or in the count of exactly one
 * summary.
 *
 * Two denials are of one kind when they have the same event, listener, action, reason, protocol, cluster, client
 * address, destination port, and name, or where there is no name, destination address (that of the original one where
 * there is none either); queries also the same type, class and response code. Client ports, ids and times differ as
 * they like.
 *
 * A window begins with the denial that is written. When it ends with some counted, their summary goes out and the
 * next window begins: what goes on has one summary a window. When it ends with none, the kind is forgotten.
 *
 * The table is bounded and allocated once. A kind that finds it full ends the window of the oldest one early: its
 * summary, if there is any, goes out at once, and its next denial is written again. So nothing is lost, but clients
 * that vary what they ask for faster than the table can hold are written in full. Pure: the caller says what time it
 * is. One thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "records/decision.h"

#define DENIAL_WINDOW_DEFAULT_KINDS 4096 /* about 7 MB, touched only as far as it was ever used */

struct denial_window;

/*
 * What a summary is given to, during the call that ends its window. It is the first decision of its kind as event
 * SUMMARY, without the client's port, with count, first_time_us and last_time_us of those that were counted, their
 * bytes and sizes added up, and as its time the end of the window. Borrowed for the call, which must not touch the
 * denial_window.
 */
typedef void (*denial_window_fn)(const struct decision *summary, void *context);

/* kinds: told apart at a time, at least 1. Returns 0 or -ENOMEM. */
MUST_CHECK int denial_window_new(size_t kinds, uint64_t window_ms, denial_window_fn on_summary, void *context,
                                 struct denial_window **ret);

/* Takes NULL. Forgets what was counted: denial_window_flush_all first. */
void denial_window_free(struct denial_window *window);

enum denial_window_answer {
        DENIAL_WINDOW_PASS = 0, /* write it */
        DENIAL_WINDOW_COUNTED,  /* it will be in a summary: do not write it */
};

/*
 * Notes a decision that would be written now. now_ms: monotonic, never less than in an earlier call. What was allowed,
 * alarms, summaries, and flows, each of which moved bytes of its own, always pass.
 */
MUST_CHECK enum denial_window_answer denial_window_note(struct denial_window *window, const struct decision *decision,
                                                        uint64_t now_ms);

/* Ends every window whose time is over. May come late: what is noted until then is in the same summary. */
void denial_window_flush(struct denial_window *window, uint64_t now_ms);

/* Ends every window, and forgets all kinds. */
void denial_window_flush_all(struct denial_window *window, uint64_t now_ms);

/* When to call denial_window_flush next; UINT64_MAX: not before another denial was noted. */
uint64_t denial_window_deadline_ms(const struct denial_window *window);
