/*
 * A DNS listener with everything it stands on, in a network of the test's own: policy from a configuration, a server in the
 * test's event loop, records in a file. Include it once in a program.
 */
#pragma once

#include "dns_testing.h"
#include "policy_lab.h"

#include <poll.h>
#include <signal.h>

#include "dns_builder.h"
#include "inspect/dns_query.h"
#include "inspect/dns_response.h"
#include "records/record_writer.h"
#include "traffic/dns_listener.h"

#define LAB_LISTENER "127.0.0.1"
#define LAB_UPSTREAM "127.0.0.54:5354" /* not 53: a listener on every address takes that */
#define LAB_CLIENT "127.0.0.10"        /* of the cluster "prod" */
#define LAB_OTHER_CLIENT "127.0.1.10" /* of the cluster "other", which has private destinations and dns_filter: audit */
#define LAB_STRANGER "127.0.2.10"     /* of no cluster */
#define LAB_TIMEOUT_MS 1000           /* resolve and inspect */

static unsigned dns_lab_resolve_ms = LAB_TIMEOUT_MS; /* a test may set it before it opens a lab, and puts it back */

struct dns_lab {
        struct fixture fixture;     /* its base, and its clock */
        struct responder responder; /* the server */
        struct policy_lab *policy;
        struct connection_limits *limits;
        struct snat_registry *registry;
        struct learned_addresses *learned;
        struct learned_school *school;
        struct traffic traffic;
        struct dns_listener *listener;
        char *records; /* text of the file, once closed */
        char records_path[128];
        char head[1024];
        char address[NET_ADDRESS_TEXT_SIZE]; /* listen.dns.address */
};

static inline void dns_lab_on_alarm(const struct net_address *source, const struct net_endpoint *destination,
                                    unsigned in_use, unsigned capacity, void *context)
{
        (void)source;
        (void)destination;
        (void)in_use;
        (void)capacity;
        (void)context;
}

static const char dns_lab_clusters[] =
        "  - { name: prod, sources: [127.0.0.0/24, '2001:db8::/64'], cloud: AzurePublicCloud, location: westeurope,\n"
        "      snat_pool: main, allow: ['https *.allowed.example:443', 'udp *.learned.example:123'] }\n"
        "  - { name: other, sources: [127.0.1.0/24], cloud: AzurePublicCloud, location: westeurope, snat_pool: main,\n"
        "      dns_filter: audit, private_destinations: [192.168.0.0/16] }\n";

static inline void dns_lab_write_head(struct dns_lab *lab)
{
        snprintf(lab->head, sizeof(lab->head),
                 "listen: { dns: { address: '%s' } }\n"
                 "allowlist_dirs: [.]\n"
                 "resolver: { servers: ['%s'] }\n"
                 "timeouts: { resolve: %ums, inspect: %dms }\n"
                 "logging: [{ sink: file, path: '%s', events: [deny, allow], summarize: off }]\n"
                 "snat_pools: [{ name: main, addresses: [10.0.1.10] }]\n"
                 "clusters:\n",
                 lab->address, LAB_UPSTREAM, dns_lab_resolve_ms, LAB_TIMEOUT_MS, lab->records_path);
        lab->policy->head = lab->head;
}

static inline struct generation *dns_lab_generation(struct dns_lab *lab, uint64_t number, const char *clusters)
{
        struct generation *generation;

        assert_int_equal(policy_lab_try(lab->policy, clusters), 0);
        assert_int_equal(generation_new(number, policy_ref(lab->policy->policy), lab->registry, &generation), 0);
        return generation;
}

static inline void dns_lab_open_traffic(struct dns_lab *lab, bool with_kernel)
{
        const struct config *config = generation_config(lab->traffic.generation);
        char error[256] = "";

        lab->traffic.base = lab->fixture.base;
        lab->traffic.limits = lab->limits;
        lab->traffic.registry = lab->registry;
        assert_int_equal(resolver_new(lab->fixture.base, config, &lab->traffic.resolver), 0);
        if (record_writer_new(config, 1, error, sizeof(error), &lab->traffic.records) < 0)
                fail_msg("%s", error);
        assert_int_equal(learned_addresses_new(with_kernel, &lab->learned), 0);
        learned_addresses_use_policy(lab->learned, generation_policy(lab->traffic.generation));
        assert_int_equal(learned_school_new(lab->learned, lab->fixture.base, &lab->school), 0);
        lab->traffic.learned = lab->learned;
        if (dns_listener_new(&lab->traffic, lab->school, config, error, sizeof(error), &lab->listener) < 0)
                fail_msg("%s", error);
}

/* with_kernel: addresses are learned; there is no table here, so that always fails. */
static inline struct dns_lab *dns_lab_open_at(const char *address, bool with_kernel)
{
        struct dns_lab *lab = calloc(1, sizeof(*lab));
        void *policy = NULL;

        assert_non_null(lab);
        (void)signal(SIGPIPE, SIG_IGN); /* as the daemon does */
        open_fixture(&lab->fixture, LAB_UPSTREAM);
        open_responder(&lab->fixture, LAB_UPSTREAM, 1, &lab->responder);
        (void)policy_lab_open(&policy);
        lab->policy = policy;
        snprintf(lab->address, sizeof(lab->address), "%s", address);
        snprintf(lab->records_path, sizeof(lab->records_path), "%s/records", lab->policy->directory);
        dns_lab_write_head(lab);
        assert_int_equal(connection_limits_new(&lab->limits), 0);
        connection_limits_set(lab->limits, 1000, 1000);
        assert_int_equal(snat_registry_new(dns_lab_on_alarm, NULL, &lab->registry), 0);
        lab->traffic.generation = dns_lab_generation(lab, 1, dns_lab_clusters);
        dns_lab_open_traffic(lab, with_kernel);
        return lab;
}

