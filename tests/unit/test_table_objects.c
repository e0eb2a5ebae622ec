/* What a table consists of, by our account and by nft's. */
#include "kernel/table_objects.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "own_network.h"

#define MANY_CHAINS 3000 /* more than one part of a dump */

static void run_nft(const char *commands)
{
        FILE *stream = popen("nft -f - 2>&1", "we");

        assert_non_null(stream);
        assert_true(fputs(commands, stream) >= 0);
        if (pclose(stream) != 0)
                fail_msg("nft refuses:\n%s", commands);
}

static struct table_objects read_table(void)
{
        struct table_objects objects;

        assert_int_equal(table_objects_read("ours", &objects), 0);
        return objects;
}

static bool has(const struct table_objects *objects, enum table_object_kind kind, const char *name)
{
        size_t count = 0;

        for (size_t i = 0; i < objects->count; i++)
                count += objects->items[i].kind == kind && strcmp(objects->items[i].name, name) == 0 ? 1 : 0;
        assert_true(count <= 1);
        return count == 1;
}

static void chains_sets_and_maps_are_told_with_their_names(void **state)
{
        (void)state;
        own_network_or_skip();
        run_nft("table inet ours {\n"
                "chain forward { type filter hook forward priority filter; }\n"
                "chain cluster.prod-weu { }\n"
                "set learned.udp.123.prod.v4 { type ipv4_addr; flags timeout; elements = { 192.0.2.1 timeout 1h }; }\n"
                "set ranges { type ipv6_addr; flags interval; }\n"
                "map verdicts { type ipv4_addr : verdict; flags interval; }\n"
                "map marks { type ipv4_addr : mark; }\n"
                "counter c { }\n"
                "map counters { type ipv4_addr : counter; }\n"
                "}\n");
        struct table_objects objects = read_table();
        assert_int_equal(objects.count, 7);
        assert_true(has(&objects, TABLE_OBJECT_CHAIN, "forward"));
        assert_true(has(&objects, TABLE_OBJECT_CHAIN, "cluster.prod-weu"));
        assert_true(has(&objects, TABLE_OBJECT_SET, "learned.udp.123.prod.v4"));
        assert_true(has(&objects, TABLE_OBJECT_SET, "ranges"));
        assert_true(has(&objects, TABLE_OBJECT_MAP, "verdicts"));
        assert_true(has(&objects, TABLE_OBJECT_MAP, "marks"));
        assert_true(has(&objects, TABLE_OBJECT_MAP, "counters"));
        table_objects_clear(&objects);
        assert_int_equal(objects.count, 0);
        table_objects_clear(&objects);
}

static void what_belongs_to_a_rule_is_left_out(void **state)
{
        (void)state;
        own_network_or_skip();
        run_nft("table inet ours { chain a { tcp dport { 22, 80 } accept; ip saddr 192.0.2.1 jump { accept; }; "
                "tcp dport vmap { 25 : drop, 26 : accept }; }; }\n");
        struct table_objects objects = read_table();
        assert_int_equal(objects.count, 1);
        assert_true(has(&objects, TABLE_OBJECT_CHAIN, "a"));
        table_objects_clear(&objects);
}

static void other_tables_are_not_told_of(void **state)
{
        (void)state;
        own_network_or_skip();
        run_nft("table inet ours2 { chain a { }; set b { type ipv4_addr; }; }\n"
                "table ip ours { chain c { }; set d { type ipv4_addr; }; map e { type ipv4_addr : mark; }; }\n"
                "table inet our { chain f { }; }\n");
        struct table_objects objects = read_table();
        assert_int_equal(objects.count, 0);
        run_nft("table inet ours { set g { type ipv4_addr; }; }\n");
        objects = read_table();
        assert_int_equal(objects.count, 1);
        assert_true(has(&objects, TABLE_OBJECT_SET, "g"));
        table_objects_clear(&objects);
}

static void there_may_be_very_many(void **state)
{
        char *text = NULL, name[32];
        size_t length;

        (void)state;
        own_network_or_skip();
        FILE *stream = open_memstream(&text, &length);
        assert_non_null(stream);
        for (unsigned i = 0; i < MANY_CHAINS; i++)
                fprintf(stream, "table inet ours { chain c%u { }; }\n", i);
        assert_int_equal(fclose(stream), 0);
        run_nft(text);
        free(text);
        struct table_objects objects = read_table();
        assert_int_equal(objects.count, MANY_CHAINS);
        snprintf(name, sizeof(name), "c%u", MANY_CHAINS - 1);
        assert_true(has(&objects, TABLE_OBJECT_CHAIN, "c0"));
        assert_true(has(&objects, TABLE_OBJECT_CHAIN, name));
        table_objects_clear(&objects);
}

static void without_rights_nothing_is_read(void **state)
{
        struct table_objects objects;
        int status;

        (void)state;
        own_network_or_skip();
        run_nft("table inet ours { chain a { }; }\n");
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                if (setuid(65534) != 0)
                        _exit(1);
                _exit(table_objects_read("ours", &objects) == -EPERM && objects.count == 0 ? 0 : 2);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

#define NETWORK_TEST(name) cmocka_unit_test_setup(name, own_network_setup)

int main(void)
{
        const struct CMUnitTest tests[] = {
                NETWORK_TEST(chains_sets_and_maps_are_told_with_their_names),
                NETWORK_TEST(what_belongs_to_a_rule_is_left_out),
                NETWORK_TEST(other_tables_are_not_told_of),
                NETWORK_TEST(there_may_be_very_many),
                NETWORK_TEST(without_rights_nothing_is_read),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
