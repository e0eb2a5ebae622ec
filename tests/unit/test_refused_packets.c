/*
 * Records of refused packets as they come out of a real record writer. Time passes when a test says so: for the event loop,
 * too, since its clock is this program's.
 */
#include "traffic/refused_packets.h"

#include <netinet/in.h>

#include "fake_clock.h"
#include "kernel/ruleset.h"
#include "policy_lab.h"
#include "quic_fixture.h"
#include "record_writer_lab.h"

#define RULES                                                                                                          \
        POLICY_LAB_CLUSTER "    allow: ['https " NAME ":443', 'udp [198.51.100.1]:5000']\n"                            \
                           "    deny: ['udp [198.51.100.2]:443']\n"
#define MARK "mark" /* an alarm that a test puts between records to see what came before it */
#define TRACE_SIZE 8192
#define CLIENT "10.1.0.7"
#define SERVER "203.0.113.1"

struct scene {
        struct policy_lab *lab;
        struct event_base *base;
        struct setup setup;
        struct record_writer *records;
        struct refused_packets *refused;
        uint8_t identifier; /* of the QUIC connection that the next datagram is of */
        char trace[TRACE_SIZE];
};

static struct scene scene;

static int open_scene(void **state)
{
        (void)make_directory(NULL);
        (void)policy_lab_open(state);
        memset(&scene, 0, sizeof(scene));
        scene.lab = *state;
        policy_lab_load(scene.lab, RULES);
        add_sink(&scene.setup, CONFIG_SINK_FILE, first_path);
        scene.records = start(&scene.setup, 1);
        scene.base = event_base_new();
        assert_non_null(scene.base);
        assert_int_equal(refused_packets_new(scene.base, scene.records, 0, &scene.refused), 0);
        build_message(NAME);
        return 0;
}

static int close_scene(void **state)
{
        refused_packets_free(scene.refused);
        record_writer_free(scene.records);
        event_base_free(scene.base);
        (void)remove_directory(NULL);
        return policy_lab_close(state);
}

static void mark(void)
{
        struct decision decision = { .event = DECISION_EVENT_ALARM, .alarm = MARK };

        record_writer_push(scene.records, 0, &decision);
}

/* Whole seconds pass, and the loop runs what is due. */
static void pass_s(uint64_t seconds)
{
        atomic_fetch_add(&passed_ms, seconds * 1000);
        assert_true(event_base_loop(scene.base, EVLOOP_NONBLOCK) >= 0);
        mark();
}

/* An IPv4 packet with a header for ports before its payload. */
static void take(const char *prefix, uint8_t protocol, const char *source, const char *destination, uint16_t port,
                 const struct hello_bytes *payload)
{
        static struct hello_bytes bytes;
        const struct net_address addresses[] = { address_of(source), address_of(destination) };
        size_t header_length = protocol == IPPROTO_TCP ? 20 : 8;
        struct ip_packet packet;

        bytes.length = 0;
        hello_put_number(&bytes, 2, 0x4500);
        hello_put_number(&bytes, 2, 20 + header_length + payload->length);
        hello_put_number(&bytes, 5, 0x40); /* one hop is enough for it, and it is no fragment */
        hello_put_number(&bytes, 1, protocol);
        hello_put_number(&bytes, 2, 0);
        hello_put(&bytes, addresses[0].bytes, 4);
        hello_put(&bytes, addresses[1].bytes, 4);
        hello_put_number(&bytes, 2, 40000);
        hello_put_number(&bytes, 2, port);
        if (protocol == IPPROTO_TCP)
                hello_put(&bytes, "\0\0\0\1\0\0\0\0\x50\2\xff\xff\0\0\0\0", 16);
        else
                hello_put_number(&bytes, 4, (8 + payload->length) << 16);
        hello_put(&bytes, payload->bytes, payload->length);
        uint8_t *copy = guarded_copy(&guarded, bytes.bytes, bytes.length);
        assert_int_equal(ip_packet_parse(copy, bytes.length, &packet), IP_PACKET_OK);
        refused_packets_take(scene.refused, scene.lab->policy, prefix, &packet, copy, 1719830096000000);
}

static void take_tcp(const char *source, uint16_t port)
{
        static const struct hello_bytes nothing;

        take(RULESET_LOG_NO_RULE, IPPROTO_TCP, source, SERVER, port, &nothing);
}

static void take_datagram(void)
{
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 443, &datagram);
}

