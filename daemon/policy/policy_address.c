/*
 * policy_permits_address, policy_decide_answer: which addresses may be dialled, and told of, at all. The rest of the policy
 * is in policy.c.
 */
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"
#include "policy/policy_layout.h"

#define MAX_EMBEDDED 3

static struct net_address ipv4_at(const struct net_address *address, size_t offset)
{
        struct net_address inner = { .family = AF_INET };

        memcpy(inner.bytes, address->bytes + offset, 4);
        return inner;
}

static bool starts_with(const struct net_address *address, const void *bytes, size_t length)
{
        return memcmp(address->bytes, bytes, length) == 0;
}

/* Teredo (RFC 4380 4): the server as it is, the client with every bit turned over. */
static size_t teredo_parts(const struct net_address *address, struct net_address ret[MAX_EMBEDDED])
{
        ret[0] = ipv4_at(address, 4);
        ret[1] = ipv4_at(address, 12);
        for (size_t i = 0; i < 4; i++)
                ret[1].bytes[i] ^= 0xff;
        return 2;
}

/* 64:ff9b:1::/48 (RFC 8215) with a /48 prefix skips the byte at bits 64 to 71 (RFC 6052 2.2); longer ones are common too. */
static size_t local_nat64_parts(const struct net_address *address, struct net_address ret[MAX_EMBEDDED])
{
        ret[0] = ipv4_at(address, 12);
        ret[1] = (struct net_address){ .family = AF_INET,
                                       .bytes = { address->bytes[6], address->bytes[7], address->bytes[9],
                                                  address->bytes[10] } };
        ret[2] = (struct net_address){ .family = AF_INET,
                                       .bytes = { address->bytes[7], address->bytes[9], address->bytes[10],
                                                  address->bytes[11] } };
        return 3;
}

/* The IPv4 addresses that traffic to an address of class EMBEDDED_IPV4 may end at. */
static size_t embedded_addresses(const struct net_address *address, struct net_address ret[MAX_EMBEDDED])
{
        static const uint8_t six_to_four[] = { 0x20, 0x02 };
        static const uint8_t teredo[] = { 0x20, 0x01, 0, 0 };
        static const uint8_t local_nat64[] = { 0, 0x64, 0xff, 0x9b, 0, 1 };

        if (starts_with(address, six_to_four, sizeof(six_to_four))) {
                ret[0] = ipv4_at(address, 2);
                return 1;
        }
        if (starts_with(address, teredo, sizeof(teredo)))
                return teredo_parts(address, ret);
        if (starts_with(address, local_nat64, sizeof(local_nat64)))
                return local_nat64_parts(address, ret);
        ret[0] = ipv4_at(address, 12);
        return 1;
}

/* Connecting to the unspecified address reaches this host, as loopback does (ip(7)). */
static bool is_this_host(const struct net_address *address)
{
        enum net_address_class class = net_address_classify(address);

        return class == NET_ADDRESS_LOOPBACK || class == NET_ADDRESS_UNSPECIFIED;
}

static bool is_zero(const struct net_address *address)
{
        static const uint8_t zero[16];

        return memcmp(address->bytes, zero, sizeof(zero)) == 0;
}

/* Pool addresses are addresses of this host, too. */
static bool is_pool_address(const struct config *config, const struct net_address *address)
{
        for (size_t i = 0; i < config->snat_pool_count; i++) {
                const struct config_snat_pool *pool = &config->snat_pools[i];
                for (size_t j = 0; j < pool->range_count; j++)
                        if (net_address_compare(address, &pool->ranges[j].first) >= 0 &&
                            net_address_compare(address, &pool->ranges[j].last) <= 0)
                                return true;
        }
        return false;
}

static bool is_at(const struct config_listener *listener, const struct net_address *address)
{
        return listener->enabled && net_address_equal(address, &listener->endpoint.address);
}

/* Whether a listener that is bound to every address (or, transparent, behaves so) is reached. */
static bool reaches_wildcard(const struct config *config, const struct net_address *address)
{
        return is_this_host(address) || is_pool_address(config, address) || is_at(&config->proxy, address) ||
               is_at(&config->dns, address) || is_at(&config->admin, address) || is_at(&config->probe, address);
}

static bool is_listener(const struct config *config, const struct config_listener *listener,
                        const struct net_address *address, uint16_t port)
{
        if (!listener->enabled || port != listener->endpoint.port)
                return false;
        if (is_zero(&listener->endpoint.address))
                return reaches_wildcard(config, address);
        return net_address_equal(address, &listener->endpoint.address) ||
               (is_zero(address) && is_this_host(&listener->endpoint.address));
}

