/*
 * Azure's service tags: Microsoft's file of named lists of prefixes, read once for a policy. What rules use of it is kept
 * and can be looked up by address; what none uses is dropped. Built by one thread, then read by any number.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/diagnostic.h"
#include "base/net_address.h"
#include "policy/rule.h"

#define SERVICE_TAGS_MAX_FILE_SIZE ((size_t)64 << 20) /* the file of 2025 has 4 MiB */
#define SERVICE_TAGS_MAX_TAGS 65535                   /* it has 3,000 */
#define SERVICE_TAGS_MAX_PREFIXES 1000000             /* it has 90,000 */

struct service_tags;

/*
 * Reads the file at path. place is where the configuration asks for it: what goes wrong with opening it is reported there,
 * what is wrong inside the file at its own line and column.
 *
 * Returns 0; -EINVAL: an error was added; -ENOMEM.
 */
MUST_CHECK int service_tags_read(const char *path, const struct diagnostic_place *place,
                                 struct diagnostics *diagnostics, struct service_tags **ret);

/* The same from a text in memory, which path only names. */
MUST_CHECK int service_tags_from_text(const char *path, const char *text, size_t length,
                                      struct diagnostics *diagnostics, struct service_tags **ret);

/* Takes NULL. */
void service_tags_free(struct service_tags *tags);

/* What the file calls its cloud, and which that is. */
const char *service_tags_cloud_name(const struct service_tags *tags);
enum rule_cloud service_tags_cloud(const struct service_tags *tags);

/*
 * Finds a tag and keeps it: *ret_tag is its number, counted from 0 in the order of first use. `NAME.REGION` is also found
 * by the region as resource manager calls it (AzureCloud.francecentral is the file's AzureCloud.centralfrance), in
 * capitals or not.
 *
 * Returns 0; -ENOENT: no such tag, or service_tags_finish was called; -ENOMEM.
 */
MUST_CHECK int service_tags_use(struct service_tags *tags, const char *name, size_t length, uint32_t *ret_tag);

/* Writes up to three names that resemble one that is not there, "'A', 'B' or 'C'", the nearest first; "": none does. */
#define SERVICE_TAGS_NEAR_SIZE 256
void service_tags_near(const struct service_tags *tags, const char *name, size_t length,
                       char buffer[SERVICE_TAGS_NEAR_SIZE]);

/*
 * Once every rule is known: makes used tags ready for look-up and drops the others. To be called once; the three calls
 * below are for after it. After a failure only service_tags_free is.
 *
 * Returns 0, -EOVERFLOW or -ENOMEM.
 */
MUST_CHECK int service_tags_finish(struct service_tags *tags);

/* Calls back for each used tag with a prefix that covers the address, longer prefixes first, until it returns false. */
typedef bool (*service_tags_fn)(uint32_t tag, unsigned prefix_length, void *context);
bool service_tags_each(const struct service_tags *tags, const struct net_address *address, service_tags_fn on_tag,
                       void *context);

/* Of a used tag: its name as the file has it, and all its prefixes, each once, borrowed. */
const char *service_tags_name(const struct service_tags *tags, uint32_t tag);
const struct net_prefix *service_tags_prefixes(const struct service_tags *tags, uint32_t tag, size_t *ret_count);
