#include "kernel/ruleset.h"

#include <string.h>

#include "policy/config.h"

#define TABLE "inet aksegressd"
#define JHASH_SEED 0x61656400u /* sticky sources stay the same from start to start, and from one NVA to the next */

#define LOG_TO_GROUP "log prefix \"%s\" group %u snaplen %u"

static const char *const family_names[NETWORK_FAMILIES] = { [NETWORK_IPV4] = "ipv4", [NETWORK_IPV6] = "ipv6" };
static const char *const family_headers[NETWORK_FAMILIES] = { [NETWORK_IPV4] = "ip", [NETWORK_IPV6] = "ip6" };
static const char *const family_suffixes[NETWORK_FAMILIES] = { [NETWORK_IPV4] = "v4", [NETWORK_IPV6] = "v6" };
static const int family_numbers[NETWORK_FAMILIES] = { [NETWORK_IPV4] = AF_INET, [NETWORK_IPV6] = AF_INET6 };

/*
 * Connections to the transparent listener are not tracked: they would fill the conntrack table, and with the daemon gone
 * nothing may pass as "established". Their packets carry the original destination in the one direction and come from it,
 * an address that is not ours, in the other.
 */
static const char untracked_chains[] = "        chain untracked_prerouting {\n"
                                       "                type filter hook prerouting priority raw; policy accept;\n"
                                       "                fib daddr type != local tcp dport @steered_ports notrack\n"
                                       "        }\n"
                                       "        chain untracked_output {\n"
                                       "                type filter hook output priority raw; policy accept;\n"
                                       "                fib saddr type != local tcp sport @steered_ports notrack\n"
                                       "        }\n";

/*
 * The Azure platform addresses answer only this machine, whatever a client asks for.
 *
 * tproxy comes before the socket match: it alone finds the listener for a SYN with the ports of a connection in
 * TIME_WAIT, and the half-open connection that an ACK completes (which `socket wildcard` cannot judge). The socket match
 * is for connections whose port a reload took from the set. tproxy finding no listener ends its rule: the packet goes on
 * to the forward chain and is refused there, so nothing gets through while no daemon runs.
 *
 * Nobody is answered whose address is not where the packet came from, nor who dials a client from outside: the listener
 * would speak to a third party, or with the client's address.
 */
static const char steering_chain[] =
        "        chain prerouting {\n"
        "                type filter hook prerouting priority mangle; policy accept;\n"
        "                iifname != \"lo\" ip daddr { 168.63.129.16, 169.254.169.254 } counter " LOG_TO_GROUP " drop\n"
        "                meta l4proto != tcp accept\n"
        "                fib daddr type local accept\n"
        "                tcp flags & (syn | ack) == syn fib saddr . iif oif missing accept\n"
        "                ip daddr @sources.v4 ip saddr != @sources.v4 accept\n"
        "                ip6 daddr @sources.v6 ip6 saddr != @sources.v6 accept\n"
        "                meta nfproto ipv4 tcp dport @steered_ports tproxy ip to :%u meta mark set 0x%x counter "
        "accept\n"
        "                meta nfproto ipv6 tcp dport @steered_ports tproxy ip6 to :%u meta mark set 0x%x counter "
        "accept\n"
        "                socket transparent 1 socket wildcard 0 meta mark set 0x%x accept\n"
        "        }\n";

/* After the destination of answers is translated back, so that they are told from packets for this machine. */
static const char passage_chain[] = "        chain passage {\n"
                                    "                type filter hook prerouting priority dstnat + 10; policy "
                                    "accept;\n"
                                    "                meta mark != 0x%x meta mark set 0x%x\n"
                                    "        }\n";

static const char input_chain[] = "        chain input {\n"
                                  "                type filter hook input priority filter; policy accept;\n"
                                  "                tcp dport %u meta mark != 0x%x counter reject with tcp reset\n"
                                  "        }\n";

static void print_log(FILE *stream, const char *prefix)
{
        fprintf(stream, LOG_TO_GROUP, prefix, RULESET_LOG_GROUP, RULESET_LOG_SNAPLEN);
}

