#include "policy/config_sinks.h"

#include <string.h>

#include "policy/config_suggest.h"

#define PORT_UDP 514  /* RFC 5426 3.3 */
#define PORT_TCP 601  /* syslog-conn, IANA */
#define PORT_TLS 6514 /* RFC 5425 4.1 */

static bool is_given(const struct config_yaml_node *node, const char *key)
{
        return config_yaml_child(node, key) != NULL;
}

static bool is_stream(const struct config_sink *sink)
{
        return sink->kind == CONFIG_SINK_SYSLOG &&
               (sink->transport == CONFIG_TRANSPORT_TCP || sink->transport == CONFIG_TRANSPORT_TLS);
}

static bool is_tls(const struct config_sink *sink)
{
        return sink->kind == CONFIG_SINK_SYSLOG && sink->transport == CONFIG_TRANSPORT_TLS;
}

/*
 * Whether the choice that a key has is what was written. One that could not be read is reported and leaves zero, the choice
 * called first: then nothing can be said of what depends on it.
 */
static bool is_known(const struct config_yaml_node *node, const char *key, unsigned value, const char *first)
{
        const struct config_yaml_node *child = config_yaml_child(node, key);

        return child == NULL || value != 0 || (child->text != NULL && strcmp(child->text, first) == 0);
}

static bool transport_is_known(const struct config_yaml_node *node, const struct config_sink *sink)
{
        /* An address that could not be read may have been a path. */
        return is_known(node, "transport", sink->transport, "tls") &&
               (is_given(node, "transport") || !is_given(node, "address") || sink->server.text != NULL);
}

/* What a key may belong to. */
enum belonging {
        BELONGS_TO_FILE = 0,
        BELONGS_TO_SYSLOG,
        BELONGS_TO_MESSAGES,
        BELONGS_TO_AZURE,
        BELONGS_TO_STREAMS,
        BELONGS_TO_TLS,
};

static const struct {
        const char *key;
        enum belonging to;
} belongings[] = {
        { "path", BELONGS_TO_FILE },         { "address", BELONGS_TO_SYSLOG },    { "transport", BELONGS_TO_SYSLOG },
        { "facility", BELONGS_TO_MESSAGES }, { "resource_id", BELONGS_TO_AZURE }, { "spool", BELONGS_TO_STREAMS },
        { "spool_max", BELONGS_TO_STREAMS }, { "ca_file", BELONGS_TO_TLS },       { "cert_file", BELONGS_TO_TLS },
        { "key_file", BELONGS_TO_TLS },      { "server_name", BELONGS_TO_TLS },
};

/* NULL: the sink is one that such keys belong to, or may be; otherwise what they do belong to. */
static const char *does_not_belong(const struct config_yaml_node *node, const struct config_sink *sink,
                                   enum belonging to)
{
        bool is_syslog = sink->kind == CONFIG_SINK_SYSLOG;
        bool may_be_format = !is_known(node, "format", sink->format, "json");
        bool may_be_transport = is_syslog && !transport_is_known(node, sink);

        switch (to) {
        case BELONGS_TO_FILE:
                return sink->kind == CONFIG_SINK_FILE ? NULL : "file sinks";
        case BELONGS_TO_SYSLOG:
                return is_syslog ? NULL : "syslog sinks";
        case BELONGS_TO_MESSAGES:
                return is_syslog || sink->format == CONFIG_FORMAT_SYSLOG || may_be_format
                               ? NULL
                               : "syslog sinks and format syslog";
        case BELONGS_TO_AZURE:
                return sink->format == CONFIG_FORMAT_AZURE || may_be_format ? NULL : "format azure";
        case BELONGS_TO_STREAMS:
                return is_stream(sink) || may_be_transport ? NULL : "syslog over tcp and tls";
        case BELONGS_TO_TLS:
                return is_tls(sink) || may_be_transport ? NULL : "syslog over tls";
        }
        return NULL;
}

/* In the order of the file. */
static void check_keys_of_kind(struct config_reader *reader, const struct config_yaml_node *node,
                               const struct config_sink *sink)
{
        for (const struct config_yaml_node *child = node->first; child != NULL; child = child->next)
                for (size_t i = 0; i < ARRAY_SIZE(belongings); i++) {
                        const char *of_what = NULL;
                        if (!child->is_duplicate && strcmp(child->key, belongings[i].key) == 0)
                                of_what = does_not_belong(node, sink, belongings[i].to);
                        if (of_what != NULL)
                                config_reader_error(reader, child->key_place, "logging.%s: a key of %s: leave it out",
                                                    child->key, of_what);
                }
}

