/*
 * The configuration file as a struct: read by config_read, constant afterwards. Only layout and plain value checks are
 * here; what the rules in it mean is policy.h. Durations are milliseconds, texts are owned by the config.
 * The keys themselves, with their defaults and bounds, are the tables of config_keys.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/diagnostic.h"
#include "base/fqdn.h"
#include "base/net_address.h"

#define CONFIG_MAX_FILE_BYTES (8u * 1024 * 1024)
#define CONFIG_MAX_POOL_ADDRESSES 4096 /* in one SNAT pool */
#define CONFIG_MAX_RESOURCE_ID 512     /* bytes; a formatter has room for it in every record */

/* Where in the configuration file a value stands: for errors found later. Line 0: a default, not in the file. */
struct config_place {
        unsigned line;
        unsigned column;
};

struct config_text {
        char *text;
        struct config_place place;
};

struct config_listener {
        bool enabled;
        struct net_endpoint endpoint; /* for transparent only the port counts */
        struct config_place place;
};

/* One item of a pool's addresses: "10.0.1.10-10.0.1.29", or one address as first = last. */
struct config_address_range {
        struct net_address first;
        struct net_address last;
        struct config_place place;
};

enum config_selection {
        CONFIG_SELECTION_STICKY = 0,
        CONFIG_SELECTION_ROUND_ROBIN,
        CONFIG_SELECTION_LEAST_USED,
};

struct config_snat_pool {
        struct config_text name;
        struct config_address_range *ranges;
        size_t range_count;
        enum config_selection selection;
};

/* parameters: { vault_name: contoso-kv } or { vault_name: [a, b] }: one value or several. */
struct config_parameter {
        struct config_text name;
        struct config_text *values;
        size_t value_count;
};

struct config_prefix {
        struct net_prefix prefix;
        struct config_place place;
};

enum config_mode {
        CONFIG_MODE_ENFORCE = 0,
        CONFIG_MODE_AUDIT,
};

enum config_dns_filter {
        CONFIG_DNS_FILTER_ENFORCE = 0,
        CONFIG_DNS_FILTER_AUDIT,
        CONFIG_DNS_FILTER_OFF,
};

struct config_cluster {
        struct config_text name;
        struct config_prefix *sources;
        size_t source_count;
        struct config_text cloud; /* AzurePublicCloud, AzureChinaCloud or AzureUSGovernment */
        struct config_text location;
        struct config_text *features; /* without core, which is always on */
        size_t feature_count;
        struct config_parameter *parameters;
        size_t parameter_count;
        struct config_text api_server; /* text NULL: none */
        enum config_mode mode;
        struct config_text snat_pool_name;
        size_t snat_pool;          /* index into config.snat_pools */
        struct config_text *allow; /* rules, or file:PATH */
        size_t allow_count;
        struct config_text *deny;
        size_t deny_count;
        struct config_prefix *private_destinations;
        size_t private_destination_count;
        enum config_dns_filter dns_filter;
        struct config_place place;
};

struct config_forward_zone {
        struct fqdn zone; /* length 0: none */
        struct net_endpoint *servers;
        size_t server_count;
        struct config_place place;
};

enum config_on_policy_change {
        CONFIG_ON_POLICY_CHANGE_CLOSE = 0,
        CONFIG_ON_POLICY_CHANGE_LOG,
        CONFIG_ON_POLICY_CHANGE_KEEP,
};

enum config_refuse_with {
        CONFIG_REFUSE_WITH_RESET = 0,
        CONFIG_REFUSE_WITH_DROP,
};

enum config_sink_kind {
        CONFIG_SINK_JOURNAL = 0,
        CONFIG_SINK_FILE,
        CONFIG_SINK_SYSLOG,
};

enum config_format {
        CONFIG_FORMAT_JSON = 0,
        CONFIG_FORMAT_JOURNAL,
        CONFIG_FORMAT_SYSLOG,
        CONFIG_FORMAT_CEF,
        CONFIG_FORMAT_AZURE,
};

