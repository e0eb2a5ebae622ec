/*
 * Watches a TLS handshake after its first ClientHello went through, until it is certain that no second hello can follow,
 * or that the second one (after a HelloRetryRequest, RFC 8446 4.1.4) names the same server. Pure.
 *
 * Client side: until the server's answer is known only application_data (early data), change_cipher_spec and alert
 * records may pass; a handshake record waits. Server side: passes everything, reads its first ServerHello as it goes by,
 * over whatever records that comes in. A server that answers with anything else (an alert, not TLS) ends the watch:
 * there is nothing to retry.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "policy/reason.h"

#define HANDSHAKE_WATCH_RECORD_HEADER 5
#define HANDSHAKE_WATCH_SERVER_HEAD 38 /* handshake header 4, version 2, random 32 */

enum handshake_watch_phase {
        HANDSHAKE_WATCH_SERVER_UNKNOWN = 0, /* the server has not answered */
        HANDSHAKE_WATCH_SECOND_HELLO,       /* it asked for another hello */
        HANDSHAKE_WATCH_DONE,               /* nothing left to watch: relay blindly */
};

/* A value inside its connection; no freeing. All but phase is private. */
struct handshake_watch {
        enum handshake_watch_phase phase;
        uint8_t server_record[HANDSHAKE_WATCH_RECORD_HEADER]; /* the header of the server's current record */
        uint8_t server_record_length;                         /* bytes of it that came */
        uint16_t server_record_left;                          /* bytes of its payload still to come */
        uint8_t server_head[HANDSHAKE_WATCH_SERVER_HEAD];     /* the start of the server's first message */
        uint8_t server_head_length;
        size_t client_record_left; /* bytes of an already judged client record still to pass */
};

void handshake_watch_start(struct handshake_watch *watch);

/* Bytes that the server sent, in order; all of them may be passed on. May move the phase. */
void handshake_watch_server_bytes(struct handshake_watch *watch, const void *bytes, size_t length);

enum handshake_watch_status {
        HANDSHAKE_WATCH_PASS = 0, /* the first *ret_pass bytes may be sent on (0: wait for more, or for the server) */
        HANDSHAKE_WATCH_REFUSE,   /* *ret_reason says why: SERVER_NAME_CHANGED, BAD_CLIENT_HELLO, … */
};

/*
 * Judges the client's next bytes, which start right after those passed before. Call again with the rest (and whatever came)
 * after sending those passed: all *ret_pass bytes count as sent. *ret_needed: with fewer bytes than this after those
 * passed, and no news from the server, no call passes any more (SIZE_MAX: only the server can change that).
 * first_name is the name in the first hello (empty: it had none). The hello may take CLIENT_HELLO_MAX_BYTES.
 */
MUST_CHECK enum handshake_watch_status handshake_watch_client_bytes(struct handshake_watch *watch,
                                                                    const struct fqdn *first_name, const void *bytes,
                                                                    size_t length, size_t *ret_pass, size_t *ret_needed,
                                                                    enum reason *ret_reason);
