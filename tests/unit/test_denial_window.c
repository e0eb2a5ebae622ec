#include "record_samples.h"

#include "base/compiler.h"
#include "records/denial_window.h"
#include "records/formatter.h"

#define WINDOW_MS 1000
#define MAX_SUMMARIES 64

/* What came out, in order; what comes after MAX_SUMMARIES is only counted. */
struct summaries {
        size_t count;
        struct decision items[MAX_SUMMARIES];
};

static struct summaries summaries;

static void on_summary(const struct decision *summary, void *context)
{
        struct summaries *into = context;

        if (into->count < MAX_SUMMARIES)
                into->items[into->count] = *summary;
        into->count++;
}

static struct denial_window *make(size_t kinds)
{
        struct denial_window *window = NULL;

        summaries.count = 0;
        assert_int_equal(denial_window_new(kinds, WINDOW_MS, on_summary, &summaries, &window), 0);
        return window;
}

/* A packet to this port, so that each port is a kind; decided at the same time as it is noted. */
static enum denial_window_answer note_port(struct denial_window *window, uint16_t port, uint64_t now_ms)
{
        struct decision decision = sample_packet();

        decision.destination.port = port;
        decision.time_us = now_ms * 1000;
        return denial_window_note(window, &decision, now_ms);
}

static void the_first_passes_and_one_summary_a_window_counts_the_others(void **state)
{
        struct denial_window *window = make(4);

        (void)state;
        assert_int_equal(note_port(window, 443, 100), DENIAL_WINDOW_PASS);
        assert_int_equal(note_port(window, 443, 200), DENIAL_WINDOW_COUNTED);
        assert_int_equal(note_port(window, 443, 900), DENIAL_WINDOW_COUNTED);
        denial_window_flush(window, 1099);
        assert_int_equal(summaries.count, 0);
        denial_window_flush(window, 1100);
        assert_int_equal(summaries.count, 1);
        assert_int_equal(summaries.items[0].event, DECISION_EVENT_SUMMARY);
        assert_int_equal(summaries.items[0].count, 2);
        assert_int_equal(summaries.items[0].first_time_us, 200000);
        assert_int_equal(summaries.items[0].last_time_us, 900000);
        assert_int_equal(summaries.items[0].time_us, 1100000);
        assert_int_equal(note_port(window, 443, 1150), DENIAL_WINDOW_COUNTED); /* The next window has begun. */
        denial_window_flush(window, 2100);
        assert_int_equal(summaries.count, 2);
        assert_int_equal(summaries.items[1].count, 1);
        denial_window_flush(window, 3100); /* Nothing in it: no summary, and the kind is forgotten. */
        assert_int_equal(summaries.count, 2);
        assert_int_equal(denial_window_deadline_ms(window), UINT64_MAX);
        assert_int_equal(note_port(window, 443, 3200), DENIAL_WINDOW_PASS);
        denial_window_flush_all(window, 3200);
        assert_int_equal(summaries.count, 2);
        denial_window_free(window);
}

static void a_flush_that_is_late_changes_when_but_not_how_many(void **state)
{
        struct denial_window *window = make(4);

        (void)state;
        assert_int_equal(note_port(window, 443, 0), DENIAL_WINDOW_PASS);
        assert_int_equal(note_port(window, 443, 500), DENIAL_WINDOW_COUNTED);
        assert_int_equal(note_port(window, 443, 5000), DENIAL_WINDOW_COUNTED);
        assert_int_equal(note_port(window, 80, 5000), DENIAL_WINDOW_PASS);
        denial_window_flush(window, 5500);
        assert_int_equal(summaries.count, 1);
        assert_int_equal(summaries.items[0].count, 2);
        assert_int_equal(note_port(window, 80, 9000), DENIAL_WINDOW_PASS); /* Its window is long over. */
        assert_int_equal(note_port(window, 80, 9001), DENIAL_WINDOW_COUNTED);
        denial_window_flush_all(window, 9002);
        assert_int_equal(summaries.count, 2);
        denial_window_free(window);
}

/* Each worker has a ring of its own, and what one has decided is read after what the next one has. */
static void a_summary_says_the_earliest_and_the_latest_time_in_whatever_order_they_come(void **state)
{
        static const uint64_t times_us[] = { 500000, 400000, 900000, 300000, 800000 };
        struct denial_window *window = make(4);
        struct decision decision = sample_packet();

        (void)state;
        assert_int_equal(denial_window_note(window, &decision, 1000), DENIAL_WINDOW_PASS);
        for (size_t i = 0; i < ARRAY_SIZE(times_us); i++) {
                decision.time_us = times_us[i];
                assert_int_equal(denial_window_note(window, &decision, 1000), DENIAL_WINDOW_COUNTED);
        }
        denial_window_flush_all(window, 1250);
        assert_int_equal(summaries.count, 1);
        assert_int_equal(summaries.items[0].first_time_us, 300000);
        assert_int_equal(summaries.items[0].last_time_us, 900000);
        assert_int_equal(summaries.items[0].time_us, 1150000);
        denial_window_free(window);
}