/* A datagram with bytes start..end of a hello, of the connection in scene.identifier. */
static void build_hello_part(size_t start_at, size_t end)
{
        struct quic_recipe recipe = quic_recipe_good;
        uint8_t identifier[8] = { 1, 2, 3, 4, 5, 6, 7, scene.identifier };

        recipe.destination_id = identifier;
        frames.length = 0;
        quic_put_crypto(&frames, start_at, message.bytes + start_at, end - start_at);
        build_datagram(&recipe);
}

static void take_part(size_t start_at, size_t end)
{
        build_hello_part(start_at, end);
        take_datagram();
}

/* "quic(name) " of a packet, "alarm(hint) " of an alarm, "| " of a mark. */
static void trace_record(const json_t *record)
{
        size_t length = strlen(scene.trace);
        char *at = scene.trace + length, name[300] = "";

        assert_true(length + 600 < TRACE_SIZE);
        if (strcmp(text(record, "reason"), MARK) == 0) {
                strcpy(at, "| ");
                return;
        }
        if (strcmp(text(record, "event"), "alarm") == 0) {
                sprintf(at, "%s(%.3s) ", text(record, "reason"), text(record, "hint"));
                return;
        }
        if (text(record, "fqdn")[0] != '\0')
                snprintf(name, sizeof(name), "(%s)", text(record, "fqdn"));
        sprintf(at, "%s%s ", text(record, "reason"), name);
}

/* Ends it all, and reads back what was written. */
static void end(struct lines *lines)
{
        refused_packets_free(scene.refused);
        scene.refused = NULL;
        record_writer_free(scene.records);
        scene.records = NULL;
        read_lines(first_path, lines);
        assert_int_equal(check_sequence(lines), 0);
        for (size_t i = 0; i < lines->count; i++)
                trace_record(lines->records[i]);
}

/* What is behind the last mark was written by refused_packets_free. */
static void assert_trace(const char *expected)
{
        struct lines lines = { 0 };

        mark();
        end(&lines);
        free_lines(&lines);
        assert_string_equal(scene.trace, expected);
}

static void each_has_a_record_with_its_reason(void **state)
{
        static const struct hello_bytes nothing;

        (void)state;
        take_tcp(CLIENT, 22);
        take_tcp("10.1.0.8", 22);
        take_tcp(CLIENT, 23);
        take(RULESET_LOG_NO_FLOW, IPPROTO_TCP, CLIENT, SERVER, 22, &nothing);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 22, &nothing);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 53, &nothing);
        take("somebody-else", IPPROTO_UDP, CLIENT, SERVER, 54, &nothing);
        assert_trace("no-network-rule no-network-rule no-network-rule no-flow no-network-rule dns-bypass | ");
}

static void a_whole_hello_is_recorded_at_once_with_its_name(void **state)
{
        (void)state;
        take_part(0, message.length);
        mark();
        take_part(0, message.length);
        assert_trace("quic(" NAME ") | quic(" NAME ") | ");
}

static void a_hello_over_two_datagrams_names_both(void **state)
{
        (void)state;
        take_part(900, message.length);
        mark();
        take_part(0, 900);
        mark();
        pass_s(REFUSED_PACKETS_ALARM_MS / 1000);
        assert_trace("| quic(" NAME ") quic(" NAME ") | | | ");
}

static void a_browser_s_hello_over_two_datagrams_names_both(void **state)
{
        struct lines lines = { 0 };

        (void)state;
        hello_read(DIRECTORY "chromium-2.hex", &datagram);
        take_datagram();
        mark();
        hello_read(DIRECTORY "chromium-1.hex", &datagram);
        take_datagram();
        mark();
        end(&lines);
        assert_int_equal(lines.count, 4); /* mark, two records, mark */
        assert_string_equal(text(lines.records[1], "reason"), "quic");
        assert_string_equal(text(lines.records[1], "protocol"), "quic");
        assert_string_equal(text(lines.records[1], "alpn"), "h3");
        assert_string_not_equal(text(lines.records[1], "fqdn"), "");
        assert_string_equal(text(lines.records[2], "fqdn"), text(lines.records[1], "fqdn"));
        free_lines(&lines);
}

/* The loop's timer stands at the end of a window, and is set to go off earlier. */
static void a_hello_that_is_never_whole_is_recorded_without_name(void **state)
{
        (void)state;
        take_tcp(CLIENT, 22);
        take_part(0, 900);
        mark();
        pass_s(0);
        pass_s(1);
        take_part(900, message.length); /* late, and known all the same */
        assert_trace("no-network-rule | | quic | quic(" NAME ") | ");
}

