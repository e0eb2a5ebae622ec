/*
 * An IPv4 or IPv6 packet (RFC 791, 8200) as a rule logged it: from its first bytes to whom, where to and what for. Pure.
 * The bytes may end anywhere, since only so many of each packet are logged; what they do not show is said to be unknown.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

#define IP_PACKET_MAX_EXTENSIONS 8 /* headers between IPv6's own and the payload's; more than anyone sends */

enum ip_packet_status {
        IP_PACKET_OK = 0,
        IP_PACKET_NEED_MORE, /* the IP header itself, without options, is not there whole */
        IP_PACKET_MALFORMED, /* neither version, or lengths that contradict each other */
};

struct ip_packet {
        struct net_address source;
        struct net_address destination;
        uint8_t protocol; /* IPPROTO_…; where IPv6's extension headers are cut off or too many, that of the next of them */
        bool is_fragment;          /* a part of a packet; the first part has the ports */
        bool has_ports;            /* TCP, UDP, UDP-Lite, SCTP, DCCP, and the bytes are there */
        uint16_t source_port;      /* host order; 0 without has_ports */
        uint16_t destination_port; /* host order; 0 without has_ports */
        size_t length;             /* of the whole packet, as it says; more than there is when it was cut */
        size_t payload_start;  /* in the bytes: what follows the headers of TCP, UDP or ICMP, or of IP for all else */
        size_t payload_length; /* bytes of it that are there, without padding */
};

/* Reads bytes[0..length). Writes *ret only on OK. */
MUST_CHECK enum ip_packet_status ip_packet_parse(const void *bytes, size_t length, struct ip_packet *ret);
