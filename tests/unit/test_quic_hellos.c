#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "inspect/quic_hellos.h"
#include "quic_fixture.h"

#define SLOTS 5 /* four connections */
#define WAIT_MS 500

static struct quic_hellos *hellos;
static struct quic_hellos_answer answer;
static const struct net_endpoint client = { { AF_INET, { 10, 1, 0, 7 } }, 40000 };
static const struct net_endpoint server = { { AF_INET, { 192, 0, 2, 1 } }, 443 };

static int open_table(void **state)
{
        (void)state;
        build_message(NAME);
        return quic_hellos_new(SLOTS, WAIT_MS, &hellos);
}

static int close_table(void **state)
{
        (void)state;
        quic_hellos_free(hellos);
        return 0;
}

static void see_from(const struct net_endpoint *from, const struct net_endpoint *to, uint64_t now_ms)
{
        quic_hellos_read(hellos, keys, from, to, guarded_copy(&guarded, datagram.bytes, datagram.length),
                         datagram.length, now_ms, &answer);
}

static void see(uint64_t now_ms)
{
        see_from(&client, &server, now_ms);
}

/* A part of the message in a datagram of the connection with this number. */
static void build_part_of(uint8_t connection, size_t start, size_t end)
{
        struct quic_recipe recipe = quic_recipe_good;
        uint8_t identifier[8] = { 1, 2, 3, 4, 5, 6, 7, connection };

        recipe.destination_id = identifier;
        frames.length = 0;
        quic_put_crypto(&frames, start, message.bytes + start, end - start);
        build_datagram(&recipe);
}

static void see_part(uint8_t connection, size_t start, size_t end, uint64_t now_ms)
{
        build_part_of(connection, start, end);
        see(now_ms);
}

static void see_whole(uint8_t connection, uint64_t now_ms)
{
        see_part(connection, 0, message.length, now_ms);
}

static void assert_known(void)
{
        assert_int_equal(answer.verdict, QUIC_HELLOS_KNOWN);
        assert_int_equal(answer.result, QUIC_DONE);
        assert_int_equal(answer.kind, QUIC_PACKET_INITIAL);
        assert_string_equal(answer.hello->server_name.text, NAME);
        assert_in_range(answer.slot, 0, SLOTS - 1);
}

static void assert_waits(uint64_t deadline_ms)
{
        assert_int_equal(answer.verdict, QUIC_HELLOS_WAIT);
        assert_int_equal(answer.deadline_ms, deadline_ms);
        assert_null(answer.hello);
        assert_false(answer.settles);
        assert_in_range(answer.slot, 0, SLOTS - 1);
}

static void assert_unknown(enum quic_result result)
{
        assert_int_equal(answer.verdict, QUIC_HELLOS_UNKNOWN);
        assert_int_equal(answer.result, result);
        assert_null(answer.hello);
}

static void a_whole_hello_is_known_at_once(void **state)
{
        (void)state;
        see_whole(1, 1000);
        assert_known();
        assert_false(answer.settles);
        assert_int_equal(answer.evicted, QUIC_HELLOS_NO_SLOT);
}

static void the_second_part_settles_what_waits(void **state)
{
        uint64_t deadline_ms;
        size_t slot;

        (void)state;
        see_part(1, 900, message.length, 1000);
        assert_waits(1500);
        slot = answer.slot;
        assert_true(quic_hellos_next_deadline(hellos, &deadline_ms));
        assert_int_equal(deadline_ms, 1500);
        see_part(1, 900, message.length, 1200);
        assert_waits(1500);
        assert_int_equal(answer.slot, slot);
        see_part(1, 0, 900, 1300);
        assert_known();
        assert_true(answer.settles);
        assert_int_equal(answer.slot, slot);
        assert_false(quic_hellos_next_deadline(hellos, &deadline_ms));
        assert_false(quic_hellos_expire(hellos, 9999, &slot));
        /* Once only. */
        see_part(1, 0, 900, 1400);
        assert_known();
        assert_false(answer.settles);
}

