#include "kernel/set_elements.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "own_network.h"
#include "values.h"

#define HOUR_MS (3600u * 1000)
#define TABLE                                                                                                          \
        "nft 'flush ruleset; table inet t {"                                                                           \
        " set four { type ipv4_addr; flags timeout; };"                                                                \
        " set six { type ipv6_addr; flags timeout; };"                                                                 \
        " set small { type ipv4_addr; flags timeout; size 2; };"                                                       \
        " set ports { type inet_service; flags interval; };"                                                           \
        " map names { type ipv4_addr : verdict; };"                                                                    \
        " chain c { ip daddr { 192.0.2.1, 192.0.2.2 } accept; };"                                                      \
        "}' 2>&1"

/* As on a kernel that cannot renew in place: the module takes that from the version that the kernel says it has. */
static struct set_elements *start_on_old_kernel(void)
{
        struct set_elements *elements;

        assert_int_not_equal(personality(UNAME26), -1);
        assert_int_equal(set_elements_new("t", &elements), 0);
        assert_int_not_equal(personality(PER_LINUX), -1);
        return elements;
}

static struct set_elements *start(bool old_kernel)
{
        struct set_elements *elements;

        if (old_kernel)
                return start_on_old_kernel();
        assert_int_equal(set_elements_new("t", &elements), 0);
        return elements;
}

static struct set_element element_of(const char *set, const char *address, uint64_t timeout_ms, const char *comment)
{
        return (struct set_element){
                .set = set, .address = address_of(address), .timeout_ms = timeout_ms, .comment = comment
        };
}

static void put(struct set_elements *elements, const struct set_element *element)
{
        size_t refused = 99;

        assert_int_equal(set_elements_put(elements, element, 1, &refused), 0);
}

/* What nft lists of a set. */
static const char *listed(const char *set)
{
        static char output[65536];
        char command[64];

        snprintf(command, sizeof(command), "nft list set inet t %s 2>&1", set);
        assert_int_equal(own_network_output(command, output, sizeof(output)), 0);
        return output;
}

static bool lists(const char *set, const char *text)
{
        return strstr(listed(set), text) != NULL;
}

/* Milliseconds in what nft writes of a time, like 1h59m59s996ms. */
static uint64_t milliseconds(const char *text)
{
        uint64_t total = 0;
        char *unit;

        for (; *text >= '0' && *text <= '9'; text = unit) {
                uint64_t number = strtoull(text, &unit, 10);
                uint64_t factor = strncmp(unit, "ms", 2) == 0 ? 1
                                  : *unit == 's'              ? 1000
                                  : *unit == 'm'              ? 60000
                                  : *unit == 'h'              ? HOUR_MS
                                                              : 24 * HOUR_MS;
                total += number * factor;
                unit += factor == 1 ? 2 : 1;
        }
        return total;
}

/* Whether an element has this timeout, and almost all of it still to run: nft(8) on a busy machine takes seconds. */
static bool has_begun(const char *set, const char *address, const char *timeout)
{
        char text[128];

        snprintf(text, sizeof(text), "%s timeout %s expires ", address, timeout);
        const char *found = strstr(listed(set), text);
        return found != NULL && milliseconds(timeout) - milliseconds(found + strlen(text)) < 30000;
}

static void nft_lists_what_was_put_with_timeout_and_comment(void **state)
{
        const struct set_element items[] = {
                element_of("four", "192.0.2.7", HOUR_MS, "ntp.ubuntu.com"),
                element_of("six", "2001:db8::7", 2 * HOUR_MS, "a \"b\" 'c'"),
                element_of("four", "192.0.2.8", 90000, NULL),
        };
        size_t refused = 99;

        (void)state;
        own_network_or_skip();
        own_network_run(TABLE);
        struct set_elements *elements = start(false);
        assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), 0);
        assert_true(has_begun("four", "192.0.2.7", "1h"));
        assert_true(lists("four", "comment \"ntp.ubuntu.com\""));
        assert_true(has_begun("four", "192.0.2.8", "1m30s"));
        assert_true(has_begun("six", "2001:db8::7", "2h"));
        assert_true(lists("six", "comment \"a \"b\" 'c'\""));
        set_elements_free(elements);
}

