#include "inspect/client_hello.h"

#include <string.h>

#include "base/byte_cursor.h"

/*
 * A record (RFC 8446 5.1):            type(1)=22  version(2)=03xx  length(2)  payload(1..2^14)
 * The message in one or more of them: type(1)=1  length(3)  then (4.1.2)
 *
 *   version(2)  random(32)  session_id(1+0..32)  cipher_suites(2+2..)  compression(1+1..)  [ extensions(2+0..) ]
 *   an extension: type(2)  data(2+0..)
 */
#define RECORD_TYPE_HANDSHAKE 22
#define RECORD_HEADER_SIZE 5
#define RECORD_MAX_PAYLOAD 16384 /* RFC 8446 5.1 */
#define MESSAGE_TYPE_CLIENT_HELLO 1
#define MESSAGE_HEADER_SIZE 4
#define TLS_MAJOR 3
#define RANDOM_SIZE 32
#define SESSION_ID_MAX 32

#define EXTENSION_SERVER_NAME 0          /* RFC 6066 3 */
#define EXTENSION_ALPN 16                /* RFC 7301 3.1 */
#define EXTENSION_PRE_SHARED_KEY 41      /* RFC 8446 4.2.11 */
#define EXTENSION_ENCRYPTED_HELLO 0xfe0d /* RFC 9849 */
#define SERVER_NAME_TYPE_HOST 0

/* The message as it comes out of its records. */
struct assembly {
        struct byte_cursor input; /* what no record has taken yet */
        uint8_t header[MESSAGE_HEADER_SIZE];
        size_t wanted; /* bytes of the message: its header alone until that is known */
        size_t seen;   /* bytes of the message that are here; more than wanted is an error */
        size_t absent; /* bytes of the last record that are not here */
        size_t records;
};

static void assembly_keep_header(struct assembly *assembly, const struct byte_cursor *payload)
{
        for (size_t i = 0; i < payload->left && assembly->seen + i < MESSAGE_HEADER_SIZE; i++)
                assembly->header[assembly->seen + i] = payload->next[i];
}

/* Whether what is known of the message's header, and the room that its last record announces, can be a hello's. */
static bool assembly_is_plausible(struct assembly *assembly)
{
        const uint8_t *header = assembly->header;

        if (header[0] != MESSAGE_TYPE_CLIENT_HELLO && assembly->seen > 0)
                return false;
        if (assembly->seen < MESSAGE_HEADER_SIZE)
                return true;
        assembly->wanted = MESSAGE_HEADER_SIZE + ((size_t)header[1] << 16 | (size_t)header[2] << 8 | header[3]);
        /* A record that goes on after the hello would carry another message before the server has answered. */
        return assembly->seen + assembly->absent <= assembly->wanted;
}

static enum client_hello_status assembly_take_record(struct assembly *assembly)
{
        struct byte_cursor input = assembly->input, payload;
        uint8_t type, major, minor;
        uint16_t length;

        if (!byte_cursor_u8(&input, &type) || !byte_cursor_u8(&input, &major) || !byte_cursor_u8(&input, &minor) ||
            !byte_cursor_u16(&input, &length))
                return CLIENT_HELLO_NEED_MORE;
        if (type != RECORD_TYPE_HANDSHAKE || major != TLS_MAJOR || length == 0 || length > RECORD_MAX_PAYLOAD)
                return CLIENT_HELLO_MALFORMED;
        assembly->absent = length > input.left ? length - input.left : 0;
        if (!byte_cursor_take(&input, length - assembly->absent, &payload))
                return CLIENT_HELLO_MALFORMED;
        assembly_keep_header(assembly, &payload);
        assembly->seen += payload.left;
        assembly->records++;
        assembly->input = input;
        if (!assembly_is_plausible(assembly))
                return CLIENT_HELLO_MALFORMED;
        return assembly->absent > 0 ? CLIENT_HELLO_NEED_MORE : CLIENT_HELLO_OK;
}

/* The least input with which the message can be whole: what is missing, in records as large as they may be. */
static size_t assembly_least_total(const struct assembly *assembly, size_t length)
{
        size_t missing = assembly->wanted - assembly->seen;
        size_t beyond = missing > assembly->absent ? missing - assembly->absent : 0;
        size_t records = (beyond + RECORD_MAX_PAYLOAD - 1) / RECORD_MAX_PAYLOAD;

        return length - assembly->input.left + missing + records * RECORD_HEADER_SIZE;
}

static enum client_hello_status assemble(struct assembly *assembly, size_t length, size_t *ret_needed)
{
        enum client_hello_status status = CLIENT_HELLO_OK;
        size_t least = 0;