static void repeated_datagrams_of_a_known_connection_are_known_unopened(void **state)
{
        (void)state;
        see_whole(1, 1000);
        assert_known();
        see_part(1, 500, 600, 9000);
        assert_known();
        datagram.bytes[500] ^= 1; /* would not open */
        see(9000);
        assert_known();
        /* Early data has the same identifier. */
        datagram.length = 0;
        hello_put(&datagram, "\xd3\x00\x00\x00\x01\x08\x01\x02\x03\x04\x05\x06\x07\x01\x00\x40\x50", 17);
        hello_put_filler(&datagram, 80);
        see(9000);
        assert_int_equal(answer.verdict, QUIC_HELLOS_KNOWN);
        assert_int_equal(answer.kind, QUIC_PACKET_OTHER_TYPE);
        datagram.bytes[13] = 2;
        see(9000);
        assert_unknown(QUIC_NOT_INITIAL);
        assert_int_equal(answer.kind, QUIC_PACKET_OTHER_TYPE);
        assert_int_equal(answer.slot, QUIC_HELLOS_NO_SLOT);
}

static void connections_differ_in_every_part_of_their_key(void **state)
{
        static const struct net_endpoint others[] = {
                { { AF_INET, { 10, 1, 0, 8 } }, 40000 },
                { { AF_INET, { 10, 1, 0, 7 } }, 40001 },
                { { AF_INET, { 10, 1, 0, 7 } }, 40256 },
                { { AF_INET6, { 10, 1, 0, 7 } }, 40000 },
        };

        (void)state;
        for (size_t i = 0; i < 2 * ARRAY_SIZE(others); i++) {
                see_whole(1, 1000);
                assert_known();
                build_part_of(1, 0, 10);
                if (i % 2 == 0)
                        see_from(&others[i / 2], &server, 1000);
                else
                        see_from(&client, &others[i / 2], 1000);
                assert_waits(1500);
        }
        see_whole(1, 1000);
        see_part(2, 0, 10, 1000);
        assert_waits(1500);
}

static void an_identifier_is_not_one_with_a_zero_behind(void **state)
{
        struct quic_recipe recipe = quic_recipe_good;

        (void)state;
        see_whole(0, 1000);
        assert_known();
        recipe.destination_id = "\1\2\3\4\5\6\7";
        recipe.destination_id_length = 7;
        frames.length = 0;
        quic_put_crypto(&frames, 0, message.bytes, 10);
        build_datagram(&recipe);
        see(1000);
        assert_waits(1500);
}

static void versions_do_not_share_a_connection(void **state)
{
        struct quic_recipe second = quic_recipe_good;

        (void)state;
        see_whole(1, 1000);
        assert_known();
        second.version = 2;
        second.destination_id = "\1\2\3\4\5\6\7\1";
        frames.length = 0;
        quic_put_crypto(&frames, 0, message.bytes, 10);
        build_datagram(&second);
        see(1000);
        assert_waits(1500);
}

static void a_connection_is_given_up_once_at_its_deadline(void **state)
{
        size_t slot = QUIC_HELLOS_NO_SLOT, first;
        uint64_t deadline_ms;

        (void)state;
        see_part(1, 0, 900, 1000);
        first = answer.slot;
        see_part(2, 0, 900, 1100);
        assert_true(quic_hellos_next_deadline(hellos, &deadline_ms));
        assert_int_equal(deadline_ms, 1500);
        assert_false(quic_hellos_expire(hellos, 1499, &slot));
        assert_true(quic_hellos_expire(hellos, 1500, &slot));
        assert_int_equal(slot, first);
        assert_false(quic_hellos_expire(hellos, 1500, &slot));
        assert_true(quic_hellos_next_deadline(hellos, &deadline_ms));
        assert_int_equal(deadline_ms, 1600);
        /* It does not wait again, and may yet become known. */
        see_part(1, 0, 901, 1550);
        assert_unknown(QUIC_NEED_MORE);
        assert_false(answer.settles);
        see_part(1, 900, message.length, 1560);
        assert_known();
        assert_false(answer.settles);
}

