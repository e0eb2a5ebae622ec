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
#define FORMATTER_JOURNAL_ID_QUERY "09fca8abf4e044379b6ff693174b1852"
#define FORMATTER_JOURNAL_ID_PACKET "0f2944c47e8a45c6abd792bcb7d87556"
#define FORMATTER_JOURNAL_ID_FLOW "81d1b0db1e3b4a45b8fd6504e7322ac2"
#define FORMATTER_JOURNAL_ID_SUMMARY "de5aa68a68c7402c96dc770c12b22357"

#define FORMATTER_MESSAGE_SIZE 1536

/* Each returns the length; every decision fits. The stamp goes in front of the body, in the same datagram. */
size_t formatter_journal_stamp(const struct formatter_stamp *stamp, char buffer[FORMATTER_STAMP_SIZE]);
size_t formatter_journal_body(const struct decision *decision, char buffer[FORMATTER_BODY_SIZE]);

/*
 * The sentence in MESSAGE, with NUL, like one of these:
 *   denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule; hint: ...
 *   denied quic 203.0.113.9:443 (www.example.com) from 10.1.0.4 (prod-weu): quic
 *   refused query A example.com from 10.1.0.4 (prod-weu): no-rule
 *   udp ntp.ubuntu.com 203.0.113.4:123 from 10.1.0.4 (prod-weu) ended: completed, as 10.0.1.10, 76 bytes out, ...
 *   12 more like: denied tcp 203.0.113.9:22 from 10.1.0.4 (prod-weu): no-network-rule
 */
size_t formatter_journal_message(const struct decision *decision, char buffer[FORMATTER_MESSAGE_SIZE]);
