/* What a policy is made of: shared by policy_load.c, which builds it, and policy.c and policy_hint.c, which read it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/feature_catalog.h"
#include "policy/network_plan.h"
#include "policy/policy.h"
#include "policy/policy_hint.h"
#include "policy/prefix_set.h"
#include "policy/rule_set.h"

#define POLICY_CLOUD_COUNT 3

/* Rule sets in the order in which they are asked. */
struct policy_rules {
        struct rule_set *own;         /* owned: rules of this cluster alone */
        const struct rule_set **sets; /* owned array of borrowed sets: own, then lists that clusters share */
        size_t count;
};

/* One feature file as a cluster has it. */
struct policy_feature_use {
        bool enabled;
        size_t active_rules;
        size_t inactive_rules;
        char *inactive_because; /* NULL: none */
};

struct policy_cluster {
        const struct config_cluster *config; /* borrowed from the policy's config */
        enum rule_cloud cloud;
        struct policy_rules allow;
        struct policy_rules deny;
        struct rule_set
                *api_server; /* TCP to the API server: for who dials its addresses, not for who asks for its name */
        struct prefix_set *private_destinations;
        struct policy_feature_use *uses; /* one for each feature of the catalog */
};

/* A list that clusters share: read and compiled once. */
struct policy_list {
        char *path;
        struct rule_set *set;   /* NULL: rules of the list differ from cluster to cluster */
        struct rule_file *file; /* only while loading, and where set is NULL; both NULL: could not be read */
};

struct policy {
        atomic_uint reference_count;
        struct config *config; /* owned once policy_load has succeeded */
        struct feature_catalog *catalog;
        struct policy_list *lists;
        size_t list_count;
        struct policy_cluster *clusters;
        size_t cluster_count;
        struct service_tags *tags;                      /* NULL: not configured */
        struct prefix_set *sources;                     /* numbers are cluster indexes */
        struct policy_hints *hints[POLICY_CLOUD_COUNT]; /* by policy_cloud_index; NULL: no cluster is in that cloud */
        uint16_t *steered_ports;
        size_t steered_port_count;
        size_t rule_count;
        struct network_plan *networks; /* owned */
};

size_t policy_cloud_index(enum rule_cloud cloud);

/* What the DNS listener does with what the rules refuse: in an audited cluster at most an audit. */
enum config_dns_filter policy_dns_filter(const struct policy_cluster *cluster);

/* The values a cluster has for a parameter; *ret_count 0: none. */
const struct config_text *policy_cluster_values(const struct policy_cluster *cluster, struct rule_span name,
                                                size_t *ret_count);

/* Whether a rule with when=name is active in the cluster. */
bool policy_cluster_has_switch(const struct policy_cluster *cluster, struct rule_span name);

/* The first zone of the resolver's that holds the name; NULL: none. */
const struct config_forward_zone *policy_forward_zone_of(const struct policy *policy, const struct fqdn *name);

/* Frees a policy but not its config. Takes half-built ones and NULL. */
void policy_free_parts(struct policy *policy);
