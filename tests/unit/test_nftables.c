#include "kernel/nftables.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "own_network.h"

#define OUTPUT_SIZE 65536
#define ERROR_SIZE 256

/* The little that the ruleset takes from a policy, in place of policy.c. */
struct policy {
        struct config config;
        const uint16_t *ports;
        size_t port_count;
};

static const uint16_t some_ports[] = { 80, 443, 8080, 8081, 8082, 9000, 65534, 65535 };

const struct config *policy_config(const struct policy *policy)
{
        return &policy->config;
}

size_t policy_steered_ports(const struct policy *policy, const uint16_t **ret)
{
        *ret = policy->ports;
        return policy->port_count;
}

static struct policy make_policy(enum config_refuse_with refuse_with)
{
        struct policy policy = { .ports = some_ports, .port_count = ARRAY_SIZE(some_ports) };

        policy.config.transparent.enabled = true;
        policy.config.transparent.endpoint.port = 15001;
        policy.config.refuse_with = refuse_with;
        return policy;
}

static void apply(const struct policy *policy)
{
        char error[ERROR_SIZE] = "";

        if (nftables_apply(policy, error, sizeof(error)) < 0)
                fail_msg("%s", error);
}

/* What the kernel has, as nft prints it. */
static const char *list(const char *arguments)
{
        static char output[OUTPUT_SIZE];
        char command[256];

        snprintf(command, sizeof(command), "nft %s 2>&1", arguments);
        (void)own_network_output(command, output, sizeof(output));
        return output;
}

static void assert_listed(const char *listing, const char *text)
{
        if (strstr(listing, text) == NULL)
                fail_msg("'%s' is not in:\n%s", text, listing);
}

static void assert_not_listed(const char *listing, const char *text)
{
        if (strstr(listing, text) != NULL)
                fail_msg("'%s' is in:\n%s", text, listing);
}

static void neighbouring_ports_become_ranges(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        char *text = nftables_ruleset_format(&policy);

        (void)state;
        assert_non_null(text);
        assert_listed(text, "elements = { 80, 443, 8080-8082, 9000, 65534-65535 }");
        free(text);
}

static void the_text_replaces_the_table_in_one_transaction(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        char *text = nftables_ruleset_format(&policy);
        static const char expected[] =
                "add table inet aksegressd\ndelete table inet aksegressd\ntable inet aksegressd {\n";

        (void)state;
        assert_non_null(text);
        assert_memory_equal(text, expected, strlen(expected));
        free(text);
}

static void without_the_transparent_listener_there_is_no_rule(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        policy.config.transparent.enabled = false;
        char *text = nftables_ruleset_format(&policy);

        (void)state;
        assert_non_null(text);
        assert_int_equal(text[0], '#');
        assert_null(strstr(text, "table inet"));
        free(text);
}

static void the_kernel_takes_what_is_printed(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        const char *listing;

        (void)state;
        own_network_or_skip();
        apply(&policy);
        listing = list("list table inet aksegressd");
        assert_listed(listing, "elements = { 80, 443, 8080-8082,");
        assert_listed(listing, "type filter hook prerouting priority raw; policy accept;");
        assert_listed(listing, "fib daddr type != local tcp dport @steered_ports notrack");
        assert_listed(listing, "fib saddr type != local tcp sport @steered_ports notrack");
        assert_listed(listing, "type filter hook prerouting priority mangle; policy accept;");
        assert_listed(listing,
                      "iifname != \"lo\" ip daddr { 168.63.129.16, 169.254.169.254 } counter packets 0 bytes 0 drop");
        assert_listed(listing, "socket transparent 1 socket wildcard 0 meta mark set 0x61656400 accept");
        assert_listed(listing, "meta nfproto ipv4 tcp dport @steered_ports tproxy ip "
                               "to :15001 meta mark set 0x61656400 counter");
        assert_listed(listing, "meta nfproto ipv6 tcp dport @steered_ports tproxy ip6 "
                               "to :15001 meta mark set 0x61656400 counter");
        assert_listed(listing,
                      "tcp dport 15001 meta mark != 0x61656400 counter packets 0 bytes 0 reject with tcp reset");
        assert_listed(listing, "type filter hook forward priority filter; policy drop;");
        assert_listed(listing, "reject with icmpx admin-prohibited");
}

static void what_is_dropped_silently_is_not_rejected(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_DROP);

        (void)state;
        own_network_or_skip();
        apply(&policy);
        assert_not_listed(list("list chain inet aksegressd forward"), "reject");
        assert_listed(list("list chain inet aksegressd forward"), "policy drop");
}

