/*
 * What it costs to put addresses into a set of the kernel that has 24,000 already: 1 and 8 new ones, the same again, and what
 * a kernel before 6.12 has us do to renew them. Works in a network namespace of its own; needs root and nft.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <time.h>

#include "kernel/set_elements.h"

#define ELEMENTS 24000
#define ROUNDS 500
#define HOUR_MS (3600u * 1000)

static double microseconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void fail(const char *what, int r)
{
        fprintf(stderr, "%s: %d\n", what, r);
        exit(1);
}

static struct set_element element_of(unsigned number)
{
        return (struct set_element){
                .set = "s",
                .address = { .family = AF_INET,
                             .bytes = { 10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number } },
                .timeout_ms = HOUR_MS,
                .comment = "name.of.the.rule.example.com",
        };
}

static void put(struct set_elements *elements, unsigned first, unsigned count)
{
        static struct set_element items[ELEMENTS];
        size_t refused;

        for (unsigned i = 0; i < count; i++)
                items[i] = element_of(first + i);
        int r = set_elements_put(elements, items, count, &refused);
        if (r < 0)
                fail("set_elements_put", r);
}

static int compare(const void *a, const void *b)
{
        const double *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

/* step: how far the addresses of a round are from those of the last; 0: the same again. */
static void measure(const char *what, struct set_elements *elements, unsigned first, unsigned count, unsigned step)
{
        double took[ROUNDS];

        for (unsigned i = 0; i < ROUNDS; i++) {
                double started = microseconds();
                put(elements, first + i * step, count);
                took[i] = microseconds() - started;
        }
        qsort(took, ROUNDS, sizeof(took[0]), compare);
        printf("  %u %-28s %6.0f us, 99 in 100 under %6.0f us\n", count, what, took[ROUNDS / 2],
               took[ROUNDS * 99 / 100]);
}

static struct set_elements *open_elements(unsigned long as)
{
        struct set_elements *elements;

        personality(as);
        int r = set_elements_new("t", &elements);
        personality(PER_LINUX);
        if (r < 0)
                fail("set_elements_new", r);
        return elements;
}

static void on_element(const struct set_element *element, void *context)
{
        unsigned *count = context;

        *count += element->timeout_ms > 0;
}

static void measure_dump(struct set_elements *elements)
{
        unsigned count = 0;
        double started = microseconds();
        int r = set_elements_dump(elements, "s", on_element, &count);

        if (r < 0)
                fail("set_elements_dump", r);
        printf("  %u told in %.1f ms\n", count, (microseconds() - started) / 1e3);
}

int main(void)
{
        if (unshare(CLONE_NEWNET) == -1) {
                printf("bench_set_elements: skipped, needs root\n");
                return 0;
        }
        FILE *nft = popen("nft -f -", "we");
        if (nft == NULL || fputs("table inet t { set s { type ipv4_addr; flags timeout; }; }\n", nft) < 0 ||
            pclose(nft) != 0)
                fail("nft", -1);
        struct set_elements *elements = open_elements(PER_LINUX), *old = open_elements(UNAME26);
        double started = microseconds();
        put(elements, 0, ELEMENTS);
        printf("set of %d elements, put in %.1f ms\n", ELEMENTS, (microseconds() - started) / 1e3);
        for (unsigned count = 1; count <= 8; count *= 8) {
                measure("new", elements, ELEMENTS + 100000 * count, count, count);
                measure("renewed", elements, 1000, count, 0);
                measure("renewed, Linux before 6.12", old, 1000, count, 0);
        }
        measure_dump(elements);
        set_elements_free(old);
        set_elements_free(elements);
        return 0;
}