static enum config_format default_format(enum config_sink_kind kind)
{
        switch (kind) {
        case CONFIG_SINK_JOURNAL:
                return CONFIG_FORMAT_JOURNAL;
        case CONFIG_SINK_FILE:
                return CONFIG_FORMAT_JSON;
        case CONFIG_SINK_SYSLOG:
                return CONFIG_FORMAT_SYSLOG;
        }
        return CONFIG_FORMAT_JSON;
}

static void check_format(struct config_reader *reader, const struct config_yaml_node *node, struct config_sink *sink)
{
        const struct config_yaml_node *format = config_yaml_child(node, "format");
        bool is_journal = sink->kind == CONFIG_SINK_JOURNAL;

        if (!is_known(node, "format", sink->format, "json"))
                return;
        if (format == NULL)
                sink->format = default_format(sink->kind);
        else if (is_journal && sink->format != CONFIG_FORMAT_JOURNAL)
                config_reader_error(reader, format->place,
                                    "logging.format: a journal sink writes fields, not %s: leave format out",
                                    format->text != NULL ? format->text : "that");
        else if (!is_journal && sink->format == CONFIG_FORMAT_JOURNAL)
                config_reader_error(
                        reader, format->place,
                        "logging.format: only the journal has journal fields: write json, syslog, cef or azure");
}

static uint16_t default_port(enum config_transport transport)
{
        switch (transport) {
        case CONFIG_TRANSPORT_UDP:
                return PORT_UDP;
        case CONFIG_TRANSPORT_TCP:
                return PORT_TCP;
        case CONFIG_TRANSPORT_TLS:
                return PORT_TLS;
        case CONFIG_TRANSPORT_UNIX:
                break;
        }
        return 0;
}

/* "fd00::9:514" is an address, but whoever ends it like a port of syslog probably left out the brackets. */
static bool may_lack_brackets(const struct config_server *server)
{
        static const char *const ports[] = { "514", "601", "6514" };
        const char *colon = strrchr(server->text, ':');

        if (server->endpoint.address.family != AF_INET6 || server->text[0] == '[' || colon[-1] == ':')
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
                if (strcmp(colon + 1, ports[i]) == 0)
                        return true;
        return false;
}

static void check_brackets(struct config_reader *reader, const struct config_server *server)
{
        int address_length;

        if (!may_lack_brackets(server))
                return;
        address_length = (int)(strrchr(server->text, ':') - server->text);
        config_reader_warning(
                reader, server->place,
                "logging.address: '%s' is an address without a port: write [%.*s]:%s if that is the port, "
                "or [%s]",
                server->text, address_length, server->text, server->text + address_length + 1, server->text);
}

static void check_server(struct config_reader *reader, const struct config_yaml_node *node, struct config_sink *sink)
{
        struct config_server *server = &sink->server;
        bool is_path = server->text != NULL && server->text[0] == '/';

        if (!is_given(node, "address"))
                config_reader_error(reader, node->place,
                                    "logging.address is missing: a syslog sink needs the server to send to");
        if (server->text == NULL)
                return;
        if (is_path && !is_given(node, "transport"))
                sink->transport = CONFIG_TRANSPORT_UNIX;
        if (transport_is_known(node, sink) && is_path != (sink->transport == CONFIG_TRANSPORT_UNIX))
                config_reader_error(reader, server->place, "logging.address: '%.80s' is %s: %s", server->text,
                                    is_path ? "a path" : "not a path",
                                    is_path ? "write transport: unix, or a server"
                                            : "transport unix wants a socket of this machine, like /dev/log");
        check_brackets(reader, server);
        if (!is_path && server->endpoint.port == 0)
                server->endpoint.port = default_port(sink->transport);
}

/* At the one that is there, since that is where the other one goes. */
static void check_certificate(struct config_reader *reader, const struct config_yaml_node *node,
                              const struct config_sink *sink)
{
        const struct config_yaml_node *certificate = config_yaml_child(node, "cert_file");
        const struct config_yaml_node *key = config_yaml_child(node, "key_file");

        if (!is_tls(sink) || (certificate != NULL) == (key != NULL))
                return;
        config_reader_error(reader, certificate != NULL ? certificate->key_place : key->key_place,
                            "logging.%s is missing: cert_file and key_file belong together",
                            certificate != NULL ? "key_file" : "cert_file");
}

