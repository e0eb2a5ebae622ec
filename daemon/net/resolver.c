#include "net/resolver.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/hash.h"
#include "net/dns_cache.h"
#include "net/dns_client.h"

#define CACHE_ENTRIES 16384      /* names times families; about 5 MB when full of usual answers */
#define SECOND_FAMILY_WAIT_MS 50 /* RFC 8305 3, Resolution Delay */
#define QUESTION_BUCKETS 4096

_Static_assert(DNS_CACHE_MAX_ADDRESSES <= RESOLVER_MAX_ADDRESSES, "an answer of one family fits");

/* One name and family in flight. Outlives its waiters: DNS questions cannot be cancelled. */
struct question {
        LIST_ENTRY(question) link;  /* in its bucket */
        TAILQ_HEAD(, half) waiters; /* first come, first served */
        struct resolver *resolver;
        struct fqdn name;
        int family;
};

enum half_state {
        HALF_UNWANTED = 0,
        HALF_WAITING, /* in question->waiters */
        HALF_DONE,
};

/* One family of a lookup. */
struct half {
        TAILQ_ENTRY(half) link;    /* in its question's waiters */
        struct question *question; /* while waiting */
        struct resolver_query *query;
        enum half_state state;
        struct dns_cache_answer answer; /* when done */
};

struct resolver_query {
        TAILQ_ENTRY(resolver_query) link; /* in resolver.pending or .ready */
        struct resolver *resolver;
        resolver_fn on_answer;
        void *context;
        struct half ipv4;
        struct half ipv6;
        struct event timer;
        uint64_t deadline_ms;
        bool is_ready; /* in resolver.ready: the answer is complete and will be delivered */
};

TAILQ_HEAD(query_list, resolver_query);

struct resolver {
        struct event_base *base; /* borrowed */
        struct dns_client *client;
        struct dns_cache *cache;
        unsigned timeout_ms;
        struct query_list pending; /* owned */
        struct query_list ready;   /* owned */
        struct event deliver;
        LIST_HEAD(, question) questions[QUESTION_BUCKETS]; /* owned */
};

static void on_deliver(evutil_socket_t fd, short what, void *context);

int resolver_new(struct event_base *base, const struct config *config, struct resolver **ret)
{
        struct resolver *resolver = calloc(1, sizeof(*resolver)); /* Zero is an empty LIST_HEAD. */
        int r;

        if (resolver == NULL)
                return -ENOMEM;
        resolver->base = base;
        resolver->timeout_ms = config->resolve_timeout_ms;
        TAILQ_INIT(&resolver->pending);
        TAILQ_INIT(&resolver->ready);
        (void)evtimer_assign(&resolver->deliver, base, on_deliver, resolver);
        r = dns_cache_new(CACHE_ENTRIES, &resolver->cache);
        if (r < 0)
                goto fail;
        r = dns_client_new(base, config, &resolver->client);
        if (r < 0)
                goto fail;
        *ret = resolver;
        return 0;
fail:
        resolver_free(resolver);
        return r;
}

static void free_queries(struct query_list *list)
{
        while (!TAILQ_EMPTY(list)) {
                struct resolver_query *query = TAILQ_FIRST(list);
                TAILQ_REMOVE(list, query, link);
                (void)evtimer_del(&query->timer);
                free(query);
        }
}

void resolver_free(struct resolver *resolver)
{
        if (resolver == NULL)
                return;
        dns_client_free(resolver->client);
        free_queries(&resolver->pending);
        free_queries(&resolver->ready);
        for (size_t i = 0; i < QUESTION_BUCKETS; i++)
                while (!LIST_EMPTY(&resolver->questions[i])) {
                        struct question *question = LIST_FIRST(&resolver->questions[i]);
                        LIST_REMOVE(question, link);
                        free(question);
                }
        (void)event_del(&resolver->deliver);
        dns_cache_free(resolver->cache);
        free(resolver);
}