/* Changes one thing of a decision. */
typedef void (*change_fn)(struct decision *decision);

static void change_event(struct decision *decision)
{
        decision->event = DECISION_EVENT_CONNECTION;
}

static void change_listener(struct decision *decision)
{
        decision->listener = DECISION_LISTENER_PROXY;
}

static void change_action(struct decision *decision)
{
        decision->action = POLICY_AUDIT;
}

static void change_reason(struct decision *decision)
{
        decision->reason = REASON_DENY_RULE;
}

static void change_protocol(struct decision *decision)
{
        decision->protocol = DECISION_PROTOCOL_IP;
}

static void change_ip_protocol(struct decision *decision)
{
        decision->ip_protocol = 50;
}

static void change_cluster(struct decision *decision)
{
        decision->cluster[0] ^= 1;
}

static void fill_cluster(struct decision *decision)
{
        memset(decision->cluster, 'x', sizeof(decision->cluster)); /* To the last byte, without a NUL. */
}

static void change_client(struct decision *decision)
{
        decision->client.address.bytes[3]++;
}

static void change_name(struct decision *decision)
{
        decision->fqdn.text[0] = 'y';
}

static void change_length_of_name(struct decision *decision)
{
        decision->fqdn.length--;
}

static void change_destination_port(struct decision *decision)
{
        decision->destination.port++;
}

static void change_query_type(struct decision *decision)
{
        decision->dns.type++;
}

static void change_query_class(struct decision *decision)
{
        decision->dns.class = 3;
}

static void change_rcode(struct decision *decision)
{
        decision->dns.rcode = 1;
}

static void change_response(struct decision *decision)
{
        decision->dns.has_response = false;
}

static void change_what_varies(struct decision *decision)
{
        decision->client.port++;
        decision->time_us++;
        decision->duration_ms++;
        decision->bytes_in++;
        decision->bytes_out++;
        decision->snat = sample_endpoint("10.0.1.11", 1025);
        decision->connection_id[0] ^= 1;
        decision->alpn[0] ^= 1;
        decision->hint[0] ^= 1;
        decision->dns.id++;
        decision->dns.request_size++;
        decision->original.address.bytes[0]++;
        decision->destination.address.bytes[0]++; /* It has a name. */
}

static void only_denials_that_are_alike_are_counted_together(void **state)
{
        static const change_fn differences[] = {
                change_event,      change_listener,    change_action,         change_reason,
                change_protocol,   change_ip_protocol, change_cluster,        fill_cluster,
                change_client,     change_name,        change_length_of_name, change_destination_port,
                change_query_type, change_query_class, change_rcode,          change_response,
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
                struct denial_window *window = make(4);
                const struct decision query = sample_query();
                struct decision other = query;

                assert_int_equal(denial_window_note(window, &query, 0), DENIAL_WINDOW_PASS);
                differences[i](&other);
                assert_int_equal(denial_window_note(window, &other, 0), DENIAL_WINDOW_PASS);
                other = query;
                change_what_varies(&other);
                assert_int_equal(denial_window_note(window, &other, 0), DENIAL_WINDOW_COUNTED);
                denial_window_free(window);
        }
}

static void without_a_name_the_address_tells_kinds_apart(void **state)
{
        struct denial_window *window = make(4);
        struct decision packet = sample_packet();

        (void)state;
        packet.fqdn.length = 0;
        assert_int_equal(denial_window_note(window, &packet, 0), DENIAL_WINDOW_PASS);
        assert_int_equal(denial_window_note(window, &packet, 0), DENIAL_WINDOW_COUNTED);
        packet.destination.address.bytes[3]++;
        assert_int_equal(denial_window_note(window, &packet, 0), DENIAL_WINDOW_PASS);
        packet.destination.address = (struct net_address){ 0 };
        assert_int_equal(denial_window_note(window, &packet, 0),
                         DENIAL_WINDOW_COUNTED); /* original is the first one's */
        packet.original.address.bytes[3] += 2;
        assert_int_equal(denial_window_note(window, &packet, 0), DENIAL_WINDOW_PASS);
        denial_window_free(window);
}

