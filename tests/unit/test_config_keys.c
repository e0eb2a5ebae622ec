/* The key table against what is written about it: the manual and the configuration that comes with the program. */
#include "policy/config_keys.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANUAL "docs/aksegressd.yaml.5"
#define SAMPLE "conf/aksegressd.yaml"
#define MINIMAL "conf/aksegressd-minimal.yaml"
#define FILE_SIZE 65536

/* Tests run in the project's root, as `make unit` does. */
static void read_file(const char *path, char *buffer)
{
        FILE *stream = fopen(path, "re");
        size_t length;

        if (stream == NULL)
                fail_msg("%s cannot be opened", path);
        length = fread(buffer, 1, FILE_SIZE - 1, stream);
        assert_true(length < FILE_SIZE - 1);
        buffer[length] = '\0';
        fclose(stream);
}

/* The text about a key: from behind its heading to the next one. NULL: there is none. */
static char *manual_entry(const char *manual, const char *name)
{
        char heading[128];
        const char *begin, *end;

        snprintf(heading, sizeof(heading), "\n.It Ic %s\n", name);
        begin = strstr(manual, heading);
        if (begin == NULL)
                return NULL;
        begin += strlen(heading);
        end = strstr(begin, "\n.It ");
        return end == NULL ? strdup(begin) : strndup(begin, (size_t)(end - begin) + 1);
}

/* The default as the manual and the sample write it, with line ends as any other space. */
static bool says_default(char *entry, const char *default_text)
{
        char sentence[256];

        for (char *byte = entry; *byte != '\0'; byte++)
                if (*byte == '\n')
                        *byte = ' ';
        snprintf(sentence, sizeof(sentence), "Default: %s. ", default_text);
        return strstr(entry, sentence) != NULL;
}

static void check_manual_entry(const char *name, const struct config_key *key, void *context)
{
        const char *manual = context;
        char *entry = manual_entry(manual, name);

        if (entry == NULL)
                fail_msg("%s: no '.It Ic %s'", MANUAL, name);
        if (key->required && strstr(entry, "equired") == NULL)
                fail_msg("%s: %s is required, and the manual does not say so", MANUAL, name);
        if ((key->not_served != NULL) != (strstr(entry, ".Em Not served .") != NULL))
                fail_msg("%s: %s: the manual and the table differ about whether it is served", MANUAL, name);
        if (key->default_text != NULL && key->shape != CONFIG_SHAPE_SECTION && !says_default(entry, key->default_text))
                fail_msg("%s: %s: no 'Default: %s.'", MANUAL, name, key->default_text);
        if (key->default_text == NULL && strstr(entry, "Default:") != NULL)
                fail_msg("%s: %s has no default, but the manual says one", MANUAL, name);
        free(entry);
}

static void the_manual_has_every_key_with_its_default(void **state)
{
        static char manual[FILE_SIZE];

        (void)state;
        read_file(MANUAL, manual);
        config_keys_each(check_manual_entry, manual);
}

struct search {
        const char *name;
        size_t length;
        bool found;
};

static void look_for(const char *name, const struct config_key *key, void *context)
{
        struct search *search = context;

        (void)key;
        search->found =
                search->found || (strlen(name) == search->length && strncmp(name, search->name, search->length) == 0);
}

static void the_manual_has_no_key_that_does_not_exist(void **state)
{
        static char manual[FILE_SIZE];
        static const char heading[] = "\n.It Ic ";

        (void)state;
        read_file(MANUAL, manual);
        for (const char *at = strstr(manual, heading); at != NULL; at = strstr(at + 1, heading)) {
                struct search search = { .name = at + strlen(heading) };
                search.length = strcspn(search.name, "\n");
                config_keys_each(look_for, &search);
                if (!search.found)
                        fail_msg("%s: there is no key '%.*s'", MANUAL, (int)search.length, search.name);
        }
}

