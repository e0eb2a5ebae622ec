#include "net/dns_lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "net/dns_client.h"
#include "net/dns_lifetime.h"

#define CACHE_ENTRIES 16384
#define CACHE_BYTES (16 * 1024 * 1024) /* the usual answer has 300 */
#define QUESTION_BUCKETS 4096

/* One question in flight. Outlives its waiters: DNS questions cannot be cancelled. */
struct asked_question {
        LIST_ENTRY(asked_question) link;  /* in its bucket */
        TAILQ_HEAD(, dns_lookup) waiters; /* first come, first served */
        struct dns_lookups *lookups;
        struct dns_question question;
};

struct dns_lookup {
        TAILQ_ENTRY(dns_lookup) link;    /* in its question's waiters */
        struct asked_question *question; /* borrowed: ends after its last waiter */
        dns_lookup_fn on_answer;
        void *context;
};

struct dns_lookups {
        struct dns_client *client;
        struct dns_answers *answers;
        struct dns_answer parsed;                                /* the answer that is being delivered */
        LIST_HEAD(, asked_question) questions[QUESTION_BUCKETS]; /* owned */
};

int dns_lookups_new(struct event_base *base, const struct config *config, struct dns_lookups **ret)
{
        struct dns_lookups *lookups = calloc(1, sizeof(*lookups)); /* Zero is an empty LIST_HEAD. */

        if (lookups == NULL)
                return -ENOMEM;
        int r = dns_answers_new(CACHE_ENTRIES, CACHE_BYTES, &lookups->answers);
        if (r == 0)
                r = dns_client_new(base, config, &lookups->client);
        if (r < 0) {
                dns_lookups_free(lookups);
                return r;
        }
        *ret = lookups;
        return 0;
}

static void question_free(struct asked_question *question)
{
        while (!TAILQ_EMPTY(&question->waiters)) {
                struct dns_lookup *lookup = TAILQ_FIRST(&question->waiters);
                TAILQ_REMOVE(&question->waiters, lookup, link);
                free(lookup);
        }
        LIST_REMOVE(question, link);
        free(question);
}

void dns_lookups_free(struct dns_lookups *lookups)
{
        if (lookups == NULL)
                return;
        dns_client_free(lookups->client);
        for (size_t i = 0; i < QUESTION_BUCKETS; i++)
                while (!LIST_EMPTY(&lookups->questions[i]))
                        question_free(LIST_FIRST(&lookups->questions[i]));
        dns_answers_free(lookups->answers);
        free(lookups);
}

int dns_lookups_reconfigure(struct dns_lookups *lookups, const struct config *config)
{
        return dns_client_reconfigure(lookups->client, config);
}

static size_t question_bucket(const struct dns_question *question)
{
        return dns_question_hash(question) % QUESTION_BUCKETS;
}

static struct asked_question *find_question(struct dns_lookups *lookups, const struct dns_question *question)
{
        struct asked_question *asked;

        LIST_FOREACH(asked, &lookups->questions[question_bucket(question)], link)
        if (dns_question_equal(&asked->question, question))
                return asked;
        return NULL;
}

struct address_note {
        bool plain;
        bool has_address_type; /* the addresses of A and AAAA records are all in the answer; hints are not */
};

static bool note_address(const struct net_address *address, void *context)
{
        struct address_note *note = context;

        if (!note->has_address_type || net_address_classify(address) != NET_ADDRESS_PUBLIC)
                note->plain = false;
        return true;
}

/* Everything of the answer is kept but what is not part of it: what a client may be told depends on the client. */
static enum dns_lookup_status parse_message(struct dns_lookups *lookups, const struct dns_question *question,
                                            const struct dns_client_message *message, bool *ret_plain)
{
        struct address_note note = {
                .plain = true,
                .has_address_type = question->type == DNS_TYPE_A || question->type == DNS_TYPE_AAAA,
        };

        if (dns_answer_parse(message->bytes, message->length, &question->name, question->type, note_address, &note,
                             &lookups->parsed) != DNS_ANSWER_OK)
                return DNS_LOOKUP_FAILED;
        *ret_plain = note.plain;
        return DNS_LOOKUP_OK;
}

/* A name that DNS is not to be asked for (.onion) does not exist there. */
static void make_name_error(struct dns_answer *ret)
{
        ret->rcode = DNS_RCODE_NAME_ERROR;
        ret->authentic = false;
        ret->ttl_s = DNS_LIFETIME_MAX_NEGATIVE_TTL_S;
        ret->answer_count = 0;
        ret->authority_count = 0;
        ret->address_count = 0;
        ret->body_length = 0;
}

