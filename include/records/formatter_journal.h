/*
 * A decision as a datagram of journald's native protocol, "FIELD=value\n" for each field: the JSON fields in upper case
 * behind AKSEGRESS_, and MESSAGE, MESSAGE_ID, PRIORITY and SYSLOG_IDENTIFIER; for formatter.c.
 *
 * The protocol could carry any byte, but journalctl -o cat and journalctl -a give values to the terminal as they are, and a
 * newline would begin what looks like another record there: control characters become U+FFFD in every value.
 */
#pragma once

#include "records/formatter.h"

/* One id for each kind of event, for good: scripts and catalogs select by them. Listed in docs/decision-log.md. */
#define FORMATTER_JOURNAL_ID_CONNECTION "a254a7c35b9c43a1aa7a5711426403d0"
#define FORMATTER_JOURNAL_ID_ALARM "e6a9536570104ac28f158f354bee01a6"
#define FORMATTER_JOURNAL_ID_QUERY "09fca8abf4e044379b6ff693174b1852"
#define FORMATTER_JOURNAL_ID_PACKET "0f2944c47e8a45c6abd792bcb7d87556"
#define FORMATTER_JOURNAL_ID_FLOW "81d1b0db1e3b4a45b8fd6504e7322ac2"
#define FORMATTER_JOURNAL_ID_START "735790f248ed46f38321d7f5c60845d5"
#define FORMATTER_JOURNAL_ID_SUMMARY "de5aa68a68c7402c96dc770c12b22357"

/* Appends the body; returns where the stamp goes. */
size_t formatter_journal_body(const struct formatter_style *style, const struct decision *decision,
                              struct text_builder *body);
void formatter_journal_stamp(const struct formatter_stamp *stamp, struct text_builder *record);
