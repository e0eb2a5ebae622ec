#include "process/forwarding.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/flow_log.h"
#include "kernel/flow_table.h"
#include "kernel/kernel_setting.h"
#include "kernel/nftables.h"
#include "kernel/packet_log.h"
#include "kernel/policy_routing.h"
#include "kernel/routing_watch.h"
#include "kernel/source_barrier.h"
#include "kernel/table_watch.h"
#include "policy/network_plan.h"
#include "traffic/flow_decision.h"
#include "traffic/name_refresher.h"
#include "traffic/refused_packets.h"

#define ERROR_SIZE 512
#define SETTLE_MS 100  /* several addresses often come or go together */
#define RETRY_MS 1000  /* when the kernel did not take a change */
#define SWEEP_MS 10000 /* how often what has run out is forgotten */

struct forwarding {
        struct forwarding_shared shared;
        const struct generation *generation; /* borrowed: the one in force */
        const struct policy *applied;        /* borrowed: whose sets the kernel has; NULL: not known */
        struct learned_addresses *learned;
        struct learned_school *school;
        struct name_refresher *refresher;
        struct table_watch *table_watch;     /* NULL without listen.transparent */
        struct routing_watch *routing_watch; /* likewise, and the next three */
        struct packet_log *packet_log;
        struct flow_log *flow_log;
        struct refused_packets *refused;
        struct event *follow_addresses;
        struct event *sweep;
        bool without_barrier; /* and why is said */
        char process[16];     /* this one's name, as in /proc/self/comm */
};

/* How learned addresses go that a new policy's sets are not to have. */
enum stale {
        STALE_AT_ONCE = 0, /* few: within the transaction */
        STALE_AFTERWARDS,  /* many */
        STALE_WITH_ALL,    /* who knows which: their sets are emptied, and filled again */
};

/* What a policy's ruleset depends on beside it. */
struct facts {
        const struct learned_change *change;
        const struct address_watch *address_watch;
        enum stale stale;
};

static bool is_present(const struct net_address *address, void *context)
{
        const struct facts *facts = context;

        return address_watch_has(facts->address_watch, address);
}

static void each_stale(ruleset_element_fn on_element, void *sink, void *context)
{
        const struct facts *facts = context;

        if (facts->stale == STALE_AT_ONCE)
                learned_addresses_each_stale(on_element, sink, facts->change);
}

/* Returns as nftables_apply does. */
static int apply_table(const struct forwarding *forwarding, const struct learned_change *change, enum stale stale,
                       char *error, size_t error_size)
{
        struct facts facts = { .change = change, .address_watch = forwarding->shared.address_watch, .stale = stale };
        const struct ruleset_facts ruleset_facts = { .is_present = is_present,
                                                     .each_stale = stale == STALE_WITH_ALL ? NULL : each_stale,
                                                     .context = &facts };

        return nftables_apply(change->policy, &ruleset_facts, error, error_size);
}

static enum stale how_stale_goes(const struct learned_change *change)
{
        size_t count = change->former == NULL ? SIZE_MAX : learned_addresses_count_stale(change);

        if (count == SIZE_MAX)
                return STALE_WITH_ALL;
        return count <= LEARNED_ADDRESSES_MAX_STALE ? STALE_AT_ONCE : STALE_AFTERWARDS;
}

/*
 * Many do not go by emptying their sets: until these were filled again, clients would be refused at other addresses, which
 * they have been told of. Flows to them that begin before they are gone are judged with the rest. Returns as nftables_apply.
 */
static int apply_change(struct forwarding *forwarding, const struct learned_change *change, char *error,
                        size_t error_size)
{
        enum stale stale = how_stale_goes(change);
        int r = apply_table(forwarding, change, stale, error, error_size);

        if (r != 0 || stale != STALE_AFTERWARDS || learned_addresses_remove_stale(change) == 0)
                return r;
        forwarding->applied = NULL; /* until it is known again what the sets have */
        return apply_table(forwarding, change, STALE_WITH_ALL, error, error_size);
}

/* Every cluster's sources. NULL: out of memory. */
static struct net_prefix *list_sources(const struct config *config, size_t *ret_count)
{
        struct net_prefix *prefixes;
        size_t count = 0;

