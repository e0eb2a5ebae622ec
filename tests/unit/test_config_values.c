/*
 * One good and one bad value, or more, for every key of the table. The key under test is the first of its section, so
 * that the place of its value follows from the key.
 */
#include "policy/config_keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/diagnostic.h"

#define TEXT_SIZE 4096

/* How the section that holds a key is written: what comes before the key, and after its line. */
struct section {
        const char *name;
        const char *opening;
        unsigned line; /* of the key */
        unsigned indentation;
        const char *others[6]; /* lines of the section, left out when their key is the one under test */
        const char *closing;
};

#define LISTENER(name_text)                                                                                            \
        {                                                                                                              \
                "listen." name_text, "listen:\n  " name_text ":\n", 3, 4, { "address: 10.0.0.5" },                     \
                        "  transparent: {}\n"                                                                          \
        }

static const struct section sections[] = {
        { "", "", 1, 0, { NULL }, "" },
        { "listen", "listen:\n", 2, 2, { "proxy: { address: 10.0.0.4 }" }, "" },
        { "listen.transparent", "listen:\n  transparent:\n", 3, 4, { NULL }, "" },
        LISTENER("proxy"),
        LISTENER("dns"),
        LISTENER("admin"),
        LISTENER("probe"),
        { "snat_pools", "snat_pools:\n-\n", 3, 2, { "name: main", "addresses: [10.0.9.1]" }, "" },
        { "clusters",
          "clusters:\n-\n",
          3,
          2,
          { "name: prod", "sources: [10.1.0.0/16]", "cloud: AzurePublicCloud", "location: westeurope",
            "snat_pool: main" },
          "" },
        { "resolver", "resolver:\n", 2, 2, { NULL }, "" },
        { "timeouts", "timeouts:\n", 2, 2, { NULL }, "" },
        { "limits", "limits:\n", 2, 2, { NULL }, "" },
        { "logging", "logging:\n-\n", 3, 2, { "sink: journal" }, "" },
        { "logging(file)", "logging:\n-\n", 3, 2, { "sink: file", "path: /x" }, "" },
        { "logging(allow)", "logging:\n-\n", 3, 2, { "sink: journal", "events: [allow]" }, "" },
        { "logging(azure)", "logging:\n-\n", 3, 2, { "sink: file", "path: /x", "format: azure" }, "" },
        { "logging(server)", "logging:\n-\n", 3, 2, { "sink: syslog", "address: siem.contoso.com" }, "" },
        { "logging(syslog)",
          "logging:\n-\n",
          3,
          2,
          { "sink: syslog", "address: siem.contoso.com", "cert_file: /c.pem", "key_file: /k.pem" },
          "" },
};

/* The parts that every file needs, left out when the section under test is one of them. */
static const struct {
        const char *name;
        const char *text;
} required[] = {
        { "listen", "listen: { proxy: { address: 10.0.0.4 } }\n" },
        { "snat_pools", "snat_pools: [{ name: main, addresses: [10.0.9.1] }]\n" },
        { "clusters", "clusters: [{ name: prod, sources: [10.1.0.0/16], cloud: AzurePublicCloud, location: westeurope, "
                      "snat_pool: main }]\n" },
};

struct example {
        const char *section;
        const char *key;
        const char *value;
        const char *complaint; /* behind "c.yaml:LINE:COLUMN: SECTION.KEY: "; NULL: the value is good */
        unsigned offset;       /* of what is wrong within the value, 1 for the first element of a [list] */
};

#define ADDRESS_COMPLAINT "'10.0.0' is not an address: write it like 10.0.0.4 or fd00::4"
#define PORT_COMPLAINT(text) "'" text "' is not a port: write a number from 1 to 65535"
#define DURATION(text) "'" text "' has no unit: write it like 500ms, 10s, 30m or 1h"
#define NEITHER(text) "'" text "' is neither 'off' nor a duration: write it like 10s, 30m or 1h"
#define RANGE(text) "'" text "' is not a range of addresses: write it like 10.0.1.10-10.0.1.29"
#define NOT_A_SERVER(text)                                                                                             \
        "'" text "' is not a server: write it like siem.contoso.com:6514, 10.0.0.9:514, [fd00::9]:514, or /dev/log"
