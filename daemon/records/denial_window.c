#include "records/denial_window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/hash.h"

/* What makes a kind, as bytes that are hashed and compared; see key_of. */
#define KEY_FIXED_SIZE (7 + 2 + 6 + 17 + 17)
#define KEY_MAX_SIZE (KEY_FIXED_SIZE + 1 + DECISION_CLUSTER_SIZE + 1 + FQDN_MAX_LENGTH)

struct key {
        uint64_t hash;
        size_t length;
        uint8_t bytes[KEY_MAX_SIZE];
};

/* What is counted in the current window. All zero: nothing. */
struct tally {
        uint64_t count;
        uint64_t first_time_us;
        uint64_t last_time_us;
        uint64_t last_noted_ms; /* when the one of last_time_us was noted */
        uint64_t bytes_out;
        uint64_t bytes_in;
        uint32_t request_size;
        uint32_t response_size;
};

struct kind {
        LIST_ENTRY(kind) in_bucket;
        TAILQ_ENTRY(kind) in_line; /* of open windows, or of free places */
        uint64_t deadline_ms;
        struct tally tally; /* empty in places that are free */
        struct key key;
        struct decision first;
};

LIST_HEAD(bucket, kind);
TAILQ_HEAD(line, kind);

struct denial_window {
        struct kind *kinds; /* owned; places, the first used_count of which were ever used */
        size_t kind_count;
        size_t used_count;
        struct bucket *buckets; /* owned; bucket_mask + 1 */
        size_t bucket_mask;
        struct line open; /* by deadline: all windows are of one length, and a new one goes behind the others */
        struct line free; /* places that were used before */
        uint64_t window_ms;
        denial_window_fn on_summary;
        void *context;
};

int denial_window_new(size_t kinds, uint64_t window_ms, denial_window_fn on_summary, void *context,
                      struct denial_window **ret)
{
        struct denial_window *window = calloc(1, sizeof(*window));
        size_t buckets = 16;

        assert(kinds > 0);
        if (window == NULL)
                return -ENOMEM;
        while (buckets < kinds)
                buckets *= 2;
        window->kind_count = kinds;
        window->bucket_mask = buckets - 1;
        window->window_ms = window_ms;
        window->on_summary = on_summary;
        window->context = context;
        TAILQ_INIT(&window->open);
        TAILQ_INIT(&window->free);
        window->kinds = calloc(kinds, sizeof(*window->kinds));
        window->buckets = calloc(buckets, sizeof(*window->buckets)); /* All zero is what LIST_INIT makes. */
        if (window->kinds == NULL || window->buckets == NULL) {
                denial_window_free(window);
                return -ENOMEM;
        }
        *ret = window;
        return 0;
}

void denial_window_free(struct denial_window *window)
{
        if (window == NULL)
                return;
        free(window->buckets);
        free(window->kinds);
        free(window);
}

static uint8_t *put(uint8_t *next, const void *bytes, size_t length)
{
        memcpy(next, bytes, length);
        return next + length;
}

static uint8_t *put_address(uint8_t *next, const struct net_address *address)
{
        *next++ = address->family;
        return put(next, address->bytes, sizeof(address->bytes));
}

/* Each part has a length of its own or a constant one, so that no two kinds have the same bytes. */
static void key_of(const struct decision *decision, struct key *ret)
{
        static const struct net_address no_address = { .family = AF_UNSPEC };
        const struct net_address *address = &decision->destination.address;
        const uint8_t words[] = {
                (uint8_t)decision->event,   (uint8_t)decision->listener, (uint8_t)decision->action,
                (uint8_t)decision->reason,  (uint8_t)decision->protocol, decision->ip_protocol,
                decision->dns.has_response,
        };
        const uint16_t query[] = { decision->dns.type, decision->dns.class, decision->dns.rcode };
        size_t cluster_length = strnlen(decision->cluster, sizeof(decision->cluster));
        uint8_t *next = ret->bytes;

        if (decision->fqdn.length > 0)
                address = &no_address;
        else if (address->family == AF_UNSPEC)
                address = &decision->original.address;
        next = put(next, words, sizeof(words));
        next = put(next, &decision->destination.port, sizeof(decision->destination.port));
        next = put(next, query, sizeof(query));
        next = put_address(next, &decision->client.address);
        next = put_address(next, address);
        *next++ = (uint8_t)cluster_length;
        next = put(next, decision->cluster, cluster_length);
        *next++ = decision->fqdn.length;
        next = put(next, decision->fqdn.text, decision->fqdn.length);
        ret->length = (size_t)(next - ret->bytes);
        ret->hash = hash_bytes(ret->bytes, ret->length);
}

static struct bucket *bucket_of(const struct denial_window *window, const struct key *key)
{
        return &window->buckets[key->hash & window->bucket_mask];
}

static struct kind *find(const struct denial_window *window, const struct key *key)
{
        struct kind *kind;

        LIST_FOREACH(kind, bucket_of(window, key), in_bucket)
        {
                if (kind->key.hash == key->hash && kind->key.length == key->length &&
                    memcmp(kind->key.bytes, key->bytes, key->length) == 0)
                        return kind;
        }
        return NULL;
}

static uint64_t add_up(uint64_t sum, uint64_t more)
{
        return more > UINT64_MAX - sum ? UINT64_MAX : sum + more;
}

static uint32_t add_up_sizes(uint32_t sum, uint32_t more)
{
        return more > UINT32_MAX - sum ? UINT32_MAX : sum + more;
}

