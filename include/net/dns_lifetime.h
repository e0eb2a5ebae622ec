/* For how long the caches of DNS answers believe what they were told. */
#pragma once

#include <stdint.h>

#define DNS_LIFETIME_MIN_TTL_S 5
#define DNS_LIFETIME_MAX_TTL_S 3600
#define DNS_LIFETIME_MAX_NEGATIVE_TTL_S 300    /* RFC 2308 5 allows more; a new name should work soon */
#define DNS_LIFETIME_STALE_MS (15 * 60 * 1000) /* RFC 8767 6: at most days; here as long as the history */
#define DNS_LIFETIME_FAILURE_MS 1000           /* RFC 9520 3.2: a failure is remembered at least one second */
#define DNS_LIFETIME_RETRY_MS 5000             /* between refreshes of a stale answer that fail (RFC 8767 5) */

/* The TTL in milliseconds, brought between the minimum and this maximum, which is one of the above. */
static inline uint64_t dns_lifetime_ms(uint32_t ttl_s, uint32_t maximum_s)
{
        if (ttl_s < DNS_LIFETIME_MIN_TTL_S)
                ttl_s = DNS_LIFETIME_MIN_TTL_S;
        if (ttl_s > maximum_s)
                ttl_s = maximum_s;
        return (uint64_t)ttl_s * 1000;
}