static void what_became_bad_settles_too(void **state)
{
        (void)state;
        see_part(1, 0, 900, 1000);
        assert_waits(1500);
        message.bytes[899] ^= 1;
        see_part(1, 890, message.length, 1100);
        assert_unknown(QUIC_CONFLICT);
        assert_true(answer.settles);
        message.bytes[899] ^= 1;
        see_part(1, 0, message.length, 1200);
        assert_unknown(QUIC_CONFLICT);
        assert_false(answer.settles);
}

static void what_is_not_authentic_takes_no_slot_and_disturbs_nobody(void **state)
{
        (void)state;
        see_part(1, 0, 900, 1000);
        for (uint8_t i = 2; i < 20; i++) {
                build_part_of(i, 0, 900);
                datagram.bytes[200] ^= 1;
                see(1100);
                assert_unknown(QUIC_NOT_AUTHENTIC);
                assert_int_equal(answer.slot, QUIC_HELLOS_NO_SLOT);
                assert_int_equal(answer.evicted, QUIC_HELLOS_NO_SLOT);
                datagram.length = 100;
                see(1100);
                assert_unknown(QUIC_BAD_PACKET);
                assert_int_equal(answer.kind, QUIC_PACKET_CUT);
                hello_put(&datagram, "not QUIC", 8);
                datagram.bytes[0] = 0;
                see(1100);
                assert_unknown(QUIC_NOT_INITIAL);
                assert_int_equal(answer.kind, QUIC_PACKET_NONE);
        }
        build_part_of(1, 0, 900);
        datagram.bytes[200] ^= 1;
        see(1200);
        assert_waits(1500);
        see_part(1, 900, message.length, 1200);
        assert_known();
        assert_true(answer.settles);
}

static void a_full_table_forgets_the_known_that_was_not_seen_for_longest(void **state)
{
        (void)state;
        see_part(1, 0, 900, 1000);
        assert_waits(1500);
        for (uint8_t i = 2; i <= 4; i++)
                see_whole(i, 1000);
        see_part(2, 0, 1, 1000); /* seen again */
        assert_known();
        see_whole(5, 1000);
        assert_int_equal(answer.evicted, QUIC_HELLOS_NO_SLOT);
        for (uint8_t i = 2; i <= 5; i++) {
                if (i == 3)
                        continue;
                see_part(i, 0, 1, 1000);
                assert_known();
        }
        see_part(1, 900, message.length, 1000);
        assert_known();
        assert_true(answer.settles);
        see_part(3, 0, 1, 1000);
        assert_waits(1500);
}

static void when_all_wait_the_one_that_waited_longest_gives_way(void **state)
{
        size_t slots[6];

        (void)state;
        for (uint8_t i = 1; i <= 4; i++) {
                see_part(i, 0, 900, 1000u + i);
                assert_waits(1500u + i);
                assert_int_equal(answer.evicted, QUIC_HELLOS_NO_SLOT);
                slots[i] = answer.slot;
        }
        see_part(1, 0, 900, 1010); /* being seen again makes nobody younger */
        see_part(5, 0, 900, 1020);
        assert_waits(1520);
        assert_int_equal(answer.evicted, slots[1]);
        for (uint8_t i = 2; i <= 4; i++)
                assert_int_not_equal(answer.slot, slots[i]);
        see_whole(6, 1030);
        assert_known();
        assert_int_equal(answer.evicted, slots[2]);
        /* The one that gave way starts anew. */
        see_part(1, 900, message.length, 1040);
        assert_waits(1540);
        assert_int_equal(answer.evicted, QUIC_HELLOS_NO_SLOT); /* in the place of the known one */
}

/* The caller's clock does not go back; if it did, the new one would be the one with the earliest deadline. */
static void nobody_gives_way_to_itself(void **state)
{
        (void)state;
        for (uint8_t i = 1; i <= 20; i++) {
                see_part(i, 0, 900, 2000u - i);
                assert_waits(2500u - i);
                see_part(i, 0, 901, 2000u - i);
                assert_waits(2500u - i);
        }
}

