#include "net/dns_answers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "net/clock_table.h"
#include "net/dns_lifetime.h"

/* A struct dns_answer at its own size: the addresses, then the body. */
struct stored_answer {
        enum dns_rcode rcode;
        bool authentic;
        uint32_t ttl_s;
        uint16_t answer_count;
        uint16_t authority_count;
        uint32_t body_length;
        uint32_t address_count;
        struct net_address addresses[];
};

struct entry {
        struct stored_answer *answer; /* owned; NULL: a failure */
        uint64_t stored_ms;
        uint64_t expires_ms;
        uint64_t stale_until_ms;   /* not before expires_ms; the same: not served stale */
        uint64_t refresh_after_ms; /* of a stale answer whose last refresh failed */
        enum dns_answers_kind kind;
        bool plain;
};

struct dns_answers {
        struct clock_table *entries; /* of struct entry */
        size_t max_bytes;
        size_t bytes;
};

/* What is hashed and compared: type, flags, then the name. */
#define KEY_MAX_LENGTH (3 + FQDN_MAX_LENGTH)

static size_t key_bytes(const struct dns_question *question, uint8_t bytes[KEY_MAX_LENGTH])
{
        bytes[0] = (uint8_t)(question->type >> 8);
        bytes[1] = (uint8_t)question->type;
        bytes[2] = (uint8_t)(question->dnssec_ok | question->checking_disabled << 1);
        memcpy(bytes + 3, question->name.text, question->name.length);
        return 3 + (size_t)question->name.length;
}

bool dns_question_equal(const struct dns_question *a, const struct dns_question *b)
{
        return a->type == b->type && a->dnssec_ok == b->dnssec_ok && a->checking_disabled == b->checking_disabled &&
               fqdn_equal(&a->name, &b->name);
}

uint64_t dns_question_hash(const struct dns_question *question)
{
        uint8_t bytes[KEY_MAX_LENGTH];

        return hash_bytes(bytes, key_bytes(question, bytes));
}

static size_t stored_size(size_t address_count, size_t body_length)
{
        return sizeof(struct stored_answer) + address_count * sizeof(struct net_address) + body_length;
}

static uint8_t *stored_body(struct stored_answer *stored)
{
        void *end = stored->addresses + stored->address_count;

        return end;
}

static void drop_answer(struct dns_answers *answers, struct entry *entry)
{
        if (entry->answer == NULL)
                return;
        answers->bytes -= stored_size(entry->answer->address_count, entry->answer->body_length);
        free(entry->answer);
        entry->answer = NULL;
}

static void release_entry(void *value, void *context)
{
        drop_answer(context, value);
}

int dns_answers_new(size_t max_entries, size_t max_bytes, struct dns_answers **ret)
{
        struct dns_answers *answers = calloc(1, sizeof(*answers));

        assert(max_bytes > 0);
        if (answers == NULL)
                return -ENOMEM;
        answers->max_bytes = max_bytes;
        int r = clock_table_new(max_entries, sizeof(struct entry), release_entry, answers, &answers->entries);
        if (r < 0) {
                free(answers);
                return r;
        }
        *ret = answers;
        return 0;
}

void dns_answers_free(struct dns_answers *answers)
{
        if (answers == NULL)
                return;
        clock_table_free(answers->entries);
        free(answers);
}

static struct entry *find(const struct dns_answers *answers, const struct dns_question *question)
{
        uint8_t bytes[KEY_MAX_LENGTH];
        size_t length = key_bytes(question, bytes);

        return clock_table_find(answers->entries, bytes, length);
}

/* The entry of the question, a new and empty one if need be; NULL when out of memory. */
static struct entry *find_or_add(struct dns_answers *answers, const struct dns_question *question)
{
        uint8_t bytes[KEY_MAX_LENGTH];
        size_t length = key_bytes(question, bytes);
        struct entry *entry = clock_table_find(answers->entries, bytes, length);

        return entry != NULL ? entry : clock_table_add(answers->entries, bytes, length);
}

/* Only what is there is copied: the struct is made for the largest answer. */
static void read_stored(struct stored_answer *stored, struct dns_answer *ret)
{
        ret->rcode = stored->rcode;
        ret->authentic = stored->authentic;
        ret->ttl_s = stored->ttl_s;
        ret->answer_count = stored->answer_count;
        ret->authority_count = stored->authority_count;
        ret->address_count = stored->address_count;
        memcpy(ret->addresses, stored->addresses, stored->address_count * sizeof(*stored->addresses));
        ret->body_length = stored->body_length;
        memcpy(ret->body, stored_body(stored), stored->body_length);
}

