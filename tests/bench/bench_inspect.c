/* What it costs to read a hello, a request head or a DNS message: nanoseconds each, the best of several rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/dns_builder.h"
#include "../unit/hello_builder.h"
#include "base/compiler.h"
#include "inspect/client_hello.h"
#include "inspect/dns_response.h"
#include "inspect/http_request.h"
#include "inspect/http_response.h"

#define ROUNDS 7
#define CALLS 100000

static struct hello_bytes input, message, extensions;
static char output[8192];

static void build_browser_hello(size_t record_size)
{
        input.length = message.length = extensions.length = 0;
        hello_put_browser_extensions(&extensions, "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io");
        hello_put_message(&message, &hello_fixed_good, &extensions);
        hello_put_records(&input, &message, record_size);
}

static void build_head(const char *text)
{
        input.length = 0;
        hello_put(&input, text, strlen(text));
}

static bool read_hello(void)
{
        struct client_hello hello;
        size_t needed;

        return client_hello_parse(input.bytes, input.length, &hello, &needed) == CLIENT_HELLO_OK;
}

static bool read_request(void)
{
        struct http_request request;
        size_t needed;

        return http_request_parse(input.bytes, input.length, &request, &needed) == HTTP_REQUEST_OK;
}

static bool read_and_format_request(void)
{
        struct http_request request;
        size_t needed;

        return http_request_parse(input.bytes, input.length, &request, &needed) == HTTP_REQUEST_OK &&
               http_request_format_upstream(input.bytes, &request, output, sizeof(output)) > 0;
}

static bool read_response(void)
{
        struct http_response response;

        return http_response_parse(input.bytes, input.length, false, &response) == HTTP_RESPONSE_OK;
}

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
        hello_read("tests/data/hellos/curl-http2.hex", &input);
        measure("ClientHello of curl", input.length, read_hello);
        build_browser_hello(16384);
        measure("ClientHello of a browser, post-quantum", input.length, read_hello);
        build_browser_hello(100);
        measure("the same in records of 100 bytes", input.length, read_hello);
        build_head("GET /ubuntu/dists/jammy-updates/InRelease HTTP/1.1\r\nHost: azure.archive.ubuntu.com\r\n"
                   "User-Agent: Debian APT-HTTP/1.3 (2.4.9)\r\nAccept: text/*\r\nCache-Control: max-age=0\r\n"
                   "If-Modified-Since: Thu, 02 Jul 2026 08:00:00 GMT\r\n\r\n");
        measure("request of apt", input.length, read_request);
        measure("request of apt, written for the origin too", input.length, read_and_format_request);
        build_head("CONNECT mcr.microsoft.com:443 HTTP/1.1\r\nHost: mcr.microsoft.com:443\r\n"
                   "User-Agent: containerd/1.7.15\r\n\r\n");
        measure("CONNECT of containerd", input.length, read_request);
        build_head("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 02 Jul 2026 08:00:00 GMT\r\n"
                   "Content-Type: application/octet-stream\r\nContent-Length: 270087\r\nConnection: keep-alive\r\n"
                   "ETag: \"64e5f2b1-41f07\"\r\nAccept-Ranges: bytes\r\n\r\n");
        measure("response of nginx", input.length, read_response);
        measure_dns();
        return 0;
}
