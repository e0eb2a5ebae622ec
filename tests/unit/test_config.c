#include "config_lab.h"

static void the_smallest_file_gets_every_default(void **state)
{
        struct reading reading = read_good(REST);
        const struct config *config = reading.config;
        char text[NET_ENDPOINT_TEXT_SIZE];

        (void)state;
        assert_string_equal(config->path, "c.yaml");
        assert_true(config->workers >= 1);
        assert_false(config->transparent.enabled);
        assert_true(config->proxy.enabled);
        assert_string_equal(net_endpoint_format(&config->proxy.endpoint, text), "10.0.0.4:3128");
        assert_false(config->dns.enabled || config->admin.enabled || config->probe.enabled);
        assert_int_equal(config->allowlist_dir_count, 2);
        assert_string_equal(config->allowlist_dirs[0], AKSEGRESSD_SYSCONFDIR "/allowlists");
        assert_string_equal(config->allowlist_dirs[1], AKSEGRESSD_DATADIR "/allowlists");
        assert_int_equal(config->dns_server_count, 1);
        assert_string_equal(net_endpoint_format(&config->dns_servers[0], text), "168.63.129.16:53");
        assert_int_equal(config->forward_zone_count, 0);
        assert_int_equal(config->inspect_timeout_ms, 10000);
        assert_int_equal(config->resolve_timeout_ms, 5000);
        assert_int_equal(config->connect_timeout_ms, 10000);
        assert_int_equal(config->idle_timeout_ms, 1800000);
        assert_int_equal(config->max_connections, 250000);
        assert_int_equal(config->max_connections_per_client, 10000);
        assert_int_equal(config->on_policy_change, CONFIG_ON_POLICY_CHANGE_CLOSE);
        assert_int_equal(config->refuse_with, CONFIG_REFUSE_WITH_RESET);
        assert_int_equal(config->drain_ms, 60000);
        assert_int_equal(config->sink_count, 1);
        assert_int_equal(config->sinks[0].kind, CONFIG_SINK_JOURNAL);
        assert_true(config->sinks[0].takes_deny);
        assert_false(config->sinks[0].takes_allow);
        assert_int_equal(config->sinks[0].queue, 65536);
        assert_int_equal(config->snat_pools[0].selection, CONFIG_SELECTION_STICKY);
        assert_int_equal(config->clusters[0].mode, CONFIG_MODE_ENFORCE);
        assert_int_equal(config->clusters[0].dns_filter, CONFIG_DNS_FILTER_ENFORCE);
        assert_null(config->clusters[0].api_server.text);
        assert_int_equal(config->clusters[0].snat_pool, 0);
        finish(&reading);
}

static void assert_cluster_is_as_written(const struct config_cluster *cluster)
{
        assert_string_equal(cluster->name.text, "prod-weu");
        assert_int_equal(cluster->name.place.line, 10);
        assert_int_equal(cluster->name.place.column, 11);
        assert_int_equal(cluster->source_count, 2);
        assert_string_equal(cluster->cloud.text, "AzureChinaCloud");
        assert_string_equal(cluster->location.text, "chinaeast2");
        assert_int_equal(cluster->feature_count, 2);
        assert_string_equal(cluster->features[1].text, "azure-policy");
        assert_int_equal(cluster->parameter_count, 2);
        assert_string_equal(cluster->parameters[0].name.text, "vault_name");
        assert_string_equal(cluster->parameters[0].values[0].text, "contoso-kv");
        assert_int_equal(cluster->parameters[1].value_count, 2);
        assert_string_equal(cluster->parameters[1].values[1].text, "b.c");
        assert_string_equal(cluster->api_server.text, "prod-dns-1a2b3c.hcp.westeurope.azmk8s.io");
        assert_int_equal(cluster->mode, CONFIG_MODE_AUDIT);
        assert_int_equal(cluster->snat_pool, 1);
        assert_int_equal(cluster->allow_count, 2);
        assert_string_equal(cluster->allow[1].text, "udp ntp.ubuntu.com:123");
        assert_int_equal(cluster->allow[1].place.line, 19);
        assert_int_equal(cluster->allow[1].place.column, 39);
        assert_int_equal(cluster->deny_count, 1);
        assert_int_equal(cluster->private_destination_count, 1);
}