        for (size_t i = 0; i < config->cluster_count; i++)
                count += config->clusters[i].source_count;
        prefixes = calloc(count + 1, sizeof(*prefixes)); /* never zero bytes */
        *ret_count = 0;
        for (size_t i = 0; prefixes != NULL && i < config->cluster_count; i++)
                for (size_t j = 0; j < config->clusters[i].source_count; j++)
                        prefixes[(*ret_count)++] = config->clusters[i].sources[j].prefix;
        return prefixes;
}

/* Whatever keeps the second lock from closing is said once; the first one holds without it. */
static int apply_barrier(struct forwarding *forwarding, const struct config *config, char *error, size_t error_size)
{
        size_t count;
        struct net_prefix *prefixes = list_sources(config, &count);
        int r = -ENOMEM;

        if (prefixes == NULL)
                snprintf(error, error_size, "out of memory");
        else
                r = source_barrier_set(RULESET_FORWARDING_MARK, prefixes, count, error, error_size);
        free(prefixes);
        if (r != -EOPNOTSUPP && r != -E2BIG) {
                forwarding->without_barrier = false;
                return r;
        }
        if (!forwarding->without_barrier)
                log_warning("%s", error);
        forwarding->without_barrier = true;
        return 0;
}

static void follow_in(struct forwarding *forwarding, uint64_t delay_ms)
{
        struct timeval delay = clock_timeval(delay_ms);

        event_add(forwarding->follow_addresses, &delay);
}

/*
 * The barrier lets only marked packets pass, so the table that marks them comes before it. Learned addresses are put into the
 * sets last: libnftables would need seconds for many.
 */
static int apply_policy(struct forwarding *forwarding, const struct policy *policy, char *error, size_t error_size)
{
        struct learned_change change = { forwarding->learned, forwarding->applied, policy };
        int r = apply_change(forwarding, &change, error, error_size);

        if (r < 0)
                return r;
        if (r > 0)
                change.former = NULL;
        forwarding->applied = policy;
        if (learned_addresses_fill(&change) < 0) {
                forwarding->applied = NULL;
                follow_in(forwarding, RETRY_MS);
        }
        return apply_barrier(forwarding, policy_config(policy), error, error_size);
}

int forwarding_apply(struct forwarding *forwarding, const struct policy *policy, char *error, size_t error_size)
{
        const struct policy *former = generation_policy(forwarding->generation);
        char again[ERROR_SIZE];
        int r;

        if (!policy_config(policy)->transparent.enabled)
                return 0;
        if (policy != former) /* What was added belongs to the sets of that one. */
                (void)learned_addresses_commit(forwarding->learned);
        r = policy_routing_ensure(RULESET_STEERING_MARK, error, error_size);
        if (r >= 0)
                r = apply_policy(forwarding, policy, error, error_size);
        if (r >= 0)
                return 0;
        if (policy != former && apply_policy(forwarding, former, again, sizeof(again)) < 0)
                log_error("cannot put the former kernel rules back: %s", again);
        if (forwarding->applied != former) /* Who asked for the other one may be about to free it. */
                forwarding->applied = NULL;
        return r;
}

/* `flush ruleset`, with which nftables.service begins and ends, takes our table along; a saved ruleset brings an old one. */
static int on_table_harmed(void *context)
{
        struct forwarding *forwarding = context;
        char error[ERROR_SIZE];
        int r;

        forwarding->applied = NULL;
        r = forwarding_apply(forwarding, generation_policy(forwarding->generation), error, sizeof(error));
        if (r < 0)
                log_error(
                        "another program removed or changed the nftables table inet aksegressd, and what is forwarded "
                        "may be unjudged: cannot put it back: %s",
                        error);
        else
                log_warning("another program removed or changed the nftables table inet aksegressd: put it back");
        return r;
}

/*
 * systemd-networkd removes rules that it has not made whenever it starts; until ours are back nothing steered arrives. A
 * reload of ours that removes a source prefix is noticed here too, and then nothing is missing.
 */
static int on_routing_gone(void *context)
{
        struct forwarding *forwarding = context;
        const struct config *config = policy_config(generation_policy(forwarding->generation));
        char error[ERROR_SIZE];
        int steering = policy_routing_ensure(RULESET_STEERING_MARK, error, sizeof(error));
        int barrier = steering < 0 ? 0 : apply_barrier(forwarding, config, error, sizeof(error));

        if (steering < 0 || barrier < 0)
                log_error("another program removed our policy routing, and steered traffic is refused: %s", error);
        else if (steering > 0 || barrier > 0)
                log_warning("another program removed our policy routing: put it back");
        return steering < 0 ? steering : barrier < 0 ? barrier : 0;
}

