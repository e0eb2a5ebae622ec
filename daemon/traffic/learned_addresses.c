#include "traffic/learned_addresses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/set_elements.h"
#include "policy/network_plan.h"
#include "traffic/learned_filling.h"
#include "traffic/learned_sets.h"
#include "traffic/learned_table.h"

/* Added, not committed. */
struct pending {
        char set[RULESET_SET_NAME_SIZE];
        const char *cluster; /* borrowed from the policy in use */
        struct fqdn name;
        struct net_address address;
        uint64_t until_ms;
        uint64_t element_until_ms;
};

struct learned_addresses {
        struct learned_table *table;
        struct set_elements *elements; /* NULL: there is no table in the kernel */
        const struct policy *policy;   /* borrowed */
        struct pending *pending;       /* owned */
        size_t pending_count;
        size_t pending_capacity;
        size_t pending_new;   /* of those, facts that the table does not have */
        bool is_full;         /* something was not even added, since the last commit */
        bool kernel_has_more; /* a batch failed halfway: elements are there that the table does not know */
        bool in_trouble;      /* something was not kept, which is said once: clients can cause it */
};

int learned_addresses_new(bool kernel, struct learned_addresses **ret)
{
        struct learned_addresses *learned = calloc(1, sizeof(*learned));

        if (learned == NULL)
                return -ENOMEM;
        int r = learned_table_new(LEARNED_ADDRESSES_MAX, &learned->table);
        if (r == 0 && kernel)
                r = set_elements_new("aksegressd", &learned->elements);
        if (r < 0) {
                learned_addresses_free(learned);
                return r;
        }
        *ret = learned;
        return 0;
}

void learned_addresses_free(struct learned_addresses *learned)
{
        if (learned == NULL)
                return;
        set_elements_free(learned->elements);
        learned_table_free(learned->table);
        free(learned->pending);
        free(learned);
}

void learned_addresses_use_policy(struct learned_addresses *learned, const struct policy *policy)
{
        learned->policy = policy;
        learned->pending_count = learned->pending_new = 0; /* It names clusters and sets of the one before. */
}

/* Until when a client that gets an answer now may use it. */
static uint64_t needed_until(uint64_t now_ms, uint32_t ttl_s)
{
        uint32_t ttl = ttl_s < LEARNED_ADDRESSES_MAX_TTL_S ? ttl_s : LEARNED_ADDRESSES_MAX_TTL_S;

        return now_ms + (uint64_t)ttl * 1000 + LEARNED_ADDRESSES_KEEP_MS;
}

/* Until when it is put there: longer, so that not every answer renews it. */
static uint64_t given_until(uint64_t now_ms, uint32_t ttl_s)
{
        return needed_until(now_ms, ttl_s) + LEARNED_ADDRESSES_KEEP_MS;
}

static bool is_permitted(const struct policy *policy, const struct policy_cluster *cluster,
                         const struct net_address *address)
{
        char hint[POLICY_HINT_SIZE];

        return policy_permits_address(policy, cluster, address, 0, hint) == REASON_COMPLETED;
}

/* Adding. */

static int reserve_pending(struct learned_addresses *learned)
{
        size_t capacity = learned->pending_capacity == 0 ? 64 : learned->pending_capacity * 2;
        struct pending *pending;

        if (learned->pending_count < learned->pending_capacity)
                return 0;
        pending = reallocarray(learned->pending, capacity, sizeof(*pending));
        if (pending == NULL)
                return -ENOMEM;
        learned->pending = pending;
        learned->pending_capacity = capacity;
        return 0;
}

/* One address of a name for one cluster, on its way into the set of each service. */
struct addition {
        struct learned_addresses *learned;
        struct pending pending;
        int result;
};

/* An address that another name has, too, stays for as long as that one wants it. */
static uint64_t element_until(const struct addition *addition, const struct network_service *service)
{
        const struct pending *pending = &addition->pending;
        uint64_t until_ms = learned_sets_until(addition->learned->table, addition->learned->policy, pending->cluster,
                                               &pending->address, service, clock_monotonic_ms());

        return until_ms > pending->until_ms ? until_ms : pending->until_ms;
}

static void on_service(const struct network_service *service, void *context)
{
        struct addition *addition = context;
        struct learned_addresses *learned = addition->learned;

        if (addition->result == 0)
                addition->result = reserve_pending(learned);
        if (addition->result < 0)
                return;
        ruleset_learned_set(service, addition->pending.cluster, addition->pending.address.family,
                            addition->pending.set);
        learned->pending[learned->pending_count] = addition->pending;
        learned->pending[learned->pending_count++].element_until_ms = element_until(addition, service);
}

/* What the clients of one cluster may take. The rest is for the names that rules spell out, which the daemon asks for. */
static size_t share_of_clients(const struct learned_addresses *learned)
{
        return LEARNED_ADDRESSES_MAX / 4 * 3 / policy_cluster_count(learned->policy);
}