static inline struct dns_lab *dns_lab_open(void)
{
        return dns_lab_open_at(LAB_LISTENER, false);
}

/* Ends the listener and writes the records: lab->records is their text. */
static inline void dns_lab_end(struct dns_lab *lab)
{
        size_t length;

        dns_listener_close_all(lab->listener, REASON_SHUTDOWN);
        assert_true(dns_listener_is_idle(lab->listener));
        dns_listener_free(lab->listener);
        assert_int_equal(connection_limits_open(lab->limits), 0);
        record_writer_free(lab->traffic.records);
        FILE *file = fopen(lab->records_path, "re");
        assert_non_null(file);
        lab->records = calloc(1, 16 << 20);
        assert_non_null(lab->records);
        length = fread(lab->records, 1, (16 << 20) - 1, file);
        lab->records[length] = '\0';
        assert_int_equal(fclose(file), 0);
}

/* After dns_lab_end. */
static inline void dns_lab_close(struct dns_lab *lab)
{
        void *policy = lab->policy;

        learned_school_free(lab->school);
        learned_addresses_free(lab->learned);
        resolver_free(lab->traffic.resolver);
        generation_unref(lab->traffic.generation);
        snat_registry_free(lab->registry);
        connection_limits_free(lab->limits);
        (void)policy_lab_close(&policy);
        close_responder(&lab->responder);
        close_fixture(&lab->fixture);
        free(lab->records);
        free(lab);
}

/* How many records have all of these texts, NULL at the end of them. */
static inline size_t dns_lab_count_records(const struct dns_lab *lab, ...)
{
        size_t count = 0;

        for (const char *line = lab->records; *line != '\0'; line = strchr(line, '\n') + 1) {
                char *copy = strndup(line, strcspn(line, "\n"));
                bool has_all = true;
                va_list texts;
                va_start(texts, lab);
                for (const char *text = va_arg(texts, const char *); text != NULL; text = va_arg(texts, const char *))
                        has_all = has_all && strstr(copy, text) != NULL;
                va_end(texts);
                count += has_all;
                free(copy);
        }
        return count;
}

static inline void dns_lab_run(const struct dns_lab *lab)
{
        assert_true(event_base_loop(lab->fixture.base, EVLOOP_NONBLOCK) >= 0);
}

/* A client's socket, connected to the listener from that address. */
static inline int dns_lab_connect(struct dns_lab *lab, int kind, const char *from, const char *to)
{
        struct net_endpoint source = endpoint_of(from), destination = endpoint_of(to);
        struct sockaddr_storage address;
        int fd = socket(source.address.family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        (void)lab;
        assert_true(fd != -1);
        source.port = 0;
        socklen_t length = net_endpoint_to_sockaddr(&source, &address);
        assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
        length = net_endpoint_to_sockaddr(&destination, &address);
        if (connect(fd, (const struct sockaddr *)&address, length) != 0)
                assert_int_equal(errno, EINPROGRESS);
        return fd;
}

/* A query with EDNS. */
static inline void dns_lab_make_query(struct dns_bytes *query, unsigned id, const char *name, unsigned type)
{
        dns_start(query, DNS_FLAG_RECURSION_DESIRED, name, type);
        dns_set_u16(query, 0, id);
        dns_put_opt(query, DNS_MESSAGE_OUR_UDP_SIZE, 0, NULL, 0);
}

/* Runs the loop until the descriptor has something to read. */
static inline void dns_lab_await(const struct dns_lab *lab, int fd)
{
        uint64_t guard_ms = real_ms() + GUARD_S * 1000;
        struct pollfd readable = { .fd = fd, .events = POLLIN };

        while (poll(&readable, 1, 1) == 0) {
                assert_true(real_ms() < guard_ms);
                dns_lab_run(lab);
        }
}

/* A response that the test looks into. */
struct dns_reply {
        uint8_t bytes[DNS_MESSAGE_MAX_SIZE];
        size_t length;
};

static inline unsigned dns_reply_id(const struct dns_reply *reply)
{
        return dns_get_u16(reply->bytes);
}

static inline unsigned dns_reply_rcode(const struct dns_reply *reply)
{
        return reply->bytes[3] & 15;
}

static inline unsigned dns_reply_answers(const struct dns_reply *reply)
{
        return dns_get_u16(reply->bytes + 6);
}

static inline bool dns_reply_has_text(const struct dns_reply *reply, const char *text)
{
        return memmem(reply->bytes, reply->length, text, strlen(text)) != NULL;
}

static inline void dns_lab_send(int fd, const struct dns_bytes *query)
{
        assert_int_equal(send(fd, query->bytes, query->length, 0), query->length);
}

static inline void dns_lab_receive(const struct dns_lab *lab, int fd, struct dns_reply *ret)
{
        dns_lab_await(lab, fd);
        ssize_t length = recv(fd, ret->bytes, sizeof(ret->bytes), 0);
        assert_true(length >= DNS_MESSAGE_HEADER_SIZE);
        ret->length = (size_t)length;
}

/* Asks over UDP from that address and waits for the response. */
static inline void dns_lab_ask(struct dns_lab *lab, const char *from, const char *name, unsigned type,
                               struct dns_reply *ret)
{
        static struct dns_bytes query;
        int fd = dns_lab_connect(lab, SOCK_DGRAM, from, lab->address);

        dns_lab_make_query(&query, 77, name, type);
        dns_lab_send(fd, &query);
        dns_lab_receive(lab, fd, ret);
        assert_int_equal(dns_reply_id(ret), 77);
        assert_int_equal(close(fd), 0);
}
