#include "kernel/kernel_setting.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "own_network.h"

static char path[64];

static int make_file(void **state)
{
        (void)state;
        strcpy(path, "/tmp/aksegressd-setting-XXXXXX");
        int descriptor = mkstemp(path);
        return descriptor == -1 ? -1 : close(descriptor);
}

static int remove_file(void **state)
{
        (void)state;
        (void)unlink(path);
        return 0;
}

static void write_text(const char *text)
{
        FILE *stream = fopen(path, "we");

        assert_non_null(stream);
        assert_true(fputs(text, stream) >= 0);
        assert_int_equal(fclose(stream), 0);
}

static void the_first_digit_is_read(void **state)
{
        (void)state;
        write_text("1\n");
        assert_int_equal(kernel_setting_read(path), '1');
        write_text("0\n");
        assert_int_equal(kernel_setting_read(path), '0');
        write_text("2");
        assert_int_equal(kernel_setting_read(path), '2');
}

static void what_cannot_be_read_is_off(void **state)
{
        (void)state;
        assert_int_equal(kernel_setting_read(path), '0'); /* empty */
        assert_int_equal(kernel_setting_read("/proc/sys/net/no_such_setting"), '0');
        assert_int_equal(kernel_setting_read("/proc/sys/net"), '0'); /* opens, and is a directory */
}

static void switching_off_writes_0(void **state)
{
        char text[8] = "";

        (void)state;
        write_text("1\n");
        assert_int_equal(kernel_setting_switch_off(path), 0);
        FILE *stream = fopen(path, "re");
        assert_non_null(stream);
        assert_int_equal(fread(text, 1, sizeof(text), stream), 2);
        assert_int_equal(fclose(stream), 0);
        assert_string_equal(text, "0\n");
}

/* A kernel without IPv6 has no setting for it, and forwards none. */
static void a_setting_that_is_not_there_is_off_already(void **state)
{
        (void)state;
        assert_int_equal(kernel_setting_switch_off("/proc/sys/net/no_such_setting"), 0);
        assert_int_equal(kernel_setting_switch_off("/proc/sys/net"), -EISDIR);
        assert_int_equal(kernel_setting_switch_off("/dev/full"), -ENOSPC);
}

static void the_kernel_s_own_settings_change(void **state)
{
        static const char *const paths[] = { KERNEL_SETTING_IPV4_FORWARDING, KERNEL_SETTING_IPV6_FORWARDING };

        (void)state;
        (void)own_network_setup(NULL);
        own_network_or_skip();
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
                char command[96];
                snprintf(command, sizeof(command), "echo 1 >%s", paths[i]);
                own_network_run(command);
                assert_int_equal(kernel_setting_read(paths[i]), '1');
                assert_int_equal(kernel_setting_switch_off(paths[i]), 0);
                assert_int_equal(kernel_setting_read(paths[i]), '0');
        }
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, make_file, remove_file)

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILE_TEST(the_first_digit_is_read),          FILE_TEST(what_cannot_be_read_is_off),
                FILE_TEST(switching_off_writes_0),           FILE_TEST(a_setting_that_is_not_there_is_off_already),
                FILE_TEST(the_kernel_s_own_settings_change),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
