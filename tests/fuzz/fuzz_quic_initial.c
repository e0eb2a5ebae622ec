/*
 * Input: a byte of flags, then, with flag 1, a datagram as it is. Without it: a byte (length of the connection identifier),
 * then packets, each a length in two bytes and that many bytes of frames, which are protected as a client would and sent in
 * a datagram each. A second interpreter of frames, with one flag a byte of the hello, says what must come out.
 */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "../unit/quic_builder.h"
#include "inspect/quic_hellos.h"
#include "inspect/quic_initial.h"

#define FLAG_RAW 1
#define FLAG_VERSION_2 2
#define FLAG_TOKEN 4
/* bits 4 and 5: length of the packet number, less one */

/* What the frames so far say, byte by byte. */
struct model {
        enum quic_result result; /* NEED_MORE: no objection to the frames; the hello is judged apart */
        size_t seen;             /* one past the last byte that is there */
        bool there[QUIC_HELLO_MAX_BYTES];
        uint8_t bytes[QUIC_HELLO_MAX_BYTES];
};

static bool take_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
        if (*at == end || end - *at < 1 << (**at >> 6))
                return false;
        size_t size = (size_t)1 << (**at >> 6);
        *ret = **at & 0x3f;
        for (size_t i = 1; i < size; i++)
                *ret = *ret * 256 + (*at)[i];
        *at += size;
        return true;
}

static size_t count_runs(const struct model *model)
{
        size_t runs = 0;

        for (size_t i = 0; i < model->seen; i++)
                runs += model->there[i] && (i == 0 || !model->there[i - 1]) ? 1 : 0;
        return runs;
}

static void model_crypto(struct model *model, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
        if (offset + length > QUIC_HELLO_MAX_BYTES) {
                model->result = QUIC_TOO_LARGE;
                return;
        }
        for (uint64_t i = 0; i < length; i++) {
                if (model->there[offset + i] && model->bytes[offset + i] != bytes[i]) {
                        model->result = QUIC_CONFLICT;
                        return;
                }
        }
        for (uint64_t i = 0; i < length; i++) {
                model->there[offset + i] = true;
                model->bytes[offset + i] = bytes[i];
        }
        if (length > 0 && offset + length > model->seen)
                model->seen = offset + length;
        if (count_runs(model) > QUIC_HELLO_MAX_RANGES)
                model->result = QUIC_TOO_LARGE;
}

/* How many numbers stand before a frame's data, or its ranges; -1: no such frame. */
static int numbers_of(uint8_t type)
{
        switch (type) {
        case 0:
        case 1:
                return 0;
        case 2:
        case 3:
                return 4;
        case 6:
                return 2;
        case 0x1c:
                return 3;
        default:
                return -1;
        }
}

static bool model_frame(struct model *model, const uint8_t **at, const uint8_t *end)
{
        uint64_t numbers[4] = { 0 }, ignored;
        uint8_t type = *(*at)++;
        int count = numbers_of(type);

        if (count < 0)
                return false;
        for (int i = 0; i < count; i++)
                if (!take_varint(at, end, &numbers[i]))
                        return false;
        if (type == 2 || type == 3) {
                for (uint64_t i = 0; i < 2 * numbers[2] + (type == 3 ? 3 : 0); i++)
                        if (!take_varint(at, end, &ignored))
                                return false;
                return true;
        }
        if (count == 0)
                return true;
        uint64_t length = numbers[count - 1];
        if (length > (uint64_t)(end - *at))
                return false;
        if (type == 6 && model->result == QUIC_NEED_MORE)
                model_crypto(model, numbers[0], *at, length);
        *at += length;
        return true;
}

static void model_packet(struct model *model, const uint8_t *frames, size_t length)
{
        const uint8_t *at = frames, *end = frames + length;

        while (at < end && model->result == QUIC_NEED_MORE)
                if (!model_frame(model, &at, end))
                        model->result = QUIC_BAD_CONTENT;
        if (length == 0 && model->result == QUIC_NEED_MORE)
                model->result = QUIC_BAD_CONTENT;
}

