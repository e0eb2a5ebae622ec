/*
 * What the kernel is to know of a policy: for each cluster its sources, its network rules gathered by protocol and ports, and
 * the private destinations that are open to it. Made once with the policy, constant afterwards. Pure.
 *
 * Names in deny rules do not reach the kernel (many services share an address); https and http rules are the proxy's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "policy/address_ranges.h"
#include "policy/config.h"
#include "policy/policy_protocol.h"
#include "policy/port_set.h"

struct policy;
struct policy_cluster;

#define NETWORK_LABEL_SIZE 64

enum network_family {
        NETWORK_IPV4 = 0,
        NETWORK_IPV6,
        NETWORK_FAMILIES, /* must be last */
};

/* Every network rule of a cluster with the same protocol and ports: where it leads. */
struct network_service {
        enum policy_protocol protocol; /* TCP or UDP */
        struct port_set ports;
        char label
                [NETWORK_LABEL_SIZE]; /* "udp.123", "tcp.22_8000-8010": unique in the cluster, fit for an nftables name */
        struct address_ranges ranges[NETWORK_FAMILIES];
        bool has_names; /* some rule is about a name: addresses are learned */
        bool forwarded; /* some port is not steered to the proxy, and so the kernel's */
};

struct network_services {
        struct network_service *items; /* owned */
        size_t count;
};

struct network_cluster {
        const char *name; /* borrowed from the configuration, as are the next two */
        enum config_mode mode;
        size_t snat_pool;
        struct network_services allow;
        struct network_services deny; /* has_names is always false */
        struct address_ranges private_destinations[NETWORK_FAMILIES];
};

struct network_plan {
        struct network_cluster *clusters; /* owned; in the order of the configuration */
        size_t cluster_count;
        struct address_ranges sources[NETWORK_FAMILIES]; /* numbers are cluster indexes; the longest prefix has won */
        struct fqdn *names; /* owned; exact names in allowed network rules, each once, sorted */
        size_t name_count;
};

/* The policy's steered ports must be known. Returns 0 or -ENOMEM. */
MUST_CHECK int network_plan_new(const struct policy *policy, struct network_plan **ret);

/* Takes NULL. */
void network_plan_free(struct network_plan *plan);

/* The service for a rule's protocol and ports; NULL: no network rule has them. */
const struct network_service *network_services_find(const struct network_services *services,
                                                    enum policy_protocol protocol, const struct port_set *ports);
