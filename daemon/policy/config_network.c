#include "policy/config_network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "policy/config_value.h"

#define DNS_PORT 53
#define SOCKET_PATH_MAX_LENGTH (sizeof(((struct sockaddr_un *)0)->sun_path) - 1) /* NUL is the last byte */

int config_network_zone(const struct config_input *input, void *field, char *complaint)
{
        struct fqdn name;

        if (fqdn_from_text(input->text, &name) < 0)
                return config_value_complain(complaint, "'%.80s' is not a DNS name: write it like internal.contoso.com",
                                             input->text);
        return config_value_store(field, &name, sizeof(name));
}

int config_network_fqdn(const struct config_input *input, void *field, char *complaint)
{
        struct fqdn name;

        if (fqdn_from_text(input->text, &name) < 0)
                return config_value_complain(
                        complaint, "'%.80s' is not a DNS name: write it like prod-dns-1a2b3c.hcp.westeurope.azmk8s.io",
                        input->text);
        return config_value_store_text(input, name.text, field);
}

int config_network_server_name(const struct config_input *input, void *field, char *complaint)
{
        struct fqdn name;

        if (fqdn_from_text(input->text, &name) < 0)
                return config_value_complain(complaint, "'%.80s' is not a DNS name: write it like siem.contoso.com",
                                             input->text);
        return config_value_store_text(input, name.text, field);
}

static bool port_is_valid(const char *text)
{
        size_t length = strlen(text);

        return length >= 1 && length <= 5 && strspn(text, "0123456789") == length && strtoul(text, NULL, 10) >= 1 &&
               strtoul(text, NULL, 10) <= 65535;
}

/* "name" or "name:port". */
static bool parse_name_and_port(const char *text, struct config_server *server)
{
        const char *colon = strchr(text, ':');
        size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);

        if (colon != NULL && !port_is_valid(colon + 1))
                return false;
        if (fqdn_from_bytes(text, length, &server->name) < 0)
                return false;
        server->endpoint.port = colon != NULL ? (uint16_t)strtoul(colon + 1, NULL, 10) : 0;
        return true;
}

/* Where nothing can be sent to, or nobody answers. */
static bool is_no_server(const struct net_address *address)
{
        enum net_address_class class = net_address_classify(address);

        return class == NET_ADDRESS_UNSPECIFIED || class == NET_ADDRESS_MULTICAST;
}

static int parse_syslog_server(const char *text, struct config_server *server, char *complaint)
{
        if (text[0] == '/') {
                if (strlen(text) > SOCKET_PATH_MAX_LENGTH)
                        return config_value_complain(complaint,
                                                     "'%.80s…' is longer than %zu bytes, which no socket's path can be",
                                                     text, SOCKET_PATH_MAX_LENGTH);
                return 0;
        }
        if (net_endpoint_parse(text, 0, &server->endpoint) == 0) {
                if (is_no_server(&server->endpoint.address))
                        return config_value_complain(complaint, "'%.80s' cannot be the address of a syslog server",
                                                     text);
                return 0;
        }
        if (!parse_name_and_port(text, server))
                return config_value_complain(complaint,
                                             "'%.80s' is not a server: write it like siem.contoso.com:6514, "
                                             "10.0.0.9:514, [fd00::9]:514, or /dev/log",
                                             text);
        return 0;
}

int config_network_syslog_server(const struct config_input *input, void *field, char *complaint)
{
        struct config_server server = { .place = input->place };
        int r = parse_syslog_server(input->text, &server, complaint);

        if (r < 0 || field == NULL)
                return r;
        server.text = strdup(input->text);
        return server.text == NULL ? -ENOMEM : config_value_store(field, &server, sizeof(server));
}

int config_network_listen_address(const struct config_input *input, void *field, char *complaint)
{
        struct net_address address;

        if (net_address_parse(input->text, strlen(input->text), &address) < 0)
                return config_value_complain(complaint, "'%.80s' is not an address: write it like 10.0.0.4 or fd00::4",
                                             input->text);
        if (net_address_classify(&address) == NET_ADDRESS_MULTICAST)
                return config_value_complain(
                        complaint, "'%.80s' is a multicast address: write one of this machine's own", input->text);
        return config_value_store(field, &address, sizeof(address));
}

int config_network_server(const struct config_input *input, void *field, char *complaint)
{
        struct net_endpoint endpoint;

        if (net_endpoint_parse(input->text, DNS_PORT, &endpoint) < 0)
                return config_value_complain(
                        complaint, "'%.80s' is not a server: write it like 10.0.0.53, 10.0.0.53:5353 or [fd00::53]:53",
                        input->text);
        if (is_no_server(&endpoint.address))
                return config_value_complain(complaint, "'%.80s' cannot be the address of a DNS server", input->text);
        return config_value_store(field, &endpoint, sizeof(endpoint));
}