static void an_element_that_is_there_gets_its_whole_timeout_again(void **state)
{
        (void)state;
        own_network_or_skip();
        for (int old_kernel = 0; old_kernel <= 1; old_kernel++) {
                own_network_run(TABLE);
                own_network_run("nft 'add element inet t four { 192.0.2.7 timeout 1h expires 1m,"
                                " 192.0.2.8 timeout 10m expires 1m comment \"before\" }' 2>&1");
                struct set_elements *elements = start(old_kernel == 1);
                struct set_element same = element_of("four", "192.0.2.7", HOUR_MS, NULL);
                struct set_element longer = element_of("four", "192.0.2.8", 2 * HOUR_MS, "after");
                put(elements, &same);
                put(elements, &longer);
                assert_true(has_begun("four", "192.0.2.7", "1h"));
                assert_true(has_begun("four", "192.0.2.8", "2h"));
                if (old_kernel == 1)
                        assert_true(lists("four", "after")); /* It was replaced, there being no other way. */
                longer.timeout_ms = 60000;
                put(elements, &longer);
                assert_true(has_begun("four", "192.0.2.8", "1m"));
                set_elements_free(elements);
        }
}

static void what_is_removed_is_gone_and_nothing_else(void **state)
{
        const struct set_element items[] = {
                element_of("four", "192.0.2.7", HOUR_MS, "gone"),
                element_of("four", "192.0.2.99", HOUR_MS, "was never there"),
                element_of("six", "2001:db8::7", HOUR_MS, NULL),
                element_of("four", "192.0.2.7", HOUR_MS, "twice"),
                element_of("absent", "192.0.2.8", HOUR_MS, NULL),
        };
        size_t refused = 99;

        (void)state;
        own_network_or_skip();
        for (int old_kernel = 0; old_kernel <= 1; old_kernel++) {
                own_network_run(TABLE);
                own_network_run("nft 'add element inet t four { 192.0.2.7 timeout 2h, 192.0.2.8 timeout 2h };"
                                " add element inet t six { 2001:db8::7, 2001:db8::8 timeout 2h }' 2>&1");
                struct set_elements *elements = start(old_kernel == 1);
                assert_int_equal(set_elements_remove(elements, items, ARRAY_SIZE(items), &refused), -ENOENT);
                assert_int_equal(refused, ARRAY_SIZE(items) - 1);
                assert_true(lists("four", "192.0.2.7")); /* One transaction, of which nothing happened. */
                assert_int_equal(set_elements_remove(elements, items, ARRAY_SIZE(items) - 1, &refused), 0);
                assert_true(lists("four", "elements = { 192.0.2.8 timeout 2h expires 1h59m"));
                assert_false(lists("four", "192.0.2.7") || lists("four", "192.0.2.99"));
                assert_true(lists("six", "elements = { 2001:db8::8 timeout 2h expires 1h59m"));
                assert_false(lists("six", "2001:db8::7"));
                set_elements_free(elements);
        }
}

static void an_element_may_be_put_twice_at_once(void **state)
{
        (void)state;
        own_network_or_skip();
        for (int old_kernel = 0; old_kernel <= 1; old_kernel++) {
                own_network_run(TABLE);
                struct set_elements *elements = start(old_kernel == 1);
                const struct set_element items[] = {
                        element_of("four", "192.0.2.7", HOUR_MS, NULL),
                        element_of("four", "192.0.2.7", HOUR_MS, NULL),
                };
                size_t refused = 99;
                for (unsigned i = 0; i < 3; i++)
                        assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), 0);
                assert_true(has_begun("four", "192.0.2.7", "1h"));
                set_elements_free(elements);
        }
}