int resolver_reconfigure(struct resolver *resolver, const struct config *config)
{
        int r = dns_client_reconfigure(resolver->client, config);

        if (r == 0)
                resolver->timeout_ms = config->resolve_timeout_ms;
        return r;
}

/* IPv6 and IPv4 in turn, as far as there is room (RFC 8305 4). Returns how many. */
static size_t interleave(const struct dns_cache_answer *ipv6, const struct dns_cache_answer *ipv4,
                         struct net_address addresses[RESOLVER_MAX_ADDRESSES])
{
        size_t count = 0;

        for (size_t i = 0; i < DNS_CACHE_MAX_ADDRESSES; i++) {
                if (i < ipv6->address_count && count < RESOLVER_MAX_ADDRESSES)
                        addresses[count++] = ipv6->addresses[i];
                if (i < ipv4->address_count && count < RESOLVER_MAX_ADDRESSES)
                        addresses[count++] = ipv4->addresses[i];
        }
        return count;
}

static enum resolver_status half_status(const struct half *half)
{
        switch (half->answer.kind) {
        case DNS_CACHE_ADDRESSES:
                return RESOLVER_OK;
        case DNS_CACHE_NOT_FOUND:
                return RESOLVER_NOT_FOUND;
        case DNS_CACHE_FAILED:
                return RESOLVER_FAILED;
        case DNS_CACHE_TIMED_OUT:
                return RESOLVER_TIMEOUT;
        }
        return RESOLVER_FAILED;
}

/* Why there is no address: the family that waited in vain says most, then one that failed. */
static enum resolver_status merge_failures(const struct resolver_query *query)
{
        const struct half *halves[] = { &query->ipv4, &query->ipv6 };
        enum resolver_status status = RESOLVER_NOT_FOUND;

        for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
                enum resolver_status other = RESOLVER_TIMEOUT;
                if (halves[i]->state == HALF_UNWANTED)
                        continue;
                if (halves[i]->state == HALF_DONE)
                        other = half_status(halves[i]);
                if (other > status) /* in the order of the enum */
                        status = other;
        }
        return status;
}

/* Takes the query out of everything and frees it. */
static void query_free(struct resolver_query *query)
{
        struct half *halves[] = { &query->ipv4, &query->ipv6 };

        for (size_t i = 0; i < ARRAY_SIZE(halves); i++)
                if (halves[i]->state == HALF_WAITING)
                        TAILQ_REMOVE(&halves[i]->question->waiters, halves[i], link);
        TAILQ_REMOVE(query->is_ready ? &query->resolver->ready : &query->resolver->pending, query, link);
        (void)evtimer_del(&query->timer);
        free(query);
}

static void query_deliver(struct resolver_query *query)
{
        struct net_address addresses[RESOLVER_MAX_ADDRESSES];
        struct resolver_answer answer = { .addresses = addresses };
        resolver_fn on_answer = query->on_answer;
        void *context = query->context;

        answer.address_count = interleave(&query->ipv6.answer, &query->ipv4.answer, addresses);
        answer.status = answer.address_count > 0 ? RESOLVER_OK : merge_failures(query);
        query_free(query);
        on_answer(&answer, context);
}

static void on_deliver(evutil_socket_t fd, short what, void *context)
{
        struct resolver *resolver = context;

        (void)fd;
        (void)what;
        while (!TAILQ_EMPTY(&resolver->ready))
                query_deliver(TAILQ_FIRST(&resolver->ready));
}

/* The answer is as complete as it gets: deliver it from the event loop. */
static void query_set_ready(struct resolver_query *query)
{
        struct resolver *resolver = query->resolver;

        if (query->is_ready)
                return;
        TAILQ_REMOVE(&resolver->pending, query, link);
        TAILQ_INSERT_TAIL(&resolver->ready, query, link);
        query->is_ready = true;
        event_active(&resolver->deliver, EV_TIMEOUT, 0);
}

