/* What it costs to read and write a DNS message: nanoseconds each, the best of several rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/dns_builder.h"
#include "base/compiler.h"
#include "inspect/dns_response.h"

#define ROUNDS 7
#define CALLS 100000

static char output[65536];

static struct dns_bytes dns_query_bytes, dns_answer_bytes;
static struct dns_query dns_query;
static struct dns_answer dns_answer;

static bool dns_read_query(void)
{
        return dns_query_parse(dns_query_bytes.bytes, dns_query_bytes.length, &dns_query) == DNS_QUERY_OK;
}

static bool dns_permit_all(const struct net_address *address, void *context)
{
        (void)context;
        return address->family != AF_UNSPEC;
}

static bool dns_read_answer(void)
{
        return dns_answer_parse(dns_answer_bytes.bytes, dns_answer_bytes.length, &dns_query.name, dns_query.type,
                                dns_permit_all, NULL, &dns_answer) == DNS_ANSWER_OK;
}

static bool dns_write_response(void)
{
        struct dns_response response = { .answer = &dns_answer, .age_s = 7, .max_size = dns_query.edns_size };

        return dns_response_write(&dns_query, &response, (uint8_t *)output, sizeof(output)) > 0;
}

/* Addresses of the name, or behind a chain of that many aliases. */
static void dns_build(const char *name, unsigned aliases, unsigned addresses)
{
        char owner[64], target[64];

        dns_start(&dns_query_bytes, DNS_FLAG_RECURSION_DESIRED, name, DNS_TYPE_A);
        dns_put_opt(&dns_query_bytes, 1232, 0, "", 0);
        dns_start(&dns_answer_bytes, 0x8180, name, DNS_TYPE_A);
        (void)snprintf(owner, sizeof(owner), "@");
        for (unsigned i = 0; i < aliases; i++) {
                (void)snprintf(target, sizeof(target), "mcr-%u.trafficmanager.net", i);
                dns_put_alias(&dns_answer_bytes, owner, DNS_TYPE_CNAME, 300, target);
                (void)snprintf(owner, sizeof(owner), "%s", target);
        }
        for (unsigned i = 0; i < addresses; i++)
                dns_put_a(&dns_answer_bytes, owner, 60, i);
}

static double now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *what, size_t bytes, bool (*call)(void))
{
        double best = 0;

        for (unsigned round = 0; round < ROUNDS; round++) {
                double start = now_ns();
                for (unsigned i = 0; i < CALLS; i++)
                        if (!call())
                                abort();
                double each = (now_ns() - start) / CALLS;
                if (round == 0 || each < best)
                        best = each;
        }
        printf("%-48s %8zu %10.0f\n", what, bytes, best);
}

static void measure_dns(void)
{
        dns_build("mcr.microsoft.com", 0, 2);
        measure("DNS query", dns_query_bytes.length, dns_read_query);
        measure("DNS answer with 2 addresses", dns_answer_bytes.length, dns_read_answer);
        measure("response with 2 addresses", dns_answer_bytes.length, dns_write_response);
        dns_build("mcr.microsoft.com", 4, 8);
        measure("DNS answer with 4 aliases, 8 addresses", dns_answer_bytes.length, dns_read_answer);
        measure("response with 4 aliases, 8 addresses", dns_answer_bytes.length, dns_write_response);
}

int main(void)
{
        printf("%-48s %8s %10s\n", "inspect", "bytes", "ns each");
        measure_dns();
        return 0;
}