static void check_ranges(const struct quic_hello *hello, const struct model *model)
{
        size_t index = 0;

        CHECK(hello->range_count == count_runs(model));
        for (size_t i = 0; i < model->seen; i++) {
                bool there = index < hello->range_count && i >= hello->ranges[index].start;
                CHECK(there == model->there[i]);
                if (there)
                        CHECK(hello->bytes[i] == model->bytes[i]);
                if (there && i + 1 == hello->ranges[index].end)
                        index++;
        }
}

/* What the model's beginning is as a hello. */
static void check_verdict(const struct quic_hello *hello, const struct model *model)
{
        struct client_hello expected;
        size_t whole = 0, needed = 0;

        while (whole < model->seen && model->there[whole])
                whole++;
        enum client_hello_status status = client_hello_parse_message(model->bytes, whole, &expected, &needed);
        if (status == CLIENT_HELLO_OK && model->seen == whole) {
                CHECK(hello->result == QUIC_DONE);
                CHECK(fqdn_equal(&hello->contents.server_name, &expected.server_name));
                CHECK(strcmp(hello->contents.alpn, expected.alpn) == 0 && hello->contents.ech == expected.ech);
        } else if (status == CLIENT_HELLO_NEED_MORE && needed <= QUIC_HELLO_MAX_BYTES &&
                   (whole < 4 || model->seen <= needed)) {
                CHECK(hello->result == QUIC_NEED_MORE);
        } else {
                CHECK(hello->result >= QUIC_TOO_LARGE);
        }
}

struct session {
        struct quic_keys *keys;
        struct quic_hellos *hellos;
        struct quic_recipe recipe;
        struct quic_hello hello;
        struct model model;
        uint64_t now_ms;
};

/* The table says what the hello says. */
static void check_table(struct session *session, const uint8_t *datagram, size_t length)
{
        static const struct net_endpoint end = { { AF_INET, { 192, 0, 2, 1 } }, 443 };
        struct quic_hellos_answer answer;

        quic_hellos_read(session->hellos, session->keys, &end, &end, datagram, length, session->now_ms++, &answer);
        CHECK((answer.verdict == QUIC_HELLOS_KNOWN) == (session->hello.result == QUIC_DONE));
        CHECK((answer.verdict == QUIC_HELLOS_WAIT) == (session->hello.result == QUIC_NEED_MORE));
        CHECK(answer.evicted == QUIC_HELLOS_NO_SLOT);
        if (answer.verdict == QUIC_HELLOS_KNOWN)
                CHECK(fqdn_equal(&answer.hello->server_name, &session->hello.contents.server_name));
}

/* One bit of it changed: it is another packet or none, but never opens. */
static void check_damaged(struct session *session, uint8_t *datagram, size_t length)
{
        static struct quic_hello fresh;
        size_t bit = length * 2654435761u % (8 * length);

        datagram[bit / 8] ^= (uint8_t)(1 << bit % 8);
        quic_hello_start(&fresh);
        enum quic_result result = quic_initial_read(session->keys, datagram, length, &fresh);
        CHECK(result == QUIC_NOT_INITIAL || result == QUIC_BAD_PACKET || result == QUIC_NOT_AUTHENTIC);
        CHECK(fresh.range_count == 0 && fresh.result == QUIC_NEED_MORE);
}