/* Whether the text has "key:" with nothing of a word before it. */
static bool names_key(const char *text, const char *key)
{
        size_t length = strlen(key);

        for (const char *at = strstr(text, key); at != NULL; at = strstr(at + 1, key))
                if (at[length] == ':' && at != text && isalnum((unsigned char)at[-1]) == 0 && at[-1] != '_')
                        return true;
        return false;
}

static void check_sample_entry(const char *name, const struct config_key *key, void *context)
{
        const char *sample = context;

        if (!names_key(sample, key->name))
                fail_msg("%s: no '%s:' for %s", SAMPLE, key->name, name);
}

static void the_sample_has_every_key(void **state)
{
        static char sample[FILE_SIZE];

        (void)state;
        read_file(SAMPLE, sample);
        config_keys_each(check_sample_entry, sample);
}

static struct config *read_config_text(const char *path, const char *text, struct diagnostics *diagnostics)
{
        struct config *config = NULL;

        if (config_read_text(path, text, strlen(text), diagnostics, &config) != 0) {
                diagnostics_print(diagnostics, stdout);
                fail_msg("%s has errors", path);
        }
        return config;
}

static void sample_and_minimal_are_read_without_a_word(void **state)
{
        static const char *const paths[] = { SAMPLE, MINIMAL };
        static char text[FILE_SIZE];

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                struct diagnostics *diagnostics = diagnostics_new();
                read_file(paths[i], text);
                config_free(read_config_text(paths[i], text, diagnostics));
                assert_int_equal(diagnostics_line_count(diagnostics), 0);
                diagnostics_free(diagnostics);
        }
}

/* Whether this is what follows a '#': "key:", "- key:" or, below that, "  key:". Prose has one space before it. */
static bool is_switched_off(const char *text)
{
        return islower((unsigned char)text[0]) != 0 || strncmp(text, "- ", 2) == 0 || strncmp(text, "  ", 2) == 0;
}

/* "#key:" becomes "key:". */
static void switch_on(char *text)
{
        for (char *at = strchr(text, '#'); at != NULL; at = strchr(at + 1, '#'))
                if (is_switched_off(at + 1))
                        memmove(at, at + 1, strlen(at));
}

static void what_the_sample_has_switched_off_can_be_switched_on(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();
        static char text[FILE_SIZE];
        struct config *config;

        (void)state;
        read_file(SAMPLE, text);
        switch_on(text);
        config = read_config_text(SAMPLE, text, diagnostics);
        assert_true(config->dns.enabled && config->admin.enabled && config->probe.enabled);
        assert_int_equal(config->sink_count, 5);
        for (size_t i = 0; i < diagnostics_line_count(diagnostics); i++)
                assert_non_null(strstr(diagnostics_line(diagnostics, i), "warning: "));
        assert_int_equal(diagnostics_line_count(diagnostics), 2);
        config_free(config);
        diagnostics_free(diagnostics);
}

