#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

#include "policy/policy_layout.h"

/* Bits of rule_query.protocols. */
#define HTTPS_BIT (1u << POLICY_PROTOCOL_HTTPS)
#define HTTP_BIT (1u << POLICY_PROTOCOL_HTTP)
#define TCP_BIT (1u << POLICY_PROTOCOL_TCP)
#define UDP_BIT (1u << POLICY_PROTOCOL_UDP)

struct policy *policy_ref(struct policy *policy)
{
        atomic_fetch_add_explicit(&policy->reference_count, 1, memory_order_relaxed);
        return policy;
}

void policy_unref(struct policy *policy)
{
        if (policy == NULL || atomic_fetch_sub_explicit(&policy->reference_count, 1, memory_order_acq_rel) > 1)
                return;
        struct config *config = policy->config;
        policy_free_parts(policy);
        config_free(config);
}

static void free_rules(struct policy_rules *rules)
{
        rule_set_free(rules->own);
        free(rules->sets);
}

static void free_cluster(struct policy_cluster *cluster, size_t feature_count)
{
        free_rules(&cluster->allow);
        free_rules(&cluster->deny);
        rule_set_free(cluster->api_server);
        prefix_set_free(cluster->private_destinations);
        for (size_t i = 0; cluster->uses != NULL && i < feature_count; i++)
                free(cluster->uses[i].inactive_because);
        free(cluster->uses);
}

void policy_free_parts(struct policy *policy)
{
        if (policy == NULL)
                return;
        for (size_t i = 0; i < policy->cluster_count; i++)
                free_cluster(&policy->clusters[i], policy->catalog != NULL ? policy->catalog->count : 0);
        free(policy->clusters);
        for (size_t i = 0; i < policy->list_count; i++) {
                free(policy->lists[i].path);
                rule_set_free(policy->lists[i].set);
                rule_file_free(policy->lists[i].file);
        }
        free(policy->lists);
        for (size_t i = 0; i < POLICY_CLOUD_COUNT; i++)
                policy_hints_free(policy->hints[i]);
        service_tags_free(policy->tags);
        prefix_set_free(policy->sources);
        feature_catalog_free(policy->catalog);
        free(policy->steered_ports);
        network_plan_free(policy->networks);
        free(policy);
}

const struct config *policy_config(const struct policy *policy)
{
        return policy->config;
}

size_t policy_cloud_index(enum rule_cloud cloud)
{
        return cloud == RULE_CLOUD_PUBLIC ? 0 : cloud == RULE_CLOUD_CHINA ? 1 : 2;
}

/* IPv4 written as IPv6 (::ffff:10.0.0.1), as a dual-stack socket has it, is that IPv4 address. */
static struct net_address without_mapping(const struct net_address *address)
{
        static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
        struct net_address inner = { .family = AF_INET };

        if (address->family != AF_INET6 || memcmp(address->bytes, mapped, sizeof(mapped)) != 0)
                return *address;
        memcpy(inner.bytes, address->bytes + 12, 4);
        return inner;
}

const struct policy_cluster *policy_cluster_of(const struct policy *policy, const struct net_address *source)
{
        struct net_address address = without_mapping(source);
        uint32_t entry = prefix_set_find_longest(policy->sources, &address);

        return entry == PREFIX_SET_NONE ? NULL : &policy->clusters[prefix_set_number(policy->sources, entry)];
}

size_t policy_cluster_count(const struct policy *policy)
{
        return policy->cluster_count;
}

const struct policy_cluster *policy_cluster_at(const struct policy *policy, size_t index)
{
        return &policy->clusters[index];
}

const struct policy_cluster *policy_cluster_named(const struct policy *policy, const char *name)
{
        for (size_t i = 0; i < policy->cluster_count; i++)
                if (strcmp(policy_cluster_name(&policy->clusters[i]), name) == 0)
                        return &policy->clusters[i];
        return NULL;
}

const char *policy_cluster_name(const struct policy_cluster *cluster)
{
        return cluster->config->name.text;
}

size_t policy_cluster_snat_pool(const struct policy_cluster *cluster)
{
        return cluster->config->snat_pool;
}

const struct config_text *policy_cluster_values(const struct policy_cluster *cluster, struct rule_span name,
                                                size_t *ret_count)
{
        const struct config_cluster *config = cluster->config;

        *ret_count = 0;
        if (rule_span_equals(name, "location")) {
                *ret_count = config->location.text != NULL && config->location.text[0] != '\0' ? 1 : 0;
                return &config->location;
        }
        for (size_t i = 0; i < config->parameter_count; i++) {
                const struct config_parameter *parameter = &config->parameters[i];
                if (!rule_span_equals(name, parameter->name.text))
                        continue;
                if (parameter->value_count > 0 && parameter->values[0].text[0] != '\0')
                        *ret_count = parameter->value_count;
                return parameter->values;
        }
        return NULL;
}

bool policy_cluster_has_switch(const struct policy_cluster *cluster, struct rule_span name)
{
        size_t count;
        const struct config_text *values = policy_cluster_values(cluster, name, &count);

        return count > 0 && strcmp(values[0].text, "no") != 0 && strcmp(values[0].text, "false") != 0;
}

/* Deciding. */

static unsigned protocol_bit(enum policy_protocol protocol)
{
        return 1u << protocol;
}

