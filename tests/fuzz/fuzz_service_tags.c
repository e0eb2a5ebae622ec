/* A file of service tags: any bytes are refused with a reason or give tags whose prefixes all find them again. */
#include <string.h>

#include "fuzz.h"
#include "policy/service_tags.h"

struct search {
        uint32_t tag;
        unsigned prefix_length;
        bool found;
};

static bool on_tag(uint32_t tag, unsigned prefix_length, void *context)
{
        struct search *search = context;

        search->found |= tag == search->tag && prefix_length == search->prefix_length;
        return true;
}

static void check_tag(const struct service_tags *tags, uint32_t tag)
{
        size_t count;
        const struct net_prefix *prefixes = service_tags_prefixes(tags, tag, &count);

        for (size_t i = 0; i < count; i++) {
                struct search search = { .tag = tag, .prefix_length = prefixes[i].length };
                CHECK(service_tags_each(tags, &prefixes[i].address, on_tag, &search));
                CHECK(search.found);
        }
}

static void check_tags(struct service_tags *tags)
{
        static const char *const names[] = { "AzureCloud", "AzureCloud.francecentral", "Storage.westeurope", "A", "." };
        char near[SERVICE_TAGS_NEAR_SIZE];
        uint32_t tag, count = 0;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                size_t length = strlen(names[i]);
                if (service_tags_use(tags, names[i], length, &tag) == 0)
                        count = tag + 1 > count ? tag + 1 : count;
                service_tags_near(tags, names[i], length, near);
                CHECK(strlen(near) < sizeof(near));
        }
        CHECK(service_tags_finish(tags) == 0);
        for (tag = 0; tag < count; tag++)
                check_tag(tags, tag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct diagnostics *diagnostics = diagnostics_new();
        struct service_tags *tags = NULL;
        const void *text = data;

        CHECK(diagnostics != NULL);
        int r = service_tags_from_text("tags.json", text, size, diagnostics, &tags);
        CHECK((r == 0) == (diagnostics_error_count(diagnostics) == 0));
        if (r == 0)
                check_tags(tags);
        service_tags_free(tags);
        diagnostics_free(diagnostics);
        return 0;
}
