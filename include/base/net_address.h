/* IPv4 and IPv6 addresses, endpoints, prefixes and what kind of place an address is. Values; nothing here allocates. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/compiler.h"

#define NET_ADDRESS_TEXT_SIZE 46  /* INET6_ADDRSTRLEN */
#define NET_ENDPOINT_TEXT_SIZE 54 /* "[" address "]:65535" NUL */
#define NET_PREFIX_TEXT_SIZE 50   /* address "/128" NUL */

struct net_address {
        uint8_t family;    /* AF_INET, AF_INET6, or AF_UNSPEC: no address */
        uint8_t bytes[16]; /* network order; IPv4 in the first four, the rest zero */
};

struct net_endpoint {
        struct net_address address;
        uint16_t port; /* host order */
};

struct net_prefix {
        struct net_address address; /* bits past length are zero */
        uint8_t length;             /* bits */
};

/* What an address is, as far as a firewall must know it before dialling. */
enum net_address_class {
        NET_ADDRESS_PUBLIC = 0,
        NET_ADDRESS_UNSPECIFIED,    /* 0.0.0.0/8, :: */
        NET_ADDRESS_LOOPBACK,       /* 127.0.0.0/8, ::1 */
        NET_ADDRESS_LINK_LOCAL,     /* 169.254.0.0/16, fe80::/10 */
        NET_ADDRESS_MULTICAST,      /* 224.0.0.0/4, ff00::/8 */
        NET_ADDRESS_PRIVATE,        /* RFC 1918, fc00::/7, fec0::/10 */
        NET_ADDRESS_CGNAT,          /* 100.64.0.0/10, RFC 6598 */
        NET_ADDRESS_RESERVED,       /* 240.0.0.0/4, 192.0.0.0/24, 100::/64 discard */
        NET_ADDRESS_EMBEDDED_IPV4,  /* mapped and compatible, NAT64 (RFC 6052, 8215), 6to4, Teredo */
        NET_ADDRESS_AZURE_PLATFORM, /* 168.63.129.16 (wire server), 169.254.169.254 (instance metadata) */
        NET_ADDRESS_CLASS_COUNT,    /* must be last */
};

/* Parses an address that need not end in NUL. Only dotted-quad IPv4 is IPv4. Returns 0 or -EINVAL; *ret untouched then. */
MUST_CHECK int net_address_parse(const char *text, size_t length, struct net_address *ret);

/* "address:port", "[v6]:port", or an address alone, which gets default_port. Returns 0 or -EINVAL; *ret untouched then. */
MUST_CHECK int net_endpoint_parse(const char *text, uint16_t default_port, struct net_endpoint *ret);

/* "address/length" or an address alone. -EINVAL: not a prefix; -EDOM: bits set past the length (10.0.0.1/8). */
MUST_CHECK int net_prefix_parse(const char *text, size_t length, struct net_prefix *ret);

/* Each writes its text and returns buffer. AF_UNSPEC becomes "". */
const char *net_address_format(const struct net_address *address, char buffer[NET_ADDRESS_TEXT_SIZE]);
const char *net_endpoint_format(const struct net_endpoint *endpoint, char buffer[NET_ENDPOINT_TEXT_SIZE]);
const char *net_prefix_format(const struct net_prefix *prefix, char buffer[NET_PREFIX_TEXT_SIZE]);

/* IPv4-mapped IPv6 (what a dual-stack socket reports) becomes IPv4. Other families give AF_UNSPEC. */
struct net_endpoint net_endpoint_from_sockaddr(const struct sockaddr_storage *socket_address);

/* Returns the length to pass to bind() or connect(). The address must be AF_INET or AF_INET6. */
socklen_t net_endpoint_to_sockaddr(const struct net_endpoint *endpoint, struct sockaddr_storage *ret);

bool net_address_equal(const struct net_address *a, const struct net_address *b);
bool net_endpoint_equal(const struct net_endpoint *a, const struct net_endpoint *b);
bool net_prefix_contains(const struct net_prefix *prefix, const struct net_address *address);

/* memcmp-like order: family, then bytes. */
int net_address_compare(const struct net_address *a, const struct net_address *b);

/* The address after this one in its family; false at the last address, *address untouched then. */
bool net_address_increment(struct net_address *address);

enum net_address_class net_address_classify(const struct net_address *address);

/* The prefixes that are not public, index from 0 to count - 1, and what they are; an earlier one is an exception in a later. */
size_t net_address_special_count(void);
enum net_address_class net_address_special(size_t index, struct net_prefix *ret_prefix);

/* "loopback", "private", …: for records and hints. */
const char *net_address_class_name(enum net_address_class class);
