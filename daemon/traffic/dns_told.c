#include "traffic/dns_told.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct judgement {
        const struct policy *policy;
        const struct policy_cluster *cluster;
        const struct fqdn *name;
        struct dns_told *told;
        bool audited; /* some address is told only because the cluster's dns_filter is audit */
        bool allowed; /* some address is told anyway */
};

static void note_left_out(struct dns_told *told, enum reason reason, const char *hint)
{
        if (told->reason != REASON_COMPLETED)
                return;
        told->reason = reason;
        memcpy(told->hint, hint, sizeof(told->hint));
}

static bool judge_address(const struct net_address *address, void *context)
{
        struct judgement *judgement = context;
        struct dns_told *told = judgement->told;
        char hint[POLICY_HINT_SIZE];
        enum reason reason;
        enum policy_action action =
                policy_decide_answer(judgement->policy, judgement->cluster, judgement->name, address, &reason, hint);

        if (action != POLICY_ALLOW)
                note_left_out(told, reason, hint);
        if (action == POLICY_DENY || told->address_count == DNS_TOLD_MAX_ADDRESSES)
                return false;
        judgement->audited |= action == POLICY_AUDIT;
        judgement->allowed |= action == POLICY_ALLOW;
        told->addresses[told->address_count++] = *address;
        return true;
}

static int judge_records(struct judgement *judgement, const struct dns_question *question,
                         const struct dns_answer *answer)
{
        struct dns_told *told = judgement->told;

        switch (dns_answer_filter(answer, &question->name, question->type, judge_address, judgement, &told->buffer)) {
        case DNS_ANSWER_OK:
                told->answer = &told->buffer;
                if (judgement->audited && !judgement->allowed)
                        told->action = POLICY_AUDIT;
                return 0;
        case DNS_ANSWER_FORBIDDEN:
                told->action = POLICY_DENY;
                return 0;
        case DNS_ANSWER_BAD:
        case DNS_ANSWER_TRUNCATED:
        case DNS_ANSWER_FAILED:
                break;
        }
        return -EBADMSG;
}

int dns_told_judge(const struct policy *policy, const struct policy_cluster *cluster,
                   const struct dns_question *question, const struct dns_answer *answer, bool plain,
                   struct dns_told *ret)
{
        struct judgement judgement = { .policy = policy, .cluster = cluster, .name = &question->name, .told = ret };

        _Static_assert(DNS_TOLD_MAX_ADDRESSES >= DNS_ANSWER_MAX_ADDRESSES, "all addresses of a plain answer fit");
        ret->action = POLICY_ALLOW;
        ret->reason = REASON_COMPLETED;
        ret->hint[0] = '\0';
        ret->answer = NULL;
        ret->address_count = 0;
        if (!plain)
                return judge_records(&judgement, question, answer);
        ret->answer = answer;
        ret->address_count = answer->address_count;
        memcpy(ret->addresses, answer->addresses, answer->address_count * sizeof(*answer->addresses));
        return 0;
}
