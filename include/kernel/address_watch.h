/*
 * Follows which addresses are on the network interfaces (rtnetlink, libmnl), so that the SNAT pool uses only those. Needs
 * no privilege.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/net_address.h"

struct address_watch;

/* present: false when the address left its last interface. */
typedef void (*address_watch_fn)(const struct net_address *address, bool present, void *context);

/*
 * Calls back for every address there is now (before this returns), then for each change from the event loop. After lost
 * messages (ENOBUFS) everything is read anew and differences are reported.
 *
 * Returns 0 or -Exxx; some addresses may have been reported then.
 */
MUST_CHECK int address_watch_new(struct event_base *base, address_watch_fn on_change, void *context,
                                 struct address_watch **ret);

/* Takes NULL. */
void address_watch_free(struct address_watch *watch);

/* Whether the address is on an interface. On lo every IPv4 address of a prefix is (127.0.0.0/8), listed or not. */
bool address_watch_has(const struct address_watch *watch, const struct net_address *address);
