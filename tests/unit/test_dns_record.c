#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "dns_builder.h"
#include "guarded.h"
#include "inspect/dns_record.h"

#define NAME "www.example.com"

static struct dns_bytes message, expected;
static uint8_t output[2048];

/*
 * Data of each type of RFC 3597 4, by its RFC: digits are that many zeros, N is a name, S a character-string, R the
 * rest.
 */
static const struct {
        unsigned type;
        const char *form;
} forms[] = {
        { 2, "N" },     { 3, "N" },    { 4, "N" },   { 5, "N" },   { 6, "NN992" },  { 7, "N" },   { 8, "N" },
        { 9, "N" },     { 12, "N" },   { 14, "NN" }, { 15, "2N" }, { 17, "NN" },    { 18, "2N" }, { 21, "2N" },
        { 24, "99NR" }, { 26, "2NN" }, { 30, "NR" }, { 33, "6N" }, { 35, "4SSSN" }, { 36, "2N" }, { 39, "N" },
};

static void put_data(struct dns_bytes *bytes, const char *form, bool compressed)
{
        for (; *form != '\0'; form++)
                switch (*form) {
                case 'N':
                        dns_put_name(bytes, compressed ? "x.@+4" : "x.example.com");
                        break;
                case 'S':
                        dns_put(bytes, "\003abc", 4);
                        break;
                case 'R':
                        dns_put(bytes, "rest", 4);
                        break;
                default:
                        for (int i = 0; i < *form - '0'; i++)
                                dns_put_u8(bytes, 0);
                }
}

static void read_record(const struct dns_bytes *bytes, struct dns_record *ret)
{
        struct byte_cursor cursor = byte_cursor_from(bytes->bytes, bytes->length);

        assert_true(byte_cursor_skip(&cursor, DNS_MESSAGE_HEADER_SIZE + sizeof(NAME) + 1 + 4));
        assert_true(dns_record_read(&cursor, ret));
        assert_int_equal(cursor.left, 0);
}

static void compressed_data_is_written_out(void **state)
{
        struct dns_record record;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                const char *form = forms[i].form;
                dns_start(&message, 0x8180, NAME, forms[i].type);
                size_t data = dns_begin_record(&message, DNS_SECTION_ANSWER, "@", forms[i].type, 60);
                put_data(&message, form, true);
                dns_end_record(&message, data);
                expected.length = 0;
                put_data(&expected, form, false);
                struct byte_builder builder = byte_builder_on(output, sizeof(output));
                read_record(&message, &record);
                assert_true(dns_record_write_data(message.bytes, &record, &builder));
                assert_int_equal(builder.length, expected.length);
                assert_memory_equal(output, expected.bytes, expected.length);
        }
}

/* Every prefix, and one byte more, except where anything may follow. */
static void data_of_another_length_is_malformed(void **state)
{
        struct dns_record record;

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
                const char *form = forms[i].form;
                bool open = strchr(form, 'R') != NULL;
                dns_start(&message, 0x8180, NAME, forms[i].type);
                size_t data = dns_begin_record(&message, DNS_SECTION_ANSWER, "@", forms[i].type, 60);
                put_data(&message, form, true);
                size_t whole = message.length, least = whole - (open ? 4 : 0);
                dns_put_u8(&message, 0);
                for (message.length = data; message.length <= whole + 1; message.length++) {
                        bool good = open ? message.length >= least : message.length == whole;
                        struct byte_builder builder = byte_builder_on(output, sizeof(output));
                        dns_end_record(&message, data);
                        read_record(&message, &record);
                        assert_int_equal(dns_record_write_data(message.bytes, &record, &builder), good);
                }
        }
}

static void data_of_other_types_is_copied(void **state)
{
        static const uint8_t data[] = { 3, 'w', 'w', 'w', 0xc0, 12, 0xff };
        struct dns_record record;

        (void)state;
        for (unsigned type = 0; type < 65536; type++) {
                bool has_form = false;
                for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
                        has_form = has_form || forms[i].type == type;
                if (has_form)
                        continue;
                struct byte_builder builder = byte_builder_on(output, sizeof(output));
                dns_start(&message, 0x8180, NAME, type);
                dns_put_record(&message, DNS_SECTION_ANSWER, "@", type, 60, data, sizeof(data));
                read_record(&message, &record);
                assert_int_equal(record.type, type);
                assert_true(dns_record_write_data(message.bytes, &record, &builder));
                assert_int_equal(builder.length, sizeof(data));
                assert_memory_equal(output, data, sizeof(data));
        }
}

static void running_out_of_room_shows_and_writes_nothing_past_it(void **state)
{
        struct dns_record record;
        struct guarded guarded;

        (void)state;
        dns_start(&message, 0x8180, NAME, 6);
        size_t data = dns_begin_record(&message, DNS_SECTION_ANSWER, "@", 6, 60);
        put_data(&message, "NN992", true);
        dns_end_record(&message, data);
        read_record(&message, &record);
        guarded_open(&guarded, 4096);
        for (size_t size = 0; size < 60; size++) {
                struct byte_builder builder = byte_builder_on(guarded.end - size, size);
                assert_true(dns_record_write_data(message.bytes, &record, &builder));
                assert_int_equal(builder.full, size < 50);
        }
        guarded_close(&guarded);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(compressed_data_is_written_out),
                cmocka_unit_test(data_of_another_length_is_malformed),
                cmocka_unit_test(data_of_other_types_is_copied),
                cmocka_unit_test(running_out_of_room_shows_and_writes_nothing_past_it),
        };

        return cmocka_run_group_tests_name("dns_record", tests, NULL, NULL);
}