#define NOT_A_LIST "a single value where a list is expected: write it between [ and ]"
#define NOT_A_MAPPING "a single value where a mapping is expected: write it like { key: value }"
#define NOT_A_TEXT "a list where a single value is expected (a text with [ ], { } or ': ' wants quotes)"
#define NOTHING "nothing is written here: write a single value, or leave the key out"

static const struct example examples[] = {
        { "", "workers", "auto", NULL, 0 },
        { "", "workers", "256", NULL, 0 },
        { "", "workers", "0", "'0' is neither 'auto' nor a whole number from 1 to 256", 0 },
        { "", "workers", "257", "'257' is neither 'auto' nor a whole number from 1 to 256", 0 },
        { "", "workers", "3x", "'3x' is neither 'auto' nor a whole number from 1 to 256", 0 },
        { "", "workers", "99999999999999999999",
          "'99999999999999999999' is neither 'auto' nor a whole number from 1 to 256", 0 },
        { "", "listen", "{ proxy: { address: 10.0.0.4 } }", NULL, 0 },
        { "", "listen", "3128", NOT_A_MAPPING, 0 },
        { "listen", "transparent", "{ port: 15001 }", NULL, 0 },
        { "listen", "transparent", "15001", NOT_A_MAPPING, 0 },
        { "listen.transparent", "port", "65535", NULL, 0 },
        { "listen.transparent", "port", "65536", PORT_COMPLAINT("65536"), 0 },
        { "listen", "proxy", "{ address: 127.0.0.1 }", NULL, 0 },
        { "listen", "proxy", "on", NOT_A_MAPPING, 0 },
        { "listen.proxy", "address", "\"fd00::4\"", NULL, 0 },
        { "listen.proxy", "address", "10.0.0", ADDRESS_COMPLAINT, 0 },
        { "listen.proxy", "address", "224.0.0.1", "'224.0.0.1' is a multicast address: write one of this machine's own",
          0 },
        { "listen.proxy", "port", "1", NULL, 0 },
        { "listen.proxy", "port", "0", PORT_COMPLAINT("0"), 0 },
        { "listen", "dns", "{ address: 10.0.0.4 }", NULL, 0 },
        { "listen", "dns", "[53]", "a list where a mapping is expected: write it like { key: value }", 0 },
        { "listen.dns", "address", "0.0.0.0", NULL, 0 },
        { "listen.dns", "address", "10.0.0", ADDRESS_COMPLAINT, 0 },
        { "listen.dns", "port", "5353", NULL, 0 },
        { "listen.dns", "port", "dns", PORT_COMPLAINT("dns"), 0 },
        { "listen", "admin", "{}", NULL, 0 },
        { "listen", "admin", "yes", NOT_A_MAPPING, 0 },
        { "listen.admin", "address", "127.0.0.1", NULL, 0 },
        { "listen.admin", "address", "10.0.0", ADDRESS_COMPLAINT, 0 },
        { "listen.admin", "port", "9180", NULL, 0 },
        { "listen.admin", "port", "-1", PORT_COMPLAINT("-1"), 0 },
        { "listen", "probe", "{ address: 10.0.0.4 }", NULL, 0 },
        { "listen", "probe", "8080", NOT_A_MAPPING, 0 },
        { "listen.probe", "address", "10.0.0.4", NULL, 0 },
        { "listen.probe", "address", "10.0.0", ADDRESS_COMPLAINT, 0 },
        { "listen.probe", "port", "8080", NULL, 0 },
        { "listen.probe", "port", "80 80", PORT_COMPLAINT("80 80"), 0 },
        { "", "control_socket", "/run/x.sock", NULL, 0 },
        { "", "control_socket", "\"\"", "'' is not a path: name a file or a directory", 1 },
        { "", "control_group", "wheel", NULL, 0 },
        { "", "control_group", "my group", "'my group' is not the name of a group: write it as in /etc/group", 0 },
        { "", "allowlist_dirs", "[/a, b]", NULL, 0 },
        { "", "allowlist_dirs", "/a", NOT_A_LIST, 0 },
        { "", "allowlist_dirs", "[]", "the list is empty: write at least one element, or leave the key out", 0 },
        { "", "service_tags", "/a.json", NULL, 0 },
        { "", "service_tags", "[/a]", NOT_A_TEXT, 0 },
        { "", "snat_pools", "[{ name: main, addresses: [10.0.0.1] }]", NULL, 0 },
        { "", "snat_pools", "[]", "the list is empty: write at least one element", 0 },
        { "", "snat_pools", "main", NOT_A_LIST, 0 },
        { "snat_pools", "name", "main", NULL, 0 },
        { "snat_pools", "name", "Main", "'Main' is not a name: write 1 to 63 lower-case letters, digits and hyphens",
          0 },
        { "snat_pools", "addresses", "[10.0.1.10-10.0.1.29, \"fd00::1-fd00::2\", 127.0.0.1]", NULL, 0 },
        { "snat_pools", "addresses", "[10.0.0.0-10.0.15.255]", NULL, 0 },
        { "snat_pools", "addresses", "[10.0.1]", RANGE("10.0.1"), 1 },
        { "snat_pools", "addresses", "[10.0.1.1-]", RANGE("10.0.1.1-"), 1 },
        { "snat_pools", "addresses", "[10.0.1.0/24]", RANGE("10.0.1.0/24"), 1 },
        { "snat_pools", "addresses", "[10.0.1.9-10.0.1.8]",
          "'10.0.1.9-10.0.1.8' ends before it begins: write the lower address first", 1 },
        { "snat_pools", "addresses", "[\"10.0.1.9-fd00::1\"]",
          "'10.0.1.9-fd00::1' mixes IPv4 and IPv6: write one range for each", 2 },
        { "snat_pools", "addresses", "[10.0.0.0-10.0.16.0]",
          "'10.0.0.0-10.0.16.0' is more than 4096 addresses: write a smaller range", 1 },
        { "snat_pools", "addresses", "[223.255.255.255-224.0.0.1]",
          "'223.255.255.255-224.0.0.1': 224.0.0.0 is not fit as a source address (multicast): write addresses of this "
          "machine's network "
          "interface",
          1 },
        { "snat_pools", "addresses", "[168.63.129.15-168.63.129.17]",
          "'168.63.129.15-168.63.129.17': 168.63.129.16 is not fit as a source address (Azure platform): write "
          "addresses of this machine's "
          "network interface",
          1 },
        { "snat_pools", "selection", "round_robin", NULL, 0 },
        { "snat_pools", "selection", "least-used", "'least-used' is unknown: did you mean 'least_used'?", 0 },
        { "snat_pools", "selection", "random", "'random' is unknown: write sticky, round_robin or least_used", 0 },
        { "", "clusters",
          "[{ name: a, sources: [10.0.0.0/8], cloud: AzureUSGovernment, location: usgovvirginia, snat_pool: main }]",
          NULL, 0 },
        { "", "clusters", "{ name: a }", "a mapping where a list is expected: write it behind '- ', or between [ and ]",
          0 },
        { "clusters", "name", "prod-weu", NULL, 0 },
        { "clusters", "name", "[prod]", NOT_A_TEXT, 0 },
        { "clusters", "name", "null", NOTHING, 0 },
        { "clusters", "sources", "[0.0.0.0/0, \"fd00::/8\", 10.0.0.1]", NULL, 0 },
        { "clusters", "sources", "[10.1.2.3/16]", "'10.1.2.3/16' has bits set past its length: write 10.1.0.0/16", 1 },
        { "clusters", "sources", "[\"fd00:0:0:1::1/63\"]",
          "'fd00:0:0:1::1/63' has bits set past its length: write fd00::/63", 2 },
        { "clusters", "sources", "[10.1.0.0/33]",
          "'10.1.0.0/33' is not a prefix: write it like 10.1.0.0/16 or fd00:1::/64", 1 },
        { "clusters", "sources", "[\"::ffff:10.0.0.0/104\"]",
          "'::ffff:10.0.0.0/104' is IPv4 written as IPv6 and would match nobody: write 10.0.0.0/8", 2 },
        { "clusters", "sources", "[]", "the list is empty: write at least one element", 0 },
        { "clusters", "cloud", "AzureUSGovernment", NULL, 0 },
        { "clusters", "cloud", "AzureCloud", "'AzureCloud' is the Azure CLI's word: write AzurePublicCloud", 0 },
        { "clusters", "cloud", "azurepubliccloud", "'azurepubliccloud' is unknown: did you mean 'AzurePublicCloud'?",
          0 },
        { "clusters", "cloud", "public",
          "'public' is unknown: write AzurePublicCloud, AzureChinaCloud or AzureUSGovernment", 0 },
        { "clusters", "location", "eastus2", NULL, 0 },
        { "clusters", "location", "West Europe",
          "'West Europe' is not a location: only lower-case letters and digits, perhaps 'westeurope'", 0 },
        { "clusters", "features", "[core, monitor, azure-policy]", NULL, 0 },
        { "clusters", "features", "[]", NULL, 0 },
        { "clusters", "features", "[monitor, monitor]", "'monitor' is in the list already: keep it once", 10 },
        { "clusters", "features", "monitor", NOT_A_LIST, 0 },
        { "clusters", "parameters", "{ vault_name: contoso-kv, cidrs: [10.0.0.0/8, 10.1.2.3] }", NULL, 0 },
        { "clusters", "parameters", "[vault_name]", "a list where a mapping is expected: write it like { key: value }",
          0 },
        { "clusters", "parameters", "{ Vault: a }",
          "'Vault' is not a parameter's name: write lower-case letters, digits and underscores", 2 },
        { "clusters", "api_server", "x.hcp.westeurope.azmk8s.io", NULL, 0 },
        { "clusters", "api_server", "10.0.0.1",
          "'10.0.0.1' is not a DNS name: write it like prod-dns-1a2b3c.hcp.westeurope.azmk8s.io", 0 },
        { "clusters", "mode", "audit", NULL, 0 },
        { "clusters", "mode", "audti", "'audti' is unknown: did you mean 'audit'?", 0 },
        { "clusters", "snat_pool", "main", NULL, 0 },
        { "clusters", "snat_pool", "other", "there is no pool 'other' in snat_pools: write the name of one of them",
          0 },
        { "clusters", "allow", "[https *.github.com:443, \"file:extra.allow\"]", NULL, 0 },
        { "clusters", "allow", "[\"\"]", "'' is empty", 2 },
        { "clusters", "allow", "[[a]]", NOT_A_TEXT, 1 },
        { "clusters", "deny", "[https gist.github.com:443]", NULL, 0 },
        { "clusters", "deny", "https gist.github.com:443", NOT_A_LIST, 0 },
        { "clusters", "private_destinations", "[10.2.0.0/16, 127.0.0.0/8]", NULL, 0 },
        { "clusters", "private_destinations", "[169.254.169.254]",
          "'169.254.169.254' is an address of the Azure platform, which is never open to clients: remove it", 1 },
        { "clusters", "dns_filter", "off", NULL, 0 },
        { "clusters", "dns_filter", "no", "'no' is unknown: write enforce, audit or off", 0 },
        { "", "resolver", "{ servers: [10.0.0.53] }", NULL, 0 },
        { "", "resolver", "10.0.0.53", NOT_A_MAPPING, 0 },
        { "resolver", "servers", "[168.63.129.16, 10.0.0.53:5353, \"[fd00::53]:54\", \"fd00::53\"]", NULL, 0 },
        { "resolver", "servers", "[10.0.0.53:0]",
          "'10.0.0.53:0' is not a server: write it like 10.0.0.53, 10.0.0.53:5353 or [fd00::53]:53", 1 },
        { "resolver", "servers", "[0.0.0.0]", "'0.0.0.0' cannot be the address of a DNS server", 1 },
        { "resolver", "forward_zones", "{ internal.contoso.com: [10.0.0.53] }", NULL, 0 },
        { "resolver", "forward_zones", "[internal.contoso.com]",
          "a list where a mapping is expected: write it like { key: value }", 0 },
        { "resolver", "forward_zones", "{ \"*.contoso.com\": [10.0.0.53] }",
          "'*.contoso.com' is not a DNS name: write it like internal.contoso.com", 3 },
        { "", "timeouts", "{ inspect: 1s }", NULL, 0 },
        { "", "timeouts", "10s", NOT_A_MAPPING, 0 },
        { "timeouts", "inspect", "100ms", NULL, 0 },
        { "timeouts", "inspect", "5m", NULL, 0 },
        { "timeouts", "inspect", "99ms", "'99ms' is out of bounds: from 100ms to 5m is allowed", 0 },
        { "timeouts", "inspect", "301s", "'301s' is out of bounds: from 100ms to 5m is allowed", 0 },
        { "timeouts", "resolve", "1m", NULL, 0 },
        { "timeouts", "resolve", "10", DURATION("10"), 0 },
        { "timeouts", "connect", "30s", NULL, 0 },
        { "timeouts", "connect", "1.5s", "'1.5s' has no known unit: write it like 500ms, 10s, 30m or 1h", 0 },
        { "timeouts", "connect", "999999999999999h", "'999999999999999h' is out of bounds: from 100ms to 5m is allowed",
          0 },
        { "timeouts", "idle", "168h", NULL, 0 },
        { "timeouts", "idle", "soon", "'soon' is not a duration: write it like 500ms, 10s, 30m or 1h", 0 },
        { "", "limits", "{ connections: 1 }", NULL, 0 },
        { "", "limits", "[1]", "a list where a mapping is expected: write it like { key: value }", 0 },
        { "limits", "connections", "10000000", NULL, 0 },
        { "limits", "connections", "0", "'0' is not a whole number from 1 to 10000000", 0 },
        { "limits", "connections_per_client", "1", NULL, 0 },
        { "limits", "connections_per_client", "10k", "'10k' is not a whole number from 1 to 10000000", 0 },
        { "", "on_policy_change", "log", NULL, 0 },
        { "", "on_policy_change", "kep", "'kep' is unknown: did you mean 'keep'?", 0 },
        { "", "refuse_with", "drop", NULL, 0 },
        { "", "refuse_with", "reject", "'reject' is unknown: did you mean 'reset'?", 0 },
        { "", "drain", "0s", NULL, 0 },
        { "", "drain", "61m", "'61m' is out of bounds: from 0ms to 1h is allowed", 0 },
        { "", "logging", "[{ sink: journal }]", NULL, 0 },
        { "", "logging", "journal", NOT_A_LIST, 0 },
        { "logging", "sink", "journal", NULL, 0 },
        { "logging(file)", "sink", "file", NULL, 0 },
        { "logging(server)", "sink", "syslog", NULL, 0 },
        { "logging", "sink", "jornal", "'jornal' is unknown: did you mean 'journal'?", 0 },
        { "logging(file)", "path", "/var/log/x.json", NULL, 0 },
        { "logging(file)", "path", "{}",
          "a mapping where a single value is expected (a text with [ ], { } or ': ' wants quotes)", 0 },
        { "logging(file)", "format", "json", NULL, 0 },
        { "logging", "format", "journal", NULL, 0 },
        { "logging(file)", "format", "cef", NULL, 0 },
        { "logging(file)", "format", "syslog", NULL, 0 },
        { "logging(syslog)", "format", "azure", NULL, 0 },
        { "logging(syslog)", "format", "jsonl", "'jsonl' is unknown: did you mean 'json'?", 0 },
        { "logging(file)", "format", "journal", "only the journal has journal fields: write json, syslog, cef or azure",
          0 },
        { "logging", "format", "json", "a journal sink writes fields, not json: leave format out", 0 },
        { "logging", "events", "[allow, deny]", NULL, 0 },
        { "logging", "events", "[deny, deny]", "'deny' is in the list already: keep it once", 7 },
        { "logging", "events", "[]", "the list is empty: write at least one element, or leave the key out", 0 },
        { "logging", "events", "[alow]", "'alow' is unknown: did you mean 'allow'?", 1 },
        { "logging", "allow_at", "[stop]", "'stop' is unknown: write start or end", 1 },
        { "logging(allow)", "allow_at", "[start, end]", NULL, 0 },
        { "logging(syslog)", "facility", "local7", NULL, 0 },
        { "logging(syslog)", "facility", "local8", "'local8' is unknown: did you mean 'local0'?", 0 },
        { "logging(syslog)", "facility", "16",
          "'16' is unknown: write kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, ntp, "
          "security, console, solaris-cron, local0, local1, local2, local3, local4, local5, local6 or local7",
          0 },
        { "logging(azure)", "resource_id", "/subscriptions/0", NULL, 0 },
        { "logging(azure)", "resource_id", "[]", NOT_A_TEXT, 0 },
        { "logging(azure)", "resource_id", "/subscriptions/0 x",
          "'/subscriptions/0 x' is not a resource ID: write it like /subscriptions/ID/resourceGroups/NAME", 0 },
        { "logging(azure)", "resource_id", "hub",
          "'hub' is not a resource ID: write it like /subscriptions/ID/resourceGroups/NAME", 0 },
        { "logging", "clusters", "[prod]", NULL, 0 },
        { "logging", "clusters", "[test]", "there is no cluster 'test': write the name of one of clusters", 1 },
        { "logging", "summarize", "off", NULL, 0 },
        { "logging", "summarize", "10s", NULL, 0 },
        { "logging", "summarize", "1h", NULL, 0 },
        { "logging", "summarize", "999ms", "'999ms' is out of bounds: from 1s to 1h is allowed", 0 },
        { "logging", "summarize", "10", NEITHER("10"), 0 },
        { "logging", "summarize", "false", NEITHER("false"), 0 },
        { "logging", "summarize", "10sec", NEITHER("10sec"), 0 },
        { "logging", "summarize", "2h", "'2h' is out of bounds: from 1s to 1h is allowed", 0 },
        { "logging", "queue", "64", NULL, 0 },
        { "logging", "queue", "1048576", NULL, 0 },
        { "logging", "queue", "1048577", "'1048577' is not a whole number from 64 to 1048576", 0 },
        { "logging", "queue", "63", "'63' is not a whole number from 64 to 1048576", 0 },
        { "logging(syslog)", "address", "siem.contoso.com:6514", NULL, 0 },
        { "logging(syslog)", "address", "siem.contoso.com", NULL, 0 },
        { "logging(syslog)", "address", "\"[fd00::9]\"", NULL, 0 },
        { "logging(syslog)", "address", "\"[fd00::9]:514\"", NULL, 0 },
        { "logging(syslog)", "address", "10.0.0.9", NULL, 0 },
        { "logging(syslog)", "address", "siem.contoso.com:0", NOT_A_SERVER("siem.contoso.com:0"), 0 },
        { "logging(syslog)", "address", "dev/log", NOT_A_SERVER("dev/log"), 0 },
        { "logging(syslog)", "address", "siem.contoso.com:65536", NOT_A_SERVER("siem.contoso.com:65536"), 0 },
        { "logging(syslog)", "address", "\"siem.contoso.com:\"", NOT_A_SERVER("siem.contoso.com:"), 1 },
        { "logging(syslog)", "address", "siem_1.contoso.com:x", NOT_A_SERVER("siem_1.contoso.com:x"), 0 },
        { "logging(syslog)", "address", "10.0.0.256", NOT_A_SERVER("10.0.0.256"), 0 },
        { "logging(syslog)", "address", "\"[fd00::9\"", NOT_A_SERVER("[fd00::9"), 1 },
        { "logging(syslog)", "address", "\"[fd00::9]514\"", NOT_A_SERVER("[fd00::9]514"), 1 },
        { "logging(syslog)", "address", "\"[10.0.0.9]:514\"", NOT_A_SERVER("[10.0.0.9]:514"), 1 },
        { "logging(syslog)", "address", "https://siem.contoso.com", NOT_A_SERVER("https://siem.contoso.com"), 0 },
        { "logging(syslog)", "address", "0.0.0.0", "'0.0.0.0' cannot be the address of a syslog server", 0 },
        { "logging(syslog)", "address", "\"[ff02::1]:514\"", "'[ff02::1]:514' cannot be the address of a syslog server",
          1 },
        { "logging(server)", "transport", "tcp", NULL, 0 },
        { "logging(server)", "transport", "udp", NULL, 0 },
        { "logging(server)", "transport", "https", "'https' is unknown: write tls, tcp, udp or unix", 0 },
        { "logging(server)", "server_name", "siem.contoso.com", NULL, 0 },
        { "logging(server)", "server_name", "10.0.0.9", "'10.0.0.9' is not a DNS name: write it like siem.contoso.com",
          0 },
        { "logging(syslog)", "ca_file", "/ca.pem", NULL, 0 },
        { "logging(syslog)", "ca_file", "[a]", NOT_A_TEXT, 0 },
        { "logging(syslog)", "cert_file", "a.pem", NULL, 0 },
        { "logging(syslog)", "cert_file", "\"\"", "'' is not a path: name a file or a directory", 1 },
        { "logging(syslog)", "spool", "true", "'true' is not a path: name a file or a directory", 0 },
        { "logging(syslog)", "key_file", "a.key", NULL, 0 },
        { "logging(syslog)", "key_file", "~", NOTHING, 0 },
        { "logging(syslog)", "spool", "/var/lib/aksegressd/siem", NULL, 0 },
        { "logging(syslog)", "spool", "[]", NOT_A_TEXT, 0 },
        { "logging(syslog)", "spool_max", "1GiB", NULL, 0 },
        { "logging(syslog)", "spool_max", "16MiB", NULL, 0 },
        { "logging(syslog)", "spool_max", "1TiB", NULL, 0 },
        { "logging(syslog)", "spool_max", "1025GiB", "'1025GiB' is out of bounds: from 16MiB to 1TiB is allowed", 0 },
        { "logging(syslog)", "spool_max", "1GB", "'1GB' is not a size: write it like 512KiB, 64MiB or 1GiB", 0 },
        { "logging(syslog)", "spool_max", "1KiB", "'1KiB' is out of bounds: from 16MiB to 1TiB is allowed", 0 },
};

