/* Files of service tags as Azure publishes them: their shape, line ends and, for sample_of_real_size, their size. */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"

/* The file of September 2025 has 2,968 tags and 90,336 prefixes, 50,625 of them different, 23,074 of IPv6. */
#define SAMPLE_DISTINCT_PREFIXES 50625
#define SAMPLE_SERVICES 48 /* with one tag for all regions and one for each */
#define SAMPLE_CLOUD_PREFIXES 12209
#define SAMPLE_CLOUD_REGION_PREFIXES 443
#define SAMPLE_MONITOR_PREFIXES 2367

struct sample {
        FILE *stream;
        char *text;
        size_t length;
        const char *comma;
};

static inline struct sample *sample_open(struct sample *sample, const char *cloud)
{
        *sample = (struct sample){ .comma = "" };
        sample->stream = open_memstream(&sample->text, &sample->length);
        assert(sample->stream != NULL);
        fprintf(sample->stream, "{\r\n  \"changeNumber\": 360,\r\n  \"cloud\": \"%s\",\r\n  \"values\": [", cloud);
        return sample;
}

static inline void sample_tag_begin(struct sample *sample, const char *name, const char *region, const char *service)
{
        fprintf(sample->stream,
                "%s\r\n    {\r\n      \"name\": \"%s\",\r\n      \"id\": \"%s\",\r\n      \"properties\": {\r\n"
                "        \"changeNumber\": 1,\r\n        \"region\": \"%s\",\r\n        \"regionId\": 0,\r\n"
                "        \"platform\": \"Azure\",\r\n        \"systemService\": \"%s\",\r\n"
                "        \"addressPrefixes\": [",
                sample->comma, name, name, region, service);
        sample->comma = ",";
}

static inline void sample_tag_end(struct sample *sample)
{
        fprintf(sample->stream, "\r\n        ],\r\n        \"networkFeatures\": [\r\n          \"API\",\r\n"
                                "          \"NSG\"\r\n        ]\r\n      }\r\n    }");
}

/* prefixes: a list in JSON without its brackets. */
static inline void sample_tag(struct sample *sample, const char *name, const char *region, const char *prefixes)
{
        sample_tag_begin(sample, name, region, "");
        fputs(prefixes, sample->stream);
        sample_tag_end(sample);
}

/* The text is the caller's. */
static inline char *sample_close(struct sample *sample)
{
        fputs("\r\n  ]\r\n}", sample->stream);
        fclose(sample->stream);
        return sample->text;
}

/* Prefix n of 20.0.0.0/8 and what follows, or of 2603:1000::/24: nine of twenty are of IPv6. */
static inline void sample_prefix(struct sample *sample, unsigned n, const char *comma)
{
        unsigned number = n % SAMPLE_DISTINCT_PREFIXES;

        if (number % 20 < 9)
                fprintf(sample->stream, "%s\r\n          \"2603:10%02x:%x::/%u\"", comma, number >> 12,
                        (number & 0xfff) << 4, number % 3 == 0 ? 48 : 44);
        else
                fprintf(sample->stream, "%s\r\n          \"%u.%u.%u.%u/%u\"", comma, 20 + (number >> 14),
                        number >> 6 & 255, (number & 63) << 2, number % 2 * 128,
                        number % 2 == 0 ? 22 + number % 5 / 2 : 25 + number % 8);
}

static inline void sample_many(struct sample *sample, const char *name, const char *region, const char *service,
                               unsigned first, unsigned count)
{
        sample_tag_begin(sample, name, region, service);
        for (unsigned i = 0; i < count; i++)
                sample_prefix(sample, first + i, i == 0 ? "" : ",");
        sample_tag_end(sample);
}

/* As long and as many as the real one. The text is the caller's. */
static inline char *sample_of_real_size(size_t *ret_length)
{
        static const char *const regions[] = { "westeurope", "northeurope", "centralfrance", "germanywc", "eastus" };
        struct sample sample;
        unsigned next = 0;
        char name[64], region[32];

        sample_open(&sample, "Public");
        sample_many(&sample, "AzureCloud", "", "", 0, SAMPLE_CLOUD_PREFIXES);
        sample_many(&sample, "AzureMonitor", "", "AzureMonitor", 30000, SAMPLE_MONITOR_PREFIXES);
        for (unsigned i = 0; i < 60; i++) {
                if (i < ARRAY_SIZE(regions))
                        snprintf(region, sizeof(region), "%s", regions[i]);
                else
                        snprintf(region, sizeof(region), "region%u", i);
                snprintf(name, sizeof(name), "AzureCloud.%s", region);
                sample_many(&sample, name, region, "", i * 200, SAMPLE_CLOUD_REGION_PREFIXES);
                for (unsigned j = 0; j < SAMPLE_SERVICES; j++, next += 17) {
                        snprintf(name, sizeof(name), "Service%u.%s", j, region);
                        sample_many(&sample, name, region, "Service", next, 17);
                }
        }
        sample_close(&sample);
        *ret_length = sample.length;
        return sample.text;
}
