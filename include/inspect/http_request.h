/*
 * HTTP/1 request heads, strictly (RFC 9112): what could be read in two ways is an error, never a guess. Pure.
 * Refused among others: two Hosts, obs-fold, bare LF or CR, white space before a colon, Content-Length with
 * Transfer-Encoding, a second Content-Length, a coding other than chunked or any in HTTP/1.0, userinfo or odd bytes in an
 * authority, an absolute-form target whose authority differs from Host, a scheme other than http, HTTP versions other than
 * 1.0 and 1.1, NUL anywhere, an empty line before the request line (RFC 9112 2.2 lets a server skip one: not here),
 * a CONNECT with a body, more than HTTP_HEAD_MAX_FIELDS fields.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"

#define HTTP_REQUEST_MAX_BYTES 65536
#define HTTP_REQUEST_MAX_METHOD 32   /* the longest registered one has 17 bytes (UPDATEREDIRECTREF) */
#define HTTP_REQUEST_FORMAT_ROOM 512 /* see http_request_format_upstream */

enum http_request_status {
        HTTP_REQUEST_OK = 0,
        HTTP_REQUEST_NEED_MORE,
        HTTP_REQUEST_NOT_HTTP, /* the first bytes cannot start a request line (no token followed by a space) */
        HTTP_REQUEST_MALFORMED,
        HTTP_REQUEST_BAD_HOST, /* Host or target authority missing, or neither a name nor an address */
        HTTP_REQUEST_TOO_LARGE,
};

enum http_request_form {
        HTTP_REQUEST_ORIGIN = 0, /* GET /path, and OPTIONS * */
        HTTP_REQUEST_ABSOLUTE,   /* GET http://host/path */
        HTTP_REQUEST_CONNECT,    /* CONNECT host:port */
};

enum http_body {
        HTTP_BODY_NONE = 0,
        HTTP_BODY_LENGTH, /* body_length bytes, at least one */
        HTTP_BODY_CHUNKED,
        HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

struct http_request {
        enum http_request_form form;
        struct fqdn name;           /* host; length 0 when it is an address */
        struct net_address address; /* host when it is an address literal */
        uint16_t port;              /* from the authority; 80 where none is written; CONNECT must write one */
        enum http_body body;
        uint64_t body_length;
        bool head_method;     /* HEAD: its response has no body */
        bool keep_alive;      /* HTTP/1.1 without Connection: close (HTTP/1.0: always false) */
        bool upgrade;         /* HTTP/1.1, Connection: upgrade without close, and Upgrade: websocket alone */
        bool expect_continue; /* Expect: 100-continue */
        size_t length;        /* bytes of the head, final CRLF CRLF included */
};

/*
 * Writes *ret only on OK. *ret_needed as in client_hello_parse.
 *
 * Only websocket is an upgrade: what follows it is one stream with the origin that was judged. h2c would carry further
 * requests to other names, so it is not one, and http_request_format_upstream drops it, which every client must expect.
 */
MUST_CHECK enum http_request_status http_request_parse(const void *bytes, size_t length, struct http_request *ret,
                                                       size_t *ret_needed);

/*
 * Writes the head as it goes to the origin: origin-form target, Host first and in canonical form (no port when 80),
 * hop-by-hop fields (Proxy-Connection, Proxy-Authorization, Proxy-Authenticate, Connection and the fields it names,
 * Keep-Alive, TE, Upgrade; Trailer is kept) removed, "Connection: upgrade" and "Upgrade: websocket" written when
 * request->upgrade, "Connection: close" when a 1.1 client wants no more than this answer; everything else byte for byte
 * and in order. bytes must be the head that gave *request, which is not a CONNECT.
 *
 * Returns the length written, or 0 when size is too small: request->length + HTTP_REQUEST_FORMAT_ROOM always suffices.
 */
size_t http_request_format_upstream(const void *bytes, const struct http_request *request, char *buffer, size_t size);
