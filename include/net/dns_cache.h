/*
 * What DNS answered, by name and family: a bounded table with CLOCK eviction. Pure: the caller says what time it is.
 *
 * An answer is fresh until its clamped TTL ends, then stale for 15 minutes (RFC 8767), and each of its addresses is
 * remembered for 15 minutes past its TTL even when a later answer no longer has it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"

#define DNS_CACHE_MAX_ADDRESSES 32 /* of one answer; more are dropped */
#define DNS_CACHE_MAX_HISTORY 64   /* addresses kept for one name and family, current ones included */

struct dns_cache;

enum dns_cache_kind {
        DNS_CACHE_ADDRESSES = 0, /* at least one address */
        DNS_CACHE_NOT_FOUND,     /* NXDOMAIN or no address of this family */
        DNS_CACHE_FAILED,        /* no usable answer */
        DNS_CACHE_TIMED_OUT,     /* no answer at all */
};

struct dns_cache_answer {
        enum dns_cache_kind kind;
        bool refresh; /* expired: give it to the client and ask again */
        size_t address_count;
        struct net_address addresses[DNS_CACHE_MAX_ADDRESSES];
};

/* capacity: entries, one for each name and family, at least 1. Returns 0 or -ENOMEM. */
MUST_CHECK int dns_cache_new(size_t capacity, struct dns_cache **ret);

/* Takes NULL. */
void dns_cache_free(struct dns_cache *cache);

/* Fills *ret when there is something to answer, fresh or stale; false and *ret untouched when DNS must be asked first. */
MUST_CHECK bool dns_cache_get(struct dns_cache *cache, const struct fqdn *name, int family, uint64_t now_ms,
                              struct dns_cache_answer *ret);

/*
 * Stores an answer: over an older one, or evicting an entry not used lately when full. Out of memory only means that it is
 * not stored. A count of 0 is not an answer: use dns_cache_put_not_found.
 */
void dns_cache_put_addresses(struct dns_cache *cache, const struct fqdn *name, int family,
                             const struct net_address *addresses, size_t count, uint32_t ttl_s, uint64_t now_ms);
void dns_cache_put_not_found(struct dns_cache *cache, const struct fqdn *name, int family, uint32_t ttl_s,
                             uint64_t now_ms);

/* kind is FAILED or TIMED_OUT. An answer that may still be served stale stays, with the next refresh put off. */
void dns_cache_put_failure(struct dns_cache *cache, const struct fqdn *name, int family, enum dns_cache_kind kind,
                           uint64_t now_ms);

/*
 * Notes addresses, all of one family, that a client was told of by other means for ttl_s seconds: they are recent answers
 * for the name from now on, and the answer stays what it is.
 */
void dns_cache_remember(struct dns_cache *cache, const struct fqdn *name, const struct net_address *addresses,
                        size_t count, uint32_t ttl_s, uint64_t now_ms);

/* Whether the address was in an answer for the name whose TTL runs still or ran out at most 15 minutes ago. */
bool dns_cache_recently_answered(const struct dns_cache *cache, const struct fqdn *name,
                                 const struct net_address *address, uint64_t now_ms);

size_t dns_cache_count(const struct dns_cache *cache);
