/*
 * Questions to a policy as people and scripts ask them, and the answers as lines of text: what aksegressctl explain reads
 * and prints. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"
#include "policy/policy.h"

#define EXPLANATION_MAX_LINE_LENGTH 1024 /* of a question */
#define EXPLANATION_TEXT_SIZE 8192       /* of an answer, longest paths and all escapes included */
#define EXPLANATION_COMPLAINT_SIZE 256

struct explanation_question {
        struct net_address source;
        struct policy_request request;
        bool bad_name; /* the host is neither a name nor an address: the daemon refuses it as bad-server-name */
};

struct explanation {
        struct policy_verdict verdict;
        const char *cluster; /* borrowed from the policy; NULL: the source is in none */
};

/* What a question consists of, NUL-terminated. */
struct explanation_words {
        const char *source;
        const char *protocol;
        const char *host;
        const char *port; /* NULL: the host may end in :PORT, and https and http have a usual one */
};

/* Returns 0; -EINVAL: *complaint says what is wrong. A host that is no name is not wrong (bad_name). */
MUST_CHECK int explanation_question_parse(const struct explanation_words *words, struct explanation_question *ret,
                                          char complaint[EXPLANATION_COMPLAINT_SIZE]);

/* The same for one line "source TAB protocol TAB host TAB port" without its end. Returns 0 or -EINVAL. */
MUST_CHECK int explanation_question_from_line(const char *line, size_t length, struct explanation_question *ret);

/* Asks the policy; an address that is asked for is also checked as the daemon would before it dials. */
void explanation_answer(const struct policy *policy, const struct explanation_question *question,
                        struct explanation *ret);

/* Whether the request would be let through, be it only because the cluster audits. */
bool explanation_is_permitted(const struct explanation *explanation);

/*
 * One line without its end. Text: `ALLOW cluster=… feature=… rule=FILE:LINE "…"` or `DENY reason=… hint="…"`; JSON: the same
 * in fields. Both return the length.
 */
size_t explanation_format_text(const struct explanation *explanation, char buffer[EXPLANATION_TEXT_SIZE]);
size_t explanation_format_json(const struct explanation *explanation, char buffer[EXPLANATION_TEXT_SIZE]);
