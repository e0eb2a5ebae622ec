/* A directory with feature files, lists and a configuration, and the policy loaded from it: for tests of the policy. */
#pragma once

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/policy.h"
#include "values.h"

/* What every configuration here begins with; clusters follow. Line 1 to 5. */
#define POLICY_LAB_HEAD                                                                                                \
        "listen: { transparent: { port: 15001 }, proxy: { address: 10.0.0.4, port: 3128 } }\n"                         \
        "allowlist_dirs: [.]\n"                                                                                        \
        "snat_pools:\n"                                                                                                \
        "  - { name: main, addresses: [10.0.1.10-10.0.1.29] }\n"                                                       \
        "clusters:\n"

struct policy_lab {
        char directory[64];
        const char *head; /* what every configuration begins with, POLICY_LAB_HEAD unless a test sets it */
        struct policy *policy;
        struct diagnostics *diagnostics;
};

static inline void policy_lab_write(const struct policy_lab *lab, const char *name, const char *text)
{
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", lab->directory, name);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static inline int policy_lab_open(void **state)
{
        struct policy_lab *lab = calloc(1, sizeof(*lab));

        assert_non_null(lab);
        strcpy(lab->directory, "/tmp/aksegressd-policy-XXXXXX");
        assert_non_null(mkdtemp(lab->directory));
        lab->head = POLICY_LAB_HEAD;
        *state = lab;
        policy_lab_write(lab, "core.allow",
                         "cloud AzurePublicCloud\n"
                         "https *.hcp.{location}.azmk8s.io:443 required API server\n"
                         "https mcr.microsoft.com:443 required images\n"
                         "cloud AzureChinaCloud\n"
                         "https mcr.azure.cn:443 required images\n");
        return 0;
}

static inline void policy_lab_unload(struct policy_lab *lab)
{
        policy_unref(lab->policy);
        lab->policy = NULL;
        diagnostics_free(lab->diagnostics);
        lab->diagnostics = NULL;
}

static inline int policy_lab_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
        (void)status;
        (void)type;
        (void)walk;
        return remove(path);
}

static inline int policy_lab_close(void **state)
{
        struct policy_lab *lab = *state;

        policy_lab_unload(lab);
        (void)nftw(lab->directory, policy_lab_remove, 8, FTW_DEPTH | FTW_PHYS);
        free(lab);
        return 0;
}

/* One cluster, 10.1.0.0/16 in westeurope, without its end: more keys may follow, indented by four. Lines 6 to 10. */
#define POLICY_LAB_CLUSTER                                                                                             \
        "  - name: prod\n"                                                                                             \
        "    sources: [10.1.0.0/16]\n"                                                                                 \
        "    cloud: AzurePublicCloud\n"                                                                                \
        "    location: westeurope\n"                                                                                   \
        "    snat_pool: main\n"

/* Loads clusters behind POLICY_LAB_HEAD. Returns what policy_load did. */
static inline int policy_lab_try(struct policy_lab *lab, const char *clusters)
{
        struct config *config = NULL;
        char path[256];

        policy_lab_unload(lab);
        snprintf(path, sizeof(path), "%s/aksegressd.yaml", lab->directory);
        char *text;
        assert_true(asprintf(&text, "%s%s", lab->head, clusters) >= 0);
        policy_lab_write(lab, "aksegressd.yaml", text);
        free(text);
        lab->diagnostics = diagnostics_new();
        assert_non_null(lab->diagnostics);
        int r = config_read(path, lab->diagnostics, &config);
        if (r < 0)
                diagnostics_print(lab->diagnostics, stderr);
        assert_int_equal(r, 0);
        r = policy_load(config, lab->diagnostics, &lab->policy);
        if (r < 0)
                config_free(config);
        return r;
}

static inline void policy_lab_load(struct policy_lab *lab, const char *clusters)
{
        int r = policy_lab_try(lab, clusters);

        if (r < 0)
                diagnostics_print(lab->diagnostics, stderr);
        assert_int_equal(r, 0);
}

/* The load must fail with a line that holds these words; "FILE:LINE:COLUMN" may be among them. */
static inline void policy_lab_refuses(struct policy_lab *lab, const char *clusters, const char *words)
{
        int r = policy_lab_try(lab, clusters);

        assert_int_equal(r, -EINVAL);
        for (size_t i = 0; i < diagnostics_line_count(lab->diagnostics); i++)
                if (strstr(diagnostics_line(lab->diagnostics, i), words) != NULL)
                        return;
        diagnostics_print(lab->diagnostics, stderr);
        fail_msg("no line says '%s'", words);
}

/* Asks for a name or an address from 10.1.0.1, or from source. */
static inline struct policy_verdict policy_lab_ask_from(const struct policy_lab *lab, const char *source,
                                                        enum policy_protocol protocol, const char *host, uint16_t port)
{
        struct policy_request request = { .protocol = protocol, .port = port, .source = address_of(source) };
        struct policy_verdict verdict;

        memset(&verdict, 0xa5, sizeof(verdict)); /* policy_decide writes all of it */
        if (net_address_parse(host, strlen(host), &request.address) < 0)
                assert_int_equal(fqdn_from_text(host, &request.name), 0);
        policy_decide(lab->policy, policy_cluster_of(lab->policy, &request.source), &request, &verdict);
        return verdict;
}

static inline struct policy_verdict policy_lab_ask(const struct policy_lab *lab, enum policy_protocol protocol,
                                                   const char *host, uint16_t port)
{
        return policy_lab_ask_from(lab, "10.1.0.1", protocol, host, port);
}
