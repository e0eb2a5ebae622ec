/*
 * TLS ClientHello: from the first bytes of a connection to the server name, strictly (RFC 8446 4.1.2, 5.1; RFC 6066 3).
 * Pure: no allocation, no socket. Any split over records is accepted, up to 64 KiB in all.
 *
 * Read strictly: empty records, other records before the hello is whole, bytes after it in its last record, a second
 * extension of any type, pre_shared_key not last, a hello that does not offer the null compression are MALFORMED.
 * Accepted: unknown extensions (GREASE), no extensions at all, a name with one trailing dot, which is the same name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"

#define CLIENT_HELLO_MAX_BYTES 65536 /* handshake message and record headers together */
#define CLIENT_HELLO_ALPN_SIZE 64    /* for the log; longer lists are cut */

enum client_hello_status {
        CLIENT_HELLO_OK = 0,
        CLIENT_HELLO_NEED_MORE,
        CLIENT_HELLO_NOT_TLS,   /* the first byte is not a handshake record of TLS (HTTP, SSLv2, anything) */
        CLIENT_HELLO_MALFORMED, /* lengths that do not fit, wrong types, a second server_name, an empty one, … */
        CLIENT_HELLO_BAD_NAME,  /* server_name there, and not one domain name (an address, NUL, two names, …) */
        CLIENT_HELLO_TOO_LARGE, /* said as soon as the announced lengths show it */
};

struct client_hello {
        struct fqdn server_name;           /* length 0: no server_name extension */
        char alpn[CLIENT_HELLO_ALPN_SIZE]; /* "h2,http/1.1"; bytes other than printable ASCII as '?'; "" for none */
        bool ech;                          /* encrypted_client_hello (0xfe0d) is there */
        size_t length;                     /* bytes of input that the hello, with its records if any, takes */
};

/*
 * Parses bytes[0..length). Writes *ret only on OK. On NEED_MORE *ret_needed (greater than length) is the smallest total
 * length that a hello which starts with these bytes can have: callers wait for that many, so that a hello sent byte by
 * byte, or in records of one byte, is not parsed from its start each time.
 */
MUST_CHECK enum client_hello_status client_hello_parse(const void *bytes, size_t length, struct client_hello *ret,
                                                       size_t *ret_needed);

/*
 * The same for a bare handshake message, as QUIC carries it (RFC 9001 4): no records around it, nothing behind it. Never
 * NOT_TLS.
 */
MUST_CHECK enum client_hello_status client_hello_parse_message(const void *bytes, size_t length,
                                                               struct client_hello *ret, size_t *ret_needed);
