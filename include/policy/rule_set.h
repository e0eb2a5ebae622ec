/*
 * Rules made ready for look-up: names and prefixes of many rules, each with the protocols and ports it is for and the place
 * it comes from. Built by one thread, then read by any number. A look-up does not get slower with the number of rules.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/fqdn.h"
#include "base/net_address.h"
#include "policy/policy_protocol.h"
#include "policy/rule.h"
#include "policy/service_tags.h"

#define RULE_SET_MAX_SERVICES 65535 /* different pairs of protocol and ports in a set */
#define RULE_SET_MAX_ORIGINS 65535

struct rule_set;

/* Where rules come from; both texts are borrowed and outlive the set. */
struct rule_origin {
        const char *feature; /* NULL: a list that clusters share, named by how they use it */
        const char *file;
};

/* Returns NULL when out of memory. rule_set_free takes NULL. */
struct rule_set *rule_set_new(void);
void rule_set_free(struct rule_set *set);

/* From now on a rule that is there already is added once more, after the earlier ones. */
void rule_set_keep_duplicates(struct rule_set *set);

/* Borrowed, and to be finished before the first look-up. NULL: none, which is how a set begins. */
void rule_set_use_tags(struct rule_set *set, struct service_tags *tags);

/* Notes an origin for rule_set_add. Returns 0; -E2BIG: too many; -ENOMEM. */
MUST_CHECK int rule_set_add_origin(struct rule_set *set, const struct rule_origin *origin, uint16_t *ret);

/*
 * Adds a rule; one that is there already (same destination, protocol and ports) keeps its first place. For a service tag,
 * the set must have been told of a file of them with rule_set_use_tags.
 *
 * Returns 0; -E2BIG: too many shapes of names (see name_set_add) or different port lists; -EOVERFLOW: set full; -ENOENT: no
 * such service tag; -ENOMEM.
 */
MUST_CHECK int rule_set_add(struct rule_set *set, const struct rule_filled *rule, uint16_t origin, unsigned line);

/* What is looked for. */
struct rule_query {
        unsigned protocols;                /* bit (1 << POLICY_PROTOCOL_…) for each that counts */
        uint16_t port;                     /* 0: any */
        const struct fqdn *name;           /* NULL or empty: only by address */
        const struct net_address *address; /* NULL or AF_UNSPEC: only by name */
};

/* How a rule was found, the one that says most about what a client wants first. */
enum rule_match_kind {
        RULE_MATCH_NAME = 0,
        RULE_MATCH_PREFIX,
        RULE_MATCH_TAG,
};

/* A rule that was found; borrowed from the set. */
struct rule_match {
        const struct rule_set *set; /* NULL: nothing found yet */
        uint32_t record;
        uint32_t entry; /* of the name or of the prefix, or the number of the tag */
        enum rule_match_kind kind;
        unsigned specificity;
};

/*
 * Looks for the most specific rule that fits, by name or else by prefix or else by service tag, and puts it into *match when it is more
 * specific than what *match holds. Returns whether *match changed.
 */
bool rule_set_match(const struct rule_set *set, const struct rule_query *query, struct rule_match *match);

/* Whether a rule of the protocols is about names below this one ("*.name"). Puts the first into *match. */
bool rule_set_match_below(const struct rule_set *set, const struct rule_query *query, struct rule_match *match);

/* Calls back for each rule that fits, the most specific first, until the callback returns false. A tag's rule may come several times. */
typedef bool (*rule_set_match_fn)(const struct rule_match *match, void *context);
void rule_set_each_match(const struct rule_set *set, const struct rule_query *query, rule_set_match_fn on_match,
                         void *context);

/*
 * Calls back for every rule whose protocol is one of those bits, until the callback returns false: names, then prefixes,
 * then tags, each in the order they came.
 */
void rule_set_each(const struct rule_set *set, unsigned protocols, rule_set_match_fn on_rule, void *context);

/* The pattern of a RULE_MATCH_NAME; returns its length. */
size_t rule_match_pattern(const struct rule_match *match, char pattern[FQDN_MAX_LENGTH + 1]);

/* Calls back for each prefix of a RULE_MATCH_PREFIX or RULE_MATCH_TAG. */
typedef void (*rule_match_prefix_fn)(const struct net_prefix *prefix, void *context);
void rule_match_each_prefix(const struct rule_match *match, rule_match_prefix_fn on_prefix, void *context);

struct rule_origin rule_match_origin(const struct rule_match *match);
unsigned rule_match_line(const struct rule_match *match);
enum policy_protocol rule_match_protocol(const struct rule_match *match);
const struct port_set *rule_match_ports(const struct rule_match *match);

/* Writes the canonical text, "https *.example.com:443", cut at size - 1 bytes. */
void rule_match_format(const struct rule_match *match, char *buffer, size_t size);

/* Sets bit p (ports[p / 8] >> p % 8) for each port of an https or http rule. */
void rule_set_note_application_ports(const struct rule_set *set, uint8_t ports[8192]);

size_t rule_set_count(const struct rule_set *set);

/* To be called when the set is complete: gives back what growing left over. Out of memory changes nothing. */
void rule_set_trim(struct rule_set *set);
