/*
 * A decision as an event of ArcSight's Common Event Format, with the keys that Microsoft Sentinel takes into the columns of
 * its table CommonSecurityLog; for formatter.c. docs/decision-log.md has the keys of all fields.
 *
 *   CEF:0|aksegressd|aksegressd|0.1.0|no-rule|connection denied|5|rt=1719830096000 act=Deny app=HTTPS src=10.1.0.4 …
 *
 * The event class is the reason. What has no key in CEF has one that begins with "aksegress"; Sentinel keeps it in
 * AdditionalExtensions.
 */
#pragma once

#include "records/formatter.h"

/* Appends the body; returns where the stamp goes. */
size_t formatter_cef_body(const struct formatter_style *style, const struct decision *decision,
                          struct text_builder *body);
void formatter_cef_stamp(const struct formatter_stamp *stamp, struct text_builder *record);
