#include "kernel/nftables.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define TABLE "inet aksegressd"
#define OBJECT_NAME_SIZE 256 /* NFT_NAME_MAXLEN */

/* Adding first keeps the deletion from failing where there is no table yet. */
static const char replacing[] = "add table " TABLE "\n"
                                "delete table " TABLE "\n";

/* Running commands. */

/* The first line of what libnftables says; the rest quotes the ruleset. */
static void copy_first_line(const char *text, char *error, size_t error_size)
{
        size_t length = strcspn(text, "\n");

        snprintf(error, error_size, "nftables: %.*s", (int)length, length == 0 ? "no reason given" : text);
}

/* output NULL: none is wanted. Otherwise a text that the caller frees. */
static int run_in(struct nft_ctx *context, const char *commands, char **output, char *error, size_t error_size)
{
        /* Without buffers libnftables writes to standard output and standard error. */
        if (nft_ctx_buffer_error(context) != 0 || nft_ctx_buffer_output(context) != 0) {
                snprintf(error, error_size, "nftables: out of memory");
                return -ENOMEM;
        }
        nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_TERSE);
        if (nft_run_cmd_from_buffer(context, commands) == 0) {
                if (output != NULL)
                        *output = strdup(nft_ctx_get_output_buffer(context));
                return output != NULL && *output == NULL ? -ENOMEM : 0;
        }
        const char *words = nft_ctx_get_error_buffer(context);
        copy_first_line(words, error, error_size);
        if (strstr(words, strerror(ENOENT)) != NULL)
                return -ENOENT;
        return strstr(words, strerror(EPERM)) != NULL ? -EPERM : -EIO; /* It tells no number. */
}

static int run(const char *commands, char **output, char *error, size_t error_size)
{
        struct nft_ctx *context = nft_ctx_new(NFT_CTX_DEFAULT);
        int r;

        if (context == NULL) {
                snprintf(error, error_size, "nftables: no netlink socket or memory");
                return -ENOMEM;
        }
        r = run_in(context, commands, output, error, error_size);
        nft_ctx_free(context);
        return r;
}

/* Writing them. */

static char *finish(FILE *stream, char **text)
{
        bool failed = ferror(stream) != 0;

        if (fclose(stream) != 0 || failed) {
                free(*text);
                *text = NULL;
        }
        return *text;
}

static char *format_table(const struct policy *policy, const struct ruleset_facts *facts)
{
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        if (stream == NULL)
                return NULL;
        ruleset_print(stream, policy, facts);
        return finish(stream, &text);
}

/* NULL stays NULL. */
static char *prepend(const char *beginning, char *table)
{
        size_t beginning_length = strlen(beginning);
        char *text = table == NULL ? NULL : malloc(beginning_length + strlen(table) + 1);

        if (text != NULL) {
                memcpy(text, beginning, beginning_length);
                memcpy(text + beginning_length, table, strlen(table) + 1);
        }
        free(table);
        return text;
}

char *nftables_ruleset_format(const struct policy *policy, const struct ruleset_facts *facts)
{
        if (!policy_config(policy)->transparent.enabled)
                return strdup(
                        "# listen.transparent is not enabled: nothing is steered, and the kernel's rules are left "
                        "alone.\n");
        return prepend(replacing, format_table(policy, facts));
}

/* Changing the table that is there. */

/* Calls back for each line "\tKIND NAME {" of what `list table` prints. */
typedef void (*object_fn)(const char *kind, const char *name, void *context);

static void each_object(const char *listing, object_fn on_object, void *context)
{
        char kind[8], name[OBJECT_NAME_SIZE];

        for (const char *line = listing; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
                line += *line == '\n' ? 1 : 0;
                /* A tab in the format would stand for any white space, empty lines too. */
                if (*line == '\t' && sscanf(line + 1, "%7[a-z] %255[^ \n] {", kind, name) == 2 &&
                    (strcmp(kind, "set") == 0 || strcmp(kind, "map") == 0 || strcmp(kind, "chain") == 0))
                        on_object(kind, name, context);
        }
}

/* How the present table becomes the new one. */
struct change {
        FILE *stream;
        const char *table; /* the new one's text */
};

static bool is_chain(const char *kind)
{
        return strcmp(kind, "chain") == 0;
}

static bool stays(const struct change *change, const char *kind, const char *name)
{
        char line[OBJECT_NAME_SIZE + 16];

        snprintf(line, sizeof(line), " %s %s {\n", kind, name);
        return strstr(change->table, line) != NULL;
}

static void empty_set(const char *kind, const char *name, void *context)
{
        const struct change *change = context;

        if (!is_chain(kind))
                fprintf(change->stream, "flush %s " TABLE " %s\n", kind, name);
}

static void delete_left_over(const char *kind, const char *name, void *context)
{
        const struct change *change = context;

        if (!stays(change, kind, name))
                fprintf(change->stream, "delete %s " TABLE " %s\n", kind, name);
}

/*
 * A table replaced as a whole would be noticed: the hooks of a new chain are registered one after the other, and a SYN that
 * passed the new chain before the change and the old one after it would be steered by neither. So rules and elements go, what
 * nothing refers to then is deleted, and the new text adds to what is left.
 */
static char *format_change(const char *listing, char *table)
{
        char *text = NULL;
        size_t length;
        struct change change = { .stream = open_memstream(&text, &length), .table = table };

        if (change.stream == NULL) {
                free(table);
                return NULL;
        }
        fputs("flush table " TABLE "\n", change.stream);
        each_object(listing, empty_set, &change);
        each_object(listing, delete_left_over, &change);
        fputs(table, change.stream);
        free(table);
        return finish(change.stream, &text);
}

static int run_text(char *commands, char *error, size_t error_size)
{
        int r = -ENOMEM;

        if (commands == NULL)
                snprintf(error, error_size, "nftables: out of memory");
        else
                r = run(commands, NULL, error, error_size);
        free(commands);
        return r;
}

int nftables_apply(const struct policy *policy, const struct ruleset_facts *facts, char *error, size_t error_size)
{
        char *listing = NULL;
        int r = run("list table " TABLE "\n", &listing, error, error_size);

        if (r == 0) {
                r = run_text(format_change(listing, format_table(policy, facts)), error, error_size);
                if (r < 0 && r != -EPERM)
                        log_warning("%s: table " TABLE " cannot be changed as it is, replacing it", error);
        }
        free(listing);
        if (r == 0 || r == -EPERM)
                return r;
        return run_text(prepend(replacing, format_table(policy, facts)), error, error_size);
}

int nftables_apply_sources(const struct policy *policy, const struct ruleset_facts *facts, char *error,
                           size_t error_size)
{
        char *text = NULL;
        size_t length;
        FILE *stream = open_memstream(&text, &length);

        if (stream != NULL) {
                ruleset_print_sources(stream, policy, facts);
                text = finish(stream, &text);
        }
        return run_text(text, error, error_size);
}

int nftables_flush(char *error, size_t error_size)
{
        return run(replacing, NULL, error, error_size);
}
