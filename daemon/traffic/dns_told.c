#include "traffic/dns_told.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "inspect/dns_name.h"

#define QUESTION_END_SIZE 4 /* type and class */
#define MESSAGE_SIZE (DNS_MESSAGE_HEADER_SIZE + DNS_NAME_MAX_SIZE + QUESTION_END_SIZE + DNS_ANSWER_MAX_BODY_SIZE)

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

static size_t put_u16(uint8_t *message, size_t length, unsigned value)
{
        message[length] = (uint8_t)(value >> 8);
        message[length + 1] = (uint8_t)value;
        return length + 2;
}

/* The answer as a server sends it: a header, the question, and the body, whose pointers fit behind any question of the name. */
static size_t write_message(const struct dns_question *question, const struct dns_answer *answer,
                            uint8_t message[MESSAGE_SIZE])
{
        unsigned flags =
                DNS_FLAG_RESPONSE | (answer->authentic ? DNS_FLAG_AUTHENTIC_DATA : 0) | (unsigned)answer->rcode;
        const unsigned header[] = { 0, flags, 1, answer->answer_count, answer->authority_count, 0 };
        struct dns_name name;
        size_t length = 0;

        for (size_t i = 0; i < ARRAY_SIZE(header); i++)
                length = put_u16(message, length, header[i]);
        dns_name_from_fqdn(&question->name, &name);
        memcpy(message + length, name.bytes, name.length);
        length = put_u16(message, length + name.length, question->type);
        length = put_u16(message, length, DNS_CLASS_IN);
        memcpy(message + length, answer->body, answer->body_length);
        return length + answer->body_length;
}

static int judge_records(struct judgement *judgement, const struct dns_question *question,
                         const struct dns_answer *answer)
{
        uint8_t message[MESSAGE_SIZE];
        size_t length = write_message(question, answer, message);
        struct dns_told *told = judgement->told;

        switch (dns_answer_parse(message, length, &question->name, question->type, judge_address, judgement,
                                 &told->buffer)) {
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