static void query_on_timer(evutil_socket_t fd, short what, void *context)
{
        (void)fd;
        (void)what;
        query_set_ready(context);
}

/* Wakes the query at its deadline, or after the short wait for a second family if that is sooner. */
static int query_set_timer(struct resolver_query *query, bool has_addresses)
{
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t left_ms = query->deadline_ms > now_ms ? query->deadline_ms - now_ms : 0;

        if (has_addresses && left_ms > SECOND_FAMILY_WAIT_MS)
                left_ms = SECOND_FAMILY_WAIT_MS;
        struct timeval timeout = clock_timeval(left_ms);
        return evtimer_add(&query->timer, &timeout);
}

static bool has_addresses(const struct half *half)
{
        return half->state == HALF_DONE && half->answer.address_count > 0;
}

/* Called when a half is done. */
static void query_advance(struct resolver_query *query)
{
        if (query->ipv4.state == HALF_WAITING || query->ipv6.state == HALF_WAITING) {
                if (has_addresses(&query->ipv4) || has_addresses(&query->ipv6))
                        if (query_set_timer(query, true) < 0)
                                query_set_ready(query); /* Out of memory: not waiting is better than waiting long. */
                return;
        }
        query_set_ready(query);
}

static size_t question_bucket(const struct fqdn *name, int family)
{
        return (hash_bytes(name->text, name->length) + (family == AF_INET6)) % QUESTION_BUCKETS;
}

static struct question *find_question(struct resolver *resolver, const struct fqdn *name, int family)
{
        struct question *question;

        LIST_FOREACH(question, &resolver->questions[question_bucket(name, family)], link)
        if (question->family == family && fqdn_equal(&question->name, name))
                return question;
        return NULL;
}

static void store_answer(struct dns_cache *cache, const struct question *question,
                         const struct dns_client_answer *answer)
{
        uint64_t now_ms = clock_monotonic_ms();

        switch (answer->status) {
        case DNS_CLIENT_OK:
                dns_cache_put_addresses(cache, &question->name, question->family, answer->addresses,
                                        answer->address_count, answer->ttl_s, now_ms);
                break;
        case DNS_CLIENT_NOT_FOUND:
                dns_cache_put_not_found(cache, &question->name, question->family, answer->ttl_s, now_ms);
                break;
        case DNS_CLIENT_FAILED:
                dns_cache_put_failure(cache, &question->name, question->family, DNS_CACHE_FAILED, now_ms);
                break;
        case DNS_CLIENT_TIMED_OUT:
                dns_cache_put_failure(cache, &question->name, question->family, DNS_CACHE_TIMED_OUT, now_ms);
                break;
        }
}

/* What the waiters get; not by way of the cache, which may be too small or out of memory. */
static void convert_answer(const struct dns_client_answer *answer, struct dns_cache_answer *ret)
{
        static const enum dns_cache_kind kinds[] = {
                [DNS_CLIENT_OK] = DNS_CACHE_ADDRESSES,
                [DNS_CLIENT_NOT_FOUND] = DNS_CACHE_NOT_FOUND,
                [DNS_CLIENT_FAILED] = DNS_CACHE_FAILED,
                [DNS_CLIENT_TIMED_OUT] = DNS_CACHE_TIMED_OUT,
        };

        ret->kind = kinds[answer->status];
        ret->refresh = false;
        ret->address_count = 0;
        if (answer->status != DNS_CLIENT_OK)
                return;
        while (ret->address_count < answer->address_count && ret->address_count < DNS_CACHE_MAX_ADDRESSES) {
                ret->addresses[ret->address_count] = answer->addresses[ret->address_count];
                ret->address_count++;
        }
}