        while (status == CLIENT_HELLO_OK && assembly->seen < assembly->wanted) {
                status = assembly_take_record(assembly);
                if (status == CLIENT_HELLO_MALFORMED)
                        return status;
                least = assembly_least_total(assembly, length);
                if (least > CLIENT_HELLO_MAX_BYTES)
                        return CLIENT_HELLO_TOO_LARGE;
        }
        if (status == CLIENT_HELLO_NEED_MORE)
                *ret_needed = least;
        return status;
}

/* host_name is the only type there ever was, and one of it the only number allowed (RFC 6066 3). */
static enum client_hello_status parse_server_name(struct byte_cursor extension, struct fqdn *ret)
{
        struct byte_cursor name;
        uint16_t list_length, name_length;
        uint8_t type;

        if (!byte_cursor_u16(&extension, &list_length) || list_length != extension.left ||
            !byte_cursor_u8(&extension, &type) || !byte_cursor_u16(&extension, &name_length) || name_length == 0 ||
            !byte_cursor_take(&extension, name_length, &name))
                return CLIENT_HELLO_MALFORMED;
        if (type != SERVER_NAME_TYPE_HOST || extension.left > 0 || fqdn_from_bytes(name.next, name.left, ret) < 0)
                return CLIENT_HELLO_BAD_NAME;
        return CLIENT_HELLO_OK;
}

static void append_printable(char text[CLIENT_HELLO_ALPN_SIZE], size_t *length, uint8_t byte)
{
        if (*length + 1 >= CLIENT_HELLO_ALPN_SIZE)
                return;
        text[(*length)++] = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
        text[*length] = '\0';
}

static enum client_hello_status parse_alpn(struct byte_cursor extension, char ret[CLIENT_HELLO_ALPN_SIZE])
{
        struct byte_cursor protocol;
        uint16_t list_length;
        uint8_t protocol_length;
        size_t length = 0;

        if (!byte_cursor_u16(&extension, &list_length) || list_length != extension.left || list_length == 0)
                return CLIENT_HELLO_MALFORMED;
        while (extension.left > 0) {
                if (!byte_cursor_u8(&extension, &protocol_length) || protocol_length == 0 ||
                    !byte_cursor_take(&extension, protocol_length, &protocol))
                        return CLIENT_HELLO_MALFORMED;
                if (length > 0)
                        append_printable(ret, &length, ',');
                /* A comma within a name must not look like two names. */
                for (size_t i = 0; i < protocol.left; i++)
                        append_printable(ret, &length, protocol.next[i] == ',' ? '?' : protocol.next[i]);
        }
        return CLIENT_HELLO_OK;
}

static enum client_hello_status parse_extension(uint16_t type, struct byte_cursor data, bool last,
                                                struct client_hello *ret)
{
        switch (type) {
        case EXTENSION_SERVER_NAME:
                return parse_server_name(data, &ret->server_name);
        case EXTENSION_ALPN:
                return parse_alpn(data, ret->alpn);
        case EXTENSION_ENCRYPTED_HELLO:
                ret->ech = true;
                return CLIENT_HELLO_OK;
        case EXTENSION_PRE_SHARED_KEY:
                return last ? CLIENT_HELLO_OK : CLIENT_HELLO_MALFORMED;
        default:
                return CLIENT_HELLO_OK;
        }
}

/* A bit for every type, so that the check for duplicates does not depend on how many extensions a client sends. */
static bool was_seen(uint64_t seen[1024], uint16_t type)
{
        uint64_t bit = (uint64_t)1 << (type % 64);
        bool before = (seen[type / 64] & bit) != 0;

        seen[type / 64] |= bit;
        return before;
}

static enum client_hello_status parse_extensions(struct byte_cursor extensions, struct client_hello *ret)
{
        uint64_t seen[1024] = { 0 };
        struct byte_cursor data;
        uint16_t type, length;

        while (extensions.left > 0) {
                if (!byte_cursor_u16(&extensions, &type) || !byte_cursor_u16(&extensions, &length) ||
                    !byte_cursor_take(&extensions, length, &data) || was_seen(seen, type))
                        return CLIENT_HELLO_MALFORMED;
                enum client_hello_status status = parse_extension(type, data, extensions.left == 0, ret);
                if (status != CLIENT_HELLO_OK)
                        return status;
        }
        return CLIENT_HELLO_OK;
}

