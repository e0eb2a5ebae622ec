#include "net/dns_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock_table.h"
#include "net/dns_lifetime.h"

/* An address and how long it counts as a recent answer. */
struct known_address {
        struct net_address address;
        uint64_t recent_until_ms;
};

struct entry {
        struct known_address *known; /* owned; the current answer's addresses first, then those of earlier ones */
        uint64_t expires_ms;
        uint64_t refresh_after_ms; /* of a stale answer whose last refresh failed */
        uint8_t current_count;     /* addresses of the current answer */
        uint8_t known_count;
        uint8_t kind; /* enum dns_cache_kind */
};

struct dns_cache {
        struct clock_table *entries; /* of struct entry */
};

/* What is hashed and compared: family, then the name. */
#define KEY_MAX_LENGTH (1 + FQDN_MAX_LENGTH)

static size_t key_bytes(const struct fqdn *name, int family, uint8_t bytes[KEY_MAX_LENGTH])
{
        bytes[0] = (uint8_t)family;
        memcpy(bytes + 1, name->text, name->length);
        return 1 + (size_t)name->length;
}

static void release_entry(void *value, void *context)
{
        struct entry *entry = value;

        (void)context;
        free(entry->known);
}

int dns_cache_new(size_t capacity, struct dns_cache **ret)
{
        struct dns_cache *cache = calloc(1, sizeof(*cache));

        if (cache == NULL)
                return -ENOMEM;
        int r = clock_table_new(capacity, sizeof(struct entry), release_entry, NULL, &cache->entries);
        if (r < 0) {
                free(cache);
                return r;
        }
        *ret = cache;
        return 0;
}

void dns_cache_free(struct dns_cache *cache)
{
        if (cache == NULL)
                return;
        clock_table_free(cache->entries);
        free(cache);
}

static struct entry *find(const struct dns_cache *cache, const struct fqdn *name, int family)
{
        uint8_t bytes[KEY_MAX_LENGTH];
        size_t length = key_bytes(name, family, bytes);

        return clock_table_find(cache->entries, bytes, length);
}

/* The entry of the key, a new and empty one if need be; NULL when out of memory. */
static struct entry *find_or_add(struct dns_cache *cache, const struct fqdn *name, int family)
{
        uint8_t bytes[KEY_MAX_LENGTH];
        size_t length = key_bytes(name, family, bytes);
        struct entry *entry = clock_table_find(cache->entries, bytes, length);

        return entry != NULL ? entry : clock_table_add(cache->entries, bytes, length);
}

bool dns_cache_get(struct dns_cache *cache, const struct fqdn *name, int family, uint64_t now_ms,
                   struct dns_cache_answer *ret)
{
        struct entry *entry = find(cache, name, family);

        if (entry == NULL || (entry->kind == DNS_CACHE_ADDRESSES && entry->current_count == 0)) /* was out of memory */
                return false;
        bool expired = now_ms >= entry->expires_ms;
        if (expired && (entry->kind != DNS_CACHE_ADDRESSES || now_ms - entry->expires_ms >= DNS_LIFETIME_STALE_MS))
                return false;
        clock_table_touch(cache->entries, entry);
        ret->kind = entry->kind;
        ret->refresh = expired && now_ms >= entry->refresh_after_ms;
        ret->address_count = entry->current_count;
        for (size_t i = 0; i < entry->current_count; i++)
                ret->addresses[i] = entry->known[i].address;
        return true;
}

static struct known_address *find_known(struct known_address *known, size_t count, const struct net_address *address)
{
        for (size_t i = 0; i < count; i++)
                if (net_address_equal(&known[i].address, address))
                        return &known[i];
        return NULL;
}

/* Appends each address of the entry that is not among the count ones of known and still recent. Returns the new count. */
static size_t keep_history(const struct entry *entry, uint64_t now_ms, struct known_address *known, size_t count)
{
        for (size_t i = 0; i < entry->known_count && count < DNS_CACHE_MAX_HISTORY; i++)
                if (entry->known[i].recent_until_ms > now_ms &&
                    find_known(known, count, &entry->known[i].address) == NULL)
                        known[count++] = entry->known[i];
        return count;
}

/* Gives the entry these addresses, current_count of them the answer; false when out of memory, the entry is as before. */
static bool replace_known(struct entry *entry, const struct known_address *known, size_t current_count,
                          size_t known_count)
{
        struct known_address *copy = NULL;

        if (known_count > 0) {
                copy = malloc(known_count * sizeof(*copy));
                if (copy == NULL)
                        return false;
                memcpy(copy, known, known_count * sizeof(*copy));
        }
        free(entry->known);
        entry->known = copy;
        entry->known_count = (uint8_t)known_count;
        entry->current_count = (uint8_t)current_count;
        return true;
}

/* The usual refresh brings the same addresses in the same order: only their times change. */
static bool same_addresses(const struct entry *entry, const struct known_address *known, size_t count)
{
        if (entry->known_count != count)
                return false;
        for (size_t i = 0; i < count; i++)
                if (!net_address_equal(&entry->known[i].address, &known[i].address))
                        return false;
        return true;
}