/* Sets. */

/* Neighbouring ports become one range. */
static void print_steered_ports(FILE *stream, const uint16_t *ports, size_t count)
{
        for (size_t i = 0; i < count;) {
                size_t last = i;
                while (last + 1 < count && ports[last + 1] - ports[last] <= 1)
                        last++;
                fprintf(stream, "%s%u", i == 0 ? "" : ", ", ports[i]);
                if (ports[last] != ports[i])
                        fprintf(stream, "-%u", ports[last]);
                i = last + 1;
        }
}

static void print_steered_set(FILE *stream, const struct policy *policy)
{
        const uint16_t *ports;
        size_t count = policy_steered_ports(policy, &ports);

        fputs("        set steered_ports {\n"
              "                type inet_service\n"
              "                flags interval\n",
              stream);
        if (count > 0) {
                fputs("                elements = { ", stream);
                print_steered_ports(stream, ports, count);
                fputs(" }\n", stream);
        }
        fputs("        }\n", stream);
}

static void print_range(FILE *stream, const struct address_range *range)
{
        char text[NET_ADDRESS_TEXT_SIZE];

        fputs(net_address_format(&range->first, text), stream);
        if (!net_address_equal(&range->first, &range->last))
                fprintf(stream, "-%s", net_address_format(&range->last, text));
}

static void print_interval_set(FILE *stream, const char *name, enum network_family family,
                               const struct address_ranges *ranges)
{
        fprintf(stream,
                "        set %s {\n"
                "                type %s_addr\n"
                "                flags interval\n",
                name, family_names[family]);
        for (size_t i = 0; i < ranges->count; i++) {
                fputs(i == 0 ? "                elements = { " : ", ", stream);
                print_range(stream, &ranges->items[i]);
        }
        fputs(ranges->count > 0 ? " }\n        }\n" : "        }\n", stream);
}

/* Which cluster a source belongs to, as a verdict. */
static void print_cluster_map(FILE *stream, const struct network_plan *plan, enum network_family family)
{
        const struct address_ranges *sources = &plan->sources[family];

        fprintf(stream,
                "        map clusters.%s {\n"
                "                type %s_addr : verdict\n"
                "                flags interval\n",
                family_suffixes[family], family_names[family]);
        for (size_t i = 0; i < sources->count; i++) {
                fputs(i == 0 ? "                elements = { " : ", ", stream);
                print_range(stream, &sources->items[i]);
                fprintf(stream, " : goto cluster.%s", plan->clusters[sources->items[i].number].name);
        }
        fputs(sources->count > 0 ? " }\n        }\n" : "        }\n", stream);
}

/* Ranges that are not public, without those that embed IPv4 or, with embedded, just these. */
static void print_special_set(FILE *stream, const char *name, enum network_family family, bool embedded)
{
        size_t printed = 0, count = net_address_special_count();

        fprintf(stream,
                "        set %s.%s {\n"
                "                type %s_addr\n"
                "                flags interval\n"
                "                auto-merge\n",
                name, family_suffixes[family], family_names[family]);
        for (size_t i = 0; i < count; i++) {
                struct net_prefix prefix;
                char text[NET_PREFIX_TEXT_SIZE];
                bool embeds = net_address_special(i, &prefix) == NET_ADDRESS_EMBEDDED_IPV4;
                if (prefix.address.family != family_numbers[family] || embeds != embedded)
                        continue;
                fprintf(stream, "%s%s", printed++ == 0 ? "                elements = { " : ", ",
                        net_prefix_format(&prefix, text));
        }
        fputs(printed > 0 ? " }\n        }\n" : "        }\n", stream);
}

/* The name of a set of a service's addresses, "allow.udp.123.prod-weu.v4". */
static void write_set_name(const char *kind, const struct network_service *service, const char *cluster,
                           enum network_family family, char name[RULESET_SET_NAME_SIZE])
{
        snprintf(name, RULESET_SET_NAME_SIZE, "%s.%s.%s.%s", kind, service->label, cluster, family_suffixes[family]);
}

