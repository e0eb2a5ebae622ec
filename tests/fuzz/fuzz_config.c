/* The configuration reader on any bytes: an error with text, or a config that can be freed. */
#include <errno.h>
#include <stdlib.h>

#include "policy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses 4 KiB when it scans a text of a dozen doubled quotes; what is ours must still be freed. */
const char *__lsan_default_suppressions(void)
{
        return "leak:libfyaml.so";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct diagnostics *diagnostics = diagnostics_new();
        struct config *config = NULL;
        const void *text = data;
        int r;

        if (diagnostics == NULL)
                return 0;
        r = config_read_text("fuzz.yaml", text, size, diagnostics, &config);
        if (r != 0 && (r != -EINVAL || diagnostics_error_count(diagnostics) == 0 || config != NULL))
                abort();
        if (r == 0 && (config == NULL || diagnostics_error_count(diagnostics) != 0))
                abort();
        config_free(config);
        diagnostics_free(diagnostics);
        return 0;
}
