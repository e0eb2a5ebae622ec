#include "offline.h"

#include <errno.h>
#include <stdio.h>

int offline_load(const char *path, struct policy **ret)
{
        struct diagnostics *diagnostics = diagnostics_new();
        int r = -ENOMEM;

        if (diagnostics != NULL) {
                r = policy_read(path != NULL ? path : OFFLINE_DEFAULT_CONFIG, diagnostics, ret);
                if (r < 0)
                        diagnostics_print(diagnostics, stderr);
        }
        if (r == -ENOMEM)
                fprintf(stderr, "aksegressctl: out of memory\n");
        diagnostics_free(diagnostics);
        return r;
}
