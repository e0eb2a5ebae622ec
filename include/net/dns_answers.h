/*
 * Whole DNS answers by question: a table with CLOCK eviction, bounded in entries and in bytes. Pure: the caller says what
 * time it is. An answer is fresh until its clamped TTL ends (net/dns_lifetime.h), then, unless it is negative, stale for
 * 15 minutes (RFC 8767).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "inspect/dns_answer.h"

#define DNS_ANSWERS_STALE_TTL_S 30 /* what a stale answer is given on with (RFC 8767 5.2) */

struct dns_answers;

/* What an answer belongs to; the class is IN. A value. */
struct dns_question {
        struct fqdn name;
        uint16_t type;
        bool dnssec_ok;
        bool checking_disabled;
};

bool dns_question_equal(const struct dns_question *a, const struct dns_question *b);

/* For tables of questions, with a key of the process. */
uint64_t dns_question_hash(const struct dns_question *question);

enum dns_answers_kind {
        DNS_ANSWERS_ANSWERED = 0, /* there is an answer, positive or negative */
        DNS_ANSWERS_FAILED,       /* no usable answer */
        DNS_ANSWERS_TIMED_OUT,    /* no answer at all */
};

struct dns_answers_entry {
        enum dns_answers_kind kind;
        bool plain;     /* as given to dns_answers_put */
        bool is_stale;  /* to be given on with DNS_ANSWERS_STALE_TTL_S */
        bool refresh;   /* stale: give it to the client and ask again */
        uint32_t age_s; /* since it was put */
};

/* max_entries and max_bytes (of answers, without the table) are at least 1. Returns 0 or -ENOMEM. */
MUST_CHECK int dns_answers_new(size_t max_entries, size_t max_bytes, struct dns_answers **ret);

/* Takes NULL. */
void dns_answers_free(struct dns_answers *answers);

/*
 * Fills *ret, and of ANSWERED *ret_answer, when there is something to answer, fresh or stale; false and both untouched when
 * DNS must be asked first.
 */
MUST_CHECK bool dns_answers_get(struct dns_answers *answers, const struct dns_question *question, uint64_t now_ms,
                                struct dns_answer *ret_answer, struct dns_answers_entry *ret);

/*
 * Stores an answer, over an older one or evicting what was not used lately. Out of memory, or larger than max_bytes: it is
 * not stored, and an older one is gone. plain is a note of the caller's about the answer, kept with it.
 */
void dns_answers_put(struct dns_answers *answers, const struct dns_question *question, const struct dns_answer *answer,
                     bool plain, uint64_t now_ms);

/* kind is FAILED or TIMED_OUT. An answer that may still be served stale stays, with the next refresh put off. */
void dns_answers_put_failure(struct dns_answers *answers, const struct dns_question *question,
                             enum dns_answers_kind kind, uint64_t now_ms);

size_t dns_answers_count(const struct dns_answers *answers);

/* Bytes of the answers in it. */
size_t dns_answers_bytes(const struct dns_answers *answers);
