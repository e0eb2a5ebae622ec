#include "kernel/nftables.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernel/table_objects.h"

#define TABLE_NAME "aksegressd"
#define TABLE "inet " TABLE_NAME

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
        if (strstr(words, strerror(ENOENT)) != NULL)
                return -ENOENT;
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

/* How the present table becomes the new one. */
struct change {
        FILE *stream;
        const char *table; /* the new one's text */
        bool keeps_learned;
};

static bool stays(const struct change *change, enum table_object_kind kind, const char *name)
{
        char line[TABLE_OBJECT_NAME_SIZE + 16];

        snprintf(line, sizeof(line), " %s %s {\n", table_object_kind_name(kind), name);
        return strstr(change->table, line) != NULL;
}

static bool keeps_elements(const struct change *change, const struct table_object *object)
{
        return object->kind == TABLE_OBJECT_CHAIN ||
               (change->keeps_learned && strncmp(object->name, "learned.", strlen("learned.")) == 0);
}

static void print_command(const struct change *change, const char *verb, const struct table_object *object)
{
        fprintf(change->stream, "%s %s " TABLE " %s\n", verb, table_object_kind_name(object->kind), object->name);
}

/* All are empty before the first is deleted: elements of maps refer to chains. */
static void empty_and_delete(const struct change *change, const struct table_objects *present)
{
        for (size_t i = 0; i < present->count; i++)
                if (!keeps_elements(change, &present->items[i]))
                        print_command(change, "flush", &present->items[i]);
        for (size_t i = 0; i < present->count; i++)
                if (!stays(change, present->items[i].kind, present->items[i].name))
                        print_command(change, "delete", &present->items[i]);
}

/* Adding first keeps the deletion from failing where the element has just run out. A set that goes takes its own along. */
static void delete_stale(const char *set, const struct net_address *address, void *sink)
{
        const struct change *change = sink;
        char text[NET_ADDRESS_TEXT_SIZE];

        if (!stays(change, TABLE_OBJECT_SET, set))
                return;
        net_address_format(address, text);
        fprintf(change->stream,
                "add element " TABLE " %s { %s timeout 1s }\n"
                "delete element " TABLE " %s { %s }\n",
                set, text, set, text);
}

/*
 * A table replaced as a whole would be noticed: the hooks of a new chain are registered one after the other, and a SYN that
 * passed the new chain before the change and the old one after it would be steered by neither. So rules and elements go, what
 * nothing refers to then is deleted, and the new text adds to what is left.
 */
static char *format_change(const struct table_objects *present, char *table, const struct ruleset_facts *facts)
{
        char *text = NULL;
        size_t length;
        struct change change = { .stream = open_memstream(&text, &length),
                                 .table = table,
                                 .keeps_learned = facts != NULL && facts->each_stale != NULL };

        if (change.stream == NULL || table == NULL) {
                if (change.stream != NULL)
                        free(finish(change.stream, &text));
                free(table);
                return NULL;
        }
        fputs("flush table " TABLE "\n", change.stream);
        if (change.keeps_learned)
                facts->each_stale(delete_stale, &change, facts->context);
        empty_and_delete(&change, present);
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
                r = run(commands, error, error_size);
        free(commands);
        return r;
}

static int change_what_is_there(const struct table_objects *present, const struct policy *policy,
                                const struct ruleset_facts *facts, char *error, size_t error_size)
{
        int r = run_text(format_change(present, format_table(policy, facts), facts), error, error_size);

        if (r < 0 && r != -EPERM)
                log_warning("%s: table " TABLE " cannot be changed as it is, replacing it", error);
        return r;
}

int nftables_apply(const struct policy *policy, const struct ruleset_facts *facts, char *error, size_t error_size)
{
        bool keeps_learned = facts != NULL && facts->each_stale != NULL;
        struct table_objects present;
        int r = table_objects_read(TABLE_NAME, &present);

        if (r < 0)
                snprintf(error, error_size, "nftables: %s", strerror(-r));
        else if (present.count == 0)
                r = -ENOENT;
        else
                r = change_what_is_there(&present, policy, facts, error, error_size);
        table_objects_clear(&present);
        if (r == 0)
                return keeps_learned ? 0 : 1;
        if (r == -EPERM)
                return r;
        r = run_text(prepend(replacing, format_table(policy, facts)), error, error_size);
        return r < 0 ? r : 1;
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
        return run(replacing, error, error_size);
}