static void a_refusal_names_the_element_and_leaves_all_as_it_was(void **state)
{
        static char long_name[SET_ELEMENTS_NAME_SIZE + 1];
        static const struct {
                const char *set;
                const char *address;
                uint64_t timeout_ms;
                int error;
        } rows[] = {
                { "absent", "192.0.2.9", HOUR_MS, -ENOENT },        { "six", "192.0.2.9", HOUR_MS, -EINVAL },
                { "ports", "192.0.2.9", HOUR_MS, -EINVAL },         { "four", "192.0.2.9", 0, -EINVAL },
                { long_name, "192.0.2.9", HOUR_MS, -ENAMETOOLONG },
        };

        (void)state;
        memset(long_name, 'x', SET_ELEMENTS_NAME_SIZE);
        own_network_or_skip();
        for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
                own_network_run(TABLE);
                struct set_elements *elements = start(i % 2 == 1);
                const struct set_element items[] = {
                        element_of("four", "192.0.2.7", HOUR_MS, NULL),
                        element_of("six", "2001:db8::7", HOUR_MS, NULL),
                        element_of(rows[i / 2].set, rows[i / 2].address, rows[i / 2].timeout_ms, NULL),
                        element_of("four", "192.0.2.8", HOUR_MS, NULL),
                };
                size_t refused = 99;
                assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), rows[i / 2].error);
                assert_int_equal(refused, 2);
                assert_false(lists("four", "192.0.2"));
                assert_false(lists("six", "2001:db8"));
                put(elements, &items[0]); /* The answer to the refused one is not taken for this one's. */
                assert_true(lists("four", "192.0.2.7"));
                set_elements_free(elements);
        }
}

static void a_table_that_is_gone_and_a_full_set_are_told(void **state)
{
        size_t refused = 99;

        (void)state;
        own_network_or_skip();
        own_network_run(TABLE);
        struct set_elements *elements = start(false);
        const struct set_element items[] = {
                element_of("small", "192.0.2.7", HOUR_MS, NULL),
                element_of("small", "192.0.2.8", HOUR_MS, NULL),
                element_of("small", "192.0.2.9", HOUR_MS, NULL),
        };
        assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), -ENFILE);
        assert_int_equal(refused, 2);
        assert_int_equal(set_elements_put(elements, items, 2, &refused), 0);
        assert_int_equal(set_elements_put(elements, items, 2, &refused), 0);
        own_network_run("nft flush ruleset 2>&1");
        assert_int_equal(set_elements_put(elements, items, 2, &refused), -ENOENT);
        assert_int_equal(refused, 0);
        set_elements_free(elements);
}

#define MANY 2900 /* several transactions, and room for 100 before the kernel makes the hash table larger */
#define LAST (MANY - 1)
#define DEADLINE_MS 5000

/* What a dump told. */
struct told {
        unsigned count;
        unsigned repeated;
        bool addresses[1 << 16]; /* by their last two bytes */
        uint64_t least_ms;
        uint64_t most_ms;
        char comment[256];
};

static void on_element(const struct set_element *element, void *context)
{
        struct told *told = context;
        const uint8_t *bytes = element->address.bytes;
        size_t index = element->address.family == AF_INET ? (size_t)bytes[2] << 8 | bytes[3]
                                                          : (size_t)bytes[14] << 8 | bytes[15];

        told->repeated += told->addresses[index];
        told->count += !told->addresses[index];
        told->addresses[index] = true;
        if (told->least_ms == 0 || element->timeout_ms < told->least_ms)
                told->least_ms = element->timeout_ms;
        if (element->timeout_ms > told->most_ms)
                told->most_ms = element->timeout_ms;
        snprintf(told->comment, sizeof(told->comment), "%s", element->comment);
}

static void make_many(struct set_element *items, const char *comment)
{
        for (unsigned i = 0; i < MANY; i++) {
                items[i] = element_of("four", "10.0.0.0", HOUR_MS + i, comment);
                items[i].address.bytes[2] = (uint8_t)(i >> 8);
                items[i].address.bytes[3] = (uint8_t)i;
        }
}

