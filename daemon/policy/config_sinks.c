#include "policy/config_sinks.h"

#include <string.h>

#define PORT_UDP 514  /* RFC 5426 3.3 */
#define PORT_TCP 601  /* syslog-conn, IANA */
#define PORT_TLS 6514 /* RFC 5425 4.1 */

static bool is_given(const struct config_yaml_node *node, const char *key)
{
        return config_yaml_child(node, key) != NULL;
}

/* Complains about the key, if it is given, unless it fits. */
static void expect_absent(struct config_reader *reader, const struct config_yaml_node *node, const char *key, bool fits,
                          const char *of_what)
{
        const struct config_yaml_node *child = config_yaml_child(node, key);

        if (child != NULL && !fits)
                config_reader_error(reader, child->key_place, "logging.%s: a key of %s: leave it out", key, of_what);
}

static void check_keys_of_kind(struct config_reader *reader, const struct config_yaml_node *node,
                               const struct config_sink *sink)
{
        bool is_syslog = sink->kind == CONFIG_SINK_SYSLOG;
        bool is_stream = sink->transport == CONFIG_TRANSPORT_TCP || sink->transport == CONFIG_TRANSPORT_TLS;
        bool is_tls = is_syslog && sink->transport == CONFIG_TRANSPORT_TLS;
        static const char *const tls_keys[] = { "ca_file", "cert_file", "key_file", "server_name" };

        expect_absent(reader, node, "path", sink->kind == CONFIG_SINK_FILE, "file sinks");
        expect_absent(reader, node, "address", is_syslog, "syslog sinks");
        expect_absent(reader, node, "transport", is_syslog, "syslog sinks");
        expect_absent(reader, node, "facility", is_syslog || sink->format == CONFIG_FORMAT_SYSLOG, "syslog messages");
        expect_absent(reader, node, "resource_id", sink->format == CONFIG_FORMAT_AZURE, "format azure");
        expect_absent(reader, node, "spool", is_syslog && is_stream, "syslog over tcp and tls");
        expect_absent(reader, node, "spool_max", is_syslog && is_stream, "syslog over tcp and tls");
        for (size_t i = 0; i < ARRAY_SIZE(tls_keys); i++)
                expect_absent(reader, node, tls_keys[i], is_tls, "syslog over tls");
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
        if (is_path != (sink->transport == CONFIG_TRANSPORT_UNIX))
                config_reader_error(reader, server->place, "logging.address: '%.80s' is %s: %s", server->text,
                                    is_path ? "a path" : "not a path",
                                    is_path ? "write transport: unix, or a server"
                                            : "transport unix wants a socket of this machine, like /dev/log");
        if (!is_path && server->endpoint.port == 0)
                server->endpoint.port = default_port(sink->transport);
}

static void check_certificate(struct config_reader *reader, const struct config_yaml_node *node)
{
        bool has_certificate = is_given(node, "cert_file");

        if (has_certificate == is_given(node, "key_file"))
                return;
        config_reader_error(reader, node->place, "logging.%s is missing: cert_file and key_file belong together",
                            has_certificate ? "key_file" : "cert_file");
}

static void check_moments(struct config_reader *reader, const struct config_yaml_node *node,
                          const struct config_sink *sink)
{
        const struct config_yaml_node *moments = config_yaml_child(node, "allow_at");

        if (moments != NULL && !sink->takes_allow)
                config_reader_warning(reader, moments->key_place,
                                      "logging.allow_at has no effect: this sink takes nothing that is allowed");
}

void config_sinks_check_one(struct config_reader *reader, const struct config_yaml_node *node, void *sink)
{
        const struct config_yaml_node *kind = config_yaml_child(node, "sink");
        struct config_sink *self = sink;

        self->place = node->place;
        if (kind == NULL || kind->text == NULL)
                return;
        check_format(reader, node, self);
        if (self->kind == CONFIG_SINK_FILE && !is_given(node, "path"))
                config_reader_error(reader, node->place,
                                    "logging.path is missing: a file sink needs the file to write to");
        if (self->kind == CONFIG_SINK_SYSLOG)
                check_server(reader, node, self);
        check_keys_of_kind(reader, node, self);
        check_certificate(reader, node);
        check_moments(reader, node, self);
}

static bool same_text(const struct config_text *a, const struct config_text *b)
{
        return a->text != NULL && b->text != NULL && strcmp(a->text, b->text) == 0;
}

static void check_clusters(struct config_reader *reader, const struct config *config, const struct config_sink *sink)
{
        for (size_t i = 0; i < sink->cluster_count; i++) {
                bool found = false;
                for (size_t j = 0; j < config->cluster_count; j++)
                        found = found || same_text(&config->clusters[j].name, &sink->clusters[i]);
                if (!found)
                        config_reader_error(
                                reader, sink->clusters[i].place,
                                "logging.clusters: there is no cluster '%s': write the name of one of clusters",
                                sink->clusters[i].text);
        }
}

/* What two sinks would write to at once. */
static void check_shared(struct config_reader *reader, const struct config_sink *sink,
                         const struct config_sink *earlier)
{
        if (same_text(&sink->path, &earlier->path))
                config_reader_error(
                        reader, sink->path.place,
                        "logging.path: '%s' is written by the sink on line %u already: give it another file",
                        sink->path.text, earlier->place.line);
        if (same_text(&sink->spool, &earlier->spool))
                config_reader_error(
                        reader, sink->spool.place,
                        "logging.spool: '%s' is kept by the sink on line %u already: give it another directory",
                        sink->spool.text, earlier->place.line);
}

void config_sinks_check_all(struct config_reader *reader, const struct config *config)
{
        for (size_t i = 0; i < config->sink_count; i++) {
                check_clusters(reader, config, &config->sinks[i]);
                for (size_t j = 0; j < i; j++)
                        check_shared(reader, &config->sinks[i], &config->sinks[j]);
        }
}
