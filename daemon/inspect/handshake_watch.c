#include "inspect/handshake_watch.h"

#include <string.h>

#include "base/byte_cursor.h"
#include "inspect/client_hello.h"

#define RECORD_HEADER_SIZE HANDSHAKE_WATCH_RECORD_HEADER
#define RECORD_MAX_PROTECTED (16384 + 256) /* RFC 8446 5.2 */
#define RECORD_MAX_PLAIN 16384             /* RFC 8446 5.1 */
#define TLS_MAJOR 3
#define MESSAGE_TYPE_SERVER_HELLO 2
#define RANDOM_OFFSET 6 /* in a ServerHello: handshake header 4, version 2 */
#define RANDOM_SIZE 32

/* RFC 8446 5.1 */
enum record_type {
        RECORD_CHANGE_CIPHER_SPEC = 20,
        RECORD_ALERT = 21,
        RECORD_HANDSHAKE = 22,
        RECORD_APPLICATION_DATA = 23,
};

/* A ServerHello with this random is a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 4.1.3). */
static const uint8_t retry_random[RANDOM_SIZE] = {
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
        0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
};

void handshake_watch_start(struct handshake_watch *watch)
{
        memset(watch, 0, sizeof(*watch));
}

/* Moves bytes from the cursor until the buffer holds size. Returns whether it does. */
static bool fill(struct byte_cursor *cursor, uint8_t *buffer, uint8_t *buffer_length, size_t size)
{
        while (*buffer_length < size) {
                uint8_t byte;

                if (!byte_cursor_u8(cursor, &byte))
                        return false;
                buffer[(*buffer_length)++] = byte;
        }
        return true;
}

/* Moves up to one record's bytes into the message; false when the server does not speak TLS handshake. */
static bool server_take_record(struct handshake_watch *watch, struct byte_cursor *input)
{
        const uint8_t *header = watch->server_record;
        struct byte_cursor payload = { 0 };
        size_t before;

        if (watch->server_record_left == 0) {
                if (!fill(input, watch->server_record, &watch->server_record_length, RECORD_HEADER_SIZE))
                        return true;
                watch->server_record_left = (uint16_t)(header[3] << 8 | header[4]);
                if (header[0] != RECORD_HANDSHAKE || header[1] != TLS_MAJOR || watch->server_record_left == 0 ||
                    watch->server_record_left > RECORD_MAX_PLAIN)
                        return false;
        }
        before = input->left < watch->server_record_left ? input->left : watch->server_record_left;
        if (!byte_cursor_take(input, before, &payload))
                return false;
        (void)fill(&payload, watch->server_head, &watch->server_head_length, HANDSHAKE_WATCH_SERVER_HEAD);
        watch->server_record_left = (uint16_t)(watch->server_record_left - before);
        if (watch->server_record_left == 0)
                watch->server_record_length = 0;
        return true;
}

void handshake_watch_server_bytes(struct handshake_watch *watch, const void *bytes, size_t length)
{
        struct byte_cursor input = byte_cursor_from(bytes, length);

        while (watch->phase == HANDSHAKE_WATCH_SERVER_UNKNOWN && input.left > 0) {
                const uint8_t *head = watch->server_head;

                if (!server_take_record(watch, &input) ||
                    (watch->server_head_length > 0 && head[0] != MESSAGE_TYPE_SERVER_HELLO)) {
                        watch->phase = HANDSHAKE_WATCH_DONE;
                } else if (watch->server_head_length == HANDSHAKE_WATCH_SERVER_HEAD) {
                        bool retry = memcmp(head + RANDOM_OFFSET, retry_random, RANDOM_SIZE) == 0;
                        watch->phase = retry ? HANDSHAKE_WATCH_SECOND_HELLO : HANDSHAKE_WATCH_DONE;
                }
        }
}

/* What the client's next bytes are judged with, and the answer as it grows. */
struct judgement {
        struct handshake_watch *watch;
        const struct fqdn *first_name;
        struct byte_cursor input; /* what is not passed yet */
        size_t needed;            /* from the start of input */
        enum reason reason;
};

