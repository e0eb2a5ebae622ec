/*
 * HTTP/1 request heads, strictly (RFC 9112): what could be read in two ways is an error, never a guess. Pure.
 * Refused among others: two Hosts, obs-fold, bare LF or CR, white space before a colon, Content-Length with
 * Transfer-Encoding, unequal Content-Lengths, a coding other than chunked, userinfo or odd bytes in an authority,
 * an absolute-form target whose authority differs from Host, HTTP versions other than 1.0 and 1.1, NUL anywhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"

#define HTTP_REQUEST_MAX_BYTES 65536

enum http_request_status {
        HTTP_REQUEST_OK = 0,
        HTTP_REQUEST_NEED_MORE,
        HTTP_REQUEST_NOT_HTTP,  /* the first bytes cannot start a request line (no token followed by a space) */
        HTTP_REQUEST_MALFORMED,
        HTTP_REQUEST_BAD_HOST,  /* Host or target authority missing, or neither a name nor an address */
        HTTP_REQUEST_TOO_LARGE,
};

enum http_request_form {
        HTTP_REQUEST_ORIGIN = 0, /* GET /path, and OPTIONS * */
        HTTP_REQUEST_ABSOLUTE,   /* GET http://host/path */
        HTTP_REQUEST_CONNECT,    /* CONNECT host:port */
};

enum http_body {
        HTTP_BODY_NONE = 0,
        HTTP_BODY_LENGTH,      /* body_length bytes */
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
        bool head_method;           /* HEAD: its response has no body */
        bool keep_alive;            /* HTTP/1.1 without Connection: close (HTTP/1.0: always false) */
        bool upgrade;               /* Connection: upgrade and an Upgrade field */
        bool expect_continue;       /* Expect: 100-continue */
        size_t length;              /* bytes of the head, final CRLF CRLF included */
};

/* Writes *ret only on OK. *ret_needed as in client_hello_parse (length + 1 is a fine answer for a text protocol). */
enum http_request_status http_request_parse(const void *bytes, size_t length, struct http_request *ret,
                                            size_t *ret_needed);

/*
 * Writes the head as it goes to the origin: origin-form target, Host in canonical form, hop-by-hop fields
 * (Proxy-Connection, Proxy-Authorization, Connection and the fields it names, Keep-Alive, TE, Trailer is kept) removed,
 * "Connection: upgrade"/"Upgrade" kept when request->upgrade; everything else byte for byte and in order.
 * bytes must be the head that gave *request.
 *
 * Returns the length written, or 0 when size is too small: request->length + 512 always suffices.
 */
size_t http_request_format_upstream(const void *bytes, const struct http_request *request, char *buffer, size_t size);
