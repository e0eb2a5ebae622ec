/*
 * The QUIC connections that were seen lately, so that a hello which takes several datagrams is put together, and repeated
 * datagrams of a connection are told its name without opening them again. A table with a fixed number of slots. Pure: the
 * caller says what time it is.
 *
 * A slot's number is good as an index into an array of the caller's, where the record of a datagram waits until its name is
 * known. What a connection is: its two endpoints, its version and the destination connection identifier, which the client
 * keeps until a server answers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"
#include "inspect/quic_hello.h"
#include "inspect/quic_keys.h"
#include "inspect/quic_packet.h"

#define QUIC_HELLOS_NO_SLOT SIZE_MAX

struct quic_hellos;

enum quic_hellos_verdict {
        QUIC_HELLOS_KNOWN = 0, /* record it with *hello */
        QUIC_HELLOS_WAIT,      /* let it wait at slot: more must come */
        QUIC_HELLOS_UNKNOWN,   /* record it without a name: result says why */
};

struct quic_hellos_answer {
        enum quic_hellos_verdict verdict;
        enum quic_packet_kind kind;       /* of quic_packet_classify: NONE is not QUIC, and UNKNOWN */
        enum quic_result result;          /* UNKNOWN: NEED_MORE when the connection's wait is over */
        const struct client_hello *hello; /* KNOWN, else NULL; borrowed until the next call; its name may be empty */
        size_t slot;                      /* the connection's, or NO_SLOT: it is not in the table */
        bool settles;                     /* not WAIT: what waits at slot has its answer, which is this one */
        size_t evicted;                   /* a slot that was taken from a connection which waited, or NO_SLOT */
        uint64_t deadline_ms;             /* WAIT: when quic_hellos_expire will give it up */
};

/*
 * slots: at least 2; one is always free. A connection waits for wait_ms from its first datagram. Memory: 17 KiB a slot, of
 * which pages are used only as hellos get there. 0 or -ENOMEM. _free takes NULL.
 */
MUST_CHECK int quic_hellos_new(size_t slots, uint64_t wait_ms, struct quic_hellos **ret);
void quic_hellos_free(struct quic_hellos *hellos);

/*
 * Judges a datagram from client to destination. A new connection takes the slot of the one that was not seen for longest
 * among those that do not wait, else of the one that waited longest. Only datagrams with an authentic Initial get a slot.
 *
 * Whatever the verdict: what waits at *ret's evicted is to be recorded without a name.
 */
void quic_hellos_read(struct quic_hellos *hellos, struct quic_keys *keys, const struct net_endpoint *client,
                      const struct net_endpoint *destination, const void *datagram, size_t length, uint64_t now_ms,
                      struct quic_hellos_answer *ret);

/*
 * Gives up one connection whose deadline has come: what waits at *ret_slot is to be recorded without a name. false: there is
 * none (left). The connection stays in the table, and may yet become known.
 */
MUST_CHECK bool quic_hellos_expire(struct quic_hellos *hellos, uint64_t now_ms, size_t *ret_slot);

/* When quic_hellos_expire will next have something to give up; false: nothing waits. */
MUST_CHECK bool quic_hellos_next_deadline(const struct quic_hellos *hellos, uint64_t *ret_ms);