static const struct section *section_of(const struct example *example)
{
        for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
                if (strcmp(sections[i].name, example->section) == 0)
                        return &sections[i];
        fail_msg("no section '%s'", example->section);
        return NULL;
}

/* The length of the section's name in messages: what stands before "(file)". */
static int name_length(const char *section)
{
        return (int)strcspn(section, "(");
}

static bool begins_with_key(const char *line, const char *key)
{
        size_t length = strlen(key);

        return strncmp(line, key, length) == 0 && line[length] == ':';
}

/* Whether the section, or the key at the top level, is the required part of this name. */
static bool is_in(const struct example *example, const char *name)
{
        return strncmp(example->section, name, strlen(name)) == 0 ||
               (example->section[0] == '\0' && strcmp(example->key, name) == 0);
}

static void write_file(const struct example *example, char text[TEXT_SIZE])
{
        const struct section *section = section_of(example);
        FILE *stream = fmemopen(text, TEXT_SIZE, "we");
        int indentation = (int)section->indentation;

        assert_non_null(stream);
        fprintf(stream, "%s%*s%s: %s\n", section->opening, indentation, "", example->key, example->value);
        for (size_t i = 0; section->others[i] != NULL; i++)
                if (!begins_with_key(section->others[i], example->key))
                        fprintf(stream, "%*s%s\n", indentation, "", section->others[i]);
        fputs(section->closing, stream);
        for (size_t i = 0; i < ARRAY_SIZE(required); i++)
                if (!is_in(example, required[i].name))
                        fputs(required[i].text, stream);
        assert_int_equal(fclose(stream), 0);
}