/* A moment after the last was put the kernel has finished with its hash table. */
static void dump_when_settled(struct set_elements *elements, struct told *told)
{
        uint64_t deadline_ms = clock_monotonic_ms() + DEADLINE_MS;

        do {
                memset(told, 0, sizeof(*told));
                assert_int_equal(set_elements_dump(elements, "four", on_element, told), 0);
        } while ((told->count != MANY || told->repeated > 0) && clock_monotonic_ms() < deadline_ms);
        assert_int_equal(told->count, MANY);
        assert_int_equal(told->repeated, 0);
}

static void each_of_thousands_is_put_and_told_once(void **state)
{
        struct set_element *items = calloc(MANY, sizeof(*items));
        struct told *told = calloc(1, sizeof(*told));
        char comment[200];
        size_t refused = 99;

        (void)state;
        own_network_or_skip();
        own_network_run(TABLE);
        memset(comment, 'x', sizeof(comment) - 1);
        comment[sizeof(comment) - 1] = '\0';
        make_many(items, comment);
        struct set_elements *elements = start(false);
        assert_int_equal(set_elements_put(elements, items, MANY, &refused), 0);
        assert_int_equal(set_elements_put(elements, items, MANY, &refused), 0);
        dump_when_settled(elements, told);
        assert_true(told->most_ms <= HOUR_MS + MANY && told->least_ms > HOUR_MS - 60000);
        assert_int_equal(strlen(told->comment), SET_ELEMENTS_COMMENT_MAX);
        assert_memory_equal(told->comment, comment, SET_ELEMENTS_COMMENT_MAX);
        /* A refusal in a later transaction is told by its place in the whole. */
        items[LAST].set = "absent";
        assert_int_equal(set_elements_put(elements, items, MANY, &refused), -ENOENT);
        assert_int_equal(refused, LAST);
        set_elements_free(elements);
        free(told);
        free(items);
}

static void a_dump_tells_elements_without_end_and_without_comment(void **state)
{
        struct told *told = calloc(1, sizeof(*told));

        (void)state;
        own_network_or_skip();
        own_network_run(TABLE);
        own_network_run("nft 'add element inet t six { 2001:db8::1:9 }' 2>&1");
        struct set_elements *elements = start(false);
        assert_int_equal(set_elements_dump(elements, "six", on_element, told), 0);
        assert_int_equal(told->count, 1);
        assert_true(told->addresses[9]);
        assert_int_equal(told->most_ms, 0);
        assert_string_equal(told->comment, "");
        assert_int_equal(set_elements_dump(elements, "absent", on_element, told), -ENOENT);
        assert_int_equal(set_elements_dump(elements, "ports", on_element, told), 0);
        assert_int_equal(told->count, 1);
        set_elements_free(elements);
        free(told);
}

/* Sends packets that the rules drop unless their destination is in the set; the drop is told by sendto(). */
struct looker {
        atomic_bool stop;
        unsigned sent;
        unsigned missed;
};

static void *look_up(void *context)
{
        struct looker *looker = context;
        struct sockaddr_in destination = { .sin_family = AF_INET, .sin_port = htons(9) };
        int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        destination.sin_addr.s_addr = htonl(0x7f000002);
        while (!atomic_load(&looker->stop)) {
                ssize_t r = sendto(descriptor, "x", 1, 0, (const struct sockaddr *)&destination, sizeof(destination));
                looker->missed += r == -1 && errno == EPERM;
                looker->sent++;
        }
        close(descriptor);
        return NULL;
}

#define RENEWALS 4000

static void renew_while_looked_up(struct set_elements *elements, struct looker *looker)
{
        struct set_element items[8];
        pthread_t thread;
        size_t refused = 99;

        for (unsigned i = 0; i < ARRAY_SIZE(items); i++) {
                items[i] = element_of("four", "127.0.0.1", HOUR_MS, "looked up");
                items[i].address.bytes[3] = (uint8_t)(i + 1);
        }
        assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), 0);
        assert_int_equal(pthread_create(&thread, NULL, look_up, looker), 0);
        for (unsigned i = 0; i < RENEWALS; i++) {
                items[1].timeout_ms = HOUR_MS + i;
                assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), 0);
        }
        atomic_store(&looker->stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
}