void ruleset_learned_set(const struct network_service *service, const char *cluster, int family,
                         char name[RULESET_SET_NAME_SIZE])
{
        write_set_name("learned", service, cluster, family == AF_INET ? NETWORK_IPV4 : NETWORK_IPV6, name);
}

static void print_learned_sets(FILE *stream, const struct network_service *service, const char *cluster)
{
        char name[RULESET_SET_NAME_SIZE];

        for (size_t family = 0; service->has_names && family < NETWORK_FAMILIES; family++) {
                ruleset_learned_set(service, cluster, family_numbers[family], name);
                fprintf(stream,
                        "        set %s {\n"
                        "                type %s_addr\n"
                        "                flags timeout\n"
                        "        }\n",
                        name, family_names[family]);
        }
}

/*
 * Ranges that only the proxy needs stay out of the kernel. What is learned does not, though no rule may look at it: the next
 * daemon takes it over from there.
 */
static void print_service_sets(FILE *stream, const char *kind, const struct network_services *services,
                               const char *cluster)
{
        char name[RULESET_SET_NAME_SIZE];

        for (size_t i = 0; i < services->count; i++) {
                const struct network_service *service = &services->items[i];
                for (size_t family = 0; service->forwarded && family < NETWORK_FAMILIES; family++) {
                        write_set_name(kind, service, cluster, family, name);
                        if (service->ranges[family].count > 0)
                                print_interval_set(stream, name, family, &service->ranges[family]);
                }
                print_learned_sets(stream, service, cluster);
        }
}

static void print_sets(FILE *stream, const struct policy *policy)
{
        const struct network_plan *plan = policy_networks(policy);
        char name[RULESET_SET_NAME_SIZE];

        print_steered_set(stream, policy);
        for (size_t family = 0; family < NETWORK_FAMILIES; family++) {
                print_cluster_map(stream, plan, family);
                snprintf(name, sizeof(name), "sources.%s", family_suffixes[family]);
                print_interval_set(stream, name, family, &plan->sources[family]);
                print_special_set(stream, "special", family, false);
        }
        print_special_set(stream, "embedded", NETWORK_IPV6, true);
        for (size_t i = 0; i < plan->cluster_count; i++) {
                const struct network_cluster *cluster = &plan->clusters[i];
                for (size_t family = 0; family < NETWORK_FAMILIES; family++) {
                        snprintf(name, sizeof(name), "private.%s.%s", cluster->name, family_suffixes[family]);
                        print_interval_set(stream, name, family, &cluster->private_destinations[family]);
                }
                print_service_sets(stream, "deny", &cluster->deny, cluster->name);
                print_service_sets(stream, "allow", &cluster->allow, cluster->name);
        }
}

/* Chains. */

static void print_refusal(FILE *stream, const char *condition, const char *prefix)
{
        fprintf(stream, "                %s", condition);
        print_log(stream, prefix);
        fputs(" goto refuse\n", stream);
}

/* In an audited cluster it passes, and its record says what it would have been refused for when the flow has ended. */
static void print_judgement(FILE *stream, const struct network_cluster *cluster, const char *condition,
                            const char *prefix)
{
        if (cluster->mode != CONFIG_MODE_AUDIT) {
                print_refusal(stream, condition, prefix);
                return;
        }
        fprintf(stream, "                %sgoto pass.%s\n", condition, cluster->name);
}

/* "udp dport { 123 } ip daddr @allow.udp.123.prod-weu.v4 " */
static void write_condition(char *condition, size_t size, const struct network_service *service,
                            enum network_family family, const char *set)
{
        char ports[PORT_SET_TEXT_SIZE];

        port_set_format(&service->ports, ports);
        snprintf(condition, size, "%s dport { %s } %s daddr @%s ", policy_protocol_name(service->protocol), ports,
                 family_headers[family], set);
}

