/*
 * Records of the packets that the kernel refused: one each, QUIC ones with the server name once their hello is whole. Sinks
 * sum up those that repeat themselves. On the main thread's event loop.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/ip_packet.h"
#include "policy/policy.h"
#include "records/record_writer.h"

#define REFUSED_PACKETS_ALARM_MS 10000 /* at most one alarm about packets without a record in this time */
#define REFUSED_PACKETS_HELLO_MS                                                                                       \
        500                       /* a hello takes one or two datagrams; who sends but one is recorded without name */
#define REFUSED_PACKETS_HELLOS 64 /* QUIC connections at a time */

struct refused_packets;

/* base and records are borrowed; producer is the calling thread's number there. Returns 0 or -Exxx. */
MUST_CHECK int refused_packets_new(struct event_base *base, struct record_writer *records, unsigned producer,
                                   struct refused_packets **ret);

/* Records what still waits. Takes NULL. */
void refused_packets_free(struct refused_packets *refused);

/*
 * A packet with the prefix of the rule that logged it; bytes is where packet was parsed from. What the ruleset has not logged
 * is passed over.
 */
void refused_packets_take(struct refused_packets *refused, const struct policy *policy, const char *prefix,
                          const struct ip_packet *packet, const uint8_t *bytes, uint64_t time_us);

/* So many packets were refused and are in no record, for want of room on the way from the kernel. */
void refused_packets_note_lost(struct refused_packets *refused, uint64_t count);
