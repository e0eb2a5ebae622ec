#include "policy/policy_ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy_layout.h"
#include "policy/rule.h"

static int collect_ports(struct policy *policy)
{
        static const uint16_t always[] = { 80, 443 };
        uint8_t ports[8192] = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(always); i++)
                ports[always[i] / 8] |= (uint8_t)(1u << always[i] % 8);
        for (size_t i = 0; i < policy->cluster_count; i++) {
                rule_set_note_application_ports(policy->clusters[i].allow.own, ports);
                rule_set_note_application_ports(policy->clusters[i].deny.own, ports);
        }
        for (size_t i = 0; i < policy->list_count; i++)
                if (policy->lists[i].set != NULL)
                        rule_set_note_application_ports(policy->lists[i].set, ports);
        policy->steered_ports = malloc((UINT16_MAX + 1) * sizeof(*policy->steered_ports));
        if (policy->steered_ports == NULL)
                return -ENOMEM;
        for (unsigned port = 1; port <= UINT16_MAX; port++)
                if ((ports[port / 8] >> port % 8 & 1) != 0)
                        policy->steered_ports[policy->steered_port_count++] = (uint16_t)port;
        return 0;
}

/* Who dials the transparent listener's own port is refused, and a steered connection to it looks the same. */
static void check_transparent_port(const struct policy *policy, struct diagnostics *diagnostics)
{
        const struct config_listener *transparent = &policy->config->transparent;
        struct diagnostic_place place = { policy->config->path, transparent->place.line, transparent->place.column };

        for (size_t i = 0; transparent->enabled && i < policy->steered_port_count; i++)
                if (policy->steered_ports[i] == transparent->endpoint.port)
                        diagnostics_error(diagnostics, &place,
                                          "listen.transparent: port %u is also the port of an https or http rule: "
                                          "choose one that no rule uses",
                                          (unsigned)transparent->endpoint.port);
}

static bool all_steered(const struct policy *policy, const struct port_set *ports)
{
        size_t wanted = 0, steered = 0;

        for (size_t i = 0; i < ports->count; i++)
                wanted += (size_t)(ports->ranges[i].last - ports->ranges[i].first) + 1;
        for (size_t i = 0; i < policy->steered_port_count; i++)
                steered += port_set_contains(ports, policy->steered_ports[i]) ? 1 : 0;
        return steered == wanted;
}

/* Where a network rule has no effect although it is one; NULL: it has everywhere. */
static const char *missing_effect(const struct policy *policy, const struct rule_filled *rule)
{
        switch (rule->protocol) {
        case POLICY_PROTOCOL_HTTPS:
        case POLICY_PROTOCOL_HTTP:
                return NULL;
        case POLICY_PROTOCOL_UDP:
                return "it has no effect";
        case POLICY_PROTOCOL_TCP:
                if (all_steered(policy, &rule->ports))
                        return NULL;
                return "on ports that no https or http rule has, it works through CONNECT only";
        }
        return NULL;
}

/* A cluster's own network rule that waits for a later version: who writes one should not find out at the client. */
static void warn_if_waiting(const struct policy *policy, const struct config_cluster *cluster,
                            const struct config_text *entry, struct diagnostics *diagnostics)
{
        struct diagnostic_place place = { policy->config->path, entry->place.line, entry->place.column };
        struct rule_span line = { entry->text, strlen(entry->text) };
        struct rule_line parsed;
        struct rule_filled rule;
        struct rule_error error;

        if (rule_line_parse(line, RULE_STYLE_FEATURE, &parsed, &error) != RULE_LINE_RULE ||
            rule_resolve(&parsed.rule, line, &rule, &error) < 0)
                return;
        const char *effect = missing_effect(policy, &rule);
        if (effect != NULL)
                diagnostics_warning(diagnostics, &place,
                                    "cluster '%s': this version has the kernel forward nothing: %s", cluster->name.text,
                                    effect);
}

static void warn_of_waiting_rules(const struct policy *policy, struct diagnostics *diagnostics)
{
        for (size_t i = 0; i < policy->config->cluster_count; i++)
                for (size_t j = 0; j < policy->config->clusters[i].allow_count; j++)
                        warn_if_waiting(policy, &policy->config->clusters[i], &policy->config->clusters[i].allow[j],
                                        diagnostics);
}

int policy_ports_make(struct policy *policy, struct diagnostics *diagnostics)
{
        int r = collect_ports(policy);

        if (r == 0)
                check_transparent_port(policy, diagnostics);
        if (r == 0 && policy->config->transparent.enabled)
                warn_of_waiting_rules(policy, diagnostics);
        return r;
}
