/* Configurations as texts, and what reading them says. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/net_address.h"
#include "policy/config.h"

#define POOLS "snat_pools: [{ name: main, addresses: [10.0.1.10-10.0.1.29, \"fd00:1::10-fd00:1::13\"] }]\n"
#define CLUSTER                                                                                                        \
        "clusters: [{ name: prod, sources: [10.1.0.0/16], cloud: AzurePublicCloud, location: westeurope, snat_pool: "  \
        "main }]\n"
#define LISTEN "listen: { proxy: { address: 10.0.0.4 } }\n"
#define REST LISTEN POOLS CLUSTER

/* A cluster in block form to put one more line under; that line is number 9 of the text. */
#define CLUSTER_LINES                                                                                                  \
        LISTEN POOLS                                                                                                   \
                "clusters:\n  - name: prod\n    sources: [10.1.0.0/16]\n    cloud: AzurePublicCloud\n    location: "   \
                "westeurope\n    snat_pool: main\n"

struct reading {
        struct diagnostics *diagnostics;
        struct config *config;
        int result;
};

static inline struct reading read_text(const char *text)
{
        struct reading reading = { .diagnostics = diagnostics_new() };

        assert_non_null(reading.diagnostics);
        reading.result = config_read_text("c.yaml", text, strlen(text), reading.diagnostics, &reading.config);
        return reading;
}

static inline void finish(struct reading *reading)
{
        config_free(reading->config);
        diagnostics_free(reading->diagnostics);
}

static inline struct reading read_good(const char *text)
{
        struct reading reading = read_text(text);

        diagnostics_print(reading.diagnostics, stdout);
        assert_int_equal(reading.result, 0);
        assert_int_equal(diagnostics_line_count(reading.diagnostics), 0);
        return reading;
}

static inline void assert_only_line(const struct reading *reading, const char *expected)
{
        if (diagnostics_line_count(reading->diagnostics) != 1)
                diagnostics_print(reading->diagnostics, stdout);
        assert_int_equal(diagnostics_line_count(reading->diagnostics), 1);
        assert_string_equal(diagnostics_line(reading->diagnostics, 0), expected);
}

static inline void assert_error(const char *text, const char *expected)
{
        struct reading reading = read_text(text);

        assert_only_line(&reading, expected);
        assert_int_equal(reading.result, -EINVAL);
        assert_null(reading.config);
        finish(&reading);
}

static inline void assert_warning(const char *text, const char *expected)
{
        struct reading reading = read_text(text);

        assert_only_line(&reading, expected);
        assert_int_equal(reading.result, 0);
        finish(&reading);
}
