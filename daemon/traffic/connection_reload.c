#include "base/log.h"
#include "traffic/connection.h"
#include "traffic/connection_state.h"

/*
 * What a connection that was dialled by address was let through for: the address, and the name that it was known by. A name
 * that was seen in it later does not count.
 */
static struct policy_request dialled_request(const struct connection *c)
{
        return (struct policy_request){ .protocol = POLICY_PROTOCOL_TCP,
                                        .port = c->upstream.endpoint.port,
                                        .address = c->upstream.endpoint.address,
                                        .name = c->upstream.name };
}

static bool was_dialled_by_address(const struct connection *c)
{
        return c->upstream.fd != -1 && (c->dial_at_once || c->upstream.name.length == 0);
}

/* Whether the newest policy still lets the connection's attempt through. */
static bool connection_still_allowed(const struct connection *c, const struct policy *policy)
{
        const struct policy_cluster *cluster = policy_cluster_of(policy, &c->client.address);
        struct policy_verdict verdict;
        char hint[POLICY_HINT_SIZE];

        policy_decide(policy, cluster, &c->asked, &verdict);
        if (verdict.action == POLICY_DENY && (!was_dialled_by_address(c) || verdict.reason == REASON_DENY_RULE))
                return false;
        if (was_dialled_by_address(c)) {
                const struct policy_request dialled = dialled_request(c);
                policy_decide(policy, cluster, &dialled, &verdict);
                if (verdict.action == POLICY_DENY)
                        return false;
        }
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
        const struct policy_request request = was_dialled_by_address(c) ? dialled_request(c) : c->asked;
        policy_decide(generation_policy(c->generation), c->cluster, &request, &verdict);
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
