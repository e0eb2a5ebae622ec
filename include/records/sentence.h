/*
 * A decision as a sentence for people, like one of these:
 *   denied https example.com:443 from 10.1.0.4 (prod-weu): no-rule; hint: ...
 *   denied quic 203.0.113.9:443 (www.example.com) from 10.1.0.4 (prod-weu): quic
 *   refused query A example.com from 10.1.0.4 (prod-weu): no-rule
 *   udp ntp.ubuntu.com 203.0.113.4:123 from 10.1.0.4 (prod-weu) ended: completed, as 10.0.1.10, 76 bytes out, ...
 *   12 more like: denied tcp 203.0.113.9:22 from 10.1.0.4 (prod-weu): no-network-rule
 */
#pragma once

#include <stddef.h>

#include "records/decision.h"

#define SENTENCE_SIZE 1536

/* Writes it with NUL; every decision fits. Returns the length. Texts are as the decision has them: escaping is the format's. */
size_t sentence_format(const struct decision *decision, char buffer[SENTENCE_SIZE]);
