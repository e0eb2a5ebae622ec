/* What it costs to read a hello, a request head or a QUIC datagram: nanoseconds each, the best of several rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/quic_builder.h"
#include "base/compiler.h"
#include "inspect/client_hello.h"
#include "inspect/http_request.h"
#include "inspect/http_response.h"
#include "inspect/quic_hellos.h"
#include "inspect/quic_initial.h"

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

static struct quic_keys *keys;
static struct quic_hellos *hellos;
static struct quic_hello hello;
static const struct net_endpoint endpoint = { { AF_INET, { 192, 0, 2, 1 } }, 443 };

static void build_initial(void)
{
        static struct hello_bytes frames;

        message.length = extensions.length = frames.length = input.length = 0;
        hello_put_server_name(&extensions, 0, "mcr.microsoft.com", 17);
        hello_put_opaque(&extensions, 51, 38);
        hello_put_message(&message, &hello_fixed_good, &extensions);
        quic_put_crypto(&frames, 0, message.bytes, message.length);
        quic_put_padding(&frames, 1162 - frames.length);
        quic_put_initial(&input, &quic_recipe_good, &frames);
}

static bool classify_datagram(void)
{
        struct quic_packet packet;

        return quic_packet_classify(input.bytes, input.length, &packet) == QUIC_PACKET_INITIAL;
}

static bool read_initial(void)
{
        quic_hello_start(&hello);
        return quic_initial_read(keys, input.bytes, input.length, &hello) == QUIC_DONE;
}

/* Other keys each time, under which it does not open: nearly all of the cost is there before that shows. */
static bool read_other_connection(void)
{
        input.bytes[8]++;
        quic_hello_start(&hello);
        return quic_initial_read(keys, input.bytes, input.length, &hello) <= QUIC_NOT_AUTHENTIC;
}

static bool read_known(void)
{
        struct quic_hellos_answer answer;

        quic_hellos_read(hellos, keys, &endpoint, &endpoint, input.bytes, input.length, 0, &answer);
        return answer.verdict == QUIC_HELLOS_KNOWN;
}

static double now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *what, bool (*call)(void))
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
        printf("%-48s %8zu %10.0f\n", what, input.length, best);
}

/* 64 slots, the connection asked for in the last but one. */
static void fill_table(void)
{
        uint8_t identifier[8] = { 0 };
        struct quic_hellos_answer answer;

        for (uint8_t i = 1; i < 64; i++) {
                struct quic_recipe recipe = quic_recipe_good;
                static struct hello_bytes frames;

                identifier[0] = i;
                recipe.destination_id = identifier;
                input.length = frames.length = 0;
                quic_put_crypto(&frames, 0, message.bytes, message.length);
                quic_put_initial(&input, &recipe, &frames);
                quic_hellos_read(hellos, keys, &endpoint, &endpoint, input.bytes, input.length, 0, &answer);
        }
}

static void measure_quic(void)
{
        if (quic_keys_new(&keys) < 0 || quic_hellos_new(64, 500, &hellos) < 0)
                abort();
        build_initial();
        measure("QUIC datagram, told from others", classify_datagram);
        measure("QUIC Initial, keys derived", read_other_connection);
        build_initial();
        measure("QUIC Initial of the same connection", read_initial);
        fill_table();
        measure("QUIC datagram of a known connection", read_known);
        quic_hellos_free(hellos);
        quic_keys_free(keys);
}

int main(void)
{
        printf("%-48s %8s %10s\n", "inspect", "bytes", "ns each");
        hello_read("tests/data/hellos/curl-http2.hex", &input);
        measure("ClientHello of curl", read_hello);
        build_browser_hello(16384);
        measure("ClientHello of a browser, post-quantum", read_hello);
        build_browser_hello(100);
        measure("the same in records of 100 bytes", read_hello);
        build_head("GET /ubuntu/dists/jammy-updates/InRelease HTTP/1.1\r\nHost: azure.archive.ubuntu.com\r\n"
                   "User-Agent: Debian APT-HTTP/1.3 (2.4.9)\r\nAccept: text/*\r\nCache-Control: max-age=0\r\n"
                   "If-Modified-Since: Thu, 02 Jul 2026 08:00:00 GMT\r\n\r\n");
        measure("request of apt", read_request);
        measure("request of apt, written for the origin too", read_and_format_request);
        build_head("CONNECT mcr.microsoft.com:443 HTTP/1.1\r\nHost: mcr.microsoft.com:443\r\n"
                   "User-Agent: containerd/1.7.15\r\n\r\n");
        measure("CONNECT of containerd", read_request);
        build_head("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Thu, 02 Jul 2026 08:00:00 GMT\r\n"
                   "Content-Type: application/octet-stream\r\nContent-Length: 270087\r\nConnection: keep-alive\r\n"
                   "ETag: \"64e5f2b1-41f07\"\r\nAccept-Ranges: bytes\r\n\r\n");
        measure("response of nginx", read_response);
        measure_quic();
        return 0;
}