/* The kernel is not to have what the table has no room for. */
static int count_new(struct learned_addresses *learned, const char *cluster, bool by_client)
{
        size_t taken = learned_addresses_count(learned), limit = LEARNED_ADDRESSES_MAX;

        if (by_client &&
            learned_table_count_of(learned->table, cluster) + learned->pending_new >= share_of_clients(learned))
                limit = 0;
        if (taken + learned->pending_new >= limit) {
                learned->is_full = true;
                return -ENOSPC;
        }
        learned->pending_new++;
        return 0;
}

static int add_for_cluster(struct learned_addresses *learned, const struct policy_cluster *cluster, bool by_client,
                           const struct fqdn *name, const struct net_address *addresses, size_t count, uint32_t ttl_s)
{
        uint64_t now_ms = clock_monotonic_ms();
        struct addition addition = {
                .learned = learned,
                .pending = { .cluster = policy_cluster_name(cluster),
                             .name = *name,
                             .until_ms = given_until(now_ms, ttl_s) },
        };

        for (size_t i = 0; i < count && addition.result == 0; i++) {
                uint64_t known_ms =
                        learned_table_until(learned->table, addition.pending.cluster, name->text, &addresses[i]);
                addition.pending.address = addresses[i];
                if (known_ms >= needed_until(now_ms, ttl_s) || !is_permitted(learned->policy, cluster, &addresses[i]))
                        continue;
                if (known_ms == 0)
                        addition.result = count_new(learned, addition.pending.cluster, by_client);
                if (addition.result == 0)
                        policy_each_service_of_name(learned->policy, cluster, name, on_service, &addition);
        }
        return addition.result;
}

int learned_addresses_add(struct learned_addresses *learned, const char *cluster, const struct fqdn *name,
                          const struct net_address *addresses, size_t count, uint32_t ttl_s)
{
        int r = 0;

        for (size_t i = 0; i < policy_cluster_count(learned->policy) && r == 0; i++) {
                const struct policy_cluster *candidate = policy_cluster_at(learned->policy, i);
                if (cluster == NULL || strcmp(policy_cluster_name(candidate), cluster) == 0)
                        r = add_for_cluster(learned, candidate, cluster != NULL, name, addresses, count, ttl_s);
        }
        return r;
}

struct recalling {
        learned_known_fn on_known;
        void *context;
};

static bool on_fact_to_recall(const struct learned_fact *fact, void *context)
{
        const struct recalling *recalling = context;

        recalling->on_known(fact->name, &fact->address, recalling->context);
        return true;
}

void learned_addresses_recall(struct learned_addresses *learned, learned_known_fn on_known, void *context)
{
        struct recalling recalling = { on_known, context };

        learned_table_each(learned->table, clock_monotonic_ms(), on_fact_to_recall, &recalling);
}

/* Committing. */

/* By set and address; of the same, the one that stays for longest comes first. */
static int compare_elements(const void *left, const void *right)
{
        const struct set_element *a = left, *b = right;
        int order = strcmp(a->set, b->set);

        if (order == 0)
                order = memcmp(&a->address, &b->address, sizeof(a->address));
        if (order == 0)
                order = a->timeout_ms > b->timeout_ms ? -1 : a->timeout_ms < b->timeout_ms;
        return order;
}

/* Names that share an address may be in one batch: an element is to be there once. Returns how many are left. */
static size_t keep_longest(struct set_element *elements, size_t count)
{
        size_t kept = 0;

        qsort(elements, count, sizeof(*elements), compare_elements);
        for (size_t i = 0; i < count; i++)
                if (kept == 0 || strcmp(elements[kept - 1].set, elements[i].set) != 0 ||
                    !net_address_equal(&elements[kept - 1].address, &elements[i].address))
                        elements[kept++] = elements[i];
        return kept;
}

static int put_into_kernel(struct learned_addresses *learned)
{
        uint64_t now_ms = clock_monotonic_ms();
        size_t count = learned->pending_count, refused;
        struct set_element *elements = calloc(count, sizeof(*elements));

        if (elements == NULL)
                return -ENOMEM;
        for (size_t i = 0; i < count; i++) {
                const struct pending *pending = &learned->pending[i];
                elements[i] = (struct set_element){ .set = pending->set,
                                                    .address = pending->address,
                                                    .timeout_ms = pending->element_until_ms - now_ms,
                                                    .comment = learned_filling_comment(pending->name.text) };
        }
        count = keep_longest(elements, count);
        refused = count;
        int r = set_elements_put(learned->elements, elements, count, &refused);
        if (r < 0 && !learned->in_trouble)
                log_error("learned addresses: set %s of table inet aksegressd: %s; clients are not told of them",
                          refused < count ? elements[refused].set : "?", strerror(-r));
        free(elements);
        return r;
}

