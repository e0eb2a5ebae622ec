/* What a record says of a packet that the ruleset handed to the packet log. Pure. */
#pragma once

#include <stdbool.h>

#include "inspect/client_hello.h"
#include "inspect/ip_packet.h"
#include "policy/policy.h"
#include "records/decision.h"

/*
 * Fills the decision, but for its time. prefix: what the rule put before it (RULESET_LOG_…), of which the reason follows; a
 * packet that no network rule allows is told apart further, by what it is: dns-bypass, icmp. The policy gives cluster, rule
 * and hint: it is the one in force, which may be younger than the rule that logged.
 *
 * Returns false: the prefix is none of ours.
 */
bool packet_decision_describe(const struct policy *policy, const char *prefix, const struct ip_packet *packet,
                              struct decision *ret);

/* The packet is a QUIC datagram. hello: what its client asks for; NULL: not known. */
void packet_decision_note_quic(const struct policy *policy, const struct client_hello *hello,
                               struct decision *decision);
