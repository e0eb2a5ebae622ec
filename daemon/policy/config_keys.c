#include "policy/config_keys.h"

#include <stdio.h>

#include "policy/config_check.h"
#include "policy/config_map.h"
#include "policy/config_network.h"
#include "policy/config_sinks.h"
#include "policy/config_value.h"

#define SECOND 1000ull
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

#define NAME_SIZE 128

#define NOT_SERVED "is not served by this version and has no effect"

/* Rows share these. */
#define VALUE(reader) .shape = CONFIG_SHAPE_VALUE, .read = (reader)
#define LIST_OF(reader, type) .shape = CONFIG_SHAPE_LIST, .read = (reader), .element_size = sizeof(type)
#define AT(type, member) .offset = offsetof(type, member)
#define ARRAY_AT(type, member, number) .offset = offsetof(type, member), .count_offset = offsetof(type, number)
#define SECTION(name_text, table)                                                                                      \
        {                                                                                                              \
                .name = (name_text), .keys = (table), .key_count = ARRAY_SIZE(table)                                   \
        }
#define CHECKED_SECTION(name_text, table, function)                                                                    \
        {                                                                                                              \
                .name = (name_text), .keys = (table), .key_count = ARRAY_SIZE(table), .check = (function)              \
        }

/* In the order of the enums in config.h. */
static const struct config_choice selections[] = {
        { .name = "sticky" }, { .name = "round_robin" }, { .name = "least_used" }, { 0 }
};
static const struct config_choice modes[] = { { .name = "enforce" }, { .name = "audit" }, { 0 } };
static const struct config_choice dns_filters[] = {
        { .name = "enforce" }, { .name = "audit" }, { .name = "off" }, { 0 }
};
static const struct config_choice policy_changes[] = {
        { .name = "close" }, { .name = "log" }, { .name = "keep" }, { 0 }
};
static const struct config_choice refusals[] = { { .name = "reset" }, { .name = "drop" }, { 0 } };
static const struct config_choice sinks[] = { { .name = "journal" }, { .name = "file" }, { .name = "syslog" }, { 0 } };
static const struct config_choice events[] = { { .name = "deny" }, { .name = "allow" }, { 0 } };
static const struct config_choice moments[] = { { .name = "start" }, { .name = "end" }, { 0 } };
static const struct config_choice transports[] = {
        { .name = "tls" }, { .name = "tcp" }, { .name = "udp" }, { .name = "unix" }, { 0 }
};
static const struct config_choice formats[] = {
        { .name = "json" }, { .name = "journal" }, { .name = "syslog" }, { .name = "cef" }, { .name = "azure" }, { 0 },
};
/* RFC 5424 6.2.1, with the names of syslog.conf(5). */
static const struct config_choice facilities[] = {
        { .name = "kern" },
        { .name = "user" },
        { .name = "mail" },
        { .name = "daemon" },
        { .name = "auth" },
        { .name = "syslog" },
        { .name = "lpr" },
        { .name = "news" },
        { .name = "uucp" },
        { .name = "cron" },
        { .name = "authpriv" },
        { .name = "ftp" },
        { .name = "ntp" },
        { .name = "security" },
        { .name = "console" },
        { .name = "solaris-cron" },
        { .name = "local0" },
        { .name = "local1" },
        { .name = "local2" },
        { .name = "local3" },
        { .name = "local4" },
        { .name = "local5" },
        { .name = "local6" },
        { .name = "local7" },
        { 0 },
};
static const struct config_choice clouds[] = {
        { .name = "AzurePublicCloud" }, { .name = "AzureChinaCloud" }, { .name = "AzureUSGovernment" }, { 0 }
};

_Static_assert(offsetof(struct config_sink, takes_allow) == offsetof(struct config_sink, takes_deny) + sizeof(bool),
               "events are written as neighbouring flags");
_Static_assert(offsetof(struct config_sink, allow_at_end) ==
                       offsetof(struct config_sink, allow_at_start) + sizeof(bool),
               "and so are moments");

static const struct config_key transparent_keys[] = {
        { .name = "port",
          VALUE(config_value_port),
          AT(struct config_listener, endpoint.port),
          .default_text = "15001",
          .help = "port that nftables steers to; nobody reaches it by dialling it" },
};
static const struct config_section transparent_section =
        CHECKED_SECTION("listen.transparent", transparent_keys, config_check_listener);