/* Workers' decisions are noted one worker after the other, so that an earlier one may come later. */
static void count(struct tally *tally, const struct decision *decision, uint64_t now_ms)
{
        if (tally->count == 0 || decision->time_us < tally->first_time_us)
                tally->first_time_us = decision->time_us;
        if (tally->count == 0 || decision->time_us >= tally->last_time_us) {
                tally->last_time_us = decision->time_us;
                tally->last_noted_ms = now_ms;
        }
        tally->count++;
        tally->bytes_out = add_up(tally->bytes_out, decision->bytes_out);
        tally->bytes_in = add_up(tally->bytes_in, decision->bytes_in);
        tally->request_size = add_up_sizes(tally->request_size, decision->dns.request_size);
        tally->response_size = add_up_sizes(tally->response_size, decision->dns.response_size);
}

/* Hands the summary out, if there is any, and begins to count anew. */
static void summarize(struct denial_window *window, struct kind *kind, uint64_t now_ms)
{
        const struct tally *tally = &kind->tally;
        struct decision summary;

        if (tally->count == 0)
                return;
        summary = kind->first;
        summary.event = DECISION_EVENT_SUMMARY;
        summary.client.port = 0;
        summary.count = tally->count;
        summary.first_time_us = tally->first_time_us;
        summary.last_time_us = tally->last_time_us;
        summary.time_us = tally->last_time_us + (now_ms - tally->last_noted_ms) * 1000;
        summary.duration_ms = 0;
        summary.bytes_out = tally->bytes_out;
        summary.bytes_in = tally->bytes_in;
        summary.dns.request_size = tally->request_size;
        summary.dns.response_size = tally->response_size;
        kind->tally = (struct tally){ 0 };
        window->on_summary(&summary, window->context);
}

static void forget(struct denial_window *window, struct kind *kind)
{
        LIST_REMOVE(kind, in_bucket);
        TAILQ_REMOVE(&window->open, kind, in_line);
        TAILQ_INSERT_HEAD(&window->free, kind, in_line);
}

/* Memory that was touched already is used again first; without any place left, that of the oldest window is. */
static struct kind *take_place(struct denial_window *window, uint64_t now_ms)
{
        if (TAILQ_EMPTY(&window->free) && window->used_count < window->kind_count)
                return &window->kinds[window->used_count++];
        if (TAILQ_EMPTY(&window->free)) {
                struct kind *oldest = TAILQ_FIRST(&window->open);
                summarize(window, oldest, now_ms);
                forget(window, oldest);
        }
        struct kind *kind = TAILQ_FIRST(&window->free);
        TAILQ_REMOVE(&window->free, kind, in_line);
        return kind;
}

static void open_window(struct denial_window *window, struct kind *kind, uint64_t now_ms)
{
        kind->deadline_ms = now_ms + window->window_ms;
        TAILQ_INSERT_TAIL(&window->open, kind, in_line);
}

static void remember(struct denial_window *window, const struct key *key, const struct decision *decision,
                     uint64_t now_ms)
{
        struct kind *kind = take_place(window, now_ms);

        kind->key.hash = key->hash;
        kind->key.length = key->length;
        memcpy(kind->key.bytes, key->bytes, key->length);
        kind->first = *decision;
        LIST_INSERT_HEAD(bucket_of(window, key), kind, in_bucket);
        open_window(window, kind, now_ms);
}

static bool always_passes(const struct decision *decision)
{
        switch (decision->event) {
        case DECISION_EVENT_CONNECTION:
        case DECISION_EVENT_QUERY:
        case DECISION_EVENT_PACKET:
                return decision->action == POLICY_ALLOW;
        case DECISION_EVENT_ALARM:
        case DECISION_EVENT_FLOW:
        case DECISION_EVENT_START:
        case DECISION_EVENT_SUMMARY:
                return true;
        }
        return true;
}

enum denial_window_answer denial_window_note(struct denial_window *window, const struct decision *decision,
                                             uint64_t now_ms)
{
        struct key key;

        if (always_passes(decision))
                return DENIAL_WINDOW_PASS;
        key_of(decision, &key);
        struct kind *kind = find(window, &key);
        /* A window that ended with nothing counted, and that nobody has flushed yet, is over all the same. */
        if (kind != NULL && kind->tally.count == 0 && now_ms >= kind->deadline_ms) {
                forget(window, kind);
                kind = NULL;
        }
        if (kind == NULL) {
                remember(window, &key, decision, now_ms);
                return DENIAL_WINDOW_PASS;
        }
        count(&kind->tally, decision, now_ms);
        return DENIAL_WINDOW_COUNTED;
}

void denial_window_flush(struct denial_window *window, uint64_t now_ms)
{
        struct kind *kind;

        while ((kind = TAILQ_FIRST(&window->open)) != NULL && kind->deadline_ms <= now_ms) {
                bool goes_on = kind->tally.count > 0;
                summarize(window, kind, now_ms);
                if (!goes_on) {
                        forget(window, kind);
                        continue;
                }
                TAILQ_REMOVE(&window->open, kind, in_line);
                open_window(window, kind, now_ms);
        }
}

void denial_window_flush_all(struct denial_window *window, uint64_t now_ms)
{
        struct kind *kind;

        while ((kind = TAILQ_FIRST(&window->open)) != NULL) {
                summarize(window, kind, now_ms);
                forget(window, kind);
        }
}

uint64_t denial_window_deadline_ms(const struct denial_window *window)
{
        const struct kind *kind = TAILQ_FIRST(&window->open);

        return kind != NULL ? kind->deadline_ms : UINT64_MAX;
}