void dns_cache_put_addresses(struct dns_cache *cache, const struct fqdn *name, int family,
                             const struct net_address *addresses, size_t count, uint32_t ttl_s, uint64_t now_ms)
{
        struct known_address known[DNS_CACHE_MAX_HISTORY];
        uint64_t expires_ms = now_ms + dns_lifetime_ms(ttl_s, DNS_LIFETIME_MAX_TTL_S);
        struct entry *entry = find_or_add(cache, name, family);
        size_t current_count = 0;

        assert(count > 0);
        if (entry == NULL)
                return;
        for (size_t i = 0; i < count && current_count < DNS_CACHE_MAX_ADDRESSES; i++)
                if (find_known(known, current_count, &addresses[i]) == NULL)
                        known[current_count++] =
                                (struct known_address){ addresses[i], expires_ms + DNS_LIFETIME_STALE_MS };
        size_t known_count = keep_history(entry, now_ms, known, current_count);
        if (known_count == current_count && same_addresses(entry, known, known_count)) {
                memcpy(entry->known, known, known_count * sizeof(*known));
                entry->current_count = (uint8_t)current_count;
        } else if (!replace_known(entry, known, current_count, known_count)) {
                return;
        }
        entry->kind = DNS_CACHE_ADDRESSES;
        entry->expires_ms = expires_ms;
        entry->refresh_after_ms = 0;
}

/* Stores an answer without addresses; those of earlier answers stay in the history. */
static void put_without_addresses(struct entry *entry, enum dns_cache_kind kind, uint64_t now_ms, uint64_t lifetime_ms)
{
        struct known_address known[DNS_CACHE_MAX_HISTORY];
        size_t known_count = keep_history(entry, now_ms, known, 0);

        entry->current_count = 0; /* Out of memory leaves old history, which its times end. */
        (void)replace_known(entry, known, 0, known_count);
        entry->kind = (uint8_t)kind;
        entry->expires_ms = now_ms + lifetime_ms;
        entry->refresh_after_ms = 0;
}

void dns_cache_put_not_found(struct dns_cache *cache, const struct fqdn *name, int family, uint32_t ttl_s,
                             uint64_t now_ms)
{
        struct entry *entry = find_or_add(cache, name, family);

        if (entry != NULL)
                put_without_addresses(entry, DNS_CACHE_NOT_FOUND, now_ms,
                                      dns_lifetime_ms(ttl_s, DNS_LIFETIME_MAX_NEGATIVE_TTL_S));
}

void dns_cache_put_failure(struct dns_cache *cache, const struct fqdn *name, int family, enum dns_cache_kind kind,
                           uint64_t now_ms)
{
        struct entry *entry = find_or_add(cache, name, family);

        assert(kind == DNS_CACHE_FAILED || kind == DNS_CACHE_TIMED_OUT);
        if (entry == NULL)
                return;
        if (entry->current_count > 0 && now_ms < entry->expires_ms + DNS_LIFETIME_STALE_MS) {
                entry->refresh_after_ms = now_ms + DNS_LIFETIME_RETRY_MS;
                return;
        }
        put_without_addresses(entry, kind, now_ms, DNS_LIFETIME_FAILURE_MS);
}

/* Behind the current answer's addresses, before those of older ones; those that are there count for longer. */
static size_t add_told(const struct entry *entry, const struct net_address *addresses, size_t count,
                       uint64_t recent_until_ms, struct known_address known[DNS_CACHE_MAX_HISTORY])
{
        size_t known_count = entry->current_count;

        if (known_count > 0)
                memcpy(known, entry->known, known_count * sizeof(*known));
        for (size_t i = 0; i < count; i++) {
                struct known_address *old = find_known(known, known_count, &addresses[i]);
                if (old != NULL && old->recent_until_ms < recent_until_ms)
                        old->recent_until_ms = recent_until_ms;
                else if (old == NULL && known_count < DNS_CACHE_MAX_HISTORY)
                        known[known_count++] = (struct known_address){ addresses[i], recent_until_ms };
        }
        return known_count;
}

void dns_cache_remember(struct dns_cache *cache, const struct fqdn *name, const struct net_address *addresses,
                        size_t count, uint32_t ttl_s, uint64_t now_ms)
{
        struct known_address known[DNS_CACHE_MAX_HISTORY];
        uint64_t recent_until_ms = now_ms + dns_lifetime_ms(ttl_s, DNS_LIFETIME_MAX_TTL_S) + DNS_LIFETIME_STALE_MS;
        struct entry *entry = find_or_add(cache, name, addresses[0].family);

        assert(count > 0);
        if (entry == NULL)
                return;
        size_t known_count = add_told(entry, addresses, count, recent_until_ms, known);
        known_count = keep_history(entry, now_ms, known, known_count);
        if (same_addresses(entry, known, known_count))
                memcpy(entry->known, known, known_count * sizeof(*known));
        else
                (void)replace_known(entry, known, entry->current_count, known_count); /* Out of memory: forgotten. */
}

bool dns_cache_recently_answered(const struct dns_cache *cache, const struct fqdn *name,
                                 const struct net_address *address, uint64_t now_ms)
{
        const struct entry *entry = find(cache, name, address->family);

        if (entry == NULL)
                return false;
        for (size_t i = 0; i < entry->known_count; i++)
                if (net_address_equal(&entry->known[i].address, address))
                        return now_ms < entry->known[i].recent_until_ms;
        return false;
}

size_t dns_cache_count(const struct dns_cache *cache)
{
        return clock_table_count(cache->entries);
}
