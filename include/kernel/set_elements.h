/*
 * Single elements of the sets in the daemon's own table of family inet (libnftnl): addresses with a timeout, put there over
 * netlink in batches. libnftables would read the whole table for each change. Needs CAP_NET_ADMIN.
 *
 * One object belongs to one thread; several objects may work on the same sets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/net_address.h"

#define SET_ELEMENTS_NAME_SIZE 160              /* of tables and sets, with NUL; the kernel would take 256 */
#define SET_ELEMENTS_COMMENT_MAX 128            /* bytes; nft(8) shows no longer one */
#define SET_ELEMENTS_PER_TRANSACTION 256        /* what surely fits into one message to the kernel */
#define SET_ELEMENTS_DUMP_MAX_BYTES (64u << 20) /* as the kernel sends them: 300,000 elements or more */

struct set_elements;

struct set_element {
        const char *
                set; /* borrowed; a set of `type ipv4_addr` or `type ipv6_addr`, as the address is, with `flags timeout` */
        struct net_address address;
        uint64_t timeout_ms;
        const char *comment; /* borrowed; NULL: none */
};

/* table is copied. Returns 0, -ENAMETOOLONG or -errno. */
MUST_CHECK int set_elements_new(const char *table, struct set_elements **ret);

/* Takes NULL. */
void set_elements_free(struct set_elements *self);

/*
 * Adds elements and renews those that are there: each has its whole timeout from now on. When this returns the kernel has
 * them. Up to SET_ELEMENTS_PER_TRANSACTION are one transaction, of which all or nothing happens; more are several, in order.
 * An element that is there is found by every lookup meanwhile; it may keep the comment that it had.
 *
 * Before Linux 6.12 an element's timeout cannot be changed: it is replaced within the transaction, and a lookup that runs on
 * another processor in the instant of the commit may miss it (fixed in the kernel by 6.17). Renew well before the end.
 *
 * timeout_ms must not be 0 (-EINVAL); comments are cut to SET_ELEMENTS_COMMENT_MAX. Returns 0, or -Exxx with the index of the
 * first element that was refused in *reterr_index (count: not about one element): -ENOENT: there is no such set or table,
 * -EINVAL: the set is of another type, -ENFILE: the set is full, -EAGAIN: the kernel did not answer.
 */
MUST_CHECK int set_elements_put(struct set_elements *self, const struct set_element *elements, size_t count,
                                size_t *reterr_index);

/*
 * Removes elements, as set_elements_put in its arguments, transactions and errors. Those that are not there do no harm; a set
 * has to have room for one of them.
 */
MUST_CHECK int set_elements_remove(struct set_elements *self, const struct set_element *elements, size_t count,
                                   size_t *reterr_index);

/* element: timeout_ms is what remains, 0 if it has no end; a comment of "" is none. Everything is valid during the call. */
typedef void (*set_elements_element_fn)(const struct set_element *element, void *context);

/*
 * Calls back for each element of a set of addresses after all were read (elements that are no single address are passed
 * over). In the moments in which the kernel rearranges a set that has just grown, one may be told twice or left out; nothing
 * shows that. Returns 0, -ENOENT: no such set or table, -E2BIG: more than SET_ELEMENTS_DUMP_MAX_BYTES, -EBUSY: the sets
 * changed at each of several attempts to read them; or -errno. No element has been told of then, unless it is
 * -ENOMEM.
 */
MUST_CHECK int set_elements_dump(const struct set_elements *self, const char *set, set_elements_element_fn on_element,
                                 void *context);
