#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/text_table.h"

#define MANY 20000

static int make_table(void **state)
{
        *state = text_table_new();
        return *state == NULL ? -1 : 0;
}

static int drop_table(void **state)
{
        text_table_free(*state);
        return 0;
}

static uint32_t add(struct text_table *table, const char *key)
{
        uint32_t entry = TEXT_TABLE_NONE;

        assert_int_equal(text_table_add(table, key, strlen(key), &entry), 0);
        return entry;
}

static void an_empty_table_finds_nothing(void **state)
{
        assert_int_equal(text_table_find(*state, "a", 1), TEXT_TABLE_NONE);
        assert_int_equal(text_table_find(*state, "", 0), TEXT_TABLE_NONE);
        assert_int_equal(text_table_first(*state), TEXT_TABLE_NONE);
}

static void a_new_entry_has_no_number_and_keeps_the_one_it_gets(void **state)
{
        uint32_t entry = add(*state, "key");

        assert_int_equal(text_table_number(*state, entry), TEXT_TABLE_NONE);
        text_table_set_number(*state, entry, 7);
        assert_int_equal(text_table_number(*state, add(*state, "key")), 7);
        assert_int_equal(text_table_count(*state), 1);
}

static void a_key_is_not_found_by_its_beginning(void **state)
{
        add(*state, "example.com");
        assert_int_equal(text_table_find(*state, "example.co", 10), TEXT_TABLE_NONE);
        assert_int_equal(text_table_find(*state, "example.comx", 12), TEXT_TABLE_NONE);
}

static void every_one_of_many_keys_is_found_in_the_order_it_was_added(void **state)
{
        char key[16];
        uint32_t entry;
        unsigned i = 0;

        for (unsigned number = 0; number < MANY; number++) {
                snprintf(key, sizeof(key), "k%u", number);
                text_table_set_number(*state, add(*state, key), number);
        }
        text_table_trim(*state);
        assert_int_equal(text_table_count(*state), MANY);
        for (entry = text_table_first(*state); entry != TEXT_TABLE_NONE; entry = text_table_next(*state, entry), i++) {
                int length = snprintf(key, sizeof(key), "k%u", i);
                assert_int_equal(text_table_number(*state, entry), i);
                assert_int_equal(text_table_key(*state, entry).length, length);
                assert_memory_equal(text_table_key(*state, entry).bytes, key, length);
                assert_int_equal(text_table_find(*state, key, (size_t)length), entry);
        }
        assert_int_equal(i, MANY);
        add(*state, "after trimming"); /* the arena grows again */
        assert_int_not_equal(text_table_find(*state, "k19999", 6), TEXT_TABLE_NONE);
}

static void a_key_of_255_bytes_fits_and_one_more_does_not(void **state)
{
        char key[TEXT_TABLE_MAX_KEY_LENGTH + 1];
        uint32_t entry;

        memset(key, 'x', sizeof(key));
        assert_int_equal(text_table_add(*state, key, sizeof(key), &entry), -EINVAL);
        assert_int_equal(text_table_count(*state), 0);
        assert_int_equal(text_table_add(*state, key, sizeof(key) - 1, &entry), 0);
        assert_int_equal(text_table_find(*state, key, sizeof(key) - 1), entry);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(an_empty_table_finds_nothing, make_table, drop_table),
                cmocka_unit_test_setup_teardown(a_new_entry_has_no_number_and_keeps_the_one_it_gets, make_table,
                                                drop_table),
                cmocka_unit_test_setup_teardown(a_key_is_not_found_by_its_beginning, make_table, drop_table),
                cmocka_unit_test_setup_teardown(every_one_of_many_keys_is_found_in_the_order_it_was_added, make_table,
                                                drop_table),
                cmocka_unit_test_setup_teardown(a_key_of_255_bytes_fits_and_one_more_does_not, make_table, drop_table),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