static int put_into_table(struct learned_addresses *learned)
{
        int result = 0;

        for (size_t i = 0; i < learned->pending_count; i++) {
                const struct pending *pending = &learned->pending[i];
                const struct learned_fact fact = { .cluster = pending->cluster,
                                                   .name = pending->name.text,
                                                   .address = pending->address,
                                                   .until_ms = pending->until_ms };
                int r = learned_table_put(learned->table, &fact);
                if (r < 0)
                        result = r;
        }
        return result;
}

/* Said when it begins and when it is over: clients can cause it. */
static void note_trouble(struct learned_addresses *learned, int result)
{
        bool in_trouble = result < 0 || learned->is_full;

        if (in_trouble && !learned->in_trouble)
                log_error("learned addresses: %s; clients are not told of new ones",
                          learned->is_full ? "a cluster's share of the table is full" : strerror(-result));
        if (!in_trouble && learned->in_trouble)
                log_info("learned addresses are kept again");
        learned->in_trouble = in_trouble;
        learned->is_full = false;
}

int learned_addresses_commit(struct learned_addresses *learned)
{
        int r = 0;

        if (learned->pending_count > 0 && learned->elements != NULL)
                r = put_into_kernel(learned);
        if (r == 0)
                r = put_into_table(learned);
        learned->pending_count = learned->pending_new = 0;
        learned->kernel_has_more = learned->kernel_has_more || (r < 0 && learned->elements != NULL);
        note_trouble(learned, r);
        return r;
}

/* What ran out before is not even remembered. */
static uint64_t remembered_since(void)
{
        uint64_t now_ms = clock_monotonic_ms();

        return now_ms > LEARNED_ADDRESSES_REMEMBER_MS ? now_ms - LEARNED_ADDRESSES_REMEMBER_MS : 0;
}

void learned_addresses_sweep(struct learned_addresses *learned)
{
        bool is_crowded = learned_addresses_count(learned) > LEARNED_ADDRESSES_MAX / 4 * 3;

        learned_table_sweep(learned->table, is_crowded ? clock_monotonic_ms() : remembered_since());
}

/* Taking over. */

struct takeover {
        struct learned_addresses *learned;
        const char *cluster;
        bool lost;
};

/* What has no comment had a name that did not fit, or is not ours. */
static void on_element_left(const struct set_element *element, void *context)
{
        struct takeover *takeover = context;
        struct fqdn name;

        if (element->comment == NULL || fqdn_from_text(element->comment, &name) < 0)
                return;
        const struct learned_fact fact = { .cluster = takeover->cluster,
                                           .name = name.text,
                                           .address = element->address,
                                           .until_ms = clock_monotonic_ms() + element->timeout_ms };
        if (learned_table_put(takeover->learned->table, &fact) < 0)
                takeover->lost = true;
}

static void take_over_set(struct takeover *takeover, const struct network_service *service, int family)
{
        char set[RULESET_SET_NAME_SIZE];

        takeover->lost = false;
        ruleset_learned_set(service, takeover->cluster, family, set);
        int r = set_elements_dump(takeover->learned->elements, set, on_element_left, takeover);
        if ((r < 0 && r != -ENOENT) || takeover->lost)
                log_warning("learned addresses: what an earlier daemon left in set %s is forgotten: %s", set,
                            r < 0 ? strerror(-r) : "no room for it");
}

static void take_over_cluster(struct learned_addresses *learned, const struct network_cluster *cluster)
{
        static const int families[] = { AF_INET, AF_INET6 };
        struct takeover takeover = { .learned = learned, .cluster = cluster->name };

        for (size_t i = 0; i < cluster->allow.count; i++)
                for (size_t j = 0; cluster->allow.items[i].has_names && j < ARRAY_SIZE(families); j++)
                        take_over_set(&takeover, &cluster->allow.items[i], families[j]);
}

void learned_addresses_take_over(struct learned_addresses *learned)
{
        const struct network_plan *plan = policy_networks(learned->policy);

        for (size_t i = 0; learned->elements != NULL && i < plan->cluster_count; i++)
                take_over_cluster(learned, &plan->clusters[i]);
}

/* Changing the policy. */

struct stale_telling {
        ruleset_element_fn on_element; /* NULL: only count */
        void *sink;
        size_t count;
};

static void on_stale(const char *set, const struct learned_fact *fact, void *context)
{
        struct stale_telling *telling = context;

        telling->count++;
        if (telling->on_element != NULL)
                telling->on_element(set, &fact->address, telling->sink);
}