static void assert_rest_is_as_written(const struct config *config)
{
        char text[NET_ENDPOINT_TEXT_SIZE];

        assert_int_equal(config->workers, 3);
        assert_int_equal(config->transparent.endpoint.port, 15002);
        assert_string_equal(net_endpoint_format(&config->proxy.endpoint, text), "[fd00::4]:3129");
        assert_string_equal(config->allowlist_dirs[0], "/a");
        assert_string_equal(config->allowlist_dirs[1], "b");
        assert_int_equal(config->snat_pools[1].selection, CONFIG_SELECTION_LEAST_USED);
        assert_int_equal(config->snat_pools[1].range_count, 2);
        assert_string_equal(net_address_format(&config->snat_pools[1].ranges[0].last, text), "10.0.1.29");
        assert_string_equal(net_address_format(&config->snat_pools[1].ranges[1].first, text), "fd00:1::10");
        assert_int_equal(config->dns_server_count, 2);
        assert_string_equal(net_endpoint_format(&config->dns_servers[1], text), "[fd00::53]:54");
        assert_string_equal(config->forward_zones[0].zone.text, "internal.contoso.com");
        assert_string_equal(net_endpoint_format(&config->forward_zones[0].servers[0], text), "10.0.0.53:53");
        assert_int_equal(config->inspect_timeout_ms, 500);
        assert_int_equal(config->connect_timeout_ms, 60000);
        assert_int_equal(config->idle_timeout_ms, 7200000);
        assert_int_equal(config->on_policy_change, CONFIG_ON_POLICY_CHANGE_KEEP);
        assert_int_equal(config->refuse_with, CONFIG_REFUSE_WITH_DROP);
        assert_int_equal(config->drain_ms, 0);
        assert_int_equal(config->sink_count, 2);
        assert_false(config->sinks[0].takes_deny);
        assert_true(config->sinks[0].takes_allow);
        assert_int_equal(config->sinks[1].kind, CONFIG_SINK_FILE);
        assert_string_equal(config->sinks[1].path.text, "/var/log/x.json");
        assert_int_equal(config->sinks[1].queue, 100);
        assert_string_equal(config->sinks[1].clusters[0].text, "prod-weu");
}

static void every_key_of_the_contract_is_read(void **state)
{
        struct reading reading = read_good("workers: 3\n"
                                           "listen:\n"
                                           "  transparent: { port: 15002 }\n"
                                           "  proxy: { address: \"fd00::4\", port: 3129 }\n"
                                           "allowlist_dirs: [/a, b]\n"
                                           "snat_pools:\n"
                                           "  - { name: other, addresses: [10.0.2.1] }\n"
                                           "  - { name: main, addresses: [10.0.1.10-10.0.1.29, "
                                           "\"fd00:1::10-fd00:1::13\"], selection: least_used }\n"
                                           "clusters:\n"
                                           "  - name: prod-weu\n"
                                           "    sources: [10.1.0.0/16, \"fd00:2::/64\"]\n"
                                           "    cloud: AzureChinaCloud\n"
                                           "    location: chinaeast2\n"
                                           "    features: [monitor, core, azure-policy]\n"
                                           "    parameters: { vault_name: contoso-kv, registries: [a, b.c] }\n"
                                           "    api_server: Prod-dns-1a2b3c.hcp.westeurope.azmk8s.io.\n"
                                           "    mode: audit\n"
                                           "    snat_pool: main\n"
                                           "    allow: [\"https *.github.com:443\", udp ntp.ubuntu.com:123]\n"
                                           "    deny: [\"https gist.github.com:443\"]\n"
                                           "    private_destinations: [10.2.0.0/16]\n"
                                           "resolver: { servers: [10.0.0.53:5353, \"[fd00::53]:54\"], forward_zones: { "
                                           "Internal.Contoso.com: [10.0.0.53] } }\n"
                                           "timeouts: { inspect: 500ms, resolve: 2s, connect: 1m, idle: 2h }\n"
                                           "limits: { connections: 100, connections_per_client: 10 }\n"
                                           "on_policy_change: keep\n"
                                           "refuse_with: drop\n"
                                           "drain: 0s\n"
                                           "logging:\n"
                                           "  - { sink: journal, format: journal, events: [allow] }\n"
                                           "  - { sink: file, path: /var/log/x.json, format: json, events: [deny, "
                                           "allow], summarize: off, queue: 100, "
                                           "clusters: [prod-weu] }\n");

        (void)state;
        assert_cluster_is_as_written(&reading.config->clusters[0]);
        assert_rest_is_as_written(reading.config);
        finish(&reading);
}
static void all_errors_are_reported_together_in_the_order_of_the_file(void **state)
{
        struct reading reading = read_text("worker: 3\n" REST "timeouts: { inspect: 10, idle: 1ms }\n"
                                           "drain: [1]\n"
                                           "drain: 1s\n");
        static const char *const expected[] = {
                "c.yaml:7:1: duplicate key 'drain': it is already set on line 6; keep one of them",
                "c.yaml:1:1: worker: unknown key: did you mean 'workers'?",
                "c.yaml:5:22: timeouts.inspect: '10' has no unit: write it like 500ms, 10s, 30m or 1h",
                "c.yaml:5:32: timeouts.idle: '1ms' is out of bounds: from 1s to 168h is allowed",
                "c.yaml:6:8: drain: a list where a single value is expected (a text with [ ], { } or ': ' wants "
                "quotes)",
        };

        (void)state;
        assert_int_equal(reading.result, -EINVAL);
        assert_int_equal(diagnostics_line_count(reading.diagnostics), 5);
        for (size_t i = 0; i < 5; i++)
                assert_string_equal(diagnostics_line(reading.diagnostics, i), expected[i]);
        finish(&reading);
}

