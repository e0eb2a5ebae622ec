/*
 * A byte of settings, then a server's answer to "a.example": whatever it holds, what a client is told of it has no address
 * that the client may not know, and can be judged once more without a change.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/dns_response.h"
#include "policy/policy_layout.h"
#include "traffic/dns_told.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct setting {
        struct config config;
        struct config_cluster cluster_config;
        struct policy policy;
        struct policy_cluster cluster;
};

static bool permit_all(const struct net_address *address, void *context)
{
        (void)address;
        (void)context;
        return true;
}

/* A policy whose one cluster may know of 10.0.0.0/8 beside public addresses. */
static struct setting *make_setting(void)
{
        static struct setting setting;
        struct net_prefix prefix;
        uint32_t entry;

        if (setting.cluster.private_destinations != NULL)
                return &setting;
        setting.cluster.private_destinations = prefix_set_new();
        if (setting.cluster.private_destinations == NULL || net_prefix_parse("10.0.0.0/8", 10, &prefix) < 0 ||
            prefix_set_add(setting.cluster.private_destinations, &prefix, &entry) < 0)
                abort();
        setting.cluster_config.name.text = strdup("prod");
        setting.cluster.config = &setting.cluster_config;
        setting.policy.config = &setting.config;
        return &setting;
}

static void check_told(const struct setting *setting, const struct dns_told *told)
{
        struct net_address address;

        assert((told->answer == NULL) == (told->action == POLICY_DENY));
        for (size_t i = 0; i < told->address_count; i++) {
                char hint[POLICY_HINT_SIZE];
                address = told->addresses[i];
                enum reason reason = policy_permits_address(&setting->policy, &setting->cluster, &address, 0, hint);
                assert(reason != REASON_PLATFORM_ADDRESS);
                assert(setting->cluster_config.dns_filter != CONFIG_DNS_FILTER_ENFORCE || reason == REASON_COMPLETED);
        }
}

static void check_again(const struct setting *setting, const struct dns_question *question, const struct dns_told *told)
{
        static struct dns_told again;

        if (told->answer == NULL)
                return;
        if (dns_told_judge(&setting->policy, &setting->cluster, question, told->answer, false, &again) < 0)
                abort();
        assert(again.answer != NULL && again.address_count == told->address_count);
        assert(again.answer->body_length == told->answer->body_length);
        assert(memcmp(again.answer->body, told->answer->body, told->answer->body_length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint16_t types[] = { DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_HTTPS, 16 };
        static struct dns_answer answer;
        static struct dns_told told;
        struct setting *setting = make_setting();
        struct dns_question question = { .type = DNS_TYPE_A };

        if (size == 0 || fqdn_from_text("a.example", &question.name) < 0)
                return 0;
        question.type = types[data[0] % 4];
        setting->cluster_config.dns_filter = data[0] / 4 % 3;
        if (dns_answer_parse(data + 1, size - 1, &question.name, question.type, permit_all, NULL, &answer) !=
            DNS_ANSWER_OK)
                return 0;
        if (dns_told_judge(&setting->policy, &setting->cluster, &question, &answer, false, &told) < 0)
                abort();
        check_told(setting, &told);
        check_again(setting, &question, &told);
        return 0;
}
