#include "inspect/quic_hellos.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/quic_initial.h"

#define ENDPOINT_KEY_SIZE (1 + 16 + 2) /* family, address, port */
#define KEY_SIZE (2 * ENDPOINT_KEY_SIZE + 4 + 1 + QUIC_MAX_CONNECTION_ID)

enum slot_state {
        SLOT_FREE = 0,
        SLOT_WAITING,  /* for more datagrams, and the caller's record with it */
        SLOT_GIVEN_UP, /* like that, but nothing waits any more */
        SLOT_SETTLED,  /* the hello is done or bad */
};

struct slot {
        enum slot_state state;
        uint8_t key[KEY_SIZE];
        uint64_t deadline_ms; /* WAITING */
        uint64_t last_seen;   /* by the table's count of datagrams: finer than time */
        struct quic_hello hello;
};

struct quic_hellos {
        uint64_t wait_ms;
        uint64_t datagrams;
        size_t free_slot; /* where the next new connection is read into */
        size_t slot_count;
        struct slot slots[];
};

int quic_hellos_new(size_t slots, uint64_t wait_ms, struct quic_hellos **ret)
{
        struct quic_hellos *hellos;

        assert(slots >= 2 && slots <= SIZE_MAX / sizeof(struct slot) - 1);
        hellos = calloc(1, sizeof(*hellos) + slots * sizeof(struct slot));
        if (hellos == NULL)
                return -ENOMEM;
        hellos->wait_ms = wait_ms;
        hellos->slot_count = slots;
        *ret = hellos;
        return 0;
}

void quic_hellos_free(struct quic_hellos *hellos)
{
        free(hellos);
}

static void put_endpoint(uint8_t key[ENDPOINT_KEY_SIZE], const struct net_endpoint *endpoint)
{
        key[0] = endpoint->address.family;
        memcpy(key + 1, endpoint->address.bytes, sizeof(endpoint->address.bytes));
        key[17] = (uint8_t)(endpoint->port >> 8);
        key[18] = (uint8_t)endpoint->port;
}

static void make_key(const struct net_endpoint *client, const struct net_endpoint *destination,
                     const struct quic_packet *packet, uint8_t ret[KEY_SIZE])
{
        uint8_t *rest = ret + 2 * (size_t)ENDPOINT_KEY_SIZE;

        memset(ret, 0, KEY_SIZE);
        put_endpoint(ret, client);
        put_endpoint(ret + ENDPOINT_KEY_SIZE, destination);
        for (size_t i = 0; i < 4; i++)
                rest[i] = (uint8_t)(packet->version >> (24 - 8 * i));
        rest[4] = packet->destination_id_length;
        memcpy(rest + 5, packet->destination_id, packet->destination_id_length);
}

static size_t find(const struct quic_hellos *hellos, const uint8_t key[KEY_SIZE])
{
        for (size_t i = 0; i < hellos->slot_count; i++)
                if (hellos->slots[i].state != SLOT_FREE && memcmp(hellos->slots[i].key, key, KEY_SIZE) == 0)
                        return i;
        return QUIC_HELLOS_NO_SLOT;
}

/* Whether a should be evicted before b; neither is the one in use now. */
static bool goes_first(const struct slot *a, const struct slot *b)
{
        if ((a->state == SLOT_WAITING) != (b->state == SLOT_WAITING))
                return b->state == SLOT_WAITING;
        if (a->state == SLOT_WAITING && a->deadline_ms != b->deadline_ms)
                return a->deadline_ms < b->deadline_ms;
        return a->last_seen < b->last_seen;
}

/* Finds or makes the next free slot. Returns the slot of a connection that waited for nothing then, or NO_SLOT. */
static size_t make_room(struct quic_hellos *hellos)
{
        size_t victim = QUIC_HELLOS_NO_SLOT;

        for (size_t i = 0; i < hellos->slot_count; i++) {
                if (hellos->slots[i].state == SLOT_FREE) {
                        hellos->free_slot = i;
                        return QUIC_HELLOS_NO_SLOT;
                }
                if (i != hellos->free_slot &&
                    (victim == QUIC_HELLOS_NO_SLOT || goes_first(&hellos->slots[i], &hellos->slots[victim])))
                        victim = i;
        }
        bool waited = hellos->slots[victim].state == SLOT_WAITING;
        hellos->slots[victim].state = SLOT_FREE;
        hellos->free_slot = victim;
        return waited ? victim : QUIC_HELLOS_NO_SLOT;
}