static void print_deny_rules(FILE *stream, const struct network_cluster *cluster)
{
        char set[RULESET_SET_NAME_SIZE];
        char condition[RULESET_SET_NAME_SIZE + PORT_SET_TEXT_SIZE + 64];

        for (size_t i = 0; i < cluster->deny.count; i++) {
                const struct network_service *service = &cluster->deny.items[i];
                for (size_t family = 0; service->forwarded && family < NETWORK_FAMILIES; family++) {
                        if (service->ranges[family].count == 0)
                                continue;
                        write_set_name("deny", service, cluster->name, family, set);
                        write_condition(condition, sizeof(condition), service, family, set);
                        print_judgement(stream, cluster, condition, RULESET_LOG_DENY_RULE);
                }
        }
}

static void print_allow_rule(FILE *stream, const struct network_cluster *cluster, const struct network_service *service,
                             enum network_family family, const char *set)
{
        char condition[RULESET_SET_NAME_SIZE + PORT_SET_TEXT_SIZE + 64];

        write_condition(condition, sizeof(condition), service, family, set);
        fprintf(stream, "                %sgoto pass.%s\n", condition, cluster->name);
}

static void print_allow_rules(FILE *stream, const struct network_cluster *cluster)
{
        char set[RULESET_SET_NAME_SIZE];

        for (size_t i = 0; i < cluster->allow.count; i++) {
                const struct network_service *service = &cluster->allow.items[i];
                for (size_t family = 0; service->forwarded && family < NETWORK_FAMILIES; family++) {
                        write_set_name("allow", service, cluster->name, family, set);
                        if (service->ranges[family].count > 0)
                                print_allow_rule(stream, cluster, service, family, set);
                        ruleset_learned_set(service, cluster->name, family_numbers[family], set);
                        if (service->has_names)
                                print_allow_rule(stream, cluster, service, family, set);
                }
        }
}

/*
 * Forbidden destinations come first: no rule and no audit opens them. An address that embeds IPv4 is never forwarded, since
 * what is inside cannot be checked here.
 */
static void print_cluster_chain(FILE *stream, const struct network_cluster *cluster)
{
        char condition[RULESET_SET_NAME_SIZE + 64];

        fprintf(stream, "        chain cluster.%s {\n", cluster->name);
        print_refusal(stream, "ip6 daddr @embedded.v6 ", RULESET_LOG_FORBIDDEN);
        for (size_t family = 0; family < NETWORK_FAMILIES; family++) {
                const char *header = family_headers[family], *suffix = family_suffixes[family];
                snprintf(condition, sizeof(condition), "%s daddr @special.%s %s daddr != @private.%s.%s ", header,
                         suffix, header, cluster->name, suffix);
                print_refusal(stream, condition, RULESET_LOG_FORBIDDEN);
        }
        print_deny_rules(stream, cluster);
        print_allow_rules(stream, cluster);
        print_judgement(stream, cluster, "", RULESET_LOG_NO_RULE);
        fputs("        }\n", stream);
}

/*
 * What a conntrack entry does not know is let in by its first packet only: a flow has its source address from there. What has
 * no entry at all (bad checksums, odd ICMP, another table's notrack) could have neither mark nor source address.
 */
static void print_forward_chain(FILE *stream)
{
        fprintf(stream,
                "        chain forward {\n"
                "                type filter hook forward priority filter; policy drop;\n"
                "                ct state established,related ct mark & 0x%x == 0x%x accept\n",
                RULESET_FLOW_MASK, RULESET_FLOW_MARK);
        print_refusal(stream, "ip daddr @sources.v4 ip saddr != @sources.v4 ", RULESET_LOG_UNKNOWN_SOURCE);
        print_refusal(stream, "ip6 daddr @sources.v6 ip6 saddr != @sources.v6 ", RULESET_LOG_UNKNOWN_SOURCE);
        print_refusal(stream, "tcp dport @steered_ports ", RULESET_LOG_NOT_PROXIED);
        print_refusal(stream, "ct state invalid,untracked ", RULESET_LOG_NO_FLOW);
        print_refusal(stream, "meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn ", RULESET_LOG_NO_FLOW);
        fputs("                ip saddr vmap @clusters.v4\n"
              "                ip6 saddr vmap @clusters.v6\n",
              stream);
        print_refusal(stream, "", RULESET_LOG_UNKNOWN_SOURCE);
        fputs("        }\n", stream);
}

