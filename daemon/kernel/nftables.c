#include "kernel/nftables.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adding an empty table first lets the deletion succeed also when there was none; all of it is one transaction. */
static const char replace_table[] = "add table inet aksegressd\n"
                                    "delete table inet aksegressd\n";

/*
 * Steered connections are the daemon's, so connection tracking would only cost (notrack). Packets that are sent to one of
 * the Azure platform addresses through this machine, not by it, are dropped before anything else can take them.
 */
static const char steering_chains[] =
        "\tchain untracked_in {\n"
        "\t\ttype filter hook prerouting priority raw; policy accept;\n"
        "\t\tfib daddr type local return\n"
        "\t\ttcp dport @steered_ports notrack\n"
        "\t}\n"
        "\tchain untracked_out {\n"
        "\t\ttype filter hook output priority raw; policy accept;\n"
        "\t\ttcp sport @steered_ports fib saddr type != local notrack\n"
        "\t}\n"
        "\tchain steering {\n"
        "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
        "\t\tiifname != \"lo\" ip daddr { 168.63.129.16, 169.254.169.254 } drop\n"
        "\t\tfib daddr type { local, broadcast, multicast } return\n"
        "\t\tmeta l4proto tcp socket transparent 1 socket wildcard 0 meta mark set 0x%1$08x accept\n"
        "\t\tmeta nfproto ipv4 tcp dport @steered_ports tproxy ip to :%2$u meta mark set 0x%1$08x accept\n"
        "\t\tmeta nfproto ipv6 tcp dport @steered_ports tproxy ip6 to :%2$u meta mark set 0x%1$08x accept\n"
        "\t}\n"
        "\tchain own_port {\n"
        "\t\ttype filter hook input priority filter; policy accept;\n"
        "\t\ttcp dport %2$u meta mark != 0x%1$08x reject with tcp reset\n"
        "\t}\n";

static const char forward_chain[] = "\tchain forward {\n"
                                    "\t\ttype filter hook forward priority filter; policy drop;\n"
                                    "\t}\n";

/* "80, 443, 1000-2000": runs of neighbouring ports as ranges. ports is sorted. */
static void print_ports(FILE *stream, const uint16_t *ports, size_t count)
{
        for (size_t i = 0; i < count;) {
                size_t last = i;
                while (last + 1 < count && ports[last + 1] == ports[last] + 1)
                        last++;
                fprintf(stream, "%s%u", i > 0 ? ", " : "", (unsigned)ports[i]);
                if (last > i)
                        fprintf(stream, "-%u", (unsigned)ports[last]);
                i = last + 1;
        }
}

static void print_ruleset(FILE *stream, const struct policy *policy)
{
        const struct config_listener *transparent = &policy_config(policy)->transparent;
        const uint16_t *ports;
        size_t count = policy_steered_ports(policy, &ports);

        fprintf(stream, "%stable inet aksegressd {\n", replace_table);
        if (transparent->enabled) {
                fprintf(stream, "\tset steered_ports {\n\t\ttype inet_service; flags interval;\n\t\telements = { ");
                print_ports(stream, ports, count);
                fprintf(stream, " }\n\t}\n");
                fprintf(stream, steering_chains, NFTABLES_STEERING_MARK, (unsigned)transparent->endpoint.port);
        }
        fprintf(stream, "%s}\n", forward_chain);
}

char *nftables_ruleset_format(const struct policy *policy)
{
        char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);

        if (stream == NULL)
                return NULL;
        print_ruleset(stream, policy);
        if (fclose(stream) == 0)
                return text;
        free(text);
        return NULL;
}

/* The first line of what libnftables said. */
static void copy_error(struct nft_ctx *context, char *error, size_t error_size)
{
        const char *text = nft_ctx_get_error_buffer(context);
        int length = text != NULL ? (int)strcspn(text, "\n") : 0;

        snprintf(error, error_size, "nftables: %.*s", length > 0 ? length : 13, length > 0 ? text : "unknown error");
}

static int run(const char *commands, char *error, size_t error_size)
{
        struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
        int r = -ENOMEM;

        snprintf(error, error_size, "nftables: out of memory");
        if (context == NULL)
                return r;
        if (nft_ctx_buffer_error(context) == 0 && nft_ctx_buffer_output(context) == 0) {
                r = nft_run_cmd_from_buffer(context, commands) == 0 ? 0 : -EIO;
                if (r < 0)
                        copy_error(context, error, error_size);
        }
        nft_ctx_free(context);
        return r;
}

int nftables_apply(const struct policy *policy, char *error, size_t error_size)
{
        char *ruleset = nftables_ruleset_format(policy);

        if (ruleset == NULL) {
                snprintf(error, error_size, "nftables: out of memory");
                return -ENOMEM;
        }
        int r = run(ruleset, error, error_size);
        free(ruleset);
        return r;
}

int nftables_flush(char *error, size_t error_size)
{
        return run(replace_table, error, error_size);
}
