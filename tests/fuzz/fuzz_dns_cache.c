/* Two bytes an operation on a small cache: what comes out must have been put in, and the bounds hold. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/dns_cache.h"

#define CAPACITY 5
#define NAMES 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* count addresses that tell which name they belong to. */
static void put_addresses(struct dns_cache *cache, const struct fqdn *name, uint8_t number, uint8_t count,
                          uint64_t now_ms)
{
        struct net_address addresses[256];

        for (unsigned i = 0; i <= count; i++)
                addresses[i] = (struct net_address){ AF_INET, { 192, 0, number, (uint8_t)(i * count) } };
        dns_cache_put_addresses(cache, name, AF_INET, addresses, count + 1u, count, now_ms);
}

static void check_answer(struct dns_cache *cache, const struct fqdn *name, uint8_t number, uint64_t now_ms)
{
        struct dns_cache_answer answer;

        if (!dns_cache_get(cache, name, AF_INET, now_ms, &answer))
                return;
        assert((answer.kind == DNS_CACHE_ADDRESSES) == (answer.address_count > 0));
        assert(answer.address_count <= DNS_CACHE_MAX_ADDRESSES);
        for (size_t i = 0; i < answer.address_count; i++) {
                assert(answer.addresses[i].bytes[2] == number);
                assert(dns_cache_recently_answered(cache, name, &answer.addresses[i], now_ms));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct dns_cache *cache;
        uint64_t now_ms = 0;

        if (dns_cache_new(CAPACITY, &cache) < 0)
                abort();
        for (size_t i = 0; i + 1 < size; i += 2) {
                uint8_t number = data[i] % NAMES;
                struct fqdn name;
                char text[32];
                int length = snprintf(text, sizeof(text), "n%u.example", number);
                if (fqdn_from_bytes(text, (size_t)length, &name) < 0)
                        abort();
                struct net_address told = { AF_INET, { 192, 1, number, data[i + 1] } };
                switch (data[i] / NAMES % 6) {
                case 0:
                        put_addresses(cache, &name, number, data[i + 1], now_ms);
                        break;
                case 1:
                        dns_cache_put_not_found(cache, &name, AF_INET, data[i + 1], now_ms);
                        break;
                case 2:
                        dns_cache_put_failure(cache, &name, AF_INET, DNS_CACHE_FAILED, now_ms);
                        break;
                case 3:
                        now_ms += data[i + 1] * 1000u;
                        break;
                case 4:
                        dns_cache_remember(cache, &name, &told, 1, data[i + 1], now_ms);
                        break;
                default:
                        check_answer(cache, &name, number, now_ms);
                }
                assert(dns_cache_count(cache) <= CAPACITY);
        }
        dns_cache_free(cache);
        return 0;
}
