/* What a file of service tags of the real size costs: to read, to keep, and to ask by address. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/service_tags_sample.h"
#include "policy/service_tags.h"

#define QUESTIONS 5000000

static const char *const few[] = { "AzureMonitor", "AzureCloud.westeurope" };

static double seconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* In use, blocks of their own pages included. */
static double kibibytes(void)
{
        struct mallinfo2 info = mallinfo2();

        return (double)(info.uordblks + info.hblkhd) / 1024;
}

static bool count_tag(uint32_t tag, unsigned prefix_length, void *context)
{
        unsigned long *count = context;

        (void)tag;
        *count += prefix_length > 0;
        return true;
}

/* Most addresses are of no tag, like most that clients ask for. */
static void ask(const struct service_tags *tags, uint8_t family)
{
        struct net_address address = { .family = family, .bytes = { 0x26, 0x03, 0x10 } };
        unsigned long found = 0;
        double started = seconds();

        for (uint32_t i = 0; i < QUESTIONS; i++) {
                uint32_t mixed = i * UINT32_C(2654435761);
                size_t first = family == AF_INET ? 1 : 3;
                address.bytes[0] = family == AF_INET ? (uint8_t)(18 + i % 12) : 0x26;
                for (size_t j = 0; j < 3; j++)
                        address.bytes[first + j] = (uint8_t)(mixed >> (8 * (3 - j)));
                (void)service_tags_each(tags, &address, count_tag, &found);
        }
        printf("  IPv%c: %5.0f ns a question, %lu tags found in %d\n", family == AF_INET ? '4' : '6',
               (seconds() - started) / QUESTIONS * 1e9, found, QUESTIONS);
}

static void use(struct service_tags *tags, const char *name)
{
        uint32_t tag;

        if (service_tags_use(tags, name, strlen(name), &tag) < 0)
                exit(1);
}

static void use_all(struct service_tags *tags)
{
        char name[64];

        use(tags, "AzureCloud");
        for (unsigned i = 5; i < 60; i++) {
                snprintf(name, sizeof(name), "AzureCloud.region%u", i);
                use(tags, name);
                for (unsigned j = 0; j < SAMPLE_SERVICES; j++) {
                        snprintf(name, sizeof(name), "Service%u.region%u", j, i);
                        use(tags, name);
                }
        }
}

static void measure(const char *text, size_t length, bool all)
{
        struct diagnostics *diagnostics = diagnostics_new();
        struct service_tags *tags;
        double before = kibibytes(), started = seconds();

        if (diagnostics == NULL || service_tags_from_text("bench.json", text, length, diagnostics, &tags) < 0)
                exit(1);
        double read = seconds();
        for (size_t i = 0; i < ARRAY_SIZE(few); i++)
                use(tags, few[i]);
        if (all)
                use_all(tags);
        if (service_tags_finish(tags) < 0)
                exit(1);
        printf("%s: read in %.0f ms, made ready in %.1f ms, %.0f KiB kept\n", all ? "2,698 tags used" : "two tags used",
               (read - started) * 1e3, (seconds() - read) * 1e3, kibibytes() - before);
        ask(tags, AF_INET);
        ask(tags, AF_INET6);
        service_tags_free(tags);
        diagnostics_free(diagnostics);
}

int main(void)
{
        size_t length;
        char *text = sample_of_real_size(&length);
        unsigned prefixes = 0;

        for (const char *p = text; (p = strchr(p, '/')) != NULL; p++)
                prefixes++;
        printf("file of %.1f MiB, %u prefixes\n", (double)length / (1 << 20), prefixes);
        measure(text, length, false);
        measure(text, length, true);
        free(text);
        return 0;
}
