/*
 * Questions of the DNS listener's clients to whole answers: a cache (net/dns_answers.h), and servers behind it that are asked
 * once for identical questions in flight. It has a DNS client of its own, so that no flood of clients' questions takes the
 * proxy's share of those in flight. Judges nothing: whom an answer may be told is the caller's. One thread (its
 * event_base's) uses it.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "net/dns_answers.h"
#include "policy/config.h"

struct dns_lookups;
struct dns_lookup; /* one question that waits */

enum dns_lookup_status {
        DNS_LOOKUP_OK = 0, /* an answer, positive or negative */
        DNS_LOOKUP_FAILED, /* SERVFAIL, REFUSED, malformed, no server reachable */
        DNS_LOOKUP_TIMED_OUT,
};

struct dns_lookup_result {
        enum dns_lookup_status status;
        const struct dns_answer *answer; /* OK: owned by whom the call says; else NULL */
        bool plain; /* all addresses in it, hints too, are public ones and in answer->addresses: nothing is to be judged */
        uint32_t age_s;     /* to be taken off TTLs, */
        uint32_t min_ttl_s; /* down to this */
};

/* The answer is valid until the callback returns. */
typedef void (*dns_lookup_fn)(const struct dns_lookup_result *result, void *context);

/* Servers, forward_zones and timeout are copied. Returns 0, -ENOMEM, or -EINVAL when c-ares refuses the servers. */
MUST_CHECK int dns_lookups_new(struct event_base *base, const struct config *config, struct dns_lookups **ret);

/* Questions that wait end without a callback. Takes NULL. */
void dns_lookups_free(struct dns_lookups *lookups);

/* New questions go to the other configuration's servers; the cache stays. Returns 0 or -Exxx (nothing changed). */
MUST_CHECK int dns_lookups_reconfigure(struct dns_lookups *lookups, const struct config *config);

/*
 * Answers from the cache: true, with *ret and, of OK, *buffer filled; ret->answer is buffer. A stale answer is asked for anew
 * behind the caller's back. false: dns_lookup_start is what is left.
 */
MUST_CHECK bool dns_lookups_cached(struct dns_lookups *lookups, const struct dns_question *question,
                                   struct dns_answer *buffer, struct dns_lookup_result *ret);

/*
 * Asks. The callback runs once, later, never inside this call, at the latest about the configured timeout later; the handle
 * is gone after it. Returns 0 or -ENOMEM (no callback).
 */
MUST_CHECK int dns_lookup_start(struct dns_lookups *lookups, const struct dns_question *question,
                                dns_lookup_fn on_answer, void *context, struct dns_lookup **ret);

/* After this the callback will not run. The question itself goes on and fills the cache (c-ares cannot cancel one). */
void dns_lookup_cancel(struct dns_lookup *lookup);
