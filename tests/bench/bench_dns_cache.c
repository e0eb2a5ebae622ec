/* What the DNS cache costs: nanoseconds for a hit, a miss and a put when full; bytes of an entry. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/dns_cache.h"

#define ENTRIES 16384
#define ROUNDS 2000000

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct fqdn *make_names(size_t count, const char *format)
{
        struct fqdn *names = calloc(count, sizeof(*names));
        char text[64];

        if (names == NULL)
                abort();
        for (size_t i = 0; i < count; i++) {
                snprintf(text, sizeof(text), "%s%zu.blob.core.windows.net", format, i);
                if (fqdn_from_text(text, &names[i]) < 0)
                        abort();
        }
        return names;
}

static void put_all(struct dns_cache *cache, const struct fqdn *names)
{
        const struct net_address addresses[] = { { AF_INET, { 20, 60, 1, 1 } }, { AF_INET, { 20, 60, 1, 2 } } };

        for (size_t i = 0; i < ENTRIES; i++)
                dns_cache_put_addresses(cache, &names[i], AF_INET, addresses, 2, 60, 0);
}

/* Looks names up in an order that the processor cannot foresee. Returns how many were found. */
static size_t get_many(struct dns_cache *cache, const struct fqdn *names, double *ret_ns)
{
        struct dns_cache_answer answer;
        uint32_t random = 1;
        size_t found = 0;
        uint64_t begun_ns = now_ns();

        for (size_t i = 0; i < ROUNDS; i++) {
                random = random * 1664525 + 1013904223;
                if (dns_cache_get(cache, &names[random >> 18], AF_INET, 1, &answer))
                        found++;
        }
        *ret_ns = (double)(now_ns() - begun_ns) / ROUNDS;
        return found;
}

int main(void)
{
        struct fqdn *names = make_names(ENTRIES, "account");
        struct fqdn *others = make_names(ENTRIES, "other");
        struct dns_cache *cache;
        size_t before = mallinfo2().uordblks;
        double ns;

        if (dns_cache_new(ENTRIES, &cache) < 0)
                abort();
        put_all(cache, names);
        printf("dns_cache: %zu bytes an entry of %d\n", (mallinfo2().uordblks - before) / ENTRIES, ENTRIES);
        size_t found = get_many(cache, names, &ns);
        printf("dns_cache: hit %.0f ns (%zu found)\n", ns, found);
        found = get_many(cache, others, &ns);
        printf("dns_cache: miss %.0f ns (%zu found)\n", ns, found);
        uint64_t begun_ns = now_ns();
        put_all(cache, others);
        printf("dns_cache: put when full %.0f ns\n", (double)(now_ns() - begun_ns) / ENTRIES);
        dns_cache_free(cache);
        free(names);
        free(others);
        return 0;
}