static void check_spool(struct config_reader *reader, const struct config_yaml_node *node,
                        const struct config_sink *sink)
{
        const struct config_yaml_node *size = config_yaml_child(node, "spool_max");

        if (size != NULL && !is_given(node, "spool") && is_stream(sink))
                config_reader_warning(reader, size->key_place,
                                      "logging.spool_max has no effect: this sink has no spool: give it one, or leave "
                                      "spool_max out");
}

static void check_moments(struct config_reader *reader, const struct config_yaml_node *node,
                          const struct config_sink *sink)
{
        const struct config_yaml_node *moments = config_yaml_child(node, "allow_at");

        /* Without either, events could not be read. */
        if (moments != NULL && !sink->takes_allow && sink->takes_deny)
                config_reader_warning(reader, moments->key_place,
                                      "logging.allow_at has no effect: this sink takes nothing that is allowed: add "
                                      "allow to its events, or leave allow_at out");
}

void config_sinks_check_one(struct config_reader *reader, const struct config_yaml_node *node, void *sink)
{
        struct config_sink *self = sink;

        self->place = node->place;
        if (!is_given(node, "sink") || !is_known(node, "sink", self->kind, "journal"))
                return;
        check_format(reader, node, self);
        if (self->kind == CONFIG_SINK_FILE && !is_given(node, "path"))
                config_reader_error(reader, node->place,
                                    "logging.path is missing: a file sink needs the file to write to");
        if (self->kind == CONFIG_SINK_SYSLOG)
                check_server(reader, node, self);
        check_keys_of_kind(reader, node, self);
        check_certificate(reader, node, self);
        check_spool(reader, node, self);
        check_moments(reader, node, self);
}

static bool same_text(const struct config_text *a, const struct config_text *b)
{
        return a->text != NULL && b->text != NULL && strcmp(a->text, b->text) == 0;
}

/* False: a cluster has no readable name, which is reported already and may be the one that is looked for. */
static bool cluster_names_are_known(const struct config *config)
{
        for (size_t i = 0; i < config->cluster_count; i++)
                if (config->clusters[i].name.text == NULL)
                        return false;
        return config->cluster_count > 0;
}

static void find_cluster(struct config_reader *reader, const struct config *config, const struct config_text *name)
{
        struct config_suggest suggest = { .word = name->text };

        for (size_t i = 0; i < config->cluster_count; i++) {
                if (same_text(&config->clusters[i].name, name))
                        return;
                config_suggest_offer(&suggest, config->clusters[i].name.text);
        }
        if (suggest.best != NULL)
                config_reader_error(reader, name->place,
                                    "logging.clusters: there is no cluster '%s': did you mean '%s'?", name->text,
                                    suggest.best);
        else
                config_reader_error(reader, name->place,
                                    "logging.clusters: there is no cluster '%s': write the name of one of clusters",
                                    name->text);
}

static void check_clusters(struct config_reader *reader, const struct config *config, const struct config_sink *sink)
{
        for (size_t i = 0; i < sink->cluster_count; i++) {
                for (size_t j = 0; j < i; j++)
                        if (same_text(&sink->clusters[i], &sink->clusters[j])) {
                                config_reader_error(reader, sink->clusters[i].place,
                                                    "logging.clusters: '%s' is in the list already: keep it once",
                                                    sink->clusters[i].text);
                                break;
                        }
                if (cluster_names_are_known(config))
                        find_cluster(reader, config, &sink->clusters[i]);
        }
}

/* What two sinks would write to at once. Returns whether there is something. */
static bool check_shared(struct config_reader *reader, const struct config_sink *sink,
                         const struct config_sink *earlier)
{
        bool one_file = same_text(&sink->path, &earlier->path);
        bool one_spool = same_text(&sink->spool, &earlier->spool);

        if (one_file)
                config_reader_error(
                        reader, sink->path.place,
                        "logging.path: '%s' is written by the sink on line %u already: give it another file",
                        sink->path.text, earlier->place.line);
        if (one_spool)
                config_reader_error(
                        reader, sink->spool.place,
                        "logging.spool: '%s' is kept by the sink on line %u already: give it another directory",
                        sink->spool.text, earlier->place.line);
        return one_file || one_spool;
}

void config_sinks_check_all(struct config_reader *reader, const struct config *config)
{
        for (size_t i = 0; i < config->sink_count; i++) {
                check_clusters(reader, config, &config->sinks[i]);
                for (size_t j = 0; j < i; j++)
                        if (check_shared(reader, &config->sinks[i], &config->sinks[j]))
                                break;
        }
}
