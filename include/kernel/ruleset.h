/*
 * The text of the daemon's own table `inet aksegressd`, as `nft -f` takes it. Pure: kernel/nftables.h applies it.
 *
 * What a packet from a cluster meets, in this order:
 *   passage          packets that are to be forwarded get a mark without which the routing refuses them (policy_routing.h)
 *   prerouting       Azure's platform addresses are dropped; TCP to steered ports goes to the transparent listener (TPROXY)
 *   forward          flows that a network rule let through go on; others: which cluster?
 *   cluster.NAME     forbidden destinations, deny rules, network rules, refuse
 *   pass.NAME        the flow's conntrack mark is set
 *   refuse           RST, ICMP or silence
 *   source_nat       the flow gets an address of the cluster's pool
 *   source_guard     what has none after all is dropped
 * What is refused is handed to the packet log, with a prefix that says why.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "policy/network_plan.h"
#include "policy/policy.h"

#define RULESET_STEERING_MARK 0x61656400u   /* "aed": packets for the transparent listener, see policy_routing.h */
#define RULESET_FORWARDING_MARK 0x61656401u /* packets that the table has seen and that are not for the listener */

/* Conntrack marks of flows that a network rule (or audit mode) let through: these bits, and the cluster's number from 1. */
#define RULESET_FLOW_MARK 0x61650000u
#define RULESET_FLOW_MASK 0xffff0000u

#define RULESET_LOG_GROUP 27751u  /* NFLOG */
#define RULESET_LOG_SNAPLEN 1600u /* bytes of a packet: a QUIC Initial whole */

/* Prefixes of logged packets. */
#define RULESET_LOG_PLATFORM "platform-address"
#define RULESET_LOG_UNKNOWN_SOURCE "unknown-source"
#define RULESET_LOG_NOT_PROXIED "not-proxied"
#define RULESET_LOG_NO_FLOW "no-flow"
#define RULESET_LOG_FORBIDDEN "forbidden-address"
#define RULESET_LOG_DENY_RULE "deny-rule"
#define RULESET_LOG_NO_RULE "no-network-rule"
#define RULESET_LOG_NO_SOURCE "snat-unavailable"

#define RULESET_SET_NAME_SIZE 160
#define RULESET_COMMENT_MAX 128 /* bytes, nft's limit; longer comments are cut */

/* One element of a set of learned addresses. */
struct ruleset_element {
        struct net_address address;
        uint64_t timeout_ms;
        const char *comment; /* the name it was learned from */
};

typedef void (*ruleset_element_fn)(const char *set, const struct ruleset_element *element, void *context);

/* What the ruleset depends on beside the policy. */
struct ruleset_facts {
        /* Whether a pool address is on a network interface; NULL: all are. */
        bool (*is_present)(const struct net_address *address, void *context);
        /* Calls back for each learned address of each set; NULL: there is none. */
        void (*each_learned)(ruleset_element_fn on_element, void *sink, void *context);
        void *context;
};

/* The set for learned addresses of a service: "learned.udp.123.prod-weu.v4". */
void ruleset_learned_set(const struct network_service *service, const char *cluster, int family,
                         char name[RULESET_SET_NAME_SIZE]);

/* Prints "table inet aksegressd { … }" with every set, element, chain and rule. */
void ruleset_print(FILE *stream, const struct policy *policy, const struct ruleset_facts *facts);

/* Prints commands that replace just what depends on the pool addresses that are present. The table must be there. */
void ruleset_print_sources(FILE *stream, const struct policy *policy, const struct ruleset_facts *facts);