/* Clears the bits past the length. */
static void clear_host_bits(struct net_prefix *prefix)
{
        for (size_t bit = prefix->length; bit < sizeof(prefix->address.bytes) * 8; bit++)
                prefix->address.bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

/* text was refused for bits set past its length: says which prefix holds the address. */
static int complain_host_bits(const char *text, char *complaint)
{
        char buffer[NET_PREFIX_TEXT_SIZE];
        const char *slash = strchr(text, '/');
        struct net_prefix prefix = { 0 };

        if (slash == NULL || net_address_parse(text, (size_t)(slash - text), &prefix.address) < 0)
                return config_value_complain(complaint, "'%.80s' is not a prefix: write it like 10.1.0.0/16", text);
        prefix.length = (uint8_t)strtoul(slash + 1, NULL, 10);
        clear_host_bits(&prefix);
        return config_value_complain(complaint, "'%.80s' has bits set past its length: write %s", text,
                                     net_prefix_format(&prefix, buffer));
}

static int parse_prefix(const struct config_input *input, struct config_prefix *ret, char *complaint)
{
        int r = net_prefix_parse(input->text, strlen(input->text), &ret->prefix);

        ret->place = input->place;
        if (r == -EDOM)
                return complain_host_bits(input->text, complaint);
        if (r < 0)
                return config_value_complain(
                        complaint, "'%.80s' is not a prefix: write it like 10.1.0.0/16 or fd00:1::/64", input->text);
        return 0;
}

/* IPv4 clients are known by their IPv4 address, also where a socket of both families wrote them as IPv6. */
static bool is_mapped(const struct net_prefix *prefix)
{
        static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

        return prefix->address.family == AF_INET6 && prefix->length >= 96 &&
               memcmp(prefix->address.bytes, mapped, sizeof(mapped)) == 0;
}

static int complain_mapped(const struct net_prefix *prefix, const char *text, char *complaint)
{
        struct net_prefix inner = { .address = { .family = AF_INET }, .length = (uint8_t)(prefix->length - 96) };
        char buffer[NET_PREFIX_TEXT_SIZE];

        memcpy(inner.address.bytes, prefix->address.bytes + 12, 4);
        return config_value_complain(complaint, "'%.80s' is IPv4 written as IPv6 and would match nobody: write %s",
                                     text, net_prefix_format(&inner, buffer));
}

int config_network_prefix(const struct config_input *input, void *field, char *complaint)
{
        struct config_prefix value;
        int r = parse_prefix(input, &value, complaint);

        if (r == 0 && is_mapped(&value.prefix))
                r = complain_mapped(&value.prefix, input->text, complaint);
        return r < 0 ? r : config_value_store(field, &value, sizeof(value));
}

int config_network_private_prefix(const struct config_input *input, void *field, char *complaint)
{
        struct config_prefix value;
        int r = parse_prefix(input, &value, complaint);

        if (r < 0)
                return r;
        if (value.prefix.length == 32 && net_address_classify(&value.prefix.address) == NET_ADDRESS_AZURE_PLATFORM)
                return config_value_complain(
                        complaint,
                        "'%.80s' is an address of the Azure platform, which is never open to clients: remove it",
                        input->text);
        return config_value_store(field, &value, sizeof(value));
}

/* Why nothing can be sent from an address of this class; NULL: something can. */
static const char *unfit_as_source(enum net_address_class class)
{
        switch (class) {
        case NET_ADDRESS_UNSPECIFIED:
        case NET_ADDRESS_LINK_LOCAL:
        case NET_ADDRESS_MULTICAST:
        case NET_ADDRESS_EMBEDDED_IPV4:
        case NET_ADDRESS_AZURE_PLATFORM:
                return net_address_class_name(class);
        case NET_ADDRESS_PUBLIC:
        case NET_ADDRESS_LOOPBACK: /* for tests and sidecars */
        case NET_ADDRESS_PRIVATE:
        case NET_ADDRESS_CGNAT:
        case NET_ADDRESS_RESERVED:
        case NET_ADDRESS_CLASS_COUNT:
                return NULL;
        }
        return NULL;
}

/* Every address of the range, as there are not many, is one that can be sent from. */
static int check_range(const struct config_input *input, const struct config_address_range *range, char *complaint)
{
        char buffer[NET_ADDRESS_TEXT_SIZE];
        struct net_address address = range->first;
        unsigned count = 1;

        for (;;) {
                const char *unfit = unfit_as_source(net_address_classify(&address));
                if (unfit != NULL)
                        return config_value_complain(
                                complaint,
                                "'%.80s': %s is not fit as a source address (%s): write addresses of "
                                "this machine's network interface",
                                input->text, net_address_format(&address, buffer), unfit);
                if (net_address_equal(&address, &range->last))
                        return 0;
                if (++count > CONFIG_MAX_POOL_ADDRESSES)
                        return config_value_complain(complaint,
                                                     "'%.80s' is more than %d addresses: write a smaller range",
                                                     input->text, CONFIG_MAX_POOL_ADDRESSES);
                if (!net_address_increment(&address))
                        return 0; /* Not reached: last is not before first. */
        }
}

static bool parse_range(const char *text, struct config_address_range *ret)
{
        const char *hyphen = strchr(text, '-');
        size_t first_length = hyphen == NULL ? strlen(text) : (size_t)(hyphen - text);

        if (net_address_parse(text, first_length, &ret->first) < 0)
                return false;
        if (hyphen == NULL) {
                ret->last = ret->first;
                return true;
        }
        return net_address_parse(hyphen + 1, strlen(hyphen + 1), &ret->last) == 0;
}

int config_network_range(const struct config_input *input, void *field, char *complaint)
{
        struct config_address_range range = { .place = input->place };
        int r;

        if (!parse_range(input->text, &range))
                return config_value_complain(complaint,
                                             "'%.80s' is not a range of addresses: write it like 10.0.1.10-10.0.1.29",
                                             input->text);
        if (range.first.family != range.last.family)
                return config_value_complain(complaint, "'%.80s' mixes IPv4 and IPv6: write one range for each",
                                             input->text);
        if (net_address_compare(&range.first, &range.last) > 0)
                return config_value_complain(complaint, "'%.80s' ends before it begins: write the lower address first",
                                             input->text);
        r = check_range(input, &range, complaint);
        return r < 0 ? r : config_value_store(field, &range, sizeof(range));
}