static int apply_sources(const struct forwarding *forwarding, const struct policy *policy, char *error,
                         size_t error_size)
{
        struct facts facts = { .address_watch = forwarding->shared.address_watch };
        const struct ruleset_facts ruleset_facts = { .is_present = is_present, .context = &facts };

        return nftables_apply_sources(policy, &ruleset_facts, error, error_size);
}

/* Also runs when the kernel's sets could not be filled: then everything is applied anew. */
static void on_follow_addresses(evutil_socket_t fd, short what, void *context)
{
        struct forwarding *forwarding = context;
        const struct policy *policy = generation_policy(forwarding->generation);
        char error[ERROR_SIZE];
        int r;

        (void)fd;
        (void)what;
        if (forwarding->applied == policy)
                r = apply_sources(forwarding, policy, error, sizeof(error));
        else
                r = forwarding_apply(forwarding, policy, error, sizeof(error));
        if (r == 0)
                return;
        log_error("the kernel's rules do not follow: %s; trying again", error);
        follow_in(forwarding, RETRY_MS);
}

void forwarding_follow_addresses(struct forwarding *forwarding)
{
        if (forwarding != NULL && forwarding->table_watch != NULL)
                follow_in(forwarding, SETTLE_MS);
}

static void on_sweep(evutil_socket_t fd, short what, void *context)
{
        struct forwarding *forwarding = context;

        (void)fd;
        (void)what;
        learned_addresses_sweep(forwarding->learned);
}

/* The packet log. Its records have a ring of their own: a storm of packets takes no room from those of flows. */

static void on_packet(const struct packet_log_record *record, void *context)
{
        struct forwarding *forwarding = context;

        if (record->packet.source.family == AF_UNSPEC)
                return; /* No IP packet the kernel forwards is so. */
        refused_packets_take(forwarding->refused, generation_policy(forwarding->generation), record->prefix,
                             &record->packet, record->bytes, record->time_us);
}

static void on_packets_lost(uint64_t count, void *context)
{
        struct forwarding *forwarding = context;

        refused_packets_note_lost(forwarding->refused, count);
}

/* Before the rules that log are there. One daemon of a network namespace can listen, and this is where a second one ends. */
static int listen_to_packets(struct forwarding *forwarding, char *error, size_t error_size)
{
        static const struct packet_log_handlers handlers = { .on_packet = on_packet, .on_lost = on_packets_lost };
        const struct forwarding_shared *shared = &forwarding->shared;
        int r = refused_packets_new(shared->base, shared->records, shared->producer + 1, &forwarding->refused);

        if (r < 0) {
                snprintf(error, error_size, "cannot record packets: %s", strerror(-r));
                return r;
        }
        r = packet_log_new(shared->base, RULESET_LOG_GROUP, PACKET_LOG_BUFFER_BYTES, &handlers, forwarding,
                           &forwarding->packet_log);
        if (r < 0)
                snprintf(error, error_size, "cannot listen to packets that are refused (NFLOG group %u): %s%s",
                         RULESET_LOG_GROUP, strerror(-r),
                         r == -EPERM ? "; does another aksegressd run here, or CAP_NET_ADMIN lack?" : "");
        return r;
}

/* Flows. */

static void on_flow(const struct flow *flow, void *context)
{
        struct forwarding *forwarding = context;
        struct decision decision;

        flow_decision_describe(generation_policy(forwarding->generation), forwarding->learned, flow, &decision);
        decision.time_us = clock_wall_us();
        record_writer_push(forwarding->shared.records, forwarding->shared.producer, &decision);
}

static int listen_to_flows(struct forwarding *forwarding, char *error, size_t error_size)
{
        struct flow_log_settings settings = flow_log_settings();
        int r = flow_log_new(forwarding->shared.base, RULESET_FLOW_MARK, RULESET_FLOW_MASK, FLOW_LOG_BUFFER_BYTES,
                             on_flow, forwarding, &forwarding->flow_log);

        if (r == 0)
                r = flow_log_tell_of_starts(forwarding->flow_log,
                                            record_writer_wants_starts(forwarding->shared.records));
        if (r < 0) {
                snprintf(error, error_size, "cannot listen to flows (conntrack): %s", strerror(-r));
                return r;
        }
        if (!settings.counts_bytes || !settings.keeps_times || !settings.tells_of_all)
                log_warning("records of forwarded flows will be incomplete: net.netfilter.nf_conntrack_acct is %d, "
                            "nf_conntrack_timestamp %d, nf_conntrack_events %s; all are to be 1",
                            settings.counts_bytes, settings.keeps_times, settings.tells_of_all ? "1" : "not 1");
        return 0;
}