/* The listeners with an address differ in their default port and in whether they have a default address. */
#define LISTENER_KEYS(port_text, ...)                                                                                  \
        {                                                                                                              \
                { .name = "address",                                                                                   \
                  VALUE(config_network_listen_address),                                                                \
                  AT(struct config_listener, endpoint.address),                                                        \
                  __VA_ARGS__,                                                                                         \
                  .help = "address of this machine to listen at" },                                                    \
                        { .name = "port",                                                                              \
                          VALUE(config_value_port),                                                                    \
                          AT(struct config_listener, endpoint.port),                                                   \
                          .default_text = (port_text),                                                                 \
                          .help = "port to listen at" },                                                               \
        }

static const struct config_key proxy_keys[] = LISTENER_KEYS("3128", .required = true);
static const struct config_key dns_keys[] = LISTENER_KEYS("53", .required = true);
static const struct config_key admin_keys[] = LISTENER_KEYS("9180", .default_text = "127.0.0.1");
static const struct config_key probe_keys[] = LISTENER_KEYS("8080", .required = true);
static const struct config_section proxy_section = CHECKED_SECTION("listen.proxy", proxy_keys, config_check_listener);
static const struct config_section dns_section = CHECKED_SECTION("listen.dns", dns_keys, config_check_listener);
static const struct config_section admin_section = CHECKED_SECTION("listen.admin", admin_keys, config_check_listener);
static const struct config_section probe_section = CHECKED_SECTION("listen.probe", probe_keys, config_check_listener);

static const struct config_key listen_keys[] = {
        { .name = "transparent",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &transparent_section,
          AT(struct config, transparent),
          .help = "connections steered here by nftables, IPv4 and IPv6; off unless given" },
        { .name = "proxy",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &proxy_section,
          AT(struct config, proxy),
          .help = "explicit HTTP proxy (CONNECT and absolute-form); off unless given" },
        { .name = "dns",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &dns_section,
          AT(struct config, dns),
          .help = "DNS server for the clusters, UDP and TCP; off unless given" },
        { .name = "admin",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &admin_section,
          AT(struct config, admin),
          .help = "/metrics, /healthz and /readyz over HTTP; off unless given" },
        { .name = "probe",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &probe_section,
          AT(struct config, probe),
          .help = "/readyz alone, for a load balancer; off unless given" },
};
static const struct config_section listen_section = SECTION("listen", listen_keys);

static const struct config_key pool_keys[] = {
        { .name = "name",
          VALUE(config_value_name),
          AT(struct config_snat_pool, name),
          .required = true,
          .help = "what clusters call it" },
        { .name = "addresses",
          LIST_OF(config_network_range, struct config_address_range),
          ARRAY_AT(struct config_snat_pool, ranges, range_count),
          .max_count = CONFIG_MAX_POOL_ADDRESSES,
          .required = true,
          .help = "ranges and addresses on this machine's network interface, both families" },
        { .name = "selection",
          VALUE(config_value_choice),
          .choices = selections,
          AT(struct config_snat_pool, selection),
          .default_text = "sticky",
          .help = "sticky (by client), round_robin or least_used" },
};
static const struct config_section pool_section = CHECKED_SECTION("snat_pools", pool_keys, config_check_pool);