/* Except for what the minimal file does not have, the sample says nothing but defaults. */
static void the_sample_is_at_the_defaults(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();
        static char text[FILE_SIZE];

        (void)state;
        read_file(SAMPLE, text);
        struct config *sample = read_config_text(SAMPLE, text, diagnostics);
        read_file(MINIMAL, text);
        struct config *minimal = read_config_text(MINIMAL, text, diagnostics);
        assert_int_equal(sample->workers, minimal->workers);
        assert_int_equal(sample->transparent.endpoint.port, minimal->transparent.endpoint.port);
        assert_int_equal(sample->allowlist_dir_count, minimal->allowlist_dir_count);
        for (size_t i = 0; i < sample->allowlist_dir_count; i++)
                assert_string_equal(sample->allowlist_dirs[i], minimal->allowlist_dirs[i]);
        assert_int_equal(sample->dns_server_count, minimal->dns_server_count);
        assert_true(net_endpoint_equal(&sample->dns_servers[0], &minimal->dns_servers[0]));
        assert_int_equal(sample->inspect_timeout_ms, minimal->inspect_timeout_ms);
        assert_int_equal(sample->resolve_timeout_ms, minimal->resolve_timeout_ms);
        assert_int_equal(sample->connect_timeout_ms, minimal->connect_timeout_ms);
        assert_int_equal(sample->idle_timeout_ms, minimal->idle_timeout_ms);
        assert_int_equal(sample->max_connections, minimal->max_connections);
        assert_int_equal(sample->max_connections_per_client, minimal->max_connections_per_client);
        assert_int_equal(sample->on_policy_change, minimal->on_policy_change);
        assert_int_equal(sample->refuse_with, minimal->refuse_with);
        assert_int_equal(sample->drain_ms, minimal->drain_ms);
        assert_int_equal(sample->snat_pools[0].selection, minimal->snat_pools[0].selection);
        assert_int_equal(sample->clusters[0].mode, minimal->clusters[0].mode);
        assert_int_equal(sample->clusters[0].dns_filter, minimal->clusters[0].dns_filter);
        assert_int_equal(sample->sink_count, minimal->sink_count);
        assert_int_equal(sample->sinks[0].kind, minimal->sinks[0].kind);
        assert_int_equal(sample->sinks[0].takes_deny, minimal->sinks[0].takes_deny);
        assert_int_equal(sample->sinks[0].takes_allow, minimal->sinks[0].takes_allow);
        assert_int_equal(sample->sinks[0].queue, minimal->sinks[0].queue);
        assert_int_equal(sample->sinks[0].summarize_ms, minimal->sinks[0].summarize_ms);
        config_free(sample);
        config_free(minimal);
        diagnostics_free(diagnostics);
}

/* Of keys that other sinks have than the minimal file's, too; what such a sink is told to be is another matter. */
static void the_sinks_that_the_sample_has_switched_off_are_at_the_defaults(void **state)
{
        struct diagnostics *diagnostics = diagnostics_new();
        static char text[FILE_SIZE];

        (void)state;
        read_file(SAMPLE, text);
        switch_on(text);
        struct config *config = read_config_text(SAMPLE, text, diagnostics);
        const struct config_sink *journal = &config->sinks[0], *file = &config->sinks[1], *server = &config->sinks[3];
        for (size_t i = 1; i < config->sink_count; i++) {
                const struct config_sink *sink = &config->sinks[i];
                assert_int_equal(sink->allow_at_start, journal->allow_at_start);
                assert_int_equal(sink->allow_at_end, journal->allow_at_end);
                assert_int_equal(sink->summarize_ms, journal->summarize_ms);
                assert_int_equal(sink->queue, journal->queue);
                assert_int_equal(sink->facility, journal->facility);
                assert_int_equal(sink->spool_max, journal->spool_max);
        }
        assert_int_equal(file->format, CONFIG_FORMAT_JSON);
        assert_int_equal(server->format, CONFIG_FORMAT_SYSLOG);
        assert_int_equal(server->transport, journal->transport);
        assert_int_equal(server->server.endpoint.port, 6514);
        config_free(config);
        diagnostics_free(diagnostics);
}

static void check_help(const char *name, const struct config_key *key, void *context)
{
        (void)context;
        if (key->help == NULL || key->help[0] == '\0')
                fail_msg("%s has no line of help", name);
}

static void every_key_has_a_line_of_help(void **state)
{
        (void)state;
        config_keys_each(check_help, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_manual_has_every_key_with_its_default),
                cmocka_unit_test(the_manual_has_no_key_that_does_not_exist),
                cmocka_unit_test(the_sample_has_every_key),
                cmocka_unit_test(sample_and_minimal_are_read_without_a_word),
                cmocka_unit_test(what_the_sample_has_switched_off_can_be_switched_on),
                cmocka_unit_test(the_sample_is_at_the_defaults),
                cmocka_unit_test(the_sinks_that_the_sample_has_switched_off_are_at_the_defaults),
                cmocka_unit_test(every_key_has_a_line_of_help),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
