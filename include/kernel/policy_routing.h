/*
 * Routing for TPROXY: packets with the steering mark go to a table whose only route delivers everything locally
 * (Documentation/networking/tproxy.rst of the kernel), for IPv4 and IPv6, by rtnetlink through libmnl.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define POLICY_ROUTING_TABLE 27751   /* a number unlikely to be taken; aksegressd(8) names it */
#define POLICY_ROUTING_PRIORITY 1375 /* before the main table's rule (32766) */

/*
 * Sets up what is missing and leaves what is there. A kernel without IPv6 is fine.
 *
 * Returns 0: nothing was missing, 1: something was; or -Exxx with a sentence in error.
 */
MUST_CHECK int policy_routing_ensure(uint32_t mark, char *error, size_t error_size);

/* Removes rule and route; what is not there is fine. Returns 0, or -Exxx with a sentence in error. */
MUST_CHECK int policy_routing_remove(uint32_t mark, char *error, size_t error_size);