/* What a client asks for over UDP is the kernel's; everything else is a TCP connection, whatever it speaks. */
static unsigned network_bit(enum policy_protocol protocol)
{
        return protocol == POLICY_PROTOCOL_UDP ? UDP_BIT : TCP_BIT;
}

static bool match_in(const struct policy_rules *rules, const struct rule_query *query, struct rule_match *match)
{
        for (size_t i = 0; i < rules->count; i++)
                (void)rule_set_match(rules->sets[i], query, match); /* match->set tells. */
        return match->set != NULL;
}

/* What is asked for as https must speak it; the API server's address is for clients that do not ask by name. */
static bool match_api_server(const struct policy_cluster *cluster, const struct policy_request *request,
                             const struct rule_query *query, struct rule_match *match)
{
        return request->protocol == POLICY_PROTOCOL_TCP && rule_set_match(cluster->api_server, query, match);
}

static void describe_match(const struct rule_match *match, const char *list_feature, struct policy_verdict *ret)
{
        struct rule_origin origin = rule_match_origin(match);

        ret->feature = origin.feature != NULL ? origin.feature : list_feature;
        ret->rule_file = origin.file;
        ret->rule_line = rule_match_line(match);
        rule_match_format(match, ret->rule_text, sizeof(ret->rule_text));
}

static void deny(const struct policy_cluster *cluster, enum reason reason, struct policy_verdict *ret)
{
        ret->reason = reason;
        ret->action = cluster->config->mode == CONFIG_MODE_AUDIT ? POLICY_AUDIT : POLICY_DENY;
}

static void clear_verdict(struct policy_verdict *ret)
{
        ret->action = POLICY_ALLOW;
        ret->reason = REASON_COMPLETED;
        ret->by_network_rule = false;
        ret->feature = NULL;
        ret->rule_file = NULL;
        ret->rule_line = 0;
        ret->rule_text[0] = '\0';
        ret->hint[0] = '\0';
}

void policy_decide(const struct policy *policy, const struct policy_cluster *cluster,
                   const struct policy_request *request, struct policy_verdict *ret)
{
        struct rule_query query = { .port = request->port, .name = &request->name, .address = &request->address };
        struct rule_match match = { 0 };

        clear_verdict(ret);
        if (cluster == NULL) {
                ret->action = POLICY_DENY;
                ret->reason = REASON_UNKNOWN_SOURCE;
                policy_hint_write(policy, cluster, request, ret->hint);
                return;
        }
        query.protocols = protocol_bit(request->protocol) | network_bit(request->protocol);
        if (match_in(&cluster->deny, &query, &match)) {
                describe_match(&match, "deny", ret);
                deny(cluster, REASON_DENY_RULE, ret);
                return;
        }
        query.protocols = network_bit(request->protocol);
        if (match_in(&cluster->allow, &query, &match) || match_api_server(cluster, request, &query, &match)) {
                describe_match(&match, "allow", ret);
                ret->by_network_rule = true;
                return;
        }
        query.protocols = protocol_bit(request->protocol) & (HTTPS_BIT | HTTP_BIT);
        if (query.protocols != 0 && match_in(&cluster->allow, &query, &match)) {
                describe_match(&match, "allow", ret);
                return;
        }
        deny(cluster, REASON_NO_RULE, ret);
        policy_hint_write(policy, cluster, request, ret->hint);
}

bool policy_network_rule_covers(const struct policy_cluster *cluster, const struct net_address *address, uint16_t port)
{
        struct rule_query query = { .protocols = TCP_BIT, .port = port, .address = address };
        struct rule_match match = { 0 };

        return cluster != NULL && port != 0 && match_in(&cluster->allow, &query, &match);
}

size_t policy_steered_ports(const struct policy *policy, const uint16_t **ret)
{
        *ret = policy->steered_ports;
        return policy->steered_port_count;
}

static int compare_ports(const void *left, const void *right)
{
        const uint16_t *a = left, *b = right;

        return *a - *b;
}

bool policy_is_steered(const struct policy *policy, uint16_t port)
{
        return bsearch(&port, policy->steered_ports, policy->steered_port_count, sizeof(port), compare_ports) != NULL;
}

const struct network_plan *policy_networks(const struct policy *policy)
{
        return policy->networks;
}

size_t policy_rule_count(const struct policy *policy)
{
        return policy->rule_count;
}

void policy_features(const struct policy *policy, policy_feature_fn on_feature, void *context)
{
        for (size_t i = 0; i < policy->cluster_count; i++) {
                const struct policy_cluster *cluster = &policy->clusters[i];
                for (size_t j = 0; j < policy->catalog->count; j++) {
                        const struct policy_feature_use *use = &cluster->uses[j];
                        const char *because = use->inactive_because;
                        struct policy_feature_line line = {
                                .cluster = policy_cluster_name(cluster),
                                .feature = policy->catalog->features[j].name,
                                .enabled = use->enabled,
                                .active_rules = use->active_rules,
                                .inactive_rules = use->inactive_rules,
                                .inactive_because = because != NULL ? because : "",
                        };
                        on_feature(&line, context);
                }
        }
}

const char *policy_action_name(enum policy_action action)
{
        static const char *const names[] = {
                [POLICY_ALLOW] = "allow",
                [POLICY_DENY] = "deny",
                [POLICY_AUDIT] = "audit",
        };

        return names[action];
}
