#include "kernel/address_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_network.h"

#define DEADLINE_S 5
#define MAX_CHANGES 256

struct changes {
        struct event_base *base;
        struct {
                char address[NET_ADDRESS_TEXT_SIZE];
                bool present;
        } items[MAX_CHANGES];
        size_t count;
        size_t wanted; /* the loop ends when there are so many */
};

static void on_change(const struct net_address *address, bool present, void *context)
{
        struct changes *changes = context;

        assert_true(changes->count < MAX_CHANGES);
        net_address_format(address, changes->items[changes->count].address);
        changes->items[changes->count++].present = present;
        if (changes->wanted > 0 && changes->count >= changes->wanted)
                event_base_loopbreak(changes->base);
}

/* Lets the loop run until there are so many changes, or the deadline is over. */
static void wait_for(struct changes *changes, size_t wanted)
{
        struct timeval deadline = { .tv_sec = DEADLINE_S };

        changes->wanted = wanted;
        if (changes->count < wanted) {
                event_base_loopexit(changes->base, &deadline);
                event_base_dispatch(changes->base);
        }
        changes->wanted = 0;
        assert_int_equal(changes->count, wanted);
}

static bool reported(const struct changes *changes, const char *address, bool present)
{
        for (size_t i = 0; i < changes->count; i++)
                if (strcmp(changes->items[i].address, address) == 0 && changes->items[i].present == present)
                        return true;
        return false;
}

static bool has(const struct address_watch *watch, const char *text)
{
        struct net_address address;

        assert_int_equal(net_address_parse(text, strlen(text), &address), 0);
        return address_watch_has(watch, &address);
}

static struct address_watch *start(struct changes *changes)
{
        struct address_watch *watch = NULL;

        *changes = (struct changes){ .base = event_base_new() };
        assert_non_null(changes->base);
        assert_int_equal(address_watch_new(changes->base, on_change, changes, &watch), 0);
        return watch;
}

static void stop(struct changes *changes, struct address_watch *watch)
{
        address_watch_free(watch);
        event_base_free(changes->base);
}

static void addresses_that_are_there_are_reported_before_the_call_returns(void **state)
{
        struct changes changes;
        struct address_watch *watch;

        (void)state;
        own_network_or_skip();
        watch = start(&changes);
        assert_true(reported(&changes, "127.0.0.1", true));
        assert_true(reported(&changes, "::1", true));
        assert_int_equal(changes.count, 2);
        assert_true(has(watch, "127.0.0.1"));
        assert_true(has(watch, "::1"));
        assert_false(has(watch, "198.18.0.1"));
        stop(&changes, watch);
}

static void every_address_of_an_ipv4_prefix_on_lo_is_local(void **state)
{
        struct changes changes;
        struct address_watch *watch;

        (void)state;
        own_network_or_skip();
        own_network_run("ip addr add 198.18.9.1/24 dev lo");
        watch = start(&changes);
        assert_true(has(watch, "127.8.9.10"));
        assert_true(has(watch, "198.18.9.77"));
        assert_false(has(watch, "198.18.8.77"));
        assert_false(has(watch, "::2"));
        stop(&changes, watch);
        own_network_run("ip addr del 198.18.9.1/24 dev lo");
}

static void an_address_that_comes_and_goes_is_reported_each_time(void **state)
{
        struct changes changes;
        struct address_watch *watch;

        (void)state;
        own_network_or_skip();
        watch = start(&changes);
        own_network_run("ip addr add 198.18.0.7/32 dev lo");
        wait_for(&changes, 3);
        assert_true(reported(&changes, "198.18.0.7", true));
        assert_true(has(watch, "198.18.0.7"));
        own_network_run("ip addr add 2001:db8::7/128 dev lo");
        wait_for(&changes, 4);
        assert_true(reported(&changes, "2001:db8::7", true));
        own_network_run("ip addr del 198.18.0.7/32 dev lo");
        wait_for(&changes, 5);
        assert_true(reported(&changes, "198.18.0.7", false));
        assert_false(has(watch, "198.18.0.7"));
        own_network_run("ip addr del 2001:db8::7/128 dev lo");
        wait_for(&changes, 6);
        stop(&changes, watch);
}

static void an_address_on_two_interfaces_leaves_with_the_last(void **state)
{
        struct changes changes;
        struct address_watch *watch;

        (void)state;
        own_network_or_skip();
        own_network_run("ip link add one type veth peer name two && ip link set one up && ip link set two up");
        own_network_run("ip addr add 198.18.0.7/32 dev lo; ip addr add 198.18.0.7/32 dev one");
        watch = start(&changes);
        size_t before = changes.count;
        own_network_run("ip addr del 198.18.0.7/32 dev lo; ip addr add 198.18.0.8/32 dev lo");
        while (!has(watch, "198.18.0.8"))
                wait_for(&changes, ++before);
        assert_false(reported(&changes, "198.18.0.7", false));
        assert_true(has(watch, "198.18.0.7"));
        own_network_run("ip addr del 198.18.0.7/32 dev one");
        while (has(watch, "198.18.0.7"))
                wait_for(&changes, ++before);
        assert_true(reported(&changes, "198.18.0.7", false));
        stop(&changes, watch);
        own_network_run("ip link del one; ip addr del 198.18.0.8/32 dev lo");
}

/* More messages than the socket's buffer holds: the kernel drops some, and reads fail with ENOBUFS. */
static void lost_messages_are_made_up_for(void **state)
{
        struct changes changes;
        struct address_watch *watch;
        struct timeval pause = { .tv_sec = DEADLINE_S };

        (void)state;
        own_network_or_skip();
        watch = start(&changes);
        own_network_run(
                "for i in $(seq 4000); do echo addr add 198.18.1.1/32 dev lo; echo addr del 198.18.1.1/32 dev lo; done "
                ">/tmp/aksegressd-test-$$ && "
                "echo addr add 198.18.1.2/32 dev lo >>/tmp/aksegressd-test-$$ && "
                "ip -force -batch /tmp/aksegressd-test-$$; s=$?; rm -f /tmp/aksegressd-test-$$; exit $s");
        /* However many changes of the first address got through, the second is there in the end and the first is not. */
        event_base_loopexit(changes.base, &pause);
        while (!has(watch, "198.18.1.2") && event_base_got_exit(changes.base) == 0) {
                changes.count = 0;
                assert_int_equal(event_base_loop(changes.base, EVLOOP_ONCE), 0);
        }
        /* What got through before the loss is older than what was read anew because of it. */
        while (event_base_loop(changes.base, EVLOOP_NONBLOCK) == 0 && changes.count > 0)
                changes.count = 0;
        assert_true(has(watch, "198.18.1.2"));
        assert_false(has(watch, "198.18.1.1"));
        stop(&changes, watch);
        own_network_run("ip addr del 198.18.1.2/32 dev lo");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(addresses_that_are_there_are_reported_before_the_call_returns),
                cmocka_unit_test(every_address_of_an_ipv4_prefix_on_lo_is_local),
                cmocka_unit_test(an_address_that_comes_and_goes_is_reported_each_time),
                cmocka_unit_test(an_address_on_two_interfaces_leaves_with_the_last),
                cmocka_unit_test(lost_messages_are_made_up_for),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
