/*
 * Routing for TPROXY: packets with the steering mark go to a table whose only route delivers everything locally
 * (Documentation/networking/tproxy.rst of the kernel), for IPv4 and IPv6, by rtnetlink through libmnl.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define POLICY_ROUTING_TABLE 27751   /* a number unlikely to be taken; see docs */
#define POLICY_ROUTING_PRIORITY 1375 /* before the main table's rule (32766) */

/* Sets up what is missing; what is there already is left as it is. 0 or -Exxx with a sentence in error. IPv6 off in the kernel is fine. */
MUST_CHECK int policy_routing_ensure(uint32_t mark, char *error, size_t error_size);

/* Removes rule and route; what is not there is fine. */
MUST_CHECK int policy_routing_remove(uint32_t mark, char *error, size_t error_size);