static void a_tab_in_the_indentation_is_named(void **state)
{
        (void)state;
        struct reading reading = read_text("listen:\n\tproxy: 1\n");
        assert_int_equal(reading.result, -EINVAL);
        assert_string_equal(diagnostics_line(reading.diagnostics, 0),
                            "c.yaml:2:1: a tab in the indentation: YAML wants spaces");
        finish(&reading);
}

static void what_is_not_served_is_a_warning(void **state)
{
        (void)state;
        assert_warning("control_group: wheel\n" REST,
                       "c.yaml:1:1: warning: control_group is not served by this version and has no effect");
}

static void a_cluster_names_an_existing_pool(void **state)
{
        (void)state;
        assert_error(CLUSTER LISTEN "snat_pools: [{ name: mian, addresses: [10.0.1.10] }]\n",
                     "c.yaml:1:108: clusters.snat_pool: there is no pool 'main' in snat_pools: did you mean 'mian'?");
}

static void a_prefix_with_host_bits_gets_the_right_one(void **state)
{
        (void)state;
        assert_error(CLUSTER_LINES "    private_destinations: [10.2.3.4/16]\n",
                     "c.yaml:9:28: clusters.private_destinations: '10.2.3.4/16' has bits set past its length: write "
                     "10.2.0.0/16");
}

static void what_is_given_twice_is_reported_with_the_first_place(void **state)
{
        (void)state;
        assert_error(REST "resolver: { forward_zones: { a.example: [10.0.0.1], A.example.: [10.0.0.2] } }\n",
                     "c.yaml:4:53: resolver.forward_zones: 'a.example' is there twice: keep one of them");
        assert_error(LISTEN CLUSTER
                     "snat_pools:\n- { name: main, addresses: [10.0.0.1] }\n- { name: main, addresses: [10.0.0.2] }\n",
                     "c.yaml:5:11: snat_pools.name: 'main' is the name of the one on line 4 already: names are unique");
        assert_error(LISTEN CLUSTER "snat_pools:\n- { name: main, addresses: [10.0.0.1-10.0.0.9] }\n- { name: b, "
                                    "addresses: [10.0.0.5-10.0.0.6] }\n",
                     "c.yaml:5:26: snat_pools.addresses: 10.0.0.5 is in the pools already, on line 4: keep it once");
        assert_error(LISTEN CLUSTER "snat_pools:\n- { name: main, addresses: [10.0.0.1, 10.0.0.1] }\n",
                     "c.yaml:4:39: snat_pools.addresses: 10.0.0.1 is in the pools already, on line 4: keep it once");
        assert_error(REST "logging: [{ sink: file, path: /a },\n { sink: file, path: /a }]\n",
                     "c.yaml:5:22: logging.path: '/a' is written by the sink on line 4 already: give it another file");
}