struct flow_judging {
        const struct forwarding *forwarding;
        size_t refused_count;
};

static bool flow_goes_on(const struct flow *flow, void *context)
{
        const struct flow_judging *judging = context;

        return flow_decision_allows(generation_policy(judging->forwarding->generation), judging->forwarding->learned,
                                    flow);
}

static void count_refused(const struct flow *flow, void *context)
{
        struct flow_judging *judging = context;

        judging->refused_count += flow_goes_on(flow, judging) ? 0 : 1;
}

/* What runs on was let in by another policy. */
static void judge_flows(struct forwarding *forwarding)
{
        struct flow_judging judging = { .forwarding = forwarding };
        bool closes = false;
        int r = 0;

        if (forwarding->flow_log == NULL)
                return;
        switch (policy_config(generation_policy(forwarding->generation))->on_policy_change) {
        case CONFIG_ON_POLICY_CHANGE_CLOSE:
                closes = true;
                r = flow_table_end_where(RULESET_FLOW_MARK, RULESET_FLOW_MASK, flow_goes_on, &judging,
                                         &judging.refused_count);
                break;
        case CONFIG_ON_POLICY_CHANGE_LOG:
                r = flow_table_each(RULESET_FLOW_MARK, RULESET_FLOW_MASK, count_refused, &judging);
                break;
        case CONFIG_ON_POLICY_CHANGE_KEEP:
                break;
        }
        if (r < 0)
                log_error("forwarded flows could not all be judged by the new policy: %s", strerror(-r));
        if (judging.refused_count > 0)
                log_info("policy change: %zu forwarded flows are no longer allowed, %s", judging.refused_count,
                         closes ? "ended" : "kept");
}

static int refresh_names(struct forwarding *forwarding)
{
        const struct policy *policy = generation_policy(forwarding->generation);
        const struct network_plan *plan = policy_networks(policy);
        size_t count = policy_config(policy)->transparent.enabled ? plan->name_count : 0;

        return name_refresher_set(forwarding->refresher, policy_config(policy), plan->names, count);
}

static int open_services(struct forwarding *forwarding)
{
        struct event_base *base = forwarding->shared.base;
        const struct policy *policy = generation_policy(forwarding->generation);
        const struct config *config = policy_config(policy);
        struct timeval interval = clock_timeval(SWEEP_MS);
        int r = learned_addresses_new(config->transparent.enabled, &forwarding->learned);

        if (r < 0)
                return r;
        learned_addresses_use_policy(forwarding->learned, policy);
        learned_addresses_take_over(forwarding->learned);
        r = learned_school_new(forwarding->learned, base, &forwarding->school);
        if (r == 0)
                r = name_refresher_new(base, config, forwarding->learned, &forwarding->refresher);
        if (r < 0)
                return r;
        forwarding->follow_addresses = event_new(base, -1, 0, on_follow_addresses, forwarding);
        forwarding->sweep = event_new(base, -1, EV_PERSIST, on_sweep, forwarding);
        if (forwarding->follow_addresses == NULL || forwarding->sweep == NULL)
                return -ENOMEM;
        return event_add(forwarding->sweep, &interval) == 0 ? 0 : -ENOMEM;
}

int forwarding_new(const struct forwarding_shared *shared, const struct generation *generation, char *error,
                   size_t error_size, struct forwarding **ret)
{
        struct forwarding *forwarding = calloc(1, sizeof(*forwarding));
        int r = -ENOMEM;

        if (forwarding != NULL) {
                forwarding->shared = *shared;
                forwarding->generation = generation;
                r = open_services(forwarding);
        }
        if (r < 0) {
                snprintf(error, error_size, "cannot learn addresses: %s", strerror(-r));
                forwarding_free(forwarding);
                return r;
        }
        *ret = forwarding;
        return 0;
}

/* What the kernel has told or counted by now has a record, too. */
static void finish_logs(struct forwarding *forwarding)
{
        if (forwarding->flow_log != NULL)
                flow_log_read_rest(forwarding->flow_log);
        if (forwarding->packet_log != NULL)
                packet_log_finish(forwarding->packet_log);
}

