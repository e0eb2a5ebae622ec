/*
 * How a worker teaches learned addresses: what its client is about to be told goes to the main thread, which puts it into the
 * kernel, and comes back; only then is the client told. Many lessons at a time are one batch for the kernel.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "policy/policy.h"
#include "traffic/learned_addresses.h"

#define LEARNED_LESSON_MAX_ADDRESSES 64   /* of one answer */
#define LEARNED_TEACHER_MAX_LESSONS 10000 /* on their way at a time, those that were cancelled too */

struct learned_school;  /* the main thread's side: takes lessons from its event loop */
struct learned_teacher; /* one worker's side */
struct learned_lesson;  /* one answer on its way into the kernel */

/* learned and base are borrowed. Returns 0 or -Exxx. _free takes NULL; every teacher must have been freed. */
MUST_CHECK int learned_school_new(struct learned_addresses *learned, struct event_base *base,
                                  struct learned_school **ret);
void learned_school_free(struct learned_school *school);

/* known: false when it could not be kept (table full, the kernel refused): the client must not be told the answer. */
typedef void (*learned_lesson_fn)(bool known, void *context);

/*
 * For one worker: base is its event loop. Returns 0 or -Exxx. _free takes NULL, and waits for a lesson that is being learned
 * just then; lessons end without a callback. Not from within on_known.
 */
MUST_CHECK int learned_teacher_new(struct learned_school *school, struct event_base *base,
                                   struct learned_teacher **ret);
void learned_teacher_free(struct learned_teacher *teacher);

/*
 * Teaches that the name has these addresses for ttl_s seconds. Where no network rule of the cluster is about the name, or
 * everything is known for long enough, there is nothing to wait for: *ret is NULL and on_known will not run. Otherwise
 * on_known runs once, later, never inside this call, and *ret is gone after it.
 *
 * Returns 0, -E2BIG: too many addresses, -ENOBUFS: LEARNED_TEACHER_MAX_LESSONS are on their way, or -ENOMEM.
 */
MUST_CHECK int learned_teacher_teach(struct learned_teacher *teacher, const struct policy *policy,
                                     const struct policy_cluster *cluster, const struct fqdn *name,
                                     const struct net_address *addresses, size_t count, uint32_t ttl_s,
                                     learned_lesson_fn on_known, void *context, struct learned_lesson **ret);

/* Changes the context with which on_known will run: to something that is made only when there is a lesson to wait for. */
void learned_lesson_hand_to(struct learned_lesson *lesson, void *context);

/* After this on_known will not run. What was taught stays. */
void learned_lesson_cancel(struct learned_lesson *lesson);
