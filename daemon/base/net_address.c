#include "base/net_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static size_t address_size(const struct net_address *address)
{
        return address->family == AF_INET ? 4 : 16;
}

int net_address_parse(const char *text, size_t length, struct net_address *ret)
{
        struct net_address address = { 0 };
        char buffer[NET_ADDRESS_TEXT_SIZE];

        if (length == 0 || length >= sizeof(buffer) || memchr(text, '\0', length) != NULL)
                return -EINVAL;
        memcpy(buffer, text, length);
        buffer[length] = '\0';
        address.family = memchr(text, ':', length) != NULL ? AF_INET6 : AF_INET;
        if (inet_pton(address.family, buffer, address.bytes) != 1)
                return -EINVAL;
        *ret = address;
        return 0;
}

/* Returns -1 unless text is digits only and at most maximum. */
static int parse_number(const char *text, size_t length, int maximum)
{
        int number = 0;

        if (length == 0 || length > 5 || (length > 1 && text[0] == '0'))
                return -1;
        for (size_t i = 0; i < length; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -1;
                number = number * 10 + (text[i] - '0');
        }
        return number <= maximum ? number : -1;
}

int net_endpoint_parse(const char *text, uint16_t default_port, struct net_endpoint *ret)
{
        struct net_endpoint endpoint = { .port = default_port };
        const char *port = NULL;
        size_t length = strlen(text);

        if (text[0] == '[') {
                const char *end = strchr(text, ']');
                if (end == NULL || (end[1] != '\0' && end[1] != ':'))
                        return -EINVAL;
                if (end[1] == ':')
                        port = end + 2;
                text++;
                length = (size_t)(end - text);
                if (memchr(text, ':', length) == NULL)
                        return -EINVAL;
        } else {
                const char *colon = strchr(text, ':');
                if (colon != NULL && strchr(colon + 1, ':') == NULL) {
                        port = colon + 1;
                        length = (size_t)(colon - text);
                }
        }
        if (port != NULL) {
                int number = parse_number(port, strlen(port), 65535);
                if (number <= 0)
                        return -EINVAL;
                endpoint.port = (uint16_t)number;
        }
        int r = net_address_parse(text, length, &endpoint.address);
        if (r < 0)
                return r;
        *ret = endpoint;
        return 0;
}

/* The mask byte at index for a prefix of length bits. */
static uint8_t mask_byte(uint8_t length, size_t index)
{
        size_t first_bit = index * 8;

        if (length >= first_bit + 8)
                return 0xff;
        if (length <= first_bit)
                return 0;
        return (uint8_t)(0xff00u >> (length - first_bit));
}

int net_prefix_parse(const char *text, size_t length, struct net_prefix *ret)
{
        struct net_prefix prefix;
        const char *slash = memchr(text, '/', length);
        size_t address_length = slash != NULL ? (size_t)(slash - text) : length;
        int bits;

        int r = net_address_parse(text, address_length, &prefix.address);
        if (r < 0)
                return r;
        bits = (int)address_size(&prefix.address) * 8;
        if (slash != NULL)
                bits = parse_number(slash + 1, length - address_length - 1, bits);
        if (bits < 0)
                return -EINVAL;
        prefix.length = (uint8_t)bits;
        for (size_t i = 0; i < address_size(&prefix.address); i++)
                if ((prefix.address.bytes[i] & ~mask_byte(prefix.length, i)) != 0)
                        return -EDOM;
        *ret = prefix;
        return 0;
}

const char *net_address_format(const struct net_address *address, char buffer[NET_ADDRESS_TEXT_SIZE])
{
        buffer[0] = '\0';
        if (address->family != AF_UNSPEC)
                (void)inet_ntop(address->family, address->bytes, buffer, NET_ADDRESS_TEXT_SIZE);
        return buffer;
}

const char *net_endpoint_format(const struct net_endpoint *endpoint, char buffer[NET_ENDPOINT_TEXT_SIZE])
{
        char address[NET_ADDRESS_TEXT_SIZE];
        bool brackets = endpoint->address.family == AF_INET6;

        snprintf(buffer, NET_ENDPOINT_TEXT_SIZE, "%s%s%s:%u", brackets ? "[" : "",
                 net_address_format(&endpoint->address, address), brackets ? "]" : "", (unsigned)endpoint->port);
        return buffer;
}