/* What the message says, stored and as a result. */
static void take_message(struct dns_lookups *lookups, const struct dns_question *question,
                         const struct dns_client_message *message, struct dns_lookup_result *ret)
{
        *ret = (struct dns_lookup_result){ .status = DNS_LOOKUP_OK, .plain = true };
        switch (message->status) {
        case DNS_CLIENT_OK:
                ret->status = parse_message(lookups, question, message, &ret->plain);
                break;
        case DNS_CLIENT_NOT_FOUND:
                make_name_error(&lookups->parsed);
                break;
        case DNS_CLIENT_FAILED:
                ret->status = DNS_LOOKUP_FAILED;
                break;
        case DNS_CLIENT_TIMED_OUT:
                ret->status = DNS_LOOKUP_TIMED_OUT;
                break;
        }
        if (ret->status == DNS_LOOKUP_OK) {
                ret->answer = &lookups->parsed;
                dns_answers_put(lookups->answers, question, ret->answer, ret->plain, clock_monotonic_ms());
                return;
        }
        dns_answers_put_failure(lookups->answers, question,
                                ret->status == DNS_LOOKUP_TIMED_OUT ? DNS_ANSWERS_TIMED_OUT : DNS_ANSWERS_FAILED,
                                clock_monotonic_ms());
}

static void question_on_message(const struct dns_client_message *message, void *context)
{
        struct asked_question *question = context;
        struct dns_lookup_result result;

        take_message(question->lookups, &question->question, message, &result);
        while (!TAILQ_EMPTY(&question->waiters)) {
                struct dns_lookup *lookup = TAILQ_FIRST(&question->waiters);
                TAILQ_REMOVE(&question->waiters, lookup, link);
                lookup->on_answer(&result, lookup->context);
                free(lookup);
        }
        question_free(question);
}

/* The question in flight, a new one if need be; NULL when out of memory. */
static struct asked_question *ask(struct dns_lookups *lookups, const struct dns_question *what)
{
        struct asked_question *question = find_question(lookups, what);
        unsigned flags = (what->dnssec_ok ? DNS_CLIENT_DNSSEC_OK : 0) |
                         (what->checking_disabled ? DNS_CLIENT_CHECKING_DISABLED : 0);

        if (question != NULL)
                return question;
        question = calloc(1, sizeof(*question));
        if (question == NULL)
                return NULL;
        question->lookups = lookups;
        question->question = *what;
        TAILQ_INIT(&question->waiters);
        if (dns_client_ask_message(lookups->client, &what->name, what->type, flags, question_on_message, question) <
            0) {
                free(question);
                return NULL;
        }
        LIST_INSERT_HEAD(&lookups->questions[question_bucket(what)], question, link);
        return question;
}

bool dns_lookups_cached(struct dns_lookups *lookups, const struct dns_question *question, struct dns_answer *buffer,
                        struct dns_lookup_result *ret)
{
        static const enum dns_lookup_status statuses[] = {
                [DNS_ANSWERS_ANSWERED] = DNS_LOOKUP_OK,
                [DNS_ANSWERS_FAILED] = DNS_LOOKUP_FAILED,
                [DNS_ANSWERS_TIMED_OUT] = DNS_LOOKUP_TIMED_OUT,
        };
        struct dns_answers_entry entry;

        if (!dns_answers_get(lookups->answers, question, clock_monotonic_ms(), buffer, &entry))
                return false;
        if (entry.refresh)
                (void)ask(lookups, question); /* Out of memory: the next one asks. */
        *ret = (struct dns_lookup_result){
                .status = statuses[entry.kind],
                .answer = entry.kind == DNS_ANSWERS_ANSWERED ? buffer : NULL,
                .plain = entry.plain,
                .age_s = entry.age_s,
                .min_ttl_s = entry.is_stale ? DNS_ANSWERS_STALE_TTL_S : 0,
        };
        return true;
}

int dns_lookup_start(struct dns_lookups *lookups, const struct dns_question *what, dns_lookup_fn on_answer,
                     void *context, struct dns_lookup **ret)
{
        struct dns_lookup *lookup = calloc(1, sizeof(*lookup));
        struct asked_question *question = lookup != NULL ? ask(lookups, what) : NULL;

        if (question == NULL) {
                free(lookup);
                return -ENOMEM;
        }
        lookup->question = question;
        lookup->on_answer = on_answer;
        lookup->context = context;
        TAILQ_INSERT_TAIL(&question->waiters, lookup, link);
        *ret = lookup;
        return 0;
}

void dns_lookup_cancel(struct dns_lookup *lookup)
{
        TAILQ_REMOVE(&lookup->question->waiters, lookup, link);
        free(lookup);
}