static bool is_own_listener(const struct config *config, const struct net_address *address, uint16_t port)
{
        if (config->transparent.enabled && port == config->transparent.endpoint.port &&
            reaches_wildcard(config, address))
                return true;
        return is_listener(config, &config->proxy, address, port) || is_listener(config, &config->dns, address, port) ||
               is_listener(config, &config->admin, address, port) || is_listener(config, &config->probe, address, port);
}

static bool is_listed(const struct policy_cluster *cluster, const struct net_address *address)
{
        return cluster != NULL && prefix_set_find_longest(cluster->private_destinations, address) != PREFIX_SET_NONE;
}

/* The parts of an address that are never permitted, whatever is listed. */
static enum reason check_forbidden_for_all(const struct policy *policy, const struct net_address *address,
                                           uint16_t port)
{
        struct net_address inner[MAX_EMBEDDED];
        enum net_address_class class = net_address_classify(address);
        size_t count = class == NET_ADDRESS_EMBEDDED_IPV4 ? embedded_addresses(address, inner) : 0;

        if (class == NET_ADDRESS_AZURE_PLATFORM)
                return REASON_PLATFORM_ADDRESS;
        if (is_own_listener(policy->config, address, port))
                return REASON_OWN_ADDRESS;
        for (size_t i = 0; i < count; i++) {
                if (net_address_classify(&inner[i]) == NET_ADDRESS_AZURE_PLATFORM)
                        return REASON_PLATFORM_ADDRESS;
                if (is_own_listener(policy->config, &inner[i], port))
                        return REASON_OWN_ADDRESS;
        }
        return REASON_COMPLETED;
}

/* Writes the address that private_destinations lacks to *ret_missing; false: nothing is missing. */
static bool find_unlisted(const struct policy_cluster *cluster, const struct net_address *address,
                          struct net_address *ret_missing)
{
        struct net_address inner[MAX_EMBEDDED];
        enum net_address_class class = net_address_classify(address);
        size_t count = class == NET_ADDRESS_EMBEDDED_IPV4 ? embedded_addresses(address, inner) : 0;

        if (class != NET_ADDRESS_PUBLIC && !is_listed(cluster, address)) {
                *ret_missing = *address;
                return true;
        }
        for (size_t i = 0; i < count; i++)
                if (find_unlisted(cluster, &inner[i], ret_missing))
                        return true;
        return false;
}

static void write_hint(enum reason reason, const struct policy_cluster *cluster, const struct net_address *address,
                       uint16_t port, char hint[POLICY_HINT_SIZE])
{
        char text[NET_ADDRESS_TEXT_SIZE];

        net_address_format(address, text);
        if (reason == REASON_PLATFORM_ADDRESS)
                snprintf(hint, POLICY_HINT_SIZE, "%s is an Azure platform address, which no setting opens", text);
        else if (reason == REASON_OWN_ADDRESS)
                snprintf(hint, POLICY_HINT_SIZE, "%s port %u is a listener of this daemon", text, (unsigned)port);
        else if (cluster != NULL)
                snprintf(hint, POLICY_HINT_SIZE, "%s is %s: list its prefix under private_destinations of cluster '%s'",
                         text, net_address_class_name(net_address_classify(address)), policy_cluster_name(cluster));
}

enum reason policy_permits_address(const struct policy *policy, const struct policy_cluster *cluster,
                                   const struct net_address *address, uint16_t port, char hint[POLICY_HINT_SIZE])
{
        struct net_address named = *address;
        enum reason reason = check_forbidden_for_all(policy, address, port);

        hint[0] = '\0';
        if (address->family == AF_UNSPEC)
                return REASON_FORBIDDEN_ADDRESS;
        if (reason == REASON_COMPLETED && find_unlisted(cluster, address, &named))
                reason = REASON_FORBIDDEN_ADDRESS;
        if (reason != REASON_COMPLETED)
                write_hint(reason, cluster, &named, port, hint);
        return reason;
}

enum policy_action policy_decide_answer(const struct policy *policy, const struct policy_cluster *cluster,
                                        const struct fqdn *name, const struct net_address *address,
                                        enum reason *ret_reason, char hint[POLICY_HINT_SIZE])
{
        *ret_reason = policy_permits_address(policy, cluster, address, 0, hint);
        if (*ret_reason == REASON_COMPLETED)
                return POLICY_ALLOW;
        if (*ret_reason == REASON_PLATFORM_ADDRESS)
                return POLICY_DENY;
        if (policy_dns_filter(cluster) == CONFIG_DNS_FILTER_OFF || policy_forward_zone_of(policy, name) != NULL) {
                *ret_reason = REASON_COMPLETED;
                hint[0] = '\0';
                return POLICY_ALLOW;
        }
        return policy_dns_filter(cluster) == CONFIG_DNS_FILTER_AUDIT ? POLICY_AUDIT : POLICY_DENY;
}
