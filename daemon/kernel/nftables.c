#include "kernel/nftables.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "inet aksegressd"

/*
 * At start whatever an earlier daemon left is deleted in the same transaction; adding first keeps the deletion from failing
 * where there is no table yet.
 */
static const char replacing[] = "add table " TABLE "\n"
                                "delete table " TABLE "\n";

/*
 * A reload changes rules and elements but keeps the chains: the hooks of a new chain are registered one after the other,
 * and a SYN that passed the new chain before the change and the old one after it would be steered by neither.
 */
static const char updating[] = "flush table " TABLE "\n"
                               "flush set " TABLE " steered_ports\n";

static const char opening[] = "table " TABLE " {\n";

/*
 * Connections to the transparent listener are not tracked: they would fill the conntrack table, and with the daemon gone
 * nothing may pass as "established". Their packets carry the original destination in the one direction and come from it,
 * an address that is not ours, in the other.
 */
static const char untracked_chains[] = "        chain untracked_prerouting {\n"
                                       "                type filter hook prerouting priority raw; policy accept;\n"
                                       "                fib daddr type != local tcp dport @steered_ports notrack\n"
                                       "        }\n"
                                       "        chain untracked_output {\n"
                                       "                type filter hook output priority raw; policy accept;\n"
                                       "                fib saddr type != local tcp sport @steered_ports notrack\n"
                                       "        }\n";

/*
 * The Azure platform addresses answer only this machine, whatever a client asks for.
 *
 * tproxy comes before the socket match: it alone finds the listener for a SYN with the ports of a connection in
 * TIME_WAIT, and the half-open connection that an ACK completes (which `socket wildcard` cannot judge). The socket match
 * is for connections whose port a reload took from the set. tproxy finding no listener ends its rule: the packet goes on
 * to the forward chain and is refused there, so nothing gets through while no daemon runs.
 */
static const char steering_chain[] =
        "        chain prerouting {\n"
        "                type filter hook prerouting priority mangle; policy accept;\n"
        "                iifname != \"lo\" ip daddr { 168.63.129.16, 169.254.169.254 } counter drop\n"
        "                meta l4proto != tcp accept\n"
        "                fib daddr type local accept\n"
        "                meta nfproto ipv4 tcp dport @steered_ports tproxy ip to :%u meta mark set 0x%x counter "
        "accept\n"
        "                meta nfproto ipv6 tcp dport @steered_ports tproxy ip6 to :%u meta mark set 0x%x counter "
        "accept\n"
        "                socket transparent 1 socket wildcard 0 meta mark set 0x%x accept\n"
        "        }\n";

static const char input_chain[] = "        chain input {\n"
                                  "                type filter hook input priority filter; policy accept;\n"
                                  "                tcp dport %u meta mark != 0x%x counter reject with tcp reset\n"
                                  "        }\n";

static const char forward_begin[] = "        chain forward {\n"
                                    "                type filter hook forward priority filter; policy drop;\n";

static const char forward_reset[] = "                meta l4proto tcp counter reject with tcp reset\n"
                                    "                counter reject with icmpx admin-prohibited\n";

static const char forward_drop[] = "                counter drop\n";

static const char closing[] = "        }\n"
                              "}\n";

/* Neighbouring ports become one range. */
static void print_ports(FILE *stream, const uint16_t *ports, size_t count)
{
        for (size_t i = 0; i < count;) {
                size_t last = i;
                while (last + 1 < count && ports[last + 1] - ports[last] <= 1)
                        last++;
                fprintf(stream, "%s%u", i == 0 ? "" : ", ", ports[i]);
                if (ports[last] != ports[i])
                        fprintf(stream, "-%u", ports[last]);
                i = last + 1;
        }
}

static void print_set(FILE *stream, const struct policy *policy)
{
        const uint16_t *ports;
        size_t count = policy_steered_ports(policy, &ports);

        fputs("        set steered_ports {\n"
              "                type inet_service\n"
              "                flags interval\n",
              stream);
        if (count > 0) {
                fputs("                elements = { ", stream);
                print_ports(stream, ports, count);
                fputs(" }\n", stream);
        }
        fputs("        }\n", stream);
}

