#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "kernel/kernel_setting.h"
#include "kernel/nftables.h"
#include "kernel/policy_routing.h"
#include "kernel/source_barrier.h"

#define ERROR_SIZE 512
#define LOG_GROUPS "/proc/net/netfilter/nfnetlink_log"

static bool parse_options(int argc, char **argv, bool *ret_json)
{
        static const struct option options[] = {
                { "json", no_argument, NULL, 'j' },
                { NULL, 0, NULL, 0 },
        };

        for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
                if (option != 'j')
                        return false;
                *ret_json = true;
        }
        return argc == optind;
}

/* Whether some process of this network namespace listens to the packet log, as a daemon does for as long as it runs. */
static bool daemon_runs(void)
{
        FILE *stream = fopen(LOG_GROUPS, "re");
        bool found = false;
        unsigned group;

        while (stream != NULL && !found && fscanf(stream, "%u%*[^\n]", &group) == 1)
                found = group == RULESET_LOG_GROUP;
        if (stream != NULL)
                (void)fclose(stream);
        return found;
}

/* What comes from the spokes may not go out unjudged, and from its own address, once nothing stops it any more. */
static int stop_forwarding(char *error, size_t error_size)
{
        static const char *const paths[] = { KERNEL_SETTING_IPV4_FORWARDING, KERNEL_SETTING_IPV6_FORWARDING };

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                int r = kernel_setting_switch_off(paths[i]);
                if (r < 0) {
                        snprintf(error, error_size, "forwarding cannot be switched off: %s: %s", paths[i],
                                 strerror(-r));
                        return r;
                }
        }
        return 0;
}

/* The table before the routing: while it marks packets, the rule that delivers them must stay. */
static int flush(char *error, size_t error_size)
{
        int r = stop_forwarding(error, error_size);

        if (r == 0)
                r = nftables_flush(error, error_size);
        if (r == 0)
                r = policy_routing_remove(RULESET_STEERING_MARK, error, error_size);
        return r == 0 ? source_barrier_remove(error, error_size) : r;
}

enum exit_status command_flush(int argc, char **argv)
{
        char error[ERROR_SIZE] = "a daemon runs here and would put everything back: stop it first (systemctl stop "
                                 "aksegressd)";
        bool json = false, failed;

        if (!parse_options(argc, argv, &json))
                return EXIT_USAGE;
        failed = daemon_runs() || flush(error, sizeof(error)) < 0;
        if (failed)
                fprintf(stderr, "aksegressctl: nothing more is removed: %s\n", error);
        if (json)
                printf("{\"flushed\":%s}\n", failed ? "false" : "true");
        else if (!failed)
                puts("flushed: the table inet aksegressd and its routing rules are gone; forwarding is off "
                     "(net.ipv4.ip_forward, net.ipv6.conf.all.forwarding)");
        return failed || fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
}