const char *net_prefix_format(const struct net_prefix *prefix, char buffer[NET_PREFIX_TEXT_SIZE])
{
        char address[NET_ADDRESS_TEXT_SIZE];

        snprintf(buffer, NET_PREFIX_TEXT_SIZE, "%s/%u", net_address_format(&prefix->address, address),
                 (unsigned)prefix->length);
        return buffer;
}

struct net_endpoint net_endpoint_from_sockaddr(const struct sockaddr_storage *socket_address)
{
        struct net_endpoint endpoint = { 0 };

        if (socket_address->ss_family == AF_INET) {
                const struct sockaddr_in *in = (const struct sockaddr_in *)socket_address;
                endpoint.address.family = AF_INET;
                memcpy(endpoint.address.bytes, &in->sin_addr, 4);
                endpoint.port = ntohs(in->sin_port);
        } else if (socket_address->ss_family == AF_INET6) {
                const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)socket_address;
                endpoint.port = ntohs(in6->sin6_port);
                if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
                        endpoint.address.family = AF_INET;
                        memcpy(endpoint.address.bytes, in6->sin6_addr.s6_addr + 12, 4);
                } else {
                        endpoint.address.family = AF_INET6;
                        memcpy(endpoint.address.bytes, &in6->sin6_addr, 16);
                }
        }
        return endpoint;
}

socklen_t net_endpoint_to_sockaddr(const struct net_endpoint *endpoint, struct sockaddr_storage *ret)
{
        memset(ret, 0, sizeof(*ret));
        if (endpoint->address.family == AF_INET) {
                struct sockaddr_in *in = (struct sockaddr_in *)ret;
                in->sin_family = AF_INET;
                in->sin_port = htons(endpoint->port);
                memcpy(&in->sin_addr, endpoint->address.bytes, 4);
                return sizeof(*in);
        }
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(endpoint->port);
        memcpy(&in6->sin6_addr, endpoint->address.bytes, 16);
        return sizeof(*in6);
}

bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
        return net_address_compare(a, b) == 0;
}

bool net_endpoint_equal(const struct net_endpoint *a, const struct net_endpoint *b)
{
        return a->port == b->port && net_address_equal(&a->address, &b->address);
}

