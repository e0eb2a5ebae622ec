/*
 * The flows that the kernel forwards at the moment: reads its table of connections, and ends those that a stricter policy
 * would not let begin. Needs CAP_NET_ADMIN. Waits for the kernel, 3 us for each flow, 15 us for one to end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "kernel/flow.h"

typedef void (*flow_table_fn)(const struct flow *flow, void *context);
typedef bool (*flow_table_keeps_fn)(const struct flow *flow, void *context);

/*
 * Calls back for each flow of mark and mask. The table changes while it is read: one that begins or ends meanwhile may be
 * told or not, and any may be told twice. Returns 0 or -errno.
 */
MUST_CHECK int flow_table_each(uint32_t mark, uint32_t mask, flow_table_fn on_flow, void *context);

/*
 * Deletes the flows of mark and mask that keeps() denies: their further packets are judged by the rules anew, and a flow_log
 * tells of their end. *ret_ended is their number, also on failure.
 *
 * Returns 0 or -errno, when some may have been ended.
 */
MUST_CHECK int flow_table_end_where(uint32_t mark, uint32_t mask, flow_table_keeps_fn keeps, void *context,
                                    size_t *ret_ended);
