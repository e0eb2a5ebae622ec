/*
 * A decision as an Azure diagnostic record with the columns of Azure Firewall's resource-specific tables
 * AZFWApplicationRule, AZFWNetworkRule and AZFWDnsQuery; for formatter.c. docs/decision-log.md says what is in which column.
 *
 *   {"time":…,"category":"AZFWNetworkRule","resourceId":…,"properties":{"Protocol":"TCP",…},"aksegress":{"seq":4711,…}}
 *
 * A column that Azure Firewall fills and we know nothing for is "", false or 0. "aksegress" is the record as format json has
 * it: what has no column (hint, listener, bytes, count, …) is there, and what Azure's words blur ("Allow" of an audit, "UDP"
 * of QUIC). Alarms are of a category of their own, AksEgressAlarm.
 */
#pragma once

#include "records/formatter.h"

/* Appends the body; returns where the stamp goes. */
size_t formatter_azure_body(const struct formatter_style *style, const struct decision *decision,
                            struct text_builder *body);
void formatter_azure_stamp(const struct formatter_stamp *stamp, struct text_builder *record);
