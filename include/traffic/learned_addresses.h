/*
 * The addresses of names in network rules: what DNS said of them, kept for as long as clients may use it, in a table that the
 * workers read and in the kernel's sets. The main thread owns and changes it; workers teach it what their clients are about to
 * be told, and tell them only when the kernel knows.
 *
 * An address stays LEARNED_ADDRESSES_KEEP_MS after the answer that named it ran out. Bounded: LEARNED_ADDRESSES_MAX entries.
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

#define LEARNED_ADDRESSES_KEEP_MS (15 * 60 * 1000) /* after the TTL: clients and their caches hold on to an answer for long */
#define LEARNED_ADDRESSES_MAX 200000               /* of cluster, name and address */

struct learned_addresses;
struct learned_teacher; /* one worker's side */
struct learned_lesson;  /* one answer on its way into the kernel */

/* known: false when it could not be kept (table full, the kernel refused): the client must not be told the answer. */
typedef void (*learned_lesson_fn)(bool known, void *context);

/* For one worker: base is its event loop. Returns 0 or -ENOMEM/-errno. _free takes NULL; lessons end without a callback. */
MUST_CHECK int learned_teacher_new(struct learned_addresses *learned, struct event_base *base,
                                   struct learned_teacher **ret);
void learned_teacher_free(struct learned_teacher *teacher);

/*
 * Teaches that the name has these addresses for ttl_s seconds. Where no network rule of the cluster is about the name, or
 * everything is known for long enough, there is nothing to wait for: *ret is NULL and on_known will not run. Otherwise
 * on_known runs once, later, never inside this call, and *ret is gone after it.
 *
 * Returns 0 or -ENOMEM.
 */
MUST_CHECK int learned_teacher_teach(struct learned_teacher *teacher, const struct policy *policy,
                                     const struct policy_cluster *cluster, const struct fqdn *name,
                                     const struct net_address *addresses, size_t count, uint32_t ttl_s,
                                     learned_lesson_fn on_known, void *context, struct learned_lesson **ret);

/* After this on_known will not run. What was taught stays. */
void learned_lesson_cancel(struct learned_lesson *lesson);