static void one_source_belongs_to_one_cluster(void **state)
{
        static const char second[] = "  - { name: b, sources: [10.0.0.0/8, 10.1.0.0/16], cloud: AzurePublicCloud, "
                                     "location: a, snat_pool: main }\n";
        char text[2048];

        (void)state;
        snprintf(text, sizeof(text), "%s%s", CLUSTER_LINES, second);
        assert_error(text, "c.yaml:9:38: clusters.sources: 10.1.0.0/16 is given already, on line 5: one source belongs "
                           "to one cluster");
}

static void listeners_do_not_share_a_port(void **state)
{
        (void)state;
        assert_error(
                "listen: { proxy: { address: 10.0.0.4, port: 15001 },\n transparent: {} }\n" POOLS CLUSTER,
                "c.yaml:1:18: listen.proxy: port 15001 is taken by listen.transparent on line 2: give it another one");
        struct reading reading =
                read_text("listen: { proxy: { address: 0.0.0.0, port: 9180 }, admin: {} }\n" POOLS CLUSTER);
        assert_int_equal(reading.result, -EINVAL);
        assert_string_equal(
                diagnostics_line(reading.diagnostics, 0),
                "c.yaml:1:59: listen.admin: port 9180 is taken by listen.proxy on line 1: give it another one");
        finish(&reading);
}

static void the_same_port_at_another_address_is_fine(void **state)
{
        struct reading reading =
                read_good("listen: { proxy: { address: 10.0.0.4, port: 9180 }, admin: {} }\n" POOLS CLUSTER);
        char text[NET_ENDPOINT_TEXT_SIZE];

        (void)state;
        assert_int_equal(diagnostics_line_count(reading.diagnostics), 0);
        assert_string_equal(net_endpoint_format(&reading.config->admin.endpoint, text), "127.0.0.1:9180");
        finish(&reading);
}

static void a_pool_has_at_most_4096_addresses(void **state)
{
        (void)state;
        assert_error(LISTEN CLUSTER "snat_pools:\n- { name: main, addresses: [10.0.0.0-10.0.15.255, 10.0.16.0] }\n",
                     "c.yaml:4:3: snat_pools.addresses: 4097 addresses in one pool: at most 4096 are allowed");
}

#define CLUSTERS_MISSING                                                                                               \
        "c.yaml:1:1: clusters is missing: who may reach what: a list of { name, sources, cloud, location, snat_pool, " \
        "… }"

static void required_keys_are_missed_by_name(void **state)
{
        struct reading reading = read_text("workers: 2\n");
        static const char *const expected[] = {
                "c.yaml:1:1: snat_pools is missing: addresses to send from: a list of { name, addresses, selection }",
                CLUSTERS_MISSING,
                "c.yaml:1:1: listen: nothing to do: give listen.transparent, listen.proxy or listen.dns",
        };

        (void)state;
        assert_int_equal(diagnostics_line_count(reading.diagnostics), 3);
        for (size_t i = 0; i < 3; i++)
                assert_string_equal(diagnostics_line(reading.diagnostics, i), expected[i]);
        finish(&reading);
        assert_error(LISTEN POOLS
                     "clusters:\n- { name: a, sources: [10.1.0.0/16], cloud: AzurePublicCloud, snat_pool: main }\n",
                     "c.yaml:4:3: clusters.location is missing: Azure region, like westeurope");
        assert_error(REST "logging: [{ sink: file }]\n",
                     "c.yaml:4:11: logging.path is missing: a file sink needs the file to write to");
}

static void unknown_keys_get_the_nearest_or_all_that_are_known(void **state)
{
        (void)state;
        assert_error(REST "timeouts: { idel: 1m }\n", "c.yaml:4:13: timeouts.idel: unknown key: did you mean 'idle'?");
        assert_error(REST "timeouts: { handshake: 1m }\n",
                     "c.yaml:4:13: timeouts.handshake: unknown key: known here are inspect, resolve, connect, idle");
}