static const struct config_key cluster_keys[] = {
        { .name = "name",
          VALUE(config_value_name),
          AT(struct config_cluster, name),
          .required = true,
          .help = "what records and messages call it" },
        { .name = "sources",
          LIST_OF(config_network_prefix, struct config_prefix),
          ARRAY_AT(struct config_cluster, sources, source_count),
          .max_count = 10000,
          .required = true,
          .help = "prefixes of its clients; the longest one decides" },
        { .name = "cloud",
          VALUE(config_value_cloud),
          .choices = clouds,
          AT(struct config_cluster, cloud),
          .required = true,
          .help = "AzurePublicCloud, AzureChinaCloud or AzureUSGovernment" },
        { .name = "location",
          VALUE(config_value_location),
          AT(struct config_cluster, location),
          .required = true,
          .help = "Azure region, like westeurope" },
        { .name = "features",
          LIST_OF(config_value_name, struct config_text),
          ARRAY_AT(struct config_cluster, features, feature_count),
          .max_count = 200,
          .may_be_empty = true,
          .default_text = "[]",
          .help = "allowlists in force besides core, by file name without .allow" },
        { .name = "parameters",
          .shape = CONFIG_SHAPE_MAP,
          .read_entry = config_map_parameter,
          .element_size = sizeof(struct config_parameter),
          ARRAY_AT(struct config_cluster, parameters, parameter_count),
          .default_text = "{}",
          .help = "values for {placeholders} in allowlists: one, or a list" },
        { .name = "api_server",
          VALUE(config_network_fqdn),
          AT(struct config_cluster, api_server),
          .help = "DNS name of the cluster's API server" },
        { .name = "mode",
          VALUE(config_value_choice),
          .choices = modes,
          AT(struct config_cluster, mode),
          .default_text = "enforce",
          .help = "enforce, or audit: let through and record what would be refused" },
        { .name = "snat_pool",
          VALUE(config_value_name),
          AT(struct config_cluster, snat_pool_name),
          .required = true,
          .help = "the pool that its connections go out from" },
        { .name = "allow",
          LIST_OF(config_value_text, struct config_text),
          ARRAY_AT(struct config_cluster, allow, allow_count),
          .max_count = 100000,
          .may_be_empty = true,
          .default_text = "[]",
          .help = "further rules, or file:PATH" },
        { .name = "deny",
          LIST_OF(config_value_text, struct config_text),
          ARRAY_AT(struct config_cluster, deny, deny_count),
          .max_count = 100000,
          .may_be_empty = true,
          .default_text = "[]",
          .help = "rules that win over every other, or file:PATH" },
        { .name = "private_destinations",
          LIST_OF(config_network_private_prefix, struct config_prefix),
          ARRAY_AT(struct config_cluster, private_destinations, private_destination_count),
          .max_count = 10000,
          .may_be_empty = true,
          .default_text = "[]",
          .help = "prefixes that a name may resolve to although they are not public" },
        { .name = "dns_filter",
          VALUE(config_value_choice),
          .choices = dns_filters,
          AT(struct config_cluster, dns_filter),
          .default_text = "enforce",
          .help = "names that listen.dns refuses: enforce, audit or off" },
};
static const struct config_section cluster_section = CHECKED_SECTION("clusters", cluster_keys, config_check_cluster);

static const struct config_key resolver_keys[] = {
        { .name = "servers",
          LIST_OF(config_network_server, struct net_endpoint),
          ARRAY_AT(struct config, dns_servers, dns_server_count),
          .max_count = 16,
          .default_text = "[168.63.129.16]",
          .help = "DNS servers asked, in this order" },
        { .name = "forward_zones",
          .shape = CONFIG_SHAPE_MAP,
          .read_entry = config_map_forward_zone,
          .element_size = sizeof(struct config_forward_zone),
          ARRAY_AT(struct config, forward_zones, forward_zone_count),
          .default_text = "{}",
          .help = "zones with servers of their own" },
};
static const struct config_section resolver_section = SECTION("resolver", resolver_keys);

static const struct config_key timeouts_keys[] = {
        { .name = "inspect",
          VALUE(config_value_duration),
          AT(struct config, inspect_timeout_ms),
          .minimum = 100,
          .maximum = 5 * MINUTE,
          .default_text = "10s",
          .help = "for a client to say which name it wants" },
        { .name = "resolve",
          VALUE(config_value_duration),
          AT(struct config, resolve_timeout_ms),
          .minimum = 100,
          .maximum = 1 * MINUTE,
          .default_text = "5s",
          .help = "for DNS to answer" },
        { .name = "connect",
          VALUE(config_value_duration),
          AT(struct config, connect_timeout_ms),
          .minimum = 100,
          .maximum = 5 * MINUTE,
          .default_text = "10s",
          .help = "for the server to accept the connection" },
        { .name = "idle",
          VALUE(config_value_duration),
          AT(struct config, idle_timeout_ms),
          .minimum = 1 * SECOND,
          .maximum = 168 * HOUR,
          .default_text = "30m",
          .help = "without a byte in either direction" },
};
static const struct config_section timeouts_section = SECTION("timeouts", timeouts_keys);

