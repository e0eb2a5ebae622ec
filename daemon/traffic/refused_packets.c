#include "traffic/refused_packets.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "inspect/quic_hellos.h"
#include "traffic/packet_decision.h"

struct refused_packets {
        struct record_writer *records; /* borrowed */
        unsigned producer;
        struct quic_keys *keys;
        struct quic_hellos *hellos;
        struct decision waiting[REFUSED_PACKETS_HELLOS]; /* by slot of hellos */
        bool waits[REFUSED_PACKETS_HELLOS];
        uint64_t lost;             /* since the last alarm */
        uint64_t lost_deadline_ms; /* of the next; UINT64_MAX: nothing to say */
        struct event *timer;
        uint64_t timer_ms; /* when it is set to run; UINT64_MAX: it is not */
};

static void on_timer(evutil_socket_t fd, short what, void *context);

int refused_packets_new(struct event_base *base, struct record_writer *records, unsigned producer,
                        struct refused_packets **ret)
{
        struct refused_packets *refused = calloc(1, sizeof(*refused));

        if (refused == NULL)
                return -ENOMEM;
        refused->records = records;
        refused->producer = producer;
        refused->lost_deadline_ms = UINT64_MAX;
        refused->timer_ms = UINT64_MAX;
        refused->timer = event_new(base, -1, 0, on_timer, refused);
        int r = refused->timer == NULL ? -ENOMEM : quic_keys_new(&refused->keys);
        if (r == 0)
                r = quic_hellos_new(REFUSED_PACKETS_HELLOS, REFUSED_PACKETS_HELLO_MS, &refused->hellos);
        if (r < 0) {
                refused_packets_free(refused);
                return r;
        }
        *ret = refused;
        return 0;
}

/* Recording. */

static void record(struct refused_packets *refused, const struct decision *decision)
{
        record_writer_push(refused->records, refused->producer, decision);
}

static void record_waiting(struct refused_packets *refused, size_t slot)
{
        if (slot == QUIC_HELLOS_NO_SLOT || !refused->waits[slot])
                return;
        refused->waits[slot] = false;
        record(refused, &refused->waiting[slot]);
}

static void say_lost(struct refused_packets *refused)
{
        struct decision alarm = { .event = DECISION_EVENT_ALARM,
                                  .alarm = "packets-unrecorded",
                                  .time_us = clock_wall_us() };

        snprintf(alarm.hint, sizeof(alarm.hint),
                 "%" PRIu64 " refused packets are in no record: they came faster than they could be read",
                 refused->lost);
        record(refused, &alarm);
        refused->lost = 0;
        refused->lost_deadline_ms = UINT64_MAX;
}

/* Time. */

static uint64_t next_deadline_ms(const struct refused_packets *refused)
{
        uint64_t hello_ms;

        if (quic_hellos_next_deadline(refused->hellos, &hello_ms) && hello_ms < refused->lost_deadline_ms)
                return hello_ms;
        return refused->lost_deadline_ms;
}

/* The timer may run too early, never too late: each packet would otherwise move it. */
static void set_timer(struct refused_packets *refused)
{
        uint64_t next_ms = next_deadline_ms(refused), now_ms = clock_monotonic_ms();
        struct timeval delay = clock_timeval(next_ms > now_ms ? next_ms - now_ms : 0);

        if (next_ms >= refused->timer_ms)
                return;
        refused->timer_ms = next_ms;
        event_add(refused->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
        struct refused_packets *refused = context;
        uint64_t now_ms = clock_monotonic_ms();
        size_t slot;

        (void)fd;
        (void)what;
        refused->timer_ms = UINT64_MAX;
        while (quic_hellos_expire(refused->hellos, now_ms, &slot))
                record_waiting(refused, slot);
        if (refused->lost_deadline_ms <= now_ms)
                say_lost(refused);
        set_timer(refused);
}

void refused_packets_free(struct refused_packets *refused)
{
        if (refused == NULL)
                return;
        for (size_t slot = 0; slot < REFUSED_PACKETS_HELLOS; slot++)
                record_waiting(refused, slot);
        if (refused->lost > 0)
                say_lost(refused);
        quic_hellos_free(refused->hellos);
        quic_keys_free(refused->keys);
        if (refused->timer != NULL)
                event_free(refused->timer);
        free(refused);
}

/* Packets. */

/* Only what no rule decided by itself is worth opening; a later part of a packet shows nothing of what it is. */
static bool may_be_quic(const struct decision *decision, const struct ip_packet *packet)
{
        return packet->protocol == IPPROTO_UDP && packet->has_ports && !packet->is_fragment &&
               decision->reason != REASON_DNS_BYPASS;
}

static void take_quic(struct refused_packets *refused, const struct policy *policy,
                      const struct quic_hellos_answer *answer, struct decision *decision)
{
        record_waiting(refused, answer->evicted);
        packet_decision_note_quic(policy, answer->hello, decision);
        switch (answer->verdict) {
        case QUIC_HELLOS_WAIT:
                if (refused->waits
                            [answer->slot]) /* Two datagrams, two records: the earlier one has waited long enough. */
                        record_waiting(refused, answer->slot);
                refused->waiting[answer->slot] = *decision;
                refused->waits[answer->slot] = true;
                return;
        case QUIC_HELLOS_KNOWN:
        case QUIC_HELLOS_UNKNOWN:
                break;
        }
        if (answer->settles && answer->slot != QUIC_HELLOS_NO_SLOT && refused->waits[answer->slot]) {
                packet_decision_note_quic(policy, answer->hello, &refused->waiting[answer->slot]);
                record_waiting(refused, answer->slot);
        }
        record(refused, decision);
}

void refused_packets_take(struct refused_packets *refused, const struct policy *policy, const char *prefix,
                          const struct ip_packet *packet, const uint8_t *bytes, uint64_t time_us)
{
        struct quic_hellos_answer answer = { .kind = QUIC_PACKET_NONE };
        struct decision decision;

        if (!packet_decision_describe(policy, prefix, packet, &decision))
                return;
        decision.time_us = time_us;
        if (may_be_quic(&decision, packet))
                quic_hellos_read(refused->hellos, refused->keys, &decision.client, &decision.original,
                                 bytes + packet->payload_start, packet->payload_length, clock_monotonic_ms(), &answer);
        if (answer.kind == QUIC_PACKET_NONE)
                record(refused, &decision);
        else
                take_quic(refused, policy, &answer, &decision);
        set_timer(refused);
}

void refused_packets_note_lost(struct refused_packets *refused, uint64_t count)
{
        refused->lost += count;
        if (refused->lost_deadline_ms == UINT64_MAX)
                refused->lost_deadline_ms = clock_monotonic_ms() + REFUSED_PACKETS_ALARM_MS;
        set_timer(refused);
}
