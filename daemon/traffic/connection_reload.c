#include "base/log.h"
#include "traffic/connection.h"
#include "traffic/connection_state.h"

/* Whether a connection that was dialled by address may be: a name that was seen in it later does not count. */
static bool address_still_allowed(const struct connection *c, const struct policy *policy,
                                  const struct policy_cluster *cluster)
{
        struct policy_request dialled = { .protocol = POLICY_PROTOCOL_TCP,
                                          .port = c->upstream.endpoint.port,
                                          .address = c->upstream.endpoint.address };
        struct policy_verdict verdict;

        policy_decide(policy, cluster, &dialled, &verdict);
        return verdict.action != POLICY_DENY;
}

/* Whether the newest policy still lets the connection's attempt through. */
static bool connection_still_allowed(const struct connection *c, const struct policy *policy)
{
        const struct policy_cluster *cluster = policy_cluster_of(policy, &c->client.address);
        struct policy_verdict verdict;
        char hint[POLICY_HINT_SIZE];

        policy_decide(policy, cluster, &c->asked, &verdict);
        if (verdict.action == POLICY_DENY)
                return false;
        if (c->upstream.fd != -1 && c->upstream.name.length == 0 && !address_still_allowed(c, policy, cluster))
                return false;
        return c->upstream.fd == -1 || policy_permits_address(policy, cluster, &c->destination.address,
                                                              c->destination.port, hint) == REASON_COMPLETED;
}

/* The attempt stands on the newest generation from now on, unless a connect under way borrows the old one's pool. */
static void connection_move_to_newest(struct connection *c)
{
        struct policy_verdict verdict;

        if (c->connecting != NULL)
                return;
        generation_unref(c->generation);
        c->generation = generation_ref(c->traffic->generation);
        c->cluster = policy_cluster_of(generation_policy(c->generation), &c->client.address);
        if (!c->decided)
                return;
        policy_decide(generation_policy(c->generation), c->cluster, &c->asked, &verdict);
        connection_state_note_verdict(c, &verdict);
}

bool connection_catch_up(struct connection *c)
{
        const struct generation *newest = c->traffic->generation;

        if (c->generation == newest)
                return true;
        if (connection_still_allowed(c, generation_policy(newest))) {
                connection_move_to_newest(c);
                return true;
        }
        if (generation_config(newest)->on_policy_change != CONFIG_ON_POLICY_CHANGE_CLOSE)
                return true;
        connection_close(c, REASON_POLICY_CHANGED);
        return false;
}

void connection_change_generation(struct traffic *traffic, struct generation *generation)
{
        enum config_on_policy_change on_change = generation_config(generation)->on_policy_change;
        struct connection *next;
        size_t refused_count = 0;

        generation_unref(traffic->generation);
        traffic->generation = generation;
        for (struct connection *c = traffic->connections; c != NULL; c = next) {
                next = c->next;
                if (c->concluded)
                        continue;
                if (!c->decided || connection_still_allowed(c, generation_policy(generation))) {
                        connection_move_to_newest(c);
                        continue;
                }
                refused_count++;
                if (on_change == CONFIG_ON_POLICY_CHANGE_CLOSE)
                        connection_close(c, REASON_POLICY_CHANGED);
        }
        if (refused_count > 0 && on_change != CONFIG_ON_POLICY_CHANGE_KEEP)
                log_info("policy change: %zu live connections are no longer allowed, %s", refused_count,
                         on_change == CONFIG_ON_POLICY_CHANGE_CLOSE ? "closed" : "kept");
}

void connection_drain(struct traffic *traffic)
{
        struct connection *next;

        traffic->draining = true;
        for (struct connection *c = traffic->connections; c != NULL; c = next) {
                next = c->next;
                if (c->state == CONNECTION_INSPECTING && c->concluded)
                        connection_close_answered(c);
        }
}

void connection_close_all(struct traffic *traffic, enum reason reason)
{
        while (traffic->connections != NULL)
                connection_close(traffic->connections, reason);
}