static void send_packet(struct session *session, const uint8_t *data, size_t length)
{
        static struct hello_bytes frames, datagram;

        frames.length = datagram.length = 0;
        hello_put(&frames, data, length);
        if (session->recipe.number_length + length < 4)
                quic_put_padding(&frames, 4 - session->recipe.number_length - length);
        quic_put_initial(&datagram, &session->recipe, &frames);
        /* What nobody has acknowledged is written in full, so no number is larger than its bytes (RFC 9000 17.1). */
        session->recipe.number = (session->recipe.number + 1) % 256;
        /* An exact copy, so that the sanitizer sees a byte read too far. */
        uint8_t *exact = malloc(datagram.length);
        CHECK(exact != NULL);
        memcpy(exact, datagram.bytes, datagram.length);
        if (session->hello.result == QUIC_NEED_MORE) {
                model_packet(&session->model, frames.bytes, frames.length);
                CHECK(quic_initial_read(session->keys, exact, datagram.length, &session->hello) ==
                      session->hello.result);
                if (session->model.result != QUIC_NEED_MORE) {
                        CHECK(session->hello.result == session->model.result);
                } else {
                        check_ranges(&session->hello, &session->model);
                        check_verdict(&session->hello, &session->model);
                }
        }
        check_table(session, exact, datagram.length);
        check_damaged(session, exact, datagram.length);
        free(exact);
}

static void send_packets(struct session *session, const uint8_t *data, size_t size)
{
        for (size_t at = 0; at + 2 <= size;) {
                size_t length = (size_t)data[at] << 8 | data[at + 1];
                at += 2;
                length = length < size - at ? length : size - at;
                if (length <= QUIC_INITIAL_MAX_BYTES / 2)
                        send_packet(session, data + at, length);
                at += length;
        }
}

/* Packets of a datagram follow each other without a gap, and what is read of them is what quic_initial_read sees. */
static void read_raw(struct session *session, const uint8_t *data, size_t size)
{
        uint8_t *exact = malloc(size + 1);
        struct quic_packet packet;
        bool initial = false;

        CHECK(exact != NULL);
        memcpy(exact + 1, data, size);
        struct byte_cursor rest = byte_cursor_from(exact + 1, size);
        for (size_t at = 0; quic_packet_take(&rest, &packet) != QUIC_PACKET_NONE; at += packet.bytes.left) {
                CHECK(packet.bytes.left > 0 && packet.bytes.next == exact + 1 + at);
                CHECK(at + packet.bytes.left + rest.left == size);
                if (packet.kind == QUIC_PACKET_INITIAL)
                        CHECK(packet.number_offset + 20 <= packet.bytes.left);
                initial |= packet.kind == QUIC_PACKET_INITIAL || packet.kind == QUIC_PACKET_CUT;
        }
        enum quic_result result = quic_initial_read(session->keys, exact + 1, size, &session->hello);
        CHECK(initial || result == QUIC_NOT_INITIAL);
        CHECK(result != QUIC_FAILED);
        if (result == QUIC_DONE || result == QUIC_NEED_MORE)
                check_table(session, exact + 1, size);
        free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint8_t identifier[20] = { 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08 };
        static struct session session;

        if (size < 2)
                return 0;
        if (session.keys == NULL)
                CHECK(quic_keys_new(&session.keys) == 0);
        CHECK(quic_hellos_new(2, UINT32_MAX, &session.hellos) == 0);
        quic_hello_start(&session.hello);
        if ((data[0] & FLAG_RAW) != 0) {
                read_raw(&session, data + 1, size - 1);
        } else {
                memset(session.model.there, 0, sizeof(session.model.there));
                session.model.seen = 0;
                session.model.result = QUIC_NEED_MORE;
                session.recipe = quic_recipe_good;
                session.recipe.version = (data[0] & FLAG_VERSION_2) != 0 ? 2 : 1;
                session.recipe.token_length = (data[0] & FLAG_TOKEN) != 0 ? 70 : 0;
                session.recipe.number_length = 1 + (size_t)(data[0] >> 4 & 3);
                session.recipe.number = 0;
                session.recipe.destination_id = identifier;
                session.recipe.destination_id_length = data[1] % 21;
                send_packets(&session, data + 2, size - 2);
        }
        quic_hellos_free(session.hellos);
        return 0;
}