static const struct config_key limits_keys[] = {
        { .name = "connections",
          VALUE(config_value_number),
          AT(struct config, max_connections),
          .minimum = 1,
          .maximum = 10000000,
          .default_text = "250000",
          .help = "open at a time; lowered to what the descriptor limit allows" },
        { .name = "connections_per_client",
          VALUE(config_value_number),
          AT(struct config, max_connections_per_client),
          .minimum = 1,
          .maximum = 10000000,
          .default_text = "10000",
          .help = "open at a time for one source address" },
};
static const struct config_section limits_section = SECTION("limits", limits_keys);

static const struct config_key sink_keys[] = {
        { .name = "sink",
          VALUE(config_value_choice),
          .choices = sinks,
          AT(struct config_sink, kind),
          .required = true,
          .help = "journal, file or syslog" },
        { .name = "path", VALUE(config_value_path), AT(struct config_sink, path), .help = "file: where to write" },
        { .name = "format",
          VALUE(config_value_choice),
          .choices = formats,
          AT(struct config_sink, format),
          .help = "json, syslog, cef or azure; the journal has its own" },
        { .name = "events",
          .shape = CONFIG_SHAPE_FLAGS,
          .read = config_value_choice,
          .choices = events,
          AT(struct config_sink, takes_deny),
          .max_count = 2,
          .default_text = "[deny]",
          .help = "which records: deny (with audit), allow; alarms always" },
        { .name = "allow_at",
          .shape = CONFIG_SHAPE_FLAGS,
          .read = config_value_choice,
          .choices = moments,
          AT(struct config_sink, allow_at_start),
          .max_count = 2,
          .default_text = "[end]",
          .help = "when what is allowed has a record: start, end (with bytes and duration) or both" },
        { .name = "clusters",
          LIST_OF(config_value_name, struct config_text),
          ARRAY_AT(struct config_sink, clusters, cluster_count),
          .max_count = 1000,
          .help = "only records of these clusters; every one unless given" },
        { .name = "summarize",
          VALUE(config_value_duration_or_off),
          AT(struct config_sink, summarize_ms),
          .minimum = 1 * SECOND,
          .maximum = 1 * HOUR,
          .default_text = "10s",
          .help = "window in which denials that repeat themselves become one summary, or off" },
        { .name = "queue",
          VALUE(config_value_number),
          AT(struct config_sink, queue),
          .minimum = 64,
          .maximum = 1048576,
          .default_text = "65536",
          .help = "records kept for a slow sink before the first are lost" },
        { .name = "facility",
          VALUE(config_value_choice),
          .choices = facilities,
          AT(struct config_sink, facility),
          .default_text = "local0",
          .help = "of syslog messages: daemon, local0 to local7, …" },
        { .name = "resource_id",
          VALUE(config_value_resource_id),
          AT(struct config_sink, resource_id),
          .help = "azure: the resource ID that records carry" },
        { .name = "address",
          VALUE(config_network_syslog_server),
          AT(struct config_sink, server),
          .help = "syslog: server as name:port, or the path of a socket" },
        { .name = "transport",
          VALUE(config_value_choice),
          .choices = transports,
          AT(struct config_sink, transport),
          .default_text = "tls",
          .help = "syslog: tls, tcp, udp, or unix (a datagram socket of this machine)" },
        { .name = "ca_file",
          VALUE(config_value_path),
          AT(struct config_sink, ca_file),
          .help = "tls: certificates to trust; the system's unless given" },
        { .name = "cert_file",
          VALUE(config_value_path),
          AT(struct config_sink, cert_file),
          .help = "tls: our certificate, and those that lead to its issuer" },
        { .name = "key_file", VALUE(config_value_path), AT(struct config_sink, key_file), .help = "tls: its key" },
        { .name = "server_name",
          VALUE(config_network_server_name),
          AT(struct config_sink, server_name),
          .help = "tls: whom the server's certificate must be for; what address says unless given" },
        { .name = "spool",
          VALUE(config_value_path),
          AT(struct config_sink, spool),
          .help = "tcp, tls: directory where records are kept until they are sent" },
        { .name = "spool_max",
          VALUE(config_value_size),
          AT(struct config_sink, spool_max),
          .minimum = 16 * 1024 * 1024,
          .maximum = 1ull << 40,
          .default_text = "1GiB",
          .help = "tcp, tls: how much of the disk it may take" },
};
static const struct config_section sink_section = CHECKED_SECTION("logging", sink_keys, config_sinks_check_one);