/* Not told: who is outside (a reset would carry the client's address), and who is not where the packet came from. */
static void print_refuse_chain(FILE *stream, enum config_refuse_with refuse_with)
{
        fputs("        chain refuse {\n"
              "                ip daddr @sources.v4 ip saddr != @sources.v4 counter drop\n"
              "                ip6 daddr @sources.v6 ip6 saddr != @sources.v6 counter drop\n"
              "                fib saddr . iif oif missing counter drop\n",
              stream);
        switch (refuse_with) {
        case CONFIG_REFUSE_WITH_RESET:
                fputs("                meta l4proto tcp counter reject with tcp reset\n"
                      "                counter reject with icmpx admin-prohibited\n",
                      stream);
                break;
        case CONFIG_REFUSE_WITH_DROP:
                fputs("                counter drop\n", stream);
                break;
        }
        fputs("        }\n", stream);
}

/* Source addresses. */

static bool is_present(const struct ruleset_facts *facts, const struct net_address *address)
{
        return facts == NULL || facts->is_present == NULL || facts->is_present(address, facts->context);
}

typedef void (*source_fn)(size_t index, const struct net_address *address, void *context);

/* Calls back for the pool's addresses of a family that are present; returns how many there are. */
static size_t each_source(const struct config_snat_pool *pool, enum network_family family,
                          const struct ruleset_facts *facts, source_fn on_source, void *context)
{
        size_t count = 0;

        for (size_t i = 0; i < pool->range_count; i++) {
                struct net_address address = pool->ranges[i].first;
                bool more = address.family == family_numbers[family];
                while (more) {
                        if (is_present(facts, &address)) {
                                if (on_source != NULL)
                                        on_source(count, &address, context);
                                count++;
                        }
                        more = !net_address_equal(&address, &pool->ranges[i].last) && net_address_increment(&address);
                }
        }
        return count;
}

static void print_source(size_t index, const struct net_address *address, void *context)
{
        FILE *stream = context;
        char text[NET_ADDRESS_TEXT_SIZE];

        fprintf(stream, "%s%zu : %s", index == 0 ? "" : ", ", index, net_address_format(address, text));
}

static const struct config_snat_pool *pool_of(const struct policy *policy, size_t cluster)
{
        return &policy_config(policy)->snat_pools[policy_networks(policy)->clusters[cluster].snat_pool];
}

static uint32_t flow_mark(size_t cluster)
{
        return RULESET_FLOW_MARK | (uint32_t)(cluster + 1);
}

/* Without a source address a flow is refused before it begins. */
static void print_pass_rules(FILE *stream, const struct policy *policy, size_t cluster,
                             const struct ruleset_facts *facts, const char *before_rule)
{
        const struct config_snat_pool *pool = pool_of(policy, cluster);

        for (size_t family = 0; family < NETWORK_FAMILIES; family++) {
                if (each_source(pool, family, facts, NULL, NULL) > 0)
                        continue;
                fprintf(stream, "%smeta nfproto %s ", before_rule, family_names[family]);
                print_log(stream, RULESET_LOG_NO_SOURCE);
                fputs(" goto refuse\n", stream);
        }
        fprintf(stream, "%sct mark set 0x%x accept\n", before_rule, flow_mark(cluster));
}

