#include "policy/network_plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "policy/policy_layout.h"

#define NETWORK_BITS (1u << POLICY_PROTOCOL_TCP | 1u << POLICY_PROTOCOL_UDP)
#define MAX_PORTS_IN_LABEL 40 /* bytes; longer lists are named by their hash */

/* Gathers the rules of one cluster. */
struct gathering {
        const struct policy *policy;
        struct network_plan *plan;
        struct network_services *services;
        bool learns; /* allowed rules: names count */
        size_t name_capacity;
        struct network_service *current;
        int result;
};

static enum network_family family_of(const struct net_address *address)
{
        return address->family == AF_INET ? NETWORK_IPV4 : NETWORK_IPV6;
}

static bool same_ports(const struct port_set *a, const struct port_set *b)
{
        return a->count == b->count && memcmp(a->ranges, b->ranges, a->count * sizeof(*a->ranges)) == 0;
}

const struct network_service *network_services_find(const struct network_services *services,
                                                    enum policy_protocol protocol, const struct port_set *ports)
{
        for (size_t i = 0; i < services->count; i++)
                if (services->items[i].protocol == protocol && same_ports(&services->items[i].ports, ports))
                        return &services->items[i];
        return NULL;
}

/* Letters, digits, '.', '_' and '-' only; the same text for the same service in every run, so that sets are found again. */
static void write_label(const struct network_service *service, char label[NETWORK_LABEL_SIZE])
{
        static const uint64_t key[2] = { 0 };
        char ports[PORT_SET_TEXT_SIZE];
        size_t length = port_set_format(&service->ports, ports);

        for (char *comma = ports; (comma = strchr(comma, ',')) != NULL;)
                *comma = '_';
        if (length > MAX_PORTS_IN_LABEL)
                snprintf(ports, sizeof(ports), "x%016llx",
                         (unsigned long long)hash_bytes_keyed(key, service->ports.ranges,
                                                              service->ports.count * sizeof(*service->ports.ranges)));
        snprintf(label, NETWORK_LABEL_SIZE, "%s.%.*s", policy_protocol_name(service->protocol), MAX_PORTS_IN_LABEL,
                 ports);
}

/* Whether the proxy does not take all of it. */
static bool is_forwarded(const struct policy *policy, const struct network_service *service)
{
        if (service->protocol == POLICY_PROTOCOL_UDP)
                return true;
        for (size_t i = 0; i < service->ports.count; i++)
                for (unsigned port = service->ports.ranges[i].first; port <= service->ports.ranges[i].last; port++)
                        if (!policy_is_steered(policy, (uint16_t)port))
                                return true;
        return false;
}

/* Finds or adds the service of a rule; NULL: out of memory. */
static struct network_service *service_of(struct gathering *gathering, const struct rule_match *rule)
{
        struct network_services *services = gathering->services;
        enum policy_protocol protocol = rule_match_protocol(rule);
        const struct port_set *ports = rule_match_ports(rule);
        const struct network_service *known = network_services_find(services, protocol, ports);
        struct network_service *items, *added;

        if (known != NULL)
                return &services->items[known - services->items];
        items = reallocarray(services->items, services->count + 1, sizeof(*items));
        if (items == NULL)
                return NULL;
        services->items = items;
        added = &items[services->count++];
        *added = (struct network_service){ .protocol = protocol, .ports = *ports };
        write_label(added, added->label);
        added->forwarded = is_forwarded(gathering->policy, added);
        return added;
}

static void on_prefix(const struct net_prefix *prefix, void *context)
{
        struct gathering *gathering = context;
        enum network_family family = family_of(&prefix->address);

        if (gathering->result == 0)
                gathering->result = address_ranges_add(&gathering->current->ranges[family], prefix, 0);
}

static int add_name(struct gathering *gathering, const struct rule_match *rule)
{
        struct network_plan *plan = gathering->plan;
        char pattern[FQDN_MAX_LENGTH + 1];
        struct fqdn name;

        gathering->current->has_names = true;
        if (fqdn_from_bytes(pattern, rule_match_pattern(rule, pattern), &name) < 0)
                return 0; /* With a wildcard: known only when a client asks. */
        if (plan->name_count == gathering->name_capacity) {
                size_t capacity = gathering->name_capacity == 0 ? 8 : gathering->name_capacity * 2;
                struct fqdn *names = reallocarray(plan->names, capacity, sizeof(*names));
                if (names == NULL)
                        return -ENOMEM;
                plan->names = names;
                gathering->name_capacity = capacity;
        }
        plan->names[plan->name_count++] = name;
        return 0;
}