enum config_transport {
        CONFIG_TRANSPORT_TLS = 0,
        CONFIG_TRANSPORT_TCP,
        CONFIG_TRANSPORT_UDP,
        CONFIG_TRANSPORT_UNIX, /* a datagram socket of this machine */
};

/* A server by name or address, or a socket of this machine. */
struct config_server {
        char *text;                   /* as written, to tell people; NULL: none */
        struct net_endpoint endpoint; /* address AF_UNSPEC: to be looked up. port 0: none was written */
        struct fqdn name;             /* length 0: given by address, or a path */
        struct config_place place;
};

/* Where records go, which, and how. */
struct config_sink {
        enum config_sink_kind kind;
        enum config_format format; /* absent: what fits the kind */
        struct config_text path;   /* file */
        bool takes_deny;           /* also audit */
        bool takes_allow;
        bool allow_at_start; /* of allowed connections and flows: a record when they begin, when they end */
        bool allow_at_end;
        struct config_text *clusters; /* none: every cluster */
        size_t cluster_count;
        unsigned summarize_ms;          /* window of denial_window.h; 0: off */
        unsigned queue;                 /* records; default 65536 */
        unsigned facility;              /* of a syslog header */
        struct config_text resource_id; /* azure; text NULL: none */
        /* syslog */
        struct config_server server; /* with a port, unless it is a path */
        enum config_transport transport;
        struct config_text ca_file;   /* text NULL: the system's */
        struct config_text cert_file; /* with key_file, or both NULL */
        struct config_text key_file;
        struct config_text server_name; /* that the server's certificate must be for; text NULL: its name or address */
        struct config_text spool;       /* a directory; text NULL: none */
        uint64_t spool_max;             /* bytes */
        struct config_place place;
};

struct config {
        char *path;
        unsigned workers; /* auto is resolved to the number of processors */
        struct config_listener transparent;
        struct config_listener proxy;
        struct config_listener dns;
        struct config_listener admin;
        struct config_listener probe;
        struct config_text control_socket;
        struct config_text control_group;
        struct config_text service_tags; /* text NULL: none */
        char **allowlist_dirs;
        size_t allowlist_dir_count;
        struct config_snat_pool *snat_pools;
        size_t snat_pool_count;
        struct config_cluster *clusters;
        size_t cluster_count;
        struct net_endpoint *dns_servers;
        size_t dns_server_count;
        struct config_forward_zone *forward_zones;
        size_t forward_zone_count;
        unsigned inspect_timeout_ms;
        unsigned resolve_timeout_ms;
        unsigned connect_timeout_ms;
        unsigned idle_timeout_ms;
        unsigned max_connections;
        unsigned max_connections_per_client;
        enum config_on_policy_change on_policy_change;
        enum config_refuse_with refuse_with;
        unsigned drain_ms;
        struct config_sink *sinks;
        size_t sink_count;
};

/*
 * Reads the YAML file at path. Every error goes to diagnostics with its line and column; a syntax error ends the reading.
 *
 * Returns 0 with a config to be freed with config_free; -EINVAL: errors were added to diagnostics; -ENOMEM.
 */
MUST_CHECK int config_read(const char *path, struct diagnostics *diagnostics, struct config **ret);

/*
 * The same, but with -EINVAL *ret is what could be read, without the bad parts: to be checked further, so that every error
 * is told at once, and then freed; never to be used. NULL where nothing could be read.
 */
MUST_CHECK int config_read_partial(const char *path, struct diagnostics *diagnostics, struct config **ret);

/*
 * The same for length bytes of YAML in memory; path stands in for the file's name in messages, and relative paths in
 * the text are taken from its directory.
 */
MUST_CHECK int config_read_text(const char *path, const char *text, size_t length, struct diagnostics *diagnostics,
                                struct config **ret);

/* Takes NULL. */
void config_free(struct config *config);