static void what_is_no_denial_always_passes(void **state)
{
        struct denial_window *window = make(4);
        struct decision decisions[] = { sample_flow(),
                                        sample_flow(),
                                        sample_query(),
                                        sample_packet(),
                                        { .event = DECISION_EVENT_ALARM, .action = POLICY_DENY } };

        (void)state;
        decisions[1].action = POLICY_AUDIT;
        decisions[2].action = POLICY_ALLOW;
        decisions[3] = sample_summary(&decisions[3]);
        for (size_t i = 0; i < ARRAY_SIZE(decisions); i++)
                for (unsigned round = 0; round < 2; round++)
                        assert_int_equal(denial_window_note(window, &decisions[i], 0), DENIAL_WINDOW_PASS);
        assert_int_equal(denial_window_deadline_ms(window), UINT64_MAX);
        denial_window_free(window);
}

/* Field by field, as records show them. */
static void assert_same_record(const struct decision *decision, const struct decision *expected)
{
        static const struct formatter_style json = { .format = CONFIG_FORMAT_JSON, .host_name = "", .resource_id = "" };
        static struct formatter_body body, expected_body;

        formatter_write_body(&json, decision, &body);
        formatter_write_body(&json, expected, &expected_body);
        assert_int_equal(body.length, expected_body.length);
        assert_memory_equal(body.bytes, expected_body.bytes, body.length);
}

static void a_summary_is_the_first_one_with_sums_of_the_others(void **state)
{
        struct denial_window *window = make(4);
        struct decision query = sample_query();
        struct decision expected = sample_query();

        (void)state;
        assert_int_equal(denial_window_note(window, &query, 0), DENIAL_WINDOW_PASS);
        query.dns.id = 1;
        query.dns.request_size = 100;
        query.time_us += 5;
        assert_int_equal(denial_window_note(window, &query, 10), DENIAL_WINDOW_COUNTED);
        query.dns.request_size = UINT32_MAX - 90;
        query.time_us += 5;
        assert_int_equal(denial_window_note(window, &query, 20), DENIAL_WINDOW_COUNTED);
        denial_window_flush(window, 1000);
        assert_int_equal(summaries.count, 1);
        expected.event = DECISION_EVENT_SUMMARY;
        expected.client.port = 0;
        expected.duration_ms = 0;
        expected.count = 2;
        expected.first_time_us = expected.time_us + 5;
        expected.last_time_us = expected.time_us + 10;
        expected.time_us += 10 + 980 * 1000;
        expected.dns.request_size = UINT32_MAX; /* It holds no more. */
        expected.dns.response_size = 2 * 97;
        assert_same_record(&summaries.items[0], &expected);
        denial_window_free(window);
}

static void windows_end_in_the_order_in_which_they_began(void **state)
{
        struct denial_window *window = make(8);

        (void)state;
        for (uint16_t port = 1; port <= 5; port++) {
                assert_int_equal(note_port(window, port, port * 100U), DENIAL_WINDOW_PASS);
                assert_int_equal(denial_window_deadline_ms(window), 1100);
        }
        for (uint16_t port = 5; port >= 1; port--)
                assert_int_equal(note_port(window, port, 600), DENIAL_WINDOW_COUNTED);
        for (uint16_t port = 1; port <= 5; port++) {
                uint64_t deadline_ms = denial_window_deadline_ms(window);
                assert_int_equal(deadline_ms, 1000 + port * 100);
                denial_window_flush(window, deadline_ms - 1);
                assert_int_equal(summaries.count, port - 1);
                denial_window_flush(window, deadline_ms);
                assert_int_equal(summaries.count, port);
                assert_int_equal(summaries.items[port - 1].destination.port, port);
        }
        assert_int_equal(denial_window_deadline_ms(window), 2100);
        denial_window_free(window);
}

static void a_full_table_ends_the_oldest_window_early(void **state)
{
        struct denial_window *window = make(2);

        (void)state;
        assert_int_equal(note_port(window, 1, 0), DENIAL_WINDOW_PASS);
        assert_int_equal(note_port(window, 2, 1), DENIAL_WINDOW_PASS);
        assert_int_equal(note_port(window, 1, 2), DENIAL_WINDOW_COUNTED);
        assert_int_equal(note_port(window, 3, 3), DENIAL_WINDOW_PASS);
        assert_int_equal(summaries.count, 1);
        assert_int_equal(summaries.items[0].destination.port, 1);
        assert_int_equal(summaries.items[0].count, 1);
        assert_int_equal(summaries.items[0].time_us, 3000);
        assert_int_equal(note_port(window, 4, 4), DENIAL_WINDOW_PASS); /* Of 2 there is nothing to say. */
        assert_int_equal(summaries.count, 1);
        assert_int_equal(note_port(window, 3, 5), DENIAL_WINDOW_COUNTED);
        assert_int_equal(note_port(window, 4, 5), DENIAL_WINDOW_COUNTED);
        assert_int_equal(note_port(window, 1, 6), DENIAL_WINDOW_PASS);
        denial_window_flush_all(window, 6);
        assert_int_equal(summaries.count, 3);
        denial_window_free(window);
}