static void print_ruleset(FILE *stream, const char *beginning, const struct policy *policy)
{
        const struct config *config = policy_config(policy);
        unsigned port = config->transparent.endpoint.port;

        if (!config->transparent.enabled) {
                fputs("# listen.transparent is not enabled: nothing is steered, and the kernel's rules are left "
                      "alone.\n",
                      stream);
                return;
        }
        fputs(beginning, stream);
        fputs(opening, stream);
        print_set(stream, policy);
        fputs(untracked_chains, stream);
        fprintf(stream, steering_chain, port, NFTABLES_STEERING_MARK, port, NFTABLES_STEERING_MARK,
                NFTABLES_STEERING_MARK);
        fprintf(stream, input_chain, port, NFTABLES_STEERING_MARK);
        fputs(forward_begin, stream);
        switch (config->refuse_with) {
        case CONFIG_REFUSE_WITH_RESET:
                fputs(forward_reset, stream);
                break;
        case CONFIG_REFUSE_WITH_DROP:
                fputs(forward_drop, stream);
                break;
        }
        fputs(closing, stream);
}

static char *format(const char *beginning, const struct policy *policy)
{
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);
        bool failed;

        if (stream == NULL)
                return NULL;
        print_ruleset(stream, beginning, policy);
        failed = ferror(stream) != 0;
        if (fclose(stream) != 0 || failed) {
                free(text);
                return NULL;
        }
        return text;
}

char *nftables_ruleset_format(const struct policy *policy)
{
        return format(replacing, policy);
}

/* The first line of what libnftables says; the rest quotes the ruleset. */
static void copy_first_line(const char *text, char *error, size_t error_size)
{
        size_t length = strcspn(text, "\n");

        snprintf(error, error_size, "nftables: %.*s", (int)length, length == 0 ? "no reason given" : text);
}

static int run_in(struct nft_ctx *context, const char *commands, char *error, size_t error_size)
{
        /* Without buffers libnftables writes to standard output and standard error. */
        if (nft_ctx_buffer_error(context) != 0 || nft_ctx_buffer_output(context) != 0) {
                snprintf(error, error_size, "nftables: out of memory");
                return -ENOMEM;
        }
        if (nft_run_cmd_from_buffer(context, commands) == 0)
                return 0;
        const char *words = nft_ctx_get_error_buffer(context);
        copy_first_line(words, error, error_size);
        return strstr(words, strerror(EPERM)) != NULL ? -EPERM : -EIO; /* It tells no number. */
}

static int run(const char *commands, char *error, size_t error_size)
{
        struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
        int r;

        if (context == NULL) {
                snprintf(error, error_size, "nftables: no netlink socket or memory");
                return -ENOMEM;
        }
        r = run_in(context, commands, error, error_size);
        nft_ctx_free(context);
        return r;
}

static int run_ruleset(const char *beginning, const struct policy *policy, char *error, size_t error_size)
{
        char *ruleset = format(beginning, policy);
        int r;

        if (ruleset == NULL) {
                snprintf(error, error_size, "nftables: out of memory");
                return -ENOMEM;
        }
        r = run(ruleset, error, error_size);
        free(ruleset);
        return r;
}

int nftables_apply(const struct policy *policy, char *error, size_t error_size)
{
        return run_ruleset(replacing, policy, error, error_size);
}

int nftables_update(const struct policy *policy, char *error, size_t error_size)
{
        /* The table may be gone: `nft flush ruleset`, or a restart of nftables.service, takes it along. */
        if (run_ruleset(updating, policy, error, error_size) == 0)
                return 0;
        return nftables_apply(policy, error, error_size);
}

int nftables_flush(char *error, size_t error_size)
{
        return run(replacing, error, error_size);
}
