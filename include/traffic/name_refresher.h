/*
 * Keeps the addresses of names in network rules known: asks DNS for each name, again when its answer runs out, and has
 * learned_addresses learn what comes. Where DNS gives no answer, what is known of the name stays known and is asked for again
 * soon. Starts without DNS. On the main thread's event loop.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "policy/config.h"
#include "traffic/learned_addresses.h"

#define NAME_REFRESHER_MIN_S 15   /* between two questions for a name, as Azure Firewall does */
#define NAME_REFRESHER_MAX_S 3600 /* an address that changes early is noticed within this */

struct name_refresher;

/* base and learned are borrowed. Asks the servers of config, for no name yet. Returns 0 or -Exxx. _free takes NULL. */
MUST_CHECK int name_refresher_new(struct event_base *base, const struct config *config,
                                  struct learned_addresses *learned, struct name_refresher **ret);
void name_refresher_free(struct name_refresher *refresher);

/*
 * From now on these servers are asked for these names (sorted, each once; copied). A name that was there before keeps when it
 * is asked for and what is known, which is learned again by the policy that learned_addresses uses now. Returns 0 or -Exxx:
 * nothing has changed.
 */
MUST_CHECK int name_refresher_set(struct name_refresher *refresher, const struct config *config,
                                  const struct fqdn *names, size_t count);
