#include "offline.h"

#include <errno.h>
#include <stdio.h>

static int load(const char *path, struct diagnostics *diagnostics, struct policy **ret)
{
        struct config *config;
        int r = config_read(path, diagnostics, &config);

        if (r < 0)
                return r;
        r = policy_load(config, diagnostics, ret);
        if (r < 0)
                config_free(config);
        return r;
}

int offline_load(const char *path, struct policy **ret)
{
        struct diagnostics *diagnostics = diagnostics_new();
        int r = -ENOMEM;

        if (diagnostics != NULL) {
                r = load(path != NULL ? path : OFFLINE_DEFAULT_CONFIG, diagnostics, ret);
                if (r < 0)
                        diagnostics_print(diagnostics, stderr);
        }
        if (r == -ENOMEM)
                fprintf(stderr, "aksegressctl: out of memory\n");
        diagnostics_free(diagnostics);
        return r;
}
