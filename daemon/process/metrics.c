#include "process/metrics.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "process/metrics_text.h"

#define BUILD_INFO "aksegressd_build_info"
#define POLICY_GENERATION "aksegressd_policy_generation"
#define RELOAD_FAILURES "aksegressd_policy_reload_failures_total"

/* One value of a sink: a row, and a member of struct record_writer_sink. */
struct sink_metric {
        const char *name;
        enum metrics_type type;
        size_t offset; /* of the uint64_t in struct record_writer_sink */
        const char *help;
};

#define OF_SINK(member) offsetof(struct record_writer_sink, member)

static const struct sink_metric sink_metrics[] = {
        { "aksegressd_records_total", METRICS_COUNTER, OF_SINK(written), "Records handed to the sink." },
        { "aksegressd_records_lost_total", METRICS_COUNTER, OF_SINK(lost), "Records that the sink will never get." },
        { "aksegressd_records_queued", METRICS_GAUGE, OF_SINK(queued), "Records that wait for the sink." },
        { "aksegressd_records_spool_bytes", METRICS_GAUGE, OF_SINK(spooled_bytes), "Bytes that wait to be sent." },
        { "aksegressd_records_connections_total", METRICS_COUNTER, OF_SINK(connections),
          "Connections to a syslog server." },
};

static uint64_t value_of(const struct record_writer_sink *sink, const struct sink_metric *metric)
{
        uint64_t value;

        memcpy(&value, (const char *)sink + metric->offset, sizeof(value));
        return value;
}

/* Whether a sink before this one has the same name, two on one file for instance: there may be one sample for both. */
static bool is_said_already(const struct record_writer *records, size_t index, const char *name)
{
        for (size_t i = 0; i < index; i++)
                if (strcmp(record_writer_sink(records, i).name, name) == 0)
                        return true;
        return false;
}

/* Of this sink and of those after it with the same name. */
static uint64_t sum_of_name(const struct record_writer *records, size_t index, const struct sink_metric *metric)
{
        struct record_writer_sink first = record_writer_sink(records, index);
        uint64_t sum = value_of(&first, metric);

        for (size_t i = index + 1; i < record_writer_sink_count(records); i++) {
                struct record_writer_sink other = record_writer_sink(records, i);
                if (strcmp(other.name, first.name) == 0)
                        sum += value_of(&other, metric);
        }
        return sum;
}

static void write_sinks(struct metrics_text *text, const struct record_writer *records,
                        const struct sink_metric *metric)
{
        metrics_text_family(text, metric->name, metric->type, metric->help);
        for (size_t i = 0; i < record_writer_sink_count(records); i++) {
                const struct metrics_label label = { "sink", record_writer_sink(records, i).name };
                if (!is_said_already(records, i, label.value))
                        metrics_text_sample(text, metric->name, &label, 1, sum_of_name(records, i, metric));
        }
}

int metrics_write(const struct metrics_source *source, struct evbuffer *out)
{
        const struct metrics_label version = { "version", source->version };
        struct metrics_text text = { .out = out };

        metrics_text_family(&text, BUILD_INFO, METRICS_GAUGE, "Always 1; the label says which version runs.");
        metrics_text_sample(&text, BUILD_INFO, &version, 1, 1);
        metrics_text_family(&text, POLICY_GENERATION, METRICS_GAUGE, "1 at the start, one more with each reload.");
        metrics_text_sample(&text, POLICY_GENERATION, NULL, 0, source->policy_generation);
        metrics_text_family(&text, RELOAD_FAILURES, METRICS_COUNTER, "Reloads that changed nothing for an error.");
        metrics_text_sample(&text, RELOAD_FAILURES, NULL, 0, source->reload_failures);
        for (size_t i = 0; i < ARRAY_SIZE(sink_metrics); i++)
                write_sinks(&text, source->records, &sink_metrics[i]);
        return text.failed ? -ENOMEM : 0;
}
