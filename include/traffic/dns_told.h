/*
 * What of an answer a client may be told: leaves out the addresses that its cluster may not know of, and lists those that
 * it is going to be told, hints of HTTPS and SVCB records included. Pure.
 */
#pragma once

#include <stddef.h>

#include "base/net_address.h"
#include "inspect/dns_answer.h"
#include "net/dns_answers.h"
#include "policy/policy.h"
#include "traffic/learned_teacher.h"

#define DNS_TOLD_MAX_ADDRESSES LEARNED_LESSON_MAX_ADDRESSES /* what an answer has above it is left out */

/* A value, but a large one. */
struct dns_told {
        enum policy_action action;   /* DENY: no address is left, the answer is not to be told; AUDIT: none would be */
        enum reason reason;          /* COMPLETED, or why addresses are left out, perhaps only some of them */
        char hint[POLICY_HINT_SIZE]; /* for the first of them */
        const struct dns_answer *answer; /* what may be told: the one given, or buffer; NULL with DENY */
        size_t address_count;
        struct net_address addresses[DNS_TOLD_MAX_ADDRESSES];
        struct dns_answer buffer;
};

/*
 * Judges an answer to the question for clients of the cluster. plain: all of its addresses are public and listed in it
 * (dns_lookup.h). Returns 0, or -EBADMSG: it is no answer that dns_answer_parse has made.
 */
MUST_CHECK int dns_told_judge(const struct policy *policy, const struct policy_cluster *cluster,
                              const struct dns_question *question, const struct dns_answer *answer, bool plain,
                              struct dns_told *ret);
