/* What a whole decision costs with the shipped allowlists: allowed, and refused with its hint. Run from the source's root. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"

#define DECISIONS 1000000

static const char configuration[] = "listen: { proxy: { address: 127.0.0.1, port: 3128 } }\n"
                                    "allowlist_dirs: [allowlists]\n"
                                    "snat_pools: [{ name: main, addresses: [198.18.2.1] }]\n"
                                    "clusters:\n"
                                    "  - name: prod-weu\n"
                                    "    sources: [10.1.0.0/16]\n"
                                    "    cloud: AzurePublicCloud\n"
                                    "    location: westeurope\n"
                                    "    features: [monitor, defender, azure-policy]\n"
                                    "    snat_pool: main\n";

static const struct {
        const char *what;
        const char *name;
} cases[] = {
        { "allowed by name", "mcr.microsoft.com" },
        { "allowed by wildcard", "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io" },
        { "refused, feature off", "nvidia.github.io" },
        { "refused, other location", "prod-dns-1a2b3c.hcp.northeurope.azmk8s.io" },
        { "refused, no hint", "www.example.com" },
};

static double seconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void measure(const struct policy *policy, const char *what, const char *name)
{
        struct policy_request request = { .protocol = POLICY_PROTOCOL_HTTPS, .port = 443 };
        struct net_address source = { .family = AF_INET, .bytes = { 10, 1, 2, 3 } };
        struct policy_verdict verdict;

        if (fqdn_from_text(name, &request.name) < 0)
                exit(1);
        double started = seconds();
        for (unsigned i = 0; i < DECISIONS; i++)
                policy_decide(policy, policy_cluster_of(policy, &source), &request, &verdict);
        double took = seconds() - started;
        printf("%-26s %5.0f ns a decision (%s%s%s)\n", what, took / DECISIONS * 1e9, policy_action_name(verdict.action),
               verdict.hint[0] != '\0' ? ": " : "", verdict.hint);
}

int main(void)
{
        struct diagnostics *diagnostics = diagnostics_new();
        struct config *config;
        struct policy *policy;
        double started = seconds();

        if (diagnostics == NULL ||
            config_read_text("bench.yaml", configuration, strlen(configuration), diagnostics, &config) < 0 ||
            policy_load(config, diagnostics, &policy) < 0) {
                if (diagnostics != NULL)
                        diagnostics_print(diagnostics, stderr);
                return 1;
        }
        printf("policy of %zu rules loaded in %.1f ms\n", policy_rule_count(policy), (seconds() - started) * 1e3);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                measure(policy, cases[i].what, cases[i].name);
        policy_unref(policy);
        diagnostics_free(diagnostics);
        return 0;
}