static void a_lookup_never_misses_an_element_that_is_renewed(void **state)
{
        (void)state;
        own_network_or_skip();
        for (int old_kernel = 0; old_kernel <= 1; old_kernel++) {
                struct looker looker = { .sent = 0 };
                own_network_run(TABLE);
                own_network_run("nft 'table inet t { chain o { type filter hook output priority 0;"
                                " udp dport 9 ip daddr != @four drop; }; }' 2>&1");
                struct set_elements *elements = start(old_kernel == 1);
                renew_while_looked_up(elements, &looker);
                assert_true(looker.sent > RENEWALS / 10);
                assert_int_equal(looker.missed, 0);
                set_elements_free(elements);
        }
}

#define ROUNDS 3000

/* Elements of a millisecond end between the look for them and their deletion, now and then. */
static void an_element_that_ends_meanwhile_is_put_nevertheless(void **state)
{
        (void)state;
        own_network_or_skip();
        own_network_run(TABLE);
        struct set_elements *elements = start(true);
        struct set_element items[64];
        size_t refused = 99;
        for (unsigned i = 0; i < ROUNDS; i++) {
                /* Other addresses after a few rounds: many that have ended in one place are trouble for the kernel. */
                for (unsigned j = 0; j < ARRAY_SIZE(items); j++) {
                        items[j] = element_of("four", "10.0.0.0", 1 + (i + j) % 3, NULL);
                        items[j].address.bytes[1] = (uint8_t)(i / 4 >> 8);
                        items[j].address.bytes[2] = (uint8_t)(i / 4);
                        items[j].address.bytes[3] = (uint8_t)j;
                }
                assert_int_equal(set_elements_put(elements, items, ARRAY_SIZE(items), &refused), 0);
        }
        set_elements_free(elements);
}

static void put_without_end(void)
{
        struct set_elements *elements = start(false);
        struct set_element items[100];
        size_t refused;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned i = 0; i < ARRAY_SIZE(items); i++) {
                items[i] = element_of("four", "10.0.200.0", HOUR_MS, NULL);
                items[i].address.bytes[3] = (uint8_t)i;
        }
        while (set_elements_put(elements, items + rand() % 90, 10, &refused) == 0)
                ;
        _exit(1);
}

/* The kernel marks such dumps; they are read again, or it is said that they could not be. */
static void a_dump_tells_what_stays_while_others_come(void **state)
{
        struct set_element *items = calloc(MANY, sizeof(*items));
        struct told *told = calloc(1, sizeof(*told));
        size_t refused;
        int status;

        (void)state;
        own_network_or_skip();
        own_network_run(TABLE);
        struct set_elements *elements = start(false);
        make_many(items, "stays");
        assert_int_equal(set_elements_put(elements, items, MANY, &refused), 0);
        dump_when_settled(elements, told);
        pid_t child = fork();
        if (child == 0)
                put_without_end();
        for (unsigned i = 0; i < 50; i++) {
                memset(told, 0, sizeof(*told));
                int r = set_elements_dump(elements, "four", on_element, told);
                assert_true(r == 0 || r == -EBUSY);
                assert_true(told->count == 0 || told->count >= MANY);
                assert_int_equal(told->count == 0, r != 0);
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        set_elements_free(elements);
        free(told);
        free(items);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nft_lists_what_was_put_with_timeout_and_comment),
                cmocka_unit_test(an_element_that_is_there_gets_its_whole_timeout_again),
                cmocka_unit_test(what_is_removed_is_gone_and_nothing_else),
                cmocka_unit_test(an_element_may_be_put_twice_at_once),
                cmocka_unit_test(a_refusal_names_the_element_and_leaves_all_as_it_was),
                cmocka_unit_test(a_table_that_is_gone_and_a_full_set_are_told),
                cmocka_unit_test(each_of_thousands_is_put_and_told_once),
                cmocka_unit_test(a_dump_tells_elements_without_end_and_without_comment),
                cmocka_unit_test(a_lookup_never_misses_an_element_that_is_renewed),
                cmocka_unit_test(an_element_that_ends_meanwhile_is_put_nevertheless),
                cmocka_unit_test(a_dump_tells_what_stays_while_others_come),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