int net_address_compare(const struct net_address *a, const struct net_address *b)
{
        if (a->family != b->family)
                return a->family < b->family ? -1 : 1;
        return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool net_prefix_contains(const struct net_prefix *prefix, const struct net_address *address)
{
        if (prefix->address.family != address->family)
                return false;
        for (size_t i = 0; i * 8 < prefix->length; i++)
                if ((address->bytes[i] & mask_byte(prefix->length, i)) != prefix->address.bytes[i])
                        return false;
        return true;
}

bool net_address_increment(struct net_address *address)
{
        struct net_address next = *address;

        for (size_t i = address_size(address); i-- > 0;) {
                next.bytes[i]++;
                if (next.bytes[i] != 0) {
                        *address = next;
                        return true;
                }
        }
        return false;
}

struct special_prefix {
        struct net_prefix prefix;
        enum net_address_class class;
};

#define V4(a, b, c, d, bits)                                                                                           \
        {                                                                                                              \
                { AF_INET, { a, b, c, d } }, bits                                                                      \
        }
#define V6(bits, ...)                                                                                                  \
        {                                                                                                              \
                { AF_INET6, { __VA_ARGS__ } }, bits                                                                    \
        }

/* First match wins, so an exception stands before the block it lies in. Source: IANA special-purpose registries. */
static const struct special_prefix special_prefixes[] = {
        { V4(168, 63, 129, 16, 32), NET_ADDRESS_AZURE_PLATFORM },
        { V4(169, 254, 169, 254, 32), NET_ADDRESS_AZURE_PLATFORM },
        { V4(0, 0, 0, 0, 8), NET_ADDRESS_UNSPECIFIED },
        { V4(127, 0, 0, 0, 8), NET_ADDRESS_LOOPBACK },
        { V4(169, 254, 0, 0, 16), NET_ADDRESS_LINK_LOCAL },
        { V4(10, 0, 0, 0, 8), NET_ADDRESS_PRIVATE },
        { V4(172, 16, 0, 0, 12), NET_ADDRESS_PRIVATE },
        { V4(192, 168, 0, 0, 16), NET_ADDRESS_PRIVATE },
        { V4(100, 64, 0, 0, 10), NET_ADDRESS_CGNAT },
        { V4(192, 0, 0, 0, 24), NET_ADDRESS_RESERVED },
        { V4(224, 0, 0, 0, 4), NET_ADDRESS_MULTICAST },
        { V4(240, 0, 0, 0, 4), NET_ADDRESS_RESERVED },
        { V6(128, 0), NET_ADDRESS_UNSPECIFIED },
        { V6(128, [15] = 1), NET_ADDRESS_LOOPBACK },
        { V6(96, 0), NET_ADDRESS_EMBEDDED_IPV4 },                         /* compatible, RFC 4291 2.5.5.1 */
        { V6(96, [10] = 0xff, [11] = 0xff), NET_ADDRESS_EMBEDDED_IPV4 },  /* mapped, RFC 4291 2.5.5.2 */
        { V6(96, [8] = 0xff, [9] = 0xff), NET_ADDRESS_EMBEDDED_IPV4 },    /* translated, RFC 2765 */
        { V6(96, 0, 0x64, 0xff, 0x9b), NET_ADDRESS_EMBEDDED_IPV4 },       /* NAT64, RFC 6052 */
        { V6(48, 0, 0x64, 0xff, 0x9b, 0, 1), NET_ADDRESS_EMBEDDED_IPV4 }, /* NAT64, RFC 8215 */
        { V6(16, 0x20, 0x02), NET_ADDRESS_EMBEDDED_IPV4 },                /* 6to4, RFC 3056 */
        { V6(32, 0x20, 0x01), NET_ADDRESS_EMBEDDED_IPV4 },                /* Teredo, RFC 4380 */
        { V6(64, 0x01), NET_ADDRESS_RESERVED },                           /* discard, RFC 6666 */
        { V6(10, 0xfe, 0x80), NET_ADDRESS_LINK_LOCAL },
        { V6(10, 0xfe, 0xc0), NET_ADDRESS_PRIVATE }, /* site-local, RFC 3879 */
        { V6(7, 0xfc), NET_ADDRESS_PRIVATE },
        { V6(8, 0xff), NET_ADDRESS_MULTICAST },
};

enum net_address_class net_address_classify(const struct net_address *address)
{
        for (size_t i = 0; i < ARRAY_SIZE(special_prefixes); i++)
                if (net_prefix_contains(&special_prefixes[i].prefix, address))
                        return special_prefixes[i].class;
        return NET_ADDRESS_PUBLIC;
}

size_t net_address_special_count(void)
{
        return ARRAY_SIZE(special_prefixes);
}

enum net_address_class net_address_special(size_t index, struct net_prefix *ret_prefix)
{
        *ret_prefix = special_prefixes[index].prefix;
        return special_prefixes[index].class;
}

const char *net_address_class_name(enum net_address_class class)
{
        static const char *const names[] = {
                [NET_ADDRESS_PUBLIC] = "public",
                [NET_ADDRESS_UNSPECIFIED] = "unspecified",
                [NET_ADDRESS_LOOPBACK] = "loopback",
                [NET_ADDRESS_LINK_LOCAL] = "link-local",
                [NET_ADDRESS_MULTICAST] = "multicast",
                [NET_ADDRESS_PRIVATE] = "private",
                [NET_ADDRESS_CGNAT] = "carrier-grade NAT",
                [NET_ADDRESS_RESERVED] = "reserved",
                [NET_ADDRESS_EMBEDDED_IPV4] = "IPv4 embedded in IPv6",
                [NET_ADDRESS_AZURE_PLATFORM] = "Azure platform",
        };

        return names[class];
}