/* Everything before the extensions; the null compression method must be offered (RFC 5246 7.4.1.2, RFC 8446 4.1.2). */
static bool skip_fixed_part(struct byte_cursor *message)
{
        struct byte_cursor compression;
        uint8_t major, minor, session_id_length, compression_length;
        uint16_t cipher_suites_length;

        return byte_cursor_u8(message, &major) && byte_cursor_u8(message, &minor) && major == TLS_MAJOR &&
               byte_cursor_skip(message, RANDOM_SIZE) && byte_cursor_u8(message, &session_id_length) &&
               session_id_length <= SESSION_ID_MAX && byte_cursor_skip(message, session_id_length) &&
               byte_cursor_u16(message, &cipher_suites_length) && cipher_suites_length >= 2 &&
               cipher_suites_length % 2 == 0 && byte_cursor_skip(message, cipher_suites_length) &&
               byte_cursor_u8(message, &compression_length) && compression_length >= 1 &&
               byte_cursor_take(message, compression_length, &compression) &&
               memchr(compression.next, 0, compression.left) != NULL;
}

static enum client_hello_status parse_message(const uint8_t *bytes, size_t length, struct client_hello *ret)
{
        struct byte_cursor message = byte_cursor_from(bytes, length);
        uint16_t extensions_length;

        if (!byte_cursor_skip(&message, MESSAGE_HEADER_SIZE) || !skip_fixed_part(&message))
                return CLIENT_HELLO_MALFORMED;
        if (message.left == 0)
                return CLIENT_HELLO_OK;
        if (!byte_cursor_u16(&message, &extensions_length) || extensions_length != message.left)
                return CLIENT_HELLO_MALFORMED;
        return parse_extensions(message, ret);
}

/* Not inlined, so that only a hello in several records takes this much stack. */
__attribute__((noinline)) static enum client_hello_status parse_in_pieces(struct byte_cursor input, size_t records,
                                                                          struct client_hello *ret)
{
        uint8_t message[CLIENT_HELLO_MAX_BYTES];
        size_t length = 0;

        for (size_t i = 0; i < records; i++) {
                struct byte_cursor payload;
                uint16_t payload_length;

                if (!byte_cursor_skip(&input, 3) || !byte_cursor_u16(&input, &payload_length) ||
                    !byte_cursor_take(&input, payload_length, &payload) || payload.left > sizeof(message) - length)
                        return CLIENT_HELLO_MALFORMED;
                memcpy(message + length, payload.next, payload.left);
                length += payload.left;
        }
        return parse_message(message, length, ret);
}

enum client_hello_status client_hello_parse(const void *bytes, size_t length, struct client_hello *ret,
                                            size_t *ret_needed)
{
        struct assembly assembly = { .input = byte_cursor_from(bytes, length), .wanted = MESSAGE_HEADER_SIZE };
        struct client_hello hello = { 0 };
        const uint8_t *input = bytes;

        if (length == 0) {
                *ret_needed = 1;
                return CLIENT_HELLO_NEED_MORE;
        }
        if (input[0] != RECORD_TYPE_HANDSHAKE)
                return CLIENT_HELLO_NOT_TLS;
        enum client_hello_status status = assemble(&assembly, length, ret_needed);
        if (status != CLIENT_HELLO_OK)
                return status;
        hello.length = length - assembly.input.left;
        if (assembly.records == 1)
                status = parse_message(input + RECORD_HEADER_SIZE, assembly.seen, &hello);
        else
                status = parse_in_pieces(byte_cursor_from(bytes, hello.length), assembly.records, &hello);
        if (status == CLIENT_HELLO_OK)
                *ret = hello;
        return status;
}

enum client_hello_status client_hello_parse_message(const void *bytes, size_t length, struct client_hello *ret,
                                                    size_t *ret_needed)
{
        struct byte_cursor input = byte_cursor_from(bytes, length);
        struct client_hello hello = { 0 };
        uint32_t header;

        if (length > 0 && input.next[0] != MESSAGE_TYPE_CLIENT_HELLO)
                return CLIENT_HELLO_MALFORMED;
        if (!byte_cursor_u32(&input, &header)) {
                *ret_needed = MESSAGE_HEADER_SIZE;
                return CLIENT_HELLO_NEED_MORE;
        }
        hello.length = MESSAGE_HEADER_SIZE + (size_t)(header & 0xffffff);
        if (hello.length > CLIENT_HELLO_MAX_BYTES)
                return CLIENT_HELLO_TOO_LARGE;
        if (length < hello.length) {
                *ret_needed = hello.length;
                return CLIENT_HELLO_NEED_MORE;
        }
        if (length > hello.length)
                return CLIENT_HELLO_MALFORMED;
        enum client_hello_status status = parse_message(bytes, length, &hello);
        if (status == CLIENT_HELLO_OK)
                *ret = hello;
        return status;
}