enum step {
        STEP_ON = 0, /* look at what follows */
        STEP_WAIT,
        STEP_REFUSE,
};

static enum step refuse(struct judgement *judgement, enum reason reason)
{
        judgement->reason = reason;
        return STEP_REFUSE;
}

static enum step judge_second_hello(struct judgement *judgement)
{
        struct client_hello hello;

        switch (client_hello_parse(judgement->input.next, judgement->input.left, &hello, &judgement->needed)) {
        case CLIENT_HELLO_OK:
                if (!fqdn_equal(&hello.server_name, judgement->first_name))
                        return refuse(judgement, REASON_SERVER_NAME_CHANGED);
                judgement->watch->phase = HANDSHAKE_WATCH_DONE;
                return STEP_ON;
        case CLIENT_HELLO_NEED_MORE:
                return STEP_WAIT;
        case CLIENT_HELLO_BAD_NAME:
                return refuse(judgement, REASON_BAD_SERVER_NAME);
        case CLIENT_HELLO_TOO_LARGE:
                return refuse(judgement, REASON_CLIENT_HELLO_TOO_LARGE);
        case CLIENT_HELLO_NOT_TLS:
        case CLIENT_HELLO_MALFORMED:
                break;
        }
        return refuse(judgement, REASON_BAD_CLIENT_HELLO);
}

static enum step judge_handshake_record(struct judgement *judgement)
{
        if (judgement->watch->phase == HANDSHAKE_WATCH_SECOND_HELLO)
                return judge_second_hello(judgement);
        judgement->needed = SIZE_MAX;
        return STEP_WAIT;
}

/* At the start of a record. */
static enum step judge_record(struct judgement *judgement)
{
        struct byte_cursor header = judgement->input;
        uint8_t type, major, minor;
        uint16_t length;

        if (!byte_cursor_u8(&header, &type) || !byte_cursor_u8(&header, &major) || !byte_cursor_u8(&header, &minor) ||
            !byte_cursor_u16(&header, &length)) {
                judgement->needed = RECORD_HEADER_SIZE;
                return STEP_WAIT;
        }
        if (type == RECORD_HANDSHAKE)
                return judge_handshake_record(judgement);
        if (type < RECORD_CHANGE_CIPHER_SPEC || type > RECORD_APPLICATION_DATA || major != TLS_MAJOR ||
            length > RECORD_MAX_PROTECTED)
                return refuse(judgement, REASON_BAD_CLIENT_HELLO);
        judgement->watch->client_record_left = RECORD_HEADER_SIZE + (size_t)length;
        return STEP_ON;
}

static void pass_record_bytes(struct judgement *judgement)
{
        size_t *record_left = &judgement->watch->client_record_left;
        size_t count = judgement->input.left < *record_left ? judgement->input.left : *record_left;

        if (byte_cursor_skip(&judgement->input, count))
                *record_left -= count;
}

enum handshake_watch_status handshake_watch_client_bytes(struct handshake_watch *watch, const struct fqdn *first_name,
                                                         const void *bytes, size_t length, size_t *ret_pass,
                                                         size_t *ret_needed, enum reason *ret_reason)
{
        struct judgement judgement = { .watch = watch, .first_name = first_name, .needed = 1 };
        enum step step = STEP_ON;

        judgement.input = byte_cursor_from(bytes, length);
        pass_record_bytes(&judgement);
        while (step == STEP_ON && watch->phase != HANDSHAKE_WATCH_DONE && judgement.input.left > 0) {
                step = judge_record(&judgement);
                pass_record_bytes(&judgement);
        }
        if (step == STEP_REFUSE) {
                *ret_reason = judgement.reason;
                return HANDSHAKE_WATCH_REFUSE;
        }
        *ret_pass = watch->phase == HANDSHAKE_WATCH_DONE ? length : length - judgement.input.left;
        *ret_needed = judgement.needed;
        return HANDSHAKE_WATCH_PASS;
}