static void yaml_that_a_configuration_has_no_use_for_is_refused(void **state)
{
        (void)state;
        assert_error("workers: &a 1\n" REST, "c.yaml:1:13: a YAML tag or anchor ('!…', '&…') is not understood here: "
                                             "write plain values, and quote a text that begins so");
        assert_error("workers: !!int 1\n" REST, "c.yaml:1:16: a YAML tag or anchor ('!…', '&…') is not understood "
                                                "here: write plain values, and quote a text that begins so");
        assert_error("workers: *a\n" REST, "c.yaml:1:11: a YAML alias ('*…') is not understood here: write the value "
                                           "out, and quote a text that begins with '*'");
        assert_error("workers: 1\n---\nworkers: 1\n",
                     "c.yaml:2:1: a second YAML document ('---') begins here: a configuration is one document");
        assert_error("workers: |\n  1\n  2\n" REST,
                     "c.yaml:2:1: a text with a line break or control character: write it on one line");
        assert_error("[workers]: 1\n", "c.yaml:1:1: a list where a key is expected: keys are plain words");
        assert_error("[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]\n",
                     "c.yaml:1:17: nested deeper than 16 levels, which no key needs");
        assert_error("- workers\n",
                     "c.yaml:1:1: a list where a mapping is expected: a configuration is lines of 'key: value'");
        assert_error("",
                     "c.yaml:1:1: the file holds nothing: at least snat_pools, clusters and one listener are needed");
        assert_error("# nothing\n",
                     "c.yaml:1:1: the file holds nothing: at least snat_pools, clusters and one listener are needed");
}

static void bytes_that_are_no_text_are_refused(void **state)
{
        static const char with_nul[] = "workers: 1\0\n";
        struct diagnostics *diagnostics = diagnostics_new();
        struct config *config = NULL;

        (void)state;
        assert_error("workers: 1\nx: \xff\n", "c.yaml:2:4: byte 0xff is not UTF-8: save the file in that encoding");
        assert_error("x: \xed\xa0\x80\n",
                     "c.yaml:1:4: byte 0xed is not UTF-8: save the file in that encoding"); /* a surrogate */
        assert_error("x: \xc0\xaf\n",
                     "c.yaml:1:4: byte 0xc0 is not UTF-8: save the file in that encoding"); /* too long a form */
        assert_error("x: \xf4\x90\x80\x80\n", "c.yaml:1:4: byte 0xf4 is not UTF-8: save the file in that encoding");
        assert_error("\xc3\xa4\xc3", "c.yaml:1:2: byte 0xc3 is not UTF-8: save the file in that encoding");
        assert_error("x: \033[2J\n", "c.yaml:1:4: control character 0x1b: only text is allowed here");
        assert_int_equal(config_read_text("c.yaml", with_nul, sizeof(with_nul) - 1, diagnostics, &config), -EINVAL);
        assert_string_equal(diagnostics_line(diagnostics, 0),
                            "c.yaml:1:11: control character 0x00: only text is allowed here");
        diagnostics_free(diagnostics);
}

/* libfyaml 0.7 takes very long for the first, and gigabytes for the second. */
static void what_would_overwhelm_the_library_does_not_reach_it(void **state)
{
        static char brackets[CONFIG_MAX_FILE_BYTES];

        (void)state;
        assert_error("workers: 1\n%%%%%%%%%%\n",
                     "c.yaml:2:1: a line that begins with '%', a YAML directive: a configuration needs none");
        assert_error("\xef\xbb\xbf%%%%%%%%%%\n",
                     "c.yaml:1:1: a line that begins with '%', a YAML directive: a configuration needs none");
        assert_error("workers: 1\r%%%%%%%%%%\n",
                     "c.yaml:1:1: a line that begins with '%', a YAML directive: a configuration needs none");
        memset(brackets, '[', sizeof(brackets) - 1);
        assert_error(
                brackets,
                "c.yaml:1:500001: more than 500000 brackets and commas: keep long lists of rules in files of their own "
                "(file:PATH)");
}

static void a_syntax_error_has_its_place(void **state)
{
        struct reading reading = read_text("workers: 1\nlisten: { proxy: }}\n");

        (void)state;
        assert_int_equal(reading.result, -EINVAL);
        assert_memory_equal(diagnostics_line(reading.diagnostics, 0), "c.yaml:2:19: not readable as YAML: ", 35);
        finish(&reading);
}

