/* Flows over loopback that nft marks: 0x4100 to port 7777, of which the source is translated, 0x8200 to port 7778. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernel/flow.h"
#include "own_network.h"
#include "values.h"

#define FLOW_LAB_MARK 0x4100u
#define FLOW_LAB_OTHER_MARK 0x8200u
#define FLOW_LAB_MASK 0xff00u
#define FLOW_LAB_PORT 7777
#define FLOW_LAB_OTHER_PORT 7778

static inline void flow_lab_set(const char *setting, char value)
{
        char path[96];

        snprintf(path, sizeof(path), "/proc/sys/net/netfilter/nf_conntrack_%s", setting);
        int descriptor = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(descriptor != -1);
        assert_int_equal(write(descriptor, &value, 1), 1);
        assert_int_equal(close(descriptor), 0);
}

static inline void flow_lab_start(void)
{
        own_network_run("conntrack -F 2>&1");
        own_network_run("nft 'flush ruleset; table inet t {"
                        " chain o { type filter hook output priority 0;"
                        " meta l4proto != { tcp, udp } accept;" /* what looks like a port in them may be a checksum */
                        " th dport 7777 ct mark set 0x4101; th dport 7778 ct mark set 0x8201; };"
                        " chain p { type nat hook postrouting priority 100;"
                        " ip daddr 127.0.0.2 meta l4proto { tcp, udp } th dport 7777 snat to 127.0.0.9;"
                        " ip6 daddr ::1 meta l4proto { tcp, udp } th dport 7777 snat to [2001:db8::9]; };"
                        "}' 2>&1");
        flow_lab_set("acct", '1');
        flow_lab_set("timestamp", '1');
        flow_lab_set("events", '1');
}

static inline socklen_t flow_lab_address(const char *address, unsigned port, struct sockaddr_storage *ret)
{
        struct net_endpoint endpoint = { .address = address_of(address), .port = (uint16_t)port };

        return net_endpoint_to_sockaddr(&endpoint, ret);
}

static inline int flow_lab_bind(int type, const char *address, unsigned port)
{
        struct sockaddr_storage local;
        socklen_t length = flow_lab_address(address, port, &local);
        int descriptor = socket(local.ss_family, type | SOCK_CLOEXEC, 0), one = 1;

        assert_int_equal(setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
        assert_int_equal(bind(descriptor, (const struct sockaddr *)&local, length), 0);
        if (type == SOCK_STREAM)
                assert_int_equal(listen(descriptor, 5), 0);
        return descriptor;
}

/* One datagram there (10 bytes) and one back (20), from a port of the client's own. Returns that port. */
static inline unsigned flow_lab_exchange_udp(const char *client, const char *server, unsigned port)
{
        struct sockaddr_storage destination, from;
        socklen_t length = flow_lab_address(server, port, &destination), from_length = sizeof(from);
        int a = flow_lab_bind(SOCK_DGRAM, client, 0), b = flow_lab_bind(SOCK_DGRAM, server, port);
        char buffer[32] = "";

        assert_int_equal(sendto(a, buffer, 10, 0, (const struct sockaddr *)&destination, length), 10);
        assert_int_equal(recvfrom(b, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &from_length), 10);
        assert_int_equal(sendto(b, buffer, 20, 0, (const struct sockaddr *)&from, from_length), 20);
        assert_int_equal(recv(a, buffer, sizeof(buffer), 0), 20);
        from_length = sizeof(from);
        assert_int_equal(getsockname(a, (struct sockaddr *)&from, &from_length), 0);
        unsigned local_port = net_endpoint_from_sockaddr(&from).port;
        assert_int_equal(close(a) | close(b), 0);
        return local_port;
}

/* Many datagrams to nobody, each a flow of its own: from ports first, first + 1, … */
static inline void flow_lab_send_many(unsigned first, unsigned count, unsigned port)
{
        struct sockaddr_storage destination;
        socklen_t length = flow_lab_address("127.0.0.3", port, &destination);

        for (unsigned i = 0; i < count; i++) {
                int descriptor = flow_lab_bind(SOCK_DGRAM, "127.0.0.1", first + i);
                assert_int_equal(sendto(descriptor, "x", 1, 0, (const struct sockaddr *)&destination, length), 1);
                assert_int_equal(close(descriptor), 0);
        }
}
