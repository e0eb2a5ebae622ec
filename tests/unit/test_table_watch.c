#include "kernel/table_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "own_network.h"

#define DEADLINE_S 5

struct reports {
        struct event_base *base;
        unsigned count;
        unsigned wanted;   /* the loop ends with so many */
        unsigned failures; /* of so many reports it is said that the table could not be put back */
        bool puts_back;
};

static int on_harm(void *context)
{
        struct reports *reports = context;

        reports->count++;
        if (reports->count >= reports->wanted)
                event_base_loopbreak(reports->base);
        if (reports->count <= reports->failures)
                return -1;
        if (reports->puts_back)
                own_network_run("nft add table inet watched 2>&1");
        return 0;
}

static struct table_watch *start(struct reports *reports)
{
        struct table_watch *watch;

        own_network_run("nft 'flush ruleset; add table inet watched; add table inet other; add table ip watched' 2>&1");
        reports->base = event_base_new();
        assert_non_null(reports->base);
        assert_int_equal(table_watch_new(reports->base, "watched", "nft", on_harm, reports, &watch), 0);
        return watch;
}

static void stop(struct reports *reports, struct table_watch *watch)
{
        table_watch_free(watch);
        event_base_free(reports->base);
}

static void wait_for(struct reports *reports, unsigned wanted)
{
        struct timeval deadline = { .tv_sec = DEADLINE_S };

        reports->wanted = wanted;
        event_base_loopexit(reports->base, &deadline);
        event_base_dispatch(reports->base);
        assert_int_equal(reports->count, wanted);
}

/* Handles what the kernel has said up to now; its answers are there when the question has been sent. */
static void handle_what_is_there(struct reports *reports)
{
        for (unsigned pass = 0; pass < 4; pass++)
                event_base_loop(reports->base, EVLOOP_NONBLOCK);
}

static void a_table_that_is_removed_is_reported_each_time(void **state)
{
        static const char *const removals[] = {
                "nft flush ruleset 2>&1",
                "nft delete table inet watched 2>&1",
                "nft 'flush ruleset; add table inet other' 2>&1",
        };
        struct reports reports = { .puts_back = true };

        (void)state;
        own_network_or_skip();
        struct table_watch *watch = start(&reports);
        for (unsigned i = 0; i < sizeof(removals) / sizeof(removals[0]); i++) {
                own_network_run(removals[i]);
                wait_for(&reports, i + 1);
                handle_what_is_there(&reports);
                assert_int_equal(reports.count, i + 1);
        }
        stop(&reports, watch);
}

static void changes_that_leave_the_table_are_not_reported(void **state)
{
        struct reports reports = { .wanted = 1 };

        (void)state;
        own_network_or_skip();
        struct table_watch *watch = start(&reports);
        own_network_run("nft delete table inet other 2>&1");
        own_network_run("nft delete table ip watched 2>&1");
        own_network_run("nft add chain inet watched c 2>&1");
        /* As nftables_apply does: gone and back within one transaction. */
        own_network_run("nft 'add table inet watched; delete table inet watched; add table inet watched' 2>&1");
        own_network_run("nft 'flush ruleset; add table inet watched' 2>&1");
        handle_what_is_there(&reports);
        assert_int_equal(reports.count, 0);
        own_network_run("nft flush ruleset 2>&1");
        wait_for(&reports, 1);
        stop(&reports, watch);
}

/* nft under another name, as the kernel sees it, is another program. */
static void changes_by_another_program_are_reported(void **state)
{
        static const char *const changes[] = {
                "'add chain inet watched c; add rule inet watched c accept'",
                "flush table inet watched",
                "'delete table inet watched; add table inet watched'", /* an old one put back */
                "'add set inet watched s { type ipv4_addr; }; add element inet watched s { 192.0.2.1 }'",
        };
        struct reports reports = { 0 };
        char command[256];

        (void)state;
        own_network_or_skip();
        struct table_watch *watch = start(&reports);
        for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
                snprintf(
                        command, sizeof(command),
                        "d=$(mktemp -d); ln -s \"$(command -v nft)\" $d/stranger; $d/stranger %s 2>&1; r=$?; rm -r $d; "
                        "exit $r",
                        changes[i]);
                own_network_run(command);
                wait_for(&reports, i + 1);
                handle_what_is_there(&reports);
                assert_int_equal(reports.count, i + 1);
        }
        stop(&reports, watch);
}

static void what_could_not_be_put_back_is_reported_again(void **state)
{
        struct reports reports = { .failures = 1, .puts_back = true };

        (void)state;
        own_network_or_skip();
        struct table_watch *watch = start(&reports);
        own_network_run("nft flush ruleset 2>&1");
        wait_for(&reports, 2);
        own_network_run("nft list table inet watched 2>&1");
        stop(&reports, watch);
}

static void lost_messages_are_made_up_for(void **state)
{
        struct reports reports = { .puts_back = true };

        (void)state;
        own_network_or_skip();
        struct table_watch *watch = start(&reports);
        /* More than the socket's buffer holds, the removal among them. */
        own_network_run("for i in $(seq 4000); do echo add chain inet other c$i; done | nft -f - 2>&1");
        own_network_run("nft delete table inet watched 2>&1");
        own_network_run("for i in $(seq 4000); do echo add chain inet other d$i; done | nft -f - 2>&1");
        wait_for(&reports, 1);
        stop(&reports, watch);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_table_that_is_removed_is_reported_each_time),
                cmocka_unit_test(changes_that_leave_the_table_are_not_reported),
                cmocka_unit_test(changes_by_another_program_are_reported),
                cmocka_unit_test(what_could_not_be_put_back_is_reported_again),
                cmocka_unit_test(lost_messages_are_made_up_for),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
