/*
 * Asks DNS servers: one question, one answer, nothing remembered. The only file that knows c-ares. Questions of a forward
 * zone go to that zone's servers (the longest zone wins), all others to the default ones. Truncated answers are asked
 * again over TCP, silent and failing servers give way to the next one. One thread (its event_base's) uses it.
 */
#pragma once

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "policy/config.h"

#define DNS_CLIENT_MAX_ADDRESSES 32    /* of one answer; more are dropped */
#define DNS_CLIENT_MAX_QUESTIONS 10000 /* in flight */

struct dns_client;

enum dns_client_status {
        DNS_CLIENT_OK = 0,    /* at least one address */
        DNS_CLIENT_NOT_FOUND, /* NXDOMAIN, or no record of the type */
        DNS_CLIENT_FAILED,    /* SERVFAIL, REFUSED, malformed, no server reachable, out of memory, too many questions */
        DNS_CLIENT_TIMED_OUT,
};

struct dns_client_answer {
        enum dns_client_status status;
        uint32_t ttl_s; /* of OK and NOT_FOUND: the least of the records', of a CNAME chain too; RFC 2308 5 */
        size_t address_count;
        struct net_address addresses[DNS_CLIENT_MAX_ADDRESSES]; /* as received */
};

/* The answer is valid until the callback returns. */
typedef void (*dns_client_fn)(const struct dns_client_answer *answer, void *context);

/* Servers, forward_zones and timeout are copied. Returns 0, -ENOMEM, or -EINVAL when c-ares refuses the servers. */
MUST_CHECK int dns_client_new(struct event_base *base, const struct config *config, struct dns_client **ret);

/* Questions in flight end without a callback. Not from a callback of this client. Takes NULL. */
void dns_client_free(struct dns_client *client);

/*
 * New questions go to the other configuration's servers; those in flight end as they were asked. Returns 0 or -Exxx
 * (nothing changed).
 */
MUST_CHECK int dns_client_reconfigure(struct dns_client *client, const struct config *config);

/*
 * Asks for the A (AF_INET) or AAAA (AF_INET6) records of a name. The callback runs once, later, never inside this call,
 * at the latest about the configured timeout later. A question cannot be taken back. Returns 0 or -ENOMEM (no callback).
 */
MUST_CHECK int dns_client_ask(struct dns_client *client, const struct fqdn *name, int family, dns_client_fn on_answer,
                              void *context);

/* What a server answered to a question of any type, or why there is nothing. */
struct dns_client_message {
        enum dns_client_status
                status;       /* OK: bytes are there, of whatever rcode; NOT_FOUND: never asked (.onion, RFC 7686) */
        const uint8_t *bytes; /* as received, up to 65,535 of them: to be parsed with suspicion. NULL unless OK. */
        size_t length;
};

/* The message is valid until the callback returns. */
typedef void (*dns_client_message_fn)(const struct dns_client_message *message, void *context);

enum dns_client_flag {
        DNS_CLIENT_DNSSEC_OK = 1 << 0,         /* DO: with signatures */
        DNS_CLIENT_CHECKING_DISABLED = 1 << 1, /* CD: as the servers have it, checked or not */
};

/*
 * Asks for the records of any type, with flags of enum dns_client_flag. Servers, limits, callback and result are as those of
 * dns_client_ask. c-ares compares id, question and server's address of what arrives, and tries the next server on SERVFAIL,
 * NOTIMP and REFUSED, which end as FAILED.
 */
MUST_CHECK int dns_client_ask_message(struct dns_client *client, const struct fqdn *name, uint16_t type, unsigned flags,
                                      dns_client_message_fn on_message, void *context);

/* How many questions were given to the network since the start. */
size_t dns_client_asked_count(const struct dns_client *client);
