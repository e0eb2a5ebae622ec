/*
 * A decision as a datagram of journald's native protocol: "FIELD=value\n", or for a value that holds a newline
 * "FIELD\n", its length as 64 bits little-endian, the value, "\n". The JSON fields in upper case behind AKSEGRESS_, and
 * MESSAGE, MESSAGE_ID, PRIORITY and SYSLOG_IDENTIFIER. Pure.
 */
#pragma once

#include <stddef.h>

#include "records/decision.h"
#include "records/formatter.h"

/* One id for each kind of event, for good: scripts and catalogs select by them. Listed in docs/decision-log.md. */
#define FORMATTER_JOURNAL_ID_CONNECTION "a254a7c35b9c43a1aa7a5711426403d0"
#define FORMATTER_JOURNAL_ID_ALARM "e6a9536570104ac28f158f354bee01a6"

#define FORMATTER_MESSAGE_SIZE 1536

/* Each returns the length; every decision fits. The stamp goes in front of the body, in the same datagram. */
size_t formatter_journal_stamp(const struct formatter_stamp *stamp, char buffer[FORMATTER_STAMP_SIZE]);
size_t formatter_journal_body(const struct decision *decision, char buffer[FORMATTER_BODY_SIZE]);

/* The sentence in MESSAGE, with NUL: "denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule; hint: ...". */
size_t formatter_journal_message(const struct decision *decision, char buffer[FORMATTER_MESSAGE_SIZE]);
