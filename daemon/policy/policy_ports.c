#include "policy/policy_ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy_layout.h"

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

        if (transparent->enabled && policy_is_steered(policy, transparent->endpoint.port))
                diagnostics_error(diagnostics, &place,
                                  "listen.transparent: port %u is also the port of an https or http rule: "
                                  "choose one that no rule uses",
                                  (unsigned)transparent->endpoint.port);
}

int policy_ports_make(struct policy *policy, struct diagnostics *diagnostics)
{
        int r = collect_ports(policy);

        if (r == 0)
                check_transparent_port(policy, diagnostics);
        return r;
}