static void fail_with(const char *text, const struct diagnostics *diagnostics, const char *what)
{
        printf("%s", text);
        diagnostics_print(diagnostics, stdout);
        fail_msg("%s", what);
}

static bool is_said(const struct diagnostics *diagnostics, const char *expected)
{
        for (size_t i = 0; i < diagnostics_line_count(diagnostics); i++)
                if (strcmp(diagnostics_line(diagnostics, i), expected) == 0)
                        return true;
        return false;
}

/* The sentence must be there with its place; nothing else may be wrong. */
static void check_example(const struct example *example)
{
        const struct section *section = section_of(example);
        struct diagnostics *diagnostics = diagnostics_new();
        struct config *config = NULL;
        char text[TEXT_SIZE] = "", expected[1024];
        unsigned column = section->indentation + (unsigned)strlen(example->key) + 3 + example->offset;

        write_file(example, text);
        int r = config_read_text("c.yaml", text, strlen(text), diagnostics, &config);
        if (diagnostics_error_count(diagnostics) != (example->complaint == NULL ? 0 : 1))
                fail_with(text, diagnostics, "not the number of errors that was expected");
        snprintf(expected, sizeof(expected), "c.yaml:%u:%u: %.*s%s%s: %s", section->line, column,
                 name_length(section->name), section->name, section->name[0] == '\0' ? "" : ".", example->key,
                 example->complaint == NULL ? "" : example->complaint);
        if (example->complaint != NULL && !is_said(diagnostics, expected))
                fail_with(text, diagnostics, expected);
        assert_int_equal(r, diagnostics_error_count(diagnostics) == 0 ? 0 : -EINVAL);
        assert_int_equal(config != NULL, r == 0);
        config_free(config);
        diagnostics_free(diagnostics);
}

static void good_values_are_read_and_bad_ones_get_their_sentence_and_place(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(examples); i++)
                check_example(&examples[i]);
}

/* Whether an example is about the key of this full name. */
static bool is_about(const struct example *example, const char *name)
{
        char full[128];

        snprintf(full, sizeof(full), "%.*s%s%s", name_length(example->section), example->section,
                 example->section[0] == '\0' ? "" : ".", example->key);
        return strcmp(full, name) == 0;
}

static void check_examples_of(const char *name, const struct config_key *key, void *context)
{
        size_t good = 0, bad = 0;

        (void)key;
        (void)context;
        for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
                if (is_about(&examples[i], name) && examples[i].complaint == NULL)
                        good++;
                if (is_about(&examples[i], name) && examples[i].complaint != NULL)
                        bad++;
        }
        if (good == 0 || bad == 0)
                fail_msg("%s has %zu good and %zu bad examples", name, good, bad);
}

static void every_key_has_a_good_and_a_bad_example(void **state)
{
        (void)state;
        config_keys_each(check_examples_of, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(good_values_are_read_and_bad_ones_get_their_sentence_and_place),
                cmocka_unit_test(every_key_has_a_good_and_a_bad_example),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