static void question_on_answer(const struct dns_client_answer *answer, void *context)
{
        struct question *question = context;

        store_answer(question->resolver->cache, question, answer);
        while (!TAILQ_EMPTY(&question->waiters)) {
                struct half *half = TAILQ_FIRST(&question->waiters);
                TAILQ_REMOVE(&question->waiters, half, link);
                half->state = HALF_DONE;
                convert_answer(answer, &half->answer);
                query_advance(half->query);
        }
        LIST_REMOVE(question, link);
        free(question);
}

/* The question in flight, a new one if need be; NULL when out of memory. */
static struct question *ask(struct resolver *resolver, const struct fqdn *name, int family)
{
        struct question *question = find_question(resolver, name, family);

        if (question != NULL)
                return question;
        question = calloc(1, sizeof(*question));
        if (question == NULL)
                return NULL;
        question->resolver = resolver;
        question->name = *name;
        question->family = family;
        TAILQ_INIT(&question->waiters);
        if (dns_client_ask(resolver->client, name, family, question_on_answer, question) < 0) {
                free(question);
                return NULL;
        }
        LIST_INSERT_HEAD(&resolver->questions[question_bucket(name, family)], question, link);
        return question;
}

/* Answers the half from the cache, or makes it wait for a question. */
static int half_start(struct half *half, const struct fqdn *name, int family)
{
        struct resolver *resolver = half->query->resolver;
        struct question *question;

        if (dns_cache_get(resolver->cache, name, family, clock_monotonic_ms(), &half->answer)) {
                half->state = HALF_DONE;
                if (half->answer.refresh)
                        (void)ask(resolver, name, family); /* Out of memory: the next lookup asks. */
                return 0;
        }
        question = ask(resolver, name, family);
        if (question == NULL)
                return -ENOMEM;
        half->state = HALF_WAITING;
        half->question = question;
        TAILQ_INSERT_TAIL(&question->waiters, half, link);
        return 0;
}

static int query_start(struct resolver_query *query, const struct fqdn *name, bool with_ipv4, bool with_ipv6)
{
        int r = 0;

        if (with_ipv6)
                r = half_start(&query->ipv6, name, AF_INET6);
        if (with_ipv4 && r == 0)
                r = half_start(&query->ipv4, name, AF_INET);
        if (r == 0 && (query->ipv4.state == HALF_WAITING || query->ipv6.state == HALF_WAITING))
                r = query_set_timer(query, false) < 0 ? -ENOMEM : 0;
        if (r == 0)
                query_advance(query);
        return r;
}

int resolver_lookup(struct resolver *resolver, const struct fqdn *name, bool with_ipv4, bool with_ipv6,
                    resolver_fn on_answer, void *context, struct resolver_query **ret)
{
        struct resolver_query *query = calloc(1, sizeof(*query));
        int r;

        if (query == NULL)
                return -ENOMEM;
        query->resolver = resolver;
        query->on_answer = on_answer;
        query->context = context;
        query->ipv4.query = query;
        query->ipv6.query = query;
        query->deadline_ms = clock_monotonic_ms() + resolver->timeout_ms;
        (void)evtimer_assign(&query->timer, resolver->base, query_on_timer, query);
        TAILQ_INSERT_TAIL(&resolver->pending, query, link);
        r = query_start(query, name, with_ipv4, with_ipv6);
        if (r < 0) {
                query_free(query);
                return r;
        }
        *ret = query;
        return 0;
}

void resolver_query_cancel(struct resolver_query *query)
{
        query_free(query);
}

void resolver_remember(struct resolver *resolver, const struct fqdn *name, const struct net_address *addresses,
                       size_t count, uint32_t ttl_s)
{
        dns_cache_remember(resolver->cache, name, addresses, count, ttl_s, clock_monotonic_ms());
}

bool resolver_recently_answered(const struct resolver *resolver, const struct fqdn *name,
                                const struct net_address *address)
{
        return dns_cache_recently_answered(resolver->cache, name, address, clock_monotonic_ms());
}

size_t resolver_asked_count(const struct resolver *resolver)
{
        return dns_client_asked_count(resolver->client);
}
