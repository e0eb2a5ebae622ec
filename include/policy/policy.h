/*
 * The policy: which client may reach which name, address and port. Built once from a configuration and the rule files it
 * names, immutable and reference-counted afterwards; every call but _load and _unref is pure and safe from any thread.
 * This is the code that the daemon, aksegressctl explain and the tests all run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/diagnostic.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "policy/config.h"
#include "policy/policy_protocol.h"
#include "policy/reason.h"

struct network_plan;
struct network_service;
struct network_services;
struct policy;
struct policy_cluster;

enum policy_action {
        POLICY_ALLOW = 0,
        POLICY_DENY,
        POLICY_AUDIT, /* would be denied, let through because the cluster's mode is audit */
};

#define POLICY_HINT_SIZE 256
#define POLICY_RULE_TEXT_SIZE 192

/* What is asked. Fields that do not apply stay zero. */
struct policy_request {
        enum policy_protocol protocol;
        uint16_t port;              /* destination, host order */
        struct fqdn name;           /* length 0: none known */
        struct net_address address; /* destination as the client dialled it; AF_UNSPEC: none known */
        struct net_address source;  /* the client, only to be named in a hint; AF_UNSPEC: not given */
};

/* The answer. Pointers are owned by the policy and live as long as a reference to it is held. */
struct policy_verdict {
        enum policy_action action;
        enum reason reason; /* REASON_COMPLETED where action is POLICY_ALLOW */
        /*
         * A tcp or udp rule decided: what the connection speaks does not matter. Where to dial is another question: such a
         * rule may match by name, so dial request.address only if policy_network_rule_covers it.
         */
        bool by_network_rule;
        const char *feature;   /* "core", …, or "allow", "deny" for the cluster's own rules; NULL: no rule matched */
        const char *rule_file; /* NULL: no rule matched */
        unsigned rule_line;
        char rule_text[POLICY_RULE_TEXT_SIZE]; /* canonical, "https *.github.com:443"; "" : no rule matched */
        char hint[POLICY_HINT_SIZE];           /* what would have allowed it; "": nothing known */
};

/*
 * Builds a policy from config, which must outlive it (policy_load takes ownership on success: policy_unref frees it).
 * Reads allowlists from config's allowlist_dirs and the files that clusters name. All errors and warnings go to
 * diagnostics, with the place in the rule file or in the configuration.
 *
 * Returns 0 with one reference; -EINVAL: errors were added; -ENOMEM. On failure config stays the caller's.
 */
MUST_CHECK int policy_load(struct config *config, struct diagnostics *diagnostics, struct policy **ret);

/*
 * Reads the configuration at path and builds its policy: config_read and policy_load in one, telling the errors of both
 * even where the first finds some. Returns as policy_load.
 */
MUST_CHECK int policy_read(const char *path, struct diagnostics *diagnostics, struct policy **ret);

struct policy *policy_ref(struct policy *policy);

/* Takes NULL. The last one frees the policy and its config. */
void policy_unref(struct policy *policy);

const struct config *policy_config(const struct policy *policy);

/* The cluster whose sources hold the address (longest prefix wins); NULL: none. */
const struct policy_cluster *policy_cluster_of(const struct policy *policy, const struct net_address *source);

/* Clusters in the order of the configuration, and by their name (NULL: there is none of that name). */
size_t policy_cluster_count(const struct policy *policy);
const struct policy_cluster *policy_cluster_at(const struct policy *policy, size_t index);
const struct policy_cluster *policy_cluster_named(const struct policy *policy, const char *name);

const char *policy_cluster_name(const struct policy_cluster *cluster);

/* Index into config.snat_pools. */
size_t policy_cluster_snat_pool(const struct policy_cluster *cluster);

/*
 * Decides in the order deny rules, network rules, application rules, refuse. cluster may be NULL (unknown source).
 * Writes the whole verdict. Of several rules that match, the most specific is reported, then the first. What it costs
 * does not depend on the number of rules; a hint is looked for only where nothing allows the request.
 *
 * An https or http request matches application rules of its own protocol by name and port, and tcp rules by name or by
 * address. A tcp request matches tcp rules only. Deny rules: https and http ones match their own protocol, and tcp ones all.
 */