/* A model of random traffic: what was noted of each kind must have come out of it, one way or the other. */
#define MODEL_KINDS 40

struct model {
        uint64_t noted[MODEL_KINDS];
        uint64_t noted_bytes[MODEL_KINDS];
        uint64_t told[MODEL_KINDS];
        uint64_t told_bytes[MODEL_KINDS];
        uint64_t last_summary_ms[MODEL_KINDS];
        uint64_t now_ms;
        bool may_be_early; /* the table is smaller than the number of kinds, or everything is flushed */
};

static void model_on_summary(const struct decision *summary, void *context)
{
        struct model *model = context;
        size_t kind = summary->destination.port;

        assert_true(summary->count > 0);
        assert_true(summary->first_time_us <= summary->last_time_us && summary->last_time_us <= summary->time_us);
        assert_int_equal(summary->time_us, model->now_ms * 1000);
        if (!model->may_be_early && model->last_summary_ms[kind] > 0)
                assert_true(model->now_ms - model->last_summary_ms[kind] >= WINDOW_MS);
        model->last_summary_ms[kind] = model->now_ms;
        model->told[kind] += summary->count;
        model->told_bytes[kind] += summary->bytes_out;
}

static uint32_t next_random(uint32_t *seed)
{
        *seed = *seed * 1664525 + 1013904223;
        return *seed >> 8;
}

static void model_note(struct model *model, struct denial_window *window, size_t kind, uint64_t bytes)
{
        struct decision decision = sample_packet();

        decision.event = DECISION_EVENT_CONNECTION;
        decision.destination.port = (uint16_t)kind;
        decision.time_us = model->now_ms * 1000;
        decision.bytes_out = bytes;
        model->noted[kind]++;
        model->noted_bytes[kind] += bytes;
        if (denial_window_note(window, &decision, model->now_ms) == DENIAL_WINDOW_PASS) {
                model->told[kind]++;
                model->told_bytes[kind] += bytes;
        }
}

static void run_model(uint32_t seed, size_t table_kinds)
{
        struct model model = { .now_ms = 1, .may_be_early = table_kinds < MODEL_KINDS };
        struct denial_window *window = NULL;
        uint32_t random = seed;

        assert_int_equal(denial_window_new(table_kinds, WINDOW_MS, model_on_summary, &model, &window), 0);
        for (unsigned step = 0; step < 3000; step++) {
                size_t kind = next_random(&random) % MODEL_KINDS;
                kind = kind * (next_random(&random) % MODEL_KINDS) / MODEL_KINDS; /* some much more often than others */
                model.now_ms += next_random(&random) % 8 == 0 ? next_random(&random) % (WINDOW_MS / 4) : 0;
                model_note(&model, window, kind, next_random(&random) % 1000);
                if (next_random(&random) % 16 == 0)
                        denial_window_flush(window, model.now_ms);
                if (next_random(&random) % 16 == 0)
                        assert_true(denial_window_deadline_ms(window) <= model.now_ms + WINDOW_MS);
        }
        model.may_be_early = true;
        denial_window_flush_all(window, model.now_ms);
        assert_int_equal(denial_window_deadline_ms(window), UINT64_MAX);
        for (size_t kind = 0; kind < MODEL_KINDS; kind++)
                if (model.noted[kind] != model.told[kind] || model.noted_bytes[kind] != model.told_bytes[kind])
                        fail_msg("seed %u, table of %zu, kind %zu: noted %llu, told %llu", seed, table_kinds, kind,
                                 (unsigned long long)model.noted[kind], (unsigned long long)model.told[kind]);
        denial_window_free(window);
}

static void whatever_is_noted_is_passed_or_in_one_summary(void **state)
{
        static const size_t sizes[] = { 1, 2, 7, 39, MODEL_KINDS, 4096 };

        (void)state;
        for (uint32_t seed = 1; seed <= 60; seed++)
                for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
                        run_model(seed, sizes[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_first_passes_and_one_summary_a_window_counts_the_others),
                cmocka_unit_test(a_flush_that_is_late_changes_when_but_not_how_many),
                cmocka_unit_test(a_summary_says_the_earliest_and_the_latest_time_in_whatever_order_they_come),
                cmocka_unit_test(only_denials_that_are_alike_are_counted_together),
                cmocka_unit_test(without_a_name_the_address_tells_kinds_apart),
                cmocka_unit_test(what_is_no_denial_always_passes),
                cmocka_unit_test(a_summary_is_the_first_one_with_sums_of_the_others),
                cmocka_unit_test(windows_end_in_the_order_in_which_they_began),
                cmocka_unit_test(a_full_table_ends_the_oldest_window_early),
                cmocka_unit_test(whatever_is_noted_is_passed_or_in_one_summary),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