static void relative_paths_are_taken_from_the_file_s_directory(void **state)
{
        static const char text[] = REST "allowlist_dirs: [lists, /abs]\nlogging: [{ sink: file, path: x.json }]\n";
        struct diagnostics *diagnostics = diagnostics_new();
        struct config *config = NULL;

        (void)state;
        assert_int_equal(config_read_text("/etc/a/c.yaml", text, strlen(text), diagnostics, &config), 0);
        assert_string_equal(config->allowlist_dirs[0], "/etc/a/lists");
        assert_string_equal(config->allowlist_dirs[1], "/abs");
        assert_string_equal(config->sinks[0].path.text, "/etc/a/x.json");
        config_free(config);
        diagnostics_free(diagnostics);
}

/* What is not a whole configuration is an error or a smaller one, and never a crash (ASan watches). */
static void every_cut_and_every_changed_byte_is_survived(void **state)
{
        static const char text[] = "# c\n" REST "logging: [{ sink: journal, events: [deny, allow] }]\ndrain: \"1s\"\n";
        static const char replacements[] = { 0, '{', ']', '"', '\'', ':', '\n', '\t', '&', '-', '9' };
        char changed[sizeof(text)];

        (void)state;
        for (size_t length = 0; length < strlen(text); length++) {
                struct diagnostics *diagnostics = diagnostics_new();
                struct config *config = NULL;
                memcpy(changed, text, sizeof(text));
                changed[length] = replacements[length % sizeof(replacements)];
                for (int whole = 0; whole < 2; whole++) {
                        int r = config_read_text("c.yaml", changed, whole == 1 ? strlen(text) : length, diagnostics,
                                                 &config);
                        assert_true(r == 0 || (r == -EINVAL && diagnostics_error_count(diagnostics) > 0));
                        config_free(config);
                        config = NULL;
                }
                diagnostics_free(diagnostics);
        }
}

static void files_that_cannot_be_read_are_named(void **state)
{
        static const struct {
                const char *path;
                const char *line;
        } cases[] = {
                { "/nonexistent/c.yaml", "/nonexistent/c.yaml: cannot be read: No such file or directory" },
                { "/", "/: cannot be read: Is a directory" },
                { "/dev/null",
                  "/dev/null:1:1: the file holds nothing: at least snat_pools, clusters and one listener are needed" },
                { "/dev/zero", "/dev/zero: larger than 8 MiB, which no configuration needs: keep long lists of rules "
                               "in files of their own" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct diagnostics *diagnostics = diagnostics_new();
                struct config *config = NULL;
                assert_int_equal(config_read(cases[i].path, diagnostics, &config), -EINVAL);
                assert_string_equal(diagnostics_line(diagnostics, 0), cases[i].line);
                assert_null(config);
                diagnostics_free(diagnostics);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_smallest_file_gets_every_default),
                cmocka_unit_test(every_key_of_the_contract_is_read),
                cmocka_unit_test(all_errors_are_reported_together_in_the_order_of_the_file),
                cmocka_unit_test(a_tab_in_the_indentation_is_named),
                cmocka_unit_test(what_is_not_served_is_a_warning),
                cmocka_unit_test(a_cluster_names_an_existing_pool),
                cmocka_unit_test(a_prefix_with_host_bits_gets_the_right_one),
                cmocka_unit_test(what_is_given_twice_is_reported_with_the_first_place),
                cmocka_unit_test(one_source_belongs_to_one_cluster),
                cmocka_unit_test(listeners_do_not_share_a_port),
                cmocka_unit_test(the_same_port_at_another_address_is_fine),
                cmocka_unit_test(a_pool_has_at_most_4096_addresses),
                cmocka_unit_test(required_keys_are_missed_by_name),
                cmocka_unit_test(unknown_keys_get_the_nearest_or_all_that_are_known),
                cmocka_unit_test(yaml_that_a_configuration_has_no_use_for_is_refused),
                cmocka_unit_test(bytes_that_are_no_text_are_refused),
                cmocka_unit_test(what_would_overwhelm_the_library_does_not_reach_it),
                cmocka_unit_test(a_syntax_error_has_its_place),
                cmocka_unit_test(relative_paths_are_taken_from_the_file_s_directory),
                cmocka_unit_test(every_cut_and_every_changed_byte_is_survived),
                cmocka_unit_test(files_that_cannot_be_read_are_named),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