/* The caller keeps a record a slot: at no time are two connections told to wait at the same one. */
static void no_slot_is_given_to_two_that_wait(void **state)
{
        uint8_t owner[SLOTS] = { 0 };
        unsigned seed = 6;
        size_t slot, waiting = 0, ended = 0, told = 0;

        (void)state;
        for (unsigned round = 0; round < 5000; round++) {
                uint8_t connection = (uint8_t)(1 + rand_r(&seed) % 9);
                uint64_t now_ms = round * 40;

                while (quic_hellos_expire(hellos, now_ms, &slot)) {
                        assert_int_not_equal(owner[slot], 0);
                        owner[slot] = 0;
                        ended++;
                }
                bool first_half = rand_r(&seed) % 2 == 0;
                see_part(connection, first_half ? 0 : 900, first_half ? 900 : message.length, now_ms);
                if (answer.evicted != QUIC_HELLOS_NO_SLOT) {
                        assert_int_not_equal(owner[answer.evicted], 0);
                        owner[answer.evicted] = 0;
                        ended++;
                }
                if (answer.verdict == QUIC_HELLOS_WAIT) {
                        assert_true(owner[answer.slot] == 0 || owner[answer.slot] == connection);
                        waiting += owner[answer.slot] == 0 ? 1 : 0;
                        owner[answer.slot] = connection;
                } else if (answer.settles) {
                        assert_int_equal(owner[answer.slot], connection);
                        owner[answer.slot] = 0;
                        ended++;
                        told++;
                }
        }
        for (size_t i = 0; i < SLOTS; i++)
                ended += owner[i] != 0 ? 1 : 0;
        assert_int_equal(waiting, ended);
        assert_in_range(told, 10, waiting - 10);
}

static void real_flights_are_known_whatever_comes_first(void **state)
{
        static const char *const paths[][4] = {
                { DIRECTORY "chromium-1.hex", DIRECTORY "chromium-2.hex", DIRECTORY "chromium-3.hex",
                  DIRECTORY "chromium-4.hex" },
                { DIRECTORY "chromium-version-2-2.hex", DIRECTORY "chromium-version-2-1.hex",
                  DIRECTORY "chromium-version-2-2.hex", DIRECTORY "chromium-version-2-1.hex" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                for (size_t j = 0; j < ARRAY_SIZE(paths[i]); j++) {
                        hello_read(paths[i][j], &datagram);
                        see(1000 + 10 * j);
                        if (j == 0) {
                                assert_waits(1500);
                                continue;
                        }
                        assert_known();
                        assert_int_equal(answer.settles, j == 1);
                        assert_string_equal(answer.hello->alpn, "h3");
                }
        }
}

#define TABLE_TEST(function) cmocka_unit_test_setup_teardown(function, open_table, close_table)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TABLE_TEST(a_whole_hello_is_known_at_once),
                TABLE_TEST(the_second_part_settles_what_waits),
                TABLE_TEST(repeated_datagrams_of_a_known_connection_are_known_unopened),
                TABLE_TEST(connections_differ_in_every_part_of_their_key),
                TABLE_TEST(an_identifier_is_not_one_with_a_zero_behind),
                TABLE_TEST(versions_do_not_share_a_connection),
                TABLE_TEST(a_connection_is_given_up_once_at_its_deadline),
                TABLE_TEST(what_became_bad_settles_too),
                TABLE_TEST(what_is_not_authentic_takes_no_slot_and_disturbs_nobody),
                TABLE_TEST(a_full_table_forgets_the_known_that_was_not_seen_for_longest),
                TABLE_TEST(when_all_wait_the_one_that_waited_longest_gives_way),
                TABLE_TEST(nobody_gives_way_to_itself),
                TABLE_TEST(no_slot_is_given_to_two_that_wait),
                TABLE_TEST(real_flights_are_known_whatever_comes_first),
        };

        return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