/* The earlier one has waited for long enough when a third is needed. */
static void one_datagram_waits_at_a_time(void **state)
{
        (void)state;
        take_part(0, 100);
        take_part(100, 200);
        mark();
        take_part(200, message.length);
        assert_trace("quic | quic(" NAME ") quic(" NAME ") | ");
}

static void who_waits_for_longest_gives_way(void **state)
{
        struct lines lines = { 0 };

        (void)state;
        for (scene.identifier = 1; scene.identifier <= REFUSED_PACKETS_HELLOS; scene.identifier++) {
                mark();
                take_part(0, 900);
        }
        /* The last one took the first one's slot, and the end records the others. */
        scene.identifier = 2;
        take_part(900, message.length);
        end(&lines);
        free_lines(&lines);
        const char *rest = scene.trace;
        for (size_t i = 0; i < REFUSED_PACKETS_HELLOS; i++, rest += 2)
                assert_memory_equal(rest, "| ", 2);
        static const char named[] = "quic quic(" NAME ") quic(" NAME ") ";
        assert_memory_equal(rest, named, strlen(named));
        rest += strlen(named);
        for (size_t i = 2; i < REFUSED_PACKETS_HELLOS; i++, rest += 5)
                assert_memory_equal(rest, "quic ", 5);
        assert_string_equal(rest, "");
}

static void what_is_not_refused_as_quic_keeps_its_reason(void **state)
{
        (void)state;
        build_hello_part(0, message.length);
        take(RULESET_LOG_DENY_RULE, IPPROTO_UDP, CLIENT, "198.51.100.2", 443, &datagram);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 853, &datagram); /* DNS over QUIC: not opened */
        take(RULESET_LOG_NO_RULE, IPPROTO_TCP, CLIENT, SERVER, 8443, &datagram);
        datagram.bytes[0] &= 0x7f; /* a short header */
        take_datagram();
        assert_trace("deny-rule(" NAME ") dns-bypass no-network-rule no-network-rule | ");
}

static void quic_is_quic_at_any_port_but_those_of_dns(void **state)
{
        (void)state;
        build_hello_part(0, message.length);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 4433, &datagram);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 80, &datagram);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 53, &datagram);
        take(RULESET_LOG_NO_RULE, IPPROTO_UDP, CLIENT, SERVER, 853, &datagram);
        assert_trace("quic(" NAME ") quic(" NAME ") dns-bypass dns-bypass | ");
}

/* It looks like an Initial, and opens with nobody's key. */
static void a_damaged_hello_is_recorded_at_once(void **state)
{
        (void)state;
        build_hello_part(0, message.length);
        datagram.bytes[datagram.length - 1] ^= 1;
        take_datagram();
        assert_trace("quic | ");
}

static void lost_packets_are_an_alarm_a_window(void **state)
{
        (void)state;
        refused_packets_note_lost(scene.refused, 500);
        refused_packets_note_lost(scene.refused, 77);
        pass_s(REFUSED_PACKETS_ALARM_MS / 2000);
        pass_s(REFUSED_PACKETS_ALARM_MS / 2000);
        pass_s(REFUSED_PACKETS_ALARM_MS / 1000);
        refused_packets_note_lost(scene.refused, 123);
        assert_trace("| packets-unrecorded(577) | | | packets-unrecorded(123) ");
}

static void the_end_records_what_waits_and_what_is_lost(void **state)
{
        (void)state;
        take_tcp(CLIENT, 22);
        refused_packets_note_lost(scene.refused, 500);
        take_part(0, 900);
        scene.identifier = 1;
        take_part(900, message.length);
        assert_trace("no-network-rule | quic quic packets-unrecorded(500) ");
}

#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)

int main(void)
{
        const struct CMUnitTest tests[] = {
                SCENE_TEST(each_has_a_record_with_its_reason),
                SCENE_TEST(a_whole_hello_is_recorded_at_once_with_its_name),
                SCENE_TEST(a_hello_over_two_datagrams_names_both),
                SCENE_TEST(a_browser_s_hello_over_two_datagrams_names_both),
                SCENE_TEST(a_hello_that_is_never_whole_is_recorded_without_name),
                SCENE_TEST(one_datagram_waits_at_a_time),
                SCENE_TEST(who_waits_for_longest_gives_way),
                SCENE_TEST(what_is_not_refused_as_quic_keeps_its_reason),
                SCENE_TEST(quic_is_quic_at_any_port_but_those_of_dns),
                SCENE_TEST(a_damaged_hello_is_recorded_at_once),
                SCENE_TEST(lost_packets_are_an_alarm_a_window),
                SCENE_TEST(the_end_records_what_waits_and_what_is_lost),
        };

        return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