void policy_decide(const struct policy *policy, const struct policy_cluster *cluster,
                   const struct policy_request *request, struct policy_verdict *ret);

/*
 * Decides whether a client may have a name resolved: some rule of the cluster, application or network alike, allows the name
 * at some port, and no deny rule takes that back. The cluster's dns_filter is in the answer: audit (of an
 * audited cluster, too) makes of a refusal POLICY_AUDIT, off allows every name without a rule. Names in a forward zone are
 * allowed (feature "forward_zones"). Writes the whole verdict; rule and hint are of one that fits.
 */
void policy_decide_query(const struct policy *policy, const struct policy_cluster *cluster, const struct fqdn *name,
                         struct policy_verdict *ret);

/* Whether a network rule of the cluster covers this address and port: dial it at once, whatever the client will say. */
bool policy_network_rule_covers(const struct policy_cluster *cluster, const struct net_address *address, uint16_t port);

/*
 * Whether a resolved or dialled address may be connected to at all: REASON_COMPLETED when it may, otherwise
 * FORBIDDEN_ADDRESS, PLATFORM_ADDRESS or OWN_ADDRESS with a hint (names private_destinations where that would help).
 */
enum reason policy_permits_address(const struct policy *policy, const struct policy_cluster *cluster,
                                   const struct net_address *address, uint16_t port, char hint[POLICY_HINT_SIZE]);

/*
 * Decides whether a client of the cluster may be told that the name has the address: what policy_permits_address lets through,
 * and any address of a name in a forward zone, which exist for private ones. The cluster's dns_filter is in the answer: audit
 * makes of a refusal POLICY_AUDIT, off allows. Nobody is ever told of the two platform addresses. *ret_reason is
 * REASON_COMPLETED with POLICY_ALLOW.
 */
enum policy_action policy_decide_answer(const struct policy *policy, const struct policy_cluster *cluster,
                                        const struct fqdn *name, const struct net_address *address,
                                        enum reason *ret_reason, char hint[POLICY_HINT_SIZE]);

/* Ports that nftables steers to the transparent listener: 80, 443 and those of every application rule; sorted. */
size_t policy_steered_ports(const struct policy *policy, const uint16_t **ret);

/* Whether a TCP port is one of them. */
bool policy_is_steered(const struct policy *policy, uint16_t port);

/* What the kernel is to know of it; see network_plan.h. */
const struct network_plan *policy_networks(const struct policy *policy);

/* The cluster's allowed services in it. */
const struct network_services *policy_services_of(const struct policy *policy, const struct policy_cluster *cluster);

/*
 * Calls back for each service of the cluster's plan whose allowed network rules are about the name: those whose sets its
 * addresses belong in. Not for one of which a deny rule takes some port back from the name. May call for one service several
 * times.
 */
typedef void (*policy_service_fn)(const struct network_service *service, void *context);
void policy_each_service_of_name(const struct policy *policy, const struct policy_cluster *cluster,
                                 const struct fqdn *name, policy_service_fn on_service, void *context);

/* Rules in force, all clusters together, for the log and metrics. */
size_t policy_rule_count(const struct policy *policy);

/* One line of `features`: what is on, and which rules of it are inactive and why. */
struct policy_feature_line {
        const char *cluster;
        const char *feature;
        bool enabled;
        size_t active_rules;
        size_t inactive_rules;
        const char *inactive_because; /* "parameter vault_name has no value; …"; "" when none */
};

/* Calls back for each feature of each cluster in order. */
typedef void (*policy_feature_fn)(const struct policy_feature_line *line, void *context);
void policy_features(const struct policy *policy, policy_feature_fn on_feature, void *context);

/* "allow", "deny" or "audit". */
const char *policy_action_name(enum policy_action action);