/* least_used is round robin here: the kernel does not know what is used least. */
static void print_nat_rule(FILE *stream, const struct policy *policy, size_t cluster, enum network_family family,
                           const struct ruleset_facts *facts, const char *before_rule)
{
        const struct config_snat_pool *pool = pool_of(policy, cluster);
        const char *header = family_headers[family];
        size_t count = each_source(pool, family, facts, NULL, NULL);

        if (count == 0)
                return;
        fprintf(stream, "%sct mark 0x%x meta nfproto %s snat %s to ", before_rule, flow_mark(cluster),
                family_names[family], header);
        if (pool->selection == CONFIG_SELECTION_STICKY)
                fprintf(stream, "jhash %s saddr mod %zu seed 0x%x", header, count, JHASH_SEED);
        else
                fprintf(stream, "numgen inc mod %zu", count);
        fputs(" map { ", stream);
        (void)each_source(pool, family, facts, print_source, stream);
        fputs(" }\n", stream);
}

static void print_nat_rules(FILE *stream, const struct policy *policy, const struct ruleset_facts *facts,
                            const char *before_rule)
{
        for (size_t i = 0; i < policy_networks(policy)->cluster_count; i++)
                for (size_t family = 0; family < NETWORK_FAMILIES; family++)
                        print_nat_rule(stream, policy, i, family, facts, before_rule);
}

static void print_source_chains(FILE *stream, const struct policy *policy, const struct ruleset_facts *facts)
{
        const struct network_plan *plan = policy_networks(policy);

        for (size_t i = 0; i < plan->cluster_count; i++) {
                fprintf(stream, "        chain pass.%s {\n", plan->clusters[i].name);
                print_pass_rules(stream, policy, i, facts, "                ");
                fputs("        }\n", stream);
        }
        fputs("        chain source_nat {\n"
              "                type nat hook postrouting priority srcnat; policy accept;\n",
              stream);
        print_nat_rules(stream, policy, facts, "                ");
        fprintf(stream,
                "        }\n"
                "        chain source_guard {\n"
                "                type filter hook postrouting priority srcnat + 10; policy accept;\n"
                "                ct mark & 0x%x == 0x%x ct direction original ct status & snat == 0 counter drop\n"
                "                meta mark 0x%x ct state invalid,untracked counter drop\n"
                "        }\n",
                RULESET_FLOW_MASK, RULESET_FLOW_MARK, RULESET_FORWARDING_MARK);
}

void ruleset_print_sources(FILE *stream, const struct policy *policy, const struct ruleset_facts *facts)
{
        const struct network_plan *plan = policy_networks(policy);
        char before_rule[128];

        fputs("flush chain " TABLE " source_nat\n", stream);
        print_nat_rules(stream, policy, facts, "add rule " TABLE " source_nat ");
        for (size_t i = 0; i < plan->cluster_count; i++) {
                fprintf(stream, "flush chain " TABLE " pass.%s\n", plan->clusters[i].name);
                snprintf(before_rule, sizeof(before_rule), "add rule " TABLE " pass.%s ", plan->clusters[i].name);
                print_pass_rules(stream, policy, i, facts, before_rule);
        }
}

void ruleset_print(FILE *stream, const struct policy *policy, const struct ruleset_facts *facts)
{
        const struct network_plan *plan = policy_networks(policy);
        const struct config *config = policy_config(policy);
        unsigned port = config->transparent.endpoint.port;

        fputs("table " TABLE " {\n", stream);
        print_sets(stream, policy);
        fputs(untracked_chains, stream);
        fprintf(stream, steering_chain, RULESET_LOG_PLATFORM, RULESET_LOG_GROUP, RULESET_LOG_SNAPLEN, port,
                RULESET_STEERING_MARK, port, RULESET_STEERING_MARK, RULESET_STEERING_MARK);
        fprintf(stream, passage_chain, RULESET_STEERING_MARK, RULESET_FORWARDING_MARK);
        fprintf(stream, input_chain, port, RULESET_STEERING_MARK);
        print_refuse_chain(stream, config->refuse_with);
        print_source_chains(stream, policy, facts);
        for (size_t i = 0; i < plan->cluster_count; i++)
                print_cluster_chain(stream, &plan->clusters[i]);
        print_forward_chain(stream);
        fputs("}\n", stream);
}