/* Whether the result is one that a hello keeps: then the datagram was authentic. */
static bool is_of_the_hello(enum quic_result result)
{
        return result != QUIC_NOT_INITIAL && result != QUIC_BAD_PACKET && result != QUIC_NOT_AUTHENTIC &&
               result != QUIC_FAILED;
}

/* Reads a datagram of a connection that is not in the table, and puts it there if it has a hello or a part of one. */
static void read_first(struct quic_hellos *hellos, struct quic_keys *keys, const uint8_t key[KEY_SIZE],
                       const void *datagram, size_t length, uint64_t now_ms, struct quic_hellos_answer *answer)
{
        struct slot *slot = &hellos->slots[hellos->free_slot];

        quic_hello_start(&slot->hello);
        answer->result = quic_initial_read(keys, datagram, length, &slot->hello);
        if (!is_of_the_hello(answer->result))
                return;
        answer->slot = hellos->free_slot;
        memcpy(slot->key, key, KEY_SIZE);
        slot->state = SLOT_WAITING;
        slot->deadline_ms = now_ms + hellos->wait_ms;
        slot->last_seen = hellos->datagrams;
        answer->evicted = make_room(hellos);
}

/* What the connection's state means for the datagram; is_new: nothing waits at the slot yet. */
static void answer_from(struct slot *slot, bool is_new, struct quic_hellos_answer *answer)
{
        answer->result = slot->hello.result;
        if (slot->hello.result == QUIC_NEED_MORE) {
                if (slot->state == SLOT_WAITING) {
                        answer->verdict = QUIC_HELLOS_WAIT;
                        answer->deadline_ms = slot->deadline_ms;
                }
                return;
        }
        answer->settles = slot->state == SLOT_WAITING && !is_new;
        slot->state = SLOT_SETTLED;
        if (slot->hello.result == QUIC_DONE) {
                answer->verdict = QUIC_HELLOS_KNOWN;
                answer->hello = &slot->hello.contents;
        }
}

void quic_hellos_read(struct quic_hellos *hellos, struct quic_keys *keys, const struct net_endpoint *client,
                      const struct net_endpoint *destination, const void *datagram, size_t length, uint64_t now_ms,
                      struct quic_hellos_answer *ret)
{
        struct quic_hellos_answer answer = { .verdict = QUIC_HELLOS_UNKNOWN, .result = QUIC_NOT_INITIAL };
        struct quic_packet packet;
        uint8_t key[KEY_SIZE];

        answer.slot = answer.evicted = QUIC_HELLOS_NO_SLOT;
        answer.kind = quic_packet_classify(datagram, length, &packet);
        if (answer.kind != QUIC_PACKET_NONE) {
                hellos->datagrams++;
                make_key(client, destination, &packet, key);
                answer.slot = find(hellos, key);
                bool is_new = answer.slot == QUIC_HELLOS_NO_SLOT;
                if (is_new) {
                        read_first(hellos, keys, key, datagram, length, now_ms, &answer);
                } else {
                        hellos->slots[answer.slot].last_seen = hellos->datagrams;
                        (void)quic_initial_read(keys, datagram, length, &hellos->slots[answer.slot].hello);
                }
                if (answer.slot != QUIC_HELLOS_NO_SLOT)
                        answer_from(&hellos->slots[answer.slot], is_new, &answer);
        }
        *ret = answer;
}

bool quic_hellos_expire(struct quic_hellos *hellos, uint64_t now_ms, size_t *ret_slot)
{
        for (size_t i = 0; i < hellos->slot_count; i++) {
                struct slot *slot = &hellos->slots[i];
                if (slot->state == SLOT_WAITING && slot->deadline_ms <= now_ms) {
                        slot->state = SLOT_GIVEN_UP;
                        *ret_slot = i;
                        return true;
                }
        }
        return false;
}

bool quic_hellos_next_deadline(const struct quic_hellos *hellos, uint64_t *ret_ms)
{
        bool found = false;

        for (size_t i = 0; i < hellos->slot_count; i++) {
                const struct slot *slot = &hellos->slots[i];
                if (slot->state == SLOT_WAITING && (!found || slot->deadline_ms < *ret_ms)) {
                        *ret_ms = slot->deadline_ms;
                        found = true;
                }
        }
        return found;
}