static void applying_again_replaces_and_does_not_add(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        static const uint16_t two_ports[] = { 80, 443 };
        char first[OUTPUT_SIZE];

        (void)state;
        own_network_or_skip();
        apply(&policy);
        snprintf(first, sizeof(first), "%s", list("list ruleset"));
        apply(&policy);
        assert_string_equal(list("list ruleset"), first);
        policy.ports = two_ports;
        policy.port_count = ARRAY_SIZE(two_ports);
        apply(&policy);
        assert_listed(list("list table inet aksegressd"), "elements = { 80, 443 }");
}

static void a_foreign_table_survives_apply_and_flush(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_string_equal(list("'add table inet foreign; add chain inet foreign mine; add rule inet foreign mine tcp "
                                 "dport 22 accept'"),
                            "");
        apply(&policy);
        assert_listed(list("list table inet foreign"), "tcp dport 22 accept");
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_not_listed(list("list ruleset"), "aksegressd");
        assert_listed(list("list table inet foreign"), "tcp dport 22 accept");
}

/* "chain prerouting { # handle 4": what tells a chain that stayed from one made anew. */
static void chain_handle(char handle[32])
{
        const char *found = strstr(list("-a list chain inet aksegressd prerouting"), "chain prerouting { # handle ");

        assert_non_null(found);
        snprintf(handle, 32, "%.31s", found + strlen("chain prerouting { # "));
        handle[strcspn(handle, "\n")] = '\0';
}

static void an_update_keeps_the_chains_that_packets_are_passing(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        char before[32], after[32], error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        apply(&policy);
        chain_handle(before);
        policy.port_count = 1;
        policy.config.refuse_with = CONFIG_REFUSE_WITH_DROP;
        assert_int_equal(nftables_update(&policy, error, sizeof(error)), 0);
        chain_handle(after);
        assert_string_equal(before, after);
        assert_null(strstr(list("list table inet aksegressd"), "reject with icmpx"));
        assert_non_null(strstr(list("list table inet aksegressd"), "tproxy ip to :15001"));
        assert_non_null(strstr(list("list set inet aksegressd steered_ports"), "elements = { 80 }"));
}

static void an_update_brings_back_a_table_that_somebody_flushed(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_int_equal(nftables_update(&policy, error, sizeof(error)), 0);
        assert_listed(list("list table inet aksegressd"), "tproxy ip to :15001");
}

static void flushing_nothing_is_fine(void **state)
{
        char error[ERROR_SIZE] = "";

        (void)state;
        own_network_or_skip();
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_int_equal(nftables_flush(error, sizeof(error)), 0);
        assert_string_equal(error, "");
}

/* In a process of its own, as it gives its rights away. Exits with 0 when the answer is the one for want of rights. */
static void apply_without_rights(const struct policy *policy)
{
        char error[ERROR_SIZE] = "";

        if (freopen("/dev/null", "w", stderr) == NULL || setuid(65534) != 0) /* libnftables says it there, too */
                _exit(1);
        if (nftables_apply(policy, error, sizeof(error)) != -EPERM)
                _exit(2);
        if (strncmp(error, "nftables: ", 10) != 0 || strchr(error, '\n') != NULL ||
            strstr(error, "Operation not permitted") == NULL)
                _exit(3);
        _exit(0);
}

static void without_rights_the_old_rules_stay_and_the_error_says_why(void **state)
{
        struct policy policy = make_policy(CONFIG_REFUSE_WITH_RESET);
        int status;

        (void)state;
        own_network_or_skip();
        apply(&policy);
        policy.config.transparent.endpoint.port = 15002;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
                apply_without_rights(&policy);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_listed(list("list table inet aksegressd"), "tproxy ip to :15001");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(neighbouring_ports_become_ranges),
                cmocka_unit_test(the_text_replaces_the_table_in_one_transaction),
                cmocka_unit_test(without_the_transparent_listener_there_is_no_rule),
                cmocka_unit_test(the_kernel_takes_what_is_printed),
                cmocka_unit_test(what_is_dropped_silently_is_not_rejected),
                cmocka_unit_test(applying_again_replaces_and_does_not_add),
                cmocka_unit_test(a_foreign_table_survives_apply_and_flush),
                cmocka_unit_test(an_update_keeps_the_chains_that_packets_are_passing),
                cmocka_unit_test(an_update_brings_back_a_table_that_somebody_flushed),
                cmocka_unit_test(flushing_nothing_is_fine),
                cmocka_unit_test(without_rights_the_old_rules_stay_and_the_error_says_why),
        };

        return cmocka_run_group_tests(tests, own_network_setup, NULL);
}
