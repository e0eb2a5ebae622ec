/*
 * Records with texts of a test's choice, by the sinks of a configuration: what no client of the daemon could bring into them,
 * for its parsers let only checked names through.
 *
 *   record_feed CONFIG TEXTS
 *
 * TEXTS has a line of hexadecimal digits for each record: the bytes of all its texts. client_port is the line's number.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/diagnostic.h"
#include "policy/config.h"
#include "records/record_writer.h"

#define LINE_SIZE 128

static void die(const char *what)
{
        fprintf(stderr, "record_feed: %s\n", what);
        exit(1);
}

/* What a line stands for; as many bytes as every text of a decision has room for. */
static void read_text(const char *line, char *ret, size_t size)
{
        size_t length = 0;
        unsigned byte;

        for (; sscanf(line, "%2x", &byte) == 1 && length < size - 1; line += 2)
                ret[length++] = (char)byte;
        ret[length] = '\0';
}

static struct decision decision_with(const char *text, uint16_t number)
{
        struct decision decision = {
                .event = DECISION_EVENT_CONNECTION,
                .action = POLICY_DENY,
                .reason = REASON_NO_RULE,
                .listener = DECISION_LISTENER_TRANSPARENT,
                .protocol = DECISION_PROTOCOL_HTTPS,
                .time_us = (uint64_t)time(NULL) * 1000000 + number,
                .has_tls = true,
        };

        if (net_endpoint_parse("10.1.0.4:1", 0, &decision.client) < 0)
                die("no address");
        decision.client.port = number;
        snprintf(decision.cluster, sizeof(decision.cluster), "%s", text);
        snprintf(decision.feature, sizeof(decision.feature), "%s", text);
        snprintf(decision.rule, sizeof(decision.rule), "%s", text);
        snprintf(decision.hint, sizeof(decision.hint), "%s", text);
        snprintf(decision.alpn, sizeof(decision.alpn), "%s", text);
        snprintf(decision.connection_id, sizeof(decision.connection_id), "%s", text);
        snprintf(decision.fqdn.text, sizeof(decision.fqdn.text), "%s", text);
        decision.fqdn.length = (uint8_t)strlen(decision.fqdn.text);
        return decision;
}

static void feed(struct record_writer *writer, FILE *texts)
{
        char line[LINE_SIZE];
        char text[DECISION_ID_SIZE];

        for (uint16_t number = 1; fgets(line, sizeof(line), texts) != NULL; number++) {
                read_text(line, text, sizeof(text));
                struct decision decision = decision_with(text, number);
                record_writer_push(writer, 0, &decision);
        }
}

int main(int argc, char **argv)
{
        struct record_writer *writer;
        struct config *config;
        char error[256];

        if (argc != 3)
                die("CONFIG and TEXTS are needed");
        FILE *texts = fopen(argv[2], "re");
        struct diagnostics *diagnostics = diagnostics_new();
        if (texts == NULL || diagnostics == NULL)
                die("cannot read TEXTS");
        if (config_read(argv[1], diagnostics, &config) < 0) {
                diagnostics_print(diagnostics, stderr);
                die("cannot read CONFIG");
        }
        if (record_writer_new(config, 1, error, sizeof(error), &writer) < 0)
                die(error);
        feed(writer, texts);
        record_writer_free(writer);
        config_free(config);
        diagnostics_free(diagnostics);
        fclose(texts);
        return 0;
}
