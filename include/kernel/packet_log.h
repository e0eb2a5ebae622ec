/*
 * Packets that the rules log (`log prefix "…" snaplen 256 group N`, NFLOG; libnetfilter_log), for records of what is dropped,
 * with an exact count of those that were lost because we did not keep up. Needs CAP_NET_ADMIN.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "inspect/ip_packet.h"

#define PACKET_LOG_BUFFER_BYTES (8u << 20) /* what is waiting for us, with the kernel's overhead: 30,000 packets */
#define PACKET_LOG_SNAP_BYTES 4096         /* at most so much of a packet, even if the rule names no snaplen */
#define PACKET_LOG_PER_TURN 512            /* packets before other events get their turn */

struct packet_log;

/* Valid during the call. */
struct packet_log_record {
        const char *prefix;      /* the rule's; "" for none. nft adds nothing to it, and cuts at 127 bytes */
        struct ip_packet packet; /* source.family AF_UNSPEC: could not be read */
        const uint8_t *bytes;    /* from the IP header on, what packet.payload_start counts in */
        size_t length;
        uint64_t time_us; /* as clock_wall_us() */
};

struct packet_log_handlers {
        void (*on_packet)(const struct packet_log_record *record, void *context);
        /* So many packets are missing before the one that follows: known only when one follows. */
        void (*on_lost)(uint64_t count, void *context);
};

/*
 * Begins to listen to a group; a packet comes within about 100 ms, from the event loop. handlers is borrowed. buffer_bytes:
 * PACKET_LOG_BUFFER_BYTES unless a test wants less.
 *
 * Returns 0 or -errno; -EPERM: another program listens to the group, or we may not.
 */
MUST_CHECK int packet_log_new(struct event_base *base, uint16_t group, size_t buffer_bytes,
                              const struct packet_log_handlers *handlers, void *context, struct packet_log **ret);

/*
 * Ends the listening, and hands over every packet that was logged until then, with the count of those that are missing
 * before one of them: for the end, when nobody will turn the event loop again. Not from within a handler.
 */
void packet_log_finish(struct packet_log *log);

/* Takes NULL. Not from within a handler. */
void packet_log_free(struct packet_log *log);