void learned_addresses_each_stale(ruleset_element_fn on_element, void *sink, const struct learned_change *change)
{
        struct stale_telling telling = { .on_element = on_element, .sink = sink };

        learned_sets_each_stale(change->learned->table, change->former, change->policy, clock_monotonic_ms(), on_stale,
                                &telling);
}

size_t learned_addresses_count_stale(const struct learned_change *change)
{
        struct stale_telling telling = { 0 };

        if (change->learned->kernel_has_more)
                return SIZE_MAX;
        learned_sets_each_stale(change->learned->table, change->former, change->policy, clock_monotonic_ms(), on_stale,
                                &telling);
        return telling.count;
}

int learned_addresses_fill(const struct learned_change *change)
{
        struct learned_addresses *learned = change->learned;

        if (change->former == NULL)
                learned->kernel_has_more = false;
        int r = learned_filling_put_new(learned->elements, learned->table, change->former, change->policy);
        if (r < 0)
                log_error("learned addresses could not all be put back into the kernel's sets: %s; they come with the "
                          "next answers",
                          strerror(-r));
        return r;
}

int learned_addresses_remove_stale(const struct learned_change *change)
{
        int r = learned_filling_remove_stale(change->learned->elements, change->learned->table, change->former,
                                             change->policy);

        if (r < 0)
                log_warning("learned addresses that are no longer allowed could not all be removed from the kernel's "
                            "sets: %s; emptying them",
                            strerror(-r));
        return r;
}

/* Asking. */

struct covering {
        const struct policy *policy;
        const struct policy_cluster *cluster;
        struct policy_request request;
        bool found;
};

static bool on_fact_that_may_cover(const struct learned_fact *fact, void *context)
{
        struct covering *covering = context;
        struct policy_verdict verdict;

        if (fqdn_from_text(fact->name, &covering->request.name) < 0)
                return true;
        policy_decide(covering->policy, covering->cluster, &covering->request, &verdict);
        covering->found = verdict.action == POLICY_ALLOW && verdict.by_network_rule;
        return !covering->found;
}

bool learned_addresses_cover(struct learned_addresses *learned, const struct policy *policy,
                             const struct policy_cluster *cluster, enum policy_protocol protocol,
                             const struct net_endpoint *destination, struct fqdn *ret_name)
{
        struct covering covering = {
                .policy = policy,
                .cluster = cluster,
                .request = { .protocol = protocol, .port = destination->port },
        };

        if (cluster == NULL || learned_addresses_count(learned) == 0)
                return false;
        learned_table_each_of(learned->table, policy_cluster_name(cluster), &destination->address, clock_monotonic_ms(),
                              on_fact_that_may_cover, &covering);
        if (covering.found)
                *ret_name = covering.request.name;
        return covering.found;
}

/* Whether a name that is allowed, or one that is not, had the address of a flow lately. */
struct flow_judging {
        struct covering covering;
        bool knows_any;
};

static bool on_fact_about_flow(const struct learned_fact *fact, void *context)
{
        struct flow_judging *judging = context;

        judging->knows_any = true;
        return on_fact_that_may_cover(fact, &judging->covering);
}

enum learned_flow learned_addresses_judge_flow(struct learned_addresses *learned, const struct policy *policy,
                                               const struct policy_cluster *cluster, enum policy_protocol protocol,
                                               const struct net_endpoint *destination, struct fqdn *ret_name)
{
        struct flow_judging judging = {
                .covering = { .policy = policy,
                              .cluster = cluster,
                              .request = { .protocol = protocol, .port = destination->port } },
        };

        learned_table_each_of(learned->table, policy_cluster_name(cluster), &destination->address, remembered_since(),
                              on_fact_about_flow, &judging);
        if (!judging.covering.found)
                return judging.knows_any ? LEARNED_FLOW_REFUSED : LEARNED_FLOW_UNKNOWN;
        *ret_name = judging.covering.request.name;
        return LEARNED_FLOW_ALLOWED;
}

static void note_service(const struct network_service *service, void *context)
{
        bool *found = context;

        (void)service;
        *found = true;
}

bool learned_addresses_know(struct learned_addresses *learned, const struct policy *policy,
                            const struct policy_cluster *cluster, const struct fqdn *name,
                            const struct net_address *addresses, size_t count, uint32_t ttl_s)
{
        uint64_t needed_ms = needed_until(clock_monotonic_ms(), ttl_s);
        bool concerned = false;

        if (learned->elements == NULL)
                return true;
        policy_each_service_of_name(policy, cluster, name, note_service, &concerned);
        for (size_t i = 0; concerned && i < count; i++)
                if (is_permitted(policy, cluster, &addresses[i]) &&
                    learned_table_until(learned->table, policy_cluster_name(cluster), name->text, &addresses[i]) <
                            needed_ms)
                        return false;
        return true;
}

size_t learned_addresses_count(const struct learned_addresses *learned)
{
        return learned_table_count(learned->table);
}
