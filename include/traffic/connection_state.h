/*
 * What a connection is made of, and what its files need of each other: connection.c goes on with the client's bytes,
 * connection_relay.c with what the origin answers, connection_life.c has states, deadlines and the end,
 * connection_reload.c judges anew, connection_state.c notes what became known and tells it in a record.
 */
#pragma once

#include <event2/buffer.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inspect/handshake_watch.h"
#include "inspect/inspect.h"
#include "net/http_exchange.h"
#include "net/relay.h"
#include "net/resolver.h"
#include "net/snat_pool.h"
#include "net/upstream.h"
#include "policy/policy.h"
#include "records/decision.h"
#include "traffic/connection.h"

enum connection_state {
        CONNECTION_INSPECTING = 0, /* waiting for a hello or a request head */
        CONNECTION_RESOLVING,
        CONNECTION_CONNECTING,
        CONNECTION_RELAYING,
        CONNECTION_REFUSING, /* told why, or its last response; reading until the client has seen it */
        CONNECTION_CLOSED,
};

/* Held until the connection is a blind relay, and for as long as it speaks HTTP. */
struct connection_setup {
        struct evbuffer *input; /* client bytes not yet judged or passed on */
        size_t needed;          /* bytes of input at which inspecting can say more */
        struct event readable;
        struct event deadline;
        struct http_request request; /* the attempt's, when it speaks HTTP */
        size_t hello_length;         /* bytes of input that the judged hello takes, when it speaks TLS */
};

/* The part of a policy_verdict that outlives deciding; the pointers live as long as the generation. */
struct connection_verdict {
        enum policy_action action;
        enum reason reason;
        bool by_network_rule;
        const char *feature;
        const char *rule_file;
        unsigned rule_line;
};

/* The origin's side, which may serve several HTTP requests. */
struct connection_upstream {
        int fd; /* -1: none */
        struct snat_lease lease;
        struct fqdn name;             /* whom it was connected for */
        struct net_endpoint endpoint; /* where it is connected to */
        struct net_endpoint source;   /* our address and port there */
        uint64_t generation_number;   /* of the policy that let it be connected to, from that source */
};

struct connection {
        struct connection *next; /* in traffic->connections */
        struct connection *previous;
        struct traffic *traffic;              /* borrowed: the worker's, outlives every connection */
        struct generation *generation;        /* reference held */
        const struct policy_cluster *cluster; /* borrowed from generation; NULL: unknown source */
        struct connection_setup *setup;
        struct resolver_query *query;        /* RESOLVING */
        struct upstream_connect *connecting; /* CONNECTING */
        struct relay *relay;                 /* RELAYING, blind */
        struct http_exchange *exchange;      /* RELAYING, HTTP */
        char *hint;                          /* NULL: none */
        char *alpn;                          /* NULL: none */
        uint64_t id;
        uint64_t started_ms;
        uint64_t bytes_out;
        uint64_t bytes_in;
        size_t lingered_bytes; /* REFUSING: read and dropped */
        int client_fd;
        enum connection_state state;
        enum decision_listener listener;
        enum inspect_protocol speaks; /* how a refusal can be told */
        bool tunnel;                  /* CONNECT was answered with 200 */
        bool dial_at_once;            /* by a network rule, to the original address */
        bool decided;                 /* asked and verdict are true */
        bool concluded; /* the attempt's record is written; in INSPECTING: waiting for a further request */
        bool has_tls;
        bool ech;
        struct connection_verdict verdict;
        struct connection_upstream upstream;
        struct net_endpoint client;
        struct net_endpoint original;    /* AF_UNSPEC on the proxy listener */
        struct net_endpoint destination; /* the attempt's: connected to, or tried last */
        struct net_endpoint snat;
        struct handshake_watch watch;
        struct policy_request asked;
};

/* Notes who was asked for and how (protocol, name, alpn, ech); ports and addresses are the caller's. */
void connection_state_note_name(struct connection *c, const struct inspect_result *result);

/* Notes what a hello says of itself, not its name. */
void connection_state_note_hello(struct connection *c, const struct client_hello *hello);

/* Notes what the policy said; the attempt is decided from here on. */
void connection_state_note_verdict(struct connection *c, const struct policy_verdict *verdict);

/* Notes a hint (copied; "" is none; out of memory loses it). */
void connection_state_note_hint(struct connection *c, const char *hint);

/* Notes as hint that the hello asks for another server than the attempt does. */
void connection_state_note_foreign_name(struct connection *c, const struct fqdn *name);

/* Writes the id that the record and the refusal share. */
void connection_state_id(const struct connection *c, char id[DECISION_ID_SIZE]);

/* Fills the attempt's record. */
void connection_state_describe(const struct connection *c, enum reason reason, struct decision *ret);

/* connection_life.c: states, deadlines, the end. */

/* Makes a connection and begins its first attempt, without a state yet; NULL: out of memory, client_fd stays the caller's. */
struct connection *connection_new(struct traffic *traffic, int client_fd, enum decision_listener listener,
                                  const struct net_endpoint *client, const struct net_endpoint *original);

/* The one place that changes the state, what is listened for, and the deadline. */
void connection_enter(struct connection *c, enum connection_state state);

/* A new attempt: forgets what the last request on this connection asked and stands on the newest generation. */
void connection_begin_attempt(struct connection *c);

/* Closes the origin's side and gives its SNAT port back. */
void connection_drop_upstream(struct connection *c);

/* Writes that the attempt begins to move bytes, where a sink wants to know; its record follows when it ends. */
void connection_record_start(const struct connection *c);

/* Writes the attempt's record, once. */
void connection_conclude(struct connection *c, enum reason reason);

/* Tells the client why, as far as it can be told, and ends the connection. */
void connection_refuse(struct connection *c, enum reason reason);

/*
 * Ends a connection in which the client was told its last and may still be sending: it has some time to read that. The
 * attempt must have a setup.
 */
void connection_close_gently(struct connection *c, enum reason reason);

/* Ends a connection with an HTTP client that has its last response: gently when that has sent more than it was read. */
void connection_close_answered(struct connection *c);

/* REFUSING: count bytes came (or 0, the end; or -1 with errno), which are dropped. */
void connection_linger(struct connection *c, ssize_t count);

/* The one place where a connection ends: records the attempt if that was not done, frees everything. */
void connection_close(struct connection *c, enum reason reason);

/* Closes a client's socket so that it sees a reset, not an orderly end. */
void connection_reset_socket(int fd);

/* Takes NULL. */
void connection_setup_free(struct connection_setup *setup);

/*
 * connection_reload.c: judges a connection that was connecting during a reload by the newest policy, when it is connected.
 * Returns whether it goes on; if not, it has ended.
 */
bool connection_catch_up(struct connection *c);

/* connection.c: what follows on bytes. */

/* Reads and goes on; the event callback while the connection's own socket is listened to. */
void connection_on_client_readable(evutil_socket_t fd, short what, void *context);

/* Judges the client's bytes so far and goes on from there; may end the connection. */
void connection_inspect(struct connection *c);