static bool on_rule(const struct rule_match *rule, void *context)
{
        struct gathering *gathering = context;

        if (rule->kind == RULE_MATCH_NAME && !gathering->learns)
                return true;
        gathering->current = service_of(gathering, rule);
        if (gathering->current == NULL)
                gathering->result = -ENOMEM;
        else if (rule->kind == RULE_MATCH_NAME)
                gathering->result = add_name(gathering, rule);
        else
                rule_match_each_prefix(rule, on_prefix, gathering);
        return gathering->result == 0;
}

/* api_server: NULL for deny rules, of which names do not count either. */
static int gather(struct gathering *gathering, const struct policy_rules *rules, const struct rule_set *api_server,
                  struct network_services *services)
{
        gathering->services = services;
        gathering->learns = api_server != NULL;
        for (size_t i = 0; i < rules->count && gathering->result == 0; i++)
                rule_set_each(rules->sets[i], NETWORK_BITS, on_rule, gathering);
        if (api_server != NULL && gathering->result == 0)
                rule_set_each(api_server, NETWORK_BITS, on_rule, gathering);
        for (size_t i = 0; i < services->count; i++)
                for (size_t family = 0; family < NETWORK_FAMILIES; family++)
                        address_ranges_join(&services->items[i].ranges[family]);
        return gathering->result;
}

static int add_config_prefixes(const struct config_prefix *prefixes, size_t count, uint32_t number,
                               struct address_ranges ranges[NETWORK_FAMILIES])
{
        int r = 0;

        for (size_t i = 0; i < count && r == 0; i++)
                r = address_ranges_add(&ranges[family_of(&prefixes[i].prefix.address)], &prefixes[i].prefix, number);
        return r;
}

static int plan_cluster(struct gathering *gathering, const struct policy_cluster *cluster, uint32_t index)
{
        const struct config_cluster *config = cluster->config;
        struct network_cluster *planned = &gathering->plan->clusters[index];

        planned->name = config->name.text;
        planned->mode = config->mode;
        planned->snat_pool = config->snat_pool;
        int r = gather(gathering, &cluster->allow, cluster->api_server, &planned->allow);
        if (r == 0)
                r = gather(gathering, &cluster->deny, NULL, &planned->deny);
        if (r == 0)
                r = add_config_prefixes(config->private_destinations, config->private_destination_count, 0,
                                        planned->private_destinations);
        for (size_t family = 0; family < NETWORK_FAMILIES; family++)
                address_ranges_join(&planned->private_destinations[family]);
        return r == 0 ? add_config_prefixes(config->sources, config->source_count, index, gathering->plan->sources) : r;
}

static int compare_names(const void *left, const void *right)
{
        const struct fqdn *a = left, *b = right;

        return strcmp(a->text, b->text);
}

/* Several clusters want the same names. */
static void keep_each_name_once(struct network_plan *plan)
{
        size_t kept = 0;

        if (plan->name_count > 1)
                qsort(plan->names, plan->name_count, sizeof(*plan->names), compare_names);
        for (size_t i = 0; i < plan->name_count; i++)
                if (kept == 0 || !fqdn_equal(&plan->names[kept - 1], &plan->names[i]))
                        plan->names[kept++] = plan->names[i];
        plan->name_count = kept;
}

int network_plan_new(const struct policy *policy, struct network_plan **ret)
{
        struct network_plan *plan = calloc(1, sizeof(*plan));
        struct gathering gathering = { .policy = policy, .plan = plan };
        int r = 0;

        if (plan == NULL)
                return -ENOMEM;
        plan->clusters = calloc(policy->cluster_count + 1, sizeof(*plan->clusters)); /* never zero bytes */
        if (plan->clusters == NULL)
                r = -ENOMEM;
        for (size_t i = 0; i < policy->cluster_count && r == 0; i++) {
                plan->cluster_count = i + 1;
                r = plan_cluster(&gathering, &policy->clusters[i], (uint32_t)i);
        }
        for (size_t family = 0; family < NETWORK_FAMILIES && r == 0; family++)
                r = address_ranges_flatten(&plan->sources[family]);
        if (r < 0) {
                network_plan_free(plan);
                return r;
        }
        keep_each_name_once(plan);
        *ret = plan;
        return 0;
}

static void clear_ranges(struct address_ranges ranges[NETWORK_FAMILIES])
{
        for (size_t family = 0; family < NETWORK_FAMILIES; family++)
                address_ranges_clear(&ranges[family]);
}

static void clear_services(struct network_services *services)
{
        for (size_t i = 0; i < services->count; i++)
                clear_ranges(services->items[i].ranges);
        free(services->items);
}

void network_plan_free(struct network_plan *plan)
{
        if (plan == NULL)
                return;
        for (size_t i = 0; plan->clusters != NULL && i < plan->cluster_count; i++) {
                clear_services(&plan->clusters[i].allow);
                clear_services(&plan->clusters[i].deny);
                clear_ranges(plan->clusters[i].private_destinations);
        }
        free(plan->clusters);
        clear_ranges(plan->sources);
        free(plan->names);
        free(plan);
}
