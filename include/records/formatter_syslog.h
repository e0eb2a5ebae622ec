/*
 * A decision as a syslog message (RFC 5424): header, one element of structured data with every field of
 * docs/decision-log.md, and the sentence; for formatter.c.
 *
 *   <133>1 2026-07-02T10:34:56.000123Z nva1 aksegressd - connection [aksegress@32473 seq="4711" …] denied https …
 *
 * The text is UTF-8 without a byte order mark (MSG-ANY, 6.4), which most receivers would keep in front of it. What a
 * receiver may cut is the end of the text (6.1: 2,048 bytes and more should be taken); the structured data comes first.
 *
 * 32473 is the enterprise number that stands in for one of one's own (RFC 5612). MSGID is the event.
 */
#pragma once

#include "records/formatter.h"

#define FORMATTER_SYSLOG_SD_ID "aksegress@32473"

/* Appends the body; returns where the stamp goes. */
size_t formatter_syslog_body(const struct formatter_style *style, const struct decision *decision,
                             struct text_builder *body);
void formatter_syslog_stamp(const struct formatter_stamp *stamp, struct text_builder *record);

/* The header of a message without structured data, "- " and what follows it included: for other formats as its text. */
void formatter_syslog_header(const struct formatter_style *style, const struct decision *decision,
                             struct text_builder *body);