static const struct config_key root_keys[] = {
        { .name = "workers",
          VALUE(config_value_workers),
          AT(struct config, workers),
          .default_text = "auto",
          .help = "threads that serve connections: auto (one a processor) or 1 to 256" },
        { .name = "listen",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &listen_section,
          .offset = 0,
          .help = "where to listen: transparent, proxy or both" },
        { .name = "control_socket",
          VALUE(config_value_path),
          AT(struct config, control_socket),
          .default_text = "/run/aksegressd/control.sock",
          .not_served = NOT_SERVED,
          .help = "socket for aksegressctl" },
        { .name = "control_group",
          VALUE(config_value_account),
          AT(struct config, control_group),
          .default_text = "aksegress",
          .not_served = NOT_SERVED,
          .help = "group that may use the control socket" },
        { .name = "allowlist_dirs",
          LIST_OF(config_value_directory, char *),
          ARRAY_AT(struct config, allowlist_dirs, allowlist_dir_count),
          .max_count = 32,
          .default_text = "[" AKSEGRESSD_SYSCONFDIR "/allowlists, " AKSEGRESSD_DATADIR "/allowlists]",
          .help = "directories with the *.allow files; the first that has a file wins" },
        { .name = "service_tags",
          VALUE(config_value_path),
          AT(struct config, service_tags),
          .help = "Azure's file of service tags and their prefixes" },
        { .name = "snat_pools",
          .shape = CONFIG_SHAPE_SECTIONS,
          .section = &pool_section,
          .element_size = sizeof(struct config_snat_pool),
          ARRAY_AT(struct config, snat_pools, snat_pool_count),
          .max_count = 256,
          .required = true,
          .help = "addresses to send from: a list of { name, addresses, selection }" },
        { .name = "clusters",
          .shape = CONFIG_SHAPE_SECTIONS,
          .section = &cluster_section,
          .element_size = sizeof(struct config_cluster),
          ARRAY_AT(struct config, clusters, cluster_count),
          .max_count = 1000,
          .required = true,
          .help = "who may reach what: a list of { name, sources, cloud, location, snat_pool, … }" },
        { .name = "resolver",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &resolver_section,
          .offset = 0,
          .default_text = "{}",
          .help = "which DNS servers are asked" },
        { .name = "timeouts",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &timeouts_section,
          .offset = 0,
          .default_text = "{}",
          .help = "how long each step of a connection may take" },
        { .name = "limits",
          .shape = CONFIG_SHAPE_SECTION,
          .section = &limits_section,
          .offset = 0,
          .default_text = "{}",
          .help = "how many connections are held" },
        { .name = "on_policy_change",
          VALUE(config_value_choice),
          .choices = policy_changes,
          AT(struct config, on_policy_change),
          .default_text = "close",
          .help = "live connections that a new policy refuses: close, log or keep" },
        { .name = "refuse_with",
          VALUE(config_value_choice),
          .choices = refusals,
          AT(struct config, refuse_with),
          .default_text = "reset",
          .help = "forwarded traffic: reset (RST, ICMP prohibited) or drop" },
        { .name = "drain",
          VALUE(config_value_duration),
          AT(struct config, drain_ms),
          .minimum = 0,
          .maximum = 1 * HOUR,
          .default_text = "60s",
          .help = "how long open connections may go on after SIGTERM" },
        { .name = "logging",
          .shape = CONFIG_SHAPE_SECTIONS,
          .section = &sink_section,
          .element_size = sizeof(struct config_sink),
          ARRAY_AT(struct config, sinks, sink_count),
          .max_count = 32,
          .default_text = "[{ sink: journal }]",
          .help = "where records go: a list of { sink, … }" },
};
static const struct config_section root_section = SECTION("", root_keys);

const struct config_section *config_keys_root(void)
{
        return &root_section;
}

static void each_key(const struct config_section *section, config_keys_fn on_key, void *context)
{
        char name[NAME_SIZE];

        for (size_t i = 0; i < section->key_count; i++) {
                const struct config_key *key = &section->keys[i];
                snprintf(name, sizeof(name), "%s%s%s", section->name, section->name[0] == '\0' ? "" : ".", key->name);
                on_key(name, key, context);
                if (key->section != NULL)
                        each_key(key->section, on_key, context);
        }
}

void config_keys_each(config_keys_fn on_key, void *context)
{
        each_key(&root_section, on_key, context);
}