void forwarding_free(struct forwarding *forwarding)
{
        if (forwarding == NULL)
                return;
        finish_logs(forwarding);
        flow_log_free(forwarding->flow_log);
        packet_log_free(forwarding->packet_log);
        refused_packets_free(forwarding->refused);
        routing_watch_free(forwarding->routing_watch);
        table_watch_free(forwarding->table_watch);
        if (forwarding->sweep != NULL)
                event_free(forwarding->sweep);
        if (forwarding->follow_addresses != NULL)
                event_free(forwarding->follow_addresses);
        name_refresher_free(forwarding->refresher);
        learned_school_free(forwarding->school);
        learned_addresses_free(forwarding->learned);
        free(forwarding);
}

struct learned_addresses *forwarding_learned(struct forwarding *forwarding)
{
        return forwarding->learned;
}

struct learned_school *forwarding_school(struct forwarding *forwarding)
{
        return forwarding->school;
}

static int watch_kernel(struct forwarding *forwarding, char *error, size_t error_size)
{
        static const struct routing_watch_subject routing = { .table = POLICY_ROUTING_TABLE,
                                                              .first_priority = SOURCE_BARRIER_PRIORITY,
                                                              .last_priority = SOURCE_BARRIER_LAST_PRIORITY };
        struct event_base *base = forwarding->shared.base;
        int r;

        /* What the kernel will call us in its messages; workers and writers change no rules. */
        (void)prctl(PR_GET_NAME, forwarding->process, 0, 0, 0);
        r = table_watch_new(base, "aksegressd", forwarding->process, on_table_harmed, forwarding,
                            &forwarding->table_watch);

        if (r < 0) {
                snprintf(error, error_size, "cannot watch the nftables rules: %s", strerror(-r));
                return r;
        }
        r = routing_watch_new(base, &routing, on_routing_gone, forwarding, &forwarding->routing_watch);
        if (r < 0)
                snprintf(error, error_size, "cannot watch the policy routing: %s", strerror(-r));
        return r;
}

static void warn_if_forwarding_is_off(void)
{
        if (kernel_setting_read(KERNEL_SETTING_IPV4_FORWARDING) != '1')
                log_warning(
                        "net.ipv4.ip_forward is off: the kernel forwards no IPv4, and network rules have no effect");
        if (kernel_setting_read(KERNEL_SETTING_IPV6_FORWARDING) == '0')
                log_warning("net.ipv6.conf.all.forwarding is off: nothing of IPv6 is forwarded or steered");
}

/* What hears of the table comes before the table. */
static int start_kernel(struct forwarding *forwarding, char *error, size_t error_size)
{
        int r = listen_to_packets(forwarding, error, error_size);

        if (r == 0)
                r = listen_to_flows(forwarding, error, error_size);
        if (r == 0)
                r = watch_kernel(forwarding, error, error_size);
        if (r == 0)
                r = forwarding_apply(forwarding, generation_policy(forwarding->generation), error, error_size);
        if (r < 0)
                return r;
        warn_if_forwarding_is_off();
        judge_flows(forwarding); /* An earlier daemon's. */
        return 0;
}

int forwarding_start(struct forwarding *forwarding, char *error, size_t error_size)
{
        int r;

        if (!policy_config(generation_policy(forwarding->generation))->transparent.enabled)
                return 0;
        r = start_kernel(forwarding, error, error_size);
        if (r < 0)
                return r;
        r = refresh_names(forwarding);
        if (r < 0)
                snprintf(error, error_size, "cannot resolve the names of network rules: %s", strerror(-r));
        return r;
}

void forwarding_use(struct forwarding *forwarding, const struct generation *generation)
{
        forwarding->generation = generation;
        learned_addresses_use_policy(forwarding->learned, generation_policy(generation));
        int r = refresh_names(forwarding);
        if (r < 0)
                log_error("names of network rules: %s, resolving those of the configuration before", strerror(-r));
        if (forwarding->flow_log != NULL &&
            flow_log_tell_of_starts(forwarding->flow_log, record_writer_wants_starts(forwarding->shared.records)) < 0)
                log_error("starts of forwarded flows: the kernel does not change what it tells of, their records go on "
                          "as before");
        judge_flows(forwarding);
}