bool dns_answers_get(struct dns_answers *answers, const struct dns_question *question, uint64_t now_ms,
                     struct dns_answer *ret_answer, struct dns_answers_entry *ret)
{
        struct entry *entry = find(answers, question);

        if (entry == NULL || now_ms >= entry->stale_until_ms)
                return false;
        clock_table_touch(answers->entries, entry);
        ret->kind = entry->kind;
        ret->plain = entry->plain;
        ret->is_stale = now_ms >= entry->expires_ms;
        ret->refresh = ret->is_stale && now_ms >= entry->refresh_after_ms;
        ret->age_s = (uint32_t)((now_ms - entry->stored_ms) / 1000);
        if (entry->kind == DNS_ANSWERS_ANSWERED)
                read_stored(entry->answer, ret_answer);
        return true;
}

static struct stored_answer *store(const struct dns_answer *answer)
{
        struct stored_answer *stored = malloc(stored_size(answer->address_count, answer->body_length));

        if (stored == NULL)
                return NULL;
        *stored = (struct stored_answer){
                .rcode = answer->rcode,
                .authentic = answer->authentic,
                .ttl_s = answer->ttl_s,
                .answer_count = answer->answer_count,
                .authority_count = answer->authority_count,
                .body_length = (uint32_t)answer->body_length,
                .address_count = (uint32_t)answer->address_count,
        };
        memcpy(stored->addresses, answer->addresses, answer->address_count * sizeof(*answer->addresses));
        memcpy(stored_body(stored), answer->body, answer->body_length);
        return stored;
}

/* RFC 2308 2: the name, or records of the type, do not exist; a chain of CNAMEs to such a name is negative too. */
static bool is_negative(const struct dns_answer *answer)
{
        return answer->rcode != DNS_RCODE_NO_ERROR || answer->answer_count == 0;
}

/* Makes the entry say what it is and until when. */
static void set_entry(struct entry *entry, enum dns_answers_kind kind, uint64_t now_ms, uint64_t lifetime_ms,
                      uint64_t stale_ms)
{
        entry->kind = kind;
        entry->stored_ms = now_ms;
        entry->expires_ms = now_ms + lifetime_ms;
        entry->stale_until_ms = entry->expires_ms + stale_ms;
        entry->refresh_after_ms = 0;
}

/* Room for an answer of that size that is to replace the question's; false: it is larger than everything may be. */
static bool make_room(struct dns_answers *answers, const struct dns_question *question, size_t size)
{
        struct entry *old = find(answers, question);

        if (old != NULL) {
                drop_answer(answers, old);
                set_entry(old, DNS_ANSWERS_FAILED, 0, 0, 0); /* Over already: what follows may fail. */
        }
        if (size > answers->max_bytes)
                return false;
        while (answers->bytes > answers->max_bytes - size)
                clock_table_evict(answers->entries);
        return true;
}

void dns_answers_put(struct dns_answers *answers, const struct dns_question *question, const struct dns_answer *answer,
                     bool plain, uint64_t now_ms)
{
        size_t size = stored_size(answer->address_count, answer->body_length);
        bool negative = is_negative(answer);
        uint32_t max_ttl_s = negative ? DNS_LIFETIME_MAX_NEGATIVE_TTL_S : DNS_LIFETIME_MAX_TTL_S;
        struct stored_answer *stored = make_room(answers, question, size) ? store(answer) : NULL;
        struct entry *entry = stored != NULL ? find_or_add(answers, question) : NULL;

        if (entry == NULL) {
                free(stored);
                return;
        }
        entry->answer = stored;
        entry->plain = plain;
        answers->bytes += size;
        set_entry(entry, DNS_ANSWERS_ANSWERED, now_ms, dns_lifetime_ms(answer->ttl_s, max_ttl_s),
                  negative ? 0 : DNS_LIFETIME_STALE_MS);
}

void dns_answers_put_failure(struct dns_answers *answers, const struct dns_question *question,
                             enum dns_answers_kind kind, uint64_t now_ms)
{
        struct entry *entry = find_or_add(answers, question);

        assert(kind != DNS_ANSWERS_ANSWERED);
        if (entry == NULL)
                return;
        if (entry->kind == DNS_ANSWERS_ANSWERED && now_ms < entry->stale_until_ms) {
                entry->refresh_after_ms = now_ms + DNS_LIFETIME_RETRY_MS;
                return;
        }
        drop_answer(answers, entry);
        set_entry(entry, kind, now_ms, DNS_LIFETIME_FAILURE_MS, 0);
}

size_t dns_answers_count(const struct dns_answers *answers)
{
        return clock_table_count(answers->entries);
}

size_t dns_answers_bytes(const struct dns_answers *answers)
{
        return answers->bytes;
}
